"""Long sums are added up in blocks: their error does not grow with their length."""

import numpy as np
import pytest
import tdsl

PROGRAM = """
def total(x: f32[n]) -> f32:
    return sum(x)

def columns(x: f32[n, k]) -> f32[k]:
    return sum(x, dim=0)

def rows(x: f32[n, k]) -> f32[n]:
    return sum(x, dim=1)

def triples(x: f32[n, 3]) -> f32:
    return sum(x * 2)

def dot(x: f32[n], y: f32[n]) -> f32:
    return sum(x * y)

def spread(x: f32[n]) -> f32:
    m = mean(x)
    return mean((x - m)**2)

def halves(x: f16[n]) -> f16:
    return mean(x)
"""

LENGTHS = [0, 1, 15, 16, 17, 511, 512, 513, 2047, 2048, 2049, 100_003]


@pytest.fixture(scope="module")
def sums():
    return tdsl.compile(PROGRAM)


def exact(x, axis=None):
    return x.astype(np.longdouble).sum(axis)


@pytest.mark.parametrize("n", LENGTHS)
def test_every_length(sums, n):
    rng = np.random.default_rng(n)
    x = rng.random(n, dtype=np.float32)
    np.testing.assert_allclose(float(sums.total(x)), float(exact(x)), rtol=4e-7)
    np.testing.assert_allclose(float(sums.dot(x, x)), float(exact(x * x)), rtol=4e-7)
    t = rng.random((n, 3), dtype=np.float32)
    np.testing.assert_allclose(float(sums.triples(t)), float(2 * exact(t)), rtol=4e-7)
    for k in (1, 3, 16, 20):
        x = rng.random((n, k), dtype=np.float32)
        np.testing.assert_allclose(sums.columns(x), exact(x, 0).astype(np.float32), rtol=4e-7)
        flat = np.ascontiguousarray(x.T)
        np.testing.assert_allclose(sums.rows(flat), exact(flat, 1).astype(np.float32), rtol=4e-7)


def test_many_equal_terms(sums):
    """The worst case of a running sum: every addition rounds the same way."""
    for n in (10**6, 2 * 10**7):
        x = np.full(n, 0.1, np.float32)
        assert float(sums.total(x)) == pytest.approx(n * float(x[0]), rel=5e-7)
        assert float(sums.spread(x)) == pytest.approx(0, abs=1e-12)


def test_narrow_floats(sums):
    x = np.full(60_000, 0.1, np.float16)
    assert float(sums.halves(x)) == float(x[0])


def test_infinities_and_nan(sums):
    x = np.zeros(5000, np.float32)
    x[4321] = np.inf
    assert np.isposinf(float(sums.total(x)))
    x[3] = -np.inf
    assert np.isnan(float(sums.total(x)))


def test_blocks_are_printed(sums):
    assert "sums of 32 steps in f64" in sums.total.ir("loops")
