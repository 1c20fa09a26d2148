"""Attention whatever the order of its arrays' indices: the same values, and heads are cut apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl.compiler import inner_bands
from tdsl.compiler import scalar as sc
from tdsl.compiler.dtypes import F64, I64
from tdsl.compiler.index_order import in_order_of_tables
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import simplified

from .native_functions import agrees, assert_close, at, built, comp, drawn, function, op, param

SIZE = {"e": "b", "f": "g", "i": "s", "j": "t", "c": "d"}


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
        native = built(text)
        arrays = drawn(native.fn, sizes)
        expected = interpret(native.fn, arrays)
        assert_close(native(*arrays), expected, 1e-8)
        with native.fn.scope.active():
            turned = in_order_of_tables(native.fn)
        assert_close(interpret(turned, arrays), expected, 1e-8)

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
    lines = [line for line in plan.split("\n") if line.startswith("  t") and ", d]" in line]
    assert len(lines) == 3 and all("bytes for each row" in line for line in lines), plan


def test_of_some_of_a_batch() -> None:
    """Operands are longer than what is made of them."""
    f = tdsl.compile("""
def f(q: f64[b, s, g, d], k: f64[b, t, g, d], v: f64[b, t, g, d]) -> f64[b-1, s, g, d]:
    a[e, f, i, j] = sum[c](q[e, i, f, c] * k[e, j, f, c]) for e in 0:b-1
    w = softmax(a, dim=3)
    o[e, i, f, c] = sum[j](w[e, f, i, j] * v[e, j, f, c]) for e in 0:b-1
    return o
""").f
    fn = simplified(f.graph())
    arrays = drawn(fn, {"b": 3, "s": 4, "t": 6, "g": 2, "d": 5})
    np.testing.assert_allclose(f(*arrays), interpret(fn, arrays)[0], rtol=1e-12)


def test_rows_at_computed_places_are_no_copy() -> None:
    q = param("q", 0, ["b", "g", "s", "d"], F64)
    x = param("x", 1, ["r", "g", "t", "d"], F64)
    v = param("v", 3, ["b", "g", "t", "d"], F64)
    p = param("p", 2, ["b"], I64)
    shape = ["b", "g", "s", "t"]
    k = comp(at(x, sc.read(p, [sc.index(0)]), 1, 2, 3), ["b", "g", "t", "d"], 4)
    a = comp(op("mul", at(q, 0, 1, 2, 4), at(k, 0, 1, 3, 4)), [*shape, "d"], 4, "sum")
    m = comp(at(a, 0, 1, 2, 3), shape, 3, "max")
    w = comp(op("exp", op("sub", at(a, 0, 1, 2, 3), at(m, 0, 1, 2))), shape, 4)
    z = comp(at(w, 0, 1, 2, 3), shape, 3, "sum")
    share = op("div", at(w, 0, 1, 2, 4), at(z, 0, 1, 2))
    o = comp(op("mul", share, at(v, 0, 1, 4, 3)), ["b", "g", "s", "d", "t"], 4, "sum")
    draw = np.random.default_rng(0).standard_normal
    given = (draw((2, 3, 4, 3)), draw((4, 3, 5, 3)), np.array([1, 3]), draw((2, 3, 5, 3)))
    agrees(function([q, x, p, v], o), given)


def test_heads_of_many_arrays_are_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for them once more after each would take the square of their number."""
    looked: list[object] = []
    best = inner_bands._best

    def counted(*args: Any) -> Any:
        looked.append(args)
        return best(*args)

    monkeypatch.setattr(inner_bands, "_best", counted)
    counts = []
    for many in (3, 6):
        params = ", ".join(f"q{k}: f64[s{k}, d], v{k}: f64[s{k}, d]" for k in range(many))
        lines = "".join(
            f"    o{k} = softmax(q{k} @ transpose(v{k}), dim=1) @ v{k}\n" for k in range(many)
        )
        total = " + ".join(f"sum(exp(-o{k}**2))" for k in range(many))
        f = tdsl.compile(f"def f({params}) -> f64:\n{lines}    return {total}\n").f
        looked.clear()
        text = f.ir("kernels")
        assert text.count("some rows of large tables") == many
        counts.append(len(looked))
    assert counts[1] <= 2 * counts[0] + 2
