"""A call of a `def`: its arguments against the callee's signature.

In: the callee, checked on its own, and the arguments' values. Out: the values in the parameters'
types, as nodes, and the callee's dims as sizes of the caller; or errors with both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..compiler import index_lambda as il
from ..compiler.dims import Dim, named
from ..compiler.errors import Note
from ..compiler.graph import Function
from ..compiler.index_lambda import IndexLambda
from . import check_types
from .check_frame import Frame, InlinedCall
from .syntax import DefDecl


def fitted_arguments(
    frame: Frame,
    function: Function,
    d: DefDecl,
    args: Sequence[IndexLambda],
    call: InlinedCall,
) -> tuple[list[IndexLambda], dict[str, Dim]] | None:
    """The arguments in the parameters' types, as nodes, and the callee's dims as sizes of the
    caller."""
    values: list[IndexLambda] = []
    for p, decl, x, span in zip(function.params, d.params, args, call.args, strict=True):
        note = Note(f"`{p.name}` is declared here", decl.span)
        fit = check_types.fit_dtype(x, p.dtype)
        if fit is None:
            frame.error(
                "E0403",
                f"`{p.name}` of `{function.name}` is {p.dtype}, got {il.type_text(x)}",
                span,
                check_types.dtype_hint(x, p.dtype),
                (note,),
            )
        elif fit.rank != len(p.shape):
            wanted = check_types.TensorType(p.dtype, p.shape)
            frame.error(
                "E0505",
                f"`{p.name}` of `{function.name}` is {wanted}, got {il.type_text(x)}",
                span,
                None,
                (note, *frame.dim_notes(x.shape)),
            )
        else:
            values.append(il.of_node(il.materialize(fit, span=span)))
    if len(values) < len(args):
        return None
    env, unsolved = check_types.unify([p.shape for p in function.params], [v.shape for v in values])
    ok = True
    for p, decl, x, span in zip(function.params, d.params, values, call.args, strict=True):
        for axis, (want, got) in enumerate(zip(p.shape, x.shape, strict=True)):
            if want.names & unsolved:
                detail = f"dim {axis} cannot be matched: {want} against {got}"
            elif want.substitute(env) != got:
                bound = ", ".join(f"{n} = {env[n]}" for n in sorted(want.names))
                needed = want.substitute(env)
                detail = f"dim {axis} is {want}, which is {needed} here, got {got}"
                if not bound:
                    detail = f"dim {axis} is {want}, got {got}"
            else:
                continue
            wanted = check_types.TensorType(p.dtype, p.shape)
            frame.error(
                "E0505",
                f"`{p.name}` of `{function.name}` is {wanted}, got {il.type_text(x)}: {detail}",
                span,
                None,
                (
                    Note(f"`{p.name}` is declared here", decl.span),
                    *_bound_by(function, d, call, want, env),
                    *frame.dim_notes(x.shape, (want.substitute(env),)),
                ),
            )
            ok = False
            break
    return (values, dict(env)) if ok else None


def _bound_by(
    function: Function,
    d: DefDecl,
    call: InlinedCall,
    want: Dim,
    env: Mapping[str, Dim],
) -> Iterator[Note]:
    """For each name in a dim, the argument that gave it its size."""
    for name in sorted(want.names & env.keys()):
        for p, span in zip(function.params, call.args, strict=True):
            if named(name) in p.shape:
                yield Note(f"`{name}` of `{function.name}` is {env[name]} by this argument", span)
                break
