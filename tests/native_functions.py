"""Functions built by hand, compiled and called through the plain native interface: what the
backend's tests share."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tdsl
from tdsl.compiler import graph as g
from tdsl.compiler import scalar as sc
from tdsl.compiler import target_cpu
from tdsl.compiler.artifact import evaluate
from tdsl.compiler.build import compile_cpu
from tdsl.compiler.dims import Dim, dim, named
from tdsl.compiler.dtypes import BY_NAME, F32, DType
from tdsl.compiler.interpret import bind_dims, interpret
from tdsl.compiler.pipeline import differentiated, simplified
from tdsl.compiler.tuning import STATIC, Tuning

op, const = sc.op, sc.const
Size = str | int


class Native:
    """A compiled function called through its plain interface, with guards around every output."""

    def __init__(self, fn: g.Function, tuning: Tuning = STATIC) -> None:
        self.fn = fn
        self.artifact = compile_cpu(fn, tuning=tuning)
        self.loaded = target_cpu.load(self.artifact.code)
        i64, pointer = ctypes.c_int64, ctypes.c_void_p
        self.run = ctypes.CFUNCTYPE(i64, pointer, pointer, pointer, pointer)(self.loaded.run)
        self.arena = ctypes.CFUNCTYPE(i64, pointer)(self.loaded.arena)

    def __call__(self, *arrays: Any) -> list[np.ndarray]:
        given = [
            np.array(a, dtype=p.dtype.numpy, order="C")
            for a, p in zip(arrays, self.fn.params, strict=True)
        ]
        env = bind_dims(self.fn, [a.shape for a in given])
        dims = (ctypes.c_int64 * (len(env) + 1))(*[env[d] for d in self.artifact.dims])
        guarded, outs = [], []
        for o in self.artifact.outputs:
            shape = [max(0, evaluate(s, env)) for s in o.shape]
            count = int(np.prod(shape))
            room = np.full(count + 32, 77, dtype=BY_NAME[o.dtype].numpy)
            guarded.append(room)
            outs.append(room[16 : 16 + count].reshape(shape))
        pointers = (ctypes.c_void_p * (len(given) + len(outs)))(
            *[a.ctypes.data for a in (*given, *outs)]
        )
        needed = self.arena(dims)
        arena = np.full(needed + 128, 77, np.uint8)
        base = arena.ctypes.data + -arena.ctypes.data % 64
        error = (ctypes.c_int64 * 4)()
        before = [a.copy() for a in given]
        status = self.run(pointers, dims, base, error)
        for a, b in zip(given, before, strict=True):
            np.testing.assert_array_equal(a, b)  # params are never written
        for room in guarded:
            edges = np.concatenate([room[:16], room[-16:]])
            assert (edges == np.full(32, 77, room.dtype)).all(), "wrote outside an output"
        behind = arena[base - arena.ctypes.data + needed :]
        assert (behind == 77).all(), "wrote behind the arena"
        if status:
            raise IndexError(tuple(error))
        return outs


def built(source: str, name: str = "f") -> Native:
    """A function of a program."""
    fn = simplified(differentiated(getattr(tdsl.compile(source), name).graph()))
    with fn.scope.active():
        return Native(fn)


def drawn(fn: g.Function, sizes: Mapping[str, int], seed: int = 0) -> list[np.ndarray]:
    """Normal random arguments."""
    rng = np.random.default_rng(seed)
    shapes = [[d.evaluate(sizes) for d in p.shape] for p in fn.params]
    return [
        rng.standard_normal(shape).astype(p.dtype.numpy)
        for p, shape in zip(fn.params, shapes, strict=True)
    ]


def size(s: Size | Dim) -> Dim:
    return named(s) if isinstance(s, str) else dim(s)


def param(name: str, position: int, shape: Sequence[Size], dtype: DType = F32) -> g.Input:
    return g.make_input(name, position, dtype, [size(s) for s in shape])


def function(params: Sequence[g.Input], *outputs: g.Node) -> g.Function:
    return g.Function("f", tuple(params), outputs, len(outputs) > 1)


def at(tensor: g.Node, *indices: int | sc.Scalar) -> sc.Scalar:
    return sc.read(tensor, [sc.index(k) if isinstance(k, int) else k for k in indices])


def comp(
    body: sc.Scalar,
    extents: Sequence[Size | Dim],
    rank: int,
    reducer: str | None = None,
    **more: Any,
) -> g.Comp:
    return g.comp(body, [size(e) for e in extents], rank, reducer, **more)


def numbers(*shape: int, dtype: str = "f4", seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def whole(high: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).integers(0, high, shape)


def agrees(fn: g.Function, *calls: Sequence[Any], tolerance: float = 1e-4) -> Native:
    native = Native(fn)
    for arrays in calls:
        for got, want in zip(native(*arrays), interpret(fn, arrays), strict=True):
            assert got.shape == want.shape and got.dtype == want.dtype
            wide = np.asarray(want, dtype=np.float64)
            np.testing.assert_allclose(
                got.astype(np.float64), wide, rtol=tolerance, atol=tolerance * _scale(wide)
            )
    return native


def assert_close(got: Sequence[Any], want: Sequence[np.ndarray], rtol: float) -> None:
    """Small entries are compared with the largest one."""
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol / 100 * np.abs(y).max(initial=0))


def _scale(x: np.ndarray) -> float:
    finite = np.abs(x[np.isfinite(x)])
    return float(max(1.0, finite.max(initial=0.0)))
