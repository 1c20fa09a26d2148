"""The step of a kernel's call, and the values that it saves.

In: a kernel, its operands and results. Out: a node that runs the kernel's vjp. What is saved is an
array with the version its elements had, never a Tensor: a Tensor that is written in place later
gets a new history, and if its former self were held by a step of that history, there would be a
cycle. A pass that is differentiated itself makes Tensors of the arrays again, with the history
that the step's edges know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import dtype as dt
from .anomaly import anomaly, remember_place
from .core import INFERENCE, Array, Kind, TensorBase, Version, kind, wrap
from .kernels import Kernel, contiguous, sizes_only
from .modes import mode
from .tape import FREED, AccumulateGrad, Edge, Gradients, Node, edge_of, sequence

if TYPE_CHECKING:
    from ..signature import Value
    from .tensor import Tensor

#: A value, the counter of its memory, and what that counted when the value was saved.
Saved = tuple[Any, Version, int]

#: Elements from which a gradient that is one number for all of them is not written out. Passing it
#: on takes some microseconds more a step, writing and reading it 0.2 ns an element and more.
LARGE = 1 << 15

#: Of what nobody else can write.
UNWRITTEN = Version()


def saved(t: Tensor) -> Saved:
    """The elements of a Tensor as they are. Raises RuntimeError for an inference Tensor."""
    version = t._counter
    if version is None:
        version = t._counter = Version()
    elif version is INFERENCE:
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
            "inference mode in computation tracked by autograd. To work around this, you can make "
            "a clone to get a normal tensor and use it in autograd, or use `tdsl.no_grad()` "
            "instead of `tdsl.inference_mode()`."
        )
    return t._array, version, version.value


def with_history(array: Array, kind: Kind, version: Version, edge: Edge) -> Tensor:
    """A Tensor of saved elements whose cotangent goes where `edge` says."""
    node, output = edge
    if isinstance(node, AccumulateGrad) and node.variable._array is array:
        return node.variable
    out = wrap(array, kind)
    out._counter = version
    if node is not None:
        out._requires_grad, out._grad_fn, out._output_nr = True, node, output
    return out


class Plan:
    """What recording a kernel's call and its step back need to know of the vjp for the operands
    `wanted`."""

    __slots__ = (
        "computes",
        "cotangents",
        "floats",
        "frees",
        "fresh",
        "kinds",
        "native",
        "passes",
        "saves",
        "single",
        "sizes",
        "vjp",
        "wanted",
    )  # fmt: skip

    def __init__(self, kernel: Kernel, wanted: tuple[int, ...]) -> None:
        self.wanted = wanted
        self.vjp = vjp = kernel.vjp(wanted)
        self.native, self.kinds, self.passes = vjp.native, vjp.kinds, vjp.passes
        #: its arguments before the cotangents: `x`, `y` or `s` (see `kernels`), of which operand
        #: or result, and the kind
        self.saves = tuple(
            (need.what, need.position, kind_of(p))
            for need, p in zip(vjp.needs, vjp.signature.params, strict=True)
            if need.what != "ct"
        )
        #: the results whose cotangents it takes
        self.cotangents = tuple(need.position for need in vjp.needs if need.what == "ct")
        #: where among its arguments the sizes are, if its one result is one number for all elements
        self.sizes: int | None = None
        if vjp.numbers == (True,) and ("s", wanted[0]) in (found := [s[:2] for s in self.saves]):
            self.sizes = found.index(("s", wanted[0]))
        #: whether a pass frees something
        self.frees = any(what != "s" for what, _, _ in self.saves)
        #: whether there is something to compute
        self.computes = None in self.passes
        #: which gradients are arrays that nobody else has
        self.fresh = tuple(p is None for p in self.passes)
        #: the operands that could have a gradient
        params = enumerate(kernel.signature.params)
        self.floats = tuple(k for k, p in params if p.dtype.is_float)
        #: whether the kernel has one result
        self.single = len(kernel.kinds) == 1


def kind_of(p: Value) -> Kind:
    """The Kind of a parameter."""
    return kind(dt.OF_COMPILED[p.dtype], len(p.shape))


class KernelBackward(Node):
    """The step of a kernel's call; every operation's own subclass bears its name."""

    __slots__ = ("_results", "_saved", "plan")
    plan: Plan
    _saved: list[Saved] | None  # in the order of the vjp's arguments; None: freed
    _results: tuple[tuple[tuple[int, ...], Kind], ...] | None  # None: one

    def outputs(self) -> int:
        return 1 if self._results is None else len(self._results)

    @property
    def next_functions(self) -> tuple[Edge, ...]:
        return tuple(self._spread(self.edges, (None, 0)))

    def shown(self, gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        return tuple(self._spread(gradients, None))

    def taken(self, gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        floats = self.plan.floats
        return [gradients[floats.index(k)] for k in self.plan.wanted]

    def _spread(self, given: Sequence[Any], missing: Any) -> list[Any]:
        """One of `given`, which are for the operands that require grad, for every operand that
        could."""
        by_operand = dict(zip(self.plan.wanted, given, strict=True))
        return [by_operand.get(k, missing) for k in self.plan.floats]

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        kept, plan = self._saved, self.plan
        if kept is None:
            raise RuntimeError(FREED)
        if self._results is not None:
            self._fill(cotangents)
        if not plan.computes:
            return [cotangents[p] for p in plan.passes]  # type: ignore[index]
        values = []
        for value, version, expected in kept:
            if version.value != expected:
                self._raise_modified(value, version, expected)
            values.append(value)
        if mode.grad:
            return self._differentiably(kept, cotangents)
        for k in plan.cotangents:
            values.append(cotangents[k]._array)  # type: ignore[union-attr]
        if plan.sizes is not None:
            shape = values[plan.sizes].shape[:-1]
            # a leaf's gradient is written out anyway
            if math.prod(shape) >= LARGE and type(self.edges[0][0]) is not AccumulateGrad:
                return self._number(values, shape)
        elif len(plan.cotangents) == 1:
            ct = values[-1]
            if not ct.flags.c_contiguous and ct.size >= LARGE and not any(ct.strides):
                return self._uniformly(values, cotangents)
        out = plan.native(*values)
        if out is None:
            out = plan.native(*[contiguous(v) for v in values])
            if out is None:
                raise RuntimeError("the gradient of an operation does not fit its result")
        if len(plan.passes) == 1:  # a kernel's vjp returns a tuple, of one here
            return [wrap(out[0], plan.kinds[0])]
        computed = iter([wrap(o, k) for o, k in zip(out, plan.kinds, strict=True)])
        return [next(computed) if p is None else cotangents[p] for p in plan.passes]

    def _number(self, values: list[Any], shape: tuple[int, ...]) -> list[Tensor | None]:
        """`apply` where the gradient is one number for all elements: seen as all of them."""
        vjp = self.plan.vjp.as_number
        out = vjp.native(*values)
        if out is None:
            out = vjp.native(*[contiguous(v) for v in values])
            if out is None:
                raise RuntimeError("the gradient of an operation does not fit its result")
        return [_seen_as(out[0], self.plan.kinds[0], shape)]

    def _uniformly(self, values: list[Any], cotangents: Gradients) -> list[Tensor | None]:
        """`apply` for a cotangent that is one number for all elements."""
        vjp = self.plan.vjp.uniform
        ct = values.pop()
        values += sizes_only(ct.shape), ct[(0,) * ct.ndim]
        out = vjp.native(*values)
        if out is None:
            out = vjp.native(*[contiguous(v) for v in values])
            if out is None:
                raise RuntimeError("the gradient of an operation does not fit its result")
        results = iter(zip(out, self.plan.kinds, strict=True))
        found: list[Tensor | None] = []
        for passed, is_number in zip(vjp.passes, vjp.numbers, strict=True):
            if passed is not None:
                found.append(cotangents[passed])
                continue
            array, own = next(results)
            found.append(_seen_as(array, own, ct.shape) if is_number else wrap(array, own))
        return found

    def _fill(self, cotangents: Gradients) -> None:
        """Zeros for results that no gradient has arrived for."""
        assert self._results is not None
        for k in self.plan.cotangents:
            if cotangents[k] is None:
                shape, own = self._results[k]
                cotangents[k] = wrap(np.zeros(shape, own.dtype.numpy), own)

    def _differentiably(self, kept: list[Saved], cotangents: Gradients) -> list[Tensor | None]:
        """`apply`, recorded itself."""
        from .operation import call_kernel

        plan = self.plan
        values: list[Any] = []
        for (value, version, _), (what, k, own) in zip(kept, plan.saves, strict=True):
            if what == "s" or not isinstance(value, np.ndarray):
                values.append(value)
                continue
            edge: Edge = (None, 0)
            if what == "y":
                edge = (self, k)
            elif k in plan.wanted:
                edge = self.edges[plan.wanted.index(k)]
            values.append(with_history(value, own, version, edge))
        values += [cotangents[k] for k in plan.cotangents]
        computed = iter(call_kernel(plan.vjp, values, KernelBackward))
        return [next(computed) if p is None else cotangents[p] for p in plan.passes]

    def release(self) -> None:
        if self.plan.frees:
            self._saved = None

    # ----------------------------------------------------------------------- writing in place

    def keep_apart(self, array: Array) -> None:
        """Keep a copy of what is saved of `array`'s memory, which is about to be written."""
        if self._saved is not None:
            self._saved = [
                (value.copy(), UNWRITTEN, 0)
                if isinstance(value, np.ndarray) and np.may_share_memory(value, array)
                else (value, version, expected)
                for value, version, expected in self._saved
            ]

    def result_moved(self, former: Array, array: Array, version: Version) -> None:
        """The saved result `former` is in `array` now, where a later write must be noticed."""
        if self._saved is not None:
            self._saved = [
                (array, version, version.value) if s[0] is former else s for s in self._saved
            ]

    # ----------------------------------------------------------------------- messages

    def operands(self) -> list[tuple[str, Any]]:
        names = {"x": "operand", "y": "result"}
        return [
            (f"{names[what]} {k}", value)
            for (value, _, _), (what, k, _) in zip(self._saved or (), self.plan.saves, strict=False)
            if what != "s"
        ]

    def _raise_modified(self, value: Array, version: Version, expected: int) -> NoReturn:
        what, k, kind = next(
            need
            for need, s in zip(self.plan.saves, self._saved or (), strict=True)
            if s[0] is value
        )
        made, output = None, 0
        if what == "y":
            made, output = self.name(), k
        elif k in self.plan.wanted:
            node, output = self.edges[self.plan.wanted.index(k)]
            if node is not None and not isinstance(node, AccumulateGrad):
                made = node.name()
        raise_modified(value, kind, made, output, version, expected, self.name())


