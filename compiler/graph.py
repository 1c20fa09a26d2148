"""The graph: inputs, comprehensions and gradient requests, interned; and functions over them.

In: scalar bodies. Out: nodes with dtype and symbolic shape. A comprehension is

    out[i, j, …] = reducer over (k, l, …) of body

with indices numbered 0, 1, …: first those of the output, then those reduced over. With a
`target` every index is iterated and `out[target] reducer= body` accumulates (a scatter).

Nodes are interned on content within a `Scope` (one per compilation): names and spans are outside
the key, and must not leak from one file's nodes into another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from . import scalar as sc
from .dims import Dim
from .dtypes import BOOL, I64, DType
from .records import dataclass, field
from .scalar import Scalar
from .span import BUILTIN, Span


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Input:
    """A parameter of the function, by position."""

    name: str
    position: int
    dtype: DType
    shape: tuple[Dim, ...]
    span: Span


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Comp:
    """A comprehension. `extents[:rank]` are the output's unless there is a `target`; `reducer` is
    None (no reduction), or a row of REDUCERS. `variable` keeps what a gradient is taken by apart
    from an equal value computed elsewhere, until the gradient is taken. `name` and `index_names`
    are what the user (or a pass) called things: for printing only."""

    reducer: str | None
    extents: tuple[Dim, ...]
    rank: int
    body: Scalar
    target: tuple[Scalar, ...] | None
    shape: tuple[Dim, ...]
    dtype: DType
    variable: str | None
    name: str | None
    index_names: tuple[str, ...]
    span: Span

    @property
    def reduced(self) -> range:
        """The numbers of the indices that are reduced over."""
        return range(self.rank, len(self.extents))


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Gradient:
    """The derivative of the scalar `of` with respect to `wrt`: a request that the gradient stage
    replaces."""

    of: Node
    wrt: Node
    shape: tuple[Dim, ...]
    dtype: DType
    name: str | None
    span: Span


Node = Input | Comp | Gradient


@dataclass(frozen=True)
class Reducer:
    """A monoid. `combine` is the primitive; `identity` its neutral element (None: no value for an
    empty range: an error). argmax and argmin return positions and have no `combine`."""

    name: str
    combine: str | None
    identity: float | bool | None


REDUCERS = {
    r.name: r
    for r in (
        Reducer("sum", "add", 0),
        Reducer("prod", "mul", 1),
        Reducer("max", "max", None),
        Reducer("min", "min", None),
        Reducer("any", "or", False),
        Reducer("all", "and", True),
        Reducer("argmax", None, None),
        Reducer("argmin", None, None),
    )
}


# --------------------------------------------------------------------------- interning


class Scope:
    """The nodes of one compilation, by content. `span` is given to comprehensions that are made
    without one: the checker keeps it at the expression that it reads."""

    def __init__(self) -> None:
        self.nodes: dict[Any, Any] = {}
        self.span = BUILTIN

    @contextmanager
    def active(self) -> Iterator[None]:
        token = _scope.set(self)
        try:
            yield
        finally:
            _scope.reset(token)


_scope: ContextVar[Scope] = ContextVar("tdsl scope", default=Scope())  # noqa: B039


def _interned(key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    nodes = _scope.get().nodes
    found = nodes.get(key)
    if found is None:
        found = nodes[key] = make()
    return found


def make_input(
    name: str, position: int, dtype: DType, shape: Sequence[Dim], span: Span = BUILTIN
) -> Input:
    dims = tuple(shape)
    key = (Input, name, position, dtype, dims)
    out: Input = _interned(key, lambda: Input(name, position, dtype, dims, span))
    return out


def comp(
    body: Scalar,
    extents: Sequence[Dim],
    rank: int,
    reducer: str | None = None,
    *,
    target: Sequence[Scalar] | None = None,
    shape: Sequence[Dim] | None = None,
    variable: str | None = None,
    name: str | None = None,
    index_names: Sequence[str] = (),
    span: Span = BUILTIN,
) -> Comp:
    """A comprehension over `extents`; with `target`, `shape` is the result's."""
    if target is not None:
        if shape is None:
            raise ValueError("a scatter states its shape")
        target = tuple(sc.size(int(t.value)) if isinstance(t, sc.Const) else t for t in target)
    body = sc.settle(body)
    bounds = tuple(extents)
    dims = tuple(shape) if shape is not None and target is not None else bounds[:rank]
    dtype = body.dtype if reducer is None else reduced_dtype(reducer, body.dtype)
    if reducer in ("any", "all"):
        body = sc.truth(body)
    elif reducer in ("sum", "prod") or (reducer is not None and body.dtype.is_bool):
        body = sc.convert(body, dtype)
    key = (Comp, reducer, bounds, rank, body, target, dims, variable)
    if span is BUILTIN:
        span = _scope.get().span
    out: Comp = _interned(
        key,
        lambda: Comp(
            reducer,
            bounds,
            rank,
            body,
            target,
            dims,
            dtype,
            variable,
            name,
            tuple(index_names),
            span,
        ),
    )
    return out


