"""Sums that are equal, or each other's negatives, since what they read is symmetric.

In: the outputs of a graph. Out: equal ones, in which such sums are computed once.

    s[i,j] = s[j,i]  ⟹  Σ_i s[i,j]·(x[i] - x[j])  =  -Σ_j s[i,j]·(x[i] - x[j])

What depends on two points by their distance is symmetric: the derivative by a point as the first of
a pair is then that as the second. All that is used of arithmetic holds to the last bit: a + b is
b + a, a - b is -(b - a), and signs leave products (a zero's sign may change).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from itertools import combinations

from . import scalar as sc
from .graph import Comp, Node, postorder, unreduced, with_nodes
from .primitives import PRIMITIVES
from .records import dataclass, field
from .scalar import Scalar

Form = tuple[int, int]
"""A sign, and the number of a normal form: equal numbers are equal values, up to the signs."""


def opposite_sums(roots: Sequence[Node], note: Callable[[str, Comp], None]) -> tuple[Node, ...]:
    """The roots with every sum that is another one, or its negative, read from that."""
    alike: dict[Hashable, list[Comp]] = defaultdict(list)
    for node in postorder(roots):
        if isinstance(node, Comp) and _is_sum(node):
            read = frozenset(r.tensor for r in sc.reads([node.body]))
            alike[node.extents, node.rank, node.dtype, read].append(node)
    forms = _Forms()
    changed: dict[Comp, Comp] = {}
    for nodes in alike.values():
        groups: dict[int, list[tuple[int, Comp]]] = defaultdict(list)
        for node in nodes if len(nodes) > 1 else ():
            sign, form = forms.of(node.body)
            groups[form].append((sign, node))
        for group in groups.values():
            kept_sign, kept = max(group, key=lambda x: _dense(x[1]))
            for sign, node in group:
                if node is not kept:
                    value: Scalar = sc.read(kept, [sc.index(k) for k in range(node.rank)])
                    value = value if sign == kept_sign else sc.op("neg", value)
                    changed[node] = unreduced(node, value)
                    note("sum[i](s[i, j] * (x[i] - x[j])) = -sum[i](s[j, i] * (x[j] - x[i]))", node)
    return with_nodes(roots, changed) if changed else tuple(roots)


def _is_sum(node: Comp) -> bool:
    apart = node.target is not None or node.variable is not None
    return node.reducer == "sum" and node.dtype.is_float and not apart


def _dense(node: Comp) -> int:
    """Reads along whose last index the sum walks."""
    last = [r.indices[-1] for r in sc.reads([node.body]) if r.indices]
    return sum(bool(sc.indices_of(at) & set(node.reduced)) for at in last)


@dataclass
class _Forms:
    """Normal forms of bodies; each is numbered when it is first met."""

    numbers: dict[Hashable, int] = field(default_factory=dict)
    known: dict[Scalar, Form] = field(default_factory=dict)
    symmetries: dict[tuple[Comp, int, int], int] = field(default_factory=dict)

    def of(self, root: Scalar) -> Form:
        for x in sc.postorder([root]):
            if x not in self.known:
                self.known[x] = self.form(x)
        return self.known[root]

    def number(self, what: Hashable) -> int:
        return self.numbers.setdefault(what, len(self.numbers))

    def form(self, x: Scalar) -> Form:
        args = [self.known[c] for c in sc.children(x)]
        match x:
            case sc.Const(value) if isinstance(value, float) and not math.isnan(value):
                sign = -1 if math.copysign(1, value) < 0 else 1
                return sign, self.number((abs(value), x.dtype))
            case sc.Read():
                return self.read(x)
            case sc.Op(("add" | "sub") as name) if x.dtype.is_float:
                (s, a), (t, b) = args
                t = t if name == "add" else -t
                if a > b:
                    s, t, a, b = t, s, b, a
                return s, self.number(("add", a, b, s * t, x.dtype))
            case sc.Op("neg") if x.dtype.is_float:
                ((s, a),) = args
                return -s, a
            case sc.Op("pow", (_, sc.Const(n))) if x.dtype.is_float and n == int(n):
                (s, a), _ = args
                return s if n % 2 else 1, self.number(("pow", a, n, x.dtype))
            case sc.Op("where", (_, then, other)) if x.dtype.is_float:
                test, (s, a), (t, b) = args
                if sc.is_literal(other, 0):
                    return s, self.number(("where", test, a, 0, x.dtype))
                if sc.is_literal(then, 0):
                    return t, self.number(("where", test, 0, b, x.dtype))
                return s, self.number(("where", test, a, b, s * t, x.dtype))
            case sc.Op(name):
                row = PRIMITIVES[name]
                sign = 1
                if row.parity and x.dtype.is_float:
                    sign = math.prod(s for s, _ in args) if row.parity == "odd" else 1
                    args = [(1, a) for _, a in args]
                return sign, self.number((name, *(sorted(args) if row.commutes else args), x.dtype))
            case sc.Call(function):
                return 1, self.number((function, *args, x.dtype))
            case _:
                return 1, self.number(x)

    def read(self, x: sc.Read) -> Form:
        """Its indices in order, where the tensor is symmetric or antisymmetric in two of them."""
        sign, at = 1, list(x.indices)
        tensor = x.tensor
        if isinstance(tensor, Comp):
            for a, b in combinations(range(len(at)), 2):
                if self.precedes(at[b], at[a]) and (s := self.symmetry(tensor, a, b)):
                    sign *= s
                    at[a], at[b] = at[b], at[a]
        return sign, self.number((tensor, *at))

    def precedes(self, x: Scalar, y: Scalar) -> bool:
        if x is y or sc.as_affine(x) is None or sc.as_affine(y) is None:
            return False
        return self.number(x) < self.number(y)

    def symmetry(self, tensor: Comp, a: int, b: int) -> int:
        """1: equal with the two indices swapped; -1: the negative; 0: neither is known."""
        if tensor.shape[a] != tensor.shape[b] or tensor.target is not None:
            return 0
        key = tensor, a, b
        if key not in self.symmetries:
            self.symmetries[key] = 0
            turned = sc.substitute_indices(tensor.body, {a: sc.index(b), b: sc.index(a)})
            (s, here), (t, there) = self.of(tensor.body), self.of(turned)
            if here == there and (s == t or tensor.reducer in (None, "sum")):
                self.symmetries[key] = s * t
        return self.symmetries[key]
