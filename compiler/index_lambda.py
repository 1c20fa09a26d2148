"""Index lambdas: a tensor as a formula over its indices, not yet computed anywhere.

`IndexLambda(shape, body)` stands for `out[i0, i1, …] = body`. Elementwise operators, broadcasts
and views only substitute into the body; a reduction makes a node of the graph. `materialize`
turns a lambda into a node. The operator table works on lambdas alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import scalar as sc
from .dims import Dim, dim, is_one
from .dtypes import DType
from .errors import OpError as OpError
from .graph import Comp, Node, comp, identity_read, reduced_dtype
from .records import dataclass
from .scalar import Scalar
from .span import BUILTIN, Span


@dataclass(frozen=True, eq=False)
class IndexLambda:
    shape: tuple[Dim, ...]
    body: Scalar

    @property
    def dtype(self) -> DType:
        return self.body.dtype

    @property
    def rank(self) -> int:
        return len(self.shape)


def of_node(node: Node) -> IndexLambda:
    return IndexLambda(node.shape, identity_read(node))


def scalar(value: int | float | bool | Dim) -> IndexLambda:
    """A literal or a size, weakly typed."""
    return IndexLambda((), sc.size(value) if isinstance(value, Dim) else sc.const(value))


def shape_text(shape: Sequence[Dim]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def type_text(x: IndexLambda) -> str:
    return f"{x.dtype}{shape_text(x.shape) if x.shape else ''}"


# --------------------------------------------------------------------------- nodes


def as_node(x: IndexLambda) -> Node | None:
    """The node of which `x` is the plain value, if it is one."""
    body = x.body
    if isinstance(body, sc.Read) and x.shape == body.tensor.shape:
        if body is identity_read(body.tensor):
            return body.tensor
        if all(
            is_one(d) or i is sc.index(k)
            for k, (d, i) in enumerate(zip(x.shape, body.indices, strict=True))
        ):
            return body.tensor
    return None


def materialize(x: IndexLambda, name: str | None = None, span: Span = BUILTIN) -> Node:
    """A node that holds `x`."""
    node = as_node(x)
    if node is not None:
        return node
    return comp(x.body, x.shape, x.rank, name=name, span=span)


def computed_once(x: IndexLambda) -> IndexLambda:
    """`x`, as a node unless it is a mere view: for operands that are read many times."""
    if isinstance(x.body, sc.Read | sc.Const | sc.Affine):
        return x
    return of_node(materialize(x))


# --------------------------------------------------------------------------- elementwise


def broadcast_shapes(shapes: Sequence[tuple[Dim, ...]]) -> tuple[Dim, ...]:
    """NumPy's rule. Sizes must be equal for every binding, or literally 1."""
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    rank = max(map(len, shapes))
    out: list[Dim] = []
    for axis in range(-rank, 0):
        found = dim(1)
        for shape in shapes:
            if len(shape) < -axis or is_one(shape[axis]) or shape[axis] == found:
                continue
            if not is_one(found):
                listing = " and ".join(shape_text(s) for s in shapes)
                raise OpError(
                    "E0501",
                    f"shapes {listing} do not broadcast: "
                    f"{found} against {shape[axis]} in dim {axis}",
                )
            found = shape[axis]
        out.append(found)
    return tuple(out)


def broadcast_to(x: IndexLambda, shape: tuple[Dim, ...]) -> IndexLambda:
    if x.shape == shape:
        return x
    shift = len(shape) - x.rank
    if shift < 0 or broadcast_shapes([x.shape, shape]) != shape:
        raise OpError("E0501", f"{shape_text(x.shape)} does not broadcast to {shape_text(shape)}")
    at: dict[int, Scalar] = {}
    for k, d in enumerate(x.shape):
        target = sc.size(0) if is_one(d) else sc.index(k + shift)
        if target is not sc.index(k):
            at[k] = target
    return IndexLambda(shape, sc.substitute_indices(x.body, at))


