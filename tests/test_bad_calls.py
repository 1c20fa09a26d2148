"""Calls with unusual or wrong arguments: the right answer, or an error that says what to do."""

from __future__ import annotations

import array
import ctypes
import gc
import os
import sys
import threading
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import tdsl

PROGRAM = """
def f(x: f32[n, d], w: f32[d], s: f32) -> f32[n]:
    return (x @ w) * s

def pick(x: f64[n], i: i64[m]) -> f64[m]:
    p[k] = x[i[k]]
    return p

def planar(x: f64[n, 3]) -> f64:
    return sum(x)

def both(x: f64[n], y: f64[n]) -> f64:
    return sum(x * y)

def count(k: i32, b: bool) -> i32:
    return k if b else -k

def shorter(x: f64[n]) -> f64[n-2]:
    y[i] = x[i] + x[i + 2] for i in 0:n-2
    return y

def largest(x: f64[n]) -> f64:
    return max(x)
"""

X = np.arange(12, dtype=np.float32).reshape(4, 3)
W = np.array([1, -2, 0.5], np.float32)
EXPECTED = (X @ W) * np.float32(2)


@pytest.fixture(scope="module")
def m() -> tdsl.Module:
    return tdsl.compile(PROGRAM)


def test_the_plain_call(m: tdsl.Module) -> None:
    np.testing.assert_array_equal(m.f(X, W, 2.0), EXPECTED)


def misaligned(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    raw = np.empty(a.nbytes + 1, np.uint8)[1:]
    out = raw.view(a.dtype).reshape(a.shape)
    out[...] = a
    assert not out.flags.aligned
    return out


def read_only(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    out = a.copy()
    out.flags.writeable = False
    return out


class Exporter:
    """Offers `__array__` alone."""

    def __init__(self, a: np.ndarray[Any, Any]) -> None:
        self.a = a

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.a


class Subclass(np.ndarray[Any, Any]):
    pass


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1].copy()[::-1],
        misaligned,
        read_only,
        lambda a: a.astype(">f4"),
        lambda a: a.astype(">f4")[::-1].copy()[::-1],
        memoryview,
        lambda a: a.tolist(),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.int8),
        Exporter,
        lambda a: a.view(Subclass),
        lambda a: np.broadcast_to(a, (2, 4, 3))[1],
    ],
    ids=[
        *("fortran", "strided", "reversed", "misaligned", "readonly", "bigendian"),
        *("bigendian-reversed", "memoryview", "list", "f16", "i8", "__array__", "subclass"),
        "broadcast",
    ],
)
def test_every_layout_gives_the_right_answer(m: tdsl.Module, layout: Any) -> None:
    given = layout(X)
    expected = (X.astype(np.float32) @ W) * np.float32(2)
    result = m.f(given, W, 2.0)
    np.testing.assert_array_equal(result, expected)
    assert type(result) is np.ndarray and result.dtype == np.float32


def test_scalars_of_every_kind(m: tdsl.Module) -> None:
    for two in (2, 2.0, np.float32(2), np.float16(2), np.int8(2), np.array(2, np.float32), [2.0]):
        if isinstance(two, list):
            with pytest.raises(ValueError, match="a scalar"):
                m.f(X, W, two)
        else:
            np.testing.assert_array_equal(m.f(X, W, two), EXPECTED)
    np.testing.assert_array_equal(m.f(X, W, True), X @ W)


def test_buffers_that_are_not_arrays(m: tdsl.Module) -> None:
    w = array.array("d", [1.0, 2.0])
    assert m.both(w, (ctypes.c_double * 2)(3.0, 4.0)) == 11.0
    assert m.both([1, 2], (3, 4)) == 11.0
    assert m.both(range(3), np.ones(3)) == 3.0


def test_keywords_in_any_order(m: tdsl.Module) -> None:
    np.testing.assert_array_equal(m.f(s=2.0, w=W, x=X), EXPECTED)
    np.testing.assert_array_equal(m.f(X, s=2.0, w=W), EXPECTED)
    name = "".join(["", "w"])  # not the interned object
    np.testing.assert_array_equal(m.f(X, s=2.0, **{name: W}), EXPECTED)


def test_empty_arrays(m: tdsl.Module) -> None:
    assert m.f(np.ones((0, 3), np.float32), W, 1.0).shape == (0,)
    assert m.f(np.ones((2, 0), np.float32), np.ones(0, np.float32), 1.0).tolist() == [0, 0]
    assert m.both([], []) == 0.0
    assert m.pick(np.ones(0), np.ones(0, np.int64)).shape == (0,)


