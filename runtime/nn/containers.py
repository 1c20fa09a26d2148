"""Modules that hold others, or parameters, by number or by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from .module import Module, indented
from .parameter import Parameter


def _position(index: Any, length: int) -> int:
    """An index as a position from 0. Raises IndexError outside the range."""
    at = operator.index(index)
    if not -length <= at < length:
        raise IndexError(f"index {at} is out of range")
    return at % length


class _Numbered(Module):
    """Children under the names "0", "1", …"""

    def _named_as(self, children: Iterable[Module]) -> None:
        self.__dict__["_modules"] = {}
        for k, child in enumerate(children):
            self.add_module(str(k), child)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __getitem__(self, index: Any) -> Any:
        children = list(self._modules.values())
        if isinstance(index, slice):
            return self._like(list(self._modules.items())[index])
        return children[_position(index, len(children))]

    def _like(self, items: list[tuple[str, Any]]) -> Module:
        raise NotImplementedError

    def __setitem__(self, index: Any, module: Module) -> None:
        names = list(self._modules)
        setattr(self, names[_position(index, len(names))], module)

    def __delitem__(self, index: Any) -> None:
        kept = list(self._modules.values())
        if isinstance(index, slice):
            del kept[index]
        else:
            del kept[_position(index, len(kept))]
        self._named_as(kept)  # type: ignore[arg-type]

    def append(self, module: Module) -> Self:
        """Add a child at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add children at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Add a child before the one at `index`."""
        children: list[Any] = list(self._modules.values())
        children.insert(index, module)
        self._named_as(children)
        return self

    def pop(self, key: Any) -> Module:
        """Take a child out."""
        found: Module = self[key]
        del self[key]
        return found


class Sequential(_Numbered):
    """Modules one after another: `Sequential(a, b)`, or with names `Sequential({"x": a})`."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for k, module in enumerate(args):
                self.add_module(str(k), module)

    def forward(self, input: Any) -> Any:
        """The last one's result of the one's before it …"""
        for module in self._modules.values():
            input = module(input)
        return input

    def _like(self, items: list[tuple[str, Any]]) -> Sequential:
        return Sequential(dict(items))

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other)} is given."
            )
        return Sequential(*self, *other)


class ModuleList(_Numbered):
    """A list whose Modules belong to the tree."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _like(self, items: list[tuple[str, Any]]) -> ModuleList:
        return ModuleList([module for _, module in items])

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def _child_lines(self) -> Iterator[str]:
        """Equal neighbours share a line: `(0-2): 3 x ReLU()`."""
        texts = [repr(child) for child in self._modules.values()]
        start = 0
        for k in range(1, len(texts) + 1):
            if k == len(texts) or texts[k] != texts[start]:
                text, count = indented(texts[start]), k - start
                yield (
                    f"({start}): {text}" if count == 1
                    else f"({start}-{k - 1}): {count} x {text}"
                )  # fmt: skip
                start = k

    def insert(self, index: int, module: Module) -> None:
        """Add a child before the one at `index`."""
        super().insert(index, module)


class ModuleDict(Module):
    """A dict whose Modules belong to the tree."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and Modules."""
        return self._modules.items()

    def values(self) -> Iterable[Any]:
        """The Modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Set those of a mapping, or of pairs."""
        pairs = modules.items() if isinstance(modules, Mapping | ModuleDict) else modules
        for name, module in pairs:
            self[name] = module

    def pop(self, key: str) -> Any:
        """Take one out."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Take all out."""
        self._modules.clear()


def _as_parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)


def _parameter_line(name: str, p: Parameter) -> str:
    return f"({name}): Parameter containing: [{p.dtype} of size {'x'.join(map(str, p.shape))}]"


class ParameterList(Module):
    """A list of parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: Any) -> Any:
        found = list(self._parameters.values())
        if isinstance(index, slice):
            return ParameterList(found[index])
        return found[_position(index, len(found))]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._parameters[str(_position(index, len(self)))] = _as_parameter(value)

    def append(self, value: Any) -> Self:
        """Add a parameter at the end; a Tensor becomes one."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add parameters at the end."""
        for value in values:
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def _child_lines(self) -> Iterator[str]:
        for name, p in self._parameters.items():
            if p is not None:
                yield _parameter_line(name, p)


class ParameterDict(Module):
    """A dict of parameters."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        return self._parameters[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: object) -> bool:
        return key in self._parameters

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._parameters.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and parameters."""
        return self._parameters.items()

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return self._parameters.values()

    def update(self, parameters: Any) -> None:
        """Set those of a mapping, or of pairs."""
        pairs = (
            parameters.items() if isinstance(parameters, Mapping | ParameterDict) else parameters
        )
        for name, value in pairs:
            self[name] = value

    def _child_lines(self) -> Iterator[str]:
        for name, p in self._parameters.items():
            if p is not None:
                yield _parameter_line(name, p)
