"""Windows that slide along the last dims of a tensor: what convolution and pooling read.

`kernel_size`, `stride`, `padding` and `dilation` are one number or one for each spatial dim. A
window's element k of output position o stands at `o*stride + k*dilation - padding`: an affine
read, so that gradients are gathers over the same windows.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import scalar as sc
from .dims import Dim
from .index_lambda import IndexLambda, OpError
from .op_arguments import Window
from .records import dataclass
from .scalar import Scalar


def each_of(value: Window, rank: int, what: str) -> tuple[int, ...]:
    out = (value,) * rank if isinstance(value, int) else value
    if len(out) == 1:
        out *= rank
    if len(out) != rank:
        raise OpError("E0503", f"{what} takes one number or {rank}, got {value}")
    return out


@dataclass(frozen=True)
class Axis:
    """One spatial dim of size `size`: windows of `kernel` elements, `dilation` apart; window
    o's first element stands at `o*stride - before`."""

    size: Dim
    kernel: Dim
    stride: int
    dilation: int
    before: Dim
    after: Dim

    @property
    def windows(self) -> Dim:
        """⌊(size + padding - extent) / stride⌋ + 1."""
        reach = (self.kernel - 1) * self.dilation + 1
        return (self.size + self.before + self.after - reach) // self.stride + 1

    def position(self, window: Scalar, element: Scalar) -> Scalar:
        start = sc.op("mul", sc.size(self.stride), window)
        step = sc.op("mul", sc.size(self.dilation), element)
        return sc.op("sub", sc.op("add", start, step), sc.size(self.before))


def inside(axes: Sequence[Axis], at: Sequence[Scalar]) -> Scalar | None:
    """Whether a position is no padding; None where there is none."""
    out: Scalar | None = None
    for axis, position in zip(axes, at, strict=True):
        tests = []
        if axis.before.const != 0:
            tests.append(sc.op("ge", position, sc.size(0)))
        if axis.after.const != 0:
            tests.append(sc.op("lt", position, sc.size(axis.size)))
        for test in tests:
            out = test if out is None else sc.op("and", out, test)
    return out


def read_at(x: IndexLambda, lead: Sequence[Scalar], at: Sequence[Scalar]) -> Scalar:
    return sc.substitute_indices(x.body, dict(enumerate([*lead, *at])))


def padded(value: Scalar, inside: Scalar | None, outside: Scalar) -> Scalar:
    return value if inside is None else sc.op("where", inside, value, outside)


def check_least(what: str, values: Sequence[int], least: int = 1) -> None:
    if any(v < least for v in values):
        raise OpError("E0503", f"{what} is at least {least}, got {tuple(values)}")
