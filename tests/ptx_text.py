"""PTX text taken apart: kernels with registers, parameters, shared memory and instructions.

In: what LLVM's NVPTX backend prints. Out: plain data. Left to others: what instructions do
(`ptx_emulator`). Only the syntax that our kernels use is understood; the rest is a ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

_TYPE = re.compile(r"([busf])(8|16|32|64)")


@dataclass(frozen=True)
class Type:
    """`kind` is `b`its, `u`nsigned, `s`igned, `f`loat or `p`redicate."""

    kind: str
    bits: int


PREDICATE = Type("p", 8)


def type_of(name: str) -> Type | None:
    """The type that a modifier names, if it names one."""
    if name == "pred":
        return PREDICATE
    found = _TYPE.fullmatch(name)
    return None if found is None else Type(found[1], int(found[2]))


@dataclass(frozen=True)
class Instruction:
    """`@predicate opcode.modifier.modifier operand, operand;` A vector operand keeps its braces."""

    text: str
    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[str, ...]
    predicate: str | None
    negated: bool

    @cached_property
    def types(self) -> tuple[Type, ...]:
        return tuple(t for m in self.modifiers if (t := type_of(m)) is not None)

    @cached_property
    def space(self) -> str:
        return next((m for m in self.modifiers if m in ("global", "shared", "param")), "generic")


@dataclass(frozen=True)
class Kernel:
    """`parameters` are (offset, bytes) by name, `shared` offsets by name in `shared_bytes`, labels
    positions in `instructions`."""

    name: str
    block: int
    parameters: Mapping[str, tuple[int, int]]
    registers: Mapping[str, Type]
    shared: Mapping[str, int]
    shared_bytes: int
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]


@dataclass(frozen=True)
class PtxText:
    """A module. `constants` are the initialised arrays in global memory, by name."""

    version: str
    target: str
    constants: Mapping[str, bytes]
    kernels: Mapping[str, Kernel]


def parse(text: str) -> PtxText:
    source = re.sub(r"//[^\n]*", "", text)
    version = re.search(r"^\.version (\S+)$", source, re.M)
    target = re.search(r"^\.target (\S+)$", source, re.M)
    if version is None or target is None:
        raise ValueError("no .version or no .target")
    constants = {
        m[1]: bytes(int(x) for x in m[3].split(",")) if m[3] else bytes(int(m[2]))
        for m in re.finditer(
            r"^\.global \.align \d+ \.b8 ([\w$]+)\[(\d+)\](?: = {(.*?)})?;", source, re.M
        )
    }
    kernels = {
        m[1]: _kernel(m[1], m[2], m[3], m[4])
        for m in re.finditer(r"\.entry ([\w$]+)\(\n(.*?)\n\)(.*?)\n{\n(.*?)\n}", source, re.S)
    }
    if len(kernels) != source.count(".entry"):
        raise ValueError("not every entry was understood")
    return PtxText(version[1], target[1], constants, kernels)


def _kernel(name: str, parameters: str, directives: str, body: str) -> Kernel:
    sizes = [
        (m[2], int(m[1]) // 8)
        for m in re.finditer(
            r"\.param \.[bu](\d+) (?:\.ptr \.global \.align \d+ )?([\w$]+)", parameters
        )
    ]
    block = re.search(r"\.maxntid (\d+)", directives)
    if block is None or len(sizes) != parameters.count(".param"):
        raise ValueError(f"{name}: the head is not understood")
    at = 0
    places: dict[str, tuple[int, int]] = {}
    for parameter, size in sizes:
        at = -(-at // size) * size
        places[parameter] = (at, size)
        at += size
    registers: dict[str, Type] = {}
    shared: dict[str, int] = {}
    end = 0
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for statement in _statements(body):
        while label := re.match(r"([\w$]+):\s*", statement):
            labels[label[1]] = len(instructions)
            statement = statement[label.end() :]
        if many := re.fullmatch(r"\.reg \.(\w+) (%\w+)<(\d+)>", statement):
            registers |= {f"{many[2]}{k}": _known(many[1]) for k in range(int(many[3]))}
        elif one := re.fullmatch(r"\.reg \.(\w+) (\w+)", statement):
            registers[one[2]] = _known(one[1])
        elif array := re.fullmatch(r"\.shared \.align (\d+) \.b8 ([\w$]+)\[(\d+)\]", statement):
            end = -(-end // int(array[1])) * int(array[1])
            shared[array[2]] = end
            end += int(array[3])
        elif statement:
            instructions.append(_instruction(statement))
    return Kernel(name, int(block[1]), places, registers, shared, end, tuple(instructions), labels)


def _known(name: str) -> Type:
    found = type_of(name)
    if found is None:
        raise ValueError(f"no type {name}")
    return found


def _statements(body: str) -> Iterator[str]:
    for piece in body.split(";"):
        yield " ".join(piece.split()).removeprefix("} ").removeprefix("{ ").removesuffix("}")


def _instruction(text: str) -> Instruction:
    rest, predicate = text, None
    if rest.startswith("@"):
        predicate, rest = rest[1:].split(" ", 1)
    name, _, operands = rest.partition(" ")
    opcode, *modifiers = name.split(".")
    return Instruction(
        text,
        opcode,
        tuple(modifiers),
        split_operands(operands),
        predicate.lstrip("!") if predicate else None,
        bool(predicate and predicate.startswith("!")),
    )


def split_operands(text: str) -> tuple[str, ...]:
    """At the commas outside braces."""
    return tuple(x.strip() for x in re.split(r",(?![^{]*})", text) if x.strip())
