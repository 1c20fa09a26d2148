"""One function for many values of some inputs: further leading indices on the graph.

In: a graph without gradient requests, and what stands for some of its inputs. Out: the graph whose
nodes have the indices `leading` in front of their own wherever they depend on these inputs; the
others stay as they are and are shared.

    z[i] = sum[k](w[i, k] * x[k])     x mapped:     z[b, i] = sum[k](w[i, k] * x[b, k])

`vmap` maps inputs to inputs with one dim more. A Jacobian (`jacobian`) maps the cotangent to the
unit vectors: all rows at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from . import scalar as sc
from .dims import Dim
from .graph import (
    Comp,
    Function,
    Input,
    Node,
    comp,
    identity_read,
    make_input,
    operands,
    postorder,
)
from .records import dataclass
from .scalar import Scalar


@dataclass(frozen=True)
class Moved:
    """Stands for an input: `node`, which has the leading dims at position `at`."""

    node: Node
    at: int


@dataclass(frozen=True)
class UnitVectors:
    """Stands for an input of the shape of the leading dims: 1 where its indices are the leading
    ones, else 0."""


Source = Moved | UnitVectors


def vmap(fn: Function, size: Dim, in_dims: Sequence[int | None], name: str, doc: str) -> Function:
    """`fn` with the dim `size` more in the parameters whose entry of `in_dims` says where, and
    leading in every result."""
    with fn.scope.active():
        params: list[Input] = []
        sources: dict[Node, Source] = {}
        for p, at in zip(fn.params, in_dims, strict=True):
            if at is None:
                params.append(p)
                continue
            shape = (*p.shape[:at], size, *p.shape[at:])
            moved = make_input(p.name, p.position, p.dtype, shape, p.span)
            params.append(moved)
            sources[p] = Moved(moved, at)
        outputs = mapped(fn.outputs, (size,), sources)
        return replace(fn, name=name, params=tuple(params), outputs=outputs, doc=doc)


def mapped(
    outputs: Sequence[Node], leading: Sequence[Dim], sources: Mapping[Node, Source]
) -> tuple[Node, ...]:
    """`outputs` with the leading dims, where each of `sources` stands for a node."""
    done: dict[Node, Source] = dict(sources)
    for node in postorder(outputs):
        if isinstance(node, Comp) and any(n in done for n in operands(node)):
            done[node] = Moved(_mapped_comp(node, leading, done), 0)
    return tuple(_whole(done.get(o), o, leading) for o in outputs)


def _whole(found: Source | None, node: Node, leading: Sequence[Dim]) -> Node:
    """A result: one that does not depend on the sources is repeated, and a source is a node."""
    n = len(leading)
    match found:
        case Moved(new, 0):
            return new
        case Moved() | UnitVectors():
            own = [sc.index(n + k) for k in range(len(node.shape))]
            body = _source_read(found, own, n)
        case None:
            shift: dict[int, Scalar] = {k: sc.index(n + k) for k in range(len(node.shape))}
            body = sc.substitute_indices(identity_read(node), shift)
    extents = (*leading, *node.shape)
    return comp(body, extents, len(extents), name=getattr(node, "name", None), span=node.span)


def _mapped_comp(node: Comp, leading: Sequence[Dim], done: Mapping[Node, Source]) -> Comp:
    n = len(leading)
    shift: dict[int, Scalar] = {k: sc.index(k + n) for k in range(len(node.extents))}

    def moved(x: Scalar) -> Scalar:
        if isinstance(x, sc.Read) and x.tensor in done:
            return _source_read(done[x.tensor], x.indices, n)
        return x

    def at_leading(x: Scalar) -> Scalar:
        return sc.rewrite(sc.substitute_indices(x, shift), moved)

    target, rank = None, node.rank + n
    if node.target is not None:  # every index of a scatter is iterated
        target = [*(sc.index(k) for k in range(n)), *(at_leading(t) for t in node.target)]
        rank = node.rank
    return comp(
        _selected(node, shift, done) or at_leading(node.body),
        (*leading, *node.extents),
        rank,
        node.reducer,
        target=target,
        shape=(*leading, *node.shape) if target is not None else None,
        name=node.name,
        index_names=_index_names(node, n),
        span=node.span,
    )


def _source_read(source: Source, indices: Sequence[Scalar], n: int) -> Scalar:
    match source:
        case Moved(node, at):
            front = [sc.index(k) for k in range(n)]
            return sc.read(node, [*indices[:at], *front, *indices[at:]])
        case UnitVectors():
            test = _is_leading(indices)
            return sc.op("where", test, sc.const(1), sc.const(0))


def _is_leading(indices: Sequence[Scalar]) -> Scalar:
    test: Scalar | None = None
    for k, i in enumerate(indices):
        here = sc.op("eq", i, sc.index(k))
        test = here if test is None else sc.op("and", test, here)
    return sc.const(True) if test is None else test


def _selected(
    node: Comp, shift: Mapping[int, Scalar], done: Mapping[Node, Source]
) -> Scalar | None:
    """The body of a node that is linear in one element of the unit vectors and reads nothing else
    that is mapped: what stands beside the 1 is chosen, never multiplied by 0."""
    found = [r for r in sc.reads((node.body,)) if r.tensor in done]
    if len(found) != 1 or not isinstance(done[found[0].tensor], UnitVectors):
        return None
    if node.reducer not in (None, "sum") or not node.body.dtype.is_float:
        return None
    one = sc.const(1, found[0].dtype)
    beside = sc.rewrite(node.body, lambda x: one if x is found[0] else x)
    here = sc.substitute_indices(beside, shift)
    test = _is_leading([sc.substitute_indices(i, shift) for i in found[0].indices])
    return sc.op("where", test, here, sc.const(0, here.dtype))


def _index_names(node: Comp, n: int) -> tuple[str, ...]:
    if not node.index_names:
        return ()
    front: list[str] = []
    for letter in "bcdefghopqrstuvwxyz":
        if len(front) < n and letter not in node.index_names:
            front.append(letter)
    return (*front, *node.index_names) if len(front) == n else ()
