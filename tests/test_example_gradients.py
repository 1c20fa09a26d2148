"""Every function of `examples/` and of `tests/filetests/`: as printed and compiled again, it and
its gradient have the same bits; and the gradient check passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.runtime.gradient_check import check_gradients
from tdsl.runtime.random_inputs import Style, choose_sizes, draw

ROOT = Path(__file__).resolve().parent.parent
FILES = (
    *sorted((ROOT / "examples").glob("*.tdsl")),
    *(ROOT / "tests" / "filetests" / f"{name}.tdsl" for name in ("functions", "graph")),
)
FUNCTIONS = [(str(f.relative_to(ROOT)), name) for f in FILES for name in tdsl.load(f)]


def inputs(f: tdsl.Function) -> list[Any]:
    """Positive random arguments: every example is defined there."""
    sizes = choose_sizes(f.description)
    rng = np.random.default_rng(0)
    style = Style(positive=True, bound=min(sizes.values()))
    return [draw(p, sizes, rng, style) for p in f.description.params]


def same_bits(a: Any, b: Any) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(("file", "name"), FUNCTIONS)
def test_the_text_of_a_function_compiles_to_the_same_bits(file: str, name: str) -> None:
    f = tdsl.load(ROOT / file)[name]
    again = tdsl.compile(f.ir("simplified"))[name]
    assert again.signature == f.signature
    values, copies = f(*inputs(f)), again(*inputs(f))
    several = zip(values, copies, strict=True) if isinstance(values, tuple) else [(values, copies)]
    assert all(same_bits(a, b) for a, b in several)


@pytest.mark.parametrize(("file", "name"), FUNCTIONS)
def test_the_gradient_as_text_compiles_to_the_same_bits(file: str, name: str) -> None:
    f = tdsl.load(ROOT / file)[name]
    try:
        gradient = f.grad()
    except TypeError as reason:
        pytest.skip(str(reason))
    (copy,) = tdsl.compile(f.gradient_source())
    again = tdsl.compile(f.gradient_source())[copy]
    found, copies = gradient(*inputs(f)), again(*inputs(f))
    several = zip(found, copies, strict=True) if isinstance(found, tuple) else [(found, copies)]
    assert all(same_bits(a, b) for a, b in several)


@pytest.mark.parametrize(("file", "name"), FUNCTIONS)
def test_the_gradient_check_does_not_fail(file: str, name: str) -> None:
    outcome = check_gradients(tdsl.load(ROOT / file)[name])
    assert outcome.status != "failed", outcome.detail
    assert outcome.status == "passed" or name in ("predict", "hashed", "of_bits")
