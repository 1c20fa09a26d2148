"""Jacobians on the graph: the vector-Jacobian product for all unit vectors at once.

In: a checked function. Out: one whose results are the derivatives of every element of its results
by every element of some parameters: dims of the result, then dims of the parameter. The cotangent
becomes the unit vectors (`vmap.UnitVectors`), whose sums collapse: a row of the Jacobian costs what
depends on that row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from . import scalar as sc
from .graph import (
    Comp,
    Function,
    Input,
    Node,
    gradient,
    make_input,
    operands,
    rewrite,
    with_body,
)
from .pipeline import differentiated
from .scalar import Scalar
from .vmap import UnitVectors, mapped


def jacobian(
    fn: Function,
    wrt: Sequence[Input],
    inner_product: Callable[[Sequence[Node], Sequence[Node]], Node],
) -> tuple[Node, ...]:
    """For every floating-point result, then for every one of `wrt`: the Jacobian."""
    with fn.scope.active():
        found: list[Node] = []
        for o in fn.outputs:
            if o.dtype.is_float:
                ct = make_input("ct", len(fn.params), o.dtype, o.shape, fn.span)
                value = inner_product([o], [ct])
                rows = tuple(gradient(value, w, f"d{w.name}", fn.span) for w in wrt)
                vjp = replace(fn, params=(*fn.params, ct), outputs=rows, returns_tuple=True)
                ready = _read_directly(differentiated(vjp).outputs, ct)
                found += mapped(ready, o.shape, {ct: UnitVectors()})
        return tuple(found)


def _read_directly(outputs: Sequence[Node], ct: Input) -> tuple[Node, ...]:
    """The cotangent read where it counts, not by way of nodes that only multiply it."""
    multiples: set[Node] = {ct}

    def rule(node: Node) -> Node:
        if not isinstance(node, Comp) or not any(n in multiples for n in operands(node)):
            return node

        def substituted(x: Scalar) -> Scalar:
            if isinstance(x, sc.Read) and isinstance(x.tensor, Comp) and x.tensor in multiples:
                return sc.substitute_indices(x.tensor.body, dict(enumerate(x.indices)))
            return x

        target = None if node.target is None else [sc.rewrite(t, substituted) for t in node.target]
        out = with_body(node, sc.rewrite(node.body, substituted), target)
        linear = [r for r in sc.reads((out.body,)) if r.tensor is ct]
        if out.reducer is None and out.target is None and len(linear) == 1:
            multiples.add(out)
        return out

    return rewrite(outputs, rule)