def raise_modified(
    value: Array, kind: Kind, made: str | None, output: int, version: Version, expected: int,
    by: str,
) -> NoReturn:  # fmt: skip
    """The error of a saved value that was written since: `made` is the step whose result `output`
    it is, `by` the one that saved it."""
    described = f"[{type_name(kind)} [{', '.join(map(str, value.shape))}]]"
    if made is not None:
        described += f", which is output {output} of {made},"
    writer = f" It was written by {version.writer}." if version.writer else ""
    raise RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: {described} is at version {version.value}; expected version {expected} "
        f"instead. {by} needs it as it was.{writer} Hint: enable anomaly detection to find the "
        "operation that failed to compute its gradient, with "
        "tdsl.autograd.set_detect_anomaly(True)."
    )


def _seen_as(number: Array, kind: Kind, shape: tuple[int, ...]) -> Tensor:
    """A number as every element of an array."""
    return wrap(np.ndarray(shape, number.dtype, number, 0, (0,) * len(shape)), kind)


_TYPES = {
    "float32": "FloatTensor", "float64": "DoubleTensor", "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor", "int64": "LongTensor", "int32": "IntTensor",
    "int16": "ShortTensor", "int8": "CharTensor", "uint8": "ByteTensor", "bool": "BoolTensor",
}  # fmt: skip


