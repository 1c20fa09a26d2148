"""The workloads: programs of `workloads/`, their sizes, inputs, references and floors.

Every row is a value and its gradients, in f32. The sizes are those that the page reports; the
small ones are for the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import references

PROGRAMS = Path(__file__).resolve().parent / "workloads"

Array = Any
Sizes = Mapping[str, int]
Generator = np.random.Generator

#: What counts as how many floating-point operations: + - × and comparisons are 1.
DIVISION = 8  # an estimate and two Newton steps
ELEMENTARY = 20  # exp, log, erf, tanh: a range reduction and a polynomial


@dataclass(frozen=True)
class Workload:
    """A program and what is asked of it."""

    name: str  # of its file, and of its reference
    title: str
    function: str
    wrt: tuple[str, ...]  # parameters that the value (its sum, if it is an array) is derived by
    sizes: Sizes
    small: Sizes
    inputs: Callable[[Sizes, Generator], tuple[Array, ...]]
    operations: Callable[[Sizes], float]  # that no way of computing it can do without
    tolerance: float = 1e-5  # of the largest entry of a result's reference
    own_gradients: bool = False  # the program itself asks for its gradients

    @property
    def path(self) -> Path:
        return PROGRAMS / f"{self.name}.tdsl"

    def arguments(self, sizes: Sizes) -> tuple[Array, ...]:
        return self.inputs(sizes, np.random.default_rng(0))

    def reference(self, arguments: tuple[Array, ...]) -> tuple[Array, ...]:
        """The results in float64."""
        found: tuple[Array, ...] = getattr(references, self.name)(*arguments)
        return found

    def errors(self, results: tuple[Array, ...], expected: tuple[Array, ...]) -> list[float]:
        """Of every result: its largest error, as a share of the reference's largest entry. Raises
        ValueError where shapes differ."""
        if len(results) != len(expected):
            raise ValueError(f"{len(results)} results rather than {len(expected)}")
        found = []
        for result, wanted in zip(results, expected, strict=True):
            if np.shape(result) != np.shape(wanted):
                raise ValueError(f"shape {np.shape(result)} rather than {np.shape(wanted)}")
            off = np.abs(np.asarray(result, np.float64) - wanted).max()
            found.append(float(off / np.abs(wanted).max()))
        return found

    def require_right(self, results: tuple[Array, ...], expected: tuple[Array, ...]) -> None:
        """Raise ValueError where a result is off by more than the tolerance."""
        errors = self.errors(results, expected)
        if not all(e <= self.tolerance for e in errors):  # nan is not
            shown = ", ".join(f"{e:.1e}" for e in errors)
            raise ValueError(f"errors {shown}, of which {self.tolerance:.0e} is allowed")

    def compiled(self) -> Any:
        """The value and the gradients as tdsl's function."""
        import tdsl

        function = getattr(tdsl.load(self.path), self.function)
        return function if self.own_gradients else function.value_and_grad(*self.wrt)


def f32(*arrays: Array) -> tuple[Array, ...]:
    return tuple(np.asarray(a, np.float32) for a in arrays)


def _classified(rng: Generator, rows: int, classes: int) -> tuple[Array, Array]:
    z = rng.standard_normal((rows, classes))
    return np.asarray(z, np.float32), rng.integers(0, classes, rows)


def _layers(s: Sizes, rng: Generator) -> tuple[Array, ...]:
    widths = (s["i"], s["h"], s["k"], s["o"])
    x = rng.standard_normal((s["b"], s["i"]))
    weights: list[Array] = []
    for a, b in pairwise(widths):
        weights += [rng.standard_normal((a, b)) * (2 / a) ** 0.5, 0.1 * rng.standard_normal(b)]
    return (*f32(x), rng.integers(0, s["o"], s["b"]), *f32(*weights))


def _layer_operations(s: Sizes) -> float:
    first, others = s["i"] * s["h"], s["h"] * s["k"] + s["k"] * s["o"]
    return 2 * s["b"] * (2 * first + 3 * others)


def _options(s: Sizes, rng: Generator) -> tuple[Array, ...]:
    n = s["n"]
    return f32(
        rng.uniform(50, 150, n),
        rng.uniform(50, 150, n),
        rng.uniform(0.1, 2, n),
        rng.uniform(0.01, 0.05, n),
        rng.uniform(0.1, 0.5, n),
    )


def _atoms(s: Sizes, rng: Generator) -> tuple[Array, ...]:
    """A cubic lattice near the potential's minimum, a little disturbed."""
    side = 1
    while side**3 < s["n"]:
        side += 1
    places = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)
    return f32(1.1 * places[: s["n"]] + rng.uniform(-0.05, 0.05, (s["n"], 3)))


def _attention_operations(s: Sizes) -> float:
    pairs = s["b"] * s["h"] * s["s"] ** 2
    return pairs * (6 * 2 * s["d"] + ELEMENTARY + DIVISION + 4)


def _convolution_operations(s: Sizes) -> float:
    places = s["b"] * (s["h"] - s["p"] + 1) * (s["w"] - s["q"] + 1)
    return 3 * 2 * places * s["o"] * s["c"] * s["p"] * s["q"]


