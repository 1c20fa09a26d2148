"""Call sites: for operands of certain kinds, the kernels that were compiled for them.

In: an application of a row, and arrays. Out: the results of the first kernel whose pattern of sizes
the arrays have; where there is none, one is compiled, or the row's refusal raised as PyTorch's
kind of exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import dtype as dt
from .kernels import Kernel, contiguous
from .row_graphs import (
    Application,
    Labels,
    assignments,
    broadcast_labels,
    first_accepted,
    graph_of,
)

NUMBERS = (bool, int, float)


class Site:
    """Operands of certain kinds with certain static arguments: the kernels compiled for them, the
    last one used first."""

    __slots__ = ("application", "broadcasts", "kernel", "kernels", "native")

    def __init__(self, application: Application, broadcasts: bool) -> None:
        self.application = application
        self.broadcasts = broadcasts
        self.kernels: list[Kernel] = []
        self.kernel: Kernel = _NONE
        self.native: Callable[..., Any] = _refuse

    def run(self, arrays: Sequence[Any]) -> Any:
        """The results for operands that the first kernel refused."""
        ready = [
            int(a) if type(a) is bool and o.dtype is not dt.bool_ else contiguous(a)
            for a, o in zip(arrays, self.application.operands(), strict=True)
        ]
        for k, kernel in enumerate(self.kernels):
            found = kernel.native(*ready)
            if found is not None:
                self.kernels.insert(0, self.kernels.pop(k))
                self.kernel, self.native = kernel, kernel.native
                return found
        kernel = self._compiled([np.shape(a) for a in ready])
        found = kernel.native(*ready)
        if found is None:
            raise RuntimeError(self._why(ready))
        self.kernels.insert(0, kernel)
        self.kernel, self.native = kernel, kernel.native
        return found

    def _compiled(self, shapes: list[tuple[int, ...]]) -> Kernel:
        """A kernel for a pattern that these sizes have. Raises the error of the row if there is
        none."""
        from ...compiler.index_lambda import OpError

        application = self.application
        if self.broadcasts:
            labels = broadcast_labels(shapes)
            if labels is None:
                raise RuntimeError(no_broadcast(shapes))
            return self._kernel(labels)
        try:
            graph_of(application, tuple(shapes))  # says what is wrong in terms of the sizes
        except OpError as error:
            raise translated(error, application.row) from None
        found = first_accepted(assignments(shapes), lambda ls: graph_of(application, ls))
        assert found is not None, "the sizes themselves were accepted"
        return self._kernel(found[0])

    def _kernel(self, labels: Labels) -> Kernel:
        from ...compiler.index_lambda import OpError

        application = self.application
        text = application.text(labels)

        def graph() -> Any:
            try:
                return graph_of(application, labels)
            except OpError as error:
                raise translated(error, application.row) from None

        return Kernel(text, graph)

    def _why(self, arrays: Sequence[Any]) -> str:
        for o, a in zip(self.application.operands(), arrays, strict=True):
            if isinstance(a, NUMBERS):
                return f"value cannot be converted to type {o.dtype} without overflow: {a!r}"
        shapes = " and ".join(str(list(np.shape(a))) for a in arrays)
        return f"{self.application.row}: sizes {shapes} do not fit together"


def _refuse(*arrays: Any) -> None:
    return None


_NONE = Kernel("", lambda: None)  # type: ignore[arg-type, return-value]


def no_broadcast(shapes: Sequence[tuple[int, ...]]) -> str:
    """PyTorch's sentence about sizes that do not broadcast."""
    rank = max(map(len, shapes))
    sizes, seen = [1] * rank, [0] * rank
    for n, s in enumerate(shapes):
        for k, size in enumerate(s, rank - len(s)):
            if size != 1:
                if sizes[k] not in (1, size):
                    a, b = chr(ord("a") + seen[k]), chr(ord("a") + n)
                    listing = " and ".join(str(list(s)) for s in shapes)
                    return (
                        f"The size of tensor {a} ({sizes[k]}) must match the size of tensor {b} "
                        f"({size}) at non-singleton dimension {k} (shapes {listing})"
                    )
                sizes[k], seen[k] = size, n
    raise AssertionError("they broadcast")


def translated(error: Any, row: str) -> Exception:
    """PyTorch's kind of exception for a row's refusal."""
    if error.code == "E0502":
        return IndexError(f"Dimension out of range: {error.message}")
    hint = f" ({error.hint})" if error.hint else ""
    return RuntimeError(f"{row}: {error.message}{hint}")
