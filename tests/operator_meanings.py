"""What each primitive and each pointwise row means, as mpmath functions: exact to any precision.

The oracle of the operator and rule tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mpmath as mp
from tdsl.compiler import scalar as sc
from tdsl.compiler.scalar import Scalar

from .random_cases import words


def _atan2(y: Any, x: Any) -> Any:
    return mp.atan2(y, x)


def _power(x: Any, y: Any) -> Any:
    return mp.power(x, y) if x or y else mp.mpf(1)


def _round(x: Any) -> Any:
    """Halves go to the even neighbour."""
    low = mp.floor(x)
    rest = x - low
    up = rest > 0.5 or (rest == 0.5 and int(low) % 2)
    return low + 1 if up else low


def trunc(x: Any) -> Any:
    return mp.floor(x) if x >= 0 else mp.ceil(x)


def real_part(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` where it is real, NaN elsewhere."""

    def real(*args: Any) -> Any:
        out = f(*args)
        return mp.nan if isinstance(out, mp.mpc) else out

    return real


def _gelu_tanh(x: Any) -> Any:
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


def _left_shift(x: Any, count: Any) -> int:
    return int(x) << int(count) if count >= 0 else 0


def _right_shift(x: Any, count: Any) -> int:
    """Of 64 bits; past them the sign is left."""
    return int(x) >> int(count) if count >= 0 else -int(x < 0)


#: What each primitive means, at any precision.
PRIMITIVE_MEANING: Mapping[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y, "floordiv": lambda x, y: mp.floor(x / y),
    "mod": lambda x, y: x - y * mp.floor(x / y), "pow": _power, "neg": lambda x: -x,
    "abs": abs, "sign": mp.sign, "min": min, "max": max,
    "floor": mp.floor, "ceil": mp.ceil, "trunc": trunc, "round": _round,
    "sqrt": mp.sqrt, "rsqrt": lambda x: 1 / mp.sqrt(x),
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "exp": mp.exp, "exp2": lambda x: mp.power(2, x), "expm1": mp.expm1,
    "log": mp.log, "log2": lambda x: mp.log(x) / mp.log(2), "log10": mp.log10, "log1p": mp.log1p,
    "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "asin": mp.asin, "acos": mp.acos,
    "atan": mp.atan, "atan2": _atan2, "sinh": mp.sinh, "cosh": mp.cosh, "tanh": mp.tanh,
    "asinh": mp.asinh, "acosh": mp.acosh, "atanh": mp.atanh, "erf": mp.erf, "erfc": mp.erfc,
    "lgamma": lambda x: mp.log(abs(mp.gamma(x))), "digamma": mp.digamma,
    "lt": lambda x, y: x < y, "le": lambda x, y: x <= y, "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y, "eq": lambda x, y: x == y, "ne": lambda x, y: x != y,
    "and": lambda x, y: bool(x) and bool(y), "or": lambda x, y: bool(x) or bool(y),
    "not": lambda x: not x, "isnan": mp.isnan, "isinf": mp.isinf, "isfinite": mp.isfinite,
    "bitwise_and": lambda x, y: int(x) & int(y), "bitwise_or": lambda x, y: int(x) | int(y),
    "bitwise_xor": lambda x, y: int(x) ^ int(y), "bitwise_not": lambda x: ~int(x),
    "bitwise_left_shift": _left_shift, "bitwise_right_shift": _right_shift,
    "where": lambda c, x, y: x if c else y, "absorb": lambda x, y: x * y if x else mp.mpf(0),
    "stop_gradient": lambda x: x,
}  # fmt: skip


def _erf_step(gap: Any, y: Any) -> Any:
    """Halley's method: from y towards where `gap` vanishes, `gap` in units of erf's slope."""
    r = gap * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
    return y + r / (1 - y * r)


def _erfcinv_start(t: Any) -> Any:
    above = mp.mpf("2.515517") + t * (mp.mpf("0.802853") + t * mp.mpf("0.010328"))
    below = 1 + t * (mp.mpf("1.432788") + t * (mp.mpf("0.189269") + t * mp.mpf("0.001308")))
    return (t - above / below) / mp.sqrt(2)


