"""Calls of the operator table on Tensors: an eager operation is a row, compiled for its operands.

In: Tensors, Python numbers, static arguments. Out: Tensors, with history where an operand
requires grad. What is compiled is kept by the kinds of the operands (dtype and rank) and the
static arguments, never by sizes; the native entry checks the sizes, and where it refuses, another
pattern of sizes (`row_graphs`) is tried or compiled.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from .core import Array, Kind, TensorBase, wrap
from .kernels import Kernel, contiguous
from .modes import mode
from .row_graphs import Application, Operand, graph_of
from .saved import KernelBackward, record
from .sites import NUMBERS, Site
from .tape import needs_grad

if TYPE_CHECKING:
    from .tensor import Tensor

#: Halves are computed in float32, as PyTorch does on the CPU.
_WIDE = {dt.float16: dt.float32, dt.bfloat16: dt.float32}
_FIRST, _SECOND, _BOTH = (0,), (1,), (0, 1)  # which operands require grad


def plain_number(value: Any) -> Any:
    """A NumPy scalar as the Python number that it is; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


#: The sites of every operation, to be forgotten when the default dtype changes.
_every_site: list[dict[Any, Site]] = []


def _forget_sites() -> None:
    for sites in _every_site:
        sites.clear()


dt.WHEN_DEFAULT_CHANGES.append(_forget_sites)


