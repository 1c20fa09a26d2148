"""Guards that leave a sum: a product over pairs is made as a whole, its guard is asked afterwards.

In: a `Function`. Out: the same, where a sum of products that is guarded by a test of both operands'
indices (`sum[c](q[i, c] * k[j, c]) if j <= i else …`: attention that looks back) is a sum without
that test, and a choice between it and 0. A packed contraction has no place for such a test
(`packed`): its panels are of one operand, and the guarded sum would be made the slow way. What the
test leaves out is computed and dropped, so it must be there to be read. Left to others: whether it
is a contraction then.
"""

from __future__ import annotations

from functools import reduce

from . import scalar as sc
from .conditions import assume, conjuncts
from .graph import Comp, Function, Node, comp, identity_read, rewrite, with_body
from .inline import inline
from .kernels import Kernel
from .lower import lone_nest
from .packed import contraction
from .ranges import is_safe
from .scalar import Scalar
from .tile import Registers


def with_outer_guards(fn: Function, registers: Registers) -> Function:
    """`fn`, whose pointwise producers stand in their readers."""
    outputs = rewrite(fn.outputs, lambda node: _apart(node, registers))
    if outputs == fn.outputs:
        return fn
    return _assumed(inline(fn.with_outputs(outputs)))


def _apart(node: Node, registers: Registers) -> Node:
    if not isinstance(node, Comp) or node.reducer != "sum" or node.target is not None:
        return node
    match node.body:
        case sc.Op("where", (test, sc.Op("mul" | "absorb", (x, y)) as then, other)) if (
            sc.is_literal(other, 0) and node.dtype.is_float
        ):
            pass
        case _:
            return node
    tests = conjuncts(test)
    sides = [sc.indices_of(x), sc.indices_of(y)]
    outer = [
        t
        for t in tests
        if not sc.indices_of(t) & set(node.reduced)
        and not any(sc.indices_of(t) <= side for side in sides)
    ]
    if len(outer) != 1 or not _leaves_much(outer[0]) or not is_safe(then, node.extents):
        return node
    inner = [t for t in tests if t not in outer]
    body = sc.op("where", _all(inner), then, other) if inner else then
    names, span = node.index_names, node.span
    sums = comp(body, node.extents, node.rank, node.reducer, index_names=names, span=span)
    if contraction(lone_nest(Kernel((sums,))), registers) is None:
        return node
    return comp(
        sc.op("where", outer[0], identity_read(sums), other),
        node.shape,
        node.rank,
        name=node.name,
        index_names=names[: node.rank],
        span=span,
    )


def _leaves_much(test: Scalar) -> bool:
    """Whether about half of all pairs, or what data say, pass the test; of what leaves but a few,
    or none beside the diagonal, the others are better not computed."""
    match test:
        case sc.Op("lt" | "le" | "gt" | "ge"):
            return True
        case sc.Read() | sc.Op("not", (sc.Read(),)):
            return True
        case _:
            return False


def _all(tests: list[Scalar]) -> Scalar:
    return reduce(lambda a, b: sc.op("and", a, b), tests)


def _assumed(fn: Function) -> Function:
    """Tests that stand in each other are asked once."""

    def rule(node: Node) -> Node:
        if not isinstance(node, Comp):
            return node
        body = assume(node.body)
        return node if body is node.body else with_body(node, body)

    return fn.with_outputs(rewrite(fn.outputs, rule))
