"""The order of indices around a table of pairs, where the arrays it is made of have another.

In: a `Function` whose comprehensions are final. Out: one that computes the same. What is summed
from a table's rows has its indices in the table's order, and so has what is computed from that
element by element; results of the function get their own order at the end, by a copy. Operands
whose batch does not come first are copied so that it does.

Attention is written with its heads behind the positions, as they come from a product
(`a[e, f, i, j] = sum[c](q[e, i, f, c] * k[e, j, f, c])`): its scores, though, are tables of one
head, and only kernels that all begin with the indices of a head can share its rows (`bands`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import scalar as sc
from .graph import Comp, Function, Node, comp, over_indices, postorder, with_body, with_operands
from .inline import is_no_larger, reads_of
from .pairs import are_rows, sides_of_pairs
from .scalar import Scalar

_Order = tuple[int, ...]
"""For every index of what is computed, which of the result's it is."""


def in_order_of_tables(fn: Function) -> Function:
    turned: dict[Node, tuple[Comp, _Order]] = {}
    firsts: set[Comp] = set()  # what is read in place of those
    done: dict[Node, Node] = {}
    results = set(fn.outputs)
    for node in postorder(fn.outputs):
        out = _reading_turned(with_operands(node, done), turned)
        if isinstance(out, Comp):
            out = _with_batch_first(_summed_in_order(out, firsts))
            order = _order(out, node in results, firsts)
            if order is not None:
                first = _with_batch_first(_in_order(out, order))
                own = sc.read(first, [sc.index(k) for k in order])
                out = comp(
                    own,
                    out.shape,
                    out.rank,
                    name=out.name,
                    index_names=out.index_names[: out.rank],
                    span=out.span,
                )
                turned[out] = first, order
                firsts.add(first)
        done[node] = out
    return fn.with_outputs(done[o] for o in fn.outputs)


def _reading_turned(node: Node, turned: Mapping[Node, tuple[Comp, _Order]]) -> Node:
    if not isinstance(node, Comp) or not any(r.tensor in turned for r in reads_of(node)):
        return node

    def rule(x: Scalar) -> Scalar:
        if not isinstance(x, sc.Read) or x.tensor not in turned:
            return x
        first, order = turned[x.tensor]
        return sc.read(first, [x.indices[k] for k in order])

    target = None if node.target is None else [sc.rewrite(t, rule) for t in node.target]
    return with_body(node, sc.rewrite(node.body, rule), target)


def _summed_in_order(c: Comp, turned: set[Comp]) -> Comp:
    """A reduction in the order of the indices of what is turned."""
    if c.reducer is None or c.reducer.startswith("arg") or c.target is not None:
        return c
    for r in reads_of(c):
        found = plain_indices(r) if r.tensor in turned else None
        if found is not None:
            summed = [k for k in found if k >= c.rank]
            order = [*range(c.rank), *summed, *(k for k in c.reduced if k not in summed)]
            return c if order == sorted(order) else _in_order(c, order)
    return c


def _order(c: Comp, is_result: bool, turned: set[Comp]) -> _Order | None:
    """The order that `c` should be computed in, if that is not its own."""
    if c.target is not None or c.rank < 3:
        return None
    if c.reducer is not None:
        wanted = _of_a_table(c)
    elif is_result:
        return None
    else:
        orders = {plain_indices(r) for r in reads_of(c) if r.tensor in turned}
        wanted = orders.pop() if len(orders) == 1 else None
    if wanted is None:
        return None
    order = (*wanted, *(k for k in range(c.rank) if k not in wanted))
    # vectors run along the last one
    return order if order != tuple(range(c.rank)) and order[-1] == c.rank - 1 else None


def _of_a_table(c: Comp) -> _Order | None:
    """The indices of `c` as they come in the table that a row of it sums up; where the first that
    comes too late is one of all that it is summed from."""
    for r in reads_of(c):
        found = plain_indices(r)
        if found is None or not _is_summed_table(c, r):
            continue
        own = tuple(k for k in found if k < c.rank)
        late = next((k for k, usual in zip(own, sorted(own), strict=True) if k != usual), None)
        summed = [x for x in map(sc.indices_of, reads_of(c)) if x & set(c.reduced)]
        if late is not None and all(late in x for x in summed):
            return own
    return None


def plain_indices(r: sc.Read) -> _Order | None:
    """Those of a read at plain, different indices."""
    found = [sc.indices_of(at) for at in r.indices]
    plain = all(len(x) == 1 and at is sc.index(*x) for x, at in zip(found, r.indices, strict=True))
    order = tuple(k for x in found for k in x)
    return order if plain and len(set(order)) == len(order) else None


def _with_batch_first(c: Comp) -> Comp:
    """A table, or what is summed from one, of operands whose batch comes first."""
    if c.reducer != "sum" or c.target is not None or not (_is_table(c) or _sums_table(c)):
        return c
    summed = [x for x in map(sc.indices_of, reads_of(c)) if x & set(c.reduced)]
    batch: list[int] = []
    while len(batch) < c.rank and all(len(batch) in x for x in summed):
        batch.append(len(batch))

    def rule(x: Scalar) -> Scalar:
        found = plain_indices(x) if isinstance(x, sc.Read) else None
        if not isinstance(x, sc.Read) or found is None or not set(batch) <= set(found):
            return x
        order = (*batch, *(k for k in found if k not in batch))
        if order == found or order[-1] != found[-1]:
            return x
        axes = [found.index(k) for k in order]
        own = sc.read(x.tensor, [sc.index(axes.index(a)) for a in range(len(axes))])
        copy = comp(own, [x.tensor.shape[a] for a in axes], len(axes), span=c.span)
        return sc.read(copy, [x.indices[a] for a in axes])

    return with_body(c, sc.rewrite(c.body, rule)) if batch else c


def _is_table(c: Comp) -> bool:
    sides = sides_of_pairs(c)
    return sides is not None and c.rank > 2 and are_rows(c, sides)


def _sums_table(c: Comp) -> bool:
    return c.rank > 2 and any(_is_summed_table(c, r) for r in reads_of(c))


def _is_summed_table(c: Comp, r: sc.Read) -> bool:
    """Whether `r` reads a table that `c` sums up."""
    found = plain_indices(r)
    return (
        found is not None
        and isinstance(r.tensor, Comp)
        and bool(set(found) & set(c.reduced))
        and not is_no_larger(r.tensor.shape, [c])
    )


def _in_order(c: Comp, order: Sequence[int]) -> Comp:
    numbers = [*order, *(k for k in c.reduced if k not in order)]
    return over_indices(c, numbers, c.rank, name=c.name)