def test_nan_and_infinity_pass_through(m: tdsl.Module) -> None:
    result = m.pick([np.nan, np.inf, -np.inf], [2, 0, 1])
    np.testing.assert_array_equal(result, [-np.inf, np.nan, np.inf])


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "error", "text"),
    [
        ("f", (X, W), {}, TypeError, "lacks 1 argument (s): def f(x: f32[n, d]"),
        ("f", (X, W, 1.0, 2.0), {}, TypeError, "takes 3 arguments but 4 were given"),
        ("f", (X, W), {"S": 1.0}, TypeError, "no parameter 'S'; did you mean 's'?"),
        ("f", (X, W, 1.0), {"s": 1.0}, TypeError, "two values for 's'"),
        ("f", (X, W, 1.0), {"zzz": 1.0}, TypeError, "no parameter 'zzz': def f("),
        (
            "f",
            (X.astype(np.float64), W, 1.0),
            {},
            TypeError,
            "x must be f32[n, d], not a float64 array of shape (4, 3); convert it: "
            "`x.astype(np.float32)`",
        ),
        ("f", (X.astype(np.int64), W, 1.0), {}, TypeError, "not an int64 array"),
        ("f", (X, W, np.float64(1)), {}, TypeError, "not a float64 scalar; convert it: `float(s)`"),
        ("f", (X[0], W, 1.0), {}, ValueError, "x must be f32[n, d] (rank 2), not a float32 array"),
        ("f", (1.0, W, 1.0), {}, ValueError, "x must be f32[n, d], not the number 1.0"),
        ("f", (X, W, W), {}, ValueError, "s must be f32 (a scalar), not a float32 array"),
        ("f", (X, W[:2], 1.0), {}, ValueError, "dim d is 3 in x (axis 1) but 2 in w (axis 0)"),
        ("f", (X, W, None), {}, TypeError, "s must be f32, not None"),
        ("f", (X, W, "1"), {}, TypeError, "s must be f32, not a str"),
        ("f", (X, W, 1j), {}, TypeError, "s must be f32, not a complex"),
        ("f", (X.astype(object), W, 1.0), {}, TypeError, "not an ndarray of objects"),
        ("f", (X.astype(complex), W, 1.0), {}, TypeError, "complex128 elements"),
        ("f", ([[1, 2], [3]], W, 1.0), {}, ValueError, "not a ragged nested list"),
        ("f", ([["a"]], W, 1.0), {}, TypeError, "not a nested list with a str in it"),
        ("f", (object(), W, 1.0), {}, TypeError, "not an object"),
        ("f", (np.ma.masked_array(X, X > 3), W, 1.0), {}, TypeError, "not a masked array"),
        ("f", (np.zeros(3, "M8[s]"), W, 1.0), {}, TypeError, "datetime64[s]"),
        ("f", ({"a": 1}, W, 1.0), {}, TypeError, "not a dict"),
        ("f", (X, W, Fraction(1, 2)), {}, TypeError, "s must be f32, not a Fraction"),
        ("both", ([None, 1], [1, 1]), {}, TypeError, "a nested list with None in it"),
        ("both", ([10**400], [1]), {}, TypeError, "an integer of more than 64 bits"),
        ("both", (np.ones(3), np.ones(4)), {}, ValueError, "dim n is 3 in x (axis 0) but 4 in y"),
        (
            "planar",
            (np.ones((5, 4)),),
            {},
            ValueError,
            "x must be f64[n, 3]: its axis 1 has size 4, not 3",
        ),
        ("count", (1.0, True), {}, TypeError, "k must be i32, not the float 1.0"),
        ("count", (2**31, True), {}, ValueError, "-2147483648 … 2147483647"),
        ("count", (10**5000, True), {}, ValueError, "an integer of 16610 bits is outside"),
        ("count", (1, 1), {}, TypeError, "b must be bool, not 1"),
        ("count", (np.int64(1), True), {}, TypeError, "not an int64 scalar; convert it: `int(k)`"),
        ("pick", ([1.0, 2.0], [0.5]), {}, TypeError, "not a list with floats in it"),
        ("pick", (np.ones(2), np.ones(2)), {}, TypeError, "i must be i64[m], not a float64 array"),
        ("shorter", (np.ones(1),), {}, ValueError, "n = 1"),
        ("largest", (np.ones(0),), {}, ValueError, "max"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    m: tdsl.Module, name: str, args: Any, kwargs: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        getattr(m, name)(*args, **kwargs)
    message = str(caught.value)
    assert text in message
    assert name in message
    assert isinstance(caught.value, tdsl.CallError)


@pytest.mark.parametrize("index", [4, -1, 2**62, -(2**63)])
def test_an_index_out_of_range_is_named(m: tdsl.Module, index: int) -> None:
    with pytest.raises(IndexError) as caught:
        m.pick(np.ones(4), np.array([0, index]))
    message = str(caught.value)
    assert f"index {index} is out of range for axis 0 of x, whose size is 4" in message
    assert "<text>:6:" in message
    assert m.pick(np.ones(4), np.array([0, 3])).tolist() == [1, 1]


def test_a_failing_conversion_reports_its_own_reason(m: tdsl.Module) -> None:
    class Angry:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no today")

    with pytest.raises(TypeError, match="cannot be read as an array: no today"):
        m.planar(Angry())


def test_an_impossible_result_is_a_memory_error() -> None:
    m = tdsl.compile(
        "def f(x: f64[n]) -> f64[n, n, n, n]:\n"
        "    y[i, j, k, l] = x[i] * x[j] * x[k] * x[l]\n"
        "    return y\n"
    )
    with pytest.raises(MemoryError):
        m.f(np.ones(3000))
    assert m.f(np.ones(2)).shape == (2, 2, 2, 2)


def test_nothing_that_can_be_passed_crashes(m: tdsl.Module) -> None:
    strange: list[Any] = [
        *(None, True, -1, 10**30, 1e400, 1j, "x", b"x", bytearray(8), object(), type, m, m.f),
        *([], [[]], [[], []], [None], [1, [2]], (), {}, set(), range(3), iter([1]), lambda: 1),
        *(np.float32, np.dtype("f4"), np.float32(1), np.str_("x"), np.datetime64("now")),
        *(np.empty(0), np.empty((0, 3), np.float32), np.empty((3, 0, 2)), np.zeros((1,) * 30)),
        *(np.zeros(3, "f4,i4"), np.zeros(3, "S3"), np.zeros(3, object), np.zeros(3, np.longdouble)),
        *(
            memoryview(b"abc"),
            array.array("B", b"ab"),
            np.ones((2, 2)).view(Subclass),
            Exporter(X),
            tdsl.tensor(X),
        ),
    ]
    usual = {
        "f": (X, W, 1.0),
        "pick": (np.ones(3), np.zeros(2, np.int64)),
        "both": (np.ones(3), np.ones(3)),
        "count": (1, True),
        "largest": (np.ones(3),),
    }
    for name, arguments in usual.items():
        for position in range(len(arguments)):
            for value in strange:
                given = [*arguments[:position], value, *arguments[position + 1 :]]
                try:
                    m[name](*given)
                except (TypeError, ValueError, IndexError) as error:
                    assert isinstance(error, tdsl.CallError), (name, position, value, error)
        m[name](*arguments)


def test_overlapping_arguments(m: tdsl.Module) -> None:
    a = np.arange(6.0)
    assert m.both(a, a) == 55.0
    assert m.both(a[1:], a[:-1]) == 40.0
    assert m.both(a, a[::-1]) == 20.0


def test_references_are_given_back(m: tdsl.Module) -> None:
    """Arguments of right, converted and refused calls are held by nobody afterwards."""
    given = [np.ones(4), np.ones(4, ">f8"), np.ones(8)[::2], np.ones(3), np.array([0, 9])]
    good, swapped, strided, short, index = given
    before = [sys.getrefcount(a) for a in given]

    def call_all() -> None:
        m.both(good, swapped)
        m.both(y=strided, x=good)
        for wrong in ((good, short), (good,), (good, None), (good, index[:1], 1)):
            with pytest.raises(tdsl.CallError):
                m.both(*wrong)
        with pytest.raises(IndexError):
            m.pick(good, index)

    for _ in range(20):
        call_all()
    gc.collect()
    assert [sys.getrefcount(a) for a in given] == before


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_memory_is_flat() -> None:
    def pages() -> int:
        gc.collect()
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1])

    x = np.ones(1000)
    m = tdsl.compile(PROGRAM)
    m.shorter(x)
    m.both(x, x.tolist())
    before = pages()
    for k in range(10_000):
        m.shorter(x)
        if k % 100 == 0:
            m.both(x, [1.0] * 1000)
    assert pages() - before < 256  # a leaked result would be 2 pages a call


