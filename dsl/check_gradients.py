"""`grad(e, w)`: requests for derivatives.

In: the call. Out: a `Gradient` node for each variable, which the gradient stage replaces.
"""

from __future__ import annotations

from ..compiler import graph
from ..compiler import index_lambda as il
from ..compiler.errors import Note
from ..compiler.index_lambda import IndexLambda
from .check_arguments import bind
from .check_frame import Frame, Value, kind_of
from .check_indices import Indices
from .syntax import Call, Expr, Name, TupleExpr


def gradient(frame: Frame, e: Call, ix: Indices | None) -> Value:
    bound = bind(frame, e, ("e", "w"), (), "grad(e, w)")
    if bound is None:
        return None
    if frame.scalar or (ix is not None and ix.mentioned(e)):
        return frame.error(
            "E0608",
            "`grad` differentiates a whole expression: it has no place in "
            + ("a scalar function" if frame.scalar else "index notation"),
            e.span,
            "take it in a statement of its own: `g = grad(e, w)`",
        )
    of = frame.operand(bound["e"], None)
    if of is not None and (of.rank or not of.dtype.is_float or of.dtype.is_weak):
        frame.error(
            "E0605",
            f"`grad` differentiates one float, got {kind_of(of)}",
            bound["e"].span,
            "sum it first: `grad(sum(e), w)`" if of.rank else None,
        )
        of = None
    wanted = bound["w"]
    several = isinstance(wanted, TupleExpr)
    targets = wanted.items if isinstance(wanted, TupleExpr) else (wanted,)
    wrt = [_variable(frame, t) for t in targets]
    if of is None or None in wrt:
        return None
    node = il.materialize(of, span=bound["e"].span)
    reached = set(graph.postorder([node]))
    out: list[Value] = []
    for t, w in zip(targets, wrt, strict=True):
        assert w is not None
        if w not in reached:
            shown = t.id if isinstance(t, Name) else "it"
            frame.warn(
                "W0702",
                f"this gradient is always 0: what is differentiated does not depend on `{shown}`",
                t.span,
            )
        out.append(il.of_node(graph.gradient(node, w, span=e.span)))
    return tuple(out) if several else out[0]


def _variable(frame: Frame, e: Expr) -> graph.Node | None:
    """A parameter or a named value, as what a gradient is taken by."""
    local = frame.locals.get(e.id) if isinstance(e, Name) else None
    if local is None:
        if isinstance(e, Name) and e.id not in frame.dims:
            frame.evaluate(frame, e, None)  # the usual error for an unknown name
            if frame.linker.symbol(frame.module, e.id, e.span) is None:
                return None
        return frame.error(
            "E0606",
            "a gradient is taken by a parameter or a named value, not by an expression",
            e.span,
            "name it first: `w = …`, and use `w` in what is differentiated",
        )
    local.used = True
    x = local.value
    if x is None:
        return None
    node = il.as_node(x) if isinstance(x, IndexLambda) else None
    if not isinstance(x, IndexLambda) or node is None or not x.dtype.is_float:
        return frame.error(
            "E0606", f"a gradient is taken by a float tensor or scalar, got {kind_of(x)}", e.span
        )
    if not _independent(frame, node):
        assert frame.call is not None and isinstance(e, Name)
        return frame.error(
            "E0606",
            f"`{frame.name}` differentiates by its parameter `{e.id}`, and another argument of "
            "this call depends on the same value",
            frame.call.span,
            "write the derivative at the call, where it is clear what it is taken by",
            (Note("differentiated here", e.span),),
        )
    return node


def _independent(frame: Frame, node: graph.Node) -> bool:
    """In an inlined body a parameter is its argument: the derivative by it is what the callee
    means only while no other argument depends on the same node."""
    if frame.call is None:
        return True
    given = [il.as_node(a) for a in frame.arguments]
    if node not in given:
        return True
    others = [n for k, n in enumerate(given) if n is not None and k != given.index(node)]
    return node not in graph.postorder(others)
