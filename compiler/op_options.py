"""Elementwise rows with options that are known when they are applied: a scale, a rounding mode,
the number of decimals. The defaults give the plain formula or primitive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import index_lambda as il
from .dtypes import BF16, F16, F32, F64
from .index_lambda import IndexLambda, OpError
from .op_formulas import Formula
from .op_pointwise import POINTWISE, Optioned, call, primitive_rows

#: The greatest finite number of each float dtype.
_GREATEST = {
    F16: 65504.0,
    BF16: 3.3895313892515355e38,
    F32: 3.4028234663852886e38,
    F64: 1.7976931348623157e308,
}


def _scaled(x: IndexLambda, alpha: float) -> IndexLambda:
    return x if alpha == 1 else il.apply("mul", il.scalar(alpha), x)


def add(x: IndexLambda, y: IndexLambda, alpha: float = 1) -> IndexLambda:
    return il.apply("add", x, _scaled(y, alpha))


def sub(x: IndexLambda, y: IndexLambda, alpha: float = 1) -> IndexLambda:
    return il.apply("sub", x, _scaled(y, alpha))


def div(x: IndexLambda, y: IndexLambda, rounding_mode: str | None = None) -> IndexLambda:
    match rounding_mode:
        case None:
            return il.apply("div", x, y)
        case "floor":
            return il.apply("floordiv", x, y)
        case "trunc" if x.dtype.is_float or y.dtype.is_float:
            return il.apply("trunc", il.apply("div", x, y))
        case "trunc":
            return call("truncated_quotient", x, y)
    raise OpError("E0603", f"a rounding mode is 'trunc' or 'floor', got {rounding_mode!r}")


def round(x: IndexLambda, decimals: int = 0) -> IndexLambda:
    """To the nearest, halves to even; `decimals` may be negative."""
    if decimals == 0:
        return il.apply("round", x)
    scale = il.scalar(10.0 ** abs(decimals))
    up, down = ("mul", "div") if decimals > 0 else ("div", "mul")
    return il.apply(down, il.apply("round", il.apply(up, x, scale)), scale)


def gelu(x: IndexLambda, approximate: str = "none") -> IndexLambda:
    if approximate not in ("none", "tanh"):
        raise OpError("E0603", f"gelu's approximation is 'none' or 'tanh', got {approximate!r}")
    return call("gelu" if approximate == "none" else "gelu_tanh", x)


def softplus(x: IndexLambda, beta: float = 1.0, threshold: float = 20.0) -> IndexLambda:
    """log(1 + exp(beta*x)) / beta, and x where beta*x > threshold. At the default threshold the
    formula itself stands: it cannot overflow, and differs from x by less than 3e-9 there."""
    if beta == 1 and threshold == 20:
        return call("softplus", x)
    inside = _scaled(x, beta)
    smooth = il.apply("div", call("softplus", inside), il.scalar(beta))
    if threshold == 20:
        return smooth
    return il.apply("where", il.apply("gt", inside, il.scalar(threshold)), x, smooth)


def logit(x: IndexLambda, eps: float | None = None) -> IndexLambda:
    """log(x / (1 - x)), of x clamped to [eps, 1 - eps] where `eps` is given."""
    return call("logit", x if eps is None else call("clamp_both", x, eps, 1 - eps))


def nan_to_num(
    input: IndexLambda,
    nan: IndexLambda | None = None,
    posinf: IndexLambda | None = None,
    neginf: IndexLambda | None = None,
) -> IndexLambda:
    """NaN becomes 0 and the infinities the dtype's greatest numbers, unless stated."""
    if not input.dtype.is_float:
        return input
    greatest = _GREATEST.get(input.dtype)
    if greatest is None and (posinf is None or neginf is None):
        raise OpError("E0405", "nan_to_num of a number without a dtype needs posinf and neginf")
    bound = il.scalar(greatest or 0.0)
    return call(
        "nan_to_num",
        input,
        il.scalar(0) if nan is None else nan,
        bound if posinf is None else posinf,
        il.apply("neg", bound) if neginf is None else neginf,
    )


_BUILDERS: Mapping[str, Callable[..., IndexLambda]] = {
    "add": add, "sub": sub, "subtract": sub, "div": div, "divide": div, "true_divide": div,
    "round": round, "gelu": gelu, "softplus": softplus, "logit": logit, "nan_to_num": nan_to_num,
}  # fmt: skip


def optioned_rows() -> list[Optioned]:
    plain = {**{row.name: row for row in primitive_rows()}, **POINTWISE}
    out = []
    for name, build in _BUILDERS.items():
        fields = {k: getattr(plain[name], k) for k in Formula.__dataclass_fields__}
        out.append(Optioned(**fields, build=build))
    return out
