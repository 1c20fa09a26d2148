"""The order of chained contractions, chosen by cost.

In: the graph's outputs. Out: the same values with chains of sums of products, `(A @ B) @ v`,
evaluated in the cheapest order: a dynamic programme over the subsets of the operands, with named
dims taken as equal and large. A new order must save at least a tenth of the multiplications; what
it saves is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim
from .graph import Comp, Node, comp, readers, rewrite
from .records import dataclass
from .scalar import Scalar
from .span import Span

_TYPICAL = 512  # the size taken for a named dim
_MOST = 8  # operands of a chain: the programme visits every subset

Report = Callable[[str, Comp], None]


@dataclass(frozen=True)
class _Operand:
    """A read and the loop indices (numbered over the whole chain) that it uses."""

    read: Scalar
    indices: frozenset[int]


@dataclass
class _Chain:
    """A sum over many indices of a product of reads."""

    operands: list[_Operand]
    extents: dict[int, Dim]
    output: tuple[int, ...]
    multiplications: float  # as written


def order_contractions(roots: Sequence[Node], report: Report) -> Sequence[Node]:
    uses = readers(roots)
    single = {n for n, by in uses.items() if len(by) == 1 and n not in roots}

    def rule(node: Node) -> Node:
        if not isinstance(node, Comp) or _product(node) is None:
            return node
        chain = _flatten(node, single)
        if not 3 <= len(chain.operands) <= _MOST:
            return node
        cost, build = _best(chain)
        if cost > 0.9 * chain.multiplications:
            return node
        report(
            f"contraction order: {_count(chain.multiplications)} -> {_count(cost)} multiplications"
            f" (named dims taken as {_TYPICAL})",
            node,
        )
        return build(node)

    # consumers first would see producers rewritten twice: one bottom-up pass suffices, since a
    # chain is flattened from its last sum
    return rewrite(roots, rule)


def _count(n: float) -> str:
    return f"{n:.3g}"


def _product(node: Comp) -> list[sc.Read] | None:
    """The reads of a sum of products of affine reads."""
    if node.reducer != "sum" or node.target is not None or not node.dtype.is_float:
        return None
    out: list[sc.Read] = []
    stack: list[Scalar] = [node.body]
    while stack:
        match stack.pop():
            case sc.Op("mul", (a, b)):
                stack += [b, a]
            case sc.Read() as r if all(_bare(i) for i in r.indices):
                out.append(r)
            case _:
                return None
    return out if len(out) >= 2 else None


def _bare(i: Scalar) -> bool:
    return isinstance(i, sc.Affine) and (
        (len(i.terms) == 1 and i is sc.index(i.terms[0][0])) or not i.terms
    )


def _flatten(root: Comp, single: set[Node]) -> _Chain:
    extents: dict[int, Dim] = {}

    def expand(node: Comp, at: dict[int, Scalar]) -> tuple[list[_Operand], float]:
        for k in node.reduced:
            number = len(extents)
            extents[number] = node.extents[k]
            at[k] = sc.index(number)
        out: list[_Operand] = []
        work = _size(node.extents)
        for r in _product(node) or []:
            indices = [sc.substitute_indices(i, at) for i in r.indices]
            source = r.tensor
            nested = isinstance(source, Comp) and source in single and _product(source) is not None
            if nested and isinstance(source, Comp) and len(set(indices)) == len(indices):
                more, cost = expand(source, dict(enumerate(indices)))
                out += more
                work += cost
            else:
                moved = sc.read(source, indices)
                out.append(_Operand(moved, sc.indices_of(moved)))
        return out, work

    for k in range(root.rank):
        extents[k] = root.extents[k]
    operands, work = expand(root, {k: sc.index(k) for k in range(root.rank)})
    return _Chain(operands, extents, tuple(range(root.rank)), work)


def _size(dims: Sequence[Dim]) -> float:
    out = 1.0
    for d in dims:
        out *= d.evaluate(dict.fromkeys(d.names, _TYPICAL))
    return out


def _best(chain: _Chain) -> tuple[float, Callable[[Comp], Comp]]:
    """The cheapest tree of pairwise sums of products."""
    n = len(chain.operands)
    everything = frozenset(range(n))

    def needed(group: frozenset[int]) -> frozenset[int]:
        """The indices of a group's result: those used outside it."""
        inside = frozenset[int]().union(*(chain.operands[k].indices for k in group))
        outside = frozenset(chain.output).union(
            *(chain.operands[k].indices for k in everything - group)
        )
        return inside & outside

    # group -> (cost, split)
    best: dict[frozenset[int], tuple[float, frozenset[int] | None]] = {
        frozenset([k]): (0.0, None) for k in range(n)
    }
    for size in range(2, n + 1):
        for members in combinations(range(n), size):
            group = frozenset(members)
            options = []
            for part in range(1, size // 2 + 1):
                for left in map(frozenset, combinations(members, part)):
                    right = group - left
                    loops = needed(left) | needed(right)
                    work = _size([chain.extents[k] for k in loops])
                    options.append((best[left][0] + best[right][0] + work, sorted(left)))
            cost, first = min(options)
            best[group] = cost, frozenset(first)

    def build(group: frozenset[int], root: Comp | None) -> Scalar:
        split = best[group][1]
        if split is None:
            (k,) = group
            return chain.operands[k].read
        a, b = build(split, None), build(group - split, None)
        kept = list(chain.output) if root is not None else sorted(needed(group))
        summed = sorted((sc.indices_of(a) | sc.indices_of(b)) - set(kept))
        place = {k: sc.index(p) for p, k in enumerate([*kept, *summed])}
        node = comp(
            sc.substitute_indices(sc.op("mul", a, b), place),
            [chain.extents[k] for k in (*kept, *summed)],
            len(kept),
            "sum" if summed else None,
            name=root.name if root else None,
            span=root.span if root else chain_span,
        )
        return sc.substitute_indices(
            il.of_node(node).body, {p: sc.index(k) for p, k in enumerate(kept)}
        )

    chain_span = _span(chain)

    def rebuild(root: Comp) -> Comp:
        out = build(everything, root)
        assert isinstance(out, sc.Read) and isinstance(out.tensor, Comp)
        return out.tensor

    return best[everything][0], rebuild


def _span(chain: _Chain) -> Span:
    first = chain.operands[0].read
    assert isinstance(first, sc.Read)
    return first.tensor.span
