"""What each row for networks means, as cases: convolution, pooling, layers and losses.

The NumPy side is the textbook's formula, over windows that are written out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tdsl.compiler.dims import named
from tdsl.compiler.dtypes import I64

from .graph_functions import Array, tensor
from .operator_cases import NM, NMK, Case, M, softmax

m, k, o = named("m"), named("k"), named("o")
INTS = tensor("n", dtype=I64)


def _log_softmax(x: Array, axis: int) -> Array:
    return np.asarray(np.log(softmax(x, axis)))


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _windows(
    x: Array,
    kernel: Sequence[int],
    stride: int,
    padding: int,
    dilation: int = 1,
    fill: float = 0.0,
    more: int = 0,
) -> Array:
    """[…, windows, elements] over the last dims; `more` is a further padding at the end."""
    rank = len(kernel)
    lead = [(0, 0)] * (x.ndim - rank)
    x = np.pad(x, [*lead, *[(padding, padding + more)] * rank], constant_values=fill)
    counts = [
        (size - dilation * (width - 1) - 1) // stride + 1
        for size, width in zip(x.shape[x.ndim - rank :], kernel, strict=True)
    ]
    out = np.empty((*x.shape[: x.ndim - rank], *counts, *kernel))
    for o in itertools.product(*map(range, counts)):
        for e in itertools.product(*map(range, kernel)):
            at = [a * stride + b * dilation for a, b in zip(o, e, strict=True)]
            out[(..., *o, *e)] = x[(..., *at)]
    return out


def _convolution(
    rank: int, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Callable[..., Array]:
    def convolve(x: Array, w: Array, b: Array | float = 0.0) -> Array:
        seen = _windows(x, w.shape[2:], stride, padding, dilation)
        inputs, outputs = np.split(seen, groups, 1), np.split(w, groups)
        letters = ("x", "xy")[rank - 1]
        equation = f"nc{letters}{letters.upper()},oc{letters.upper()}->no{letters}"
        parts = [np.einsum(equation, a, c) for a, c in zip(inputs, outputs, strict=True)]
        return np.concatenate(parts, 1) + np.reshape(b, (-1, *[1] * rank))

    return convolve


def _pooling(f: Any, rank: int, size: int, fill: float = np.nan, **how: int) -> Any:
    axes = tuple(range(-rank, 0))
    return lambda x: f(_windows(x, [size] * rank, fill=fill, **how), axis=axes)


def _layer_norm(x: Array, weight: Array, bias: Array, axis: Any = -1) -> Array:
    centered = x - x.mean(axis, keepdims=True)
    return np.asarray(centered / np.sqrt(x.var(axis, keepdims=True) + 1e-5) * weight + bias)


def _cross_entropy(x: Array, y: Array) -> Any:
    return -np.mean(_log_softmax(x, 1)[np.arange(len(y)), y])


def _weighted(x: Array, y: Array, w: Array, kept: Array, smooth: float = 0.0) -> Any:
    rows = np.arange(len(y))
    loss = (1 - smooth) * -w[y] * x[rows, y] + smooth / x.shape[1] * -(w * x).sum(1)
    return (loss * kept).sum() / (w[y] * kept).sum()


def _at_position(x: Array, y: Array) -> Array:
    return -np.take_along_axis(_log_softmax(x, 1), y[:, None], 1)[:, 0]


def _smooth(x: Array, beta: float) -> Array:
    return np.where(abs(x) < beta, 0.5 * x * x / beta, abs(x) - 0.5 * beta)


def _bce(x: Array, y: Array, w: Array | float = 1.0) -> Array:
    return np.asarray(-w * y * np.log(_sigmoid(x)) - (1 - y) * np.log(_sigmoid(-x)))


IMAGE, KERNEL = tensor("k", "m", "h", "w"), tensor("o", "m", 3, 2)
LINE = tensor("k", "m", "h")

NETWORKS: dict[str, list[Case]] = {
    "conv1d": [Case((LINE, tensor("o", "m", 3), tensor("o")), _convolution(1, 2, 1),
                    {"stride": 2, "padding": 1}),
               Case((tensor("m", "h"), tensor("o", "m", 3)),
                    lambda x, w: _convolution(1, padding=1)(x[None], w)[0],
                    {"padding": "same"})],
    "conv2d": [Case((IMAGE, KERNEL, tensor("o")), _convolution(2, 2, 1, 2),
                    {"stride": 2, "padding": (1,), "dilation": 2}),
               Case((tensor("k", m * 2, "h", "w"), tensor(o * 2, "m", 2, 2)),
                    _convolution(2, groups=2), {"groups": 2, "padding": "valid"})],
    "max_pool1d": [Case((LINE,), _pooling(np.nanmax, 1, 3, stride=2, padding=1),
                        {"kernel_size": 3, "stride": 2, "padding": 1})],
    "max_pool2d": [Case((IMAGE,), _pooling(np.nanmax, 2, 2, stride=2, padding=0),
                        {"kernel_size": 2}),
                   Case((IMAGE,), _pooling(np.nanmax, 2, 3, stride=3, padding=1, dilation=2),
                        {"kernel_size": 3, "stride": 3, "padding": 1, "dilation": (2, 2)}),
                   Case((IMAGE,), _pooling(np.nanmax, 2, 2, stride=3, padding=0, more=1),
                        {"kernel_size": 2, "stride": 3, "ceil_mode": True})],
    "avg_pool1d": [Case((LINE,), _pooling(np.mean, 1, 2, 0.0, stride=2, padding=1),
                        {"kernel_size": 2, "padding": 1})],
    "avg_pool2d": [Case((IMAGE,), _pooling(np.mean, 2, 3, 0.0, stride=2, padding=1),
                        {"kernel_size": 3, "stride": 2, "padding": 1}),
                   Case((IMAGE,), _pooling(np.nanmean, 2, 3, stride=2, padding=1, more=1),
                        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True,
                         "count_include_pad": False})],
    "linear": [Case((NM, tensor("o", "m"), tensor("o")), lambda x, w, b: x @ w.T + b)],
    "layer_norm": [Case((NM, M, M), _layer_norm),
                   Case((NMK, tensor("m", "k"), tensor("k")),
                        lambda x, w, b: _layer_norm(x, w, b, (-2, -1)), {"normalized_dims": 2})],
    "softmin": [Case((NM,), lambda x: softmax(-x, 1), {"dim": 1})],
    "glu": [Case((tensor("n", k * 2),), lambda x: x[:, :2] * _sigmoid(x[:, 2:]))],
    "prelu": [Case((NMK, M), lambda x, w: np.where(x > 0, x, w[:, None] * x))],
    "cross_entropy": [
        Case((NM, INTS), _cross_entropy),
        Case((tensor("h", "m"), tensor("h", dtype=I64), M),
             lambda x, y, w: _weighted(_log_softmax(x, 1), y, w, y != 0, 0.1),
             {"ignore_index": 0, "label_smoothing": 0.1}),
        Case((NM, NM), lambda x, p: -(p * _log_softmax(x, 1)).sum(), {"reduction": "sum"}),
        Case((NMK, tensor("n", "k", dtype=I64)), _at_position, {"reduction": "none"}),
        Case((M, tensor(dtype=I64)), lambda x, y: -_log_softmax(x, 0)[y])],
    "nll_loss": [Case((NM, INTS), lambda x, y: -np.mean(x[np.arange(len(y)), y])),
                 Case((tensor("h", "m"), tensor("h", dtype=I64), M),
                      lambda x, y, w: _weighted(x, y, w, y != 1),
                      {"ignore_index": 1})],
    "mse_loss": [Case((NM, NM), lambda x, y: np.mean((x - y) ** 2)),
                 Case((NM, NM), lambda x, y: (x - y) ** 2, {"reduction": "none"})],
    "l1_loss": [Case((NM, NM), lambda x, y: np.sum(abs(x - y)), {"reduction": "sum"})],
    "smooth_l1_loss": [Case((NM, NM), lambda x, y: np.mean(_smooth(x - y, 0.7)), {"beta": 0.7})],
    "huber_loss": [Case((NM, NM), lambda x, y: np.mean(0.7 * _smooth(x - y, 0.7)),
                        {"delta": 0.7})],
    "binary_cross_entropy": [
        Case((NM, NM, M),
             lambda x, y, w: np.mean(-w * (y * np.log(x) + (1 - y) * np.log1p(-x))),
             domains=((0.05, 0.95),) * 2)],
    "binary_cross_entropy_with_logits": [
        Case((NM, NM), lambda x, y: np.mean(np.log1p(np.exp(x)) - x * y)),
        Case((NM, NM, NM, M), lambda x, y, w, p: np.sum(w * _bce(x, y, p)),
             {"reduction": "sum"}, names=("input", "target", "weight", "pos_weight"))],
    "kl_div": [Case((NM, NM), lambda x, y: np.mean(y * (np.log(y) - x)),
                    domains=((-2.0, 2.0), (0.05, 0.95))),
               Case((NM, NM), lambda x, y: np.sum(np.exp(y) * (y - x)) / 3,
                    {"reduction": "batchmean", "log_target": True})],
}  # fmt: skip