def test_eight_threads_at_the_first_call() -> None:
    """Each right, each error its own: the first call compiles once, whoever comes first."""
    m = tdsl.compile(PROGRAM + "# of its own, so that nothing is compiled yet\n")
    before = tdsl.stats()
    together = threading.Barrier(8)
    wrong: list[object] = []

    def work(k: int) -> None:
        together.wait()
        for _ in range(50):
            try:
                assert m.both(np.full(10, k), np.ones(10)) == 10 * k
                m.pick(np.ones(3), np.array([1, 1000 + k]))
            except IndexError as error:
                if str(1000 + k) not in str(error):
                    wrong.append(error)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    after = tdsl.stats()
    assert not wrong
    assert after.compilations + after.cache_hits - before.compilations - before.cache_hits == 2


def test_calls_within_a_conversion(m: tdsl.Module) -> None:
    class Nested:
        def __init__(self, depth: int) -> None:
            self.depth = depth

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
            inner = Nested(self.depth - 1) if self.depth else np.ones(2)
            return np.array([m.both(inner, np.ones(2)), 1.0])

    assert m.both(Nested(5), np.ones(2)) == 8.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_a_forked_process_goes_on(m: tdsl.Module) -> None:
    m.both([1.0], [2.0])
    child = os.fork()
    if not child:
        right = m.both([1.0], [2.0]) == 2.0 and m.largest([3.0]) == 3.0
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_names_that_are_no_names(m: tdsl.Module) -> None:
    with pytest.raises(TypeError, match="named by a string, not int"):
        m[0]  # type: ignore[index]
    with pytest.raises(ValueError, match="there is no stage None"):
        m.f.ir(None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="did you mean 'planar'"):
        m.planer  # noqa: B018


