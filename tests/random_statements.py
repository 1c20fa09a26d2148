"""Random statements over whole tensors: operators, views, reductions, slices, products, calls.

In: the values in scope. Out: lines of a `def`, and the values that they name. Shapes and dtypes
of the results are asked of the operator table itself, applied to inputs of the same types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tdsl.compiler import index_lambda as il
from tdsl.compiler.dims import Dim, dim
from tdsl.compiler.dtypes import F32, F64, I32, I64, DType
from tdsl.compiler.graph import Scope, make_input
from tdsl.compiler.index_lambda import IndexLambda, OpError
from tdsl.compiler.ops import ROWS

from .random_formulas import Choices, Expr, Formulas, Shape

NAMES = ("n", "m", "k")
TYPICAL = dict.fromkeys((*NAMES, "p", "q"), 5)
MOST = 700  # elements of one value, every named dim being 5

REDUCTIONS = (
    "sum", "sum", "prod", "amax", "amin", "max", "min", "mean", "var", "std", "norm",
    "logsumexp", "argmax", "argmin", "any", "all",
)  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A name in scope. `below`: an index tensor's entries lie in 0 ≤ entry < below."""

    name: str
    dtype: DType
    shape: Shape
    below: Dim | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def expr(self) -> Expr:
        return Expr(self.name, self.dtype, self.shape)


@dataclass(frozen=True)
class Helper:
    """Another `def` of the file: what its parameters and results are."""

    name: str
    params: tuple[Value, ...]
    results: tuple[Value, ...]