#: What each pointwise row means.
ROW_MEANING: Mapping[str, Callable[..., Any]] = {
    **{f"philox_{k}": lambda seed, at, k=k: words(seed, at, 1)[0][k] for k in range(4)},
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "log1mexp": lambda x: mp.log(1 - mp.exp(x)),
    "logaddexp": lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
    "xlogy": lambda x, y: x * mp.log(y) if x else mp.mpf(0),
    "root_of_squares": mp.sqrt,
    "spherical_bessel_j0": lambda x: mp.sin(x) / x if x else mp.mpf(1),
    "sinc": mp.sincpi,
    "trigamma_positive": lambda x: mp.psi(1, x),
    "trigamma_tail": lambda x: mp.psi(1, x),
    "trigamma": lambda x: mp.psi(1, x),
    "relu": lambda x: max(x, mp.mpf(0)),
    "gelu": lambda x: x / 2 * (1 + mp.erf(x / mp.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "leaky_relu": lambda x, slope: x if x > 0 else slope * x,
    "elu": lambda x, alpha: x if x > 0 else alpha * mp.expm1(x),
    "selu": lambda x: mp.mpf("1.0507009873554805") * (
        x if x > 0 else mp.mpf("1.6732632423543772") * mp.expm1(x)),
    "relu6": lambda x: min(max(x, mp.mpf(0)), mp.mpf(6)),
    "hardtanh": lambda x, low, high: min(max(x, low), high),
    "softsign": lambda x: x / (1 + abs(x)),
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "hypot": lambda x, y: mp.sqrt(x * x + y * y),
    "hypot_of_sides": lambda longer, shorter: mp.sqrt(longer * longer + shorter * shorter),
    "deg2rad": lambda x: x * mp.pi / 180,
    "rad2deg": lambda x: x * 180 / mp.pi,
    "lerp": lambda x, end, weight: x + weight * (end - x),
    "logit": lambda x: mp.log(x / (1 - x)),
    "frac": lambda x: x - trunc(x),
    "clamp_both": lambda x, low, high: min(max(x, low), high),
    "clamp_min": lambda x, low: max(x, low),
    "clamp_max": lambda x, high: min(x, high),
    "root_of_powers": lambda x, p: x ** (1 / p),
    "power_of_size": lambda x, p: abs(x) ** p,
    "addcmul": lambda x, a, b, value: x + value * a * b,
    "addcdiv": lambda x, a, b, value: x + value * a / b,
    "fmod": lambda x, y: x - y * trunc(x / y),
    "truncated_quotient": lambda x, y: trunc(x / y),
    "signbit": lambda x: x < 0,
    "copysign": lambda x, y: abs(x) if y >= 0 else -abs(x),
    "heaviside": lambda x, at_zero: at_zero if x == 0 else mp.mpf(x > 0),
    "isposinf": lambda x: x == mp.inf,
    "isneginf": lambda x: x == -mp.inf,
    "logical_xor": lambda x, y: bool(x) != bool(y),
    "nan_to_num": lambda x, nan, high, low: x,  # of a finite number
    "fmax": max,
    "fmin": min,
    "logaddexp2": lambda x, y: mp.log(mp.power(2, x) + mp.power(2, y)) / mp.log(2),
    "xlog1py": lambda x, y: x * mp.log1p(y) if x else mp.mpf(0),
    "erfinv": mp.erfinv,
    "erfinv_central": mp.erfinv,
    "erfcinv_tail": lambda q: mp.erfinv(1 - q),
    "erfcinv_start": _erfcinv_start,
    "erfcinv_step": lambda q, y: _erf_step(mp.erfc(y) - q, y),
    "erfinv_step": lambda x, y: _erf_step(x - mp.erf(y), y),
    "tanh_fraction": lambda s: mp.sqrt(s) / mp.tanh(mp.sqrt(s)) - 1 if s else mp.mpf(0),
    "celu": lambda x, alpha: x if x > 0 else alpha * mp.expm1(x / alpha),
    "hardsigmoid": lambda x: min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6,
    "hardswish": lambda x: mp.mpf(0) if x <= -3 else x * min(x + 3, mp.mpf(6)) / 6,
    "hardshrink": lambda x, size: x if abs(x) > size or size < 0 else mp.mpf(0),
    "softshrink": lambda x, size: x - size if x > size else x + size if x < -size else mp.mpf(0),
    "tanhshrink": lambda x: x - mp.tanh(x),
    "threshold": lambda x, least, value: x if x > least else value,
    "smooth_l1": lambda x, beta: x * x / beta / 2 if abs(x) < beta else abs(x) - beta / 2,
    "huber": lambda x, delta: x * x / 2 if abs(x) <= delta else delta * (abs(x) - delta / 2),
    "binary_surprise": lambda x, y: -y * mp.log(x) - (1 - y) * mp.log1p(-x),
}  # fmt: skip


def evaluate(root: Scalar, args: tuple[Any, ...]) -> Any:
    """A scalar tree over parameters, at mpmath's precision."""
    done: dict[Scalar, Any] = {}
    for x in sc.postorder([root]):
        match x:
            case sc.Const():
                done[x] = x.value if x.dtype.is_bool else mp.mpf(float(x.value))
            case sc.Affine():
                done[x] = mp.mpf(x.const.evaluate({}))
            case sc.Param():
                done[x] = args[x.position]
            case sc.Op("cast", (inner,)):
                done[x] = done[inner]
            case sc.Op():
                done[x] = real_part(PRIMITIVE_MEANING[x.name])(*(done[a] for a in x.args))
            case sc.Call():
                done[x] = real_part(ROW_MEANING[x.function.name])(*(done[a] for a in x.args))
    return done[root]
