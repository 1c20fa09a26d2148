"""The text of an LLVM module, for LLVM to read.

In: a module of llvmlite's IR layer. Out: what `str(module)` says, spaces apart, in half the time:
references and types are looked up in tables, and the common instructions written in one go. All
others, and all that has metadata, are left to llvmlite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from llvmlite.ir import instructions as ins


def module_text(module: ir.Module) -> str:
    text = _Text()
    return _whole(module, [text.piece(x) for x in module.globals.values()])


def split_text(module: ir.Module) -> tuple[str, str]:
    """The same as two modules that find each other's symbols. The second has the functions that are
    not worth LLVM's best (`optnone`): it may be translated at a level of its own, which LLVM has
    for modules alone. It is empty if there are none."""
    text = _Text()
    everything = module.globals.items()
    pieces = {name: text.piece(x) for name, x in everything}
    functions = {n for n, x in everything if isinstance(x, ir.Function) and x.blocks}
    cold = {n for n in functions if "optnone" in module.globals[n].attributes}
    if not cold:
        return _whole(module, list(pieces.values())), ""
    named = {name: set(_NAME.findall(piece)) for name, piece in pieces.items()}
    uses = [set[str]().union(*(named[n] for n in half)) for half in (functions - cold, cold)]
    variables = {n for n, x in everything if getattr(x, "initializer", None) is not None}
    for name in variables - uses[0]:
        cold.add(name)
        uses[1] |= named[name]
    halves: tuple[list[str], list[str]] = ([], [])
    for name, x in everything:
        here, there = (1, 0) if name in cold else (0, 1)
        if name not in functions | variables:  # declared only
            for k in (here, there):
                halves[k].append(pieces[name])
        elif name not in uses[there]:
            halves[here].append(pieces[name])
        else:
            halves[here].append(pieces[name].replace(" internal ", " ", 1))
            halves[there].append(_declaration(x))
    return _whole(module, halves[0]), _whole(module, halves[1])


_NAME = re.compile('@"([^"]*)"')


def _declaration(x: ir.Function | ir.GlobalVariable) -> str:
    if isinstance(x, ir.GlobalVariable):
        return f'@"{x.name}" = external global {x.value_type}'
    t = x.function_type
    return f'declare {t.return_type} @"{x.name}"({", ".join(map(str, t.args))})'


def _whole(module: ir.Module, pieces: list[str]) -> str:
    lines = [
        f'target triple = "{module.triple}"',
        f'target datalayout = "{module.data_layout}"',
        *(t.get_declaration() for t in module.get_identified_types().values()),
        *pieces,
    ]
    return "\n".join([*lines, *module._get_metadata_lines(), ""])


class _Text:
    """References by the identity of values, all of which the module keeps alive."""

    def __init__(self) -> None:
        self.references: dict[int, str] = {}
        self.types: dict[int, str] = {}
        self.forms: dict[type, Callable[[Any], str]] = {
            ins.Instruction: self.operation,
            ins.CallInstr: self.call,
            ins.Branch: self.branch,
            ins.ConditionalBranch: self.branch,
            ins.ICMPInstr: self.comparison,
            ins.FCMPInstr: self.comparison,
            ins.CastInstr: self.cast,
            ins.SelectInstr: self.selection,
            ins.LoadInstr: self.load,
            ins.StoreInstr: self.store,
            ins.GEPInstr: self.address,
            ins.PhiInstr: self.phi,
            ins.ExtractElement: self.element,
            ins.InsertElement: self.element,
            ins.ShuffleVector: self.element,
        }

    def piece(self, x: Any) -> str:
        """All of a function or a variable."""
        return "\n".join(self.function(x)) if isinstance(x, ir.Function) and x.blocks else str(x)

    def function(self, f: ir.Function) -> Iterator[str]:
        head: list[str] = []
        f.descr_prototype(head)
        yield "".join(head) + "{"
        forms = self.forms
        for block in f.blocks:
            yield f"{block._format_name()}:"
            for x in block.instructions:
                form = forms.get(type(x))
                if form is None or x.metadata:
                    yield str(x)
                elif type(x.type) is ir.VoidType:
                    yield form(x)
                else:
                    name = self.references[id(x)] = _reference(x)
                    yield f"{name} = {form(x)}"
        yield "}"

    # ----------------------------------------------------------------- parts

    def reference(self, x: Any) -> str:
        if type(x) is ir.FormattedConstant:
            return str(x.constant)
        found = self.references.get(id(x))
        if found is None:
            found = self.references[id(x)] = _reference(x)
        return found

    def type(self, t: ir.Type) -> str:
        found = self.types.get(id(t))
        if found is None:
            found = self.types[id(t)] = str(t)
        return found

    def typed(self, x: Any) -> str:
        t = x.type
        kind = self.types.get(id(t)) or self.type(t)
        if type(x) is ir.FormattedConstant:
            return f"{kind} {x.constant}"
        return f"{kind} {self.references.get(id(x)) or self.reference(x)}"

    # ----------------------------------------------------------------- instructions

    def operation(self, x: Any) -> str:
        operands = ", ".join([self.reference(a) for a in x.operands])
        return f"{' '.join([x.opname, *x.flags])} {self.type(x.type)} {operands}"

    def call(self, x: Any) -> str:
        signature = x.callee.function_type
        if signature.var_arg or x.arg_attributes or x.attributes or x.fastmath or x.cconv:
            return self.left_to_llvmlite(x)
        args = ", ".join([self.typed(a) for a in x.args])
        how = f"{x.tail} call" if x.tail else "call"
        return f"{how} {self.type(signature.return_type)} {self.reference(x.callee)}({args})"

    def left_to_llvmlite(self, x: Any) -> str:
        parts: list[str] = []
        x.descr(parts)
        return "".join(parts).rstrip()

    def branch(self, x: Any) -> str:
        return f"{x.opname} {', '.join([self.typed(a) for a in x.operands])}"

    def comparison(self, x: Any) -> str:
        a, b = x.operands
        how = " ".join([x.opname, *x.flags, x.op])
        return f"{how} {self.typed(a)}, {self.reference(b)}"

    def cast(self, x: Any) -> str:
        return f"{x.opname} {self.typed(x.operands[0])} to {self.type(x.type)}"

    def selection(self, x: Any) -> str:
        operands = ", ".join([self.typed(a) for a in x.operands])
        return f"{' '.join(['select', *x.flags])} {operands}"

    def load(self, x: Any) -> str:
        align = "" if x.align is None else f", align {x.align}"
        return f"load {self.type(x.type)}, {self.typed(x.operands[0])}{align}"

    def store(self, x: Any) -> str:
        value, to = x.operands
        align = "" if x.align is None else f", align {x.align}"
        return f"store {self.typed(value)}, {self.typed(to)}{align}"

    def address(self, x: Any) -> str:
        how = "getelementptr inbounds" if x.inbounds else "getelementptr"
        operands = ", ".join([self.typed(a) for a in (x.pointer, *x.indices)])
        return f"{how} {self.type(x.source_etype)}, {operands}"

    def phi(self, x: Any) -> str:
        incoming = ", ".join(
            [f"[{self.reference(v)}, {self.reference(b)}]" for v, b in x.incomings]
        )
        return f"{' '.join(['phi', *x.flags])} {self.type(x.type)} {incoming}"

    def element(self, x: Any) -> str:
        return f"{x.opname} {', '.join([self.typed(a) for a in x.operands])}"


def _reference(x: Any) -> str:
    if isinstance(x, ins.Instruction | ir.Argument | ir.Block):
        name = x._name
        if '"' not in name and "\\" not in name:
            return f'%"{name}"'
    return str(x.get_reference())
