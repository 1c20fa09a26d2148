"""Derivatives of a function as functions: `grad`, `value_and_grad` and `vjp`.

In: a signature, or a checked function, and the names of parameters. Out: the signature, or the
function, of the transform. The gradients themselves are requests that the compiler's gradient
stage expands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..dsl.suggest import did_you_mean
from .signature import Signature, Value

if TYPE_CHECKING:
    from ..compiler.graph import Function, Node


@dataclass(frozen=True)
class Transform:
    """`kind` is `value_and_grad` (value, then a gradient per name), `grad` (the gradients) or
    `vjp` (cotangents of the floating-point outputs as further parameters; the gradients)."""

    kind: str
    wrt: tuple[str, ...]

    def name(self, base: str) -> str:
        """What the function is called: `loss_dw`, `loss_and_dw`, `loss_vjp_w`."""
        ds = "_".join(f"d{w}" for w in self.wrt)
        return {
            "grad": f"{base}_{ds}",
            "value_and_grad": f"{base}_and_{ds}",
            "vjp": f"{base}_vjp_{'_'.join(self.wrt)}",
        }[self.kind]

    def describe(self, base: str) -> str:
        """A docstring for the function."""
        wrt = ", ".join(self.wrt)
        return {
            "grad": f"The gradient of {base} with respect to {wrt}.",
            "value_and_grad": f"The value of {base} and its gradient with respect to {wrt}.",
            "vjp": f"The vector-Jacobian product of {base} for {wrt}.",
        }[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(self.wrt)})"


def parameters_to_differentiate(s: Signature, names: Sequence[str]) -> tuple[str, ...]:
    """`names`, or every floating-point parameter if there are none.

    Raises ValueError for an unknown or repeated name, TypeError for a parameter that has no
    derivative.
    """
    known = {p.name: p for p in s.params}
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"parameters are named by strings, not {type(name).__name__}")
        if name not in known:
            near = did_you_mean(name, known)
            hint = f"; did you mean {near!r}?" if near else f" (it has {', '.join(known)})"
            raise ValueError(f"{s.name} has no parameter {name!r}{hint}")
        if not known[name].dtype.is_float:
            raise TypeError(
                f"{name} of {s.name} is {known[name].type_text}: only floating-point parameters "
                f"have a gradient"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"a parameter is named twice: {', '.join(names)}")
    if not names and not s.differentiable:
        raise TypeError(f"{s.name} has no floating-point parameter: {s}")
    return tuple(names) or s.differentiable


def require_scalar(s: Signature) -> None:
    """Raise TypeError unless the function returns one floating-point scalar."""
    if s.returns_tuple or s.outputs[0].shape or not s.outputs[0].dtype.is_float:
        result = str(s).rpartition(" -> ")[2]
        raise TypeError(
            f"{s.name} returns {result}: only a function that returns one floating-point scalar "
            f"has a gradient (write a `def` that sums or picks what is to be differentiated)"
        )


def transformed_signature(s: Signature, t: Transform) -> Signature:
    """The signature of `t` applied to a function of signature `s`."""
    known = {p.name: p for p in s.params}
    gradients = tuple(replace(known[w], name="") for w in t.wrt)
    params, outputs = s.params, gradients
    if t.kind == "value_and_grad":
        outputs = (*s.outputs, *gradients)
    elif t.kind == "vjp":
        params = (*s.params, *cotangents(s))
    several = t.kind == "value_and_grad" or len(t.wrt) > 1
    return replace(
        s,
        name=t.name(s.name),
        params=params,
        outputs=outputs,
        returns_tuple=several,
        doc=t.describe(s.name),
    )


def cotangents(s: Signature) -> tuple[Value, ...]:
    """The further parameters of the vjp: one for each floating-point output."""
    taken = {p.name for p in s.params}
    found = []
    for k, o in enumerate(s.outputs):
        if o.dtype.is_float:
            name = f"ct{k}"
            while name in taken:
                name += "_"
            found.append(replace(o, name=name))
    return tuple(found)


def transform(fn: Function, s: Signature, t: Transform) -> Function:
    """The function of `t`, its gradients still requests; `s` is the signature of `fn`."""
    from ..compiler.graph import gradient, make_input

    with fn.scope.active():
        by_name = {p.name: p for p in fn.params}
        if t.kind == "vjp":
            params = list(fn.params)
            for ct in cotangents(s):
                params.append(make_input(ct.name, len(params), ct.dtype, ct.shape, fn.span))
            value = inner_product(fn.outputs, params[len(fn.params) :])
        else:
            params, value = list(fn.params), fn.outputs[0]
        requests = [gradient(value, by_name[w], f"d{w}", fn.span) for w in t.wrt]
        outputs = (value, *requests) if t.kind == "value_and_grad" else tuple(requests)
        return replace(
            fn,
            name=t.name(fn.name),
            params=tuple(params),
            outputs=outputs,
            doc=t.describe(fn.name),
            returns_tuple=t.kind == "value_and_grad" or len(t.wrt) > 1,
        )


def inner_product(outputs: Sequence[Node], cotangents: Sequence[Node]) -> Node:
    """Σ output·cotangent over the floating-point outputs: its gradient is the vjp."""
    from ..compiler import scalar as sc
    from ..compiler.graph import comp, identity_read

    total: Node | None = None
    floating = [o for o in outputs if o.dtype.is_float]
    for out, ct in zip(floating, cotangents, strict=True):
        body = sc.op("mul", identity_read(out), identity_read(ct))
        part = comp(body, out.shape, 0, "sum") if out.shape else comp(body, (), 0)
        if total is not None:
            part = comp(sc.op("add", identity_read(total), identity_read(part)), (), 0)
        total = part
    assert total is not None, "the caller has checked that there is a floating-point output"
    return total
