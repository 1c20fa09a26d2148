"""Pointwise functions of one argument: every one at the edges of its domain, on all layouts, on
ints and bools, with gradients of first and second order."""

from __future__ import annotations

from collections.abc import Iterator

from .case import family

#: name: the ends of an interval inside the domain, for gradients; None where they are zero or none.
_FUNCTIONS: dict[str, tuple[float, float] | None] = {
    "neg": (-2, 2), "abs": (0.1, 2), "sign": None, "square": (-2, 2), "reciprocal": (0.5, 2),
    "exp": (-2, 2), "exp2": (-2, 2), "expm1": (-2, 2), "log": (0.5, 3), "log2": (0.5, 3),
    "log10": (0.5, 3), "log1p": (-0.5, 3), "sqrt": (0.5, 3), "rsqrt": (0.5, 3), "sin": (-3, 3),
    "cos": (-3, 3), "tan": (-1, 1), "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "atan": (-2, 2),
    "sinh": (-2, 2), "cosh": (-2, 2), "tanh": (-2, 2), "asinh": (-2, 2), "acosh": (1.2, 3),
    "atanh": (-0.9, 0.9), "erf": (-2, 2), "erfc": (-2, 2), "lgamma": (0.5, 4),
    "digamma": (0.5, 4), "sinc": (0.1, 0.9), "sigmoid": (-3, 3), "floor": None, "ceil": None,
    "round": None, "trunc": None, "frac": (0.1, 0.9), "relu": (0.1, 2), "isnan": None,
    "isinf": None, "isfinite": None, "logical_not": None,
}  # fmt: skip

#: In torch.nn.functional only.
_ACTIVATIONS = {
    "gelu": (-2, 2), "silu": (-3, 3), "softplus": (-3, 3), "leaky_relu": (0.1, 2), "elu": (0.1, 2),
}  # fmt: skip

#: Functions that are not what they say at some edges, on one side or the other: large or subnormal
#: arguments of trigonometric functions, poles.
_PLAIN_EDGES = "[0., 1., -1., 0.5, -2.5, 3.75, inf, -inf, nan]"
_POSITIVE = "[1., 0.5, 2.5, 3.75, inf, nan]"
_EDGES = {
    "sin": "[0., -0., 1., -1., 0.5, 10., 1e-30, inf, -inf, nan]",
    "cos": "[0., -0., 1., -1., 0.5, 10., 1e-30, inf, -inf, nan]",
    "tan": "[0., -0., 1., -1., 0.5, 1.5, 1e-30, inf, -inf, nan]",
    "lgamma": _POSITIVE,
    "digamma": "[1., 0.5, 2.5, 3.75, 0.25, nan]",
    "sinc": "[0., 0.5, -0.5, 0.25, 1.5, nan]",
    "frac": "[0., 1., -1., 0.5, -2.5, 3.75, nan]",
    "reciprocal": "[0., -0., 1., -1., 0.5, 1e30, inf, -inf, nan]",
    "rsqrt": "[0., 1., -1., 0.5, 3.75, 1e30, inf, -inf, nan]",
    "gelu": "[0., 1., -1., 0.5, -2.5, 3.75, 1e30, inf, nan]",
    "silu": "[0., 1., -1., 0.5, -2.5, 3.75, 80., inf, nan]",
    "asinh": _PLAIN_EDGES,
    "acosh": "[1., 0.5, 2.5, 3.75, inf, nan]",
}
#: On more dtypes and layouts than the others, which go the same way.
_EVERY_LAYOUT = {"neg", "exp", "sqrt", "sin", "relu", "floor", "isnan"}
#: No values on ints or bools: these refuse them.
_FLOATS_ONLY = {"gelu", "silu", "softplus", "leaky_relu", "elu", "frac"}
_NOT_ON_BOOLS = {"neg", "floor", "ceil", "round", "trunc", "sign", "relu", "square", "abs"}


