"""Parameters: Tensors that a Module finds among its attributes."""

from __future__ import annotations

from typing import Any

from ..tensor import core
from ..tensor.creation import empty
from ..tensor.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that is learnt: `Parameter(data)` shares `data`'s memory and requires grad.

    Raises RuntimeError where `requires_grad` meets a dtype without gradients.
    """

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        source = empty(0) if data is None else data.detach()
        made: Parameter = object.__new__(cls)
        core.initialize(made, source._array, source._kind)
        made._counter = core.counter(source)
        made.requires_grad = requires_grad
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return "Parameter containing:\n" + super().__repr__()

    __str__ = __repr__  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return found

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self.detach(), self.requires_grad)
