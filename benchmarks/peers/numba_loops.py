"""Numba, where loops written by hand are its game: values and derivatives worked out on paper, one
pass over the data, fast-math, all threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numba
import numpy as np
from workload_table import Workload

from . import System

Array = Any
SQRT_HALF, BY_SQRT_2PI = np.float32(0.7071067811865476), np.float32(0.3989422804014327)
HALF, ONE = np.float32(0.5), np.float32(1)
loops = numba.njit(parallel=True, fastmath=True, error_model="numpy")


@loops
def gelu_sum(x: Array) -> Any:
    dx = np.empty_like(x)
    total = 0.0
    for i in numba.prange(len(x)):
        cdf = HALF * (ONE + math.erf(x[i] * SQRT_HALF))
        total += x[i] * cdf
        dx[i] = cdf + x[i] * BY_SQRT_2PI * math.exp(-HALF * x[i] * x[i])
    return total, dx


@loops
def black_scholes(s: Array, k: Array, t: Array, r: Array, v: Array) -> Any:
    price, ds, dt = np.empty_like(s), np.empty_like(s), np.empty_like(s)
    dr, dv = np.empty_like(s), np.empty_like(s)
    for i in numba.prange(len(s)):
        root = math.sqrt(t[i])
        spread = v[i] * root
        d1 = (math.log(s[i] / k[i]) + (r[i] + HALF * v[i] * v[i]) * t[i]) / spread
        d2 = d1 - spread
        paid = k[i] * math.exp(-r[i] * t[i])
        delta = HALF * (ONE + math.erf(d1 * SQRT_HALF))
        exercised = HALF * (ONE + math.erf(d2 * SQRT_HALF))
        density = s[i] * BY_SQRT_2PI * math.exp(-HALF * d1 * d1)
        price[i] = s[i] * delta - paid * exercised
        ds[i] = delta
        dt[i] = density * v[i] / (root + root) + r[i] * paid * exercised
        dr[i] = t[i] * paid * exercised
        dv[i] = density * root
    return price, ds, dt, dr, dv


@loops
def lennard_jones(x: Array) -> Any:
    n = len(x)
    dx = np.empty_like(x)
    total = 0.0
    for i in numba.prange(n):
        energy = fx = fy = fz = np.float32(0)
        for j in range(n):
            a, b, c = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
            r2 = a * a + b * b + c * c
            inverse = ONE / r2 if i != j else np.float32(0)
            r6 = inverse * inverse * inverse
            energy += r6 * r6 - r6
            by_r2 = (r6 - np.float32(2) * r6 * r6) * inverse
            fx += by_r2 * a
            fy += by_r2 * b
            fz += by_r2 * c
        total += energy
        dx[i, 0], dx[i, 1], dx[i, 2] = 24 * fx, 24 * fy, 24 * fz
    return 2 * total, dx


@loops
def gaussian_kernel(x: Array, y: Array, b: Array, g: Array) -> Any:
    dx = np.empty_like(x)
    total = 0.0
    for i in numba.prange(len(x)):
        a = fx = fy = fz = np.float32(0)
        for j in range(len(y)):
            p, q, r = x[i, 0] - y[j, 0], x[i, 1] - y[j, 1], x[i, 2] - y[j, 2]
            w = math.exp(-(p * p + q * q + r * r)) * b[j]
            a += w
            fx += w * p
            fy += w * q
            fz += w * r
        total += a * g[i]
        scale = -2 * g[i]
        dx[i, 0], dx[i, 1], dx[i, 2] = scale * fx, scale * fy, scale * fz
    return total, dx


@numba.njit(fastmath=True)
def tiny(x: Array, w: Array) -> Any:
    dw = np.empty_like(x)
    total = np.float32(0)
    for i in range(len(x)):
        h = math.tanh(x[i] * w[i])
        total += h
        dw[i] = (ONE - h * h) * x[i]
    return total, dw


LOOPS: Mapping[str, Callable[..., Any]] = {
    "gelu_sum": gelu_sum,
    "black_scholes": black_scholes,
    "lennard_jones": lennard_jones,
    "gaussian_kernel": gaussian_kernel,
    "tiny": tiny,
}


def _loop(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any] | None:
    loop = LOOPS.get(workload.name)
    return None if loop is None else lambda: loop(*arguments)


def systems(threads: int) -> list[System]:
    numba.set_num_threads(threads)
    return [System("numba by hand", _loop, tuple)]
