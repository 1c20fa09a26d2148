"""Scalar bodies as one-line text, for the stages that come after the graph.

In: scalar expressions and comprehensions. Out: infix text close to the language's, with shared
subexpressions named above it. Left to others: the graph's own text, which is the language (`text`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from . import scalar as sc
from .graph import Comp, Input, Node
from .primitives import PRIMITIVES
from .scalar import Scalar

_numbers: WeakKeyDictionary[Node, int] = WeakKeyDictionary()


def node_name(node: Node) -> str:
    """The user's name, or a number of this process's run."""
    if isinstance(node, Input):
        return node.name
    number = _numbers.setdefault(node, len(_numbers))
    return f"{node.name}.{number}" if node.name else f"t{number}"


def index_name(c: Comp, k: int) -> str:
    return (c.index_names[k] if k < len(c.index_names) else "") or f"i{k}"


def comp_text(c: Comp) -> str:
    """`out[i, j] = sum[k in 0:n](body)`, shared subexpressions first."""
    names = [index_name(c, k) for k in range(len(c.extents))]
    roots = (*(c.target or ()), c.body)
    uses = Counter(kid for x in sc.postorder(roots) for kid in sc.children(x))
    shared: dict[Scalar, str] = {}
    lines = []
    for x in sc.postorder(roots):
        if uses[x] > 1 and isinstance(x, sc.Op):
            text = scalar_text(x, names, shared)
            shared[x] = f"%{len(shared)}"
            lines.append(f"  {shared[x]} = {text}")
    ranges = [f"{n} in 0:{e}" for n, e in zip(names, c.extents, strict=True)]
    body = scalar_text(c.body, names, shared)
    dims = ", ".join(str(d) for d in c.shape)
    if c.target is not None:
        at = ", ".join(scalar_text(t, names, shared) for t in c.target)
        head = f"{node_name(c)}[{at}] {c.reducer}= {body} for {', '.join(ranges)}"
    else:
        if c.reducer is not None:
            body = f"{c.reducer}[{', '.join(ranges[c.rank :])}]({body})"
        head = f"{node_name(c)}[{', '.join(names[: c.rank])}] = {body}"
    return "\n".join([f"{head}  : {c.dtype}[{dims}]", *lines])


def scalar_text(x: Scalar, names: list[str], shared: Mapping[Scalar, str]) -> str:
    """Infix text; `shared` maps subexpressions to their names."""
    made: dict[Scalar, str] = {}
    for y in sc.postorder([x]):
        made[y] = shared[y] if y in shared else _one(y, names, made)
    return made[x]


def _one(x: Scalar, names: list[str], made: Mapping[Scalar, str]) -> str:
    match x:
        case sc.Const():
            return str(x.value)
        case sc.Affine():
            parts = [names[k] if str(c) == "1" else f"({c})*{names[k]}" for k, c in x.terms]
            if x.const.terms or not parts:
                parts.append(str(x.const))
            return " + ".join(parts)
        case sc.Read():
            return f"{node_name(x.tensor)}[{', '.join(made[i] for i in x.indices)}]"
        case sc.Op("cast", (inner,)):
            return f"{x.dtype}({made[inner]})"
        case sc.Op("where", (test, then, other)):
            return f"({made[then]} if {made[test]} else {made[other]})"
        case sc.Op():
            infix = PRIMITIVES[x.name].infix
            if infix is not None and len(x.args) == 2:
                return f"({made[x.args[0]]} {infix} {made[x.args[1]]})"
            return f"{x.name}({', '.join(made[a] for a in x.args)})"
        case _:
            return "…"
