"""What each structural row means, as cases: arguments, and NumPy's way to the same value.

In: nothing. Out: the table that the operator tests run. Layers and losses stand in
`network_cases`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tdsl.compiler.dims import dim, named
from tdsl.compiler.dtypes import BOOL, I64

from .graph_functions import Array, Parameter, tensor


@dataclass(frozen=True)
class Case:
    """Arguments of a row, tensors first, and NumPy's way to the same value."""

    tensors: tuple[Parameter, ...]
    numpy: Callable[..., Any]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    spread: str = ""  # the argument that takes all the tensors as a tuple
    domains: tuple[tuple[float, float], ...] = ()  # of the tensors
    names: tuple[str, ...] = ()  # the arguments that the tensors are, where others stand between


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def _logsumexp(x: Array, axis: int | None = None) -> Array:
    return np.asarray(np.log(np.exp(x).sum(axis=axis)))


def _p_norm(x: Array, p: float, axis: int) -> Array:
    return np.asarray(np.linalg.norm(x, p, axis))


def _scattered(x: Array, index: Array, source: Array) -> Array:
    out = x.copy()
    np.add.at(out, (np.arange(len(x))[:, None], index), source)
    return out


def _placed(x: Array, index: Array, source: Array) -> Array:
    out = x.copy()
    np.put_along_axis(out, index, source, 1)
    return out


def _filled(x: Array, index: Array, value: Array) -> Array:
    out = x.copy()
    out[:, index] = value
    return out


def _windows(x: Array, size: int, step: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=1)[:, ::step]


n, m, k = named("n"), named("m"), named("k")
TWO, THREE, FOUR = dim(2), dim(3), dim(4)
NM, N, M = tensor("n", "m"), tensor("n"), tensor("m")
NN, NMK = tensor("n", "n"), tensor("n", "m", "k")
INTS = tensor("n", dtype=I64)
MORE = {"dim": (0, 2), "keepdim": True}
AXES = {"axis": (0, 2), "keepdims": True}

