"""jvp, vjp, jacobian, hessian, hvp and vmap of compiled functions; Tensors, pickles, threads."""

from __future__ import annotations

import inspect
import pickle
import threading
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import differentiated

PROGRAM = """
def layer(x: f64[n, d], w: f64[d, h], c: f64[h]) -> f64[n, h]:
    return tanh(x @ w + c)

def loss(x: f64[n, d], w: f64[d], t: f64[n]) -> f64:
    z = x @ w
    return mean(log(1 + exp(z * t)))

def several(x: f64[n], k: i64[n]) -> (f64, f64[n], i64[n]):
    return sum(x * x * x), sin(x), k

def softened(x: f64[n, d]) -> f64[n, d]:
    return softmax(x, dim=1)

def picked(x: f64[n], k: i64[m]) -> f64[m]:
    y[i] = x[k[i]]
    return y * y

def convolved(x: f64[n], w: f64[k]) -> f64[n - k + 1]:
    y[i] = sum[j](x[i + j] * w[j])
    return y

def extreme(x: f64[n]) -> (f64, f64):
    return max(x), prod(x)

def place(x: f64[n]) -> i64:
    return argmax(x)

def scale(s: f64, x: f32[n]) -> f32[n]:
    return x * f32(s)

def guarded(x: f64[n]) -> f64[n]:
    return sqrt(x) if x > 0 else 0
"""

RNG = np.random.default_rng(0)
X, W, C = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2)), RNG.standard_normal(2)
V, S = RNG.standard_normal(4), RNG.standard_normal(3)
LINE, KERNEL = RNG.standard_normal(6), RNG.standard_normal(3)
PLACES = np.array([0, 2, 2, 5])


@pytest.fixture(scope="module")
def m() -> tdsl.Module:
    return tdsl.compile(PROGRAM)


CASES: list[tuple[str, tuple[Any, ...], tuple[str, ...]]] = [
    ("layer", (X, W, C), ("x", "w", "c")),
    ("loss", (X, V, S), ("x", "w", "t")),
    ("several", (LINE, np.arange(6)), ("x",)),
    ("softened", (X,), ("x",)),
    ("picked", (LINE, PLACES), ("x",)),
    ("convolved", (LINE, KERNEL), ("x", "w")),
    ("extreme", (LINE,), ("x",)),
    ("guarded", (LINE,), ("x",)),
]


def results(value: Any) -> list[Any]:
    return [np.asarray(v) for v in (value if isinstance(value, tuple) else (value,))]


def floating(f: Any, values: list[Any]) -> list[Any]:
    return [v for v, o in zip(values, f.description.outputs, strict=True) if o.dtype.is_float]


@pytest.mark.parametrize(("name", "given", "names"), CASES, ids=[c[0] for c in CASES])
def test_jacobians_are_differences(
    m: tdsl.Module, name: str, given: tuple[Any, ...], names: tuple[str, ...]
) -> None:
    f = m[name]
    at = [p.name for p in f.description.params]
    values = floating(f, results(f(*given)))
    found = iter(results(f.jacobian(*names)(*given)))
    for k, value in enumerate(values):
        for wrt in names:
            position = at.index(wrt)
            got = next(found)
            assert got.shape == value.shape + given[position].shape
            for place in np.ndindex(given[position].shape):
                ends = []
                for step in (1e-6, -1e-6):
                    moved = [np.array(a) for a in given]
                    moved[position][place] += step
                    ends.append(floating(f, results(f(*moved)))[k])
                want = (ends[0] - ends[1]) / 2e-6
                np.testing.assert_allclose(got[(..., *place)], want, atol=1e-7)


