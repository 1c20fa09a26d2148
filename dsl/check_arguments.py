"""The arguments of a call by the names of the parameters, as Python binds them.

In: a call and the parameters' names. Out: one expression for each parameter that is given, or an
error that shows the signature.
"""

from __future__ import annotations

from collections.abc import Sequence

from .check_frame import Frame
from .check_indices import Indices
from .suggest import did_you_mean
from .syntax import Call, Expr, Keyword, Name


def bind(
    frame: Frame, e: Call, names: Sequence[str], optional: Sequence[str], shown: str
) -> dict[str, Expr] | None:
    """Arguments by parameter name, as Python binds them."""
    declared = f"it is `{shown}`"
    func = e.func.id
    if len(e.args) > len(names):
        return frame.error(
            "E0601",
            f"`{func}` takes {_count(len(names))}, got {len(e.args) + len(e.keywords)}",
            e.args[len(names)].span,
            declared,
        )
    bound: dict[str, Expr] = dict(zip(names, e.args, strict=False))
    ok = True
    for k in e.keywords:
        ok &= _bind_keyword(frame, func, k, names, bound, declared)
    missing = [n for n in names if n not in bound and n not in optional]
    if missing and ok:
        listed = ", ".join(f"`{n}`" for n in missing)
        return frame.error("E0601", f"`{func}` lacks its argument {listed}", e.span, declared)
    return bound if ok else None


def _bind_keyword(
    frame: Frame,
    func: str,
    k: Keyword,
    names: Sequence[str],
    bound: dict[str, Expr],
    declared: str,
) -> bool:
    if k.name not in names:
        near = did_you_mean(k.name, names)
        hint = f"did you mean `{near}`? {declared}" if near else declared
        frame.error("E0602", f"`{func}` has no argument `{k.name}`", k.name_span, hint)
        return False
    if k.name in bound:
        frame.error("E0602", f"`{func}` got its argument `{k.name}` twice", k.span, declared)
        return False
    bound[k.name] = k.value
    return True


def _count(n: int) -> str:
    return "no argument" if n == 0 else "1 argument" if n == 1 else f"{n} arguments"


def evaluate_all(frame: Frame, e: Call, ix: Indices | None) -> None:
    """For the errors in the arguments alone."""
    for a in (*e.args, *(k.value for k in e.keywords)):
        if not (isinstance(a, Name) and a.id not in frame.locals):
            frame.evaluate(frame, a, ix if ix is not None and ix.mentioned(a) else None)
        elif a.id in frame.locals:
            frame.locals[a.id].used = True
