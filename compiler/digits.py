"""Digits: sums whose indices are taken apart by // and %, as sums over the parts.

In: a `Function` over primitives. Out: one that computes the same, where

- an index k of extent q*d on which a body depends by way of k // d and k % d has become two,
  k = d*K + r: those of a group and of what is in it (`c // 8`, `c % 8`). A result has the same
  elements in the same order, with one dim more.
- other sums of products are made phase by phase (`phases`).

What is left are affine indices and tests, of which packed contractions are made (`packed`). Left to
others: arithmetic of quotients (`quotients`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import scalar as sc
from .dims import Dim, dim, quotient
from .graph import Comp, Function, Node, comp, postorder
from .inline import reads_of
from .phases import in_phases
from .quotients import divisor, resolved
from .records import dataclass
from .scalar import Affine, Scalar


@dataclass(frozen=True)
class _Digit:
    """`number // stride % size`; the leading one has no size."""

    stride: Dim
    size: Dim | None

    def of(self, number: Scalar) -> Scalar:
        x = number
        if self.stride.const != 1:
            x = sc.op("floordiv", x, sc.size(self.stride))
        return x if self.size is None else sc.op("mod", x, sc.size(self.size))


_WHOLE = (_Digit(dim(1), None),)

_Axes = tuple[tuple[_Digit, ...], ...]
"""For each dim of a result, the digits that stand for it."""


def by_digits(fn: Function) -> Function:
    if not any(_is_divided(n) for n in postorder(fn.outputs)):
        return fn
    fixed = _fixed(fn)
    done: dict[Node, Node] = {}
    axes: dict[Node, _Axes] = {}  # of nodes that were taken apart

    def redirect(x: Scalar) -> Scalar:
        if not isinstance(x, sc.Read) or done[x.tensor] is x.tensor:
            return x
        parts = axes.get(x.tensor)
        at = x.indices
        if parts is not None:
            at = tuple(d.of(i) for i, digits in zip(at, parts, strict=True) for d in digits)
        return sc.read(done[x.tensor], at)

    for node in postorder(fn.outputs):
        if not isinstance(node, Comp):
            done[node] = node
            continue
        body = resolved(sc.rewrite(node.body, redirect), node.extents)
        target = node.target and [sc.rewrite(t, redirect) for t in node.target]
        same = body is node.body and (target is None or list(node.target or ()) == target)
        made = node if same else _with(node, body, node.extents, node.rank, target)
        if node.target is None:
            made, parts = _apart(made, node in fixed)
            if any(digits != _WHOLE for digits in parts):
                axes[node] = parts
            made = in_phases(made)
        done[node] = made
    return fn.with_outputs(done[o] for o in fn.outputs)


def _is_divided(node: Node) -> bool:
    return isinstance(node, Comp) and any(True for _ in _divisions(node.body))


def _divisions(body: Scalar) -> Iterator[tuple[str, Affine, Dim]]:
    """All numbers that are affine forms of indices, by what they are divided, and whether it is
    the quotient or what is left that counts."""
    for x in sc.postorder([body]):
        match x:
            case sc.Op("floordiv" | "mod" as name, (Affine() as number, by)) if number.terms:
                d = divisor(by)
                if d is not None:
                    yield name, number, d


def _fixed(fn: Function) -> set[Node]:
    """The nodes that keep their dims: they are read, or written, at computed places, or stand in
    place of a parameter."""
    out = {fn.outputs[o] for _, o in fn.donated}
    for node in postorder(fn.outputs):
        if isinstance(node, Comp):
            if node.target is not None:
                out.add(node)
            out.update(
                r.tensor for r in reads_of(node) if any(map(sc.reads, ([i] for i in r.indices)))
            )
    return out


def _with(
    node: Comp,
    body: Scalar,
    extents: Sequence[Dim],
    rank: int,
    target: Sequence[Scalar] | None = None,
    names: Sequence[str] | None = None,
    name: str | None = None,
) -> Comp:
    return comp(
        body,
        extents,
        rank,
        node.reducer,
        target=target,
        shape=None if target is None else node.shape,
        variable=node.variable,
        name=node.name if name is None else name,
        index_names=node.index_names if names is None else names,
        span=node.span,
    )


# --------------------------------------------------------------------------- digits of one index


def _apart(node: Comp, is_fixed: bool) -> tuple[Comp, _Axes]:
    """k = d*K + r, for all indices that are taken apart, and what became of the result's dims."""
    parts: list[tuple[_Digit, ...]] = [_WHOLE] * node.rank
    if node.reducer not in (None, "sum"):
        return node, tuple(parts)
    while (found := _taken_apart(node, is_fixed)) is not None:
        k, d, leading = found
        at = {j: sc.index(j if j < k else j + 1) for j in range(len(node.extents))}
        at[k] = sc.affine({k: d, k + 1: dim(1)})
        extents = (*node.extents[:k], leading, d, *node.extents[k + 1 :])
        names = node.index_names
        if k < len(names):
            names = (*names[:k], f"{names[k]}_group" if names[k] else "", *names[k:])
        body = resolved(sc.substitute_indices(node.body, at), extents)
        if k < node.rank:
            axis, digits, place = 0, parts[0], k
            while place >= len(digits):
                place -= len(digits)
                axis += 1
                digits = parts[axis]
            whole = digits[place]
            first = _Digit(whole.stride * d, None if whole.size is None else leading)
            parts[axis] = (*digits[:place], first, _Digit(whole.stride, d), *digits[place + 1 :])
        node = _with(node, body, extents, node.rank + (k < node.rank), names=names)
    return node, tuple(parts)


def _taken_apart(node: Comp, is_fixed: bool) -> tuple[int, Dim, Dim] | None:
    """An index, the extent of its last digit, and that of the leading one. The last index, along
    which there may be vectors, is taken apart only where both digits count."""
    found: dict[tuple[int, Dim], set[str]] = {}
    for name, number, d in _divisions(node.body):
        if len(number.terms) == 1 and number is sc.index(number.terms[0][0]):
            found.setdefault((number.terms[0][0], d), set()).add(name)
    last = node.rank - 1, len(node.extents) - 1
    for (k, d), names in found.items():
        leading = quotient(node.extents[k], d)
        if leading is None or (is_fixed and k < node.rank) or (k in last and len(names) < 2):
            continue
        return k, d, leading
    return None
