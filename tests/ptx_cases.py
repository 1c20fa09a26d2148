"""The functions on which the PTX tests run, with arguments of tiny sizes.

`SOURCE` holds functions of the language; `primitives_of` makes one with every primitive of a dtype,
at ordinary values and at the edges.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from tdsl.compiler import graph as g
from tdsl.compiler import scalar as sc
from tdsl.compiler.dims import named
from tdsl.compiler.dtypes import BF16, STRONG, DType
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.primitives import PRIMITIVES, Primitive
from tdsl.dsl.check import check
from tdsl.dsl.modules import load_modules

from .ptx_arithmetic import Array

SOURCE = """
fn gelu(x) = 0.5 * x * (1 + erf(x * 0.7071067811865476))

def scaled(x: f32[n], y: f32[n], a: f32) -> f32[n]:
    return a * x + y

def activation(x: f32[n, m]) -> f32[n, m]:
    return gelu(x) + tanh(x)

def activation_dx(x: f32[n, m]) -> f32[n, m]:
    return grad(sum(activation(x)), x)

def outer(x: f64[n], y: f64[m]) -> f64[n, m]:
    z[i, j] = x[i] * y[j] - x[i] / (1 + y[j]**2)
    return z

def transposed(x: f32[n, m]) -> f32[m, n]:
    y[j, i] = x[i, j] + 1
    return y

def constant(x: f32[n]) -> f32[n, 3]:
    y[i, j] = f32(2) for i in 0:n, j in 0:3
    return y

def sums(x: f32[n, m]):
    return sum(x), sum(x, dim=0), sum(x, dim=1)

def sums_of_three(x: f64[n, m, k]):
    return sum(x, dim=0), sum(x, dim=1), sum(x, dim=2)

def extremes(x: f32[n, m]):
    return max(x), min(x, dim=0), max(x, dim=1), argmax(x), argmin(x, dim=0), argmax(x, dim=1)

def whole_numbers(x: i32[n, m]):
    return sum(x, dim=1), max(x, dim=1), min(x), prod(x % 3 + 1, dim=0), argmin(x, dim=1)

def conditions(x: f32[n, m]):
    return any(x > 2, dim=1), all(x > -3, dim=1), any(x > 9), all(x > -9), x > 0 and not x > 1

def bits(x: i64[n], y: i64[n]):
    return x // y, x % y, x // 3, x % 8, abs(x), sign(x), x**3, min(x, y), -x

def random(x: f32[n], seed: i64, offset: i64):
    kept = x * random_bernoulli(full(n, 0.5), seed, offset)
    return kept, random_normal(seed, offset, (n, 2)), random_uniform(seed, offset, n, dtype="f64")

def halves(x: f16[n, m]):
    return x * x + 1, exp(x), sum(x, dim=1), max(x, dim=0), f32(x)

def short_rows(x: f64[n, 3]) -> f64[n]:
    return sqrt(sum(x * x, dim=1))

def matmul(a: f32[n, k], b: f32[k, m]) -> f32[n, m]:
    return a @ b

def matmul_grads(a: f32[n, k], b: f32[k, m], t: f32[n, m]):
    return grad(sum((a @ b) * t), (a, b))

def matvec(a: f64[n, m], x: f64[m]) -> f64[n]:
    return a @ x

def probabilities(x: f32[n, m]) -> f32[n, m]:
    return softmax(x, dim=1)

def cross_entropy(x: f32[b, k], y: i64[b]) -> f32:
    picked[r] = x[r, y[r]]
    return mean(logsumexp(x, dim=1) - picked)

def cross_entropy_dx(x: f32[b, k], y: i64[b]) -> f32[b, k]:
    return grad(cross_entropy(x, y), x)

def embedding_dw(w: f32[v, d], y: i64[b], t: f32[b, d]) -> f32[v, d]:
    e[r, c] = w[y[r], c]
    return grad(sum(e * t), w)

def gathered_sum(t: f64[v], y: i64[b]) -> f64:
    return sum[r](t[y[r]])

