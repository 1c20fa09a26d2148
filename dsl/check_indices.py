"""Index notation inside expressions: reads at named indices, and reducers over them.

In: `x[i, 2*j + 1]` and `sum[k](…)`, as syntax. Out: scalars whose index numbers are those of the
statement, and comprehensions. Whole statements are check_index_statements'. A statement is read
twice: the first time for its reads, from which `check_ranges` tells how far each index runs, the
second time to build it. Every index of a statement, reduced ones included, has a number of its
own; a comprehension renumbers those that it uses from 0, with its first value moved to 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.dims import Dim, dim, product
from ..compiler.dtypes import I64
from ..compiler.graph import Comp, comp
from ..compiler.index_lambda import IndexLambda
from ..compiler.ops import INDEX_REDUCERS, ROWS
from ..compiler.records import dataclass, field
from ..compiler.scalar import Scalar
from ..compiler.span import Span
from .check_frame import Frame, Value, kind_of, static_size
from .check_index_uses import Bounds, Guard, Use, guard_of
from .check_ranges import infer
from .check_subscripts import from_end, source_text, within
from .suggest import did_you_mean
from .syntax import (
    Call,
    Ellipsis_,
    Expr,
    Name,
    NewAxis,
    Range,
    Reduce,
    Slice,
    Subscript,
)
from .syntax_walk import names_read

POSITIONS = ("argmax", "argmin")  # reducers whose value is an index
_MODES = ("clamp", "wrap", "zero")  # what a read beyond the bounds gives; for later


@dataclass
class Indices:
    """The indices of one statement. `visible` maps the names in scope to numbers; `bounds` is None
    on the first reading."""

    visible: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # by number
    spans: list[Span] = field(default_factory=list)
    reduced: dict[int, tuple[int, ...]] = field(default_factory=dict)  # by id of the Reduce
    uses: list[Use] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)  # conditions around what is being read
    bounds: list[Bounds] | None = None
    explicit: tuple[Range, ...] = ()

    def add(self, name: Name) -> int:
        self.names.append(name.id)
        self.spans.append(name.span)
        return len(self.names) - 1

    def mentioned(self, e: Expr) -> bool:
        """Whether an index in scope occurs in `e`."""
        return any(n.id in self.visible for n in names_read(e))

    @contextmanager
    def under(self, condition: Scalar) -> Iterator[None]:
        """What is read inside is computed only where `condition` holds."""
        self.guards.append(guard_of(condition))
        try:
            yield
        finally:
            self.guards.pop()

    @contextmanager
    def scope(self, indices: Sequence[Name], numbers: Sequence[int]) -> Iterator[None]:
        for name, number in zip(indices, numbers, strict=True):
            self.visible[name.id] = number
        try:
            yield
        finally:
            for name in indices:
                del self.visible[name.id]


# --------------------------------------------------------------------------- reads


def read(frame: Frame, e: Subscript, ix: Indices) -> Value:
    """`x[i, 2*j + 1, y[i]]`: one element."""
    odd = next((i for i in e.items if isinstance(i, Slice | NewAxis | Ellipsis_)), None)
    if odd is not None:
        return frame.error(
            "E0512",
            "a slice stands beside named indices",
            odd.span,
            "give every dim an index of its own, or slice in a statement before",
        )
    if ix.mentioned(e.base):
        return frame.error(
            "E0512",
            "what is indexed here depends on an index itself",
            e.base.span,
            "name it in an index statement of its own: `t[i, j] = …`, then read `t[i, j]`",
        )
    mode = next((i for i in e.items if isinstance(i, Call) and i.func.id in _MODES), None)
    if mode is not None and len(mode.args) == 1 and not mode.keywords:
        return frame.error(
            "E0607",
            f"the index mode `{mode.func.id}` is not supported yet",
            mode.span,
            "pad the tensor, or read under a condition: `u[i-1] if i > 0 else 0`",
        )
    base = frame.operand(e.base, None)
    items = [
        frame.operand(i, ix) for i in e.items if not isinstance(i, Slice | NewAxis | Ellipsis_)
    ]
    at = [i for i in items if i is not None]
    if base is None or len(at) < len(items):
        return None
    if len(at) != base.rank:
        shown = il.type_text(base)
        counted = "1 index" if len(at) == 1 else f"{len(at)} indices"
        return frame.error(
            "E0510",
            f"{counted} for {source_text(e.base)} of rank {base.rank} ({shown})",
            e.span,
            "in index notation every dim has an index",
            frame.dim_notes(base.shape),
        )
    frame.scope.span = e.span
    positions: list[Scalar] = []
    for axis, (item, value) in enumerate(zip(e.items, at, strict=True)):
        assert not isinstance(item, Slice | NewAxis | Ellipsis_)
        position = position_of(frame, e, item, value, axis, base.shape[axis], ix)
        if position is None:
            return None
        positions.append(position)
    body = sc.substitute_indices(il.computed_once(base).body, dict(enumerate(positions)))
    return IndexLambda((), body)


def position_of(
    frame: Frame, e: Subscript, item: Expr, value: IndexLambda, axis: int, extent: Dim, ix: Indices
) -> Scalar | None:
    if not value.dtype.is_integer:
        return frame.error("E0402", f"an index is an integer, got {kind_of(value)}", item.span)
    stated = static_size(value)
    if stated is not None:
        position = from_end(frame, stated, extent, item.span)
        shown = f"position {stated} in dim {axis} of {source_text(e.base)} (size {extent})"
        # under a condition it is the condition that keeps the read in bounds
        if position is None or not (ix.guards or within(frame, position, extent, shown, item.span)):
            return None
        return sc.size(position)
    form = value.body
    if isinstance(form, sc.Affine):
        ix.uses.append(Use(form, extent, source_text(e.base), axis, item.span, tuple(ix.guards)))
    return form


# --------------------------------------------------------------------------- reducers


def reduction(frame: Frame, e: Reduce, ix: Indices | None) -> Value:
    """`sum[k](body)` inside an expression: a comprehension over the indices that it uses."""
    if frame.scalar:
        return frame.error(
            "E0405", "a scalar function has no indices to reduce over", e.span, "write a `def`"
        )
    if ix is not None:
        return _reduce(frame, e, ix)
    ix = Indices()
    if _reduce(frame, e, ix) is None or not infer(frame, ix, 0, e.span):
        return None
    return _reduce(frame, e, ix)


def _reduce(frame: Frame, e: Reduce, ix: Indices) -> Value:
    numbers = _reduced_numbers(frame, e, ix)
    if numbers is None:
        return None
    with ix.scope(e.indices, numbers):
        before = len(ix.uses)
        x = frame.operand(e.body, ix)
    if x is None or not _reducible(frame, e, x):
        return None
    reducer, body = e.reducer.id, x.body
    if ix.bounds is None:  # the dtype is all that matters yet
        opaque = sc.op("stop_gradient", body)
        return IndexLambda((), sc.cast(opaque, I64) if reducer in POSITIONS else opaque)
    guards = [g.condition for g in ix.guards]
    if guards and any(u.guarded for u in ix.uses[before:]):
        # computed by itself, it must not read what the conditions around it exclude
        allowed = guards[0]
        for g in guards[1:]:
            allowed = sc.op("and", allowed, g)
        body = sc.op("where", allowed, body, sc.const(False if body.dtype.is_bool else 0))
    free = sorted(sc.indices_of(body) - set(numbers))
    frame.scope.span = e.span
    out = _reduced(frame, ix, reducer, body, free, numbers, e.span)
    return IndexLambda((), sc.substitute_indices(out.body, _inner_positions(ix, free)))


def _reduced_numbers(frame: Frame, e: Reduce, ix: Indices) -> tuple[int, ...] | None:
    """The numbers of a reducer's indices, new ones on the first reading."""
    if id(e) in ix.reduced:
        return ix.reduced[id(e)]
    if e.reducer.id not in INDEX_REDUCERS:
        near = did_you_mean(e.reducer.id, INDEX_REDUCERS)
        known = ", ".join(INDEX_REDUCERS)
        return frame.error(
            "E0507",
            f"`{e.reducer.id}` does not reduce over named indices",
            e.reducer.span,
            f"did you mean `{near}`?" if near else f"the reducers are {known}",
        )
    for name in e.indices:
        if name.id in ix.visible:
            return frame.error("E0304", f"`{name.id}` is an index here already", name.span)
    if not fresh_indices(frame, e.indices):
        return None
    numbers = tuple(ix.add(n) for n in e.indices)
    ix.reduced[id(e)] = numbers
    return numbers


