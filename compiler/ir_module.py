"""LLVM's modules, functions and blocks: what an `IRBuilder` fills, and how it is written.

In: names and types, then the lines of blocks. Out: text for LLVM to read. Left to others: which
lines there are (`ir`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .ir_types import Constant, FunctionType, LabelType, PointerType, Type, Value, typed

_PLAIN = re.compile(r"[-\w.$ ]*", re.ASCII).fullmatch


def _quoted(name: str) -> str:
    if not _PLAIN(name):
        plain = (
            chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\{c:02x}" for c in name.encode()
        )
        name = "".join(plain)
    return f'"{name}"'


# --------------------------------------------------------------------------- modules


class Module:
    """Functions and variables by name, in the order in which they were made."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.triple = self.data_layout = ""
        self.globals: dict[str, Any] = {}
        self.weights: dict[str, int] = {}  # of branches, by their text

    @property
    def functions(self) -> list[Function]:
        return [x for x in self.globals.values() if isinstance(x, Function)]

    def get_unique_name(self, name: str) -> str:
        found, n = name, 0
        while found in self.globals:
            n += 1
            found = f"{name}.{n}"
        return found

    def add(self, x: GlobalVariable | Function) -> None:
        if x.name in self.globals:
            raise ValueError(f"two of {x.name}")
        self.globals[x.name] = x

    def text(self, pieces: Sequence[str]) -> str:
        """A module with the text of some functions and variables."""
        head = [f'target triple = "{self.triple}"', f'target datalayout = "{self.data_layout}"']
        tail = [f"!{n} = !{{{text}}}" for text, n in self.weights.items()]
        return "\n".join([*head, *pieces, *tail, ""])

    def __str__(self) -> str:
        return self.text([str(x) for x in self.globals.values()])


class GlobalVariable(Value):
    """A variable; external without an initializer."""

    def __init__(self, module: Module, type_: Type, name: str, addrspace: int = 0) -> None:
        super().__init__(PointerType(addrspace), f"@{_quoted(name)}")
        self.name, self.value_type = name, type_
        self.initializer: Constant | None = None
        self.linkage, self.align, self.global_constant = "", 0, False
        module.add(self)

    @property
    def declaration(self) -> str:
        return f"{self.ref} = external global {self.value_type}"

    def __str__(self) -> str:
        if self.initializer is None:
            return self.declaration
        if self.initializer.type is not self.value_type:
            raise TypeError(f"{self.name} starts as a {self.initializer.type}")
        space = f"addrspace({self.type.addrspace})" if self.type.addrspace else ""
        kind = "constant" if self.global_constant else "global"
        words = [self.ref, "=", self.linkage, space, kind, typed(self.initializer)]
        align = f", align {self.align}" if self.align else ""
        return " ".join([x for x in words if x]) + align


class Argument(Value):
    def __init__(self, function: Function, type_: Type, name: str) -> None:
        super().__init__(type_, f"%{name}")
        self.function = function
        self.attributes: list[str] = []

    @property
    def name(self) -> str:
        return self.ref

    @name.setter
    def name(self, name: str) -> None:
        self.ref = f"%{self.function.label(name)}"

    def add_attribute(self, name: str) -> None:
        self.attributes.append(name)


class Function(Value):
    """A function; external as long as it has no blocks."""

    def __init__(self, module: Module, type_: FunctionType, name: str) -> None:
        super().__init__(PointerType(), f"@{_quoted(name)}")
        self.module, self.function_type, self.name = module, type_, name
        self.linkage = self.calling_convention = ""
        self.attributes: set[str] = set()
        self.blocks: list[Block] = []
        self.numbered = 0
        self._names: dict[str, int] = {}
        self.args = tuple(Argument(self, t, self.label("")) for t in type_.args)
        module.add(self)

    def label(self, name: str) -> str:
        """A name that nothing else has here."""
        if not name:
            self.numbered += 1
            return f".{self.numbered}"
        n = self._names[name] = self._names.get(name, -1) + 1
        return _quoted(f"{name}.{n}" if n else name)

    def append_basic_block(self, name: str = "") -> Block:
        block = Block(self, name)
        self.blocks.append(block)
        return block

    @property
    def entry_basic_block(self) -> Block:
        return self.blocks[0]

    @property
    def declaration(self) -> str:
        t = self.function_type
        args = ", ".join([x.text for x in t.args] + ["..."] * t.var_arg)
        attributes = "".join(f" {x}" for x in sorted(self.attributes))
        return f"declare {t.return_type} {self.ref}({args}){attributes}"

    def __str__(self) -> str:
        if not self.blocks:
            return self.declaration
        args = [" ".join([x.type.text, *x.attributes, x.ref]) for x in self.args]
        head = [
            "define",
            self.linkage,
            self.calling_convention,
            self.function_type.return_type.text,
        ]
        attributes = "".join(f" {x}" for x in sorted(self.attributes))
        lines = [f"{' '.join([x for x in head if x])} {self.ref}({', '.join(args)}){attributes} {{"]
        for block in self.blocks:
            lines.append(f"{block.label}:")
            lines += [f"  {x}" for x in block.instructions]
            lines.append(f"  {block.terminator}")
        lines.append("}")
        return "\n".join(lines)


