"""What PTX has: the instructions and intrinsics that LLVM's NVPTX backend can select.

In: an optimised module. Out: nothing, or an error that names the operation. LLVM itself would end
the process ("Cannot select", "no libcall available").
"""

from __future__ import annotations

import llvmlite.binding as llvm


class UnsupportedOnCudaError(Exception):
    """The function needs an operation for which PTX has no instruction."""


# fmt: off
_OPCODES = frozenset((
    "ret", "br", "switch", "phi", "select", "unreachable", "freeze",
    "load", "store", "getelementptr", "cmpxchg", "addrspacecast", "ptrtoint", "inttoptr",
    "icmp", "fcmp", "add", "sub", "mul", "udiv", "sdiv", "urem", "srem",
    "shl", "lshr", "ashr", "and", "or", "xor", "fadd", "fsub", "fmul", "fdiv", "fneg",
    "trunc", "zext", "sext", "fptrunc", "fpext", "fptoui", "fptosi", "uitofp", "sitofp", "bitcast",
    "extractvalue", "insertvalue",
))
_OF_FLOATS = (
    "fabs", "fma", "sqrt", "floor", "ceil", "trunc", "rint", "copysign", "is.fpclass",
)
_OF_HALVES = ("fabs", "floor", "ceil", "trunc", "rint")
_OF_INTEGERS = (
    "abs", "smin", "smax", "umin", "umax", "ctlz", "cttz", "ctpop", "bswap", "bitreverse",
    "fshl", "fshr", "uadd.sat", "usub.sat", "sadd.sat", "ssub.sat",
    "uadd.with.overflow", "usub.with.overflow", "umul.with.overflow",
)
# fmt: on

_WIDTHS = (8, 16, 32, 64)
_INTRINSICS = frozenset(
    (
        *(f"llvm.{n}.{t}" for n in _OF_FLOATS for t in ("f32", "f64")),
        *(f"llvm.{n}.f16" for n in _OF_HALVES),
        *(f"llvm.{n}.i{w}" for n in _OF_INTEGERS for w in _WIDTHS),
        *(f"llvm.{s}cmp.i{v}.i{w}" for s in "su" for v in _WIDTHS for w in _WIDTHS),
        *(f"llvm.fpto{s}i.sat.i{w}.{t}" for s in "su" for w in _WIDTHS for t in ("f32", "f64")),
        *(f"llvm.nvvm.read.ptx.sreg.{r}" for r in ("tid.x", "ctaid.x")),
        "llvm.nvvm.barrier.cta.sync.aligned.all",
        "llvm.nvvm.shfl.sync.down.i32",
        "llvm.assume",
    )
)


def verify_supported(module: llvm.ModuleRef) -> None:
    """Every instruction and every intrinsic is one that NVPTX can select, no call is left, nothing
    stands on the stack, and there are no vectors. Raises UnsupportedOnCudaError, which names the
    operation and its kernel."""
    allowed = {f.name for f in module.functions if f.name in _INTRINSICS}
    for function in module.functions:
        for block in function.blocks:
            for i in block.instructions:
                name = i.opcode
                if name == "call":
                    name = list(i.operands)[-1].name or "an indirect call"
                    if name in allowed:
                        continue
                elif name in _OPCODES and not str(i.type).startswith("<"):
                    continue
                raise UnsupportedOnCudaError(f"{function.name} needs {name}, which PTX lacks")
