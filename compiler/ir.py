"""LLVM's instructions, written while they are built.

In: calls of an `IRBuilder`. Out: lines in the blocks of a module. The names are those of llvmlite's
IR layer, of which this is the part that is needed here; but an instruction is written at once and
kept as a line: building and writing a module takes half the time. Left to others: types and
constants (`ir_types`), what holds the lines (`ir_module`). All three are imported as this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .ir_module import Alloca as Alloca
from .ir_module import Argument as Argument
from .ir_module import Block as Block
from .ir_module import Function as Function
from .ir_module import GlobalVariable as GlobalVariable
from .ir_module import Instruction as Instruction
from .ir_module import Module as Module
from .ir_module import PhiInstr as PhiInstr
from .ir_module import Remainder as Remainder
from .ir_module import Switch as Switch
from .ir_module import call_text as call_text
from .ir_types import ArrayType as ArrayType
from .ir_types import Constant as Constant
from .ir_types import DoubleType as DoubleType
from .ir_types import FloatType as FloatType
from .ir_types import FormattedConstant as FormattedConstant
from .ir_types import FunctionType as FunctionType
from .ir_types import HalfType as HalfType
from .ir_types import IntType as IntType
from .ir_types import LiteralStructType as LiteralStructType
from .ir_types import PointerType as PointerType
from .ir_types import Type as Type
from .ir_types import Undefined as Undefined
from .ir_types import Value as Value
from .ir_types import VectorType as VectorType
from .ir_types import VoidType as VoidType
from .ir_types import typed

_I1, _VOID = IntType(1), VoidType()

# --------------------------------------------------------------------------- kinds of instructions


def _binary(name: str) -> Callable[..., Value]:
    def made(self: IRBuilder, x: Value, y: Value, flags: Sequence[str] = ()) -> Value:
        t = x.type
        if t is not y.type:
            raise ValueError(f"{name} of {t} and {y.type}")
        how = f"{name} {' '.join(flags)}" if flags else name
        return self._made(t, f"{how} {t.text} {x.ref}, {y.ref}")

    return made


def _cast(name: str) -> Callable[..., Value]:
    def made(self: IRBuilder, x: Value, t: Type) -> Value:
        if x.type is t:
            return x
        return self._made(t, f"{name} {x.type.text} {x.ref} to {t.text}")

    return made


def _comparison(name: str, words: dict[str, str]) -> Callable[..., Value]:
    def made(self: IRBuilder, how: str, x: Value, y: Value) -> Value:
        t = x.type
        if t is not y.type:
            raise ValueError(f"{name} of {t} and {y.type}")
        out = VectorType(_I1, t.count) if isinstance(t, VectorType) else _I1
        return self._made(out, f"{name} {words[how]} {t.text} {x.ref}, {y.ref}")

    return made


def _words(prefix: str, **more: str) -> dict[str, str]:
    orders = {"<": "lt", ">": "gt", "<=": "le", ">=": "ge"}
    return {k: prefix + v for k, v in orders.items()} | more


_EQUAL = {"==": "eq", "!=": "ne"}


# --------------------------------------------------------------------------- the builder


class IRBuilder:
    """Adds instructions to the end of a block."""

    def __init__(self, block: Block) -> None:
        self.position_at_end(block)

    @property
    def module(self) -> Module:
        return self.function.module

    def position_at_end(self, block: Block) -> None:
        self.block, self.function = block, block.function

    def append_basic_block(self, name: str = "") -> Block:
        return self.function.append_basic_block(name)

    @contextmanager
    def goto_entry_block(self) -> Iterator[None]:
        before = self.block
        self.block = self.function.blocks[0]
        try:
            yield
        finally:
            self.block = before

    def _made(self, t: Any, text: str) -> Value:
        f, block = self.function, self.block
        f.numbered += 1
        ref = f"%.{f.numbered}"
        block.instructions.append(f"{ref} = {text}")
        return Instruction(t, ref, block)

    def _kept(self, make: Callable[[str, Block], Any]) -> Any:
        """An instruction that is written when all is built."""
        self.function.numbered += 1
        made = make(f"%.{self.function.numbered}", self.block)
        self.block.instructions.append(made)
        return made

    add, fadd = _binary("add"), _binary("fadd")
    sub, fsub = _binary("sub"), _binary("fsub")
    mul, fmul = _binary("mul"), _binary("fmul")
    sdiv, udiv, fdiv = _binary("sdiv"), _binary("udiv"), _binary("fdiv")
    srem, urem = _binary("srem"), _binary("urem")
    shl, lshr, ashr = _binary("shl"), _binary("lshr"), _binary("ashr")
    and_, or_, xor = _binary("and"), _binary("or"), _binary("xor")
    trunc, zext, sext = _cast("trunc"), _cast("zext"), _cast("sext")
    fptrunc, fpext, bitcast = _cast("fptrunc"), _cast("fpext"), _cast("bitcast")
    sitofp, uitofp = _cast("sitofp"), _cast("uitofp")
    fptosi, fptoui = _cast("fptosi"), _cast("fptoui")
    ptrtoint, inttoptr = _cast("ptrtoint"), _cast("inttoptr")
    icmp_signed = _comparison("icmp", _words("s") | _EQUAL)
    icmp_unsigned = _comparison("icmp", _words("u") | _EQUAL)
    fcmp_ordered = _comparison("fcmp", _words("o") | {"==": "oeq", "!=": "one", "ord": "ord"})
    fcmp_unordered = _comparison("fcmp", _words("u") | {"==": "ueq", "!=": "une", "uno": "uno"})

    def frem(self, x: Value, y: Value) -> Remainder:
        out: Remainder = self._kept(lambda ref, block: Remainder(x, y, ref, block))
        return out

    def fneg(self, x: Value) -> Value:
        return self._made(x.type, f"fneg {x.type.text} {x.ref}")

    def neg(self, x: Value) -> Value:
        return self.sub(Constant(x.type, None if isinstance(x.type, VectorType) else 0), x)

    def not_(self, x: Value) -> Value:
        t = x.type
        ones = f"splat ({t.element.text} -1)" if isinstance(t, VectorType) else "-1"
        return self._made(t, f"xor {t.text} {x.ref}, {ones}")

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        t, c = x.type, condition
        if t is not y.type:
            raise ValueError(f"one of {t} and {y.type}")
        return self._made(t, f"select {c.type.text} {c.ref}, {t.text} {x.ref}, {t.text} {y.ref}")

    def phi(self, t: Type) -> PhiInstr:
        out: PhiInstr = self._kept(lambda ref, block: PhiInstr(t, ref, block))
        return out

    def call(
        self, callee: Any, args: Sequence[Value], tail: bool = False, fastmath: Sequence[str] = ()
    ) -> Value:
        text, t = call_text(callee, args, tail, fastmath), callee.function_type.return_type
        if t is not _VOID:
            return self._made(t, text)
        self.block.instructions.append(text)
        return Instruction(t, "", self.block)

    # ----------------------------------------------------------------- vectors and structures

    def insert_element(self, x: Value, element: Value, at: Value) -> Value:
        return self._made(x.type, f"insertelement {typed(x, element, at)}")

    def extract_element(self, x: Value, at: Value) -> Value:
        return self._made(x.type.element, f"extractelement {typed(x, at)}")

    def shuffle_vector(self, x: Value, y: Value, mask: Value) -> Value:
        t = VectorType(x.type.element, mask.type.count)
        return self._made(t, f"shufflevector {typed(x, y, mask)}")

    def extract_value(self, x: Value, at: int) -> Value:
        return self._made(x.type.elements[at], f"extractvalue {typed(x)}, {at}")

    def insert_value(self, x: Value, element: Value, at: int) -> Value:
        return self._made(x.type, f"insertvalue {typed(x, element)}, {at}")

    # ----------------------------------------------------------------- memory

    def alloca(self, t: Type, count: Value | None = None) -> Alloca:
        out: Alloca = self._kept(lambda ref, block: Alloca(t, count, ref, block))
        return out

    def gep(self, p: Value, at: Sequence[Value], source_etype: Type) -> Value:
        t = p.type
        if isinstance(at[0].type, VectorType):
            t = VectorType(t, at[0].type.count)
        return self._made(t, f"getelementptr {source_etype.text}, {typed(p, *at)}")

    def load(self, p: Value, typ: Type, align: int | None = None) -> Value:
        end = "" if align is None else f", align {align}"
        return self._made(typ, f"load {typ.text}, {p.type.text} {p.ref}{end}")

    def load_invariant(self, p: Value, typ: Type, align: int) -> Value:
        """What nothing ever writes."""
        weights = self.module.weights
        none = weights.setdefault("", len(weights))
        end = f"align {align}, !invariant.load !{none}"
        return self._made(typ, f"load {typ.text}, {p.type.text} {p.ref}, {end}")

    def store(self, x: Value, p: Value, align: int | None = None) -> None:
        end = "" if align is None else f", align {align}"
        self.block.instructions.append(f"store {x.type.text} {x.ref}, {p.type.text} {p.ref}{end}")

    def load_atomic(self, p: Value, ordering: str, align: int, typ: Type) -> Value:
        return self._made(typ, f"load atomic {typ}, {typed(p)} {ordering}, align {align}")

    def store_atomic(self, x: Value, p: Value, ordering: str, align: int) -> None:
        text = f"store atomic {typed(x, p)} {ordering}, align {align}"
        self.block.instructions.append(text)

    def atomic_rmw(self, how: str, p: Value, x: Value, ordering: str) -> Value:
        return self._made(x.type, f"atomicrmw {how} {typed(p, x)} {ordering}")

    def cmpxchg(self, p: Value, old: Value, new: Value, ordering: str, failed: str) -> Value:
        t = LiteralStructType([new.type, _I1])
        return self._made(t, f"cmpxchg {typed(p, old, new)} {ordering} {failed}")

    # ----------------------------------------------------------------- ends of blocks

    def _end(self, text: Any) -> None:
        assert self.block.terminator is None
        self.block.terminator = text

    def ret(self, x: Value) -> None:
        self._end(f"ret {x.type.text} {x.ref}")

    def ret_void(self) -> None:
        self._end("ret void")

    def branch(self, block: Block) -> None:
        self._end(f"br label {block.ref}")

    def cbranch(self, x: Value, yes: Block, no: Block, likely: bool | None = None) -> None:
        text = f"br i1 {x.ref}, label {yes.ref}, label {no.ref}"
        if likely is not None:
            weights = self.module.weights
            how = f'!"branch_weights", i32 {99 if likely else 1}, i32 {1 if likely else 99}'
            text += f", !prof !{weights.setdefault(how, len(weights))}"
        self._end(text)

    def switch(self, x: Value, default: Block) -> Switch:
        made = Switch(x, default)
        self._end(made)
        return made

    @contextmanager
    def if_then(self, condition: Value, likely: bool | None = None) -> Iterator[None]:
        """What is built inside runs if the condition holds."""
        inside, after = (self.append_basic_block(x) for x in ("if", "endif"))
        self.cbranch(condition, inside, after, likely)
        with self._way(inside, after):
            yield
        self.position_at_end(after)

    @contextmanager
    def if_else(self, condition: Value) -> Iterator[tuple[Any, Any]]:
        """Two contexts: one of them runs."""
        inside, other, after = (self.append_basic_block(x) for x in ("if", "else", "endif"))
        self.cbranch(condition, inside, other)
        yield self._way(inside, after), self._way(other, after)
        self.position_at_end(after)

    @contextmanager
    def _way(self, inside: Block, after: Block) -> Iterator[None]:
        self.position_at_end(inside)
        yield
        if self.block.terminator is None:
            self.branch(after)
