"""Formulas of elementwise operators: arithmetic, powers, and special functions.

A row is text over its parameters (`formula.formula`), the primitives and other rows; it states a
derivative where the derived one would be less stable or where PyTorch chooses one at a kink.
Sources stand at the rows; PyTorch's documentation where none is named. Activations stand in
`op_activations`.
"""

from __future__ import annotations

from collections.abc import Mapping

from .records import dataclass, field


@dataclass(frozen=True)
class Formula:
    """`partials` states derivatives by parameter; `domain` is where the generic tests sample."""

    name: str
    params: tuple[str, ...]
    text: str
    partials: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    domain: tuple[tuple[float, float], ...] = ()


_POSITIVE = (0.05, 8.0)
_ANY = (-4.0, 4.0)
_NONZERO = (0.3, 4.0)

#: One step of Halley's method towards erfc(y) = q: with the Newton step r, y + r/(1 - y*r).
_NEWTON = "(0.886226925452758 * exp(y*y) * (erfc(y) - q))"
#: erf's inverse in single precision for |x| < 0.99 (Giles 2010), then a step of Halley's method.
_W = "(-log((1 - x) * (1 + x)) - 2.5)"
_GILES = (
    f"x*(1.50140941 + {_W}*(0.246640727 + {_W}*(-0.00417768164 + {_W}*(-0.00125372503 + {_W}"
    f"*(0.00021858087 + {_W}*(-4.39150654e-6 + {_W}*(-3.5233877e-6 + {_W}*(3.43273939e-7 + {_W}"
    "*2.81022636e-8))))))))"
)