@pytest.mark.parametrize(("name", "given", "names"), CASES, ids=[c[0] for c in CASES])
def test_products_are_products_with_the_jacobian(
    m: tdsl.Module, name: str, given: tuple[Any, ...], names: tuple[str, ...]
) -> None:
    f = m[name]
    at = [p.name for p in f.description.params]
    jacobian = results(f.jacobian(*names)(*given))
    values = floating(f, results(f(*given)))
    tangents = [RNG.standard_normal(given[at.index(n)].shape) for n in names]
    rows = [jacobian[k * len(names) : (k + 1) * len(names)] for k in range(len(values))]
    for got, row in zip(results(f.jvp(*names)(*given, *tangents)), rows, strict=True):
        want = sum(np.tensordot(j, t, t.ndim) for j, t in zip(row, tangents, strict=True))
        np.testing.assert_allclose(got, want, atol=1e-12)
    cts = [RNG.standard_normal(v.shape) for v in values]
    for k, got in enumerate(results(f.vjp(*names)(*given, *cts))):
        want = sum(np.tensordot(c, row[k], c.ndim) for c, row in zip(cts, rows, strict=True))
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_hessians(m: tdsl.Module) -> None:
    blocks = m.loss.hessian("w", "t")(X, V, S)
    z = 1 / (1 + np.exp(-(X @ V) * S))
    want = np.einsum("n,ni,nj->ij", z * (1 - z) * S * S / 3, X, X)
    np.testing.assert_allclose(blocks[0], want, atol=1e-14)
    assert [b.shape for b in blocks] == [(4, 4), (4, 3), (3, 4), (3, 3)]
    np.testing.assert_allclose(blocks[1], blocks[2].T, atol=1e-14)
    d = RNG.standard_normal(4)
    np.testing.assert_allclose(m.loss.hvp("w")(X, V, S, d), want @ d, atol=1e-14)


# --------------------------------------------------------------------------- vmap

MAPPED: list[tuple[str, Any]] = [
    ("layer", 0),
    ("layer", (0, None, -1)),
    ("layer", {"w": 1}),
    ("softened", 1),
    ("picked", (None, 0)),
    ("convolved", (0, None)),
    ("several", (0, None)),
    ("extreme", 0),
    ("place", 0),
    ("loss", (2, None, None)),
    ("scale", (0, None)),
]
GIVEN = {name: given for name, given, _ in CASES} | {
    "place": (LINE,),
    "scale": (np.float64(2.0), np.arange(3, dtype=np.float32)),
}


@pytest.mark.parametrize(("name", "in_dims"), MAPPED, ids=str)
@pytest.mark.parametrize("transform", [None, "vjp", "jvp"])
def test_vmap_is_a_loop(m: tdsl.Module, name: str, in_dims: Any, transform: str | None) -> None:
    f = m[name]
    params = [p.name for p in f.description.params]
    dims = (
        [in_dims.get(p) for p in params]
        if isinstance(in_dims, dict)
        else [in_dims] * len(params)
        if isinstance(in_dims, int)
        else list(in_dims)
    )
    given = list(GIVEN[name])
    if transform is not None:
        if not any(o.dtype.is_float for o in f.description.outputs):
            return
        values = floating(f, results(f(*given)))
        f = getattr(f, transform)(*f.description.differentiable[:1])
        for p in f.description.params[len(params) :]:
            like = values[int(p.name[2])] if transform == "vjp" else given[params.index(p.name[1:])]
            given.append(np.asarray(RNG.standard_normal(np.shape(like)), p.dtype.numpy))
            dims.append(None)
    stacked = []
    for a, at in zip(given, dims, strict=True):
        if at is None:
            stacked.append(a)
        elif np.asarray(a).dtype.kind == "i":
            stacked.append(np.stack([np.roll(a, k) for k in range(5)], at))
        else:
            factors = np.linspace(0.5, 1.5, 5).astype(np.asarray(a).dtype)
            stacked.append(np.stack([a * k for k in factors], at))
    mapped = f.vmap(tuple(dims))
    got = results(mapped(*[np.array(a, order="C") for a in stacked]))
    rows = []
    for k in range(5):
        one = [a if at is None else np.take(a, k, at) for a, at in zip(stacked, dims, strict=True)]
        rows.append(results(f(*[np.array(a, order="C") for a in one])))
    for found, want in zip(got, zip(*rows, strict=True), strict=True):
        np.testing.assert_allclose(found, np.stack(want), rtol=1e-5, atol=1e-12)


