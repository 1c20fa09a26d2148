"""What holds of every graph, after every stage.

1. A node's dtype and shape are those that its parts give.
2. A body's indices are numbered below the number of extents; a read has one index per dim, each
   an integer.
3. Only inputs of the function are read as inputs, each at its own position.
4. A reduction has a reducer of the table and at least one reduced index; a node without reducer
   has none; a scatter has one position per dim of its result.
5. Scalar trees are typed: arguments of an operation have the dtypes that its row asks for, no
   REAL is left outside scalar functions, and no weak float at the root.
6. The graph has no cycle (by construction: nodes are immutable).
"""

from __future__ import annotations

from . import scalar as sc
from .dtypes import REAL
from .graph import REDUCERS, Comp, Function, Gradient, Input, postorder
from .primitives import PRIMITIVES, Typing


def verify(fn: Function) -> None:
    """Raise AssertionError, naming the node, where an invariant is broken."""
    for node in postorder(fn.outputs):
        match node:
            case Input():
                assert fn.params[node.position] is node, f"{node.name} is not a parameter"
            case Gradient():
                assert node.shape == node.wrt.shape and node.dtype is node.wrt.dtype
                assert node.of.shape == (), "a gradient of a non-scalar"
            case Comp():
                _verify_comp(node)


def _verify_comp(node: Comp) -> None:
    where = f"{node.name or 'a node'} at {node.span}"
    if node.target is None:
        assert node.shape == node.extents[: node.rank], f"{where}: shape"
        assert bool(node.reduced) == (node.reducer is not None), f"{where}: reducer"
    else:
        assert len(node.target) == len(node.shape), f"{where}: target"
        assert node.reducer == "sum", f"{where}: scatter's reducer"
    assert node.reducer is None or node.reducer in REDUCERS, where
    roots = (node.body, *(node.target or ()))
    for x in sc.postorder(roots):
        assert x.dtype is not REAL, f"{where}: an untyped scalar"
        match x:
            case sc.Affine():
                assert all(k < len(node.extents) for k, _ in x.terms), f"{where}: index number"
            case sc.Param():
                raise AssertionError(f"{where}: a parameter outside a scalar function")
            case sc.Read():
                assert len(x.indices) == len(x.tensor.shape), f"{where}: rank of a read"
                assert all(i.dtype.is_integer for i in x.indices), f"{where}: index dtype"
                assert x.dtype is x.tensor.dtype, where
            case sc.Op():
                _verify_op(x, where)
    assert not node.body.dtype.is_weak or node.body.dtype.is_integer, f"{where}: weak body"


def _verify_op(x: sc.Op, where: str) -> None:
    row = PRIMITIVES[x.name]
    assert len(x.args) == row.arity, f"{where}: {x.name} arity"
    kinds = [a.dtype for a in x.args]
    match row.typing:
        case Typing.ARITHMETIC | Typing.SAME | Typing.FLOAT | Typing.BITS | Typing.SHIFT:
            assert all(_same(k, x.dtype) for k in kinds), f"{where}: {x.name} of {kinds}"
        case Typing.COMPARE | Typing.LOGIC | Typing.TEST:
            assert x.dtype.is_bool, f"{where}: {x.name}"
        case Typing.WHERE:
            assert kinds[0].is_bool and all(_same(k, x.dtype) for k in kinds[1:]), where


def _same(a: object, b: object) -> bool:
    return a is b
