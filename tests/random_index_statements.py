"""Random statements in index notation: reads, reducers, stencils, ranges, gathers, scatters.

In: the body of a `def` so far. Out: one more statement of it. Every index has a bare read of its
own or a stated range, so that how far it runs can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tdsl.compiler.dims import Dim, dim
from tdsl.compiler.dtypes import I64, WEAK_FLOAT, WEAK_INT, DType, promote
from tdsl.compiler.graph import reduced_dtype

from .random_formulas import Choices, Expr
from .random_statements import Body, Value

Ranges = Mapping[str, Dim]  # an index runs over 0 ≤ index < dim

INDICES = ("i", "j", "l")
FLOAT_REDUCERS = ("sum", "sum", "sum", "max", "min", "mean", "logsumexp", "prod", "argmax")


@dataclass
class IndexNotation:
    """Statements in index notation for a body."""

    body: Body

    @property
    def choices(self) -> Choices:
        return self.body.choices

    # ----------------------------------------------------------------------- reads

    def leaf(self, ranges: Ranges, depth: int) -> Expr:
        """Something to read where the indices `ranges` are in scope."""
        c = self.choices
        kind = c.number(0, 11)
        if kind == 0:
            i = c.of(list(ranges))
            return c.of((Expr(f"({i} * 0.5)", WEAK_FLOAT), Expr(f"({i} + 1)", WEAK_INT)))
        if kind == 1 and depth > 0:
            found = self.reduced(ranges, depth - 1)
            if found is not None:
                return found
        if kind == 2:
            found = self.shifted(ranges)
            if found is not None:
                return found
        found = self.read(ranges)
        return found if found is not None else Expr("0.75", WEAK_FLOAT)

    def read(self, ranges: Ranges) -> Expr | None:
        """A value whose dims are those of indices in scope, or are indexed by a tensor."""
        c = self.choices

        def positions(v: Value) -> list[list[str]]:
            out = []
            for d in v.shape:
                here = [i for i, extent in ranges.items() if extent == d]
                here += [f"{extent} - 1 - {i}" for i, extent in ranges.items() if extent == d]
                for index in self.body.values:
                    if index.below == d and index.rank == 1:
                        here += [
                            f"{index.name}[{i}]" for i, e in ranges.items() if e == index.shape[0]
                        ]
                if d.const is not None and d.const > 0:
                    here.append("0")
                out.append(here)
            return out

        v = self.body.pick(lambda v: all(positions(v)))
        if v is None:
            return None
        if not v.rank:
            return v.expr
        return Expr(f"{v.name}[{', '.join(c.of(p) for p in positions(v))}]", v.dtype)

    def shifted(self, ranges: Ranges) -> Expr | None:
        """A neighbour, under the condition that keeps it in bounds."""
        c = self.choices
        i = c.of(list(ranges))
        n = ranges[i]
        v = self.body.pick(lambda v: v.rank == 1 and v.shape[0] == n and v.dtype.is_float)
        if v is None:
            return None
        text = c.of(
            (f"({v.name}[{i}-1] if {i} > 0 else 0)", f"({v.name}[{i}+1] if {i} < {n} - 1 else 0.5)",
             f"({v.name}[{i}-2] if {i} >= 2 else {v.name}[{i}])",
             f"({v.name}[{n} - {i}] if 0 < {i} else 1)")
        )  # fmt: skip
        return Expr(text, v.dtype)

    def bare(self, ranges: Ranges, index: str) -> Expr | None:
        """A read that settles how far `index` runs."""
        n = ranges[index]
        options = []
        for v in self.body.values:
            for axis, d in enumerate(v.shape):
                others = [[i for i, e in ranges.items() if e == o] for o in v.shape]
                others[axis] = [index]
                if d == n and all(others) and not v.dtype.is_bool:
                    options.append((v, others))
        if not options:
            return None
        v, positions = self.choices.of(options)
        return Expr(f"{v.name}[{', '.join(self.choices.of(p) for p in positions)}]", v.dtype)

    def reduced(self, ranges: Ranges, depth: int) -> Expr | None:
        """`sum[k](…)` over a new index."""
        c = self.choices
        extents = [d for v in self.body.values for d in v.shape]
        index = next(x for x in ("r", "s", "u", "v", "w") if x not in ranges)
        if not extents:
            return None
        inner = {**ranges, index: c.of(extents)}
        first = self.bare(inner, index)
        if first is None:
            return None
        rest = self.body.formulas.floating(lambda: self.leaf(inner, depth), c.number(0, 2))
        body, dtype = f"{first.text} * ({rest.text})", promote(first.dtype, rest.dtype)
        if c.chance(25):
            test = self.body.formulas.condition(lambda: self.leaf(inner, 0), 1)
            body, dtype = f"({body}) if {test.text} else 0", promote(dtype, WEAK_INT)
        reducer = "sum" if not dtype.is_float or dtype.is_weak else c.of(FLOAT_REDUCERS)
        out: DType = reduced_dtype(reducer, dtype) if reducer in ("sum", "argmax") else dtype
        return Expr(f"{reducer}[{index}]({body})", out)

    # ----------------------------------------------------------------------- statements

    def define(self) -> bool:
        """`t[i, j] = …`"""
        c = self.choices
        base = self.body.pick(lambda v: v.rank > 0)
        if base is None or base.rank > 3:
            return False
        ranges = dict(zip(INDICES, base.shape, strict=False))
        order = list(ranges)
        if c.chance(30):
            order.reverse()
        first = Expr(f"{base.name}[{', '.join(ranges)}]", base.dtype)
        x = self.body.formulas.floating(lambda: self.leaf(ranges, 2), c.number(1, 3))
        text, dtype = c.of((("{x} + {first}", None), ("({x}) * {first}", None),
                            ("({x}) * (1 if i == 0 else {first})", None)))  # fmt: skip
        dtype = promote(x.dtype, I64 if base.dtype.is_bool else base.dtype)
        if base.dtype.is_bool:
            text = "({x}) if {first} else 0.5"
            dtype = promote(x.dtype, WEAK_FLOAT)
        name = self.body.fresh()
        line = f"{name}[{', '.join(order)}] = {text.format(x=x.text, first=first.text)}"
        if not self.body.add(name, None, dtype, tuple(ranges[i] for i in order)):
            return False
        self.body.lines.append(line)
        return True

    def contraction(self) -> bool:
        """`t[i, …] = sum[r](…)`, or a scalar reduced over everything."""
        c = self.choices
        base = self.body.pick_float(1)
        if base is None or base.rank > 3:
            return False
        ranges = dict(zip(INDICES, base.shape, strict=False))
        name = self.body.fresh()
        if c.chance(30):
            indices = ", ".join(ranges)
            x = self.body.formulas.floating(lambda: self.leaf(ranges, 1), 2)
            reducer = c.of(("sum", "sum", "max", "prod", "mean", "logsumexp"))
            dtype = promote(x.dtype, base.dtype)
            if not self.body.add(name, None, dtype, ()):
                return False
            self.body.lines.append(
                f"{name} = {reducer}[{indices}]({base.name}[{indices}] * ({x.text}))"
            )
            return True
        kept = c.of([list(ranges)[:k] for k in range(1, len(ranges) + 1)])
        # the output's indices are settled by bare reads beside the reducer
        first = self.bare(ranges, kept[0])
        x2 = self.reduced({i: ranges[i] for i in kept}, 1)
        if x2 is None:
            return False
        outer = [self.bare({i: ranges[i] for i in kept}, i) for i in kept]
        if first is None or any(o is None for o in outer):
            return False
        dtype = x2.dtype
        text = x2.text
        for o in outer:
            assert o is not None
            dtype = promote(dtype, o.dtype)
            text += f" + {o.text}"
        if not self.body.add(name, None, dtype, tuple(ranges[i] for i in kept)):
            return False
        self.body.lines.append(f"{name}[{', '.join(kept)}] = {text}")
        return True

    def stencil(self) -> bool:
        """Affine reads: convolutions, differences, prefixes, with inferred and stated ranges."""
        c = self.choices
        x = self.body.pick(lambda v: v.dtype.is_float and v.rank in (1, 2))
        if x is None:
            return False
        n = x.shape[0]
        w = self.body.pick(lambda v: v.dtype.is_float and v.rank == x.rank and v.name != x.name)
        name, X = self.body.fresh(), x.name
        forms: list[tuple[str, tuple[Dim, ...], DType]] = []
        if x.rank == 1:
            forms += [
                (f"{name}[i] = {X}[i+1] - {X}[i]", (n - 1,), x.dtype),
                (f"{name}[i] = {X}[i] - {X}[i-1] * 0.5 for i in 1:{n}", (n - 1,), x.dtype),
                (f"{name}[i] = {X}[2*i] * {X}[2*i+1] for i in 0:({n})//2", (n // 2,), x.dtype),
                (f"{name}[i] = {X}[2*i]", ((n + 1) // 2,), x.dtype),
                (f"{name}[i] = {X}[{n} - 1 - i] + i for i in 0:{n}", (n,), x.dtype),
                (f"{name}[i] = sum[r]({X}[r] if r <= i else 0) for i in 0:{n}", (n,), x.dtype),
                (f"{name}[i] = max[r]({X}[r] * {X}[i])", (n,), x.dtype),
                (f"{name} = sum[r]({X}[r+1] * {X}[r]) for r in 0:{n} - 1", (), x.dtype),
                (f"{name}[i, j] = {X}[i] - {X}[j]", (n, n), x.dtype),
                (f"{name}[i, j] = {X}[j] if i >= j else 0 for i in 0:{n}, j in 0:{n}", (n, n),
                 x.dtype),
                (f"{name}[i, j] = {X}[i] * exp(-0.5 * j) for j in 0:3", (n, dim(3)), x.dtype),
                (f"{name}[i] = sum[r]({X}[i+r]) for r in 0:2", (n - 1,), x.dtype),
            ]  # fmt: skip
            if w is not None:
                (q,) = w.shape
                both = promote(x.dtype, w.dtype)
                W = w.name
                forms += [
                    (f"{name}[i] = sum[r]({X}[i+r] * {W}[r])", (n - q + 1,), both),
                    (f"{name}[i] = sum[r]({X}[2*i+r] * {W}[r])", ((n - q) // 2 + 1,), both),
                    (f"{name}[i] = max[r]({X}[i+r] - {W}[r])", (n - q + 1,), both),
                    (f"{name}[i, j] = {X}[i] * {W}[j]", (n, q), both),
                    (f"{name}[i] = sum[r](tanh({X}[i] - {W}[r]))", (n,), both),
                    (f"{name}[i] = logsumexp[r]({X}[i] * {W}[r])", (n,), both),
                    (f"{name}[i] = argmin[r](({X}[i] - {W}[r])**2)", (n,), I64),
                    (f"{name} = sum[i, j]({X}[i] * {W}[j] / (1 + i + j))", (), both),
                ]
        else:
            m = x.shape[1]
            forms += [
                (f"{name}[i, j] = {X}[i+1, j] - {X}[i, j]", (n - 1, m), x.dtype),
                (f"{name}[i, j] = {X}[i, j+1] + {X}[i, j] * i", (n, m - 1), x.dtype),
                (f"{name}[j] = sum[i]({X}[i, j] * i)", (m,), x.dtype),
                (f"{name}[i] = mean[j]({X}[i, j] if j != i else 0)", (n,), x.dtype),
                (f"{name}[i, l] = sum[j]({X}[i, j] * {X}[l, j])", (n, n), x.dtype),
                (f"{name}[j, i] = {X}[i, {m} - 1 - j]", (m, n), x.dtype),
                (f"{name}[i] = argmax[j]({X}[i, j])", (n,), I64),
                (f"{name}[i, j] = sum[r]({X}[i, r] if r < j else 0) for j in 0:{m}", (n, m),
                 x.dtype),
            ]  # fmt: skip
            if w is not None:
                p, q = w.shape
                both = promote(x.dtype, w.dtype)
                forms += [
                    (f"{name}[i, j] = sum[r, s]({X}[i+r, j+s] * {w.name}[r, s])",
                     (n - p + 1, m - q + 1), both),
                    (f"{name}[i, j] = sum[r, s]({X}[2*i+r, j+s] * {w.name}[r, s])",
                     ((n - p) // 2 + 1, m - q + 1), both),
                ]  # fmt: skip
        line, shape, dtype = c.of(forms)
        if not self.body.add(name, None, dtype, shape):
            return False
        self.body.lines.append(line)
        return True

    def scatter(self) -> bool:
        """`d: f64[n] = 0` then `d[…] += …`"""
        c = self.choices
        x = self.body.pick(lambda v: v.dtype.is_float and v.rank in (1, 2))
        if x is None:
            return False
        name, X, n = self.body.fresh("d"), x.name, x.shape[0]
        index = self.body.pick(lambda i: i.below is not None and i.rank == 1 and i.shape[0] == n)
        forms: list[tuple[tuple[Dim, ...], str]] = []
        if x.rank == 1:
            forms += [
                ((n,), f"[{n} - 1 - i] += {X}[i]"), ((n + 1,), f"[i + 1] += {X}[i] * {X}[i]"),
                ((2 * n,), f"[2*i] += {X}[i]"), ((n, n), f"[i, i] += {X}[i]"),
                ((n + 2,), f"[i + r] += {X}[i] * (1 + r) for r in 0:3"),
            ]  # fmt: skip
            if index is not None and index.below is not None:
                forms += [((index.below,), f"[{index.name}[i]] += tanh({X}[i])")] * 3
        else:
            m = x.shape[1]
            forms += [
                ((n,), f"[i] += sum[j]({X}[i, j])"), ((m, n), f"[j, i] += {X}[i, j] * 0.5"),
                ((n + m,), f"[i + j] += {X}[i, j]"),
            ]  # fmt: skip
            if index is not None and index.below is not None:
                forms += [((index.below, m), f"[{index.name}[i], j] += {X}[i, j]")] * 3
        shape, line = c.of(forms)
        start = c.of(("0", "0", "1.5"))
        if not self.body.add(name, None, x.dtype, shape):
            return False
        dims = ", ".join(map(str, shape))
        self.body.lines += [f"{name}: {x.dtype}[{dims}] = {start}", f"{name}{line}"]
        return True
