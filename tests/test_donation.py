"""Donated arguments: results in their place are those of the plain call, bit for bit, whatever the
kernels read in between; a training step allocates nothing; what cannot be written is an error."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

# a program with the function `f`, and what is donated
PROGRAMS: dict[str, tuple[str, Sequence[str]]] = {
    "elementwise": ("def f(w: f32[n, k], g: f32[n, k]):\n    return w - 0.1*g*w\n", ["w"]),
    "broadcast": ("def f(w: f32[n, k], g: f32[k]):\n    return w * g + exp(-g)\n", ["w"]),
    "nothing read": ("def f(w: f32[n, k], g: f32[n, k]):\n    return 2 * g\n", ["w"]),
    "as it is": ("def f(w: f32[n], g: f32[n]):\n    return w, sum(g)\n", ["w"]),
    "swapped": ("def f(w: f32[n], g: f32[n]):\n    return g, w\n", ["w", "g"]),
    "shifted": (
        "def f(w: f32[n]):\n    v[i] = w[i] + (w[i - 1] if i > 0 else 0.0)\n    return v\n",
        ["w"],
    ),
    "reversed": ("def f(w: f32[n]):\n    v[i] = 2*w[n - 1 - i]\n    return v\n", ["w"]),
    "transposed": (
        "def f(w: f32[n, n]):\n    v[i, j] = w[i, j] + 3*w[j, i]\n    return v\n",
        ["w"],
    ),
    "one of two": ("def f(w: f32[n, k], v: f32[n, k]):\n    return w + v, w * v\n", ["v"]),
    "both of two": ("def f(w: f32[n, k], v: f32[n, k]):\n    return w + v, w * v\n", ["w", "v"]),
    "crossed": (
        "def f(w: f32[n, k], v: f32[n, k]):\n    return w + v[0, 0], v + w[0, 0]\n",
        ["w", "v"],
    ),
    "adam": (
        "def f(w: f32[n, k], m: f32[n, k], v: f32[n, k], g: f32[n, k]):\n"
        "    m2 = 0.9*m + 0.1*g\n    v2 = 0.99*v + 0.01*g*g\n"
        "    return w - 0.1*m2 / (sqrt(v2) + 1e-3), m2, v2\n",
        ["w", "m", "v"],
    ),
    "adam, moments first": (
        "def f(m: f32[n, k], v: f32[n, k], w: f32[n, k], g: f32[n, k]):\n"
        "    m2 = 0.9*m + 0.1*g\n    v2 = 0.99*v + 0.01*g*g\n"
        "    return m2, v2, w - 0.1*m2 / (sqrt(v2) + 1e-3)\n",
        ["w", "m", "v"],
    ),
    "adam after a contraction": (
        "def f(m: f32[n, k], v: f32[n, k], w: f32[n, k], x: f32[b, n], y: f32[b, k]):\n"
        "    d[i, j] = sum[r](x[r, i] * y[r, j])\n    g = d + 0.1*w\n"
        "    m2 = 0.9*m + 0.1*g\n    v2 = 0.99*v + 0.01*g*g\n"
        "    return m2, v2, w - 0.1*m2 / (sqrt(v2) + 1e-3)\n",
        ["w", "m", "v"],
    ),
    "update after a contraction": (
        "def f(x: f32[b, n], y: f32[b, k], w: f32[n, k]):\n"
        "    d[i, j] = sum[r](x[r, i] * y[r, j])\n    return w - 0.1*d\n",
        ["w"],
    ),
    "update before the last reader": (
        "def f(x: f32[b, n], y: f32[b, k], w: f32[n, k]):\n"
        "    d[i, j] = sum[r](x[r, i] * y[r, j])\n    return w - 0.1*d, x @ w\n",
        ["w"],
    ),
    "a contraction of itself": ("def f(w: f32[n, n]):\n    return w @ w\n", ["w"]),
    "a contraction and itself": (
        "def f(w: f32[n, n], x: f32[n, n]):\n    return w + x @ w\n",
        ["w"],
    ),
    "a guarded contraction": (
        "def f(x: f32[b, n], y: f32[b, k], w: f32[n, k]):\n"
        "    d[i, j] = sum[r](x[r, i]*y[r, j] if x[r, i] > 0 else 0.0)\n"
        "    return w - 0.1*d\n",
        ["w"],
    ),
    "a sum in the same nest": (
        "def f(w: f32[n, k]):\n    s = sum(w, dim=1)\n    return w - s[:, None], s\n",
        ["w"],
    ),
    "a row's sum in its place": (
        "def f(c: f32[n], w: f32[n, k]):\n    return c - 0.1*sum(w, dim=1)\n",
        ["c"],
    ),
    "a column's sum in its place": (
        "def f(c: f32[k], w: f32[n, k]):\n    e = exp(w - c)\n    return c - 0.1*sum(e, dim=0)\n",
        ["c"],
    ),
    "softmax": ("def f(w: f32[n, k]):\n    return softmax(w, dim=1)\n", ["w"]),
    "softmax along columns": ("def f(w: f32[n, k]):\n    return softmax(w, dim=0)\n", ["w"]),
    "softmax of another": (
        "def f(w: f32[n, k], x: f32[n, k]):\n    return w + softmax(x, dim=1)\n",
        ["w"],
    ),
    "layer norm": (
        "def f(w: f32[n, k], a: f32[k], c: f32[k]):\n"
        "    h = layer_norm(w, a, c)\n    return h, a - 0.1*sum(h, dim=0), c + mean(h, dim=0)\n",
        ["w", "a", "c"],
    ),
    "a band reads other rows": (
        "def f(w: f32[n, k]):\n    p = softmax(w, dim=1)\n"
        "    v[i, j] = p[i, j] + w[n - 1 - i, j]\n    return v\n",
        ["w"],
    ),
    "scatter": (
        "def f(w: f32[n, k], at: i64[b], g: f32[b, k]):\n"
        "    d: f32[n, k] = 0\n    d[at[r], j] += g[r, j]\n    return w - 0.1*d\n",
        ["w"],
    ),
    "scatter in its place": (
        "def f(w: f32[n, k], at: i64[n]):\n"
        "    d: f32[n, k] = 0\n    d[at[r], j] += w[r, j]\n    return d\n",
        ["w"],
    ),
    "gather": (
        "def f(w: f32[n, k], at: i64[n]):\n    v[i, j] = w[at[i], j] + w[i, j]\n    return v\n",
        ["w"],
    ),
    "indices": (
        "def f(at: i64[n], w: f32[n, k]):\n    v[i, j] = w[at[i], j]\n    return (at + 1) % n, v\n",
        ["at", "w"],
    ),
    "one result twice": (
        "def f(w: f32[n], v: f32[n]):\n    a = w + v\n    return a, a\n",
        ["w", "v"],
    ),
    "twice, one new": ("def f(w: f32[n], v: f32[n]):\n    a = w + v\n    return a, a\n", ["v"]),
    "f64 and i32": (
        "def f(w: f64[n], i: i32[n], h: f16[n]):\n    return w * 2, i + 1, h * h\n",
        ["w", "i", "h"],
    ),
    "bool": ("def f(w: bool[n], x: f32[n]):\n    return w and x > 0\n", ["w"]),
    "doubled dims": (
        "def f(w: f32[2*n], x: f32[n]):\n    v[i] = w[i] + x[i // 2]\n    return v\n",
        ["w"],
    ),
    "known sizes": (
        "def f(w: f32[70, 33], g: f32[70, 40], h: f32[40, 33]):\n    return w - g @ h, w\n",
        ["w"],
    ),
    "scaled by its norm": (
        "def f(w: f32[n, k], g: f32[n, k]):\n"
        "    return w - g * min(1.0, 1/(1e-6 + sqrt(sum(g*g)))) - 0.1*w*sum(w*w)\n",
        ["w"],
    ),
}
SIZES = [
    {"n": 5, "k": 3, "b": 4},
    {"n": 1, "k": 1, "b": 1},
    {"n": 150, "k": 130, "b": 170},
    {"n": 0, "k": 3, "b": 2},
    {"n": 33, "k": 0, "b": 0},
    {"n": 3000, "k": 65, "b": 40},
]


def arguments(f: tdsl.Function, sizes: dict[str, int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    out: list[np.ndarray] = []
    for p in f.description.params:
        shape = tuple(d.evaluate(sizes) for d in p.shape)
        if p.dtype.is_bool:
            out.append(rng.random(shape) > 0.5)
        elif p.dtype.is_integer:
            out.append(rng.integers(0, max(1, sizes["n"]), shape).astype(p.dtype.numpy))
        else:
            out.append(rng.standard_normal(shape).astype(p.dtype.numpy))
    return out


def several(result: object) -> tuple:
    return result if isinstance(result, tuple) else (result,)


def check(f: tdsl.Function, names: Sequence[str], given: list[np.ndarray]) -> None:
    """The donated call gives the plain one's results, in the donated arrays; others stay."""
    donated = f.donate(*names)
    want = several(f(*given))
    mine = [x.copy() for x in given]
    got = several(donated(*mine))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    for p, o in donated.description.donated:
        assert got[o] is mine[p]
    taken = {p for p, _ in donated.description.donated}
    assert len(taken) == len(names)
    for k, (a, b) in enumerate(zip(mine, given, strict=True)):
        if k not in taken:
            np.testing.assert_array_equal(a, b)


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = tdsl.get_num_threads()
    tdsl.set_num_threads(request.param)
    yield
    tdsl.set_num_threads(before)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_results_are_those_of_a_plain_call(name: str, threads: None) -> None:
    source, names = PROGRAMS[name]
    f = tdsl.compile(source).f
    for sizes in SIZES:
        given = arguments(f, sizes)
        if given[0].ndim == 2 and source.count("[n, n]") and sizes["n"] > 1000:
            continue  # a large product, tried at other sizes
        try:
            f(*given)
        except (tdsl.ArgumentValueError, tdsl.OutOfRangeError):
            continue  # there is no maximum of nothing
        check(f, names, given)