@pytest.mark.parametrize("index", [-1, 3])
def test_a_scatter_outside_names_the_tensor_that_it_adds_to(index: int) -> None:
    m = tdsl.compile("""
        def f(x: f32[n], k: i64[n]):
            d: f32[3] = 0
            d[k[i]] += x[i]
            return d
    """)
    with pytest.raises(IndexError, match=f"index {index} is out of range for axis 0 of d, .* 3"):
        m.f(np.ones(2, np.float32), np.array([0, index]))


def test_an_index_is_checked_where_it_is_used() -> None:
    """What is computed once for all rows is not computed for none."""
    f = tdsl.compile("""
def f(x: f64[n, m], y: f64[k], at: i64[n]) -> f64[n, n]:
    t[j, i] = exp(y[at[i]]) / (1 + abs(y[at[i]])) + x[i, j]
    return x @ t
""").f
    bad = np.array([-1, 1, 1])
    assert not np.asarray(f(np.zeros((3, 0)), np.zeros(2), bad)).any()
    with pytest.raises(tdsl.OutOfRangeError):
        f(np.zeros((3, 1)), np.zeros(2), bad)


@pytest.mark.parametrize(
    "value",
    [
        "sum[q](x[q] * exp(y[at[i]]))",
        "sum[q](exp(x[q] + y[at[i]]))",
        "sum[q](x[q] / y[at[i]] if x[q] > y[at[i]] else 0)",
        "sum[q](sum[p](x[p] * x[q]) * y[at[i]])",
        "sum[q](y[at[i]] - 0 * x[q])",
        "sum[p, q](y[at[i]] * exp(x[p] * x[q]) * y[at[i]])",
        "prod[q](x[q] * y[at[i]]) - 1",
        "any[q](x[q] > y[at[i]])",
    ],
)
def test_no_index_is_checked_for_an_empty_reduction(value: str) -> None:
    """What no summed index is in may leave the loop, but no term asks for it."""
    f = tdsl.compile(f"""
def f(x: f64[m], y: f64[k], at: i64[n]):
    r[i] = {value}
    return r
""").f
    bad = np.array([-1, 1, 7])
    for size in (0, 2):
        assert not np.asarray(f(np.zeros(0), np.ones(size), bad)).any()
    with pytest.raises(tdsl.OutOfRangeError):
        f(np.zeros(1), np.ones(2), bad)


@pytest.mark.parametrize("size_of_at", ["1", "n"])
@pytest.mark.parametrize(
    "result",
    [
        "r[i] = x[i] * y[at[0]]",
        "r[i] = sum[q](x[i] * y[at[q]])",
        "r[i] = sum[q](x[m - 1 - i] if at[q] > 0 and y[at[q]] > 0 else 0)",
        "r[i, j] = x[i] * exp(y[at[j]])",
        "r[j, i] = max[q](x[i] * y[at[q]] * y[at[j]])",
    ],
)
def test_no_index_is_checked_for_a_result_without_elements(result: str, size_of_at: str) -> None:
    """What no index of the result is in may leave the loops, but no element asks for it."""
    f = tdsl.compile(f"""
def f(x: f64[m], y: f64[k], at: i64[{size_of_at}]):
    {result}
    return r
""").f
    for size in (0, 2):
        assert np.asarray(f(np.zeros(0), np.ones(size), np.array([7]))).size == 0
    with pytest.raises(tdsl.OutOfRangeError):
        f(np.ones(3), np.ones(2), np.array([7]))