def unreduced(node: Comp, body: Scalar) -> Comp:
    """`body` for every element of the result, in place of `node`."""
    return comp(
        body,
        node.shape,
        node.rank,
        variable=node.variable,
        name=node.name,
        index_names=node.index_names[: node.rank],
        span=node.span,
    )


def reduced_dtype(reducer: str, d: DType) -> DType:
    """The dtype of a reduction over elements of dtype `d` (PyTorch's)."""
    if reducer in ("argmax", "argmin"):
        return I64
    if reducer in ("any", "all"):
        return BOOL
    whole = d.is_integer or d.is_bool
    return I64 if d.is_bool or (whole and reducer in ("sum", "prod")) else d


def gradient(of: Node, wrt: Node, name: str | None = None, span: Span = BUILTIN) -> Gradient:
    out: Gradient = _interned(
        (Gradient, of, wrt), lambda: Gradient(of, wrt, wrt.shape, wrt.dtype, name, span)
    )
    return out


def rename(node: Node, name: str, span: Span, index_names: Sequence[str] = ()) -> Node:
    """The same node under the user's name, unless an equal one was named before."""
    if isinstance(node, Input) or node.name is not None:
        return node
    object.__setattr__(node, "name", name)  # outside the key: printing only
    object.__setattr__(node, "span", span)
    if index_names and isinstance(node, Comp):
        object.__setattr__(node, "index_names", tuple(index_names))
    return node


# --------------------------------------------------------------------------- functions


@dataclass(frozen=True)
class Requirement:
    """A size that must be at least 0 at every call; `message` says why, in the user's terms."""

    nonnegative: Dim
    message: str
    span: Span


@dataclass(frozen=True)
class Function:
    """A `def`, checked: what every stage before kernels maps to another of its kind."""

    name: str
    params: tuple[Input, ...]
    outputs: tuple[Node, ...]
    returns_tuple: bool
    requirements: tuple[Requirement, ...] = ()
    doc: str | None = None
    span: Span = BUILTIN
    scope: Scope = field(default_factory=Scope, compare=False, repr=False)
    donated: tuple[tuple[int, int], ...] = ()
    """Parameters whose memory the caller gives away, each with the output that goes there."""

    @property
    def dims(self) -> tuple[str, ...]:
        """The named dims, in the order in which the parameters bring them."""
        seen: dict[str, None] = {}
        for p in self.params:
            for d in p.shape:
                for n in sorted(d.names):
                    seen.setdefault(n)
        return tuple(seen)

    def with_outputs(self, outputs: Iterable[Node]) -> Function:
        return replace(self, outputs=tuple(outputs))


# --------------------------------------------------------------------------- traversal


_operands: WeakKeyDictionary[Node, tuple[Node, ...]] = WeakKeyDictionary()


def operands(node: Node) -> tuple[Node, ...]:
    """The nodes that `node` reads, each once, in order of appearance."""
    match node:
        case Input():
            return ()
        case Gradient():
            return (node.of, node.wrt)
        case Comp():
            found = _operands.get(node)
            if found is None:  # every pass asks: the answer is kept as long as the node
                roots = (node.body, *(node.target or ()))
                found = tuple(dict.fromkeys(r.tensor for r in sc.reads(roots)))
                _operands[node] = found
            return found


