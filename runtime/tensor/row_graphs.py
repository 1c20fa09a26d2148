"""From a row of the operator table and the kinds of its operands to a graph.

In: what the operands are (dtype and sizes; a Python number; a static value) and how they convert.
Out: a graph whose dims are named, so that one compiled kernel serves all sizes of its pattern:
which dims of the operands are equal, and which are 1. `assignments` proposes patterns, the most
general first; the row itself says which one it takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...compiler.records import dataclass
from . import dtype as dt

if TYPE_CHECKING:
    from ...compiler.graph import Comp, Function
    from ...compiler.index_lambda import IndexLambda
    from ...compiler.scalar import Scalar

#: A dim of an operand: a name, or the size itself.
Label = str | int
Labels = tuple[tuple[Label, ...], ...]

_TRIALS = 2_000


@dataclass(frozen=True)
class Operand:
    """A tensor (or number) operand: its dtype, and the dtype to compute in."""

    dtype: dt.dtype
    computed: dt.dtype

    def __str__(self) -> str:
        if self.dtype is self.computed:
            return str(self.dtype.compiled)
        return f"{self.dtype.compiled}->{self.computed.compiled}"


@dataclass(frozen=True)
class Application:
    """A row applied: `arguments` by parameter, each an Operand, a tuple of Operands, or a static
    value; `result` is the dtype that a floating-point result converts to (None: as it comes)."""

    row: str
    arguments: tuple[tuple[str, Any], ...]
    result: dt.dtype | None = None

    def operands(self) -> list[Operand]:
        """Every operand in order, those in tuples too."""
        found: list[Operand] = []
        for _, a in self.arguments:
            if isinstance(a, Operand):
                found.append(a)
            elif isinstance(a, tuple) and a and isinstance(a[0], Operand):
                found.extend(a)
        return found

    def text(self, labels: Labels) -> str:
        """All that the graph depends on."""
        shapes = iter(labels)

        def shown(a: Any) -> str:
            if isinstance(a, Operand):
                return f"{a}[{', '.join(map(str, next(shapes)))}]"
            if isinstance(a, tuple) and a and isinstance(a[0], Operand):
                return f"({', '.join(map(shown, a))})"
            return repr(a)

        given = ", ".join(f"{name}={shown(a)}" for name, a in self.arguments)
        result = "" if self.result is None else f" -> {self.result.compiled}"
        return f"{self.row}({given}){result}"


def graph_of(application: Application, labels: Labels) -> Function:
    """The graph. Raises OpError where the row refuses the operands."""
    from ...compiler import graph as g
    from ...compiler import index_lambda as il
    from ...compiler.dims import dim, named
    from ...compiler.ops import ROWS

    scope = g.Scope()
    with scope.active():
        params: list[Any] = []

        def lambda_of(o: Operand) -> IndexLambda:
            shape = [named(d) if isinstance(d, str) else dim(d) for d in labels[len(params)]]
            name = f"x{len(params)}"
            params.append(g.make_input(name, len(params), o.dtype.compiled, shape))
            x = il.of_node(params[-1])
            return x if o.dtype is o.computed else il.cast(x, o.computed.compiled)

        row = ROWS[application.row]
        given: list[Any] = []
        for name, a in application.arguments:
            if isinstance(a, Operand):
                given.append(lambda_of(a))
            elif isinstance(a, tuple) and a and isinstance(a[0], Operand):
                given.append(tuple(lambda_of(x) for x in a))
            elif name in row.signature.parameters and "Sizes" in str(
                row.signature.parameters[name].annotation
            ):
                given.append(tuple(map(dim, a)) if isinstance(a, tuple) else a and dim(a))
            else:
                given.append(a)
        found = row.apply(*given)
        several = found if isinstance(found, tuple) else (found,)
        wanted = application.result
        outputs = []
        for x in several:
            if wanted is not None and x.dtype.is_float and x.dtype is not wanted.compiled:
                x = il.cast(x, wanted.compiled)
            outputs.append(il.materialize(x))
        fn = g.Function(
            name=application.row,
            params=tuple(params),
            outputs=tuple(outputs),
            returns_tuple=isinstance(found, tuple),
            scope=scope,
        )
        _require_reads_inside(fn)
        return fn


def _require_reads_inside(fn: Function) -> None:
    """A plain read `x[i]` outside every condition has to have the extent of `i` as its dim: with
    names for sizes nothing else would keep it inside the tensor."""
    from ...compiler import scalar as sc
    from ...compiler.graph import Comp, postorder
    from ...compiler.index_lambda import OpError

    for node in postorder(fn.outputs):
        if not isinstance(node, Comp):
            continue
        for read in _unguarded_reads(node):
            for at, size in zip(read.indices, read.tensor.shape, strict=True):
                if isinstance(at, sc.Affine) and len(at.terms) == 1 and not at.const.terms:
                    k, step = at.terms[0]
                    if step.const == 1 and node.extents[k] != size:
                        raise OpError(
                            "E0501", f"sizes {node.extents[k]} and {size} have to be equal"
                        )


def _unguarded_reads(node: Comp) -> Iterator[Any]:
    from ...compiler import scalar as sc

    stack: list[Scalar] = [node.body, *(node.target or ())]
    seen: set[Scalar] = set()
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if isinstance(x, sc.Read):
            yield x
        if isinstance(x, sc.Op) and x.name in ("where", "and", "or"):
            stack.append(x.args[0])
        else:
            stack.extend(sc.children(x))


# --------------------------------------------------------------------------- patterns


def broadcast_labels(shapes: Sequence[tuple[int, ...]]) -> Labels | None:
    """Dims aligned on the right have one name, or are 1 beside larger ones; None where sizes do
    not broadcast."""
    rank = max(map(len, shapes))
    names: list[str] = [f"d{k}" for k in range(rank)]
    sizes = [1] * rank
    for s in shapes:
        for k, size in enumerate(s, rank - len(s)):
            if size != 1:
                if sizes[k] not in (1, size):
                    return None
                sizes[k] = size
    return tuple(
        tuple(names[k] if size == sizes[k] else 1 for k, size in enumerate(s, rank - len(s)))
        for s in shapes
    )


def assignments(shapes: Sequence[tuple[int, ...]]) -> Iterator[Labels]:
    """Patterns that these sizes have: first all dims different, then ever more of them equal;
    last the sizes themselves."""
    axes = [(t, a) for t, s in enumerate(shapes) for a in range(len(s))]
    options: list[list[tuple[int, int] | int]] = []
    for t, a in axes:
        size = shapes[t][a]
        # an axis at the same place counted from the right is the likeliest to be the same dim
        earlier = [(u, b) for u, b in axes if u < t and shapes[u][b] == size]
        place = len(shapes[t]) - a
        earlier.sort(key=lambda e: (abs(len(shapes[e[0]]) - e[1] - place), e))
        options.append([*earlier, *([1] if size == 1 else [])])
    trials = 0
    able = [k for k, o in enumerate(options) if o]
    for joined in range(len(able) + 1):
        for chosen in itertools.combinations(able, joined):
            for picks in itertools.product(*(options[k] for k in chosen)):
                yield _labels(shapes, axes, dict(zip(chosen, picks, strict=True)))
                trials += 1
                if trials > _TRIALS:
                    break
            if trials > _TRIALS:
                break
        if trials > _TRIALS:
            break
    yield tuple(shapes)


def _labels(
    shapes: Sequence[tuple[int, ...]],
    axes: Sequence[tuple[int, int]],
    picks: Mapping[int, tuple[int, int] | int],
) -> Labels:
    named: dict[tuple[int, int], Label] = {}
    fresh = itertools.count()
    for k, axis in enumerate(axes):
        pick = picks.get(k)
        if pick is None:
            named[axis] = f"d{next(fresh)}"
        else:
            named[axis] = pick if isinstance(pick, int) else named[pick]
    return tuple(tuple(named[t, a] for a in range(len(s))) for t, s in enumerate(shapes))


def first_accepted(
    candidates: Iterator[Labels], accepts: Callable[[Labels], Any]
) -> tuple[Labels, Any] | None:
    """The first pattern that the row takes, with its graph."""
    from ...compiler.index_lambda import OpError

    for labels in candidates:
        try:
            return labels, accepts(labels)
        except OpError:
            continue
    return None
