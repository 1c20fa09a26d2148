"""What must hold of a program, whatever it says: all ways of running it agree.

In: a `Program` of `random_programs`. Out: nothing, or a `DisagreementError` that shows the
program, the arguments and the values. Compared are the interpreter on the checked graph, the
interpreter on the simplified graph and native code; for the loss, also its gradients, these with
central differences in f64, and the printed texts with what they parse back to.

How close is close enough depends on the program: `x - y` of two rounded numbers may have no
correct digit. So the interpreter runs again a few times with noise of the size of rounding errors
after every operation (Monte Carlo arithmetic: Parker 1997), and the spread of the results bounds
the difference. Where the noise flips a comparison the spread is large and the entry is judged by
nothing; where it changes nothing (integers, selections of inputs) the values must be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tdsl
from tdsl.compiler import scalar as sc
from tdsl.compiler.graph import Comp, Function, Input, Node, postorder
from tdsl.compiler.interpret import _Evaluation, bind_dims, interpret
from tdsl.compiler.pipeline import differentiated, graph_text, simplified
from tdsl.compiler.text import function_text
from tdsl.dsl.check import check
from tdsl.dsl.modules import load_modules

from .random_programs import Array, Program, arguments, sizes_for

SPREADS = 4  # noisy runs; FURTHER of them before a difference counts
FURTHER = 40
SAFETY = 8.0  # the difference may exceed the greatest spread seen by this factor
CALL_ERRORS = (ValueError, IndexError)


class DisagreementError(AssertionError):
    """Two ways of running a program differ."""


def checked(text: str, name: str) -> Function:
    return check(load_modules(None, text)).functions[name]


# --------------------------------------------------------------------------- noise

# Operations whose floating-point result is exact, or a choice among the arguments.
_EXACT = frozenset(
    ("neg", "abs", "sign", "min", "max", "floor", "ceil", "trunc", "round", "where", "cast",
     "stop_gradient", "and", "or", "not", "isnan", "isinf", "isfinite",
     "lt", "le", "gt", "ge", "eq", "ne")
)  # fmt: skip
_ARITHMETIC = frozenset(("add", "sub", "mul", "div", "sqrt", "absorb"))
# Sums of larger terms in the interpreter: near a root the error is absolute.
_ABSOLUTE = frozenset(("digamma", "lgamma"))


class _Noisy(_Evaluation):
    """An evaluation in which every rounded operation is off by up to some units in the last
    place: 1 for arithmetic (a fused multiply-add rounds once less, and so may overflow once less),
    4 for the math library."""

    rng: np.random.Generator

    def noise(self, scale: Array, ulps: float) -> Array:
        """Of magnitude `ulps` units of `scale`, and never nearly 0."""
        shape = np.shape(scale)
        u = self.rng.uniform(0.5, 1.0, shape) * self.rng.choice([-1.0, 1.0], shape)
        eps = np.finfo(scale.dtype).eps
        return np.asarray((u * ulps * eps) * scale, dtype=scale.dtype)

    def evaluate(self, x: sc.Scalar, mask: Array) -> Array:
        out = super().evaluate(x, mask)
        if not isinstance(x, sc.Op) or not x.dtype.is_float or x.name in _EXACT:
            return out
        if x.name in ("add", "sub"):
            # a product fused into this sum is not rounded: off by an ulp of an operand
            a, b = (np.abs(self.at(arg, mask)) for arg in x.args)
            fused = any(_is_product(arg) for arg in x.args)
            scale = np.where(np.isfinite(out), np.maximum(a, b), 0) if fused else _finite(out)
            return np.asarray(out + self.noise(scale.astype(out.dtype), 1.0))
        ulps = 1.0 if x.name in _ARITHMETIC else 4.0
        noisy = out + self.noise(_finite(out, near_zero=x.name in _ABSOLUTE), ulps)
        return self.unrounded(x, noisy, mask) if x.name == "mul" else np.asarray(noisy)

    def unrounded(self, x: sc.Op, product: Array, mask: Array) -> Array:
        """A product that a sum takes in unrounded does not overflow by itself: some do not here."""
        finite = [np.isfinite(self.at(arg, mask)) for arg in x.args]
        over = np.isinf(product) & finite[0] & finite[1] & (self.rng.random(product.shape) < 0.5)
        most = np.copysign(np.finfo(product.dtype).max, product)
        return np.where(over, most, product).astype(product.dtype)

    def reduced(self, body: Array) -> Array:
        out = super().reduced(body)
        if not np.issubdtype(out.dtype, np.floating):
            return out
        over = tuple(range(self.node.rank, body.ndim))
        length = int(np.prod([body.shape[k] for k in over]))
        if self.node.reducer == "sum":
            scale = _finite(np.sum(np.abs(body), axis=over).astype(out.dtype))
            return np.asarray(out + self.noise(scale, max(1.0, np.sqrt(length))))
        if self.node.reducer == "prod":
            return np.asarray(out + self.noise(_finite(out), length))
        return out

    def scatter(self, body: Array, at: list[Array]) -> Array:
        out = super().scatter(body, at)
        if not np.issubdtype(out.dtype, np.floating) or not out.size:
            return out
        sizes = np.zeros_like(out)
        with np.errstate(all="ignore"):
            np.add.at(sizes, tuple(at), np.abs(body).astype(out.dtype))
        return np.asarray(out + self.noise(_finite(sizes), max(1.0, np.sqrt(body.size / out.size))))


def _finite(x: Array, near_zero: bool = False) -> Array:
    """The size of a rounding error of `x`; `near_zero`: not less than that of 1."""
    size = np.maximum(np.abs(x), 1) if near_zero else x
    return np.where(np.isfinite(x), size, 0).astype(x.dtype)


def _is_product(x: sc.Scalar) -> bool:
    while isinstance(x, sc.Op) and x.name in ("neg", "cast"):
        x = x.args[0]
    return not isinstance(x, sc.Op) or x.name in ("mul", "absorb")  # a read may be inlined


def noisy(fn: Function, arrays: Sequence[Array], rng: np.random.Generator) -> tuple[Array, ...]:
    """As `interpret`, with noise. The arguments are those of a call that `interpret` accepts."""
    given = [np.asarray(a, dtype=p.dtype.numpy) for a, p in zip(arrays, fn.params, strict=True)]
    env = bind_dims(fn, [a.shape for a in given])
    values: dict[Node, Array] = {}
    with np.errstate(all="ignore"):
        for node in postorder(fn.outputs):
            if isinstance(node, Input):
                values[node] = given[node.position]
            elif isinstance(node, Comp):
                evaluation = _Noisy(env, values, node)
                evaluation.rng = rng
                values[node] = evaluation.result()
    return tuple(values[o] for o in fn.outputs)


# --------------------------------------------------------------------------- comparison


@dataclass
class Judge:
    """Judges values against those of `functions` (equal in meaning, the first the reference):
    how far noise moves these is how far the values may lie apart."""

    functions: Sequence[Function]
    arrays: Sequence[Array]
    rng: np.random.Generator
    runs: list[list[tuple[Array, ...]]]

    @classmethod
    def of(
        cls, functions: Sequence[Function], arrays: Sequence[Array], rng: np.random.Generator
    ) -> Judge:
        return cls(functions, arrays, rng, [[interpret(f, arrays)] for f in functions])

    @property
    def reference(self) -> tuple[Array, ...]:
        return self.runs[0][0]

    def shake(self, count: int) -> None:
        for f, runs in zip(self.functions, self.runs, strict=True):
            while len(runs) < count + 1:
                try:
                    runs.append(noisy(f, self.arrays, self.rng))
                except CALL_ERRORS:  # noise reached an index: nothing can be said
                    runs.append(tuple(np.full_like(x, _other(x)) for x in runs[0]))

    def differs(self, values: Sequence[Array], one_way: bool = False) -> str | None:
        """What differs beyond the spread. `one_way`: values may be finite where the reference is
        not (a stable form has fewer overflows)."""
        self.shake(SPREADS)
        found = self.difference(values, one_way)
        if found is not None:
            self.shake(FURTHER)
            found = self.difference(values, one_way)
        return found

    def difference(self, values: Sequence[Array], one_way: bool) -> str | None:
        if len(values) != len(self.reference):
            return f"{len(values)} values for {len(self.reference)}"
        for k, (value, reference) in enumerate(zip(values, self.reference, strict=True)):
            got, want = np.asarray(value), np.asarray(reference)
            if got.shape != want.shape or got.dtype != want.dtype:
                return f"output {k}: {got.dtype}{got.shape} for {want.dtype}{want.shape}"
            noise = [np.asarray(r[k]) for runs in self.runs for r in runs[1:]]
            bad = _beyond(got, want, noise, [np.asarray(r[0][k]) for r in self.runs], one_way)
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0]) if want.shape else ()
                spread = max((abs(float(n[at]) - float(want[at])) for n in noise), default=0.0)
                return (
                    f"output {k}{list(at)}: {got[at]!r} for {want[at]!r} "
                    f"({int(bad.sum())} of {bad.size} entries; noise moves it by {spread:.2g})"
                )
        return None


def _other(x: Array) -> Any:
    return False if x.dtype == bool else -77 if np.issubdtype(x.dtype, np.integer) else np.nan


def _beyond(
    got: Array, want: Array, noise: Sequence[Array], bases: Sequence[Array], one_way: bool
) -> Array:
    """Where `got` differs from `want` by more than noise explains."""
    if not np.issubdtype(want.dtype, np.floating):
        steady = np.ones(want.shape, dtype=bool)
        for n in noise:
            steady &= n == want
        return np.asarray((got != want) & steady)
    finite = np.isfinite(want)
    with np.errstate(all="ignore"):
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        steady = np.ones(want.shape, dtype=bool)
        spread = np.zeros(want.shape)
        wide = want.astype(np.float64)
        for n in noise:
            steady &= (np.isfinite(n) == finite) & (np.isnan(n) == np.isnan(want))
            spread = np.maximum(spread, np.nan_to_num(np.abs(n.astype(np.float64) - wide), nan=0.0))
        info = np.finfo(want.dtype)
        allowed = SAFETY * spread + 4 * float(info.eps) * np.abs(wide) + 4 * float(info.tiny)
        close = finite & (np.abs(got.astype(np.float64) - wide) <= allowed)
        # overflow at the very edge of the range
        huge = np.abs(wide) > 0.1 * float(info.max)
    lenient = (~finite) if one_way else np.zeros(want.shape, dtype=bool)
    return np.asarray(~(same | close | ~steady | lenient | huge))


# --------------------------------------------------------------------------- a program's stages


@dataclass
class Stages:
    """One function of a program in all its forms."""

    graph: Function
    native: tdsl.Function

    @cached_property
    def plain(self) -> Function:
        return differentiated(self.graph)

    @cached_property
    def simple(self) -> Function:
        return simplified(self.graph)

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        out = self.native(*arrays)
        values = out if isinstance(out, tuple) else (out,)
        return tuple(
            np.asarray(v, dtype=o.dtype.numpy)
            for v, o in zip(values, self.graph.outputs, strict=True)
        )


def agreement(stages: Stages, arrays: Sequence[Array], rng: np.random.Generator) -> str | None:
    """What two of the three ways disagree about; None if they agree."""
    runs: list[tuple[Array, ...] | None] = []
    ways: tuple[Callable[[], tuple[Array, ...]], ...] = (
        lambda: interpret(stages.plain, arrays),
        lambda: interpret(stages.simple, arrays),
        lambda: stages.run(arrays),
    )
    for way in ways:
        try:
            runs.append(way())
        except CALL_ERRORS:  # of several errors any may come first
            runs.append(None)
    plain, simple, native = runs
    if plain is not None and simple is None:
        return "the graph runs, simplified it does not"
    if (simple is None) != (native is None):
        return (
            "simplified it runs, native it does not"
            if native is None
            else ("native it runs, simplified it does not")
        )
    if plain is None or simple is None or native is None:
        return None
    judge = Judge.of([stages.plain, stages.simple], arrays, rng)
    found = judge.differs(simple, one_way=True)
    if found is not None:
        return f"simplified: {found}"
    for k, output in enumerate(stages.simple.outputs):
        if rounds_alike(output) and not np.array_equal(simple[k], native[k], equal_nan=True):
            return f"native: output {k}, of exact operations, is {native[k]!r} for {simple[k]!r}"
    found = Judge.of([stages.simple], arrays, rng).differs(native)
    return None if found is None else f"native: {found}"


def rounds_alike(output: Node) -> bool:
    """Whether native code rounds as the interpreter does, all the way to `output`: IEEE
    arithmetic, nothing summed up, and no product that could be fused into a sum."""
    met: set[str] = set()
    for node in postorder([output]):
        if not isinstance(node, Comp):
            continue
        if node.dtype.is_float and (node.target is not None or node.reducer in ("sum", "prod")):
            return False
        for x in sc.postorder([sc.inline_calls(node.body)]):
            if isinstance(x, sc.Op) and x.args[0].dtype.is_float:
                met.add(x.name)
    if not met <= _EXACT | _ARITHMETIC:
        return False
    return not (met & {"mul", "absorb"} and met & {"add", "sub"})


# --------------------------------------------------------------------------- differences

_STEPS = (2e-4, 1e-4)  # two steps: what does not shrink with the step is a kink


def gradient_differs(
    loss: Function, both: Function, names: Sequence[str], arrays: list[Array], rng: Any
) -> str | None:
    """The derivative along a random direction against central differences of the interpreter,
    all in f64; None also where the function is not smooth at the point, or too ill-conditioned."""
    try:
        value, *gradients = interpret(both, arrays)
    except CALL_ERRORS:
        return None
    if not np.isfinite(value):
        return None
    positions = {p.name: k for k, p in enumerate(loss.params)}
    direction = {n: rng.uniform(0.3, 1.0, arrays[positions[n]].shape)
                 * rng.choice([-1.0, 1.0], arrays[positions[n]].shape) for n in names}  # fmt: skip

    def at(h: float) -> float:
        moved = list(arrays)
        for n in names:
            moved[positions[n]] = arrays[positions[n]] + h * direction[n]
        return float(interpret(loss, moved)[0])

    slopes, bends = [], []
    for h in _STEPS:
        try:
            up, down = at(h), at(-h)
        except CALL_ERRORS:
            return None
        if not (np.isfinite(up) and np.isfinite(down)):
            return None
        slopes.append((up - down) / (2 * h))
        bends.append(abs(up - 2 * float(value) + down) / h)
    shaken = [float(noisy(loss, arrays, rng)[0]) for _ in range(3)]
    blur = max(abs(s - float(value)) for s in shaken) * SAFETY / _STEPS[1]
    scale = sum(float(np.abs(g).sum()) for g in gradients) + abs(slopes[1])
    smooth = abs(slopes[0] - slopes[1]) <= 1e-4 * scale + blur and (
        bends[1] <= 0.6 * bends[0] + 1e-6 * scale + blur
    )
    if not smooth or not np.isfinite(blur) or blur > 1e-2 * scale + 1e-6:
        return None
    inner = sum(float(np.sum(g * direction[n])) for n, g in zip(names, gradients, strict=True))
    allowed = 4 * abs(slopes[0] - slopes[1]) + blur + 1e-6 * abs(inner) + 1e-9
    if abs(inner - slopes[1]) <= allowed:
        return None
    return (
        f"gradient {inner!r} along a direction, central differences {slopes[1]!r} ± {allowed:.1g}"
    )


# --------------------------------------------------------------------------- one program


def examine(program: Program, number: int, *, texts: bool) -> None:
    """Raise DisagreementError unless everything about `program` agrees; `number` seeds its
    arguments. `texts`: also print, parse and compile again."""
    rng = np.random.default_rng(number)
    module = tdsl.compile(program.text)
    functions = {"main": Stages(checked(program.text, "main"), module.main)}
    names = program.float_names
    if program.has_loss:
        native = module.loss.value_and_grad(*names)
        functions["loss"] = Stages(native.graph(), native)
    params = program.params

    def refuse(what: str, arrays: Sequence[Array] = ()) -> None:
        with np.printoptions(threshold=60, precision=17):
            shown = "\n".join(f"{p.name} = {a!r}" for p, a in zip(params, arrays, strict=False))
        raise DisagreementError(f"{what}\n(number {number})\n\n{program.text}\n{shown}")

    for largest, options in (
        (33, {}), (3, {"generic": True}), (5, {"special": True}), (5, {"outside": True}),
    ):  # fmt: skip
        arrays = arguments(params, sizes_for(params, rng, largest), rng, **options)
        for name, stages in functions.items():
            found = agreement(stages, arrays, rng)
            if found is not None:
                refuse(f"{name}: {found}", arrays)
    if program.has_loss and not program.stops:
        wide = program.text.replace("f32", "f64")
        loss = checked(wide, "loss")
        both = differentiated(tdsl.compile(wide).loss.value_and_grad(*names).graph())
        plain = differentiated(loss)
        for largest in (3, 5):
            env = sizes_for(params, rng, largest)
            arrays = [np.asarray(a, dtype=p.dtype.numpy) for a, p in zip(
                arguments(params, env, rng, generic=True), loss.params, strict=True)]  # fmt: skip
            found = gradient_differs(plain, both, names, arrays, rng)
            if found is not None:
                refuse(f"loss: {found}", arrays)
    if texts:
        arrays = arguments(params, sizes_for(params, rng, 5), rng)
        for name, stages in functions.items():
            found = text_differs(stages, arrays)
            if found is not None:
                refuse(f"{name}: {found}", arrays)


def text_differs(stages: Stages, arrays: Sequence[Array]) -> str | None:
    """Each stage's text, compiled, against the function: equal bit for bit, and stable."""
    expected = _fate(stages.native, arrays)
    if expected == "ValueError":  # perhaps of a size that only unused statements, not printed, need
        return None
    for stage in ("graph", "grad", "simplified"):
        text = graph_text(stages.graph, stage)
        module = tdsl.compile(text)
        again = module[stages.graph.name]
        second = function_text(again.graph())
        third = function_text(checked(second, stages.graph.name))
        if second != third:
            return f"the text of {stage} is not stable:\n{second}\nthen\n{third}"
        if _fate(again, arrays) != expected:
            return f"the text of {stage} means something else:\n{text}"
    return None


def _fate(f: Callable[..., Any], arrays: Sequence[Array]) -> Any:
    """The bits of the results, or the kind of the error."""
    try:
        out = f(*arrays)
    except CALL_ERRORS as error:
        return "IndexError" if isinstance(error, IndexError) else "ValueError"
    values = out if isinstance(out, tuple) else (out,)
    return [(np.asarray(v).dtype, np.asarray(v).shape, np.asarray(v).tobytes()) for v in values]
