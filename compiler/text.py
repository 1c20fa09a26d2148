"""A function as a `.tdsl` program: the text form of every graph before kernels.

In: a `Function`. Out: text which the front end reads back to the same graph: scalar functions
first (derived ones under their names), then the `def`, one statement a node. Elementwise nodes
print without indices, contractions as `@`; everything else in index notation, with explicit
ranges where the reader could infer other ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, is_one
from .dtypes import BY_NAME, WEAK_FLOAT, WEAK_INT, DType, default_of, promote
from .formula import CONSTANTS
from .graph import Comp, Function, Gradient, Input, Node, postorder
from .index_lambda import OpError
from .ops import INFIX_ROWS, PRIMITIVES_BY_NAME, ROWS
from .primitives import PRIMITIVES, Typing
from .scalar import Scalar, ScalarFunction
from .span import BUILTIN

KEYWORDS = frozenset(
    "and as const def else fn for from gradient if import in not or return while grad True False "
    "None inf nan pi real jvp vjp vmap jacobian hessian".split()
)
_LANGUAGE_NAME = {primitive: name for name, primitive in reversed(PRIMITIVES_BY_NAME.items())}
_INDEX_LETTERS = "ijklpqrsuvabcdefghmnotwxyz"


def function_text(fn: Function, *, lines: bool = False) -> str:
    """The program of `fn`; `lines` adds where each statement stands in the user's file."""
    with fn.scope.active():
        return _Program(fn, lines).text()


def scalar_function_text(function: ScalarFunction) -> str:
    """`fn name(params) = body`."""
    body = _Printer({}, {}, function.params, {}).statement(function.body)
    return f"fn {function.name}({', '.join(function.params)}) = {body}"


def type_text(dtype: DType, shape: Sequence[Dim]) -> str:
    return f"{dtype}{il.shape_text(shape) if shape else ''}"


def signature_text(fn: Function) -> str:
    """`def f(x: f32[n]) -> f32`, with the inferred return type."""
    params = ", ".join(f"{p.name}: {type_text(p.dtype, p.shape)}" for p in fn.params)
    types = [type_text(o.dtype, o.shape) for o in fn.outputs]
    returns = f"({', '.join(types)}{',' if len(types) == 1 else ''})" if fn.returns_tuple else types[0]
    return f"def {fn.name}({params}) -> {returns}"


# --------------------------------------------------------------------------- the program


def scalar_functions(nodes: Iterable[Node]) -> list[ScalarFunction]:
    """The scalar functions that are not rows, callees first."""
    found: dict[ScalarFunction, None] = {}

    def visit(root: Scalar) -> None:
        for x in sc.postorder([root]):
            if isinstance(x, sc.Call) and x.function not in found:
                visit(x.function.body)
                found.setdefault(x.function)

    for node in nodes:
        if isinstance(node, Comp):
            for root in (node.body, *(node.target or ())):
                visit(root)
    return [f for f in found if not f.builtin]