@dataclass
class Body:
    """The statements of one `def`, growing."""

    choices: Choices
    formulas: Formulas
    values: list[Value]
    helpers: list[Helper] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    made: list[Value] = field(default_factory=list)
    stops: bool = False
    count: int = 0

    def fresh(self, base: str = "t") -> str:
        self.count += 1
        return f"{base}{self.count}"

    def add(self, name: str, text: str | None, dtype: DType, shape: Shape) -> bool:
        """`name = text` (None: the lines stand already), unless the value would be too large."""
        if len(shape) > 4 or any(d.const is not None and d.const < 0 for d in shape):
            return False
        total = 1
        for d in shape:
            total *= max(0, d.evaluate(TYPICAL))
        if total > MOST or dtype.is_weak:
            return False
        value = Value(name, dtype, shape)
        if text is not None:
            self.lines.append(f"{name} = {text}")
        self.values = [v for v in self.values if v.name != name] + [value]
        self.made = [v for v in self.made if v.name != name] + [value]
        return True

    def pick(self, fits: Callable[[Value], bool] = lambda _: True) -> Value | None:
        """A value, later ones more often."""
        options = [v for v in self.values if fits(v)]
        if not options:
            return None
        if self.choices.chance(40):
            options = options[-2:]
        found: Value = self.choices.of(options)
        return found

    def pick_float(self, rank: int = 0) -> Value | None:
        return self.pick(lambda v: v.dtype.is_float and v.rank >= rank)

    # ----------------------------------------------------------------------- elementwise

    def leaf(self, shape: Shape) -> Callable[[], Expr]:
        """Values that broadcast to `shape`, sizes and literals."""

        def fits(v: Value) -> bool:
            if v.rank > len(shape):
                return False
            pairs = zip(reversed(v.shape), reversed(shape), strict=False)
            return all(a == b or a.const == 1 for a, b in pairs)

        def read() -> Expr:
            if self.choices.chance(8):
                names = sorted({n for v in self.values for d in v.shape for n in d.names})
                if names:
                    return Expr(self.choices.of(names), I64)
            found = self.pick(fits)
            return found.expr if found is not None else Expr("0.75", F32)

        return read

    def elementwise(self) -> bool:
        c = self.choices
        base = self.pick()
        if base is None:
            return False
        leaf = self.leaf(base.shape)
        kind = c.number(0, 9)
        if kind < 7:
            x = self.formulas.floating(leaf, c.number(1, 3))
        elif kind == 7:
            x = self.formulas.condition(leaf, c.number(1, 2))
        else:
            x = self.formulas.integral(leaf, c.number(1, 2))
        if x.dtype.is_weak:
            return False
        if c.chance(10):
            again = [v for v in self.made if v.shape == x.shape]
            if again:  # a local may be reassigned
                return self.add(c.of(again).name, x.text, x.dtype, x.shape)
        return self.add(self.fresh(), x.text, x.dtype, x.shape)

    def cast(self) -> bool:
        v = self.pick()
        if v is None:
            return False
        target = self.choices.of((F32, F64, I32, I64))
        text = v.name
        if v.dtype.is_float and target.is_integer:
            text = f"clamp({v.name}, -100, 100)"
        return self.add(self.fresh(), f"{target}({text})", target, v.shape)

    def stopped(self) -> bool:
        v = self.pick_float()
        if v is None:
            return False
        self.stops = True
        return self.add(self.fresh(), f"stop_gradient({v.name}) * {v.name}", v.dtype, v.shape)

    # ----------------------------------------------------------------------- rows of the table

    def row(self, name: str, text: str, *args: Any, **keywords: Any) -> bool:
        """`t = text`, typed by the row `name` applied to `args`."""
        try:
            with Scope().active():
                given = [self.lambda_of(a) for a in args]
                out: IndexLambda = ROWS[name].apply(*given, **keywords)
        except (OpError, ValueError, IndexError):
            return False
        return self.add(self.fresh(), text, out.dtype, out.shape)

    def lambda_of(self, a: Any) -> Any:
        match a:
            case Value():
                return il.of_node(make_input(a.name, 0, a.dtype, a.shape))
            case [Value(), *_]:
                return tuple(self.lambda_of(v) for v in a)
        return a

    def reduction(self) -> bool:
        c = self.choices
        v = self.pick(lambda v: v.rank > 0)
        if v is None:
            return False
        name = c.of(REDUCTIONS)
        options: dict[str, Any] = {}
        kind = c.number(0, 5)
        if kind >= 2:
            options["dim"] = c.number(-v.rank, v.rank - 1)
        elif kind == 1 and v.rank >= 2 and not name.startswith("arg"):
            options["dim"] = (0, v.rank - 1)
        if "dim" in options and c.chance(35):
            options["keepdim"] = True
        if name in ("var", "std") and c.chance(50):
            options["correction"] = 0
        if name in ("argmax", "argmin") and "dim" not in options:
            options["dim"] = v.rank - 1
        if c.chance(30) and v.dtype.is_float and name not in ("any", "all"):
            x = self.formulas.floating(self.leaf(v.shape), 2)
            if x.shape == v.shape and not x.dtype.is_weak:
                text = f"{name}({', '.join([x.text, *_keywords(options)])})"
                return self.row(name, text, Value("x", x.dtype, x.shape), **options)
        return self.row(name, f"{name}({', '.join([v.name, *_keywords(options)])})", v, **options)

    def normalization(self) -> bool:
        c = self.choices
        v = self.pick_float(1)
        if v is None:
            return False
        name = c.of(("softmax", "log_softmax", "normalize", "layer_norm"))
        if name == "layer_norm":
            return self.row(name, f"layer_norm({v.name}, eps=0.01)", v, eps=0.01)
        d = c.number(-v.rank, v.rank - 1)
        return self.row(name, f"{name}({v.name}, dim={d})", v, dim=d)

    def view(self) -> bool:
        c = self.choices
        v = self.pick(lambda v: v.rank > 0)
        if v is None:
            return False
        x, r = v.name, v.rank
        d = c.number(-r, r - 1)
        match c.of(
            ("permute", "transpose", "unsqueeze", "squeeze", "flip", "flatten", "reshape", "tril",
             "triu", "pad", "pad", "diagonal", "cat", "stack", "expand", "select", "one_hot")
        ):  # fmt: skip
            case "permute":
                order = list(range(r))
                for i in range(r - 1):
                    j = c.number(i, r - 1)
                    order[i], order[j] = order[j], order[i]
                dims = tuple(order)
                return self.row("permute", f"permute({x}, {_tuple(dims)})", v, dims=dims)
            case "transpose":
                return self.row("transpose", f"transpose({x}, 0, {d})", v, 0, d)
            case "unsqueeze":
                return self.row("unsqueeze", f"unsqueeze({x}, {d})", v, d)
            case "squeeze":
                return self.row("squeeze", f"squeeze({x})", v)
            case "flip":
                return self.row("flip", f"flip({x}, {d})", v, d)
            case "flatten":
                return self.row("flatten", f"flatten({x})", v)
            case "reshape":
                total = dim(1)
                for size in v.shape:
                    total = total * size
                sizes: tuple[Dim, ...] = (dim(1), *reversed(v.shape)) if c.chance(50) else (total,)
                return self.row("reshape", f"reshape({x}, {_tuple(sizes)})", v, sizes)
            case "tril":
                return self.row("tril", f"tril({x}, diagonal=1)", v, diagonal=1)
            case "triu":
                return self.row("triu", f"triu({x})", v)
            case "pad":
                before, after = c.of(((1, 1), (0, 2), (2, 0), (1, 0)))
                text = f"pad({x}, ({before}, {after}), value=0.5)"
                if v.dtype.is_float:
                    return self.row("pad", text, v, (before, after), 0.5)
            case "diagonal":
                return self.row("diagonal", f"diagonal({x})", v)
            case "cat":
                other = self.pick(lambda o: o.rank == r and o.dtype is v.dtype)
                if other is not None:
                    text = f"cat(({x}, {other.name}), dim={d})"
                    return self.row("cat", text, [v, other], d)
            case "stack":
                other = self.pick(lambda o: o.shape == v.shape)
                if other is not None:
                    return self.row(
                        "stack", f"stack(({x}, {other.name}, {x}), {d})", [v, other, v], d
                    )
            case "expand":
                sizes = (dim(2), *v.shape)
                return self.row("expand", f"expand({x}, {_tuple(sizes)})", v, sizes)
            case "select":
                axis = d % r
                index = self.pick(lambda i: i.below == v.shape[axis] and i.rank == 1)
                if index is not None:
                    text = f"index_select({x}, {axis}, {index.name})"
                    return self.row("index_select", text, v, axis, index)
            case "one_hot":
                index = self.pick(lambda i: i.below is not None)
                if index is not None:
                    return self.row("one_hot", f"one_hot({index.name}, 4)", index, dim(4))
        return False

    def product(self) -> bool:
        c = self.choices
        v = self.pick_float(1)
        if v is None:
            return False
        match c.number(0, 6):
            case 0:
                w = self.pick(lambda w: w.dtype.is_float and w.rank == 1)
                if v.rank == 1 and w is not None:
                    return self.row("outer", f"outer({v.name}, {w.name})", v, w)
            case 1:
                return self.row("trace", f"trace({v.name})", v)
            case 2 if v.rank == 2:
                t = Value(v.name, v.dtype, (v.shape[1], v.shape[0]))
                return self.row("matmul", f"{v.name} @ t({v.name})", v, t)
        w = self.pick(
            lambda w: (
                not w.dtype.is_bool
                and w.rank > 0
                and w.shape[-2 if w.rank > 1 else 0] == v.shape[-1]
            )
        )
        return w is not None and self.row("matmul", f"{v.name} @ {w.name}", v, w)

    # ----------------------------------------------------------------------- subscripts

    def subscript(self) -> bool:
        c = self.choices
        v = self.pick(lambda v: v.rank > 0)
        if v is None:
            return False
        items: list[str] = []
        shape: list[Dim] = []
        gathered = False
        for axis, size in enumerate(v.shape):
            if c.chance(12):
                items.append("None")
                shape.append(dim(1))
            index = self.pick(partial(_indexes, size))
            if index is not None and not gathered and c.chance(60):
                gathered = True
                items.append(index.name)
                shape += index.shape
                continue
            if axis and c.chance(10):
                items.append("...")
                shape += v.shape[axis:]
                break
            text, extent = c.of(
                ((":", size), (":", size), ("::-1", size), ("1:", size - 1), (":-1", size - 1),
                 ("::2", (size + 1) // 2), ("1::3", (size + 1) // 3), ("0:2", dim(2)), ("0", None),
                 ("-1", None), ("1:2", dim(1)), ("-2:", dim(2)))
            )  # fmt: skip
            items.append(text)
            if extent is not None:
                shape.append(extent)
        return self.add(self.fresh(), f"{v.name}[{', '.join(items)}]", v.dtype, tuple(shape))

    # ----------------------------------------------------------------------- calls, tuples, grad

    def call_helper(self) -> bool:
        if not self.helpers:
            return False
        helper: Helper = self.choices.of(self.helpers)
        env: dict[str, Dim] = {}
        args = []
        for p in helper.params:

            def fits(v: Value, p: Value = p) -> bool:
                return (
                    v.dtype is p.dtype
                    and v.rank == p.rank
                    and all(
                        a == b.substitute(env) or not (b.names & env.keys())
                        for a, b in zip(v.shape, p.shape, strict=True)
                    )
                )

            v = self.pick(fits)
            if v is None:
                return False
            args.append(v.name)
            for a, b in zip(v.shape, p.shape, strict=True):
                env.setdefault(str(b), a)
        names = [self.fresh() for _ in helper.results]
        line = f"{', '.join(names)} = {helper.name}({', '.join(args)})"
        before = len(self.lines)
        self.lines.append(line)
        ok = False
        for name, result in zip(names, helper.results, strict=True):
            shape = tuple(d.substitute(env) for d in result.shape)
            ok |= self.add(name, None, result.dtype, shape)
        if not ok:
            del self.lines[before:]
        return ok

    def pair(self) -> bool:
        a, b = self.pick(), self.pick()
        if a is None or b is None or a.name == b.name:
            return False
        first, second = self.fresh(), self.fresh()
        if not self.add(first, None, a.dtype, a.shape):
            return False
        if self.choices.chance(50):
            self.lines.append(f"{first}, {second} = {a.name}, {b.name}")
        else:
            both = self.fresh("both")
            self.lines += [f"{both} = ({a.name}, {b.name})", f"{first} = {both}[0]",
                           f"{second} = {both}[-1]"]  # fmt: skip
        return self.add(second, None, b.dtype, b.shape)

    def gradient(self) -> bool:
        """A derivative inside the program, of a formula or of a value made before."""
        c = self.choices
        w = self.pick_float()
        if w is None:
            return False
        text = None
        if c.chance(40):
            scalars = [v for v in self.made if v.dtype.is_float and not v.rank]
            if scalars:
                text = c.of(scalars).name
        if text is None:
            x = self.formulas.floating(self.leaf(w.shape), 2)
            text = f"sum(({x.text}) * {w.name})" if x.shape or w.rank else f"({x.text}) * {w.name}"
        if c.chance(25):
            other = self.pick_float()
            if other is not None and other.name != w.name:
                names = self.fresh(), self.fresh()
                self.lines.append(f"{', '.join(names)} = grad({text}, ({w.name}, {other.name}))")
                first = self.add(names[0], None, w.dtype, w.shape)
                return self.add(names[1], None, other.dtype, other.shape) or first
        return self.add(self.fresh("g"), f"grad({text}, {w.name})", w.dtype, w.shape)


def _indexes(size: Dim, v: Value) -> bool:
    return v.below == size and 0 < v.rank <= 2


def _keywords(options: dict[str, Any]) -> list[str]:
    return [f"{k}={_tuple(v) if isinstance(v, tuple) else v}" for k, v in options.items()]


def _tuple(items: Sequence[Any]) -> str:
    return f"({', '.join(map(str, items))}{',' if len(items) == 1 else ''})"