def histogram(y: i64[b], w: f64[v], t: f64[b]) -> f64[v]:
    e[r] = w[y[r]]
    return grad(sum(e * t), w)

def convolution(x: f32[c, h, w], k: f32[p, q]) -> f32[c, h-p+1, w-q+1]:
    y[a, i, j] = sum[u, v](x[a, i + u, j + v] * k[u, v])
    return y

def convolution_grads(x: f32[c, h, w], k: f32[p, q]):
    return grad(sum(convolution(x, k)**2), (x, k))

def passed_through(x: f32[n, m]):
    return x, x + 1, x + 1

def shifted(x: f32[n]) -> f32[n]:
    y[i] = x[i - 1] if i > 0 else 0 for i in 0:n
    return y

def distances(x: f64[n, 3], y: f64[m, 3]) -> f64[n]:
    d[i] = sum[j](exp(-sum[k]((x[i, k] - y[j, k])**2)))
    return d

def layer_norm(x: f32[n, m]) -> f32[n, m]:
    c = x - mean(x, dim=1, keepdim=True)
    return c / sqrt(mean(c * c, dim=1, keepdim=True) + 0.00001)
"""

_rng = np.random.default_rng(0)


def numbers(*shape: int, dtype: str = "f4") -> Array:
    return _rng.standard_normal(shape).astype(dtype)


def whole(low: int, high: int, *shape: int, dtype: str = "i8") -> Array:
    return _rng.integers(low, high, shape).astype(dtype)


_x, _ties = numbers(3, 70), numbers(5, 300).round(1)
_ties[1, 7] = np.nan
_bits = whole(-50, 50, 40)
_bits[:4] = [np.iinfo("i8").min, np.iinfo("i8").max, 0, -1]
_by = whole(-4, 5, 40)
_by[:4] = [-1, -1, 0, 0]
_images = numbers(2, 7, 6), numbers(3, 2)

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "scaled": (numbers(300), numbers(300), 1.5),
    "activation": (_x,),
    "activation_dx": (_x,),
    "outer": (numbers(7, dtype="f8"), numbers(9, dtype="f8")),
    "transposed": (_x,),
    "constant": (numbers(5),),
    "sums": (numbers(5, 300),),
    "sums_of_three": (numbers(3, 4, 40, dtype="f8"),),
    "extremes": (_ties,),
    "whole_numbers": (whole(-9, 9, 4, 40, dtype="i4"),),
    "conditions": (numbers(4, 50),),
    "bits": (_bits, _by),
    "random": (numbers(130), -5, 3_000_000_000),
    "halves": (numbers(3, 40, dtype="f2"),),
    "short_rows": (numbers(6, 3, dtype="f8"),),
    "matmul": (numbers(5, 6), numbers(6, 7)),
    "matmul_grads": (numbers(5, 6), numbers(6, 7), numbers(5, 7)),
    "matvec": (numbers(4, 40, dtype="f8"), numbers(40, dtype="f8")),
    "probabilities": (_x,),
    "cross_entropy": (_x, whole(0, 70, 3)),
    "cross_entropy_dx": (_x, whole(0, 70, 3)),
    "embedding_dw": (numbers(4, 6), whole(0, 4, 9), numbers(9, 6)),
    "gathered_sum": (numbers(4, dtype="f8"), whole(0, 4, 700)),
    "histogram": (whole(0, 4, 9), numbers(4, dtype="f8"), numbers(9, dtype="f8")),
    "convolution": _images,
    "convolution_grads": _images,
    "passed_through": (_x,),
    "shifted": (numbers(9),),
    "distances": (numbers(4, 3, dtype="f8"), numbers(5, 3, dtype="f8")),
    "layer_norm": (_x,),
}
"""By function of SOURCE."""

ELEMENTWISE = (
    "scaled", "activation", "activation_dx", "outer", "transposed", "bits", "random", "shifted",
)  # fmt: skip
"""No reductions: the same bits as on the CPU."""


@cache
def functions() -> dict[str, g.Function]:
    """The functions of SOURCE, simplified."""
    return functions_of(SOURCE)


def functions_of(text: str) -> dict[str, g.Function]:
    checked = check(load_modules(None, text))
    return {name: simplified(fn) for name, fn in checked.functions.items()}


# --------------------------------------------------------------------------- primitives


def rows_of(dtype: DType) -> list[Primitive]:
    """The primitives that take values of `dtype` alone."""
    return [p for p in PRIMITIVES.values() if _takes(p, dtype)]


def _takes(p: Primitive, dtype: DType) -> bool:
    if p.name in ("cast", "where"):
        return False
    if p.typing.name == "LOGIC":
        return dtype.is_bool
    if dtype.is_bool:
        return p.typing.name in ("SAME", "COMPARE", "BITS")
    if p.typing.name in ("BITS", "SHIFT"):
        return dtype.is_integer
    return dtype.is_float or p.typing.name in ("ARITHMETIC", "SAME", "COMPARE")


def primitives_of(dtype: DType) -> tuple[g.Function, list[Array]]:
    """A function with an output for every primitive of `dtype`, each of its own parameters, so
    that each is a kernel; and arguments."""
    scope = g.Scope()
    inputs: list[g.Input] = []
    outputs: list[g.Node] = []
    arrays: list[Array] = []
    with scope.active():
        for p in rows_of(dtype):
            own = [
                g.make_input(f"{p.name}_{k}", len(inputs) + k, dtype, [named("n")])
                for k in range(p.arity)
            ]
            inputs += own
            reads = [sc.read(x, [sc.index(0)]) for x in own]
            outputs.append(g.comp(sc.op(p.name, *reads), [named("n")], 1))
            arrays += _samples(p, dtype)
        fn = g.Function("f", tuple(inputs), tuple(outputs), True, scope=scope)
    return fn, arrays


_EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-40, 1e-300, 1e30, -1e5, np.inf, -np.inf, np.nan)
_COUNT = 2 * len(_EDGES) + 36


def _samples(p: Primitive, dtype: DType) -> list[Array]:
    """Edges against each other, then points of the domain."""
    rng = np.random.default_rng(len(p.name))
    if dtype.is_bool:
        return [rng.integers(0, 2, _COUNT).astype(np.bool_) for _ in range(p.arity)]
    if dtype.is_integer:
        ends = np.iinfo(dtype.numpy)
        pool = np.array([ends.min, ends.max, 0, 1, 2, 3], dtype=dtype.numpy)
        some = rng.integers(max(ends.min, -9), 10, _COUNT).astype(dtype.numpy)
        return [
            np.where(rng.random(_COUNT) < 0.4, rng.choice(pool, _COUNT), some).astype(dtype.numpy)
            for _ in range(p.arity)
        ]
    edges = np.array(_EDGES)
    out = []
    for k, (low, high) in enumerate(p.domain):
        inside = rng.uniform(low, high, _COUNT - 2 * len(edges))
        values = np.concatenate([edges, np.roll(edges, k * 3), inside])
        with np.errstate(all="ignore"):
            out.append(bits_of_bfloat(values) if dtype is BF16 else values.astype(dtype.numpy))
    return out


def bits_of_bfloat(x: Array) -> Array:
    """The upper halves of f32."""
    with np.errstate(all="ignore"):
        return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def casts() -> tuple[g.Function, list[Array]]:
    """Every dtype to every other."""
    scope = g.Scope()
    arrays: list[Array] = []
    outputs: list[g.Node] = []
    with scope.active():
        inputs = [g.make_input(f"x{k}", k, d, [named("n")]) for k, d in enumerate(STRONG)]
        for x in inputs:
            arrays += _samples(PRIMITIVES["neg"], x.dtype)
            for to in STRONG:
                if to is not x.dtype:
                    value = sc.convert(sc.read(x, [sc.index(0)]), to)
                    outputs.append(g.comp(value, [named("n")], 1))
        fn = g.Function("f", tuple(inputs), tuple(outputs), True, scope=scope)
    return fn, arrays
