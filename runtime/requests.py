"""What a user asks of a function's transforms, checked: names of parameters, dims to map.

In: a signature and the arguments of `grad(…)`, `jvp(…)`, `vmap(…)`, `donate(…)`. Out: what a
`Transform` takes; or the error that says what the function has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..dsl.suggest import did_you_mean
from .donation import outputs_in_place
from .signature import Signature, Value


def parameters_to_differentiate(s: Signature, names: Sequence[str]) -> tuple[str, ...]:
    """`names`, or every floating-point parameter if there are none.

    Raises ValueError for an unknown or repeated name, TypeError for a parameter that has no
    derivative.
    """
    for name in names:
        parameter = _parameter(s, name)
        if not parameter.dtype.is_float:
            raise TypeError(
                f"{name} of {s.name} is {parameter.type_text}: only floating-point parameters "
                f"have a gradient"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"a parameter is named twice: {', '.join(names)}")
    if not names and not s.differentiable:
        raise TypeError(f"{s.name} has no floating-point parameter: {s}")
    return tuple(names) or s.differentiable


def parameters_to_donate(s: Signature, names: Sequence[str]) -> tuple[str, ...]:
    """`names` in the signature's order, with those that are donated already.

    Raises ValueError for an unknown or repeated name, or where no result fits; TypeError for a
    scalar, and if none is named.
    """
    if not names:
        raise TypeError(f"donate names the parameters of {s.name} whose memory results take: {s}")
    for name in names:
        parameter = _parameter(s, name)
        if not parameter.shape:
            raise TypeError(
                f"{name} of {s.name} is {parameter.type_text}: only an array can be donated"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"a parameter is named twice: {', '.join(names)}")
    wanted = {*names, *(s.params[k].name for k, _ in s.donated)}
    outputs_in_place(s, tuple(wanted))
    return tuple(p.name for p in s.params if p.name in wanted)


def require_no_donation(s: Signature, what: str) -> None:
    """Raise TypeError for a function with donated parameters."""
    if s.donated:
        names = ", ".join(s.params[k].name for k, _ in s.donated)
        raise TypeError(
            f"{s.name} writes results in place of {names}: take {what} of the function first, and "
            f"donate last"
        )


def _parameter(s: Signature, name: Any) -> Value:
    known = {p.name: p for p in s.params}
    if not isinstance(name, str):
        raise TypeError(f"parameters are named by strings, not {type(name).__name__}")
    if name not in known:
        near = did_you_mean(name, known)
        hint = f"; did you mean {near!r}?" if near else f" (it has {', '.join(known)})"
        raise ValueError(f"{s.name} has no parameter {name!r}{hint}")
    return known[name]


def require_scalar(s: Signature) -> None:
    """Raise TypeError unless the function returns one floating-point scalar."""
    if s.returns_tuple or s.outputs[0].shape or not s.outputs[0].dtype.is_float:
        result = str(s).rpartition(" -> ")[2]
        raise TypeError(
            f"{s.name} returns {result}: only a function that returns one floating-point scalar "
            f"has a gradient (write a `def` that sums or picks what is to be differentiated)"
        )


def require_floats(s: Signature) -> None:
    """Raise TypeError unless a result is floating-point."""
    if not any(o.dtype.is_float for o in s.outputs):
        result = str(s).rpartition(" -> ")[2]
        raise TypeError(f"{s.name} returns {result}: no floating-point result has a derivative")


def parameters_to_map(s: Signature, in_dims: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The parameters that have one dim more, and where: `in_dims` is an int for all of them, a
    sequence with an int or None for each, or a mapping from names.

    Raises ValueError for a position outside the new shape or if none is mapped, TypeError for
    other kinds.
    """
    if isinstance(in_dims, Mapping):
        entries = {_parameter(s, name).name: at for name, at in in_dims.items()}
    elif isinstance(in_dims, int) and not isinstance(in_dims, bool):
        entries = {p.name: in_dims for p in s.params}
    elif isinstance(in_dims, tuple | list):
        if len(in_dims) != len(s.params):
            raise ValueError(
                f"in_dims has {len(in_dims)} entries, and {s.name} {len(s.params)} parameters: {s}"
            )
        entries = {p.name: at for p, at in zip(s.params, in_dims, strict=True)}
    else:
        raise TypeError(
            "in_dims is an int, a sequence with an int or None for each parameter, or a mapping "
            f"from names, not {type(in_dims).__name__}"
        )
    found = {
        p.name: _position(s, p, entries[p.name])
        for p in s.params
        if entries.get(p.name) is not None
    }
    if not found:
        raise ValueError(f"vmap of {s.name}: in_dims maps no parameter")
    return tuple(found), tuple(found.values())


def _position(s: Signature, p: Value, at: Any) -> int:
    rank = len(p.shape) + 1
    if isinstance(at, bool) or not isinstance(at, int):
        raise TypeError(f"in_dims of {p.name} is an int or None, not {type(at).__name__}")
    if not -rank <= at < rank:
        raise ValueError(
            f"in_dims of {p.name} is {at}: {s.name} takes {p.type_text}, so with the mapped dim it "
            f"has rank {rank}"
        )
    return at % rank
