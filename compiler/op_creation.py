"""Tensors made from sizes and scalars alone."""

from __future__ import annotations

from . import index_lambda as il
from . import scalar as sc
from .dtypes import I64
from .index_lambda import IndexLambda, OpError
from .op_arguments import Sizes


def _filled(shape: Sizes, value: IndexLambda) -> IndexLambda:
    dims = shape if isinstance(shape, tuple) else (shape,)
    return IndexLambda(dims, sc.settle(value.body))


def zeros(size: Sizes) -> IndexLambda:
    return _filled(size, il.scalar(0.0))


def ones(size: Sizes) -> IndexLambda:
    return _filled(size, il.scalar(1.0))


def full(size: Sizes, fill_value: IndexLambda) -> IndexLambda:
    if fill_value.rank:
        raise OpError("E0503", f"full takes a scalar, got {il.type_text(fill_value)}")
    return _filled(size, fill_value)


def zeros_like(x: IndexLambda) -> IndexLambda:
    return IndexLambda(x.shape, sc.const(0, x.dtype))


def ones_like(x: IndexLambda) -> IndexLambda:
    return IndexLambda(x.shape, sc.const(1, x.dtype))


def full_like(x: IndexLambda, fill_value: IndexLambda) -> IndexLambda:
    return IndexLambda(x.shape, sc.convert(fill_value.body, x.dtype))


def arange(end: Sizes) -> IndexLambda:
    """0, 1, …, end − 1."""
    if isinstance(end, tuple):
        raise OpError("E0503", "arange takes one size")
    return IndexLambda((end,), sc.convert(sc.index(0), I64))


def eye(n: Sizes) -> IndexLambda:
    if isinstance(n, tuple):
        raise OpError("E0503", "eye takes one size")
    on = sc.op("eq", sc.index(0), sc.index(1))
    return IndexLambda((n, n), sc.settle(sc.op("where", on, sc.const(1.0), sc.const(0.0))))


def one_hot(x: IndexLambda, num_classes: Sizes) -> IndexLambda:
    if isinstance(num_classes, tuple) or not x.dtype.is_integer:
        raise OpError("E0402", f"one_hot takes integers and one size, got {il.type_text(x)}")
    hit = sc.op("eq", sc.index(x.rank), x.body)
    return IndexLambda((*x.shape, num_classes), sc.cast(hit, I64))
