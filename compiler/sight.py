"""Seeing through producers: what an element of a node is, as a formula.

A rule whose left side spreads over several statements (`e = exp(z)`, `p = e / s`) matches on what
its operands *are*: the read of a pointwise node stands for that node's body at the read's indices.
What a gradient is taken by stays opaque.
"""

from __future__ import annotations

from . import scalar as sc
from .graph import Comp, Node
from .records import dataclass, field
from .scalar import Scalar

_LONGEST = 200  # operations of a body that is looked into


@dataclass(frozen=True)
class Sight:
    opaque: frozenset[Node]
    seen: dict[Scalar, Scalar] = field(default_factory=dict)

    def see(self, x: Scalar) -> Scalar:
        """`x`, or the formula behind it if it reads a pointwise node (which may be a read again:
        never a chain of them)."""
        if not isinstance(x, sc.Read):
            return x
        found = self.seen.get(x)
        if found is None:
            found = x
            while isinstance(found, sc.Read) and self.transparent(found.tensor):
                assert isinstance(found.tensor, Comp)
                at = dict(enumerate(found.indices))
                found = sc.substitute_indices(found.tensor.body, at)
            self.seen[x] = found
        return found

    def transparent(self, node: Node) -> bool:
        if not isinstance(node, Comp) or node in self.opaque:
            return False
        if node.reducer is not None or node.target is not None:
            return False
        return _short(node.body)

    def same(self, x: Scalar, y: Scalar) -> bool:
        return x is y or self.see(x) is self.see(y)


def _short(body: Scalar) -> bool:
    return all(count <= _LONGEST for count, _ in enumerate(sc.postorder([body])))
