"""A function as a `.tdsl` program: the text form of every graph before kernels.

In: a `Function`. Out: text which the front end reads back to the same graph: scalar functions
first (derived ones under their names), then the `def`, one statement a node. Elementwise nodes
print without indices, contractions as `@`; everything else in index notation, with explicit
ranges where the reader could infer other ones.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import count

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, is_one
from .dtypes import BY_NAME, DType
from .expression_text import ExpressionPrinter
from .graph import Comp, Function, Gradient, Input, Node, postorder
from .index_lambda import OpError
from .ops import INFIX_ROWS, PRIMITIVES_BY_NAME, ROWS
from .records import dataclass, field
from .scalar import Scalar, ScalarFunction
from .span import BUILTIN

KEYWORDS = frozenset(
    """and as const def else fn for from gradient if import in not or return while grad
    True False None inf nan pi real jvp vjp vmap jacobian hessian""".split()  # noqa: SIM905
)
_INDEX_LETTERS = "ijklpqrsuvabcdefghmnotwxyz"


def function_text(fn: Function, *, lines: bool = False) -> str:
    """The program of `fn`; `lines` adds where each statement stands in the user's file."""
    with fn.scope.active():
        return _Program(fn, lines).text()


def type_text(dtype: DType, shape: Sequence[Dim]) -> str:
    return f"{dtype}{il.shape_text(shape) if shape else ''}"


def signature_text(fn: Function) -> str:
    """`def f(x: f32[n]) -> f32`, with the inferred return type."""
    params = ", ".join(f"{p.name}: {type_text(p.dtype, p.shape)}" for p in fn.params)
    types = [type_text(o.dtype, o.shape) for o in fn.outputs]
    returns = (
        f"({', '.join(types)}{',' if len(types) == 1 else ''})" if fn.returns_tuple else types[0]
    )
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
    taken: _Names = field(default_factory=lambda: _Names(()))

    def text(self) -> str:
        fn = self.fn
        nodes = postorder(fn.outputs)
        taken = self.taken = _Names((*KEYWORDS, *BY_NAME, *fn.dims, fn.name))
        taken.used.update(p.name for p in fn.params)
        declared = []
        for f in scalar_functions(nodes):
            self.functions[f] = taken.fresh(f.name)
            declared.append(f)
        called = {
            x.function.name
            for node in nodes
            if isinstance(node, Comp)
            for x in sc.postorder([node.body])
            if isinstance(x, sc.Call)
        }
        taken.used.update(called, PRIMITIVES_BY_NAME, ("sum", "prod", "any", "all"))
        self.names = {p: p.name for p in fn.params}
        for node in nodes:
            if not isinstance(node, Input):
                base = node.name if node.name and node.name.isidentifier() else "t"
                self.names[node] = taken.fresh(base, ROWS)
        parts = []
        for f in declared:
            printer = ExpressionPrinter({}, {}, f.params, self.functions)
            parts.append(
                f"fn {self.functions[f]}({', '.join(f.params)}) = {printer.statement(f.body)}"
            )
        body = [f"    {row}" for node in nodes for row in self.statement(node)]
        body.append(f"    return {self.returned()}")
        doc = [f'    """{_escaped(fn.doc)}"""'] if fn.doc else []
        return (
            "\n".join([*parts, *([""] if parts else []), signature_text(fn) + ":", *doc, *body])
            + "\n"
        )

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
        printer = ExpressionPrinter(self.names, indices, (), self.functions)
        ranges = self.ranges(node, indices)
        target = ", ".join(indices[k] for k in range(node.rank))
        left = f"{name}[{target}]" if node.rank else name
        if node.target is not None:
            at = ", ".join(printer.statement(t, None) for t in node.target)
            return [
                f"{name}: {type_text(node.dtype, node.shape)} = 0",
                f"{name}[{at}] += {printer.at(node.body, node.dtype, 0)}{ranges}",
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
        printer = ExpressionPrinter(self.names, None, (), self.functions)
        if not node.shape:  # a bare weak scalar would stay a literal when it is read back
            return printer.at(node.body, None, 0)
        return printer.statement(node.body)

    def index_names(self, node: Comp) -> dict[int, str]:
        out: dict[int, str] = {}
        used = set[str]()
        for k in range(len(node.extents)):
            wish = node.index_names[k] if k < len(node.index_names) else None
            if not wish or wish in used or wish in self.taken.used:
                free = (c for c in _letters() if c not in used and c not in self.taken.used)
                wish = next(free)
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
    stack, seen = [root], set[Scalar]()
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        out.append(x)
        if not isinstance(x, sc.Read):
            stack.extend(sc.children(x))
    return out


class _Names:
    """Names in use; a new one takes the first free number, counted on from the last."""

    def __init__(self, used: Iterable[str]) -> None:
        self.used = set(used)
        self.last: dict[str, int] = {}

    def fresh(self, base: str, also: Container[str] = ()) -> str:
        name = base
        joint = "_" if base[-1:].isdigit() else ""
        while name in self.used or name in also:
            self.last[base] = self.last.get(base, 0) + 1
            name = f"{base}{joint}{self.last[base]}"
        self.used.add(name)
        return name


def _letters() -> Iterator[str]:
    yield from _INDEX_LETTERS
    yield from (f"i{n}" for n in count(1))


def _escaped(doc: str) -> str:
    return doc.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