# --------------------------------------------------------------------------- what the plan says


def plan_of(source: str, *names: str) -> str:
    return tdsl.compile(source).f.donate(*names).plan()


@pytest.mark.parametrize(
    "name",
    ["elementwise", "adam", "adam, moments first", "both of two", "f64 and i32", "nothing read"],
)
def test_pointwise_updates_need_no_memory(name: str) -> None:
    source, names = PROGRAMS[name]
    text = plan_of(source, *names)
    assert "arena of 0 bytes" in text and text.count("in place of") == len(names)
    assert "_copy" not in text


def test_the_update_of_a_contraction_is_in_place() -> None:
    source, names = PROGRAMS["update after a contraction"]
    text = plan_of(source, *names)
    assert "out: in place of w" in text and "w: f32[n, k]  param 2, donated" in text
    assert "_copy" not in text and text.count("kernel ") == 2  # the product, then the update


@pytest.mark.parametrize("name", ["transposed", "shifted", "a contraction of itself"])
def test_what_reads_elsewhere_is_copied(name: str) -> None:
    source, names = PROGRAMS[name]
    assert "_copy" in plan_of(source, *names)


def test_a_plan_without_donations_says_nothing_of_them() -> None:
    source, _ = PROGRAMS["adam"]
    text = tdsl.compile(source).f.plan()
    assert "donated" not in text and "in place" not in text