@dataclass
class _Program:
    fn: Function
    lines: bool
    names: dict[Node, str] = field(default_factory=dict)
    functions: dict[ScalarFunction, str] = field(default_factory=dict)

    def text(self) -> str:
        fn = self.fn
        nodes = postorder(fn.outputs)
        taken = {*KEYWORDS, *BY_NAME, *fn.dims, fn.name}
        taken |= {p.name for p in fn.params}
        declared = []
        for f in scalar_functions(nodes):
            self.functions[f] = _fresh(f.name, taken)
            taken.add(self.functions[f])
            declared.append(f)
        called = {
            x.function.name
            for node in nodes
            if isinstance(node, Comp)
            for x in sc.postorder([node.body])
            if isinstance(x, sc.Call)
        }
        taken |= called | set(PRIMITIVES_BY_NAME) | {"sum", "prod", "any", "all"}
        self.names = {p: p.name for p in fn.params}
        for node in nodes:
            if not isinstance(node, Input):
                base = node.name if node.name and node.name.isidentifier() else "t"
                self.names[node] = _fresh(base, taken, ROWS)
                taken.add(self.names[node])
        self.taken = taken
        parts = []
        for f in declared:
            printer = _Printer({}, {}, f.params, self.functions)
            parts.append(f"fn {self.functions[f]}({', '.join(f.params)}) = {printer.statement(f.body)}")
        body = [f"    {row}" for node in nodes for row in self.statement(node)]
        body.append(f"    return {self.returned()}")
        doc = [f'    """{_escaped(fn.doc)}"""'] if fn.doc else []
        return "\n".join([*parts, *([""] if parts else []), signature_text(fn) + ":", *doc, *body]) + "\n"

    def returned(self) -> str:
        names = [self.names[o] for o in self.fn.outputs]
        return ", ".join(names) + ("," if self.fn.returns_tuple and len(names) == 1 else "")

    def statement(self, node: Node) -> list[str]:
        match node:
            case Input():
                return []
            case Gradient():
                rows = [f"{self.names[node]} = grad({self.names[node.of]}, {self.names[node.wrt]})"]
            case Comp():
                rows = self.comprehension(node)
        if self.lines and node.span is not BUILTIN:
            rows[-1] += f"  # line {node.span.line}"
        return rows

    def comprehension(self, node: Comp) -> list[str]:
        name = self.names[node]
        short = self.contraction(node) or self.elementwise(node)
        if short is not None:
            return [f"{name} = {short}"]
        indices = self.index_names(node)
        printer = _Printer(self.names, indices, (), self.functions)
        ranges = self.ranges(node, indices)
        target = ", ".join(indices[k] for k in range(node.rank))
        left = f"{name}[{target}]" if node.rank else name
        if node.target is not None:
            at = ", ".join(printer.statement(t, None) for t in node.target)
            return [
                f"{name}: {type_text(node.dtype, node.shape)} = 0",
                f"{name}[{at}] += {printer.statement(node.body)}{ranges}",
            ]
        body = printer.statement(node.body)
        if node.reducer is not None:
            over = ", ".join(indices[k] for k in node.reduced)
            body = f"{node.reducer}[{over}]({body})"
        return [f"{left} = {body}{ranges}"]

    def contraction(self, node: Comp) -> str | None:
        """`a @ b`, where that builds this very node."""
        match node:
            case Comp("sum", body=sc.Op("mul", (sc.Read() as a, sc.Read() as b)), target=None):
                row = INFIX_ROWS["@"]
                try:
                    built = row.apply(il.of_node(a.tensor), il.of_node(b.tensor))
                except OpError:
                    return None
                if il.as_node(built) is node:
                    return f"{self.names[a.tensor]} @ {self.names[b.tensor]}"
        return None

    def elementwise(self, node: Comp) -> str | None:
        """The body over whole tensors, where broadcasting rebuilds the same indices."""
        if node.reducer is not None or node.target is not None:
            return None
        roots = [node.body]
        found = sc.reads(roots)
        shape: tuple[Dim, ...] = ()
        for r in found:
            shift = node.rank - len(r.tensor.shape)
            if shift < 0:
                return None
            for k, (i, d) in enumerate(zip(r.indices, r.tensor.shape, strict=True)):
                if i is not (sc.size(0) if is_one(d) else sc.index(k + shift)):
                    return None
        try:
            shape = il.broadcast_shapes([r.tensor.shape for r in found] or [()])
        except OpError:
            return None
        outside = [x for x in _outside_reads(node.body) if isinstance(x, sc.Affine) and x.terms]
        if shape != node.shape or outside or isinstance(node.body, sc.Read):
            return None
        return _Printer(self.names, None, (), self.functions).statement(node.body)

    def index_names(self, node: Comp) -> dict[int, str]:
        out: dict[int, str] = {}
        used = set(self.taken)
        for k in range(len(node.extents)):
            wish = node.index_names[k] if k < len(node.index_names) else None
            if not wish or wish in used:
                letters = (c for c in _INDEX_LETTERS if c not in used)
                wish = next(letters, None) or _fresh("i", used)
            out[k] = wish
            used.add(wish)
        return out

    def ranges(self, node: Comp, indices: Mapping[int, str]) -> str:
        """`for` clauses for the indices whose range the reads alone do not settle."""
        settled, unsettled = set[int](), set[int]()
        for r in unconditional_reads([node.body, *(node.target or ())]):
            for i, d in zip(r.indices, r.tensor.shape, strict=True):
                if not isinstance(i, sc.Affine):
                    continue
                for k, _ in i.terms:
                    bare = i is sc.index(k) and node.extents[k] == d
                    (settled if bare else unsettled).add(k)
        clauses = [
            f"{indices[k]} in 0:{d}"
            for k, d in enumerate(node.extents)
            if k not in settled or k in unsettled
        ]
        return f" for {', '.join(clauses)}" if clauses else ""


def unconditional_reads(roots: Iterable[Scalar]) -> list[sc.Read]:
    """The reads that no `where` guards."""
    out: list[sc.Read] = []
    stack, seen = list(roots), set[Scalar]()
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if isinstance(x, sc.Read):
            out.append(x)
        if isinstance(x, sc.Op) and x.name == "where":
            stack.append(x.args[0])
        else:
            stack.extend(sc.children(x))
    return out


