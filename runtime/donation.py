"""Donated arguments: results that are written where arguments stand.

In: a signature and the names of parameters whose memory the caller gives away; at a call, what was
given for them. Out: which output stands in whose place; the arrays that are written; or the error
that says why not. Left to others: how a kernel may write where it reads (`compiler.donate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .arguments import ArgumentTypeError, ArgumentValueError, convert, match_names
from .signature import Signature, Value

if TYPE_CHECKING:
    from .function import Function
    from .native import Native

Array = np.ndarray[Any, Any]

# --------------------------------------------------------------------------- who stands where


def outputs_in_place(s: Signature, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """For each named parameter, in the signature's order, its position and that of the first output
    of its dtype and shape that no other one has taken.

    Raises ValueError where there is none.
    """
    free = dict(enumerate(s.outputs))
    pairs: list[tuple[int, int]] = []
    for k, p in enumerate(s.params):
        if p.name not in names:
            continue
        fits = (n for n, o in free.items() if o.dtype is p.dtype and o.shape == p.shape)
        found = next(fits, None)
        if found is None:
            raise ValueError(_nothing_fits(s, p, [(s.params[q], o) for q, o in pairs]))
        del free[found]
        pairs.append((k, found))
    return tuple(pairs)


def _nothing_fits(s: Signature, p: Value, taken: Sequence[tuple[Value, int]]) -> str:
    used = [
        f"output {o} is in place of {q.name}"
        for q, o in taken
        if q.dtype is p.dtype and q.shape == p.shape
    ]
    result = str(s).rpartition(" -> ")[2]
    why = f" ({', '.join(used)})" if used else ""
    return f"{p.name} of {s.name} is {p.type_text}, and no result fits its place: {result}{why}"


# --------------------------------------------------------------------------- the keyword of a call


def asks_to_donate(s: Signature, kwargs: Mapping[str, Any]) -> bool:
    """Whether a call has the keyword `donate=`, and the function no parameter of that name."""
    return "donate" in kwargs and all(p.name != "donate" for p in s.params)


def call_donating(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """`function(…, donate=names)`: a call of `function.donate(*names)`.

    Raises ArgumentTypeError and ArgumentValueError, about the names as well.
    """
    rest = dict(kwargs)
    names = rest.pop("donate")
    if names == ():
        return function(*args, **rest)
    key = names if isinstance(names, str | tuple) else repr(names)
    derived = function.donating.get(key)
    if derived is None:
        derived = function.donating[key] = _derived(function, names)
    return derived(*args, **rest)


def _derived(function: Function, names: Any) -> Function:
    several = (names,) if isinstance(names, str) else names
    if not isinstance(several, tuple | list):
        raise ArgumentTypeError(
            f"{function.__name__}(): donate is a parameter's name or a tuple of names, not "
            f"{_a(type(names).__name__)}"
        )
    try:
        return function.donate(*several)
    except TypeError as error:
        raise ArgumentTypeError(f"{function.__name__}(): {error}") from None
    except ValueError as error:
        raise ArgumentValueError(f"{function.__name__}(): {error}") from None


# --------------------------------------------------------------------------- a call


def call_with_donations(
    native: Native, s: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """A call that the native entry refused: other arguments are converted, donated ones not."""
    given = match_names(s, args, kwargs)
    found = native.converted(*converted(s, given))
    return with_given(s, found if s.returns_tuple else (found,), given)


def converted(s: Signature, given: Sequence[Any]) -> list[Any]:
    """What the native entry takes for the arguments.

    Raises ArgumentTypeError and ArgumentValueError, also where an argument cannot be written, or
    shares memory with a donated one.
    """
    values = list(given)
    for k, _ in s.donated:
        values[k] = memory_of(s, s.params[k], given[k])
    values = convert(s, values, {})
    for k, _ in s.donated:
        for n, (p, other) in enumerate(zip(s.params, values, strict=True)):
            if n != k and isinstance(other, np.ndarray) and _overlap(values[k], other):
                raise ArgumentValueError(
                    f"{s.name}(): {s.params[k].name} is donated, and shares memory with {p.name}; "
                    f"pass a copy of one of them"
                )
    return values


def with_given(s: Signature, found: Sequence[Any], given: Sequence[Any]) -> Any:
    """The call's value, of its results: those in place of arguments are the very objects that were
    given."""
    results = list(found)
    for k, o in s.donated:
        results[o] = given[k]
    return tuple(results) if s.returns_tuple else results[0]


def memory_of(s: Signature, p: Value, given: Any) -> Array:
    """The array that is written.

    Raises ArgumentTypeError and ArgumentValueError for what would have to be converted.
    """
    where = f"{s.name}(): {p.name} is donated: it must be"
    if not isinstance(given, np.ndarray) or isinstance(given, np.ma.MaskedArray):
        raise ArgumentTypeError(
            f"{where} a NumPy array or a tdsl.Tensor, {p.type_text}, not {_kind_of(given)}"
        )
    dtype = np.dtype(p.dtype.numpy)
    if given.dtype != dtype:
        raise ArgumentTypeError(f"{where} {p.type_text}, not an array of {given.dtype}")
    flags = given.flags
    for has, what in (
        (flags.writeable, "writable"),
        (flags.c_contiguous, "C-contiguous"),
        (flags.aligned, "aligned"),
    ):
        if not has:
            raise ArgumentValueError(f"{where} {what}, and this array is not; pass a copy of it")
    return given


def _overlap(a: Array, b: Array) -> bool:
    """Whether two contiguous arrays share a byte."""
    return bool(a.size and b.size) and np.may_share_memory(a, b)


def _kind_of(x: Any) -> str:
    package = type(x).__module__.partition(".")[0]
    name = type(x).__name__
    return _a(name if package == "builtins" else f"{package}.{name}")


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeioAEIO' else 'a'} {noun}"
