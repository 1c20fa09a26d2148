"""How the sizes of a call's arguments bind the named dims of a signature.

In: the parameters' symbolic shapes. Out: a list of steps, in the order in which they can be done:
`Bind` computes a name from one argument's size, `Equal` compares a size with an expression of
names bound before. The native entry executes the steps and so does the checker that explains a
refused call: one plan, so that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .dims import Dim, dim
from .records import dataclass


@dataclass(frozen=True)
class Bind:
    """`name = (size - rest) / factor`, where `size` is that of `axis` of parameter `position`;
    the division has to be exact and the result at least 0."""

    name: str
    position: int
    axis: int
    factor: int
    rest: Dim


@dataclass(frozen=True)
class Equal:
    """The size of `axis` of parameter `position` has to be `expected`."""

    position: int
    axis: int
    expected: Dim


Step = Bind | Equal


def binding_steps(shapes: Sequence[Sequence[Dim]]) -> tuple[Step, ...]:
    """The steps for parameters of these shapes.

    Plain names are bound first, wherever they stand; then names in linear expressions (`2*n`,
    `h - p + 1`), as the names beside them become known. Raises ValueError for a name that no size
    determines (`n*m`, `n//2` alone).
    """
    open_axes = [(p, a, d) for p, shape in enumerate(shapes) for a, d in enumerate(shape)]
    steps: list[Step] = []
    bound: set[str] = set()
    for plain in (True, False):
        progress = True
        while progress:
            progress = False
            for entry in list(open_axes):
                step = _solve(*entry, bound)
                if step is not None and (not plain or (not step.rest.terms and step.factor == 1)):
                    steps.append(step)
                    bound.add(step.name)
                    open_axes.remove(entry)
                    progress = True
    for position, axis, expected in open_axes:
        if expected.names - bound:
            missing = ", ".join(sorted(expected.names - bound))
            raise ValueError(f"no argument's size determines {missing} in the dim {expected}")
        steps.append(Equal(position, axis, expected))
    return tuple(steps)


def _solve(position: int, axis: int, size: Dim, bound: set[str]) -> Bind | None:
    """`size` solved for its one unbound name, if it is linear in that."""
    unknown = size.names - bound
    if len(unknown) != 1:
        return None
    (name,) = unknown
    factor = dict(size.terms).get((name,), 0)
    rest = size - dim(factor) * Dim((((name,), 1),))
    if factor == 0 or name in rest.names:
        return None
    return Bind(name, position, axis, factor, rest)


def bind(
    steps: Sequence[Step], sizes: Sequence[Sequence[int]]
) -> tuple[Mapping[str, int], Step | None]:
    """Carry out `steps` on the arguments' sizes: the names bound, and the first step that fails
    (None when all hold)."""
    env: dict[str, int] = {}
    for step in steps:
        size = sizes[step.position][step.axis]
        match step:
            case Bind():
                value, remainder = divmod(size - step.rest.evaluate(env), step.factor)
                if remainder or value < 0:
                    return env, step
                env[step.name] = value
            case Equal():
                if step.expected.evaluate(env) != size:
                    return env, step
    return env, None
