"""Functions made of a function: `grad`, `value_and_grad`, `vjp`, `jvp`, `hvp`, `jacobian`, `vmap`,
`donate`.

In: a signature, or a checked function, and a `Transform`. Out: the signature, or the function, of
the transform. Transforms apply to what transforms gave (`Transform.inner`). Derivatives are
requests that the compiler's gradient stage expands; `jacobian` and `vmap` add indices to a graph
whose requests were expanded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..compiler.dims import Dim, named
from ..compiler.records import dataclass
from .donation import outputs_in_place
from .signature import Signature, Value, signature_of

if TYPE_CHECKING:
    from ..compiler.graph import Function, Input, Node

_TEXTS = {
    "grad": "The gradient of {base} with respect to {wrt}.",
    "value_and_grad": "The value of {base} and its gradient with respect to {wrt}.",
    "vjp": "The vector-Jacobian product of {base} for {wrt}.",
    "jvp": "The Jacobian-vector product of {base} for {wrt}.",
    "hvp": "The Hessian-vector product of {base} for {wrt}.",
    "jacobian": "The Jacobian of {base} with respect to {wrt}: dims of the result, then of {wrt}.",
    "vmap": "{base} for every element along one dim more of {wrt}.",
    "donate": "{base}, with results in place of {wrt}.",
}


@dataclass(frozen=True)
class Transform:
    """What is made of a function, or of what the transform `inner` made of it.

    - `value_and_grad`: the value, then a gradient for each name; `grad`: the gradients
    - `vjp`: cotangents of the floating-point results as further parameters; the gradients
    - `jvp`: a tangent for each name as further parameters; the results' tangents
    - `hvp`: likewise; the tangents of the gradients
    - `jacobian`: for each floating-point result, for each name: the derivatives
    - `vmap`: `wrt` are the parameters that have one dim more, at the positions `in_dims`
    - `donate`: the same, with results in place of the parameters `wrt`
    """

    kind: str
    wrt: tuple[str, ...]
    in_dims: tuple[int, ...] = ()
    inner: Transform | None = None

    def name(self, base: str) -> str:
        """What the function is called: `loss_dw`, `loss_and_dw`, `loss_vjp_w`, `loss_vmap`."""
        if self.inner is not None:
            base = self.inner.name(base)
        ds = "_".join(f"d{w}" for w in self.wrt)
        match self.kind:
            case "grad":
                return f"{base}_{ds}"
            case "value_and_grad":
                return f"{base}_and_{ds}"
            case "vmap":
                return f"{base}_vmap"
            case "donate":
                return base
            case kind:
                return f"{base}_{kind}_{'_'.join(self.wrt)}"

    def describe(self, base: str) -> str:
        """A docstring for the function."""
        return _TEXTS[self.kind].format(base=base, wrt=", ".join(self.wrt))

    def __str__(self) -> str:
        where = f" at {self.in_dims}" if self.in_dims else ""
        own = f"{self.kind}({', '.join(self.wrt)}{where})"
        return own if self.inner is None else f"{own} of {self.inner}"


# --------------------------------------------------------------------------- signatures


def transformed_signature(s: Signature, t: Transform) -> Signature:
    """The signature of `t` applied to a function of signature `s`."""
    name = t.name(s.name)
    if t.inner is not None:
        s = transformed_signature(s, t.inner)
    if t.kind == "donate":
        doc = t.describe(s.name)
        return replace(s, donated=outputs_in_place(s, t.wrt), doc=doc)
    known = {p.name: p for p in s.params}
    gradients = tuple(replace(known[w], name="") for w in t.wrt)
    params, outputs = s.params, gradients
    match t.kind:
        case "value_and_grad":
            outputs = (*s.outputs, *gradients)
        case "vjp":
            params = (*s.params, *cotangents(s))
        case "jvp":
            params = (*s.params, *tangents(s, t.wrt))
            outputs = tuple(o for o in s.outputs if o.dtype.is_float)
        case "hvp":
            params = (*s.params, *tangents(s, t.wrt))
        case "jacobian":
            outputs = tuple(
                Value("", known[w].dtype, (*o.shape, *known[w].shape))
                for o in s.outputs
                if o.dtype.is_float
                for w in t.wrt
            )
        case "vmap":
            size = _mapped_dim(s)
            at = dict(zip(t.wrt, t.in_dims, strict=True))
            params = tuple(
                replace(p, shape=(*p.shape[: at[p.name]], size, *p.shape[at[p.name] :]))
                if p.name in at
                else p
                for p in s.params
            )
            outputs = tuple(replace(o, shape=(size, *o.shape)) for o in s.outputs)
    several = s.returns_tuple if t.kind == "vmap" else len(outputs) > 1
    return replace(
        s,
        name=name,
        params=params,
        outputs=outputs,
        returns_tuple=several,
        doc=t.describe(s.name),
    )


def _mapped_dim(s: Signature) -> Dim:
    """The dim that `vmap` adds."""
    taken = {n for p in s.params for d in p.shape for n in d.names}
    name = "batch"
    while name in taken:
        name += "_"
    return named(name)


def cotangents(s: Signature) -> tuple[Value, ...]:
    """The further parameters of the vjp: one for each floating-point result."""
    outputs = [(f"ct{k}", o) for k, o in enumerate(s.outputs) if o.dtype.is_float]
    return _further(s, outputs)


def tangents(s: Signature, wrt: Sequence[str]) -> tuple[Value, ...]:
    """The further parameters of the jvp: one for each name."""
    known = {p.name: p for p in s.params}
    return _further(s, [(f"d{w}", known[w]) for w in wrt])


def _further(s: Signature, wanted: Sequence[tuple[str, Value]]) -> tuple[Value, ...]:
    taken = {p.name for p in s.params}
    found = []
    for name, value in wanted:
        while name in taken:
            name += "_"
        taken.add(name)
        found.append(replace(value, name=name))
    return tuple(found)


# --------------------------------------------------------------------------- graphs


def transform(fn: Function, t: Transform) -> Function:
    """The function of `t`."""
    name = t.name(fn.name)
    if t.inner is not None:
        fn = transform(fn, t.inner)
    doc = t.describe(fn.name)
    if t.kind == "donate":
        return replace(fn, donated=outputs_in_place(signature_of(fn), t.wrt), doc=doc)
    if t.kind == "vmap":
        from ..compiler.pipeline import differentiated
        from ..compiler.vmap import vmap

        at = dict(zip(t.wrt, t.in_dims, strict=True))
        fn = differentiated(fn)
        return vmap(
            fn, _mapped_dim(signature_of(fn)), [at.get(p.name) for p in fn.params], name, doc
        )
    with fn.scope.active():
        wrt = [p for w in t.wrt for p in fn.params if p.name == w]
        params, outputs = _derived(fn, t, wrt)
        return replace(
            fn,
            name=name,
            params=params,
            outputs=outputs,
            doc=doc,
            returns_tuple=len(outputs) > 1,
        )


def _derived(
    fn: Function, t: Transform, wrt: Sequence[Input]
) -> tuple[tuple[Input, ...], tuple[Node, ...]]:
    """The parameters and results of a derivative."""
    s = signature_of(fn)
    match t.kind:
        case "vjp":
            given = _inputs(fn, cotangents(s))
            value = inner_product(fn.outputs, given)
            return (*fn.params, *given), _gradients(fn, value, wrt)
        case "jvp":
            given = _inputs(fn, tangents(s, t.wrt))
            return (*fn.params, *given), _jvp(fn, wrt, given)
        case "hvp":
            given = _inputs(fn, tangents(s, t.wrt))
            slope = inner_product(_gradients(fn, fn.outputs[0], wrt), given)
            return (*fn.params, *given), _gradients(fn, slope, wrt)
        case "jacobian":
            from ..compiler.jacobian import jacobian

            return fn.params, jacobian(fn, wrt, inner_product)
        case "value_and_grad":
            return fn.params, (fn.outputs[0], *_gradients(fn, fn.outputs[0], wrt))
        case _:
            return fn.params, _gradients(fn, fn.outputs[0], wrt)


def _inputs(fn: Function, values: Sequence[Value]) -> list[Input]:
    from ..compiler.graph import make_input

    return [
        make_input(v.name, len(fn.params) + k, v.dtype, v.shape, fn.span)
        for k, v in enumerate(values)
    ]


def _gradients(fn: Function, value: Node, wrt: Sequence[Node]) -> tuple[Node, ...]:
    from ..compiler.graph import gradient

    return tuple(gradient(value, w, f"d{getattr(w, 'name', None) or ''}", fn.span) for w in wrt)


def _jvp(fn: Function, wrt: Sequence[Input], tangents: Sequence[Input]) -> tuple[Node, ...]:
    """⟨vjp(c), t⟩ is linear in the cotangent c, and its gradient by c, wherever it is taken, is the
    tangent of the results."""
    from ..compiler import scalar as sc
    from ..compiler.graph import comp

    floating = [o for o in fn.outputs if o.dtype.is_float]
    ones: list[Node] = [
        comp(sc.const(1, o.dtype), o.shape, len(o.shape), variable=f"cotangent {k}")
        for k, o in enumerate(floating)
    ]
    slopes = _gradients(fn, inner_product(fn.outputs, ones), wrt)
    return _gradients(fn, inner_product(slopes, tangents), ones)


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