class Block(Value):
    """Lines, and how it ends: what is added later stands before that."""

    def __init__(self, function: Function, name: str) -> None:
        self.label = function.label(name)
        super().__init__(LabelType(), f"%{self.label}")
        self.function, self.name = function, name
        self.instructions: list[Any] = []
        self.terminator: Any = None

    @property
    def is_terminated(self) -> bool:
        return self.terminator is not None


# --------------------------------------------------------------------------- instructions


class Instruction(Value):
    """What an instruction computes; `parent` is its block."""

    __slots__ = ("parent",)

    def __init__(self, type_: Any, ref: str, parent: Block) -> None:
        self.type = type_
        self.ref = ref
        self.parent = parent


class PhiInstr(Instruction):
    def __init__(self, type_: Any, ref: str, parent: Block) -> None:
        super().__init__(type_, ref, parent)
        self.incomings: list[tuple[Value, Block]] = []

    def add_incoming(self, value: Value, block: Block) -> None:
        self.incomings.append((value, block))

    def __str__(self) -> str:
        """The line that it is, as that of the two below; used, it is named by `ref`."""
        ways = ", ".join([f"[{v.ref}, {b.ref}]" for v, b in self.incomings])
        return f"{self.ref} = phi {self.type.text} {ways}"


class Alloca(Instruction):
    def __init__(self, of: Type, count: Value | None, ref: str, parent: Block) -> None:
        super().__init__(PointerType(), ref, parent)
        self.value_type, self.count, self.align = of, count, 0

    def __str__(self) -> str:
        count = "" if self.count is None else f", {self.count.type.text} {self.count.ref}"
        align = f", align {self.align}" if self.align else ""
        return f"{self.ref} = alloca {self.value_type}{count}{align}"


class Remainder(Instruction):
    """`frem`, which some targets replace (`exact_remainder`)."""

    def __init__(self, x: Value, y: Value, ref: str, parent: Block) -> None:
        super().__init__(x.type, ref, parent)
        self.operands = x, y

    def __str__(self) -> str:
        x, y = self.operands
        return f"{self.ref} = frem {self.type.text} {x.ref}, {y.ref}"


class Switch:
    def __init__(self, value: Value, default: Block) -> None:
        self.value, self.default = value, default
        self.cases: list[tuple[Value, Block]] = []

    def add_case(self, value: Value, block: Block) -> None:
        self.cases.append((value, block))

    def __str__(self) -> str:
        cases = " ".join(f"{v.type} {v.ref}, label {b.ref}" for v, b in self.cases)
        return f"switch {self.value.type} {self.value.ref}, label {self.default.ref} [{cases}]"


def call_text(
    callee: Any, args: Sequence[Value], tail: bool = False, fastmath: Sequence[str] = ()
) -> str:
    """A call as an instruction."""
    t = callee.function_type
    if len(args) != len(t.args) and not (t.var_arg and len(args) > len(t.args)):
        raise TypeError(f"{len(args)} arguments for {callee.ref}: {t}")
    for x, wanted in zip(args, t.args, strict=False):
        if x.type is not wanted:
            raise TypeError(f"a {x.type} for {callee.ref}: {t}")
    words = [
        "tail call" if tail else "call",
        *fastmath,
        t.text if t.var_arg else t.return_type.text,
    ]
    return f"{' '.join(words)} {callee.ref}({typed(*args)})"