def test_the_mapped_graph_means_the_same_to_the_interpreter(m: tdsl.Module) -> None:
    f = m.picked.vjp("x").vmap((None, 0, None))
    places = np.array([[0, 1, 1], [3, 3, 3]])
    ct = np.ones(3)
    (want,) = interpret(differentiated(f.graph()), [LINE, places, ct])
    np.testing.assert_allclose(f(LINE, places, ct), want)


# --------------------------------------------------------------------------- composition


def test_transforms_of_transforms(m: tdsl.Module) -> None:
    d = RNG.standard_normal(4)
    hvp = m.loss.hvp("w")(X, V, S, d)
    np.testing.assert_allclose(m.loss.grad("w").jvp("w")(X, V, S, d), hvp, atol=1e-15)
    np.testing.assert_allclose(m.loss.grad("w").vjp("w")(X, V, S, d), hvp, atol=1e-15)
    third = m.loss.hvp("w").jacobian("w")(X, V, S, d)
    step = 1e-5 * d
    ends = [m.loss.hessian("w")(X, V + s, S) @ d for s in (step, -step)]
    np.testing.assert_allclose(third @ d, (ends[0] - ends[1]) / 2e-5, atol=1e-8)
    slopes = m.loss.grad("w").vmap((None, 0, None))
    assert slopes(X, np.stack([V, -V]), S).shape == (2, 4)
    assert m.loss.vmap((None, 0, None)).vmap((None, 0, None)).signature == (
        "def loss_vmap_vmap(x: f64[n, d], w: f64[batch_, batch, d], t: f64[n]) "
        "-> f64[batch_, batch]"
    )


def test_how_they_look(m: tdsl.Module) -> None:
    f = m.layer.jacobian("w")
    assert f.signature == (
        "def layer_jacobian_w(x: f64[n, d], w: f64[d, h], c: f64[h]) -> f64[n, h, d, h]"
    )
    assert repr(f).startswith("<tdsl function layer_jacobian_w(") and f.jacobian() is f.jacobian()
    assert "The Jacobian of layer with respect to w" in (f.__doc__ or "")
    assert list(inspect.signature(m.layer.jvp("x")).parameters) == ["x", "w", "c", "dx"]
    assert m.loss.hessian("w").__name__ == "loss_dw_jacobian_w"
    assert m.several.jvp("x").signature.endswith("(x: f64[n], k: i64[n], dx: f64[n]) -> "
                                                 "(f64, f64[n])")  # fmt: skip


def test_a_unit_vector_selects(m: tdsl.Module) -> None:
    """No sum over the rows of a Jacobian is left: each costs what depends on it alone."""
    text = m.layer.jacobian("x").ir("simplified")
    assert text.count("@") == 1 and "sum" not in text
    assert "@" not in m.convolved.jacobian("x").ir("simplified")


def test_the_text_of_a_transform_compiles(m: tdsl.Module) -> None:
    for f, given in (
        (m.layer.jacobian("x"), (X, W, C)),
        (m.loss.vmap({"w": 0}), (X, np.stack([V, V]), S)),
        (m.loss.hvp("w"), (X, V, S, V)),
        (m.layer.jvp("w"), (X, W, C, W)),
    ):
        again = tdsl.compile(f.ir("simplified"))
        (name,) = again
        np.testing.assert_allclose(again[name](*given), f(*given), rtol=1e-14)


def test_a_guarded_derivative_stays_finite(m: tdsl.Module) -> None:
    x = np.array([4.0, 0.0, -1.0])
    assert m.guarded.jacobian("x")(x).tolist() == np.diag([0.25, 0, 0]).tolist()
    assert m.guarded.jvp("x")(x, np.ones(3)).tolist() == [0.25, 0, 0]