def _outside_reads(root: Scalar) -> list[Scalar]:
    """Subexpressions that are not part of a read's indices."""
    out: list[Scalar] = []
    stack = [root]
    while stack:
        x = stack.pop()
        out.append(x)
        if not isinstance(x, sc.Read):
            stack.extend(sc.children(x))
    return out


def _fresh(base: str, taken: Iterable[str], *more: Iterable[str]) -> str:
    used = set(taken).union(*more)
    if base not in used:
        return base
    n = 1
    while f"{base}{n}" in used or f"{base}_{n}" in used and base[-1:].isdigit():
        n += 1
    return f"{base}_{n}" if base[-1:].isdigit() else f"{base}{n}"


def _escaped(doc: str) -> str:
    return doc.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


# --------------------------------------------------------------------------- expressions

_CONDITIONAL, _OR, _AND, _NOT, _COMPARE, _ADD, _MUL, _UNARY, _POW, _ATOM = range(10)
_LEVEL = {
    "or": _OR, "and": _AND, "lt": _COMPARE, "le": _COMPARE, "gt": _COMPARE, "ge": _COMPARE,
    "eq": _COMPARE, "ne": _COMPARE, "add": _ADD, "sub": _ADD, "mul": _MUL, "div": _MUL,
    "floordiv": _MUL, "mod": _MUL, "pow": _POW,
}  # fmt: skip