# --------------------------------------------------------------------------- a training step


def digits(b: int = 32) -> tuple[tdsl.Function, list[np.ndarray]]:
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> np.ndarray:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    data = [normal(b, 64), rng.integers(0, 10, b)]
    weights = [normal(64, 128), normal(128), normal(128, 10), normal(10)]
    return tdsl.load(EXAMPLES / "digits.tdsl").step, [*data, *weights]


WEIGHTS = ("w1", "c1", "w2", "c2")


def test_a_training_run_is_that_of_plain_calls(threads: None) -> None:
    step, given = digits()
    x, y, *plain = given
    mine = [w.copy() for w in plain]
    donating = step.donate(*WEIGHTS)
    for _ in range(20):
        loss, *plain = step(x, y, *plain, 0.5)
        same, *mine = donating(x, y, *mine, 0.5)
        assert same == loss
    for a, b in zip(mine, plain, strict=True):
        np.testing.assert_array_equal(a, b)


def blocks_and_bytes(run: Callable[[], None]) -> tuple[int, int]:
    """How many memory blocks more the interpreter holds after `run` than before; and how many bytes
    more it, the arrays and the native code held in between."""
    run()
    before = sys.getallocatedblocks()
    run()
    blocks = sys.getallocatedblocks() - before
    tracemalloc.start()
    run()
    tracemalloc.reset_peak()
    start, _ = tracemalloc.get_traced_memory()
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return blocks, peak - start