def elementwise(f: Callable[..., Scalar], *xs: IndexLambda) -> IndexLambda:
    """`f` of the bodies, broadcast together."""
    shape = broadcast_shapes([x.shape for x in xs])
    return IndexLambda(shape, f(*(broadcast_to(x, shape).body for x in xs)))


def apply(name: str, *xs: IndexLambda) -> IndexLambda:
    return elementwise(lambda *args: sc.op(name, *args), *xs)


def cast(x: IndexLambda, dtype: DType) -> IndexLambda:
    return IndexLambda(x.shape, sc.cast(x.body, dtype))


# --------------------------------------------------------------------------- views


def reindex(x: IndexLambda, shape: Sequence[Dim], at: Sequence[Scalar]) -> IndexLambda:
    """`out[j…] = x[at[0], at[1], …]`, where `at` are expressions in the output's indices."""
    return IndexLambda(tuple(shape), sc.substitute_indices(x.body, dict(enumerate(at))))


def axis_of(d: int, rank: int, what: str = "dim") -> int:
    """A dim argument as a position from 0; PyTorch's range rule."""
    if not -max(rank, 1) <= d < max(rank, 1):
        raise OpError(
            "E0502",
            f"{what} {d} is out of range: a tensor of rank {rank} has dims "
            f"{-max(rank, 1)} to {max(rank, 1) - 1}",
        )
    return d % max(rank, 1)


def permute(x: IndexLambda, order: Sequence[int]) -> IndexLambda:
    """`out.shape[k] = x.shape[order[k]]`."""
    at: list[Scalar] = [sc.size(0)] * x.rank
    for k, axis in enumerate(order):
        at[axis] = sc.index(k)
    return reindex(x, [x.shape[a] for a in order], at)


def insert_axes(x: IndexLambda, axes: Sequence[int]) -> IndexLambda:
    """Axes of size 1 at the given positions of the result."""
    rank = x.rank + len(axes)
    kept = [k for k in range(rank) if k not in axes]
    shape = [dim(1)] * rank
    for k, d in zip(kept, x.shape, strict=True):
        shape[k] = d
    return reindex(x, shape, [sc.index(k) for k in kept])


def drop_axes(x: IndexLambda, axes: Sequence[int]) -> IndexLambda:
    """Without the given axes, each of size 1."""
    at: list[Scalar] = []
    shape: list[Dim] = []
    for k, d in enumerate(x.shape):
        if k in axes:
            at.append(sc.size(0))
        else:
            at.append(sc.index(len(shape)))
            shape.append(d)
    return reindex(x, shape, at)


# --------------------------------------------------------------------------- reductions


def reduce(
    x: IndexLambda, reducer: str, axes: Sequence[int] | None, keepdim: bool = False
) -> IndexLambda:
    """Reduce over `axes` (None: all of them)."""
    over = sorted({axis_of(a, x.rank) for a in axes}) if axes is not None else list(range(x.rank))
    if not x.rank or not over:
        return _of_one(x, reducer)
    kept = [k for k in range(x.rank) if k not in over]
    order = [*kept, *over]
    at = {axis: sc.index(position) for position, axis in enumerate(order)}
    body = sc.substitute_indices(x.body, at)
    node: Comp = comp(body, [x.shape[k] for k in order], len(kept), reducer)
    out = of_node(node)
    return insert_axes(out, over) if keepdim else out


def _of_one(x: IndexLambda, reducer: str) -> IndexLambda:
    """The reduction of one element: itself, in the reduction's dtype."""
    dtype = reduced_dtype(reducer, x.dtype)
    if reducer in ("argmax", "argmin"):
        return IndexLambda(x.shape, sc.const(0, dtype))
    body = sc.truth(x.body) if dtype.is_bool else x.body
    return IndexLambda(x.shape, sc.convert(body, dtype))
