"""Compiled graphs and their vector-Jacobian products, to any order.

In: a graph (made when it is first needed) and a text that says all that it depends on. Out: a
`Kernel`: a native callable over arrays, whose `vjp` is a Kernel again, so that the gradient of a
compiled gradient is compiled as well.

What a vjp reads is found by analysis: of every operand and result either the values, or nothing,
or only the sizes. Its parameters are named after it: `x2` is operand 2, `s2` an empty array with
the sizes of operand 2 (one more axis, of size 0, makes it empty), `y0` result 0, `ct0` the
cotangent of result 0. A pass saves what the names ask for.

A large cotangent that is one number for all elements, as that of a sum's operand is, is not written
out: `as_number` computes the number, and `uniform` is the vjp that takes one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...compiler.records import dataclass
from .. import calls
from ..arguments import OutOfRangeError
from ..signature import Signature
from . import dtype as dt
from .core import Array, Kind, kind

if TYPE_CHECKING:
    from ...compiler.graph import Comp, Function, Node
    from ...compiler.scalar import Scalar
    from ..native import Native
    from .saved import Plan


class _Owner(calls.Owner):
    """A Kernel's call refuses by returning None: whoever called knows what to try next."""

    def slow(self, native: Native, args: Sequence[Any], kwargs: Any) -> Any:
        return None

    def out_of_range(self, check: calls.Check, axis: int, value: int, size: int) -> None:
        raise OutOfRangeError(
            f"index {value} is out of bounds for dimension {axis} with size {size}"
        )


def _nobody() -> None:
    return None


@dataclass(frozen=True)
class Need:
    """What a vjp takes as its next argument: `x` the values or `s` the sizes of operand
    `position`, `y` the values of a result, `ct` a cotangent."""

    what: str
    position: int


class Kernel:
    """One compiled graph. `native` takes arrays (contiguous, of the right kinds; numbers for
    operands without axes) and returns None if it cannot take them."""

    def __init__(self, content: str, graph: Callable[[], Function]) -> None:
        self.content = content
        self._graph = graph
        self._vjps: dict[tuple[int, ...], Kernel] = {}
        self.plans: dict[tuple[int, ...], Plan | None] = {}  # of vjps, for `saved.record`
        self._lock = threading.RLock()

    @cached_property
    def graph(self) -> Function:
        """The graph, gradients still requests."""
        return self._graph()

    @cached_property
    def _loaded(self) -> Native:
        from ..compilation import native_of_graph  # brings LLVM: not before something is compiled

        with self._lock:
            return native_of_graph(
                ("kernel", self.content),
                lambda: self.graph,
                lambda signature, checks: _Owner(signature, checks, _nobody),
                arrays=True,
            )

    @cached_property
    def native(self) -> Callable[..., Any]:
        return self._loaded.callable

    @property
    def signature(self) -> Signature:
        found: Signature = self._loaded.owner.signature
        return found

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """Of the results."""
        return tuple(kind(dt.OF_COMPILED[o.dtype], len(o.shape)) for o in self.signature.outputs)

    @property
    def returns_tuple(self) -> bool:
        return self.signature.returns_tuple

    @cached_property
    def needs(self) -> tuple[Need, ...]:
        """Of a vjp: its arguments."""
        found = []
        for p in self.signature.params:
            match = re.fullmatch(r"(x|s|y|ct)(\d+)", p.name)
            assert match is not None, p.name
            found.append(Need(match[1], int(match[2])))
        return tuple(found)

    @cached_property
    def passes(self) -> tuple[int | None, ...]:
        """Of a vjp: for every operand wanted, the result whose cotangent is its cotangent as it
        stands, or None where the next of the kernel's results is."""
        return tuple(None if word in ("-", "=") else int(word) for word in self._words)

    @cached_property
    def numbers(self) -> tuple[bool, ...]:
        """Of a vjp: which cotangents are one number for all elements."""
        return tuple(word == "=" for word in self._words)

    @property
    def _words(self) -> list[str]:
        return (self.signature.doc or "").split()[1:]

    @cached_property
    def as_number(self) -> Kernel:
        """Of a vjp with one result that is one number for all elements: that number."""
        return Kernel(f"number of {self.content}", lambda: as_numbers(self.graph, None))

    @cached_property
    def uniform(self) -> Kernel:
        """Of a vjp that takes one cotangent, last: the same where that is one number for all
        elements. It takes an empty array with the cotangent's sizes, then the number; results of
        those sizes that are one number are given as that."""
        return Kernel(f"uniform {self.content}", lambda: uniform_graph(self.graph))

    def vjp(self, wanted: tuple[int, ...]) -> Kernel:
        """The cotangents of the operands at the positions `wanted`, from those of the
        floating-point results."""
        found = self._vjps.get(wanted)
        if found is None:
            content = f"vjp{wanted} of {self.content}"
            made = Kernel(content, lambda: vjp_graph(self.graph, wanted))
            found = self._vjps.setdefault(wanted, made)
        return found


