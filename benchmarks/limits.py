"""What the machine can do at most: multiply-adds a second, and bytes copied a second.

The peak is a loop of independent fused multiply-adds in registers, built with llvmlite, best of
many runs. The copy moves as many bytes as a workload must (half read, half written), so that it
runs in the same level of the memory as the workload.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
from llvmlite import binding, ir

CHAINS = 24  # independent sums: more than latency × units, fewer than registers
STEPS = 2_000_000  # some milliseconds: starting a thread takes a tenth of one
F32, I64 = ir.FloatType(), ir.IntType(64)


def _lanes() -> int:
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


def _loop(lanes: int, chains: int) -> str:
    """`f32 run(i64 n)`: n rounds of `chains` multiply-adds of whole vectors."""
    vector = ir.VectorType(F32, lanes)
    module = ir.Module("peak")
    signature = ir.FunctionType(vector, [vector] * 3)
    fma = ir.Function(module, signature, f"llvm.fma.v{lanes}f32")
    f = ir.Function(module, ir.FunctionType(F32, [I64]), "run")
    entry = ir.IRBuilder(f.append_basic_block("entry"))
    body, done = f.append_basic_block("body"), f.append_basic_block("done")
    start = entry.block
    entry.branch(body)
    b = ir.IRBuilder(body)
    i = b.phi(I64)
    sums = [b.phi(vector) for _ in range(chains)]
    factor = ir.Constant(vector, [0.5] * lanes)
    next_i = b.add(i, I64(1))
    new = [b.call(fma, [s, factor, factor]) for s in sums]
    b.cbranch(b.icmp_signed("<", next_i, f.args[0]), body, done)
    i.add_incoming(I64(0), start)
    i.add_incoming(next_i, body)
    for k, (s, n) in enumerate(zip(sums, new, strict=True)):
        s.add_incoming(ir.Constant(vector, [float(k)] * lanes), start)
        s.add_incoming(n, body)
    d = ir.IRBuilder(done)
    total = new[0]
    for n in new[1:]:
        total = d.fadd(total, n)
    d.ret(d.extract_element(total, ir.IntType(32)(0)))
    return str(module)


@cache
def _compiled(chains: int) -> tuple[Callable[[int], float], object]:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten() + ",-prefer-256-bit"
    machine = binding.Target.from_default_triple().create_target_machine(
        features=features, opt=2, jit=True
    )
    module = binding.parse_assembly(_loop(_lanes(), chains))
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    address = engine.get_function_address("run")
    return ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64)(address), engine


def _together(works: list[Callable[[], object]]) -> float:
    """Seconds until all have run, each in a thread of its own."""
    threads = [threading.Thread(target=w) for w in works[1:]]
    start = time.perf_counter()
    for t in threads:
        t.start()
    works[0]()
    for t in threads:
        t.join()
    return time.perf_counter() - start


def peak_flops(threads: int, tries: int = 20) -> float:
    """Floating-point operations a second, f32, a multiply-add being two."""
    chains = CHAINS if _lanes() == 16 else 12
    run, _ = _compiled(chains)
    operations = 2.0 * threads * STEPS * chains * _lanes()
    return operations / min(_together([lambda: run(STEPS)] * threads) for _ in range(tries))


def copy_seconds(moved: int, threads: int, tries: int = 7) -> float:
    """Seconds, at best, of a copy that reads and writes `moved` bytes in all, on one thread or
    split among all of them, whichever is faster."""
    words = max(1, moved // 8)
    source, target = np.ones(words, np.float32), np.zeros(words, np.float32)

    def part(a: int, b: int) -> Callable[[], object]:
        return lambda: np.copyto(target[a:b], source[a:b])

    best = float("inf")
    for count in {1, threads}:
        cuts = [words * k // count for k in range(count + 1)]
        works = [part(a, b) for a, b in pairwise(cuts)]
        best = min(best, *(_together(works) for _ in range(tries)))
    return best