def type_name(kind: Kind) -> str:
    """`tdsl.FloatTensor`: PyTorch's old name of a dtype."""
    return f"tdsl.{_TYPES[kind.dtype.name]}"


# --------------------------------------------------------------------------- recording

_new = object.__new__


def record(
    kernel: Kernel,
    operands: Sequence[Any],
    positions: tuple[int, ...],
    results: Sequence[Tensor],
    step: type[KernelBackward],
) -> None:
    """Give `results` their history: the call of `kernel` with `operands`, of which those at
    `positions` require grad."""
    plan = kernel.plans.get(positions)
    if plan is None:
        if not any(k.dtype.is_floating_point for k in kernel.kinds):
            return
        plan = kernel.plans[positions] = Plan(kernel, positions)
    node = _new(step)
    edges: list[Edge] = []
    for k in positions:
        t = operands[k]
        made = t._grad_fn
        edges.append(edge_of(t) if made is None or t._view is not None else (made, t._output_nr))
    node.edges = edges
    node.sequence = next(sequence)
    node.hooks = node.notes = None
    node.plan = plan
    kept: list[Saved] = []
    for what, k, _ in plan.saves:
        if what == "s":
            t = operands[k]
            shape = t._array.shape if isinstance(t, TensorBase) else np.shape(t)
            kept.append((sizes_only(shape), UNWRITTEN, 0))
            continue
        t = operands[k] if what == "x" else results[k]
        if not isinstance(t, TensorBase):
            kept.append((t, UNWRITTEN, 0))
        elif t._counter is None:  # as `saved`, for most Tensors
            version = t._counter = Version()
            kept.append((t._array, version, 0))
        else:
            kept.append(saved(t))  # type: ignore[arg-type]
    node._saved = kept
    if anomaly.enabled:
        remember_place(node, operands)
    if plan.single:
        r = results[0]
        r._requires_grad, r._grad_fn = True, node
        node._results = None
        return
    node._results = tuple([(r._array.shape, r._kind) for r in results])
    for k, r in enumerate(results):
        if r._kind.dtype.is_floating_point:
            r._requires_grad, r._grad_fn, r._output_nr = True, node, k