ARITHMETIC = (
    Formula("square", ("x",), "x * x", {"x": "2 * x"}),
    Formula("reciprocal", ("x",), "1 / x", domain=((0.3, 4.0),)),
    # the greater side times the root of 1 and a square: no side's square overflows
    Formula("hypot", ("x", "y"), "hypot_of_sides(max(abs(x), abs(y)), min(abs(x), abs(y)))",
            {"x": "0 if out == 0 else x / out", "y": "0 if out == 0 else y / out"}),
    Formula("hypot_of_sides", ("longer", "shorter"),
            "longer if longer == 0 or isinf(longer) else "
            "longer * sqrt(1 + shorter / longer * (shorter / longer))",
            domain=((1.0, 4.0), (0.1, 1.0))),
    # square root of a sum of squares: its subgradient at 0 is 0, and every argument is 0 there
    Formula("root_of_squares", ("x",), "sqrt(x)", {"x": "0 if x == 0 else 0.5 / out"},
            domain=(_POSITIVE,)),
    # the same for the p-th root of a sum of p-th powers, and for the powers themselves
    Formula("root_of_powers", ("x", "p"), "x ** (1 / p)", {"x": "0 if x == 0 else out / (p * x)"},
            domain=(_POSITIVE, _NONZERO)),
    Formula("power_of_size", ("x", "p"), "abs(x) ** p", {"x": "0 if x == 0 else p * out / x"},
            domain=(_ANY, _NONZERO)),
    Formula("deg2rad", ("x",), "x * 0.017453292519943295"),
    Formula("rad2deg", ("x",), "x * 57.29577951308232"),
    Formula("lerp", ("input", "end", "weight"), "input + weight * (end - input)"),
    Formula("addcmul", ("input", "tensor1", "tensor2", "value"),
            "input + value * tensor1 * tensor2", defaults={"value": 1}),
    Formula("addcdiv", ("input", "tensor1", "tensor2", "value"),
            "input + value * tensor1 / tensor2", defaults={"value": 1},
            domain=(_ANY, _ANY, _NONZERO, _ANY)),
    Formula("frac", ("x",), "x - trunc(x)"),
    # the remainder with the dividend's sign; exact, as `%` is
    Formula("fmod", ("input", "other"),
            "input if abs(input) < abs(other) else "
            "(-(abs(input) % abs(other)) if input < 0 else abs(input) % abs(other))",
            {"input": "1", "other": "-trunc(input / other)"}, domain=(_ANY, _NONZERO)),
    # the quotient towards zero, of integers without a detour through floats
    Formula("truncated_quotient", ("x", "y"),
            "abs(x) // abs(y) if (x < 0) == (y < 0) else -(abs(x) // abs(y))",
            {"x": "0", "y": "0"}, domain=(_ANY, _NONZERO)),
    Formula("signbit", ("input",), "input < 0 or (input == 0 and 1 / input < 0)"),
    Formula("copysign", ("input", "other"),
            "-abs(input) if other < 0 or (other == 0 and 1 / other < 0) else abs(input)",
            {"input": "sign(input) * copysign(1, other)", "other": "0"}, domain=(_ANY, _NONZERO)),
    Formula("heaviside", ("input", "values"),
            "values if input == 0 else (1 if input > 0 else 0)"),
    Formula("isposinf", ("input",), "input == inf", {"input": "0"}),
    Formula("isneginf", ("input",), "input == -inf", {"input": "0"}),
    Formula("logical_xor", ("input", "other"), "(not input) != (not other)"),
    Formula("nan_to_num", ("input", "nan", "posinf", "neginf"),
            "nan if isnan(input) else (posinf if input == inf else "
            "(neginf if input == -inf else input))"),
    # a NaN gives way to a number
    Formula("fmax", ("input", "other"),
            "other if isnan(input) else (input if isnan(other) else max(input, other))",
            {"input": "1 if input > other or isnan(other) else (0.5 if input == other else 0)",
             "other": "1 if other > input or isnan(input) else (0.5 if input == other else 0)"}),
    Formula("fmin", ("input", "other"),
            "other if isnan(input) else (input if isnan(other) else min(input, other))",
            {"input": "1 if input < other or isnan(other) else (0.5 if input == other else 0)",
             "other": "1 if other < input or isnan(input) else (0.5 if input == other else 0)"}),
    # at a bound the gradient is the value's alone, beyond it the bound's alone, so that the
    # partial derivatives sum to 1 everywhere
    Formula("clamp_both", ("x", "low", "high"), "min(max(x, low), high)",
            {"x": "1 if x >= low and x <= high else 0",
             "low": "1 if x < low and low < high else 0",
             "high": "1 if x > high or high < low or (x < low and low == high) else 0"}),
    Formula("clamp_min", ("x", "low"), "max(x, low)",
            {"x": "1 if x >= low else 0", "low": "1 if x < low else 0"}),
    Formula("clamp_max", ("x", "high"), "min(x, high)",
            {"x": "1 if x <= high else 0", "high": "1 if x > high else 0"}),
)  # fmt: skip

