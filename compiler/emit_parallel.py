"""Nests on several threads: parts of an outermost range, run by the fork-join pool.

In: a tiled nest. Out: a function with the nest's name that runs it, in parts where that pays. An
element of the result is computed by one thread, in the same way whatever the part it falls into:
the bits do not depend on the number of threads. Left to others: the pool (`fork_join`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import llvmlite.ir as ir

from . import fork_join, primitives
from .dims import Dim, dim, product
from .emit import emit
from .frame import Frame, Target
from .instructions import I64
from .llvm_vector import constant, intrinsic
from .loops import Apply, Kind, Load, Loop, Nest, Number, Reduce, postorder, values_of

WORTH_A_FORK = 1 << 20
"""Operations, about, from which several threads pay: some tens of microseconds."""

PARTS_A_THREAD = 4  # so that a thread that is held up does not hold up all

_POINTERS = 4  # of the entry, which every part is given


def emit_nest(
    target: Target, module: ir.Module, nest: Nest, dims: Sequence[str], param_count: int
) -> ir.Function:
    """The function of a nest, on several threads if it may be large."""
    work = operations(nest)
    if not splittable(nest) or (work.const is not None and work.const < WORTH_A_FORK):
        return emit(target, module, nest, dims, param_count)
    loop = nest.loops[0]
    part_nest = replace(nest, name=f"{nest.name}_part", ranged=(loop.index,))
    part = emit(target, module, part_nest, dims, param_count)
    frame = _Split(target, module, nest, dims, param_count)
    frame.run(part, loop, work)
    return frame.function


def splittable(nest: Nest) -> bool:
    """Whether parts of the outermost range may run at the same time. What may fail runs in order:
    the first failure is reported."""
    values = [v for s in nest.body for v in values_of(s)]
    return (
        bool(nest.loops)
        and nest.loops[0].kind is Kind.PARALLEL
        and not nest.fills
        and not any(isinstance(x, Load) and x.checks for x in postorder(values))
    )


def operations(nest: Nest) -> Dim:
    """About how many a nest does, one statement after the other."""
    outer = product(tuple(x.extent for x in nest.loops))
    total = dim(0)
    for s in nest.body:
        inner = product(tuple(x.extent for x in s.loops)) if isinstance(s, Reduce) else dim(1)
        cost = 1 + sum(_cost(x) for x in postorder(values_of(s)) if isinstance(x, Apply))
        total = total + outer * inner * cost
    return total


def _cost(x: Apply) -> int:
    last = x.args[-1]
    return primitives.cost(x.name, last.value if isinstance(last, Number) else None)


class Forking(Frame):
    """A function that may share its work out."""

    def hoist(self) -> None:
        pass

    def threads(self) -> ir.Value:
        return self.b.load(fork_join.threads(self.b.module), typ=I64)

    def fork(
        self,
        one: Callable[[ir.IRBuilder, list[ir.Value], ir.Value, ir.Value], None],
        words: list[ir.Value],
        parts: ir.Value,
        size: ir.Value,
        scratch: ir.Value | None,
    ) -> ir.Value:
        """Run `one` for every number below `parts`: given the words and the entry's pointers as
        words, the number, and scratch memory of `size` bytes. The words, as they are afterwards."""
        b, module = self.b, self.b.module
        name = f"{self.function.name}_one"
        function = ir.Function(module, fork_join.PART, name)
        function.linkage = "internal"
        function.attributes.add("nounwind")
        words = [*words, *(b.ptrtoint(x, I64) for x in self.function.args[:_POINTERS])]
        with b.goto_entry_block():
            context = b.alloca(ir.ArrayType(I64, len(words)))
        context.type = fork_join.POINTER
        for k, x in enumerate(words):
            b.store(x, b.gep(context, [constant(I64, k)], source_etype=I64))
        inner = ir.IRBuilder(function.append_basic_block("entry"))
        given, number, memory = function.args
        loaded = [
            inner.load(inner.gep(given, [constant(I64, k)], source_etype=I64), typ=I64)
            for k in range(len(words))
        ]
        one(inner, loaded, number, memory)
        inner.ret_void()
        memory = ir.Constant(fork_join.POINTER, None) if scratch is None else scratch
        b.call(fork_join.parallel(module), [function, context, parts, size, memory])
        return context


class _Split(Forking):
    """The function that shares out a range, or runs it as it is."""

    def run(self, part: ir.Function, loop: Loop, work: Dim) -> None:
        b, common = self.b, list(self.function.args)
        extent = self.size(loop.extent)
        step = constant(I64, loop.step)
        threads = self.threads()
        several = b.and_(
            b.icmp_signed(">=", self.size(work), constant(I64, WORTH_A_FORK)),
            b.icmp_signed(">", extent, step),
        )
        several = b.and_(several, b.icmp_signed(">", threads, constant(I64, 1)))
        with b.if_then(b.not_(several)):
            b.ret(b.call(part, [*common, constant(I64, 0), extent]))
        parts = b.mul(threads, constant(I64, PARTS_A_THREAD))
        each = up(b, up(b, extent, parts), step)
        each = b.mul(each, step)

        def one(b: ir.IRBuilder, words: list[ir.Value], k: ir.Value, scratch: ir.Value) -> None:
            low = b.mul(k, words[0])
            high = intrinsic(b, "llvm.smin", [b.add(low, words[0]), words[1]])
            b.call(part, [*pointers(b, words[2:]), low, high])

        self.fork(one, [each, extent], up(b, extent, each), constant(I64, 0), None)
        b.ret(constant(I64, 0))


def pointers(b: ir.IRBuilder, words: Sequence[ir.Value]) -> list[ir.Value]:
    """The entry's pointers again."""
    return [b.inttoptr(x, fork_join.POINTER) for x in words[:_POINTERS]]


def up(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x / y, rounded up."""
    return b.sdiv(b.sub(b.add(x, y), constant(I64, 1)), y)