ARRAYS: dict[str, list[Case]] = {
    "permute": [Case((NMK,), lambda x: x.transpose(2, 0, 1), {"dims": (2, 0, -2)})],
    "transpose": [Case((NMK,), lambda x: x.swapaxes(0, 2), {"dim0": 0, "dim1": 2})],
    "t": [Case((NM,), lambda x: x.T)],
    "unsqueeze": [Case((NM,), lambda x: x[:, None], {"dim": 1}),
                  Case((NM,), lambda x: x[:, :, None], {"dim": -1})],
    "squeeze": [Case((tensor("n", 1, "m", 1),), lambda x: x[:, 0, :, 0]),
                Case((tensor("n", 1, "m", 1),), lambda x: x[:, 0], {"dim": 1}),
                Case((NM,), lambda x: x, {"dim": (0, 1)})],
    "expand": [Case((tensor(1, "m"),), lambda x: np.broadcast_to(x, (3, 4)), {"size": (THREE, m)})],
    "broadcast_to": [Case((M,), lambda x: np.broadcast_to(x, (3, 4)), {"size": (THREE, m)})],
    "flip": [Case((NM,), lambda x: x[::-1, ::-1], {"dims": (0, 1)})],
    "reshape": [Case((NMK,), lambda x: x.reshape(12, 2), {"shape": (n * m, k)}),
                Case((NMK,), lambda x: x.reshape(3, 8), {"shape": (n, m * k)}),
                Case((NMK,), lambda x: x.reshape(2, 4, 3), {"shape": (k, m, n)}),
                Case((tensor(n * 6),), lambda x: x.reshape(3, 2, 3),
                     {"shape": (n, TWO, THREE)})],
    "view": [Case((NM,), lambda x: x.reshape(-1), {"shape": dim(-1)})],
    "flatten": [Case((NMK,), lambda x: x.reshape(3, 8), {"start_dim": 1})],
    "diagonal": [Case((NN,), lambda x: np.diagonal(x)),
                 Case((tensor("n", "k", "n"),), lambda x: np.diagonal(x, -1, 2, 0),
                      {"offset": -1, "dim1": 2, "dim2": 0}),
                 Case((tensor("n", n + 3),), lambda x: np.diagonal(x, 1), {"offset": 1})],
    "cat": [Case((NM, tensor("k", "m"), NM), lambda *x: np.concatenate(x), spread="tensors"),
            Case((NM, tensor("n", 1)), lambda *x: np.concatenate(x, 1), {"dim": -1}, "tensors")],
    "stack": [Case((NM, NM), lambda *x: np.stack(x, 1), {"dim": 1}, "tensors")],
    "pad": [Case((NM,), lambda x: np.pad(x, ((0, 3), (1, 2)), constant_values=0.5),
                 {"pad": (1, 2, 0, 3), "value": 0.5}),
            Case((NM,), lambda x: x[:, 1:-1], {"pad": (-1, -1)})],
    "tril": [Case((NM,), np.tril), Case((NM,), lambda x: np.tril(x, 1), {"diagonal": 1})],
    "triu": [Case((NM,), np.triu), Case((NM,), lambda x: np.triu(x, -1), {"diagonal": -1})],
    "index_select": [Case((NM, INTS), lambda x, i: x[:, i], {"dim": 1},
                          names=("x", "index"))],
    "sum": [Case((NMK,), np.sum), Case((NMK,), lambda x: x.sum(**AXES), MORE)],
    "prod": [Case((NM,), np.prod), Case((NMK,), lambda x: x.prod(**AXES), MORE)],
    "max": [Case((NM,), np.max), Case((NM,), lambda x: x.max(1), {"dim": 1})],
    "min": [Case((NM,), np.min), Case((NM,), lambda x: x.min(0), {"dim": 0})],
    "amax": [Case((NMK,), lambda x: x.max(**AXES), MORE)],
    "amin": [Case((NMK,), lambda x: x.min(**AXES), MORE)],
    "argmax": [Case((NM,), np.argmax), Case((NM,), lambda x: x.argmax(1), {"dim": 1})],
    "argmin": [Case((NM,), np.argmin), Case((NM,), lambda x: x.argmin(0), {"dim": 0})],
    "any": [Case((tensor("n", "m", dtype=BOOL),), lambda x: x.any(1), {"dim": 1})],
    "all": [Case((tensor("n", "m", dtype=BOOL),), lambda x: x.all(0), {"dim": 0})],
    "mean": [Case((NM,), np.mean), Case((NMK,), lambda x: x.mean(**AXES), MORE)],
    "var": [Case((NM,), lambda x: x.var(ddof=1)), Case((NM,), lambda x: x.var(1, ddof=0),
                                                       {"dim": 1, "correction": 0})],
    "std": [Case((NM,), lambda x: x.std(ddof=0), {"unbiased": False}),
            Case((NM,), lambda x: x.std(0, ddof=1), {"dim": 0})],
    "norm": [Case((NM,), np.linalg.norm), Case((NM,), lambda x: np.linalg.norm(x, axis=1),
                                               {"dim": 1}),
             *(Case((NM,), lambda x, p=p: _p_norm(x, p, 0), {"dim": 0, "p": p})
               for p in (1, 0, 1.5, 3, math.inf, -math.inf))],
    "normalize": [Case((NM,), lambda x: x / np.linalg.norm(x, axis=1, keepdims=True))],
    "logsumexp": [Case((NM,), _logsumexp), Case((NM,), lambda x: _logsumexp(x, 1), {"dim": 1})],
    "softmax": [Case((NM,), lambda x: softmax(x, 0), {"dim": 0})],
    "log_softmax": [Case((NM,), lambda x: np.log(softmax(x, 1)), {"dim": -1})],
    "matmul": [Case((NM, tensor("m", "k")), np.matmul), Case((NM, M), np.matmul),
               Case((M, tensor("m", "k")), np.matmul), Case((M, M), np.matmul),
               Case((tensor("o", 1, "n", "m"), tensor("k", "m", 2)), np.matmul)],
    "mm": [Case((NM, tensor("m", "k")), np.matmul)],
    "bmm": [Case((NMK, tensor("n", "k", "o")), np.matmul)],
    "mv": [Case((NM, M), np.matmul)],
    "dot": [Case((M, M), np.dot)],
    "outer": [Case((N, M), np.outer)],
    "trace": [Case((NN,), np.trace)],
    "zeros": [Case((N,), lambda x: np.zeros((3, 4)), {"size": (n, FOUR)})],
    "ones": [Case((N,), lambda x: np.ones(3), {"size": n})],
    "full": [Case((tensor(),), lambda x: np.full(3, x), {"size": THREE},
                  names=("fill_value",))],
    "zeros_like": [Case((NM,), np.zeros_like)],
    "ones_like": [Case((NM,), np.ones_like)],
    "full_like": [Case((NM, tensor()), lambda x, v: np.full_like(x, v))],
    "arange": [Case((N,), lambda x: np.arange(3), {"end": n})],
    "eye": [Case((N,), lambda x: np.eye(3), {"n": n})],
    "one_hot": [Case((INTS,), lambda x: np.eye(4, dtype=int)[x], {"num_classes": FOUR})],
    "clamp": [Case((NM, tensor(), tensor()),
                   lambda x, a, b: np.minimum(np.maximum(x, a), b)),
              Case((NM, M), np.maximum)],
    "isclose": [Case((NM, NM), np.isclose)],
    "swapaxes": [Case((NMK,), lambda x: x.swapaxes(0, 2), {"dim0": 0, "dim1": 2})],
    "swapdims": [Case((NM,), np.transpose)],
    "movedim": [Case((NMK,), lambda x: np.moveaxis(x, (0, 1), (-1, 0)),
                     {"source": (0, 1), "destination": (-1, 0)})],
    "moveaxis": [Case((NMK,), lambda x: np.moveaxis(x, 0, 2), {"source": 0, "destination": 2})],
    "unflatten": [Case((tensor("n", n * 6),), lambda x: x.reshape(3, 2, 9),
                       {"dim": 1, "sizes": (TWO, dim(-1))})],
    "concat": [Case((NM, NM), lambda *x: np.concatenate(x), spread="tensors")],
    "concatenate": [Case((NM, NM), lambda *x: np.concatenate(x), spread="tensors")],
    "narrow": [Case((NM,), lambda x: x[:, 1:3], {"dim": 1, "start": 1, "length": TWO}),
               Case((NM,), lambda x: x[:, -3:-1], {"dim": 1, "start": -3, "length": TWO})],
    "select": [Case((NMK,), lambda x: x[:, 2], {"dim": 1, "index": 2}),
               Case((NMK,), lambda x: x[-1], {"dim": 0, "index": -1})],
    "unfold": [Case((tensor("n", "h"),), lambda x: _windows(x, 3, 2),
                    {"dimension": 1, "size": 3, "step": 2})],
    "diag": [Case((N,), np.diag), Case((N,), lambda x: np.diag(x, -2), {"diagonal": -2}),
             Case((NN,), lambda x: np.diag(x, 1), {"diagonal": 1})],
    "diag_embed": [Case((NM,), lambda x: np.stack([np.diag(r, 1) for r in x]), {"offset": 1})],
    "repeat": [Case((NM,), lambda x: np.tile(x, (2, 1, 3)), {"repeats": (TWO, dim(1), THREE)})],
    "tile": [Case((NM,), lambda x: np.tile(x, 2), {"dims": TWO})],
    "repeat_interleave": [Case((NM,), lambda x: x.repeat(2, 1), {"repeats": TWO, "dim": 1}),
                          Case((NM,), lambda x: x.repeat(3), {"repeats": THREE})],
    "roll": [Case((NM,), lambda x: np.roll(x, 5, 1), {"shifts": 5, "dims": 1}),
             Case((NM,), lambda x: np.roll(x, -2), {"shifts": -2}),
             Case((tensor(3, 4),), lambda x: np.roll(x, (1, -1), (0, 1)),
                  {"shifts": (1, -1), "dims": (0, 1)})],
    "gather": [Case((NM, tensor("n", 2, dtype=I64)), lambda x, i: np.take_along_axis(x, i, 1),
                    {"dim": 1}, names=("input", "index"))],
    "take_along_dim": [Case((NM, tensor(1, 2, dtype=I64)),
                            lambda x, i: np.take_along_axis(x, np.repeat(i, 3, 0), 1),
                            {"dim": 1}),
                       Case((NM, INTS), lambda x, i: x.ravel()[i])],
    "embedding": [Case((INTS, NM), lambda i, x: x[i])],
    "masked_fill": [Case((NM, tensor("m", dtype=BOOL), tensor()),
                         lambda x, mask, v: np.where(mask, v, x))],
    "scatter_add": [Case((NM, tensor("n", 2, dtype=I64), tensor("n", 2)), _scattered,
                         {"dim": 1}, names=("input", "index", "src"))],
    "index_add": [Case((NM, tensor(2, dtype=I64), tensor("n", 2)),
                       lambda x, i, y: _scattered(x, np.stack([i] * 3), 0.5 * y),
                       {"dim": 1, "alpha": 0.5}, names=("input", "index", "source"))],
    "scatter": [Case((NM, tensor("n", 3, dtype=I64), tensor("n", 3)), _placed,
                     {"dim": 1}, names=("input", "index", "src")),
                Case((NM, tensor("n", 1, dtype=I64), tensor()), _placed,
                     {"dim": 1}, names=("input", "index", "value"))],
    "index_fill": [Case((NM, INTS, tensor()), _filled, {"dim": 1},
                        names=("input", "index", "value"))],
    "count_nonzero": [Case((tensor("n", "m", dtype=I64),),
                           lambda x: np.count_nonzero(x, 1), {"dim": 1})],
    "nansum": [Case((NM,), lambda x: x.sum(1), {"dim": 1})],
    "nanmean": [Case((NM,), lambda x: x.mean(0, keepdims=True), {"dim": 0, "keepdim": True})],
    "vector_norm": [Case((NM,), lambda x: _p_norm(x, 3, 1), {"ord": 3, "dim": 1})],
    "cosine_similarity": [Case((NM, M), lambda x, y: x @ y / np.linalg.norm(x, axis=1)
                               / np.linalg.norm(y))],
    "pairwise_distance": [Case((NM, NM), lambda x, y: np.linalg.norm(x - y + 1e-6, axis=1))],
    "einsum": [Case((NM, tensor("m", "k")), np.matmul, {"equation": "ij,jk"}, "operands"),
               Case((NN, N), lambda x, y: np.diagonal(x) * y, {"equation": "ii,i->i"}, "operands"),
               Case((NMK, tensor("k", "o"), N), lambda x, y, z: np.einsum("nmk,ko,n->om", x, y, z),
                    {"equation": "nmk,ko,n->om"}, "operands"),
               Case((NMK, tensor("k", "m")), np.matmul, {"equation": "...ij,jk->...ik"},
                    "operands")],
    "clip": [Case((NM, tensor(), tensor()),
                  lambda x, a, b: np.minimum(np.maximum(x, a), b))],
    "float_power": [Case((tensor("n", dtype=I64), tensor("n", dtype=I64)),
                         lambda x, y: np.float_power(x, y))],
    "positive": [Case((NM,), lambda x: x)],
}  # fmt: skip
