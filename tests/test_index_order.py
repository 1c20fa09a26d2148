"""Attention whatever the order of its arrays' indices: the same values, and heads are cut apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl.compiler import emit_inner
from tdsl.compiler.index_order import in_order_of_tables
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import differentiated, simplified

from .native_functions import Native, drawn

SIZE = {"e": "b", "f": "g", "i": "s", "j": "t", "c": "d"}


@pytest.fixture
def blocks() -> Iterator[None]:
    """Sixteen inner rows at a time, always."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WHOLE": 0, "OUTSIDE": 0, "BLOCK": 1, "LEAST": 16}.items():
            patch.setattr(emit_inner, name, value)
        yield


def attention(orders: Sequence[str], guard: str = "") -> str:
    """`orders` of q, k, v, the table and what it gives, as the letters of their indices."""
    q, k, v, table, out = orders
    shapes = [", ".join(SIZE[x] for x in order) for order in (q, k, v, out)]
    at = [", ".join(order) for order in orders]
    return f"""
def f(q: f64[{shapes[0]}], k: f64[{shapes[1]}], v: f64[{shapes[2]}]) -> (
        f64[{shapes[3]}], f64[{shapes[0]}], f64[{shapes[1]}], f64[{shapes[2]}]
):
    a[{at[3]}] = sum[c](q[{at[0]}] * k[{at[1]}]){guard}
    p = softmax(a, dim={table.index("j")})
    o[{at[4]}] = sum[j](p[{at[3]}] * v[{at[2]}])
    l = sum(exp(-o**2))
    return o, grad(l, q), grad(l, k), grad(l, v)
"""


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """Mostly a batch and heads; some keys and values are shared by all heads."""
    batch = draw(st.sampled_from(["ef", "ef", "f"]))
    shared = draw(st.booleans()) and len(batch) == 2
    own = batch[:1] if shared else batch
    letters = (batch + "ic", own + "jc", own + "jc", batch + "ij", batch + "ic")
    usual = draw(st.booleans())  # what people write: the last one stays last
    orders = [
        "".join(draw(st.permutations(x[:-1]))) + x[-1]
        if usual
        else "".join(draw(st.permutations(x)))
        for x in letters
    ]
    guard = draw(st.sampled_from(["", " if j <= i else -1e30", " / sqrt(d)"]))
    sizes = {name: draw(st.integers(1, most)) for name, most in
             {"b": 3, "g": 4, "s": 50, "t": 50, "d": 20}.items()}  # fmt: skip
    return attention(orders, guard), sizes


def test_any_order(blocks: None) -> None:
    @settings(max_examples=40, database=None, deadline=None, derandomize=True)
    @given(programs())
    def examined(case: tuple[str, dict[str, int]]) -> None:
        text, sizes = case
        fn = simplified(differentiated(tdsl.compile(text).f.graph()))
        with fn.scope.active():
            native = Native(fn)
            turned = in_order_of_tables(fn)
        arrays = drawn(fn, sizes)
        expected = interpret(fn, arrays)
        for way in (native(*arrays), interpret(turned, arrays)):
            for got, want in zip(way, expected, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10 * np.abs(want).max())

    examined()


@pytest.mark.parametrize(
    ("orders", "shared"),
    [
        (["efic", "efjc", "efjc", "efij", "efic"], "2 indices"),
        (["eifc", "ejfc", "ejfc", "efij", "eifc"], "2 indices"),
        (["eifc", "efjc", "ejfc", "efij", "efic"], "2 indices"),
        (["ifc", "jfc", "jfc", "fij", "ifc"], "row"),
    ],
)
def test_heads_share_a_band(orders: list[str], shared: str) -> None:
    kernels = tdsl.compile(attention(orders)).f.ir("kernels").split("\n")
    bands = [line for line in kernels if line.startswith("kernels ") and ", by " in line]
    assert [b.split(", by the first ")[1] for b in bands if "first" in b] == [f"{shared}:"]
    assert sum("some rows of large tables" in b for b in bands) == 1


def test_copies_are_of_one_head(blocks: None) -> None:
    """Operands are copied inside the band, into a thread's own memory."""
    plan = tdsl.compile(attention(["eifc", "ejfc", "ejfc", "efij", "eifc"])).f.plan()
    lines = [line for line in plan.split("\n") if line.startswith("  t") and " f64[" in line]
    assert all("bytes for each" in line for line in lines if ", d]" in line), plan
