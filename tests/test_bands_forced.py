"""Bands at their edges: blocks of a row or two, many parts, or every function stage by stage.

The sizes that decide are made so small that small arrays go the ways of large ones, within a native
harness that sees every byte written outside the results and the arena.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tdsl
from hypothesis import HealthCheck, given, settings
from tdsl.compiler import emit_band
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.tuning import Tuning

from .native_functions import Native
from .random_graphs import functions
from .test_bands import NAMES, PROGRAM
from .test_random_graphs import with_gradients

WAYS: dict[str, tuple[int, dict[str, int]]] = {
    "blocks": (64, {"LONGEST": 1 << 40, "FEWEST": 0, "_PARTS_SO_FAR": 0}),
    "wider blocks": (4096, {"LONGEST": 1 << 40, "FEWEST": 0}),
    "stages": (-1, {"FEWEST": 1 << 40}),
}
SHAPES = [(1, 1), (1, 17), (3, 5), (5, 40), (67, 3), (130, 33)]
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@pytest.fixture(params=WAYS)
def way(request: Any) -> Iterator[Tuning]:
    band_bytes, limits = WAYS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(emit_band, name, value)
        yield Tuning(band_bytes=band_bytes)


@pytest.mark.parametrize("name", NAMES)
def test_programs(way: Tuning, name: str) -> None:
    f = getattr(tdsl.compile(re.sub(r"\bT\b", "f64", PROGRAM)), name)
    fn = simplified(f.graph())
    with fn.scope.active():
        native = Native(fn, way)
    for r, c in SHAPES:
        rng = np.random.default_rng(r * c)
        arrays = []
        for p in fn.params:
            sizes = {"r": r, "c": c}
            shape = [d.const if d.const is not None else sizes[str(d)] for d in p.shape]
            whole = p.dtype.name == "i64"
            arrays.append(rng.integers(0, c, shape) if whole else rng.standard_normal(shape))
        _agree(native(*arrays), interpret(fn, arrays))


@pytest.mark.parametrize("name", ["columns", "norm", "extremes"])
def test_rows_that_are_one_block_but_not_a_round_number(name: str) -> None:
    """They all have room: blocks of so many rows are rounded down elsewhere."""
    f = getattr(tdsl.compile(re.sub(r"\bT\b", "f64", PROGRAM)), name)
    fn = simplified(f.graph())
    with fn.scope.active():
        native = Native(fn)
    for r, c in [(17, 300), (20, 700), (23, 500), (33, 400), (40, 400), (47, 200)]:
        sizes = {"r": r, "c": c}
        rng = np.random.default_rng(r)
        arrays = [rng.standard_normal([d.evaluate(sizes) for d in p.shape]) for p in fn.params]
        _agree(native(*arrays), interpret(fn, arrays))


def test_random_functions(way: Tuning) -> None:
    @settings(max_examples=40, database=None, **QUIET)
    @given(functions())
    def examined(case: Any) -> None:
        fn, arrays = case
        whole = simplified(with_gradients(fn))
        with whole.scope.active():
            native = Native(whole, way)
        _agree(native(*arrays), interpret(whole, arrays))

    examined()


def _agree(found: Any, wanted: Any) -> None:
    for got, want in zip(found, wanted, strict=True):
        scale = np.abs(want).max(initial=1) if want.dtype.kind == "f" else 1
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11 * scale)
