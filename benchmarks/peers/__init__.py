"""The systems that tdsl is compared with, each in a file of its own.

A peer is a module with `systems(threads)`: what it calls itself, and how it makes of a workload and
its arguments a function of no arguments that computes the value and the gradients. What cannot run
here raises `UnavailableError` with the reason; the page states it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workload_table import Workload


class UnavailableError(Exception):
    """Why a system, or a workload on it, does not run here."""


@dataclass(frozen=True)
class System:
    """`build` gives the work; None where the workload is not what the system is for. `arrays` turns
    what the work returns into NumPy arrays."""

    name: str
    build: Callable[[Workload, tuple[Any, ...]], Callable[[], Any] | None]
    arrays: Callable[[Any], tuple[Any, ...]]


def positions(formula: Callable[..., Any], wrt: tuple[str, ...]) -> tuple[int, ...]:
    """Of the parameters `wrt` among those of `formula`."""
    import inspect

    names = list(inspect.signature(formula).parameters)
    return tuple(names.index(w) for w in wrt)
