"""Formulas of activation functions, and of the losses that work element by element.

Derivatives at kinks are PyTorch's.
"""

from __future__ import annotations

from .op_formulas import Formula

_SELU_A, _SELU_L = "1.6732632423543772", "1.0507009873554805"
_PROBABILITY = (0.05, 0.95)
_ANY = (-4.0, 4.0)
_SCALE = (0.3, 2.0)

ACTIVATIONS = (
    # one exponential, which cannot overflow
    Formula("sigmoid", ("x",), "(1 if x >= 0 else exp(-abs(x))) / (1 + exp(-abs(x)))",
            {"x": "out * sigmoid(-x)"}),
    Formula("log_sigmoid", ("x",), "-softplus(-x)", {"x": "sigmoid(-x)"}),
    Formula("softplus", ("x",), "max(x, 0) + log1p(exp(-abs(x)))", {"x": "sigmoid(x)"}),
    Formula("relu", ("x",), "x if x > 0 else (nan if isnan(x) else 0)",
            {"x": "1 if x > 0 else 0"}),
    Formula("gelu", ("x",), "0.5 * x * (1 + erf(x * 0.7071067811865476))",
            {"x": "0.5 * (1 + erf(x * 0.7071067811865476))"
                  " + 0.3989422804014327 * x * exp(-0.5 * x * x)"}),
    Formula("gelu_tanh", ("x",),
            "0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))"),
    Formula("silu", ("x",), "x * sigmoid(x)", {"x": "sigmoid(x) * (1 + x * sigmoid(-x))"}),
    Formula("mish", ("x",), "x * tanh(softplus(x))"),
    Formula("leaky_relu", ("x", "negative_slope"), "x if x > 0 else negative_slope * x",
            defaults={"negative_slope": 0.01}),
    Formula("elu", ("x", "alpha"), "x if x > 0 else alpha * expm1(x)", defaults={"alpha": 1.0}),
    Formula("celu", ("input", "alpha"), "input if input > 0 else alpha * expm1(input / alpha)",
            defaults={"alpha": 1.0}, domain=(_ANY, _SCALE)),
    Formula("selu", ("x",),
            f"{_SELU_L} * x if x > 0 else {_SELU_L} * {_SELU_A} * expm1(x)"),
    Formula("relu6", ("x",), "min(max(x, 0), 6)", {"x": "1 if x > 0 and x < 6 else 0"}),
    Formula("hardtanh", ("x", "min_val", "max_val"), "min(max(x, min_val), max_val)",
            {"x": "1 if x > min_val and x < max_val else 0",
             "min_val": "1 if x <= min_val and min_val < max_val else 0",
             "max_val": "1 if x >= max_val or max_val <= min_val else 0"},
            defaults={"min_val": -1.0, "max_val": 1.0}),
    Formula("hardsigmoid", ("input",),
            "0 if input <= -3 else (1 if input >= 3 else (input + 3) / 6)"),
    Formula("hardswish", ("input",),
            "0 if input <= -3 else (input if input >= 3 else input * (input + 3) / 6)"),
    Formula("hardshrink", ("input", "lambd"), "0 if input >= -lambd and input <= lambd else input",
            defaults={"lambd": 0.5}),
    Formula("softshrink", ("input", "lambd"),
            "input - lambd if input > lambd else (input + lambd if input < -lambd else "
            "(nan if isnan(input) else 0))", defaults={"lambd": 0.5}),
    # x - tanh(x) cancels near 0: there r = x/tanh(x) - 1 gives it as x*r / (1 + r)
    Formula("tanhshrink", ("input",),
            "input - tanh(input) if abs(input) > 1 else "
            "input * tanh_fraction(input*input) / (1 + tanh_fraction(input*input))",
            {"input": "tanh(input) * tanh(input)"}),
    Formula("threshold", ("input", "threshold", "value"),
            "value if input <= threshold else input"),
    Formula("softsign", ("x",), "x / (1 + abs(x))"),
)  # fmt: skip

LOSSES = (
    Formula("smooth_l1", ("x", "beta"),
            "0.5 * x * x / beta if abs(x) < beta else abs(x) - 0.5 * beta", domain=(_ANY, _SCALE)),
    Formula("huber", ("x", "delta"),
            "0.5 * x * x if abs(x) <= delta else delta * (abs(x) - 0.5 * delta)",
            domain=(_ANY, _SCALE)),
    # logarithms of a probability are cut at -100, so that a sure miss costs a finite amount
    Formula("binary_surprise", ("input", "target"),
            "(target - 1) * max(log1p(-input), -100) - target * max(log(input), -100)",
            {"input": "(input - target) / max(input * (1 - input), 1e-12)",
             "target": "max(log1p(-input), -100) - max(log(input), -100)"},
            domain=(_PROBABILITY, _PROBABILITY)),
)  # fmt: skip
