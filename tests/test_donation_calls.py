"""Donated arguments at a call: who asks for them in which way, what comes back, and what cannot be
written: an error, before anything is."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import tdsl

from .donation_programs import PROGRAMS, SIZES, WEIGHTS, arguments, check, digits

# --------------------------------------------------------------------------- ways to ask for it


def test_the_keyword_is_the_transform() -> None:
    step, given = digits()
    want = step(*given, 0.1)
    for names in (WEIGHTS, list(WEIGHTS), "w1"):
        mine = [x.copy() for x in given]
        got = step(*mine, 0.1, donate=names)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
        assert got[1] is mine[2]
    assert step.donate("w1") is step.donate("w1")
    both = step.donate("w2").donate("w1").description
    assert both == step.donate("w1", "w2").description
    got = step(given[0], given[1], lr=0.1, **dict(zip(WEIGHTS, given[2:], strict=True)), donate=())
    np.testing.assert_array_equal(got[1], want[1])


def test_the_keyword_in_a_first_call_compiles_only_what_runs() -> None:
    m = tdsl.compile("def f(w: f32[n]):\n    return w * 3.25 + 77\n")
    before = tdsl.stats().compilations
    m.f(np.ones(3, np.float32), donate="w")
    assert tdsl.stats().compilations == before + 1


def test_a_parameter_named_donate_is_a_parameter() -> None:
    m = tdsl.compile("def f(donate: f32[n]):\n    return donate + 1\n")
    x = np.zeros(3, np.float32)
    assert m.f(donate=x) is not x
    assert m.f.donate("donate")(donate=x) is x and (x == 1).all()


def test_results_are_matched_in_order() -> None:
    f = tdsl.compile(
        "def f(a: f32[n], b: f32[m], c: f32[n], s: f32):\n    return s * 2, c + 1, b + 1, a + 1\n"
    ).f
    assert f.donate("a").description.donated == ((0, 1),)
    assert f.donate("c", "a").description.donated == ((0, 1), (2, 3))
    assert f.donate("a", "b", "c").description.donated == ((0, 1), (1, 2), (2, 3))


def test_derivatives_and_maps_first() -> None:
    m = tdsl.compile(
        "def f(x: f32[n], w: f32[n]) -> f32:\n    return sum(exp(x * w))\n"
        "def g(w: f32[n], d: f32[n]):\n    return w - d\n"
    )
    x, w = np.ones(5, np.float32), np.full(5, 2, np.float32)
    value, slope = m.f.value_and_grad("w").donate("w")(x, w)
    assert slope is w and abs(value - 5 * np.exp(2)) < 1e-4
    np.testing.assert_allclose(slope, np.exp([2.0] * 5), rtol=1e-6)
    check(m.g.vmap(0), ["w"], [np.ones((4, 5), np.float32), np.full((4, 5), 3, np.float32)])
    check(m.g.vmap((0, None)), ["w"], [np.ones((4, 5), np.float32), x])
    with pytest.raises(ValueError, match=r"d of g_vmap is f32\[n\], and no result fits its place"):
        m.g.vmap((0, None)).donate("d")
    for name in ("grad", "vjp", "jacobian", "jvp", "hvp", "value_and_grad", "vmap"):
        with pytest.raises(TypeError, match=r"results in place of w: take .* donate last"):
            getattr(m.g.donate("w"), name)()


def test_it_is_pickled() -> None:
    source, names = PROGRAMS["update after a contraction"]
    f = tdsl.compile(source).f
    given = arguments(f, SIZES[0])
    mine = [x.copy() for x in given]
    copy = pickle.loads(pickle.dumps(f.donate(*names)))
    assert copy(*mine) is mine[2]
    np.testing.assert_array_equal(mine[2], f(*given))


def test_the_disk_cache_knows_it_apart() -> None:
    script = (
        "import numpy as np, tdsl\n"
        "f = tdsl.compile('def f(w: f32[n]):\\n    return w * 1.625\\n').f\n"
        "w = np.ones(3, np.float32)\n"
        "assert f(w) is not w and f.donate('w')(w) is w and (w == 1.625).all()\n"
        "print(tdsl.stats().compilations, tdsl.stats().cache_hits)\n"
    )
    for counts in ("2 0", "0 2"):
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert run.stdout.strip() == counts, run.stderr


def test_the_text_of_a_function_says_it() -> None:
    f = tdsl.compile(PROGRAMS["elementwise"][0]).f.donate("w")
    assert f.__name__ == "f" and "in place of w" in (f.__doc__ or "")


# --------------------------------------------------------------------------- errors


@pytest.fixture(scope="module")
def step() -> tdsl.Function:
    return tdsl.compile(
        "def step(x: f32[b, i], weight: f32[i], lr: f32):\n"
        "    return sum(x), weight - lr * sum(x, dim=0)\n"
    ).step


def test_names_that_cannot_be_donated(step: tdsl.Function) -> None:
    with pytest.raises(ValueError, match="no parameter 'weigth'; did you mean 'weight'"):
        step.donate("weigth")
    with pytest.raises(ValueError, match="named twice: weight, weight"):
        step.donate("weight", "weight")
    with pytest.raises(TypeError, match="lr of step is f32: only an array can be donated"):
        step.donate("lr")
    with pytest.raises(TypeError, match="donate names the parameters"):
        step.donate()
    with pytest.raises(TypeError, match="named by strings, not int"):
        step.donate(1)
    with pytest.raises(ValueError, match=r"x of step is f32\[b, i\], and no result fits its place"):
        step.donate("x")
    f = tdsl.compile("def f(a: f32[n], b: f32[n]):\n    return a + b\n").f
    with pytest.raises(ValueError, match=r"b of f .*\(output 0 is in place of a\)"):
        f.donate("a", "b")
    with pytest.raises(ValueError, match="output 0 is in place of a"):
        f.donate("a").donate("b")


def test_the_keyword_has_errors_of_calls(step: tdsl.Function) -> None:
    x, w = np.ones((2, 3), np.float32), np.ones(3, np.float32)
    with pytest.raises(tdsl.ArgumentValueError, match=r"step\(\): step has no parameter 'v'"):
        step(x, w, 1.0, donate="v")
    with pytest.raises(tdsl.ArgumentTypeError, match="only an array can be donated"):
        step(x, w, 1.0, donate=("weight", "lr"))
    with pytest.raises(tdsl.ArgumentTypeError, match="a parameter's name or a tuple of names"):
        step(x, w, 1.0, donate=1)
    with pytest.raises(tdsl.ArgumentTypeError, match="named by strings"):
        step(x, w, 1.0, donate=[[]])
    assert (w == 1).all()


def read_only(w: np.ndarray) -> np.ndarray:
    w.flags.writeable = False
    return w


def misaligned(w: np.ndarray) -> np.ndarray:
    room = np.zeros(4 * w.size + 1, np.uint8)
    out = room[1:].view(np.float32)
    out[:] = w
    return out


REFUSED: dict[str, tuple[Callable[[np.ndarray], object], type[Exception], str]] = {
    "read-only": (read_only, tdsl.ArgumentValueError, "must be writable"),
    "strided": (lambda w: np.repeat(w, 2)[::2], tdsl.ArgumentValueError, "must be C-contiguous"),
    "misaligned": (misaligned, tdsl.ArgumentValueError, "must be aligned"),
    "f64": (lambda w: w.astype(np.float64), tdsl.ArgumentTypeError, "not an array of float64"),
    "swapped": (lambda w: w.astype(">f4"), tdsl.ArgumentTypeError, "not an array of >f4"),
    "list": (
        lambda w: w.tolist(),
        tdsl.ArgumentTypeError,
        "a tdsl.Tensor.*not a list",
    ),
    "number": (lambda w: 1.0, tdsl.ArgumentTypeError, "not a float"),
    "masked": (lambda w: np.ma.array(w), tdsl.ArgumentTypeError, "not a numpy.MaskedArray"),
    "rank": (lambda w: w[None].copy(), tdsl.ArgumentValueError, "rank 1"),
    "size": (lambda w: np.ones(5, np.float32), tdsl.ArgumentValueError, "dim i is 3 in x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_memory_that_cannot_be_written(step: tdsl.Function, name: str) -> None:
    make, error, text = REFUSED[name]
    x, w = np.ones((2, 3), np.float32), np.ones(3, np.float32)
    given = make(w)
    with pytest.raises(error, match=text):
        step.donate("weight")(x, given, 1.0)
    np.testing.assert_array_equal(given, make(w))


def test_memory_that_is_shared(step: tdsl.Function) -> None:
    room = np.ones((3, 3), np.float32)
    donating = step.donate("weight")
    with pytest.raises(
        tdsl.ArgumentValueError, match="weight is donated, and shares memory with x"
    ):
        donating(room, room[1], 1.0)
    with pytest.raises(tdsl.ArgumentValueError, match="shares memory with lr"):
        donating(np.ones((2, 3), np.float32), room[1], room[1, 2:].reshape(()))
    assert (room == 1).all()
    assert donating(room[:2], row := room[2], 1.0)[1] is row  # neighbours are apart
    both = tdsl.compile("def f(a: f32[n], b: f32[n]):\n    return a + 1, b + 1\n").f
    for a, b in ((room[0], room[0]), (room.ravel()[0:4], room.ravel()[3:7])):
        with pytest.raises(tdsl.ArgumentValueError, match="a is donated, and shares memory with b"):
            both.donate("a", "b")(a, b)
    empty = room.ravel()[4:4]
    assert both.donate("a", "b")(empty, empty)[0] is empty


def test_other_arguments_are_converted(step: tdsl.Function) -> None:
    w = np.ones(3, np.float32)
    total, out = step.donate("weight")([[1, 2, 3], [4, 5, 6]], w, np.float32(0.5))
    assert out is w and total == 21
    np.testing.assert_array_equal(w, [-1.5, -2.5, -3.5])
    total, out = step.donate("weight")(np.ones((3, 2), np.float32).T, w, 1)
    assert out is w


def test_a_subclass_comes_back_as_it_is(step: tdsl.Function) -> None:
    class Own(np.ndarray):
        pass

    w = np.ones(3, np.float32).view(Own)
    _, out = step.donate("weight")(np.ones((2, 3), np.float32), w, 1.0)
    assert out is w and (w == -1).all()


def test_an_index_out_of_range_is_still_an_error() -> None:
    source, names = PROGRAMS["scatter"]
    f = tdsl.compile(source).f.donate(*names)
    w, g = np.ones((4, 2), np.float32), np.ones((3, 2), np.float32)
    before = sys.getrefcount(w)
    with pytest.raises(tdsl.OutOfRangeError, match="index 4"):
        f(w, np.array([0, 4, 1]), g)
    assert sys.getrefcount(w) == before


def test_references_are_kept_in_balance(step: tdsl.Function) -> None:
    x, w = np.ones((2, 3), np.float32), np.ones(3, np.float32)
    donating = step.donate("weight")
    before = sys.getrefcount(w)
    for _ in range(10):
        donating(x, w, 1.0)
    assert sys.getrefcount(w) == before


# --------------------------------------------------------------------------- Tensors


def test_tensors_come_back_themselves(step: tdsl.Function) -> None:
    x, w = tdsl.ones(2, 3), tdsl.ones(3)
    view = w[1:]
    version = w._version
    total, out = step.donate("weight")(x, w, 1.0)
    assert out is w and isinstance(total, tdsl.Tensor) and w.tolist() == [-1, -1, -1]
    assert view.tolist() == [-1, -1] and w._version == version + 1 == view._version
    array = np.ones(3, np.float32)
    total, out = step(x, array, 1.0, donate="weight")  # an array among Tensors
    assert out is array and isinstance(total, tdsl.Tensor)


def test_a_tensor_with_history_is_not_overwritten(step: tdsl.Function) -> None:
    donating = step.donate("weight")
    x = tdsl.ones(2, 3)
    leaf = tdsl.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used"):
        donating(x, leaf, 1.0)
    with pytest.raises(RuntimeError, match="weight requires grad, and a call with donated"):
        donating(x, leaf * 2, 1.0)
    with pytest.raises(RuntimeError, match=r"x requires grad.*no_grad\(\)`, or pass `x.detach"):
        donating(tdsl.ones(2, 3, requires_grad=True), tdsl.ones(3), 1.0)
    assert leaf.tolist() == [1, 1, 1]
    with tdsl.no_grad():
        assert donating(x, leaf, 1.0)[1] is leaf
    assert leaf.requires_grad and leaf.tolist() == [-1, -1, -1]


def test_backward_notices_what_was_given_away(step: tdsl.Function) -> None:
    w = tdsl.ones(3)
    out = (w * tdsl.ones(3, requires_grad=True)).sum()
    step.donate("weight")(tdsl.ones(2, 3), w, 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_tensors_that_cannot_be_written(step: tdsl.Function) -> None:
    x = tdsl.ones(2, 3)
    for w, text in (
        (tdsl.ones(3, dtype=tdsl.float64), "not an array of float64"),
        (tdsl.ones(3, dtype=tdsl.bfloat16), "f32"),
        (tdsl.ones(6)[::2], "C-contiguous"),
        (x[0], "shares memory with x"),
    ):
        with pytest.raises((tdsl.ArgumentTypeError, tdsl.ArgumentValueError), match=text):
            step.donate("weight")(x, w, 1.0)