@lru_cache(4096)
def sizes_only(shape: tuple[int, ...]) -> Array:
    """The empty array that tells compiled code a shape."""
    return np.empty((*shape, 0), np.bool_)


def contiguous(a: Any) -> Any:
    """An operand as native code takes it: dense, with the object for its dtype that is known there
    (NumPy may have others, after unpickling)."""
    if not isinstance(a, np.ndarray):
        return a
    dense = a if a.flags.c_contiguous and a.flags.aligned else np.array(a, order="C")
    known = np.dtype(dense.dtype.type)
    return dense if dense.dtype is known else dense.view(known)


# --------------------------------------------------------------------------- the graph of a vjp


def vjp_graph(fn: Function, wanted: Sequence[int]) -> Function:
    """The vjp of `fn` for its parameters at `wanted`, reading no more than it needs."""
    from ...compiler.pipeline import differentiated
    from ...compiler.simplify import simplify

    fn = differentiated(fn)
    with fn.scope.active():
        plain = _with_cotangents(fn, wanted)
        reading = _reading_results(plain, fn)
        chosen = simplify(reading if _better(reading, plain) else plain)
        return _narrowed(_marked(_without_passes(chosen)), fn)


def uniform_graph(vjp: Function) -> Function:
    """`vjp` of a cotangent, its last parameter, that is one number for all elements."""
    from ...compiler import scalar as sc
    from ...compiler.dims import dim
    from ...compiler.dtypes import BOOL
    from ...compiler.graph import Comp, make_input, rewrite, with_body
    from ...compiler.simplify import simplify

    *others, ct = vjp.params
    last = len(others)
    sizes = make_input(f"s{ct.name[2:]}", last, BOOL, (*ct.shape, dim(0)), ct.span)
    number = make_input(ct.name, last + 1, ct.dtype, (), ct.span)

    def one(x: Scalar) -> Scalar:
        return sc.read(number, ()) if isinstance(x, sc.Read) and x.tensor is ct else x

    def rule(node: Node) -> Node:
        if not isinstance(node, Comp):
            return node
        target = None if node.target is None else [sc.rewrite(t, one) for t in node.target]
        return with_body(node, sc.rewrite(node.body, one), target)

    with vjp.scope.active():
        outputs = rewrite(vjp.outputs, rule)
        made = replace(vjp, params=(*others, sizes, number), outputs=tuple(outputs))
        return as_numbers(_marked(simplify(made)), ct.shape)


def _is_number(node: Node) -> bool:
    """Whether all elements are one."""
    from ...compiler import scalar as sc
    from ...compiler.graph import Comp

    if not isinstance(node, Comp) or node.reducer is not None or node.target is not None:
        return False
    return bool(node.shape) and not sc.indices_of(node.body)


def _marked(vjp: Function) -> Function:
    """`vjp` with the results that are one number marked in its doc."""
    results = iter(vjp.outputs)
    words = [
        ("=" if _is_number(next(results)) else "-") if word in ("-", "=") else word
        for word in (vjp.doc or "").split()
    ]
    return replace(vjp, doc=" ".join(words))


def as_numbers(vjp: Function, shape: Sequence[Any] | None) -> Function:
    """`vjp` with the results that are one number (and of that shape, if one is given) as it."""
    from ...compiler.graph import comp

    results = iter(vjp.outputs)
    words, kept = [], []
    for word in (vjp.doc or "").split():
        if word in ("-", "="):
            o: Any = next(results)
            if word == "=" and (shape is None or tuple(o.shape) == tuple(shape)):
                o = comp(o.body, (), 0, name=o.name, span=o.span)
            else:
                word = "-"
            kept.append(o)
        words.append(word)
    return replace(vjp, outputs=tuple(kept), doc=" ".join(words))


def _with_cotangents(fn: Function, wanted: Sequence[int]) -> Function:
    """`fn`'s parameters, then a cotangent of every floating-point result; the gradients."""
    from ...compiler.graph import gradient, make_input
    from ...compiler.pipeline import differentiated
    from ..transforms import inner_product

    params: list[Any] = list(fn.params)
    for k, o in enumerate(fn.outputs):
        if o.dtype.is_float:
            params.append(make_input(f"ct{k}", len(params), o.dtype, o.shape, fn.span))
    value = inner_product(fn.outputs, params[len(fn.params) :])
    requests = tuple(gradient(value, fn.params[w], f"d{w}", fn.span) for w in wanted)
    made = replace(fn, name=f"{fn.name}_vjp", params=tuple(params), outputs=requests,
                   returns_tuple=True)  # fmt: skip
    return differentiated(made)


