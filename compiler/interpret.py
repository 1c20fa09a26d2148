"""The specification: what a function means, in plain NumPy over its comprehensions.

In: a `Function` without gradient requests, and one array per parameter. Out: one array per
output. Every body is evaluated over the whole iteration space at once and then reduced; nothing
is clever. Native code is right when it agrees with this.

`where` is lazy: a read in a branch that is not taken is not performed. An index that is out of
range under a taken branch is an `IndexError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import scalar as sc
from .dims import Dim, FloorDiv
from .dtypes import BF16, DType
from .graph import REDUCERS, Comp, Function, Gradient, Input, Node, postorder
from .primitives import PRIMITIVES
from .records import dataclass
from .scalar import Scalar

Array = npt.NDArray[Any]


def interpret(fn: Function, arrays: Sequence[Any]) -> tuple[Array, ...]:
    """The outputs of `fn` at `arrays` (NumPy arrays or scalars of the parameters' dtypes).

    Raises ValueError where sizes disagree or a requirement fails, IndexError where an index is
    out of range.
    """
    raw = [np.asarray(a, dtype=p.dtype.numpy) for a, p in zip(arrays, fn.params, strict=True)]
    given = [_from_bits(a) if p.dtype is BF16 else a for a, p in zip(raw, fn.params, strict=True)]
    env = bind_dims(fn, [a.shape for a in given])
    for r in fn.requirements:
        if r.nonnegative.evaluate(env) < 0:
            raise ValueError(r.message)
    values: dict[Node, Array] = {}
    for node in postorder(fn.outputs):
        match node:
            case Input():
                values[node] = given[node.position]
            case Comp():
                values[node] = _Evaluation(env, values, node).result()
            case Gradient():
                raise ValueError("the gradient stage comes first")
    return tuple(_to_bits(values[o]) if o.dtype is BF16 else values[o] for o in fn.outputs)


def bind_dims(fn: Function, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The named dims' sizes: plain names first, then dims linear in one unknown name."""
    env: dict[str, int] = {}
    pending: list[tuple[Dim, int]] = []
    for p, shape in zip(fn.params, shapes, strict=True):
        if len(shape) != len(p.shape):
            raise ValueError(f"{p.name} has rank {len(p.shape)}, not {len(shape)}")
        pending += zip(p.shape, shape, strict=True)
    while pending:
        later = []
        for d, n in pending:
            unknown = d.names - env.keys()
            if not unknown:
                if d.evaluate(env) != n:
                    raise ValueError(f"size {d} is {d.evaluate(env)}, not {n}")
            elif not _solve(d, n, unknown, env):
                later.append((d, n))
        if len(later) == len(pending):
            raise ValueError(f"cannot tell the sizes of {', '.join(str(d) for d, _ in later)}")
        pending = later
    return env


def _solve(d: Dim, n: int, unknown: frozenset[str], env: dict[str, int]) -> bool:
    """Bind the one unknown name of `d == n`, if `d` is linear in it."""
    if len(unknown) != 1 or any(isinstance(a, FloorDiv) for m, _ in d.terms for a in m):
        return False
    (name,) = unknown
    at_zero = d.evaluate({**env, name: 0})
    slope = d.evaluate({**env, name: 1}) - at_zero
    if d.evaluate({**env, name: 2}) != at_zero + 2 * slope or slope == 0:
        return False
    if (n - at_zero) % slope or (n - at_zero) // slope < 0:
        raise ValueError(f"no size of {name} makes {d} equal {n}")
    env[name] = (n - at_zero) // slope
    return True


@dataclass
class _Evaluation:
    """One comprehension under one binding. Values have one axis per index, of size 1 where they
    do not depend on it."""

    env: Mapping[str, int]
    values: Mapping[Node, Array]
    node: Comp

    def __post_init__(self) -> None:
        self.extents = tuple(max(0, d.evaluate(self.env)) for d in self.node.extents)
        self.memo: dict[tuple[Scalar, int], Array] = {}
        self.masks: list[Array] = []  # kept alive: the memo keys on their id

    def result(self) -> Array:
        node = self.node
        everywhere = np.ones((1,) * len(self.extents), dtype=bool)
        roots = [sc.inline_calls(x) for x in (node.body, *(node.target or ()))]
        with np.errstate(all="ignore"):
            body, *at = (self.at(x, everywhere) for x in roots)
            if node.reducer == "sum" and node.dtype.is_half and node.target is None:
                body = self.unrounded(roots[0], everywhere)
            body = np.broadcast_to(body, self.extents)
            if node.target is not None:
                return self.scatter(body, [np.broadcast_to(a, self.extents) for a in at])
            if node.reducer is None:
                return self.store(body)
            return self.store(self.reduced(body))

    def unrounded(self, x: Scalar, mask: Array) -> Array:
        """The value of `x`, of 16 bits, in f32; a product, which is exact there, is not rounded."""
        match x:
            case sc.Op("mul", (a, b)):
                return self.at(a, mask).astype(np.float32) * self.at(b, mask).astype(np.float32)
            case _:
                return self.at(x, mask).astype(np.float32)

    def store(self, x: Array) -> Array:
        return np.array(_in_dtype(x, self.node.dtype), order="C")

    def reduced(self, body: Array) -> Array:
        node = self.node
        rank, reducer = node.rank, node.reducer
        flat = body.reshape(*body.shape[:rank], math.prod(body.shape[rank:]))
        if flat.dtype == np.float16:
            flat = flat.astype(np.float32)  # as native code accumulates
        if flat.shape[-1] == 0 and reducer in ("max", "min", "argmax", "argmin"):
            raise ValueError(f"{reducer} over an empty range")
        function: Any = {
            "sum": np.sum,
            "prod": np.prod,
            "max": np.max,
            "min": np.min,
            "any": np.any,
            "all": np.all,
            "argmax": np.argmax,
            "argmin": np.argmin,
        }[reducer or ""]
        out: Array = np.asarray(function(flat, axis=-1))
        return out

    def scatter(self, body: Array, at: list[Array]) -> Array:
        node = self.node
        shape = tuple(max(0, d.evaluate(self.env)) for d in node.shape)
        for axis, (index, n) in enumerate(zip(at, shape, strict=True)):
            _check_range(index, n, f"{node.name or 'the result'}, dim {axis}")
        reducer = REDUCERS[node.reducer or "sum"]
        body = _in_dtype(body, node.dtype)
        out = np.full(shape, reducer.identity, dtype=body.dtype)
        combine: Any = PRIMITIVES[reducer.combine or "add"].numpy
        combine.at(out, tuple(at), body)
        return _in_dtype(out, node.dtype)

    def at(self, x: Scalar, mask: Array) -> Array:
        """The value of `x` where `mask` holds (anything elsewhere)."""
        key = (x, id(mask))
        if key not in self.memo:
            for part in self.parts(x, mask):
                self.memo[part, id(mask)] = self.evaluate(part, mask)
        return self.memo[key]

    def parts(self, root: Scalar, mask: Array) -> list[Scalar]:
        """What `root` is computed from under the same mask, operands first (no recursion: bodies
        may be deep)."""
        out: list[Scalar] = []
        stack: list[tuple[Scalar, bool]] = [(root, False)]
        seen: set[Scalar] = set()
        while stack:
            x, expanded = stack.pop()
            if expanded:
                out.append(x)
            elif x not in seen and (x, id(mask)) not in self.memo:
                seen.add(x)
                stack.append((x, True))
                lazy = isinstance(x, sc.Op) and x.name == "where"
                kids = sc.children(x)
                stack.extend((c, False) for c in (kids[:1] if lazy else kids))
        return out

    def evaluate(self, x: Scalar, mask: Array) -> Array:
        match x:
            case sc.Const():
                return _in_dtype(np.asarray(x.value), x.dtype)
            case sc.Affine():
                total = np.asarray(x.const.evaluate(self.env), dtype=np.int64)
                for k, c in x.terms:
                    shape = [1] * len(self.extents)
                    shape[k] = self.extents[k]
                    steps = np.arange(self.extents[k], dtype=np.int64).reshape(shape)
                    total = total + c.evaluate(self.env) * steps
                return total
            case sc.Read():
                return self.read(x, mask)
            case sc.Op("where", (test, then, other)):
                chosen = self.at(test, mask)
                yes, no = mask & chosen, mask & ~chosen
                self.masks += [yes, no]
                return np.where(chosen, self.at(then, yes), self.at(other, no))
            case sc.Op("cast", (inner,)):
                return _cast(self.at(inner, mask), inner.dtype, x.dtype)
            case sc.Op():
                args = [self.at(a, mask) for a in x.args]
                out = np.asarray(PRIMITIVES[x.name].numpy(*args))
                return out if x.dtype.is_bool else _in_dtype(out, x.dtype)
            case _:
                raise TypeError(f"not a primitive expression: {x}")

    def read(self, x: sc.Read, mask: Array) -> Array:
        source = self.values[x.tensor]
        at: list[Array] = []
        for axis, index in enumerate(x.indices):
            i, n = self.at(index, mask), source.shape[axis]
            space = np.broadcast_shapes(i.shape, mask.shape)
            taken = np.broadcast_to(mask, space)
            if self.size_of(space):
                _check_range(np.broadcast_to(i, space)[taken], n, f"{_name(x.tensor)}, dim {axis}")
            at.append(np.clip(i, 0, max(n - 1, 0)))
        if 0 in source.shape:
            return np.zeros((1,) * len(self.extents), dtype=source.dtype)
        return np.asarray(source[tuple(at)]) if at else source

    def size_of(self, space: tuple[int, ...]) -> bool:
        """Whether any index point lies in `space` (axes of size 1 stand for whole extents)."""
        return all(n > 0 for n in self.extents)


def _name(node: Node) -> str:
    return node.name or "a value"


def _check_range(index: Array, n: int, what: str) -> None:
    if index.size and (index.min() < 0 or index.max() >= n):
        bad = index[(index < 0) | (index >= n)].flat[0]
        raise IndexError(f"index {bad} is out of range for {what}, of size {n}")


def _cast(x: Array, source: DType, dtype: DType) -> Array:
    if source.is_float and dtype.is_integer:
        x = np.nan_to_num(x, nan=0.0)
    return _in_dtype(x, dtype)


def _in_dtype(x: Array, dtype: DType) -> Array:
    """`x` rounded to `dtype`; bf16, which NumPy lacks, is held as f32 of fewer bits."""
    if dtype is BF16:
        return _from_bits(_to_bits(np.asarray(x, dtype=np.float32)))
    return x.astype(dtype.numpy, copy=False)


def _to_bits(x: Array) -> Array:
    """f32 to the bits of the nearest bf16, ties to even; a NaN stays one."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32).reshape(np.shape(x))
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), 0x7FC0, rounded).astype(np.uint16)


def _from_bits(x: Array) -> Array:
    wide = np.asarray(x, dtype=np.uint32) << np.uint32(16)
    return np.ascontiguousarray(wide).view(np.float32).reshape(np.shape(x))