@dataclass
class _Printer:
    """Expressions as text. `indices` is None where reads print as whole tensors."""

    names: Mapping[Node, str]
    indices: Mapping[int, str] | None
    params: Sequence[str]
    functions: Mapping[ScalarFunction, str]
    reparsed: dict[Scalar, DType] = field(default_factory=dict)

    def statement(self, x: Scalar, want: DType | None = None) -> str:
        """A whole right-hand side: what stays weak takes its default."""
        natural = self.natural(x)
        return self.at(x, default_of(natural) if natural.is_weak else natural, 0)

    def natural(self, root: Scalar) -> DType:
        """The dtype that the printed form has when it is read back, before it meets anything."""
        for x in sc.postorder([root]):
            if x not in self.reparsed:
                self.reparsed[x] = self.natural_of(x)
        return self.reparsed[root]

    def natural_of(self, x: Scalar) -> DType:
        match x:
            case sc.Const():
                if x.dtype.is_bool:
                    return x.dtype
                return WEAK_FLOAT if x.dtype.is_float else WEAK_INT
            case sc.Affine():
                return WEAK_INT
            case sc.Read() | sc.Param():
                return x.dtype
            case sc.Op("cast", (inner,)):
                return self.reparsed[inner] if inner.dtype.is_weak else x.dtype
            case sc.Op():
                args = [self.reparsed[a] for a in x.args]
                match PRIMITIVES[x.name].typing:
                    case Typing.COMPARE | Typing.LOGIC | Typing.TEST:
                        return x.dtype
                    case Typing.WHERE:
                        args = args[1:]
                common = args[0]
                for a in args[1:]:
                    common = promote(common, a)
                if not common.is_weak:
                    return x.dtype
                return WEAK_FLOAT if x.dtype.is_float else common
            case sc.Call():
                strong = any(not self.reparsed[a].is_weak for a in x.args)
                return x.dtype if strong else WEAK_FLOAT

    def at(self, x: Scalar, want: DType | None, level: int) -> str:
        """`x` where something of binding strength `level` surrounds it and a weak form becomes
        `want`."""
        natural = self.natural(x)
        if natural.is_weak and not x.dtype.is_weak and want is not x.dtype:
            return f"{x.dtype}({self.at(x, x.dtype, 0)})"
        text, own = self.form(x)
        return f"({text})" if own < level else text

    def form(self, x: Scalar) -> tuple[str, int]:
        match x:
            case sc.Const():
                text = number_text(x)
                return text, _UNARY if text.startswith("-") else _ATOM
            case sc.Affine():
                return self.affine(x)
            case sc.Param():
                return self.params[x.position], _ATOM
            case sc.Read():
                name = self.names[x.tensor]
                if self.indices is None or not x.indices:
                    return name, _ATOM
                return f"{name}[{', '.join(self.at(i, None, 0) for i in x.indices)}]", _ATOM
            case sc.Call():
                want = _strongest(self.natural(a) for a in x.args)
                args = ", ".join(self.at(a, want, 0) for a in x.args)
                return f"{self.functions.get(x.function, x.function.name)}({args})", _ATOM
            case sc.Op("cast", (inner,)):
                if inner.dtype.is_weak:
                    return self.form(inner)
                return f"{x.dtype}({self.at(inner, None, 0)})", _ATOM
            case sc.Op("where", (test, then, other)):
                want = _strongest([self.natural(then), self.natural(other)]) or x.dtype
                parts = (
                    self.at(then, want, _OR),
                    self.at(test, None, _OR),
                    self.at(other, want, _CONDITIONAL),
                )
                return "{} if {} else {}".format(*parts), _CONDITIONAL
            case sc.Op("neg", (inner,)):
                return f"-{self.at(inner, x.dtype, _UNARY + isinstance(inner, sc.Const))}", _UNARY
            case sc.Op("not", (inner,)):
                return f"not {self.at(inner, None, _NOT)}", _NOT
            case sc.Op("and", (sc.Op() as low, sc.Op() as high)) if self.chained(low, high):
                a, b, c = low.args[0], low.args[1], high.args[1]
                first, second = PRIMITIVES[low.name].infix, PRIMITIVES[high.name].infix
                want = _strongest(self.natural(v) for v in (a, b, c))
                forms = [self.at(v, want, _ADD) for v in (a, b, c)]
                return f"{forms[0]} {first} {forms[1]} {second} {forms[2]}", _COMPARE
            case sc.Op():
                return self.operation(x)

    def chained(self, low: sc.Op, high: sc.Op) -> bool:
        """`a <= b and b < c`."""
        order = ("lt", "le")
        return low.name in order and high.name in order and low.args[1] is high.args[0]

    def operation(self, x: sc.Op) -> tuple[str, int]:
        row = PRIMITIVES[x.name]
        logical = row.typing is Typing.LOGIC
        compared = row.typing in (Typing.COMPARE, Typing.TEST)
        want = _strongest(self.natural(a) for a in x.args)
        if want is None and not logical:
            want = x.args[0].dtype if compared else x.dtype
            if compared and not want.is_weak:  # nothing in the text says the dtype: a cast does
                first, *rest = x.args
                forms = [f"{want}({self.at(first, want, 0)})", *(self.at(a, want, _ADD) for a in rest)]
                return f" {row.infix} ".join(forms), _COMPARE
        if row.infix is None:
            args = ", ".join(self.at(a, want, 0) for a in x.args)
            return f"{_LANGUAGE_NAME[x.name]}({args})", _ATOM
        level = _LEVEL[x.name]
        left, right = level, level + 1
        if x.name == "pow":
            left, right = _ATOM, _UNARY
        elif level == _COMPARE:
            left = right = _ADD
        a, b = self.at(x.args[0], want, left), self.at(x.args[1], want, right)
        return f"{a}{row.infix}{b}" if row.infix == "**" else f"{a} {row.infix} {b}", level

    def affine(self, x: sc.Affine) -> tuple[str, int]:
        parts: list[str] = []
        for k, c in x.terms:
            name = self.indices[k] if self.indices is not None else f"i{k}"
            value = c.const
            if value in (1, -1):
                text, negative = name, value == -1
            else:
                shown = str(abs(value)) if value is not None else f"({c})"
                text, negative = f"{shown}*{name}", value is not None and value < 0
            parts.append(("-" if negative else "") + text if not parts else f" {'-' if negative else '+'} {text}")
        if x.const.terms or not parts:
            text = str(x.const)
            if parts and text.startswith("-"):
                text = f" - {-x.const}" if len(x.const.terms) == 1 else f" + ({text})"
            elif parts:
                text = f" + {text}"
            parts.append(text)
        joined = "".join(parts)
        if joined.isidentifier() or joined.isdigit():
            return joined, _ATOM
        return joined, _UNARY if joined[1:].isidentifier() or joined[1:].isdigit() else _ADD


def _strongest(natural: Iterable[DType]) -> DType | None:
    """The dtype that weak neighbours take on: the promotion of the strong ones, if any."""
    out: DType | None = None
    for d in natural:
        if not d.is_weak or d.name == "real":
            out = d if out is None else promote(out, d)
    return out


def number_text(x: sc.Const) -> str:
    """The literal; integers of a float dtype without their point where the dtype is settled."""
    if x.dtype.is_bool:
        return str(bool(x.value))
    if not x.dtype.is_float:
        return str(int(x.value))
    value = float(x.value)
    for name, known in CONSTANTS.items():
        if name in ("inf", "nan", "pi") and value == known:
            return name
    if math.isnan(value):
        return "nan"
    if value == -math.inf:
        return "-inf"
    if value.is_integer() and abs(value) < 1e6 and not x.dtype.is_weak and math.copysign(1, value + 0.5) * value >= 0 and not (value == 0 and math.copysign(1, value) < 0):
        return str(int(value))
    return repr(value)
