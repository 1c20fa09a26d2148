"""A function called as a CUDA driver would call it, in the emulator.

In: a simplified function and arrays. Out: its outputs, or an IndexError with the error record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tdsl.compiler.graph import Function
from tdsl.compiler.interpret import bind_dims
from tdsl.compiler.ptx_launch import Launch
from tdsl.compiler.target_cuda import ERROR_WORDS, PtxModule, ptx

from .ptx_arithmetic import Array
from .ptx_emulator import DeviceMemory, launch
from .ptx_text import PtxText, parse


class Emulated:
    """A function on the emulated device; `source` may hold other text than `module`."""

    def __init__(self, fn: Function, arch: str = "sm_80") -> None:
        self.fn = fn
        self.module: PtxModule = ptx(fn, arch)
        self.source: PtxText = parse(self.module.text)

    def __call__(self, *arrays: Any, schedule: np.random.Generator | None = None) -> list[Array]:
        fn = self.fn
        given = [np.asarray(a, dtype=p.dtype.numpy) for a, p in zip(arrays, fn.params, strict=True)]
        env = bind_dims(fn, [a.shape for a in given])
        shapes = [[max(0, d.evaluate(env)) for d in o.shape] for o in fn.outputs]
        memory = DeviceMemory()
        places = {("param", k): memory.put(a) for k, a in enumerate(given)}
        for k, (shape, o) in enumerate(zip(shapes, fn.outputs, strict=True)):
            places["output", k] = memory.allocate(int(np.prod(shape)) * o.dtype.size)
        places["arena", 0] = memory.allocate(self.module.arena.evaluate(env))
        error = memory.put(np.zeros(ERROR_WORDS, np.int64))
        sizes = [env[d] for d in self.module.dims]
        for start in self.module.launches:
            self.check_shared(start)
            if grid := start.grid.evaluate(env):
                arguments = [*(places[b] for b in start.buffers), *sizes, error]
                launch(self.source, start.kernel, grid, start.block, arguments, memory, schedule)
        record = memory.get(error, (ERROR_WORDS,), "int64")
        if record[0]:
            raise IndexError(tuple(int(x) for x in record[1:]))
        for k, a in enumerate(given):
            np.testing.assert_array_equal(memory.get(places["param", k], a.shape, a.dtype.str), a)
        return [
            memory.get(places["output", k], shape, o.dtype.numpy)
            for k, (shape, o) in enumerate(zip(shapes, fn.outputs, strict=True))
        ]

    def check_shared(self, start: Launch) -> None:
        declared = self.source.kernels[start.kernel].shared_bytes
        assert declared <= start.shared, "the plan states too little shared memory"
