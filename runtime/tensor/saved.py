"""The step of a kernel's call, and the values that it saves.

In: a kernel, its operands and results. Out: a node that runs the kernel's vjp. What is saved is an
array with the version its elements had, never a Tensor: a Tensor that is written in place later
gets a new history, and if its former self were held by a step of that history, there would be a
cycle. A pass that is differentiated itself makes Tensors of the arrays again, with the history
that the step's edges know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .anomaly import anomaly, remember_place
from .core import INFERENCE, Array, Kind, TensorBase, Version, wrap
from .kernels import Kernel, sizes_only
from .modes import mode
from .tape import FREED, AccumulateGrad, Edge, Gradients, Node, edge_of, sequence

if TYPE_CHECKING:
    from .tensor import Tensor

#: A value, the counter of its memory, and what that counted when the value was saved.
Saved = tuple[Any, Version, int]

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


class KernelBackward(Node):
    """The step of a kernel's call; every operation's own subclass bears its name."""

    __slots__ = ("_results", "_saved", "vjp")
    vjp: Kernel
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
        floats = self._source.floats
        return [gradients[floats.index(k)] for k in self.vjp.wanted]

    @property
    def _source(self) -> Kernel:
        source = self.vjp.source
        assert source is not None
        return source

    def _spread(self, given: Sequence[Any], missing: Any) -> list[Any]:
        """One of `given`, which are for the operands that require grad, for every operand that
        could."""
        by_operand = dict(zip(self.vjp.wanted, given, strict=True))
        return [by_operand.get(k, missing) for k in self._source.floats]

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        found = self._saved
        if found is None:
            raise RuntimeError(FREED)
        vjp = self.vjp
        arrived = [self._arrived(cotangents, k) for k in vjp.cotangents]
        if vjp.only_passes:
            return [cotangents[p] for p in vjp.passes]  # type: ignore[index]
        if mode.grad:
            return self._differentiably(found, arrived)
        values = []
        for value, version, expected in found:
            if version.value != expected:
                self._raise_modified(value, version, expected)
            values.append(value)
        for g in arrived:
            values.append(g._array)
        return vjp_results(vjp, values, cotangents)

    def _arrived(self, cotangents: Gradients, k: int) -> Tensor:
        """The cotangent of result k: zeros where only those of others arrived."""
        found = cotangents[k]
        if found is None:
            assert self._results is not None
            shape, kind = self._results[k]
            found = cotangents[k] = wrap(np.zeros(shape, kind.dtype.numpy), kind)
        return found

    def _differentiably(
        self, found: list[Saved], arrived: Sequence[Tensor]
    ) -> Sequence[Tensor | None]:
        from .operation import call_kernel

        vjp = self.vjp
        values: list[Any] = []
        for (value, version, expected), (what, k, kind) in zip(found, vjp.saves, strict=True):
            if version.value != expected:
                self._raise_modified(value, version, expected)
            if what == "s" or not isinstance(value, np.ndarray):
                values.append(value)
                continue
            edge: Edge = (None, 0)
            if what == "y":
                edge = (self, k)
            elif k in vjp.wanted:
                edge = self.edges[vjp.wanted.index(k)]
            values.append(with_history(value, kind, version, edge))
        given = dict(zip(vjp.cotangents, arrived, strict=True))
        computed = iter(call_kernel(vjp, [*values, *given.values()], KernelBackward))
        return [next(computed) if p is None else given[p] for p in vjp.passes]

    def release(self) -> None:
        if self.vjp.keeps_values:
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
            for (value, _, _), (what, k, _) in zip(self._saved or (), self.vjp.saves, strict=False)
            if what != "s"
        ]

    def _raise_modified(self, value: Array, version: Version, expected: int) -> NoReturn:
        what, k, kind = next(
            need
            for need, s in zip(self.vjp.saves, self._saved or (), strict=True)
            if s[0] is value
        )
        made, output = None, 0
        if what == "y":
            made, output = self.name(), k
        elif k in self.vjp.wanted:
            node, output = self.edges[self.vjp.wanted.index(k)]
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


_TYPES = {
    "float32": "FloatTensor", "float64": "DoubleTensor", "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor", "int64": "LongTensor", "int32": "IntTensor",
    "int16": "ShortTensor", "int8": "CharTensor", "uint8": "ByteTensor", "bool": "BoolTensor",
}  # fmt: skip


def type_name(kind: Kind) -> str:
    """`tdsl.FloatTensor`: PyTorch's old name of a dtype."""
    return f"tdsl.{_TYPES[kind.dtype.name]}"


def vjp_results(vjp: Kernel, values: list[Any], cotangents: Gradients) -> list[Tensor | None]:
    """The gradients that `vjp` gives for arrays, without history."""
    out = vjp.native(*values)
    if out is None:
        from .operation import contiguous

        out = vjp.native(*[contiguous(v) for v in values])
        if out is None:
            raise RuntimeError("the gradient of an operation does not fit its result")
    kinds = vjp.kinds
    if len(vjp.passes) == 1:  # not a pass: there is something to compute
        return [wrap(out[0], kinds[0])]
    computed = iter([wrap(o, k) for o, k in zip(out, kinds, strict=True)])
    return [next(computed) if p is None else cotangents[p] for p in vjp.passes]


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
    if not kernel.differentiable and not any(k.dtype.is_floating_point for k in kernel.kinds):
        return
    vjp = kernel.vjp(positions)
    node = _new(step)
    node.edges = [edge_of(operands[k]) for k in positions]
    node.sequence = next(sequence)
    node.hooks = node.notes = None
    node.vjp = vjp
    kept: list[Saved] = []
    for what, k, _ in vjp.saves:
        if what == "x":
            x = operands[k]
            kept.append(saved(x) if isinstance(x, TensorBase) else (x, UNWRITTEN, 0))  # type: ignore[arg-type]
        elif what == "y":
            kept.append(saved(results[k]))
        else:
            kept.append((sizes_only(np.shape(_values(operands[k]))), UNWRITTEN, 0))
    node._saved = kept
    if anomaly.enabled:
        remember_place(node)
    if kernel.differentiable:
        r = results[0]
        r._requires_grad, r._grad_fn = True, node
        node._results = None
        return
    node._results = tuple([(r._array.shape, r._kind) for r in results])
    for k, r in enumerate(results):
        if r._kind.dtype.is_floating_point:
            r._requires_grad, r._grad_fn, r._output_nr = True, node, k


def _values(operand: Any) -> Any:
    return operand._array if isinstance(operand, TensorBase) else operand
