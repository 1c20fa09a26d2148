"""Sums of products by name: `einsum("bij,bjk->bik", …)` is the comprehension that it spells."""

from __future__ import annotations

from collections.abc import Sequence

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, dim, is_one
from .graph import comp
from .index_lambda import IndexLambda, OpError
from .op_arguments import Tensors
from .scalar import Scalar

_DOTS = "..."

#: An index: a letter, or a dim that `...` stands for, counted from the last: -1, -2, …
_Names = list[str | int]


def einsum(equation: str, operands: Tensors) -> IndexLambda:
    """A letter names an index; one that the output lacks is summed over, one that an operand
    repeats reads its diagonal. Without `->` the output has the letters that stand once, sorted.
    `...` stands for leading dims, which broadcast. A dim of size 1 meets any other."""
    sources, result = _parsed(equation, len(operands))
    names = [_names(s, x, equation) for s, x in zip(sources, operands, strict=True)]
    sizes = _sizes(names, operands, equation)
    ellipsis = [n for n in sizes if isinstance(n, int)]
    ellipsis.sort()
    if result is None:
        single = [
            n for n in sorted(x for x in sizes if isinstance(x, str)) if _count(names, n) == 1
        ]
        kept: list[str | int] = [*ellipsis, *single]
    else:
        before, dots, after = result.partition(_DOTS)
        kept = [*before, *(ellipsis if dots else ()), *after]
        if len(set(kept)) < len(kept) or any(n not in sizes for n in kept):
            raise OpError(
                "E0504", f"the output of {equation!r} names each index of the operands at most once"
            )
    order = [*kept, *(n for n in sizes if n not in kept)]
    number = {n: k for k, n in enumerate(order)}
    body: Scalar | None = None
    for x, at in zip(map(il.computed_once, operands), names, strict=True):
        places: list[Scalar] = [
            sc.size(0) if is_one(d) else sc.index(number[n])
            for d, n in zip(x.shape, at, strict=True)
        ]
        read = sc.substitute_indices(x.body, dict(enumerate(places)))
        body = read if body is None else sc.op("mul", body, read)
    assert body is not None
    extents = [sizes[n] for n in order]
    if len(kept) == len(order):
        return IndexLambda(tuple(extents), body)
    return il.of_node(comp(body, extents, len(kept), "sum"))


def _parsed(equation: str, count: int) -> tuple[list[str], str | None]:
    """The operands' letters, and the output's where they are given."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    sources = left.split(",")
    for part in (*sources, right):
        if not all(c.isascii() and c.isalpha() for c in part.replace(_DOTS, "", 1)):
            raise OpError("E0504", f"{equation!r} is not of the form 'ij,jk->ik'")
    if len(sources) != count:
        raise OpError("E0504", f"{equation!r} has {len(sources)} operand(s), got {count}")
    return sources, right if arrow else None


def _names(letters: str, x: IndexLambda, equation: str) -> _Names:
    before, dots, after = letters.partition(_DOTS)
    hidden = x.rank - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise OpError(
            "E0504", f"{letters!r} in {equation!r} does not name the dims of {il.type_text(x)}"
        )
    return [*before, *range(-hidden, 0), *after]


def _sizes(
    names: Sequence[_Names], operands: Sequence[IndexLambda], equation: str
) -> dict[str | int, Dim]:
    out: dict[str | int, Dim] = {}
    for at, x in zip(names, operands, strict=True):
        for n, d in zip(at, x.shape, strict=True):
            known = out.get(n, dim(1))
            if not is_one(known) and not is_one(d) and known != d:
                what = f"index {n}" if isinstance(n, str) else "`...`"
                raise OpError("E0504", f"{what} of {equation!r} is {known} and {d}")
            out[n] = d if is_one(known) else known
    return out


def _count(names: Sequence[_Names], n: str) -> int:
    return sum(at.count(n) for at in names)