SPECIAL = (
    Formula("log1mexp", ("x",),  # log(1 - exp(x)), x < 0; Maechler 2012
            "log(-expm1(x)) if x > -0.6931471805599453 else log1p(-exp(x))",
            {"x": "exp(x) / expm1(x)"}, domain=((-6.0, -0.1),)),
    Formula("logaddexp", ("x", "y"),
            "x if x == y and isinf(x) else max(x, y) + log1p(exp(-abs(x - y)))",
            {"x": "sigmoid(x - y)", "y": "sigmoid(y - x)"}),
    Formula("logaddexp2", ("input", "other"),
            "input if input == other and isinf(input) else "
            "max(input, other) + 1.4426950408889634 * log1p(exp2(-abs(input - other)))",
            {"input": "sigmoid(0.6931471805599453 * (input - other))",
             "other": "sigmoid(0.6931471805599453 * (other - input))"}),
    Formula("xlogy", ("x", "y"), "nan if isnan(y) else (0 if x == 0 else x * log(y))",
            {"x": "0 if x == 0 and y <= 0 else log(y)",
             "y": "0 if x == 0 and y == 0 else x / y"},
            domain=((-3.0, 3.0), _POSITIVE)),
    Formula("xlog1py", ("input", "other"),
            "nan if isnan(other) else (0 if input == 0 else input * log1p(other))",
            {"input": "0 if input == 0 and other <= -1 else log1p(other)",
             "other": "0 if input == 0 and other == -1 else input / (1 + other)"},
            domain=((-3.0, 3.0), (-0.9, 4.0))),
    # sin(x)/x and its series near 0 (DLMF 4.19.1), so that derivatives stay accurate there
    Formula("spherical_bessel_j0", ("x",),
            "1 - x*x/6*(1 - x*x/20*(1 - x*x/42*(1 - x*x/72*(1 - x*x/110*(1 - x*x/156"
            "*(1 - x*x/210*(1 - x*x/272))))))) if abs(x) < 1 else sin(x) / x"),
    Formula("sinc", ("x",), "spherical_bessel_j0(3.141592653589793 * x)"),
    # polygamma(1, x): recurrence by 8, then the asymptotic series (DLMF 5.15.1, 5.15.8)
    Formula("trigamma_positive", ("x",),
            "1/(x*x) + 1/((x+1)*(x+1)) + 1/((x+2)*(x+2)) + 1/((x+3)*(x+3)) + 1/((x+4)*(x+4))"
            " + 1/((x+5)*(x+5)) + 1/((x+6)*(x+6)) + 1/((x+7)*(x+7)) + trigamma_tail(x + 8)",
            domain=(_POSITIVE,)),
    Formula("trigamma_tail", ("x",),
            "1/x + 0.5/(x*x) + 1/(x*x*x) * (1/6 - 1/(x*x)*(1/30 - 1/(x*x)*(1/42 - 1/(x*x)"
            "*(1/30 - 1/(x*x)*(5/66 - 1/(x*x)*691/2730)))))", domain=((8.0, 20.0),)),
    Formula("trigamma", ("x",),
            "trigamma_positive(x) if x >= 0.5 else "
            "9.869604401089358/(sin(3.141592653589793*x)*sin(3.141592653589793*x))"
            " - trigamma_positive(1 - x)", domain=(_POSITIVE,)),
    Formula("logit", ("x",), "log(x / (1 - x))", {"x": "1 / (x * (1 - x))"},
            domain=((0.05, 0.95),)),
    # erf's inverse: near 0 from erf, in the tails from erfc of what is left to 1, which is exact
    # there. Starts: Giles 2010, and Abramowitz and Stegun 26.2.23, good to 3e-4
    Formula("erfinv", ("input",),
            "erfinv_central(input) if abs(input) < 0.5 else "
            "copysign(erfcinv_tail(1 - abs(input)), input)",
            {"input": "0.886226925452758 * exp(out * out)"}, domain=((-0.95, 0.95),)),
    Formula("erfinv_central", ("x",), f"erfinv_step(x, {_GILES})",
            {"x": "0.886226925452758 * exp(out * out)"}, domain=((-0.5, 0.5),)),
    Formula("erfcinv_tail", ("q",),
            "inf if q == 0 else "
            "erfcinv_step(q, erfcinv_step(q, erfcinv_start(sqrt(-2 * log(0.5 * q)))))",
            {"q": "-0.886226925452758 * exp(out * out)"}, domain=((1e-6, 0.5),)),
    Formula("erfcinv_start", ("t",),
            "0.7071067811865476 * (t - (2.515517 + t*(0.802853 + t*0.010328))"
            " / (1 + t*(1.432788 + t*(0.189269 + t*0.001308))))", domain=((1.6, 8.0),)),
    Formula("erfcinv_step", ("q", "y"), f"y + {_NEWTON} / (1 - y * {_NEWTON})",
            domain=((0.1, 0.5), (0.5, 1.2))),
    Formula("erfinv_step", ("x", "y"),
            f"y - {_NEWTON.replace('erfc(y) - q', 'erf(y) - x')}"
            f" / (1 + y * {_NEWTON.replace('erfc(y) - q', 'erf(y) - x')})",
            domain=((-0.5, 0.5), (-0.5, 0.5))),
    # x/tanh(x) - 1 over s = x*x, by its continued fraction (DLMF 4.39.1)
    Formula("tanh_fraction", ("s",),
            "s/(3 + s/(5 + s/(7 + s/(9 + s/(11 + s/(13 + s/(15 + s/17)))))))",
            domain=((0.0, 1.0),)),
)  # fmt: skip
