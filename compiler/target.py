"""What differs between machines, as the emitter asks for it.

In: nothing (a protocol). Out: `Target`. Left to others: each of them (`target_cpu`, `target_cuda`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from . import ir
from .loops import Buffer, Loop, Nest
from .tile import Registers

if TYPE_CHECKING:
    from .frame import Frame


class Target(Protocol):
    """All that differs between machines."""

    @property
    def registers(self) -> Registers:
        """What tiles are made for."""

    def kernel(self, module: ir.Module, nest: Nest) -> ir.Function:
        """Declare the function of a nest."""

    def ranges(self, function: ir.Function, nest: Nest) -> Mapping[int, tuple[ir.Value, ir.Value]]:
        """The first and one past the last value of every ranged index."""

    def size(self, frame: Frame, name: str) -> ir.Value:
        """The i64 value of a named dim, at the start of the function."""

    def pointer(self, frame: Frame, buffer: Buffer) -> ir.Value:
        """The start of a buffer."""

    def output_loops(self, frame: Frame, loops: Sequence[Loop], body: Callable[[], None]) -> None:
        """Run `body` for every tile of the output."""

    def reduced_loop(
        self,
        frame: Frame,
        loop: Loop,
        carried: Sequence[ir.Value],
        body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
    ) -> Sequence[ir.Value]:
        """Run a loop of a reduction; of a PARALLEL one, this thread's part."""

    def joined(
        self,
        frame: Frame,
        loops: Sequence[Loop],
        state: list[ir.Value],
        merge: Callable[[list[ir.Value], list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """What all threads that share `loops` have accumulated, in every one of them."""

    def store(self, frame: Frame, write: Callable[[], None]) -> None:
        """Let one thread `write` the results of a tile."""

    def fail(self, frame: Frame, check: int, axis: int, index: ir.Value, size: ir.Value) -> None:
        """Report an index out of range and leave the function (ends the block)."""

    def finish(self, frame: Frame) -> None:
        """Return from the function."""