def fresh_indices(frame: Frame, names: Sequence[Name]) -> bool:
    """Whether these can be indices: an index may repeat a dim's name, but not a value's."""
    ok = True
    seen: set[str] = set()
    for name in names:
        if name.id in frame.locals:
            frame.error(
                "E0304",
                f"the index `{name.id}` has the name of a value",
                name.span,
                "rename the index",
            )
            ok = False
        elif name.id in seen:
            frame.error("E0304", f"the index `{name.id}` is named twice", name.span)
            ok = False
        seen.add(name.id)
    return ok


def _reducible(frame: Frame, e: Reduce, x: IndexLambda) -> bool:
    reducer = e.reducer.id
    if reducer in ("mean", "logsumexp") and not x.dtype.is_float:
        shown = kind_of(x)
        frame.error(
            "E0402", f"`{reducer}` needs floats, got {shown}", e.body.span, "cast it first: f32(…)"
        )
        return False
    if reducer in POSITIONS and len(e.indices) != 1:
        frame.error("E0507", f"`{reducer}` goes over one index", e.span)
        return False
    return True


def _reduced(
    frame: Frame,
    ix: Indices,
    reducer: str,
    body: Scalar,
    free: Sequence[int],
    numbers: Sequence[int],
    span: Span,
) -> IndexLambda:
    """The reduction as a tensor over `free`."""
    assert ix.bounds is not None
    match reducer:
        case "mean":
            total = il.of_node(comprehension(ix, body, free, numbers, "sum", span))
            count = product(tuple(ix.bounds[k].extent for k in numbers))
            return il.apply("div", total, il.scalar(count))
        case "logsumexp":
            every = [*free, *numbers]
            whole = il.of_node(comprehension(ix, body, every, (), None, span))
            dims = tuple(range(len(free), len(every)))
            return ROWS["logsumexp"].apply(whole, dims)
        case "argmax" | "argmin":
            at = il.of_node(comprehension(ix, body, free, numbers, reducer, span))
            first = ix.bounds[numbers[0]].lo
            return at if first == dim(0) else il.apply("add", at, il.scalar(first))
        case _:
            return il.of_node(comprehension(ix, body, free, numbers, reducer, span))


def comprehension(
    ix: Indices,
    body: Scalar,
    free: Sequence[int],
    reduced: Sequence[int],
    reducer: str | None,
    span: Span,
    name: str | None = None,
) -> Comp:
    """The node over the statement's indices `free`, reduced over `reduced`."""
    assert ix.bounds is not None
    order = [*free, *reduced]
    return comp(
        sc.substitute_indices(body, outer_values(ix, order)),
        [ix.bounds[k].extent for k in order],
        len(free),
        reducer,
        name=name,
        index_names=[ix.names[k] for k in order],
        span=span,
    )


def outer_values(ix: Indices, order: Sequence[int]) -> dict[int, Scalar]:
    """The statement's indices in terms of a comprehension's: moved by where they begin."""
    assert ix.bounds is not None
    return {k: sc.affine({n: dim(1)}, ix.bounds[k].lo) for n, k in enumerate(order)}


def _inner_positions(ix: Indices, free: Sequence[int]) -> dict[int, Scalar]:
    assert ix.bounds is not None
    return {n: sc.affine({k: dim(1)}, -ix.bounds[k].lo) for n, k in enumerate(free)}
