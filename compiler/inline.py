"""Which values are not kept: reducer-free comprehensions written into their readers' bodies, and
the reverse, expensive parts of a body that deserve a comprehension of their own.

In: a `Function`. Out: one that computes the same with fewer or cheaper iterations. Left to others:
which comprehensions share a loop nest (`fuse`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

from . import primitives, ranges
from . import scalar as sc
from .dims import Dim, product, provably_nonnegative
from .dtypes import F32
from .facts import last_number
from .graph import (
    Comp,
    Function,
    Input,
    Node,
    comp,
    identity_read,
    operands,
    postorder,
    rewrite,
    with_body,
    with_operands,
)
from .records import dataclass
from .scalar import Scalar

CHEAP = 4
"""Operations that may be repeated in several readers instead of being stored and loaded."""

COSTLY = 4
"""Operations worth a stored value, when a loop that they do not depend on would repeat them."""


def primitives_only(fn: Function) -> Function:
    """Every call of a scalar function replaced by its body; outputs are comprehensions."""

    def rule(node: Node) -> Node:
        if not isinstance(node, Comp):
            return node
        target = None if node.target is None else [sc.inline_calls(t) for t in node.target]
        return with_body(node, sc.inline_calls(node.body), target)

    outputs = rewrite(fn.outputs, rule)
    return fn.with_outputs(_copied(o) if isinstance(o, Input) else o for o in outputs)


def _copied(node: Input) -> Node:
    return comp(
        identity_read(node), node.shape, len(node.shape), name=f"{node.name}_copy", span=node.span
    )


def cost(x: Scalar) -> int:
    """Of evaluating a body once; reads are free, and so is widening 16 bits, which halves what is
    read."""
    operations = (y for y in sc.postorder([x]) if isinstance(y, sc.Op) and not _is_widening(y))
    return sum(primitives.cost(y.name, last_number(y)) for y in operations)


def _is_widening(x: sc.Op) -> bool:
    match x:
        case sc.Op("cast", (of,)):
            return of.dtype.is_half and x.dtype is F32
        case _:
            return False


# --------------------------------------------------------------------------- inlining


def inline(fn: Function) -> Function:
    """Write producers into their readers where that repeats no work worth a load."""
    kept = set(fn.outputs)
    uses: dict[Node, list[tuple[Comp, sc.Read]]] = {}
    for node in postorder(fn.outputs):
        if isinstance(node, Comp):
            for r in sc.reads((node.body, *(node.target or ()))):
                uses.setdefault(r.tensor, []).append((node, r))
    dissolved = {
        p for p, sites in uses.items() if isinstance(p, Comp) and _dissolves(p, sites, p in kept)
    }

    def rule(node: Node) -> Node:
        if not isinstance(node, Comp):
            return node
        return with_body(
            node,
            sc.rewrite(node.body, substitute),
            None if node.target is None else [sc.rewrite(t, substitute) for t in node.target],
        )

    def substitute(x: Scalar) -> Scalar:
        if isinstance(x, sc.Read) and x.tensor in gone:
            body: Scalar = x.tensor.body  # type: ignore[union-attr]
            return sc.substitute_indices(body, dict(enumerate(x.indices)))
        return x

    # producers are rebuilt first, so that what a reader takes in is already whole
    gone: set[Node] = set()
    done: dict[Node, Node] = {}
    for node in postorder(fn.outputs):
        out = rule(with_operands(node, done))
        done[node] = out
        if node in dissolved:
            gone.add(out)
    return fn.with_outputs(done[o] for o in fn.outputs)


def _dissolves(p: Comp, sites: list[tuple[Comp, sc.Read]], stored_anyway: bool) -> bool:
    """Whether `p` is written into all of its readers."""
    if p.reducer is not None or p.target is not None:
        return False
    reads = sc.reads([p.body])
    if not all(_stays_checked(p, r) for _, r in sites):
        return False
    if any(sc.as_affine(at) is None for r in reads for at in r.indices):
        # a checked read stays where it is checked for every element
        return all(_covers(p, c, r) for c, r in sites) and len(sites) == 1 and not stored_anyway
    price = cost(p.body)
    if price == 0 and len(reads) <= 1 and not stored_anyway:
        return True  # a view
    if any(_repeats(c, r) for c, r in sites):
        return False
    if stored_anyway:
        return False
    if len(sites) == 1:
        return True
    readers = {c for c, _ in sites}
    if not is_no_larger(p.shape, [*operands(p), *readers]):
        return True  # all pairs of something: cheaper to compute again than to keep
    if len(readers) == 1 and price * len(sites) <= 4 * CHEAP:
        return True
    return price <= CHEAP and len(reads) <= 2


def _stays_checked(p: Comp, r: sc.Read) -> bool:
    """Whether an index of `p` that needs a check is checked alike in some read of its body."""
    axes = [a for a, at in enumerate(r.indices) if sc.as_affine(at) is None]
    if not axes:
        return True
    guards = ranges.path_guards([p.body])
    return all(
        any(
            guards[x] == ranges.ALWAYS and at is sc.index(a) and size == p.shape[a]
            for x in sc.reads([p.body])
            for at, size in zip(x.indices, x.tensor.shape, strict=True)
        )
        for a in axes
    )


def _repeats(c: Comp, r: sc.Read) -> bool:
    """Whether `c` reads the same place in several iterations, so that work would be repeated."""
    at = frozenset(k for x in r.indices for k in sc.indices_of(x))
    return any(e.const != 1 and k not in at for k, e in enumerate(c.extents))


def _covers(p: Comp, c: Comp, r: sc.Read) -> bool:
    """Whether `c` reads every element of `p`, unconditionally."""
    guards = ranges.path_guards((c.body, *(c.target or ())))
    whole = all(at is sc.index(k) for k, at in enumerate(r.indices)) and (
        c.extents[: len(r.indices)] == p.extents
    )
    return whole and guards[r] == ranges.ALWAYS


# --------------------------------------------------------------------------- extraction


def extract(fn: Function) -> Function:
    """Give an expensive part of a body a comprehension of its own, where the body's loops would
    evaluate it again for indices on which it does not depend; and read it wherever else the same
    part stands, perhaps over the same indices in another order."""
    made: dict[Part, Comp] = {}
    known: set[int] = set()  # their shapes: most subexpressions differ from all of them already so

    def rule(node: Node) -> Node:
        if not isinstance(node, Comp):
            return node
        parts = _repeated_parts(node) if len(node.extents) > 1 else []
        for x in parts:
            made.setdefault(part_of(node, x)[0], comp_of(node, x, sorted(sc.indices_of(x))))
            known.add(_shapes(x)[x])
        shapes = _shapes(node.body) if made else {}
        found: dict[Scalar, Scalar] = {}
        for x in sc.postorder([node.body]):
            if isinstance(x, sc.Op) and shapes.get(x) in known:
                key, order = part_of(node, x)
                if key in made and made[key].body is not node.body:
                    layout = _layout(made[key], order)
                    found[x] = sc.read(made[key], [sc.index(k) for k in layout])
        if found:
            return with_body(node, sc.rewrite(node.body, lambda x: found.get(x, x)))
        if node.reducer is None and node.target is None and cost(node.body) >= COSTLY:
            key, order = part_of(node, node.body)
            if len(order) == node.rank:
                made.setdefault(key, node)
                known.add(_shapes(node.body)[node.body])
        return node

    once = rewrite(fn.outputs, rule)
    return fn.with_outputs(rewrite(once, rule) if made else once)


@dataclass(frozen=True)
class Part:
    """A subexpression with its indices numbered as they appear, and their extents."""

    body: Scalar
    extents: tuple[Dim, ...]


def part_of(node: Comp, x: Scalar) -> tuple[Part, list[int]]:
    """The part, and the indices of `node` in the order in which they appear."""
    order = list(
        dict.fromkeys(k for y in sc.postorder([x]) if isinstance(y, sc.Affine) for k, _ in y.terms)
    )
    body = sc.substitute_indices(x, {k: sc.index(n) for n, k in enumerate(order)})
    return Part(body, tuple(node.extents[k] for k in order)), order


def _shapes(root: Scalar) -> dict[Scalar, int]:
    """For every subexpression a hash that does not depend on the numbers of indices."""
    out: dict[Scalar, int] = {}
    for x in sc.postorder([root]):
        kids = tuple(out[c] for c in sc.children(x))
        match x:
            case sc.Affine():
                out[x] = hash((x.const, frozenset(c for _, c in x.terms)))
            case sc.Read():
                out[x] = hash((id(x.tensor), kids))
            case sc.Op():
                out[x] = hash((x.name, x.dtype.name, kids))
            case _:
                out[x] = id(x)  # constants are interned
    return out


def comp_of(node: Comp, x: Scalar, order: Sequence[int]) -> Comp:
    """The part as a comprehension over these indices of `node`, in this order."""
    body = sc.substitute_indices(x, {k: sc.index(n) for n, k in enumerate(order)})
    return comp(
        body,
        [node.extents[k] for k in order],
        len(order),
        name=f"{node.name}_part" if node.name else None,
        index_names=[node.index_names[k] for k in order if k < len(node.index_names)],
        span=node.span,
    )


def _layout(made: Comp, order: list[int]) -> list[int]:
    """For each dim of `made`, the index of a node in which the part appears with `order`."""
    appear = part_of(made, made.body)[1]  # the dims of `made` in order of appearance
    return [order[appear.index(d)] for d in range(len(made.shape))]


def _repeated_parts(node: Comp) -> list[Scalar]:
    """The largest subexpressions worth extracting."""
    found: list[Scalar] = []
    inside: set[Scalar] = set()
    guards: dict[Scalar, ranges.Guard] | None = None
    for x in reversed(list(sc.postorder([node.body]))):  # readers first
        if x in inside:
            inside.update(sc.children(x))
            continue
        if not isinstance(x, sc.Op) or x.dtype.is_weak or x.dtype.is_bool:
            continue  # conditions stay where they guard
        own = sc.indices_of(x)
        extents = [node.extents[k] for k in own]
        if not _is_repeated(node, own) or not is_no_larger(extents, [node, *operands(node)]):
            continue
        if cost(x) < COSTLY or x is node.body:
            continue
        if guards is None:
            guards = ranges.path_guards([node.body])
        if ranges.may_stand_apart(x, guards[x], node.extents):
            found.append(x)
            inside.update(sc.children(x))
    return found


def _is_repeated(node: Comp, own: frozenset[int]) -> bool:
    """Whether a loop outside the innermost index of `own` does not change the value: what depends
    on outer indices only is evaluated before the inner loops anyway."""
    if not own:
        return False
    return any(
        k not in own and (e.const is None or e.const > 4)
        for k, e in enumerate(node.extents[: max(own)])
    )


def is_no_larger(extents: Sequence[Dim], than: Iterable[Node]) -> bool:
    """Whether an array is no larger than one of some others: a pairwise interaction should not
    become an array of all pairs."""
    size = product(tuple(extents))
    return any(provably_nonnegative(product(n.shape) - size) for n in than)


_reads: WeakKeyDictionary[Comp, tuple[sc.Read, ...]] = WeakKeyDictionary()


def reads_of(c: Comp) -> tuple[sc.Read, ...]:
    found = _reads.get(c)
    if found is None:  # every pass asks: the answer is kept as long as the comprehension
        found = _reads[c] = tuple(sc.reads((c.body, *(c.target or ()))))
    return found
