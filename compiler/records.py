"""Dataclasses that are cheap to define.

In: a class with annotated fields. Out: the class as `dataclasses.dataclass` makes it, for the
options that are used here; `fields`, `replace`, `asdict` and `match` take it for one. The standard
decorator writes and compiles the text of six methods for every class when its module is imported:
measured, 0.6 ms a class, half of what it took to import the compiler. Here, all that needs no text
of its own is a closure, and `__init__`, which is called often and has to be fast, is a copy, made
when a class is first called, of code that is compiled once for all classes with such fields. Left
to the type checker, for which this is the standard decorator: all complaints about wrong
definitions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, field
from functools import cache
from operator import attrgetter
from reprlib import recursive_repr
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "field"]

_FIELDS = "__dataclass_fields__"
_OWN_FIELD: Any = vars(dataclasses).get("_FIELD")  # for `dataclasses.fields`: not a ClassVar's


def _dataclass(
    cls: Any = None,
    *,
    frozen: bool = False,
    eq: bool = True,
    repr: bool = True,
    slots: bool = False,
    weakref_slot: bool = False,
) -> Any:
    """The class with its methods; those that it defines itself stay."""
    if cls is None:
        return lambda c: _dataclass(
            c, frozen=frozen, eq=eq, repr=repr, slots=slots, weakref_slot=weakref_slot
        )
    fields = _fields(cls)
    cls.__dataclass_fields__ = fields
    _add(cls, "__match_args__", tuple(f.name for f in fields.values() if not f.kw_only))
    if repr:
        _add(cls, "__repr__", _repr)
    if eq:
        _add_comparison(cls, frozen)
    if slots:
        cls = _with_slots(cls, weakref_slot, frozen)
    if frozen:
        _add_refusal(cls)
    _add_first_call(cls, frozen)
    return cls


if TYPE_CHECKING or _OWN_FIELD is None:  # a Python whose dataclasses are laid out otherwise
    from dataclasses import dataclass as dataclass
else:
    dataclass = _dataclass


def _add(cls: Any, name: str, value: Any) -> None:
    if name not in cls.__dict__:
        setattr(cls, name, value)


def _fields(cls: Any) -> dict[str, Field[Any]]:
    """The fields by name, those of the bases first."""
    out: dict[str, Field[Any]] = {}
    for base in cls.__mro__[-1:0:-1]:
        out.update(base.__dict__.get(_FIELDS, {}))
    for name, annotation in cls.__annotations__.items():
        if str(annotation).startswith("ClassVar"):
            continue
        default = cls.__dict__.get(name, MISSING)
        made: Any = default if isinstance(default, Field) else field(default=default)
        if made is default:
            if made.default is MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, made.default)
        made.name, made.type, made._field_type = name, annotation, _OWN_FIELD
        made.kw_only = made.kw_only is True
        out[name] = made
    return out


# --------------------------------------------------------------------------- methods


@recursive_repr()
def _repr(self: Any) -> str:
    fields = self.__dataclass_fields__.values()
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _add_comparison(cls: Any, frozen: bool) -> None:
    """Two are equal if they are of the same class and have equal fields."""
    values = _values([f.name for f in cls.__dataclass_fields__.values() if f.compare])

    def equal(self: Any, other: object) -> Any:
        if other.__class__ is self.__class__:
            return values(self) == values(other)
        return NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    own = cls.__dict__.get("__hash__", MISSING)  # None, too, beside an `__eq__` of the class
    if own is MISSING or (own is None and "__eq__" in cls.__dict__):
        cls.__hash__ = hashed if frozen else None
    _add(cls, "__eq__", equal)


def _values(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda self: ()
    get = attrgetter(*names)  # of one name, its value, not a tuple of it
    return get if len(names) > 1 else lambda self: (get(self),)


def _add_refusal(cls: Any) -> None:
    names = frozenset(cls.__dataclass_fields__)

    def refuse(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def refuse_to_delete(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    cls.__setattr__ = refuse
    cls.__delattr__ = refuse_to_delete


def _with_slots(cls: Any, weakref_slot: bool, frozen: bool) -> Any:
    """The class anew, as slots are laid out with it."""
    names = list(cls.__dataclass_fields__)
    inherited = {s for base in cls.__mro__[1:-1] for s in base.__dict__.get("__slots__", ())}
    slots = [*names, "__weakref__"] if weakref_slot else names
    content = {
        k: v for k, v in cls.__dict__.items() if k not in (*names, "__dict__", "__weakref__")
    }
    content["__slots__"] = tuple(s for s in slots if s not in inherited)
    if frozen:  # the usual ones would assign

        def state_of(self: Any) -> list[Any]:
            return [getattr(self, name) for name in names]

        def restore(self: Any, state: list[Any]) -> None:
            for name, value in zip(names, state, strict=True):
                object.__setattr__(self, name, value)

        content.setdefault("__getstate__", state_of)
        content.setdefault("__setstate__", restore)
    made = type(cls)(cls.__name__, cls.__bases__, content)
    made.__qualname__ = cls.__qualname__
    return made


# --------------------------------------------------------------------------- __init__


def _add_first_call(cls: Any, frozen: bool) -> None:
    """An `__init__` that puts the real one in its place."""

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        made = _initializer(cls, frozen)
        cls.__init__ = made
        made(self, *args, **kwargs)

    _add(cls, "__init__", first)


def _initializer(cls: Any, frozen: bool) -> Callable[..., None]:
    """A copy of the code for fields of these kinds, with the names of this class."""
    fields = list(cls.__dataclass_fields__.values())
    kinds = tuple((_kind(f), bool(f.kw_only)) for f in fields)
    code = _template(kinds, frozen, hasattr(cls, "__post_init__"))
    names = {f"_{k}": f.name for k, f in enumerate(fields)}
    code = code.replace(
        co_varnames=tuple(names.get(x, x) for x in code.co_varnames),
        co_names=tuple(names.get(x, x) for x in code.co_names),
        co_consts=tuple(names.get(x, x) if type(x) is str else x for x in code.co_consts),
    )
    known: dict[str, Any] = {"_set": object.__setattr__, "_absent": MISSING}
    known |= {f"_make_{k}": f.default_factory for k, f in enumerate(fields)}
    made = FunctionType(code, known)
    optional = [f for f in fields if _kind(f) != "plain"]
    made.__defaults__ = tuple(f.default for f in optional if not f.kw_only)
    made.__kwdefaults__ = {f.name: f.default for f in optional if f.kw_only}
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _kind(f: Any) -> str:
    if f.default_factory is not MISSING:
        return "made"
    return "plain" if f.default is MISSING else "given"


@cache
def _template(kinds: tuple[tuple[str, bool], ...], frozen: bool, has_more: bool) -> CodeType:
    """The code for fields `_0`, `_1`, …: compiled once, as that takes longest."""
    lines: list[str] = []
    usual, named = ["self"], list[str]()
    for k, (kind, by_name) in enumerate(kinds):
        value = f"_make_{k}() if _{k} is _absent else _{k}" if kind == "made" else f"_{k}"
        lines.append(f"_set(self, '_{k}', {value})" if frozen else f"self._{k} = {value}")
        (named if by_name else usual).append(f"_{k}" if kind == "plain" else f"_{k}=None")
    if has_more:
        lines.append("self.__post_init__()")
    head = ", ".join([*usual, *(["*", *named] if named else [])])
    found: dict[str, Any] = {}
    exec("\n    ".join([f"def __init__({head}):", *(lines or ["pass"])]), found)  # of numbers only
    code: CodeType = found["__init__"].__code__
    return code
