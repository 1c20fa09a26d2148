"""Arguments that the native entry refused: converted where nothing is lost, else explained.

In: a signature and the arguments of one call. Out: one NumPy array or Python number per
parameter that the native entry accepts; or an error that names the function, the parameter, what
was expected and what came. Lists and Python numbers are weak: they take the parameter's dtype
where their values fit. Arrays are converted only where NumPy calls that safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..compiler.binding import Bind, Equal, bind
from ..compiler.dtypes import BF16, STRONG, DType
from ..compiler.records import dataclass
from ..dsl.suggest import did_you_mean
from .signature import Signature, Value

_DTYPES = {d.name: np.dtype(d.numpy) for d in STRONG}


class CallError(Exception):
    """A call's arguments do not fit the function."""


class ArgumentTypeError(CallError, TypeError):
    """Wrong count, name or kind of argument, or a dtype that would lose values."""


class ArgumentValueError(CallError, ValueError):
    """Wrong rank or size, or sizes that contradict each other."""


class OutOfRangeError(CallError, IndexError):
    """An index read from data lies outside the dim that it indexes."""


def convert(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """One array per parameter, of the right dtype, rank and layout. Sizes are left to the native
    entry, and to `check_sizes` when that refuses them.

    Raises ArgumentTypeError and ArgumentValueError.
    """
    given = match_names(signature, args, kwargs)
    return [_converted(signature, p, v) for p, v in zip(signature.params, given, strict=True)]


# --------------------------------------------------------------------------- count and names


def match_names(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments in the parameters' order."""
    if not kwargs and len(args) == len(signature.params):
        return list(args)
    names = [p.name for p in signature.params]
    if len(args) > len(names):
        raise ArgumentTypeError(
            f"{signature.name}() takes {_count(len(names), 'argument')} but {len(args)} were "
            f"given: {signature}"
        )
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names:
            near = did_you_mean(name, names)
            hint = f"; did you mean {near!r}?" if near else f": {signature}"
            raise ArgumentTypeError(f"{signature.name}() has no parameter {name!r}{hint}")
        if name in given:
            raise ArgumentTypeError(f"{signature.name}() got two values for {name!r}")
        given[name] = value
    missing = [n for n in names if n not in given]
    if missing:
        raise ArgumentTypeError(
            f"{signature.name}() lacks {_count(len(missing), 'argument')} "
            f"({', '.join(missing)}): {signature}"
        )
    return [given[n] for n in names]


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


# --------------------------------------------------------------------------- one argument


@dataclass(frozen=True)
class _Place:
    """Where an argument goes; its text begins every message about it."""

    signature: Signature
    parameter: Value

    def __str__(self) -> str:
        p = self.parameter
        return f"{self.signature.name}(): {p.name} must be {p.type_text}"


def _converted(signature: Signature, p: Value, value: Any) -> Any:
    if type(value) is np.ndarray and value.dtype is _DTYPES[p.dtype.name]:
        flags = value.flags
        if value.ndim == len(p.shape) and flags.c_contiguous and flags.aligned:
            return value  # some other argument needs converting
    where = _Place(signature, p)
    if isinstance(value, bool | int | float) and not isinstance(value, np.generic):
        if p.shape:
            raise ArgumentValueError(f"{where}, not the number {_shown(value)}")
        return _number(where, p.dtype, value)
    weak = isinstance(value, list | tuple)
    array = _as_array(where, value)
    if array.ndim != len(p.shape):
        raise ArgumentValueError(
            f"{where} ({_rank(len(p.shape))}), not {_described(array)} ({_rank(array.ndim)})"
        )
    if weak and _only_python_numbers(value):
        array = _weak(where, p.dtype, array)
    else:
        array = _strong(where, p, array)
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = array.copy(order="C")
    want = _DTYPES[p.dtype.name]
    if array.dtype is not want:
        array = array.view(want)  # an equal dtype, but another object
    return array if type(array) is np.ndarray else array.view(np.ndarray)


def _rank(n: int) -> str:
    return "a scalar" if n == 0 else f"rank {n}"


def _described(array: np.ndarray[Any, Any]) -> str:
    kind = f"{array.dtype.name} array" if array.ndim else f"{array.dtype.name} scalar"
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{article} {kind}" + (f" of shape {array.shape}" if array.ndim else "")


def _number(where: _Place, dtype: DType, value: bool | int | float) -> Any:
    """A Python number as a 0-d array: `True` counts as 1; nothing else changes kind."""
    if dtype.is_bool and not isinstance(value, bool):
        raise ArgumentTypeError(f"{where}, not {_shown(value)}")
    if dtype.is_integer and isinstance(value, float):
        raise ArgumentTypeError(f"{where}, not the float {value!r}; write `int({value!r})`")
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        if not info.min <= value <= info.max:
            raise ArgumentValueError(
                f"{where}, whose values are {info.min} … {info.max}; {_shown(value)} is outside"
            )
    try:
        return _cast(np.asarray(float(value) if dtype.is_float else value), dtype)
    except OverflowError:
        raise ArgumentValueError(f"{where}, and {_shown(value)} does not fit") from None


def _shown(value: bool | int | float) -> str:
    """A number as text; a giant one by its length (Python refuses to print it)."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


def _cast(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    if dtype is not BF16:
        with np.errstate(over="ignore"):
            return array.astype(dtype.numpy)
    bits = array.astype(np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(array), np.uint32(0x7FC0), rounded).astype(np.uint16)


def _as_array(where: _Place, value: Any) -> np.ndarray[Any, Any]:
    """Anything array-like, without copying where it offers a buffer."""
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentTypeError(
            f"{where}, not a masked array; fill it first (`.filled(0)`) or pass `.data`"
        )
    if value is None or isinstance(value, str | bytes | dict | set | complex):
        shown = "None" if value is None else f"a {type(value).__name__}"
        raise ArgumentTypeError(f"{where}, not {shown}")
    try:
        array = _exchanged(where, value) if _from_elsewhere(value) else np.asarray(value)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        if isinstance(value, list | tuple):
            raise ArgumentValueError(f"{where}, not a ragged nested list") from None
        raise ArgumentTypeError(
            f"{where}; this {type(value).__name__} cannot be read as an array: {error}"
        ) from None
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        if isinstance(value, list | tuple) and array.size == 0:
            return array
        raise ArgumentTypeError(f"{where}, not {_held(value, array)}")
    return array


def _from_elsewhere(value: Any) -> bool:
    """Whether another library's tensor offers its memory by DLPack."""
    return hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic)


def _exchanged(where: _Place, value: Any) -> np.ndarray[Any, Any]:
    """Another library's tensor, without copying. NumPy has no bfloat16: a parameter of that type
    takes the bits, any other the values as float32."""
    from .dlpack import array_from_capsule, capsule_from

    array, bfloat16 = array_from_capsule(capsule_from(value))
    if bfloat16 and where.parameter.dtype is not BF16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array


def _held(value: Any, array: np.ndarray[Any, Any]) -> str:
    """What an array-like holds instead of numbers."""
    if isinstance(value, list | tuple):
        odd = next((v for v in array.flat if not isinstance(v, bool | int | float | np.number)), 0)
        if isinstance(odd, int):
            return "a nested list with an integer of more than 64 bits"
        kind = str if isinstance(odd, str) else type(odd)  # NumPy has strings of its own
        return f"a nested list with {'None' if odd is None else _a(kind.__name__)} in it"
    if not isinstance(value, np.ndarray):
        return _a(type(value).__name__)
    held = "objects" if array.dtype.kind == "O" else f"{array.dtype.name} elements"
    return f"{_a(type(value).__name__)} of {held}"


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeioAEIO' or noun == 'ndarray' else 'a'} {noun}"


def _only_python_numbers(value: Any) -> bool:
    """Whether a nested list holds Python numbers alone (an array in it has a dtype of its own)."""
    if isinstance(value, list | tuple):
        return all(_only_python_numbers(v) for v in value)
    return type(value) in (bool, int, float)


def _weak(where: _Place, dtype: DType, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A list of Python numbers takes the parameter's dtype where every value fits."""
    if not array.size:
        return array.astype(dtype.numpy)
    kind = array.dtype.kind
    if dtype.is_float:
        return _cast(array, dtype)
    if dtype.is_bool:
        if kind != "b":
            raise ArgumentTypeError(f"{where}, not a list of {array.dtype.name} values")
        return array
    if kind == "f":
        raise ArgumentTypeError(f"{where}, not a list with floats in it")
    info = np.iinfo(dtype.numpy)
    if kind != "b" and not (info.min <= array.min() and array.max() <= info.max):
        raise ArgumentValueError(
            f"{where}, whose values are {info.min} … {info.max}; the list has values outside"
        )
    return array.astype(dtype.numpy)


def _strong(where: _Place, p: Value, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array keeps its values: a conversion that could lose some is refused."""
    want = _DTYPES[p.dtype.name]
    have = array.dtype.newbyteorder("=") if array.dtype.byteorder in "<>" else array.dtype
    if have == want:
        return array.astype(want, order="C", copy=False)
    if p.dtype is BF16 and have.name == "bfloat16":
        return array.view(np.uint16)
    if p.dtype is not BF16 and np.can_cast(have, want, "safe"):
        return array.astype(want, order="C")
    hint = (
        "pass its bits as uint16"
        if p.dtype is BF16
        else f"convert it: `{p.name}.astype(np.{want.name})`"
        if array.ndim
        else f"convert it: `{_python_type(p.dtype)}({p.name})` or `np.{want.name}({p.name})`"
    )
    raise ArgumentTypeError(f"{where}, not {_described(array)}; {hint}")


def _python_type(dtype: DType) -> str:
    return "float" if dtype.is_float else "bool" if dtype.is_bool else "int"


# --------------------------------------------------------------------------- sizes


def check_sizes(signature: Signature, shapes: Sequence[tuple[int, ...]]) -> Mapping[str, int]:
    """The named dims' sizes. Raises ArgumentValueError where sizes contradict each other."""
    env, failed = bind(signature.steps, shapes)
    if failed is not None:
        raise ArgumentValueError(
            f"{signature.name}(): {_disagreement(signature, env, failed, shapes)}"
        )
    for size, message in signature.requirements:
        if size.evaluate(env) < 0:
            known = ", ".join(f"{n} = {env[n]}" for n in sorted(size.names))
            raise ArgumentValueError(f"{signature.name}(): {message} ({known})")
    return env


def _disagreement(
    signature: Signature,
    env: Mapping[str, int],
    step: Bind | Equal,
    shapes: Sequence[tuple[int, ...]],
) -> str:
    p = signature.params[step.position]
    size = shapes[step.position][step.axis]
    here = f"{p.name} (axis {step.axis})"
    expected = p.shape[step.axis]
    if isinstance(step, Bind):
        return (
            f"no size {step.name} >= 0 gives {expected} = {size}, the size of {here}"
            f"{_known(expected.names - {step.name}, env)}"
        )
    if expected.const is not None:
        return (
            f"{p.name} must be {p.type_text}: its axis {step.axis} has size {size}, not "
            f"{expected.const} (shape {shapes[step.position]})"
        )
    value = step.expected.evaluate(env)
    if len(expected.names) == 1 and str(expected) in expected.names:
        origin = _binder(signature, str(expected))
        return f"dim {expected} is {value} in {origin} but {size} in {here}"
    return f"dim {expected} of {here} must be {value}, not {size}{_known(expected.names, env)}"


def _known(names: frozenset[str], env: Mapping[str, int]) -> str:
    known = ", ".join(f"{n} = {env[n]}" for n in sorted(names) if n in env)
    return f" with {known}" if known else ""


def _binder(signature: Signature, name: str) -> str:
    for step in signature.steps:
        if isinstance(step, Bind) and step.name == name:
            return f"{signature.params[step.position].name} (axis {step.axis})"
    return "the call"
