"""Random arguments for a function, from its signature alone.

In: a signature, a seed, perhaps some sizes. Out: arguments that satisfy its sizes; or a
`NoInputsError` that says why there are none. Integer arguments stay small, so that they can be
indices.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..compiler.records import dataclass
from .signature import Signature, Value

_SIZES = (3, 4, 2, 5, 6, 7)  # all different, so that a wrong axis shows
_TRIES = 400


class NoInputsError(Exception):
    """No arguments could be made; the text says why."""


@dataclass(frozen=True)
class Style:
    """How numbers are drawn: floats are standard normal, or `positive` ones from 0.3 … 1.7;
    integers are below `bound`."""

    positive: bool
    bound: int


def choose_sizes(s: Signature, fixed: Mapping[str, int] | None = None) -> dict[str, int]:
    """A size for every named dim under which every shape and requirement holds, with room to spare
    if possible: what a size is only just enough for is often empty."""
    names = sorted({n for p in s.params for d in p.shape for n in d.names})
    known = dict(fixed or {})
    unknown = set(known) - set(names)
    if unknown:
        raise NoInputsError(
            f"{s.name} has no dim {', '.join(sorted(unknown))} (dims: {', '.join(names)})"
        )
    free = [n for n in names if n not in known]
    starts = (itertools.cycle(_SIZES[k:] + _SIZES[:k]) for k in range(len(_SIZES)))
    guesses: list[tuple[int, ...]] = [tuple(itertools.islice(c, len(free))) for c in starts]
    rng = np.random.default_rng(0)
    guesses += [tuple(rng.integers(1, 12, len(free)).tolist()) for _ in range(_TRIES)]
    dims = [d for v in (*s.params, *s.outputs) for d in v.shape]
    for spare in (1, 0):
        for guess in guesses:
            env = {**known, **dict(zip(free, guess, strict=True))}
            enough = all(r.evaluate(env) >= spare for r, _ in s.requirements)
            if enough and all(d.evaluate(env) >= 1 for d in dims):
                return env
    raise NoInputsError(f"no small sizes satisfy the shapes of {s}")


def draw(
    p: Value, env: Mapping[str, int], rng: np.random.Generator, style: Style
) -> np.ndarray[Any, Any]:
    """One random argument."""
    shape = tuple(d.evaluate(env) for d in p.shape)
    want = np.dtype(p.dtype.numpy)
    if p.dtype.is_float:
        if p.dtype.name == "bf16":
            raise NoInputsError(f"{p.name} is bf16, which has no random inputs yet")
        drawn = rng.uniform(0.3, 1.7, shape) if style.positive else rng.standard_normal(shape)
        return np.asarray(drawn, want)
    if p.dtype.is_bool:
        return np.asarray(rng.integers(0, 2, shape), want)
    return np.asarray(rng.integers(0, max(1, style.bound), shape), want)