@pytest.mark.parametrize(
    ("request_", "kind", "message"),
    [
        (lambda m: m.layer.vmap(3), ValueError, "in_dims of x is 3"),
        (lambda m: m.layer.vmap((None, None, None)), ValueError, "maps no parameter"),
        (lambda m: m.layer.vmap((0,)), ValueError, "1 entries, and layer 3 parameters"),
        (lambda m: m.layer.vmap({"q": 0}), ValueError, "no parameter 'q'"),
        (lambda m: m.layer.vmap("x"), TypeError, "in_dims is an int, a sequence"),
        (lambda m: m.layer.vmap((0.5, 0, 0)), TypeError, "int or None, not float"),
        (lambda m: m.layer.hessian("x"), TypeError, "one floating-point scalar"),
        (lambda m: m.layer.hvp("x"), TypeError, "one floating-point scalar"),
        (lambda m: m.place.jvp("x"), TypeError, "no floating-point result"),
        (lambda m: m.several.jacobian("k"), TypeError, "only floating-point parameters"),
        (lambda m: m.loss.jvp("q"), ValueError, "no parameter 'q'"),
    ],
)
def test_refusals(m: tdsl.Module, request_: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        request_(m)


# --------------------------------------------------------------------------- Tensors


def test_calls_with_tensors_are_recorded(m: tdsl.Module) -> None:
    w = tdsl.tensor(V, requires_grad=True)
    value = m.loss(X, w, tdsl.tensor(S))  # arrays and Tensors mixed
    assert type(value.grad_fn).__name__ == "LossBackward" and value.shape == ()
    (slope,) = tdsl.autograd.grad(value, [w], create_graph=True)
    np.testing.assert_allclose(slope.detach().numpy(), m.loss.grad("w")(X, V, S))
    d = tdsl.tensor(W[:, 0].copy())
    (second,) = tdsl.autograd.grad((slope * d).sum(), [w], create_graph=True)
    np.testing.assert_allclose(second.detach().numpy(), m.loss.hvp("w")(X, V, S, W[:, 0].copy()))
    (third,) = tdsl.autograd.grad((second * d).sum(), [w])
    want = m.loss.hvp("w").vjp("w")(X, V, S, W[:, 0].copy(), W[:, 0].copy())
    np.testing.assert_allclose(third.numpy(), want, atol=1e-14)


def test_derivatives_of_derivatives_called_with_tensors(m: tdsl.Module) -> None:
    w = tdsl.tensor(V, requires_grad=True)
    slope = m.loss.grad("w")(X, w, S)
    assert type(slope.grad_fn).__name__ == "LossDwBackward"
    slope.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), m.loss.hessian("w")(X, V, S).sum(0), atol=1e-14)
    both = tdsl.tensor(np.stack([V, -V]), requires_grad=True)
    m.loss.vmap({"w": 0})(X, both, S).sum().backward()
    np.testing.assert_allclose(both.grad.numpy()[0], m.loss.grad("w")(X, V, S), atol=1e-14)
    x = tdsl.tensor(LINE, requires_grad=True)
    m.convolved.jacobian("w")(x, KERNEL).sum().backward()
    assert x.grad.shape == (6,)


def test_dtypes_and_several_outputs(m: tdsl.Module) -> None:
    x = tdsl.tensor(LINE.astype(np.float32), requires_grad=True)  # for a float64 parameter
    k = tdsl.arange(6)
    total, sines, kept = m.several(x, k)
    assert total.dtype is tdsl.float64 and kept.grad_fn is None and kept.dtype is tdsl.int64
    (total + sines.sum()).backward()
    assert x.grad is not None and x.grad.dtype is tdsl.float32
    want = 3 * LINE**2 + np.cos(LINE)
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-4)
    with tdsl.no_grad():
        assert m.several(x, k)[0].grad_fn is None
    with pytest.raises(TypeError, match="int64"):
        m.several(x, tdsl.ones(6))


# --------------------------------------------------------------------------- pickles, threads


def test_pickles(m: tdsl.Module) -> None:
    for f in (m.loss.hvp("w"), m.layer.vmap((0, None, 0)).jacobian("w"), m.loss.hessian("w")):
        again = pickle.loads(pickle.dumps(f))
        assert again.signature == f.signature


def test_threads() -> None:
    m = tdsl.compile(PROGRAM + "\ndef other(x: f64[n]) -> f64:\n    return sum(x * x)\n")
    found: list[Any] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(20):
            w = tdsl.tensor(V, requires_grad=True)
            m.loss(X, w, S).backward()
            found.append((m.loss.hvp("w")(X, V, S, V), w.grad.numpy()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 80
    for product, slope in found:
        assert np.array_equal(product, found[0][0]) and np.array_equal(slope, found[0][1])
