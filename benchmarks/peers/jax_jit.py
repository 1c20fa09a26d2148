"""JAX: jit of value_and_grad. Threads are those of the process's CPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from workload_table import Workload

from . import System, positions

Array = Any


def gelu_sum(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False).sum()


def _entropy_of_logits(z: Array, y: Array) -> Array:
    picked = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - picked)


def cross_entropy(z: Array, y: Array) -> Array:
    return _entropy_of_logits(z, y)


def layer_norm(x: Array, w: Array, c: Array, g: Array) -> Array:
    m = x.mean(axis=1, keepdims=True)
    v = jnp.mean((x - m) ** 2, axis=1, keepdims=True)
    return jnp.sum(((x - m) * jax.lax.rsqrt(v + 1e-5) * w + c) * g)


def mlp(
    x: Array, y: Array, w1: Array, c1: Array, w2: Array, c2: Array, w3: Array, c3: Array
) -> Array:
    h = jax.nn.relu(jax.nn.relu(x @ w1 + c1) @ w2 + c2)
    return _entropy_of_logits(h @ w3 + c3, y)


def attention(q: Array, k: Array, v: Array, t: Array) -> Array:
    score = jnp.einsum("bhic,bhjc->bhij", q, k) / q.shape[-1] ** 0.5
    return jnp.mean((jax.nn.softmax(score, axis=3) @ v - t) ** 2)


def conv2d(x: Array, k: Array) -> Array:
    y = jax.lax.conv_general_dilated(
        x, k, (1, 1), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW")
    )
    return jnp.mean(y**2)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1 + jax.lax.erf(x * 0.7071067811865476))


def black_scholes(s: Array, k: Array, t: Array, r: Array, v: Array) -> Array:
    spread = v * jnp.sqrt(t)
    d1 = (jnp.log(s / k) + (r + 0.5 * v**2) * t) / spread
    return s * _normal_cdf(d1) - k * jnp.exp(-r * t) * _normal_cdf(d1 - spread)


def lennard_jones(x: Array) -> Array:
    d = x[:, None, :] - x[None, :, :]
    r2 = jnp.where(jnp.eye(len(x), dtype=bool), jnp.inf, jnp.sum(d * d, axis=2))
    by_r6 = 1 / (r2 * r2 * r2)
    return 2 * jnp.sum(by_r6 * by_r6 - by_r6)


def gaussian_kernel(x: Array, y: Array, b: Array, g: Array) -> Array:
    r2 = jnp.sum((x[:, None, :] - y[None, :, :]) ** 2, axis=2)
    return (jnp.exp(-r2) @ b) @ g


def logistic(x: Array, t: Array, w: Array, b: Array) -> Array:
    z = x @ w + b
    return jnp.mean(t * jax.nn.softplus(-z) + (1 - t) * jax.nn.softplus(z))


def tiny(x: Array, w: Array) -> Array:
    return jnp.tanh(x * w).sum()


FORMULAS: Mapping[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        *(gelu_sum, cross_entropy, layer_norm, mlp, attention, conv2d, black_scholes),
        *(lennard_jones, gaussian_kernel, logistic, tiny),
    )
}


def _jit(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    formula = FORMULAS[workload.name]

    def with_total(*args: Array) -> tuple[Array, Array]:
        value = formula(*args)
        return value.sum(), value

    at = positions(formula, workload.wrt)
    compiled = jax.jit(jax.value_and_grad(with_total, at, has_aux=True))
    arrays = [jnp.asarray(a) for a in arguments]

    def work() -> Any:
        (_, value), gradients = compiled(*arrays)
        return jax.block_until_ready((value, *gradients))

    return work


def systems(threads: int) -> list[System]:
    jax.config.update("jax_platforms", "cpu")
    return [System("jax.jit", _jit, lambda result: tuple(np.asarray(r) for r in result))]
