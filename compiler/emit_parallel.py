"""Nests on several threads: parts of an outermost range, run by the fork-join pool.

In: a tiled nest. Out: a function with the nest's name that runs it, in parts where that pays. An
element of the result is computed by one thread, in the same way whatever the part it falls into:
the bits do not depend on the number of threads. Left to others: the pool (`fork_join`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from . import fork_join, ir, primitives
from .dims import Dim, dim, product
from .emit import emit
from .fork_join import WORTH_A_FORK
from .frame import Frame
from .instructions import I64
from .llvm_vector import constant
from .loops import (
    Apply,
    Kind,
    Loop,
    Nest,
    Number,
    Reduce,
    may_fail,
    postorder,
    stores_of,
    values_of,
)
from .target import Target


def emit_nest(
    target: Target, module: ir.Module, nest: Nest, dims: Sequence[str], param_count: int
) -> ir.Function:
    """The function of a nest, on several threads if it may be large."""
    work = operations(nest)
    if not splittable(nest) or (work.const is not None and work.const < WORTH_A_FORK):
        return emit(target, module, nest, dims, param_count)
    part_nest = replace(nest, name=f"{nest.name}_part", ranged=(nest.loops[0].index,))
    part = emit(target, module, part_nest, dims, param_count)
    return split(target, module, nest, nest.loops[0], part, dims)


def split(
    target: Target,
    module: ir.Module,
    nest: Nest,
    loop: Loop,
    part: ir.Function,
    dims: Sequence[str],
) -> ir.Function:
    """The function of a nest that `part` computes for any range of a loop."""
    frame = _Split(target, module, nest, dims, 0)
    frame.run(part, loop, operations(nest))
    return frame.function


def splittable(nest: Nest) -> bool:
    """Whether parts of the outermost range may run at the same time. What may fail runs in order:
    the first failure is reported."""
    return (
        bool(nest.loops)
        and nest.loops[0].kind is Kind.PARALLEL
        and not nest.fills
        and not may_fail(nest)
    )


def operations(nest: Nest) -> Dim:
    """About how many a nest does, one statement after the other."""
    outer = product(tuple(x.extent for x in nest.loops))
    total = dim(0)
    for s in nest.body:
        inner = product(tuple(x.extent for x in s.loops)) if isinstance(s, Reduce) else dim(1)
        applied = (x for x in postorder(values_of(s)) if isinstance(x, Apply))
        cost = max(1, len(stores_of(s))) + sum(_cost(x) for x in applied)
        total = total + outer * inner * cost
    return total


def _cost(x: Apply) -> int:
    last = x.args[-1]
    return primitives.cost(x.name, last.value if isinstance(last, Number) else None)


class _Split(Frame):
    """The function that shares out a range, or runs it as it is."""

    def run(self, part: ir.Function, loop: Loop, work: Dim) -> None:
        b, common = self.b, list(self.function.args)
        extent, total = self.size(loop.extent), self.size(work)
        step = constant(I64, loop.step)
        b.ret(b.call(fork_join.share(b.module), [part, *common, extent, step, total]))