def _cases(name: str, call: str, method: str, domain: tuple[float, float] | None) -> Iterator[str]:
    yield f"{call}(f32({_EDGES.get(name, 'EDGES')}))"
    yield f"{call}(f64([0.3, 0.6, 0.9, 0.1]))"
    yield f"{call}(f32([0.1, 0.2, 0.3, 0.4, 0.5])[::2])"
    yield f"{call}(f32([]))"
    yield f"{call}(f32([0.7]))"
    if name in _EVERY_LAYOUT:
        yield f"{call}(f32([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]).t())"
        yield f"{call}(f32(0.7))"
        yield f"{call}(f16([0.5, 0.25]))"
        yield f"{call}(bf16([0.5, 0.25]))"
    yield f"{call}(i64([1, 2, 3]))"
    if name not in _FLOATS_ONLY | _NOT_ON_BOOLS:
        yield f"{call}(b8([True, True]))"
    if method:
        yield f"f64([0.3, 0.6]).{method}()"
    if domain:
        low, high = domain
        yield f"grads({call}, rnd(4, low={low}, high={high}))"
        yield f"y = {call}(leaf([0.3, 0.6, 0.9], 'float32')); y"


_ONE_ARGUMENT = {
    **{name: list(_cases(name, f"T.{name}", name, domain)) for name, domain in _FUNCTIONS.items()},
    **{name: list(_cases(name, f"F.{name}", "", domain)) for name, domain in _ACTIVATIONS.items()},
}

_FURTHER = {
    "tanh": "F.tanh(f32([1.]))",
    "sigmoid": """
        F.sigmoid(f32([1.]))
        grads(T.sigmoid, f64([-30., 30., 0.]))
    """,
    "relu": """
        F.relu(f32([-1., 1.]))
        grads(T.relu, f64([-1., 2.]))
        grads(T.relu, f64([0.]), order=1)
        T.relu(i64([-1, 2]))
        T.relu(f32([-0., -1., nan, inf]))
    """,
    "abs": """
        abs(f32([-1., 2.]))
        grads(T.abs, f64([-1., 0., 2.]))
        T.absolute(f32([-1.]))
        T.abs(i64([-3]))
    """,
    "neg": """
        -f32([1., -2.])
        +f32([1., -2.])
        T.negative(i64([1]))
        -b8([True])
    """,
    "sign": """
        grads(T.sign, f64([-1., 2.]), order=1)
        T.sign(i64([-5, 0, 3]))
    """,
    "round": """
        T.round(f32([0.5, 1.5, 2.5, -0.5, -1.5]))
        T.round(f64([1.2345, -1.2355]), decimals=2)
    """,
    "floor": "T.floor(f32([-1.5, 1.5]))",
    "gelu": """
        F.gelu(f64([-1., 0.5, 2.]), approximate='tanh')
        grads(lambda x: F.gelu(x, approximate='tanh'), rnd(3))
        F.gelu(f32([1.]), approximate='other')
    """,
    "softplus": """
        F.softplus(f64([-1., 0.5, 2.]), beta=2)
        F.softplus(f64([1., 30.]), beta=1, threshold=20)
        grads(lambda x: F.softplus(x, beta=2), rnd(3))
        grads(F.softplus, f64([-50., 50.]), order=1)
    """,
    "leaky_relu": """
        F.leaky_relu(f64([-1., 2.]), 0.2)
        F.leaky_relu(f64([-1., 2.]), negative_slope=0.3)
        grads(lambda x: F.leaky_relu(x, 0.2), f64([-1., 2.]))
    """,
    "elu": """
        F.elu(f64([-1., 2.]), alpha=2.)
        grads(lambda x: F.elu(x, 2.), f64([-1., 2.]))
    """,
    "silu": "F.silu(f64([-2., 2.]))",
    "logical_not": """
        T.logical_not(b8([True, False]))
        ~b8([True, False])
        ~i64([0, 5])
        ~f32([1.])
    """,
    "isnan": "f32([nan, 1.]).isnan().any()",
    "sqrt": "T.sqrt(f32([-1.]))",
    "log": "grads(T.log, f64([0.25, 4.]))",
    "reciprocal": "T.reciprocal(f64([4.]))",
    "square": "T.square(i64([3]))",
    "exp": "T.exp(T.tensor(1.))",
}

CASES = (
    *family("pointwise", _ONE_ARGUMENT),
    *family("pointwise_further", _FURTHER),
)