WORKLOADS = (
    Workload(
        "gelu_sum",
        "gelu and sum, 4M",
        "loss",
        ("x",),
        {"n": 4_000_000},
        {"n": 1001},
        lambda s, rng: f32(rng.standard_normal(s["n"])),
        lambda s: s["n"] * (2 * ELEMENTARY + 8),
    ),
    Workload(
        "cross_entropy",
        "softmax cross-entropy 4096×1000",
        "loss",
        ("z",),
        {"b": 4096, "c": 1000},
        {"b": 9, "c": 37},
        lambda s, rng: _classified(rng, s["b"], s["c"]),
        lambda s: s["b"] * s["c"] * (ELEMENTARY + 4),
    ),
    Workload(
        "layer_norm",
        "layer norm 4096×1024, three gradients",
        "loss",
        ("x", "w", "c"),
        {"b": 4096, "d": 1024},
        {"b": 9, "d": 37},
        lambda s, rng: f32(
            rng.standard_normal((s["b"], s["d"])),
            rng.uniform(0.5, 1.5, s["d"]),
            rng.uniform(0.5, 1.5, s["d"]),
            rng.uniform(0, 1, (s["b"], s["d"])),
        ),
        lambda s: s["b"] * s["d"] * 20,
        tolerance=5e-5,  # gradients by x are small differences
    ),
    Workload(
        "mlp",
        "MLP 256×784→512→256→10",
        "loss",
        ("w1", "c1", "w2", "c2", "w3", "c3"),
        {"b": 256, "i": 784, "h": 512, "k": 256, "o": 10},
        {"b": 9, "i": 21, "h": 18, "k": 17, "o": 10},
        _layers,
        _layer_operations,
        tolerance=5e-5,
    ),
    Workload(
        "attention",
        "attention 4×8×256×64",
        "loss",
        ("q", "k", "v"),
        {"b": 4, "h": 8, "s": 256, "d": 64},
        {"b": 2, "h": 3, "s": 19, "d": 8},
        lambda s, rng: f32(
            *(rng.standard_normal((s["b"], s["h"], s["s"], s["d"])) for _ in range(4))
        ),
        _attention_operations,
        tolerance=5e-5,
    ),
    Workload(
        "conv2d",
        "conv2d 16×32×32×32 with 64×3×3",
        "loss",
        ("x", "k"),
        {"b": 16, "c": 32, "h": 32, "w": 32, "o": 64, "p": 3, "q": 3},
        {"b": 2, "c": 3, "h": 9, "w": 11, "o": 5, "p": 3, "q": 3},
        lambda s, rng: f32(
            rng.standard_normal((s["b"], s["c"], s["h"], s["w"])),
            rng.standard_normal((s["o"], s["c"], s["p"], s["q"])) / 17,
        ),
        _convolution_operations,
        tolerance=5e-5,
    ),
    Workload(
        "black_scholes",
        "Black–Scholes 1M with four greeks",
        "greeks",
        ("s", "t", "r", "v"),
        {"n": 1_000_000},
        {"n": 1001},
        _options,
        lambda s: s["n"] * (6 * ELEMENTARY + 3 * DIVISION + 30),
        own_gradients=True,
    ),
    Workload(
        "lennard_jones",
        "Lennard-Jones 1000 atoms, forces",
        "energy",
        ("x",),
        {"n": 1000},
        {"n": 61},
        _atoms,
        lambda s: s["n"] ** 2 * (DIVISION + 24),
    ),
    Workload(
        "gaussian_kernel",
        "Gaussian kernel product 4000×4000×3",
        "loss",
        ("x",),
        {"m": 4000, "n": 4000},
        {"m": 35, "n": 61},
        lambda s, rng: f32(
            rng.uniform(0, 2, (s["m"], 3)),
            rng.uniform(0, 2, (s["n"], 3)),
            rng.uniform(0, 1, s["n"]),
            rng.uniform(0, 1, s["m"]),
        ),
        lambda s: s["m"] * s["n"] * (ELEMENTARY + 18),
        tolerance=5e-5,
    ),
    Workload(
        "logistic",
        "logistic regression 20000×100",
        "loss",
        ("w", "b"),
        {"n": 20_000, "d": 100},
        {"n": 61, "d": 7},
        lambda s, rng: f32(
            rng.standard_normal((s["n"], s["d"])),
            rng.integers(0, 2, s["n"]),
            0.1 * rng.standard_normal(s["d"]),
            0.1,
        ),
        lambda s: s["n"] * (4 * s["d"] + 2 * ELEMENTARY + DIVISION),
    ),
    Workload(
        "tiny",
        "tiny (8 elements)",
        "loss",
        ("w",),
        {"n": 8},
        {"n": 8},
        lambda s, rng: f32(rng.standard_normal(s["n"]), rng.standard_normal(s["n"])),
        lambda s: s["n"] * (ELEMENTARY + 5),
    ),
)

BY_NAME = {w.name: w for w in WORKLOADS}
