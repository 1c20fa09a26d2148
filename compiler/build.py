"""From a simplified function to an artifact: the stages after the graph, in order.

In: a `Function` without gradient requests. Out: an `Artifact`, or the text of a stage. Left to
others: every stage itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from . import object_code, target_cpu
from .artifact import Array, Artifact, RequiredSize, encode
from .donate import are_in_place, in_place, verify_in_place
from .dtypes import DType
from .fuse import fuse_in_bands
from .graph import Comp, Function, Requirement
from .inner_bands import with_inner
from .kernels import Kernels, verify_kernels
from .lower import lower
from .machine import Machine, host
from .passes import in_passes
from .plan import Program, plan, verify_program
from .records import dataclass
from .schedule import Schedule, schedule, verify_schedule
from .stages import stage
from .tile import Registers
from .tuning import STATIC, Tuning

VERIFY = True


@dataclass(frozen=True)
class Build:
    """The stages of one function for one machine, each made when asked for."""

    function: Function
    machine: Machine
    tuning: Tuning = STATIC

    @property
    def registers(self) -> Registers:
        return replace(self.machine.registers, tuning=self.tuning)

    @cached_property
    def kernels(self) -> Kernels:
        with stage("fuse"):
            out = fuse_in_bands(self.function, self.registers)
            if self.function.donated:
                out = in_place(out, self.registers)
            out = in_passes(out, self.registers)
            inner = with_inner(out, self.registers)
            if are_in_place(inner, self.registers):
                out = inner
            if VERIFY:
                verify_kernels(out)
                verify_in_place(out, self.registers)
        return out

    @cached_property
    def program(self) -> Program:
        kernels = self.kernels
        with stage("plan"):
            out = plan(kernels)
            if VERIFY:
                verify_program(out)
        return out

    @cached_property
    def loops(self) -> Schedule:
        program = self.program
        with stage("lower"):
            out = schedule(lower(program), self.registers)
            if VERIFY:
                verify_schedule(out)
        return out

    @cached_property
    def llvm(self) -> str:
        return str(target_cpu.module_of(self.loops, self.machine))

    def text(self, name: str) -> str:
        """The text of `kernels`, `plan`, `loops`, `llvm`, `llvm-opt` or `asm`."""
        match name:
            case "kernels":
                return str(self.kernels)
            case "plan":
                return str(self.program)
            case "loops":
                return str(self.loops)
            case "llvm":
                return self.llvm
            case "llvm-opt":
                return str(object_code.optimized(self.llvm, self.machine))
            case "asm":
                module = object_code.optimized(self.llvm, self.machine)
                return object_code.assembly(module, self.machine)
        raise ValueError(f"no stage {name!r}")

    def artifact(self) -> Artifact:
        fn = self.function
        module = object_code.optimized(self.llvm, self.machine)
        names = [getattr(o, "name", None) or f"out{k}" for k, o in enumerate(fn.outputs)]
        return Artifact(
            name=fn.name,
            code=object_code.object_code(module, self.machine),
            params=tuple(_array(p.name, p.dtype, p.shape) for p in fn.params),
            outputs=tuple(
                _array(name, o.dtype, o.shape) for name, o in zip(names, fn.outputs, strict=True)
            ),
            returns_tuple=fn.returns_tuple,
            dims=fn.dims,
            requirements=tuple(_required(r) for r in (*fn.requirements, *_nonempty(self.kernels))),
            checks=self.loops.checks,
            features=f"{self.machine.triple} {self.machine.features}",
        )


def compile_cpu(fn: Function, machine: Machine | None = None, tuning: Tuning = STATIC) -> Artifact:
    """Native code of `fn` for `machine` (this one unless stated)."""
    with fn.scope.active():
        return Build(fn, machine or host(), tuning).artifact()


def _array(name: str, dtype: DType, shape: tuple) -> Array:  # type: ignore[type-arg]
    text = f"[{', '.join(str(d) for d in shape)}]" if shape else ""
    return Array(name, dtype.name, tuple(encode(d) for d in shape), f"{dtype.name}{text}")


def _required(r: Requirement) -> RequiredSize:
    return RequiredSize(encode(r.nonnegative), r.message, str(r.span))


def _nonempty(kernels: Kernels) -> list[Requirement]:
    """A maximum over nothing is an error."""
    out: list[Requirement] = []
    for kernel in kernels.kernels:
        for c in kernel.comps:
            if isinstance(c, Comp) and c.reducer in ("max", "min", "argmax", "argmin"):
                for e in c.extents[c.rank :]:
                    if e.const is None or e.const < 1:
                        out.append(Requirement(e - 1, f"{c.reducer} over an empty range", c.span))
    return out