def postorder(roots: Iterable[Node]) -> list[Node]:
    """Every node reachable from `roots`, producers first."""
    out: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, expanded = stack.pop()
            if expanded:
                out.append(node)
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((n, False) for n in reversed(operands(node)) if n not in seen)
    return out


def readers(roots: Iterable[Node]) -> dict[Node, list[Node]]:
    """For every reachable node, the nodes that read it."""
    out: dict[Node, list[Node]] = {}
    for node in postorder(roots):
        out.setdefault(node, [])
        for producer in operands(node):
            out[producer].append(node)
    return out


def rewrite(roots: Sequence[Node], rule: Callable[[Node], Node]) -> tuple[Node, ...]:
    """Rebuild producers first: `rule` sees each node with its operands already rewritten."""
    done: dict[Node, Node] = {}
    for node in postorder(roots):
        done[node] = rule(with_operands(node, done))
    return tuple(done[r] for r in roots)


def with_nodes(roots: Sequence[Node], changed: Mapping[Comp, Comp]) -> tuple[Node, ...]:
    """The roots with comprehensions replaced by others, which may read new ones."""
    done: dict[Node, Node] = {}
    stack: list[tuple[Node, bool]] = [(n, False) for n in roots]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        other = changed.get(node, node) if isinstance(node, Comp) else node
        if ready:
            done[node] = with_operands(other, done)
        else:
            stack.append((node, True))
            stack += [(n, False) for n in operands(other)]
    return tuple(done[n] for n in roots)


def with_operands(node: Node, new: dict[Node, Node]) -> Node:
    """`node` over other operands."""
    match node:
        case Input():
            return node
        case Gradient():
            of, wrt = new.get(node.of, node.of), new.get(node.wrt, node.wrt)
            return gradient(of, wrt, node.name, node.span)
        case Comp():
            if all(new.get(n, n) is n for n in operands(node)):
                return node

            def redirect(x: Scalar) -> Scalar:
                if isinstance(x, sc.Read) and new.get(x.tensor, x.tensor) is not x.tensor:
                    return sc.read(new[x.tensor], x.indices)
                return x

            return with_body(
                node,
                sc.rewrite(node.body, redirect),
                target=None
                if node.target is None
                else [sc.rewrite(t, redirect) for t in node.target],
            )


def with_body(node: Comp, body: Scalar, target: Sequence[Scalar] | None = None) -> Comp:
    """`node` with another body over the same indices."""
    return _alike(node, body, node.target if target is None else target, node.variable)


def as_variable(node: Comp, variable: str | None, name: str | None = None) -> Comp:
    """`node` kept apart from equal ones as what a gradient is taken by, under the user's `name`;
    `variable` None: no longer."""
    out = _alike(node, node.body, node.target, variable)
    if name is not None and out is not node:  # names are outside the key: printing only
        object.__setattr__(out, "name", name)
        if node.name == name:
            object.__setattr__(node, "name", None)
    return out


def _alike(node: Comp, body: Scalar, target: Sequence[Scalar] | None, variable: str | None) -> Comp:
    return comp(
        body,
        node.extents,
        node.rank,
        node.reducer,
        target=target,
        shape=node.shape if target is not None else None,
        variable=variable,
        name=node.name,
        index_names=node.index_names,
        span=node.span,
    )


def over_indices(
    node: Comp,
    numbers: Sequence[int],
    rank: int,
    *,
    body: Scalar | None = None,
    name: str | None = None,
) -> Comp:
    """`node`, or what has `body` in its place, over these of its indices in this order, of which
    the first `rank` are the output's: reduced as `node` is, if there are others."""
    at: dict[int, Scalar] = {k: sc.index(n) for n, k in enumerate(numbers)}
    names = node.index_names
    return comp(
        sc.substitute_indices(node.body if body is None else body, at),
        [node.extents[k] for k in numbers],
        rank,
        node.reducer if len(numbers) > rank else None,
        name=name,
        index_names=[names[k] for k in numbers if k < len(names)] if names else (),
        span=node.span,
    )


def identity_read(node: Node) -> Scalar:
    """`node[i, j, …]` at indices 0, 1, …"""
    return sc.read(node, [sc.index(k) for k in range(len(node.shape))])
