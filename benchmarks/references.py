"""What every workload returns, in float64 NumPy: derivatives worked out on paper.

In: the workload's arguments (float32 or integers). Out: its value and its gradients, in the order
in which the program returns them. Nothing here is fast; every system's results are compared with
these before it is timed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any


def _erf(x: Array) -> Array:
    return np.fromiter(map(math.erf, x.ravel().tolist()), float, x.size).reshape(x.shape)


def wide(*arrays: Array) -> list[Array]:
    """The floating-point ones in float64; integers as they are."""
    return [a if np.asarray(a).dtype.kind == "i" else np.asarray(a, np.float64) for a in arrays]


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1 + _erf(x * math.sqrt(0.5)))


def _normal_density(x: Array) -> Array:
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _softmax(z: Array) -> tuple[Array, Array]:
    """Along the last axis; and the logarithm of the sum of exponentials."""
    m = z.max(axis=-1, keepdims=True)
    e = np.exp(z - m)
    s = e.sum(axis=-1, keepdims=True)
    return e / s, (m + np.log(s))[..., 0]


def _entropy_of_logits(z: Array, y: Array) -> tuple[Array, Array]:
    """Mean cross-entropy and its derivative by the logits."""
    rows = np.arange(len(y))
    p, lse = _softmax(z)
    value = np.mean(lse - z[rows, y])
    p[rows, y] -= 1
    return value, p / len(y)


def gelu_sum(x: Array) -> tuple[Array, ...]:
    (x,) = wide(x)
    cdf = _normal_cdf(x)
    return np.sum(x * cdf), cdf + x * _normal_density(x)


def cross_entropy(z: Array, y: Array) -> tuple[Array, ...]:
    return _entropy_of_logits(*wide(z, y))


def layer_norm(x: Array, w: Array, c: Array, g: Array) -> tuple[Array, ...]:
    x, w, c, g = wide(x, w, c, g)
    m = x.mean(axis=1, keepdims=True)
    s = np.sqrt(np.mean((x - m) ** 2, axis=1, keepdims=True) + 1e-5)
    h = (x - m) / s
    dh = g * w
    of_mean = dh.mean(axis=1, keepdims=True)
    of_scale = h * np.mean(dh * h, axis=1, keepdims=True)
    dx = (dh - of_mean - of_scale) / s
    return np.sum(g * (h * w + c)), dx, np.sum(g * h, axis=0), g.sum(axis=0)


def mlp(
    x: Array, y: Array, w1: Array, c1: Array, w2: Array, c2: Array, w3: Array, c3: Array
) -> tuple[Array, ...]:
    x, y, w1, c1, w2, c2, w3, c3 = wide(x, y, w1, c1, w2, c2, w3, c3)
    a1 = x @ w1 + c1
    h1 = np.maximum(a1, 0)
    a2 = h1 @ w2 + c2
    h2 = np.maximum(a2, 0)
    value, dz = _entropy_of_logits(h2 @ w3 + c3, y)
    d2 = (dz @ w3.T) * (a2 > 0)
    d1 = (d2 @ w2.T) * (a1 > 0)
    of_layers = (x.T @ d1, d1.sum(0)), (h1.T @ d2, d2.sum(0)), (h2.T @ dz, dz.sum(0))
    return (value, *(d for layer in of_layers for d in layer))


def attention(q: Array, k: Array, v: Array, t: Array) -> tuple[Array, ...]:
    q, k, v, t = wide(q, k, v, t)
    scale = 1 / math.sqrt(q.shape[-1])
    p, _ = _softmax(scale * (q @ k.swapaxes(2, 3)))
    o = p @ v
    do = 2 * (o - t) / o.size
    dp = do @ v.swapaxes(2, 3)
    ds = scale * p * (dp - np.sum(p * dp, axis=3, keepdims=True))
    return np.mean((o - t) ** 2), ds @ k, ds.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ do


def conv2d(x: Array, k: Array) -> tuple[Array, ...]:
    x, k = wide(x, k)
    p, q = k.shape[2:]
    rows, columns = x.shape[2] - p + 1, x.shape[3] - q + 1
    y: Array = 0
    for u in range(p):
        for v in range(q):
            part = x[:, :, u : u + rows, v : v + columns]
            y = y + np.tensordot(part, k[:, :, u, v], axes=(1, 1)).transpose(0, 3, 1, 2)
    dy = 2 * y / y.size
    dx, dk = np.zeros_like(x), np.zeros_like(k)
    for u in range(p):
        for v in range(q):
            part = x[:, :, u : u + rows, v : v + columns]
            dk[:, :, u, v] = np.tensordot(dy, part, axes=((0, 2, 3), (0, 2, 3)))
            back = np.tensordot(dy, k[:, :, u, v], axes=(1, 0)).transpose(0, 3, 1, 2)
            dx[:, :, u : u + rows, v : v + columns] += back
    return np.mean(y**2), dx, dk


def black_scholes(s: Array, k: Array, t: Array, r: Array, v: Array) -> tuple[Array, ...]:
    """The price, delta, the derivative by the time left, rho and vega (Hull, Options, Futures and
    Other Derivatives, ch. 19)."""
    s, k, t, r, v = wide(s, k, t, r, v)
    root = np.sqrt(t)
    d1 = (np.log(s / k) + (r + 0.5 * v**2) * t) / (v * root)
    d2 = d1 - v * root
    paid = k * np.exp(-r * t)
    delta, exercised, density = _normal_cdf(d1), _normal_cdf(d2), _normal_density(d1)
    return (
        s * delta - paid * exercised,
        delta,
        s * density * v / (2 * root) + r * paid * exercised,
        t * paid * exercised,
        s * density * root,
    )


def lennard_jones(x: Array) -> tuple[Array, ...]:
    (x,) = wide(x)
    d = x[:, None, :] - x[None, :, :]
    r2 = np.sum(d * d, axis=2)
    np.fill_diagonal(r2, np.inf)
    by_r2 = -24 / r2**7 + 12 / r2**4
    return 2 * np.sum(1 / r2**6 - 1 / r2**3), 2 * np.einsum("ij,ijk->ik", by_r2, d)


def gaussian_kernel(x: Array, y: Array, b: Array, g: Array) -> tuple[Array, ...]:
    x, y, b, g = wide(x, y, b, g)
    r2 = np.sum(x * x, axis=1)[:, None] + np.sum(y * y, axis=1) - 2 * x @ y.T
    weighted = np.exp(-r2) * b
    total = weighted.sum(axis=1)
    return total @ g, -2 * g[:, None] * (x * total[:, None] - weighted @ y)


def logistic(x: Array, t: Array, w: Array, b: Array) -> tuple[Array, ...]:
    x, t, w, b = wide(x, t, w, b)
    z = x @ w + b
    dz = (1 / (1 + np.exp(-z)) - t) / len(t)
    return np.mean(np.logaddexp(0, z) - t * z), dz @ x, dz.sum()


def tiny(x: Array, w: Array) -> tuple[Array, ...]:
    x, w = wide(x, w)
    h = np.tanh(x * w)
    return h.sum(), (1 - h * h) * x
