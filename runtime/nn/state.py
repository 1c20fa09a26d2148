"""The state of a tree of Modules: its parameters and persistent buffers under their dotted names.

In: a Module, perhaps a state. Out: a state, or what did not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tensor.core import TensorBase
from ..tensor.modes import no_grad

if TYPE_CHECKING:
    from .module import Module


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it found besides."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys!r}, "
            f"unexpected_keys={self.unexpected_keys!r})"
        )

    def __str__(self) -> str:
        return repr(self)


def _entries(module: Module, prefix: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(dotted name, the table it stands in, its name there); one Module in two places has its
    entries in both."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield prefix + name, module._parameters, name
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield prefix + name, module._buffers, name
    for name, child in module._modules.items():
        if child is not None:
            yield from _entries(child, f"{prefix}{name}.")


def state_of(
    module: Module, destination: dict[str, Any], prefix: str, keep_vars: bool
) -> dict[str, Any]:
    """The entries, added to `destination`."""
    for key, table, name in _entries(module, prefix):
        value = table[name]
        destination[key] = value if keep_vars else value.detach()
    return destination


def load_state(
    module: Module, state: Mapping[str, Any], strict: bool, assign: bool
) -> IncompatibleKeys:
    """Write a state's values into the entries of the same names."""
    if not isinstance(state, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state)}.")
    missing: list[str] = []
    errors: list[str] = []
    known: set[str] = set()
    with no_grad():
        for key, table, name in _entries(module, ""):
            known.add(key)
            if key not in state:
                missing.append(key)
            elif problem := _put(table, name, key, state[key], assign):
                errors.append(problem)
    unexpected = [key for key in state if key not in known]
    if strict:
        if missing:
            errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if unexpected:
            errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
    if errors:
        lines = "\n\t".join(errors)
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{lines}"
        )
    return IncompatibleKeys(missing, unexpected)


def _put(table: dict[str, Any], name: str, key: str, value: Any, assign: bool) -> str | None:
    """Write one entry; what is wrong with it."""
    from .parameter import Parameter

    held = table[name]
    if not isinstance(value, TensorBase):
        return (
            f'While copying the parameter named "{key}", expected tdsl.Tensor or Tensor-like '
            f"object from checkpoint but received {type(value)}"
        )
    if value._array.shape != held._array.shape:
        return (
            f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "  # type: ignore[attr-defined]
            f"the shape in current model is {held.shape}."
        )
    if not assign:
        held.copy_(value)
    elif isinstance(held, Parameter) and not isinstance(value, Parameter):
        table[name] = Parameter(value, held.requires_grad)  # type: ignore[arg-type]
    else:
        table[name] = value
    return None


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{k}"' for k in keys)