def test_a_training_step_allocates_nothing() -> None:
    step, given = digits()
    donating = step.donate(*WEIGHTS)

    def train(f: Callable) -> Callable[[], None]:
        state = list(given[2:])

        def run() -> None:
            for _ in range(50):
                _, *state[:] = f(given[0], given[1], *state, 0.1)

        return run

    blocks, room = blocks_and_bytes(train(donating))
    assert blocks <= 2 and room < 1000  # the loss, a tuple, a list
    _, plain = blocks_and_bytes(train(step))
    assert plain > 5_000  # a second `w2`, for one


def test_a_training_loop_of_large_weights_does_not_grow() -> None:
    m = tdsl.compile(
        "def step(x: f32[b, i], y: f32[b, o], w: f32[i, o]):\n"
        "    l = mean((x @ w - y)**2)\n    return l, w - 0.1*grad(l, w)\n"
    )
    x, y, w = (np.ones(s, np.float32) for s in ((64, 1500), (64, 2000), (1500, 2000)))
    place = w.ctypes.data

    def run() -> None:
        for _ in range(5):
            _, out = m.step(x, y, w, donate="w")
            assert out is w

    _, room = blocks_and_bytes(run)
    assert room < 10_000 and w.ctypes.data == place


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
    "list": (lambda w: w.tolist(), tdsl.ArgumentTypeError, "NumPy array or a Tensor.*not a list"),
    "number": (lambda w: 1.0, tdsl.ArgumentTypeError, "not a float"),
    "masked": (lambda w: np.ma.array(w), tdsl.ArgumentTypeError, "not a MaskedArray"),
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


# --------------------------------------------------------------------------- random programs

NAMES = ("a", "b", "c")
READS = ("{0}[i, j]", "{0}[j, i]", "{0}[n - 1 - i, j]", "sum[k]({0}[i, k]*{0}[k, j])")
term = st.tuples(st.sampled_from(NAMES), st.sampled_from(READS)).map(lambda t: t[1].format(t[0]))
body = st.lists(term, min_size=1, max_size=3).map(lambda terms: " + ".join(terms))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(body, min_size=1, max_size=3), st.sets(st.sampled_from(NAMES), min_size=1, max_size=3)
)
def test_random_programs(bodies: list[str], names: set[str]) -> None:
    lines = [f"    v{k}[i, j] = {x}" for k, x in enumerate(bodies)]
    results = ", ".join(f"v{k}" for k in range(len(bodies)))
    head = ", ".join(f"{n}: f32[n, n]" for n in NAMES)
    f = tdsl.compile("\n".join([f"def f({head}):", *lines, f"    return {results}\n"])).f
    wanted = sorted(names)[: len(bodies)]
    for size in (3, 40):
        check(f, wanted, arguments(f, {"n": size}))
