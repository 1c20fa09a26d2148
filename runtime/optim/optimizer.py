"""What optimizers share: groups of parameters with settings, a state for every parameter.

In: parameters and settings. Out: parameters that `step` has changed in place. A state dict numbers
the parameters in the order of the groups, as PyTorch's does.
"""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..nn.module import forget_gradient
from ..tensor.core import TensorBase
from ..tensor.modes import enable_grad

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

Group = dict[str, Any]


class Optimizer:
    """Base of optimizers. A subclass defines `_update(p, gradient, group, state)`, the step of one
    parameter; or `step`."""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, TensorBase):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {params.type()}"  # type: ignore[attr-defined]
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with settings of their own. Raises TypeError for what is no Tensor,
        ValueError for a Tensor that is no leaf or is there already."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        held = [params] if isinstance(params, TensorBase) else list(params)
        for p in held:
            if not isinstance(p, TensorBase):
                raise TypeError(
                    "optimizer can only optimize Tensors, but one of the params is "
                    f"{type(p).__name__}"
                )
            if not (p.is_leaf or p.retains_grad):  # type: ignore[attr-defined]
                raise ValueError("can't optimize a non-leaf Tensor")
        if len({id(p) for p in held}) != len(held):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters", stacklevel=3
            )
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if known & {id(p) for p in held}:
            raise ValueError("some parameters appear in more than one parameter group")
        param_group["params"] = held
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        self.param_groups.append(param_group)

    # ----------------------------------------------------------------------- steps

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or make them 0."""
        for group in self.param_groups:
            for p in group["params"]:
                forget_gradient(p, set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient. `closure` computes the loss and the
        gradients anew; its result is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                gradient = p.grad
                if gradient is not None:
                    self._update(p, gradient, group, self.state)
        return loss

    def _update(
        self, p: Tensor, gradient: Tensor, group: Group, state: defaultdict[Any, dict[str, Any]]
    ) -> None:
        raise NotImplementedError

    # ----------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """The state by the parameters' numbers, and the groups with numbers for parameters."""
        numbers = {id(p): k for k, p in enumerate(self._parameters())}
        return {
            "state": {numbers.get(id(p), p): dict(held) for p, held in self.state.items()},
            "param_groups": [
                {
                    **{name: value for name, value in group.items() if name != "params"},
                    "params": [numbers[id(p)] for p in group["params"]],
                }
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state and settings. Raises ValueError where the groups differ in size."""
        groups = copy.deepcopy(state_dict["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(
            len(new["params"]) != len(old["params"])
            for new, old in zip(groups, self.param_groups, strict=True)
        ):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        numbers = [n for group in groups for n in group["params"]]
        by_number = dict(zip(numbers, self._parameters(), strict=True))
        self.state = defaultdict(dict)
        for number, held in state_dict["state"].items():
            p = by_number.get(number)
            self.state[number if p is None else p] = {
                name: _of_parameter(name, value, p) for name, value in held.items()
            }
        for new, old in zip(groups, self.param_groups, strict=True):
            new["params"] = old["params"]
        self.param_groups = groups

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


def _of_parameter(name: str, value: Any, p: Tensor | None) -> Any:
    """A copy of a value of the state, in its parameter's dtype; counts of steps keep theirs."""
    if not isinstance(value, TensorBase):
        return copy.deepcopy(value)
    own: Any = value
    copied = own.detach().clone()
    return copied if p is None or name == "step" else copied.to(p.dtype)


def check_setting(condition: bool, what: str, value: Any) -> None:
    """Raise ValueError unless a setting may be what it is."""
    if not condition:
        raise ValueError(f"Invalid {what}: {value}")


def refuse_differentiable(differentiable: bool) -> None:
    """Steps are not recorded."""
    if differentiable:
        raise NotImplementedError("tdsl's optimizers are not differentiable")