class Operation:
    """An eager function made of a row. `node` is PyTorch's name of its backward step;
    `promotes`: operands take a common dtype and broadcast (those named in `apart` do not).
    `of_bools` is the row for bools, where that is another one."""

    def __init__(
        self,
        row: str,
        node: str,
        *,
        promotes: bool = True,
        apart: Sequence[str] = (),
        of_bools: str | None = None,
    ) -> None:
        self.row = row
        self.of_bools = of_bools
        self.promotes = promotes
        self.apart = frozenset(apart)
        self.node: type[KernelBackward] = type(node, (KernelBackward,), {"__slots__": ()})
        self._sites: dict[Any, Site] = {}
        _every_site.append(self._sites)

    @cached_property
    def parameters(self) -> tuple[tuple[str, str, Any], ...]:
        """(name, role, default) of the row's parameters; a role is tensor, tensors or static."""
        from ...compiler.ops import ROWS

        found = []
        for p in ROWS[self.row].signature.parameters.values():
            note = str(p.annotation)
            role = (
                "tensors" if note == "Tensors"
                else "tensor" if "IndexLambda" in note
                else "static"
            )  # fmt: skip
            found.append((p.name, role, p.default))
        return tuple(found)

    def unary(self, a: Tensor) -> Tensor:
        """Of one Tensor, without static arguments."""
        site = self._sites.get(a._kind)
        if site is None:
            return self.call((a,), ())
        array = a._array
        out = site.native(array)
        if out is None:
            out = site.run((array,))
        kernel = site.kernel
        result = wrap(out, kernel.kinds[0])
        if (a._requires_grad or a._view is not None) and mode.grad and needs_grad(a):
            record(kernel, (a,), (0,), (result,), self.node)
        return result

    def along(self, a: Tensor, static: tuple[Any, ...]) -> Tensor:
        """Of one Tensor, with static arguments: a reduction over dims, and its like."""
        site = self._sites.get((a._kind, static))
        if site is None:
            site = self._sites[a._kind, static] = self._new_site((a,), static)
        array = a._array
        out = site.native(array)
        if out is None:
            out = site.run((array,))
        kernel = site.kernel
        result = wrap(out, kernel.kinds[0])
        if (a._requires_grad or a._view is not None) and mode.grad and needs_grad(a):
            record(kernel, (a,), (0,), (result,), self.node)
        return result

    def binary(self, a: Tensor, b: Any) -> Tensor:
        """Of a Tensor and another or a Python number, without static arguments."""
        if isinstance(b, TensorBase):
            site = self._sites.get((a._kind, b._kind))
            if site is None:
                return self.call((a, b), ())
            x, y = a._array, b._array
            out = site.native(x, y)
            if out is None:
                out = site.run((x, y))
            kernel = site.kernel
            result = wrap(out, kernel.kinds[0])
            if (
                a._requires_grad or b._requires_grad
                or a._view is not None or b._view is not None
            ) and mode.grad:  # fmt: skip
                first, second = needs_grad(a), needs_grad(b)  # type: ignore[arg-type]
                if first or second:
                    wanted = _BOTH if first and second else _FIRST if first else _SECOND
                    record(kernel, (a, b), wanted, (result,), self.node)
            return result
        site = self._sites.get((a._kind, type(b)))
        if site is None:
            return self.call((a, b), ())
        x = a._array
        out = site.native(x, b)
        if out is None:
            out = site.run((x, b))
        kernel = site.kernel
        result = wrap(out, kernel.kinds[0])
        if (a._requires_grad or a._view is not None) and mode.grad and needs_grad(a):
            record(kernel, (a, b), (0,), (result,), self.node)
        return result

    def call(self, operands: tuple[Any, ...], static: tuple[Any, ...]) -> Any:
        """Of operands in the order of the row's tensor parameters (None: left out; a tuple for
        several Tensors) and static arguments in the order of the others."""
        flat: list[Any] = []
        shape: list[Any] = []
        for o in operands:
            if isinstance(o, tuple | list):
                flat.extend(o)
                shape.append(len(o))
            elif o is not None:
                flat.append(o)
                shape.append(-1)
            else:
                shape.append(None)
        kinds = tuple([o._kind if isinstance(o, TensorBase) else type(o) for o in flat])
        key: Any
        if static or len(shape) != len(flat):
            key = (kinds, tuple(shape), static)
        else:
            key = kinds if len(kinds) > 1 else kinds[0]
        site = self._sites.get(key)
        if site is None:
            site = self._new_site(operands, static)
            self._sites[key] = site
        arrays = [o._array if isinstance(o, TensorBase) else o for o in flat]
        out = site.native(*arrays)
        if out is None:
            out = site.run(arrays)
        kernel = site.kernel
        if kernel.returns_tuple:
            results = [wrap(o, k) for o, k in zip(out, kernel.kinds, strict=True)]
        else:
            results = [wrap(out, kernel.kinds[0])]
        if mode.grad:
            self._record(kernel, flat, results)
        return tuple(results) if kernel.returns_tuple else results[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """By the row's own parameter names."""
        operands, static = self.bound(args, kwargs)
        return self.call(operands, static)

    def bound(
        self, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The operands and the static arguments of a call. Raises TypeError for wrong ones."""
        parameters = self.parameters
        if len(args) > len(parameters):
            raise TypeError(
                f"{self.row}() takes {len(parameters)} positional arguments but {len(args)} were "
                f"given"
            )
        operands: list[Any] = []
        static: list[Any] = []
        left = dict(kwargs)
        for k, (name, role, default) in enumerate(parameters):
            if k < len(args):
                value = args[k]
                if name in left:
                    raise TypeError(f"{self.row}() got multiple values for argument '{name}'")
            else:
                value = _taken(left, name, k, default)
                if value is inspect.Parameter.empty:
                    raise TypeError(f"{self.row}() missing required argument: '{name}'")
            if role == "static":
                static.append(_static(value))
            else:
                operands.append(self._operand(name, role, value))
        if left:
            raise TypeError(f"{self.row}() got an unexpected keyword argument '{next(iter(left))}'")
        return tuple(operands), tuple(static)

    def _operand(self, name: str, role: str, value: Any) -> Any:
        if role == "tensors":
            return tuple(self._operand(name, "tensor", v) for v in value)
        value = plain_number(value)
        if value is None or isinstance(value, TensorBase) or type(value) in NUMBERS:
            return value
        raise TypeError(
            f"{self.row}(): argument '{name}' must be Tensor, not {type(value).__name__}"
        )

    # ----------------------------------------------------------------------- recording

    def _record(self, kernel: Kernel, operands: Sequence[Any], results: Sequence[Tensor]) -> None:
        positions = tuple(
            [
                k for k, o in enumerate(operands)
                if isinstance(o, TensorBase) and needs_grad(o)  # type: ignore[arg-type]
            ]
        )  # fmt: skip
        if positions:
            record(kernel, operands, positions, results, self.node)

    # ----------------------------------------------------------------------- what to compile

    def _new_site(self, operands: tuple[Any, ...], static: tuple[Any, ...]) -> Site:
        tensors, statics = iter(operands), iter(static)
        given: list[tuple[str, Any]] = []
        for name, role, default in self.parameters:
            source = statics if role == "static" else tensors
            value = next(source, inspect.Parameter.empty)
            given.append((name, default if value is inspect.Parameter.empty else value))
        roles = {name: role for name, role, _ in self.parameters}
        common = self._common(given, roles)
        computed = _WIDE.get(common, common)
        stated = {k for k, o in enumerate(operands) if o is not None}
        tensor_names = [name for name, role, _ in self.parameters if role != "static"]
        operand_names = {tensor_names[k] for k in stated}
        arguments = tuple(
            (name, self._argument(name, value, computed) if name in operand_names else value)
            for name, value in given
        )
        result = common if computed is not common else None
        if self.of_bools is not None and common is dt.bool_:
            operands_only = tuple(a for a in arguments if isinstance(a[1], Operand))
            return Site(Application(self.of_bools, operands_only), True)
        application = Application(self.row, arguments, result)
        if self.promotes and not computed.is_floating_point:
            application = _in_default_dtype(application, self.apart)
        flat = [o for o in operands if o is not None]
        broadcasts = self.promotes and not any(isinstance(o, tuple | list) for o in flat)
        return Site(application, broadcasts)

    def _common(self, given: list[tuple[str, Any]], roles: dict[str, str]) -> dt.dtype:
        """The dtype that operands promote to; of an operation that does not promote, that of its
        first floating-point operand, or of its first."""
        sized: list[dt.dtype] = []
        unsized: list[dt.dtype] = []
        numbers: list[dt.dtype] = []
        every: list[dt.dtype] = []
        for name, value in given:
            if roles[name] == "static" or value is None:
                continue
            for v in value if isinstance(value, tuple | list) else (value,):
                if isinstance(v, TensorBase):
                    every.append(v._kind.dtype)
                    if name not in self.apart:
                        (sized if v._kind.rank else unsized).append(v._kind.dtype)
                elif name not in self.apart:
                    numbers.append(dt.of_number(v))
        if self.promotes:
            return dt.promoted(sized, unsized, numbers)
        floats = [d for d in every if d.is_floating_point]
        return (floats or every)[0]

    def _argument(self, name: str, value: Any, computed: dt.dtype) -> Any:
        """How an operand converts."""
        if isinstance(value, tuple | list):
            return tuple(self._argument(name, v, computed) for v in value)
        if value is None:
            return None
        if not isinstance(value, TensorBase):
            return Operand(computed, computed)
        own = value._kind.dtype
        if name in self.apart or (not self.promotes and not own.is_floating_point):
            return Operand(own, own)
        return Operand(own, computed if self.promotes else _WIDE.get(own, own))


def _taken(left: dict[str, Any], name: str, position: int, default: Any) -> Any:
    """A keyword argument, also by PyTorch's and NumPy's other names for it."""
    names = [name]
    if position == 0:
        names += ["input", "self"]
    elif position == 1:
        names += ["other"]
    names += {"dim": ["axis", "dims"], "keepdim": ["keepdims"]}.get(name, [])
    for n in names:
        if n in left:
            return left.pop(n)
    return default


def _static(value: Any) -> Any:
    """A static argument as something that can be a key."""
    if isinstance(value, list):
        return tuple(_static(v) for v in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, TensorBase):
        return value.item()  # type: ignore[attr-defined]
    return tuple(value) if isinstance(value, tuple) else value


def _in_default_dtype(application: Application, apart: frozenset[str]) -> Application:
    """Of integers, where the row makes floats of them: in the default dtype."""
    default = dt.get_default_dtype()
    if default is dt.float32:
        return application  # the rows' own default
    ranks = tuple(() for _ in application.operands())
    if not graph_of(application, ranks).outputs[0].dtype.is_float:
        return application
    arguments = tuple(
        (n, Operand(a.dtype, default) if isinstance(a, Operand) and n not in apart else a)
        for n, a in application.arguments
    )
    return Application(application.row, arguments, application.result)


# --------------------------------------------------------------------------- kernels as such


def call_kernel(
    kernel: Kernel, operands: Sequence[Any], node: type[KernelBackward]
) -> list[Tensor]:
    """The results of a kernel for Tensors, arrays and numbers, recorded where a Tensor requires
    grad."""
    arrays = [o._array if isinstance(o, TensorBase) else o for o in operands]
    out = kernel.native(*arrays)
    if out is None:
        out = kernel.native(*[contiguous(a) for a in arrays])
        if out is None:
            raise RuntimeError("the gradient of an operation does not fit its result")
    if kernel.returns_tuple:
        results = [wrap(o, k) for o, k in zip(out, kernel.kinds, strict=True)]
    else:
        results = [wrap(out, kernel.kinds[0])]
    if mode.grad:
        positions = tuple(
            [
                k for k, o in enumerate(operands)
                if isinstance(o, TensorBase) and needs_grad(o)  # type: ignore[arg-type]
            ]
        )  # fmt: skip
        if positions:
            record(kernel, operands, positions, results, node)
    return results


__all__ = ["Array", "Kind", "Operation", "Site", "call_kernel", "plain_number"]
