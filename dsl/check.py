"""The checker: the only bridge from untyped syntax to typed graphs.

In: a `Program` (the files, parsed and linked). Out: `Checked`, one `graph.Function` for every
`def` of the root file, or a `TdslError` with every error of every file. A `def` is checked once on
its own, over sizes that are names; a call of it reads its body again over the caller's values, so
that a function of the graph never calls another.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.errors import Diagnostic, Note, TdslError
from ..compiler.graph import Function, Scope, make_input
from ..compiler.index_lambda import IndexLambda
from ..compiler.records import dataclass
from ..compiler.scalar import ScalarFunction
from ..compiler.span import Span
from . import check_body, check_constants, check_types, check_values
from .check_frame import (
    Broken,
    Constant,
    Frame,
    InlinedCall,
    Local,
    Report,
    Sizes,
    Symbol,
    TensorFunction,
    Value,
)
from .check_inlining import fitted_arguments
from .modules import Program
from .syntax import ConstDecl, DefDecl, FnDecl, Import, Module

MAX_CALLS = 5_000  # bodies read for one function: calls of calls multiply
RECURSION = 60_000  # Python frames: MAX_DEPTH levels of syntax, times the depth of calls


@dataclass(frozen=True)
class Checked:
    """A checked root file. `functions` holds its `def`s in source order; imported names are
    usable, and belong to their own files."""

    module: Module
    functions: dict[str, Function]
    scalar_functions: dict[str, ScalarFunction]
    warnings: tuple[Diagnostic, ...]


def check(program: Program) -> Checked:
    """Check every file of `program`. Raises TdslError with all errors, in source order."""
    with _deep_recursion():
        linker = _Linker(program)
        for module in program.modules.values():
            linker.check_module(module)
    errors = linker.report.errors
    if errors:
        raise TdslError(errors, program.sources)
    root = program.root
    functions: dict[str, Function] = {}
    scalar_functions: dict[str, ScalarFunction] = {}
    for d in root.declarations:
        if isinstance(d, DefDecl):
            function = linker.functions[root.path, d.name.id]
            assert function is not None
            functions[d.name.id] = function
        elif isinstance(d, FnDecl):
            symbol = linker.symbol(root, d.name.id, d.name.span)
            assert isinstance(symbol, ScalarFunction)
            scalar_functions[d.name.id] = symbol
    return Checked(root, functions, scalar_functions, tuple(linker.report.warnings))


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Room for expressions as deep as the parser lets through, in calls of calls."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


_Key = tuple[str, str]  # file, name


class _Linker:
    """The program's declarations, each checked when it is first needed."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.report = Report()
        self.functions: dict[_Key, Function | None] = {}  # None: it has errors
        self._symbols: dict[_Key, Symbol] = {}
        self._tables = {m.path: self._table(m) for m in program.modules.values()}
        self._active: list[tuple[_Key, Span]] = []  # what is being checked, and where it is named

    # ------------------------------------------------------------------------- names

    def _table(self, module: Module) -> dict[str, tuple[Module, ConstDecl | FnDecl | DefDecl]]:
        """What each name of a file stands for; a name declared twice is an error."""
        table: dict[str, tuple[Module, ConstDecl | FnDecl | DefDecl]] = {}
        first: dict[str, Span] = {}

        def declare(name: str, span: Span, where: Module, d: ConstDecl | FnDecl | DefDecl) -> None:
            if name in first:
                note = Note(f"`{name}` is first declared here", first[name])
                message = f"`{name}` is declared twice"
                self.report.add(Diagnostic("E0302", message, span, None, (note,)))
                return
            first[name] = span
            table[name] = (where, d)

        for d in module.declarations:
            if isinstance(d, Import):
                target = self.program.imported(module, d)
                declared = {x.name.id: x for x in target.declarations if not isinstance(x, Import)}
                for item in d.items:
                    declare(item.alias, item.span, target, declared[item.name])
            else:
                declare(d.name.id, d.name.span, module, d)
        return table

    def declared(self, module: Module) -> Iterable[str]:
        return self._tables[module.path]

    def symbol(self, module: Module, name: str, span: Span) -> Symbol | None:
        entry = self._tables[module.path].get(name)
        if entry is None:
            return None
        where, decl = entry
        key = (where.path, decl.name.id)
        found = self._symbols.get(key)
        if found is None:
            if isinstance(decl, DefDecl):
                found = TensorFunction(decl, where)
            else:
                if self._cyclic(key, span):
                    return Broken()
                self._active.append((key, span))
                found = self._declaration(where, decl)
                self._active.pop()
            self._symbols[key] = found
        return found

    def _cyclic(self, key: _Key, span: Span) -> bool:
        keys = [k for k, _ in self._active]
        if key not in keys:
            return False
        start = keys.index(key)
        names = [name for _, name in keys[start:]]
        cycle = " → ".join(f"`{n}`" for n in [*names, names[0]])
        via = [s for _, s in self._active[start + 1 :]]
        notes = tuple(
            Note(f"`{a}` uses `{b}`", s) for a, b, s in zip(names, names[1:], via, strict=False)
        )
        message = (
            f"`{names[0]}` uses itself: recursion is not supported"
            if len(names) == 1
            else f"recursion is not supported: {cycle}"
        )
        self.report.add(Diagnostic("E0310", message, span, None, notes))
        return True

    # ------------------------------------------------------------------------- declarations

    def check_module(self, module: Module) -> None:
        for d in module.declarations:
            if isinstance(d, DefDecl):
                self._checked(module, d, d.name.span)
            elif isinstance(d, ConstDecl | FnDecl):
                self.symbol(module, d.name.id, d.name.span)

    def _declaration(self, module: Module, d: ConstDecl | FnDecl) -> Symbol:
        frame = self._frame(d.name.id, module, Scope(), Sizes())
        frame.scalar = True
        before = len(self.report.errors)
        with frame.scope.active():
            if isinstance(d, ConstDecl):
                value = check_constants.constant(frame, d)
                return Constant(value) if value is not None else Broken()
            self._distinct(d)
            for k, p in enumerate(d.params):
                frame.locals[p.name] = Local(IndexLambda((), sc.param(k)), p.span, used=True)
            body = frame.operand(d.body, None)
        if body is None or len(self.report.errors) > before:
            return Broken()
        return ScalarFunction(d.name.id, tuple(p.name for p in d.params), body.body)

    def _distinct(self, d: FnDecl | DefDecl) -> None:
        seen: dict[str, Span] = {}
        for p in d.params:
            if p.name in seen:
                note = Note("it stands here first", seen[p.name])
                message = f"the parameter `{p.name}` of `{d.name.id}` is named twice"
                self.report.add(Diagnostic("E0302", message, p.span, None, (note,)))
            seen.setdefault(p.name, p.span)

    def _frame(self, name: str, module: Module, scope: Scope, sizes: Sizes) -> Frame:
        return Frame(name, module, self, self.report, scope, sizes, check_values.evaluate)

    # ------------------------------------------------------------------------- functions

    def _checked(self, module: Module, d: DefDecl, span: Span) -> Function | None:
        """`d` on its own; None where it has errors, which have been reported."""
        key = (module.path, d.name.id)
        if key in self.functions:
            return self.functions[key]
        if self._cyclic(key, span):
            return None
        self._active.append((key, span))
        self.functions[key] = None if (out := self._check_def(module, d)) is None else out
        self._active.pop()
        return self.functions[key]

    def _check_def(self, module: Module, d: DefDecl) -> Function | None:
        before = len(self.report.errors)
        frame = self._frame(d.name.id, module, Scope(), Sizes())
        with frame.scope.active():
            self._distinct(d)
            types = check_types.bind_parameters(frame, d)
            params = []
            for k, (p, t) in enumerate(zip(d.params, types, strict=True)):
                if p.name in frame.dims:
                    note = Note(f"the dim `{p.name}`", frame.sizes.bound_at[p.name])
                    message = f"the parameter `{p.name}` has the name of a dim"
                    frame.error("E0303", message, p.span, None, (note,))
                if t is None:
                    frame.locals[p.name] = Local(None, p.span, used=True)
                    continue
                node = make_input(p.name, k, t.dtype, t.shape, p.span)
                params.append(node)
                frame.locals[p.name] = Local(il.of_node(node), p.span, used=True)
            frame.arguments = tuple(il.of_node(p) for p in params)
            value = check_body.run(frame, d)
            if value is None or len(self.report.errors) > before:
                return None
            items = value if isinstance(value, tuple) else (value,)
            outputs = [
                il.materialize(v, span=frame.scope.span)
                for v in items
                if isinstance(v, IndexLambda)
            ]
        return Function(
            d.name.id,
            tuple(params),
            tuple(outputs),
            isinstance(value, tuple),
            tuple(frame.sizes.requirements.values()),
            d.doc,
            d.span,
            frame.scope,
        )

    # ------------------------------------------------------------------------- calls

    def inline(
        self, frame: Frame, callee: TensorFunction, args: Sequence[IndexLambda], call: InlinedCall
    ) -> Value:
        d = callee.decl
        function = self._checked(callee.module, d, call.span)
        if function is None:
            return None
        sizes = frame.sizes
        sizes.calls += 1
        if sizes.calls > MAX_CALLS:
            if sizes.calls == MAX_CALLS + 1:
                message = f"calls of calls multiply to more than {MAX_CALLS} in one function"
                frame.error("E0609", message, call.span)
            return None
        fitted = fitted_arguments(frame, function, d, args, call)
        if fitted is None:
            return None
        values, dims = fitted
        inner = self._frame(d.name.id, callee.module, frame.scope, sizes)
        inner.call = call
        inner.dims = dims
        inner.arguments = tuple(values)
        for p, x in zip(d.params, values, strict=True):
            inner.locals[p.name] = Local(x, p.span, used=True)
        return check_body.run(inner, d)