def _reading_results(vjp: Function, fn: Function) -> Function:
    """`vjp` with `fn`'s results read where it would compute them again."""
    from ...compiler import scalar as sc
    from ...compiler.graph import Comp, identity_read, make_input, rewrite, with_body

    params: list[Any] = list(vjp.params)
    known: dict[Node, Node] = {}
    bodies: dict[Scalar, tuple[Comp, Node]] = {}
    for k, o in enumerate(fn.outputs):
        if isinstance(o, Comp):
            result = make_input(f"y{k}", len(params), o.dtype, o.shape, fn.span)
            params.append(result)
            known[o] = result
            if o.reducer is None and isinstance(o.body, sc.Op | sc.Call):
                bodies[o.body] = o, result

    def read_again(node: Node) -> Node:
        if node in known:
            return known[node]
        if not isinstance(node, Comp) or not bodies:
            return node

        def rule(x: Scalar) -> Scalar:
            found = bodies.get(x)
            if found is None or node.extents[: found[0].rank] != found[0].extents:
                return x
            return identity_read(found[1])

        body = sc.rewrite(node.body, rule)
        return node if body is node.body else with_body(node, body)

    return replace(vjp, params=tuple(params), outputs=rewrite(vjp.outputs, read_again))


def _without_passes(vjp: Function) -> Function:
    """`vjp` without the results that are a cotangent as it stands; its doc says which."""
    words = []
    for o in vjp.outputs:
        name = getattr(o, "name", None) or ""
        passed = any(o is p for p in vjp.params) and name.startswith("ct")
        words.append(name[2:] if passed else "-")
    kept = [o for o, w in zip(vjp.outputs, words, strict=True) if w == "-"]
    return replace(vjp, outputs=tuple(kept), doc=f"passes {' '.join(words)}")


def _read_params(fn: Function) -> set[Node]:
    from ...compiler.graph import Input, postorder

    return {n for n in postorder(fn.outputs) if isinstance(n, Input)}


def _better(reading: Function, plain: Function) -> bool:
    """Whether to keep results: where fewer arrays are kept by it, or as many and a reduction or a
    function of the math library is not done again (so that `exp` keeps its result, as PyTorch's
    does, and a quotient its operands)."""
    arrays, again = (sum(1 for p in _read_params(f) if p.shape) for f in (reading, plain))
    if _reductions(reading) < _reductions(plain) or arrays < again:
        return True
    return arrays == again and (
        _mathematics(reading) < _mathematics(plain)
        or len(_read_params(reading)) < len(_read_params(plain))
    )


def _reductions(fn: Function) -> int:
    from ...compiler.graph import Comp, postorder

    return sum(isinstance(n, Comp) and n.reducer is not None for n in postorder(fn.outputs))


def _mathematics(fn: Function) -> int:
    """How much work is roots, exponentials and their like."""
    from ...compiler import scalar as sc
    from ...compiler.graph import Comp, postorder
    from ...compiler.primitives import PRIMITIVES

    bodies = {sc.inline_calls(n.body) for n in postorder(fn.outputs) if isinstance(n, Comp)}
    names = [x.name for x in sc.postorder(bodies) if isinstance(x, sc.Op)]
    return sum(PRIMITIVES[n].cost for n in names if n not in ("div", "floordiv", "mod"))


def _narrowed(vjp: Function, fn: Function) -> Function:
    """`vjp` with the parameters that it reads, and the sizes that these do not bring."""
    from ...compiler.dims import dim
    from ...compiler.dtypes import BOOL
    from ...compiler.graph import Input, make_input, rewrite

    read = _read_params(vjp)
    cotangents = [p for p in vjp.params[len(fn.params) :] if p.name.startswith("ct")]
    bound = {str(d) for p in (*read, *cotangents) for d in p.shape if str(d) in d.names}
    params: list[Any] = []
    moved: dict[Node, Node] = {}

    def keep(p: Node, name: str) -> None:
        assert isinstance(p, Input)
        new = make_input(name, len(params), p.dtype, p.shape, p.span)
        params.append(new)
        moved[p] = new

    for k, p in enumerate(fn.params):
        if p in read:
            keep(p, f"x{k}")
        elif {n for d in p.shape for n in d.names} - bound:
            shape = (*p.shape, dim(0))
            params.append(make_input(f"s{k}", len(params), BOOL, shape, p.span))
            bound |= {str(d) for d in p.shape if str(d) in d.names}
    for p in vjp.params[len(fn.params) :]:
        if p in read and p not in cotangents:
            keep(p, p.name)
    for p in cotangents:  # last: what a pass saves comes before what arrives
        keep(p, p.name)
    outputs = rewrite(vjp.outputs, lambda n: moved.get(n, n))
    return replace(vjp, params=tuple(params), outputs=outputs)
