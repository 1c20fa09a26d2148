"""Reductions: over all dims, some dims, keepdim, empty inputs, nan, ints, gradients."""

from __future__ import annotations

from collections.abc import Iterator

from .case import family

_X = "rnd(2, 3, dtype='float32')"

#: name: (takes several dims, has a gradient, the value of an empty input is defined)
_FUNCTIONS = {
    "sum": (True, True, True), "mean": (True, True, True), "prod": (False, True, True),
    "amax": (True, True, False), "amin": (True, True, False), "argmax": (False, False, False),
    "argmin": (False, False, False), "max": (False, True, False), "min": (False, True, False),
    "var": (True, True, True), "std": (True, True, True), "norm": (True, True, True),
    "all": (True, False, True), "any": (True, False, True),
}  # fmt: skip
_NEEDS_FLOATS = {"mean", "var", "std", "norm"}


def _cases(name: str, several: bool, gradient: bool, empty: bool) -> Iterator[str]:
    dim = {"norm": "2, "}.get(name, "")
    yield f"T.{name}({_X})"
    yield f"{_X}.{name}()"
    for d in ("0", "1", "-1"):
        yield f"T.{name}({_X}, {dim}{d})"
    yield f"T.{name}({_X}, dim=0)"
    yield f"T.{name}({_X}, {dim}1, keepdim=True)"
    yield f"{_X}.{name}({dim}1, keepdim=True)"
    yield f"T.{name}({_X}.t(), {dim}1)"
    yield f"T.{name}({_X}[:, ::2], {dim}1)"
    yield f"T.{name}(f32([1., nan, 3.]))"
    yield f"T.{name}(f32([1., inf, -2.]))"
    yield f"T.{name}(f32(2.5))"
    yield f"T.{name}(ar(2, 2), {dim}2)"
    yield f"T.{name}(rnd(2, 3))"
    if several:
        yield f"T.{name}({_X}, {dim}(0, 1))"
        yield f"T.{name}({_X}, {dim}(0, 1), keepdim=True)"
        yield f"T.{name}({_X}, {dim}(0, 0))"
    yield f"T.{name}(f32([]))"
    yield f"T.{name}(T.zeros(0, 3), {dim}0)"
    yield f"T.{name}(T.zeros(0, 3), {dim}1)"
    yield f"T.{name}(i64([[3, 1], [2, 5]]))"
    yield f"T.{name}(i64([[3, 1], [2, 5]]), {dim}1)"
    if name not in {"norm", "amax", "amin", "argmax", "argmin", "max", "min"}:
        yield f"T.{name}(b8([[True, False], [True, True]]))"
    if gradient:
        index = ".values" if name in {"max", "min"} else ""
        yield f"grads(lambda x: x.{name}(), rnd(4, low=0.5))"
        yield f"grads(lambda x: x.{name}({dim}1){index}, rnd(2, 3, low=0.5))"
        yield f"grads(lambda x: x.{name}({dim}0, keepdim=True){index} * x, rnd(2, 3, low=0.5))"
        yield f"leaf([1., 2.]).{name}()"


_COMMON = {name: list(_cases(name, *row)) for name, row in _FUNCTIONS.items()}

_FURTHER = {
    "sum": """
        T.sum(ar(3), dtype=T.float64)
        i32([1, 2]).sum(dtype=T.int32)
        T.sum(ar(2, 3, 4), (0, 2))
        T.sum(ar(2, 3), dim=())
        T.sum(ar(2, 3), None)
        grads(lambda x: x.sum((0, 2)) ** 2, rnd(2, 2, 2))
        T.ones(1000).sum()
    """,
    "mean": """
        T.mean(i64([1, 2]), dtype=T.float32)
        T.mean(ar(2, 3, 4), (0, 2))
        T.mean(b8([True]))
    """,
    "prod": """
        grads(T.prod, f64([0., 2., 3.]))
        grads(T.prod, f64([0., 0., 3.]))
        T.prod(i64([1, 2, 3, 4]))
        T.prod(ar(3), dtype=T.float64)
    """,
    "max": """
        r = T.max(ar(2, 3), 1); (r.values, r.indices)
        values, indices = ar(2, 3).max(dim=0); (values, indices)
        ar(2, 3).max(1, True)
        T.max(f32([1., nan, 2.]), 0)
        T.max(b8([True, False]))
        grads(T.max, f64([1., 3., 3.]), order=1)
        leaf([[1., 2.]]).max(1)
    """,
    "min": """
        r = T.min(ar(2, 3), 1); (r.values, r.indices)
        T.min(f32([1., nan, 2.]), 0)
        grads(T.min, f64([1., 1., 3.]), order=1)
    """,
    "amax": """
        grads(T.amax, f64([1., 3., 3.]), order=1)
        T.amax(b8([True, False]))
        grads(lambda x: x.amax(1), f64([[1., 1.], [3., 4.]]), order=1)
    """,
    "amin": "grads(T.amin, f64([1., 1., 3.]), order=1)",
    "argmax": """
        T.argmax(f32([[1., 9.], [3., 4.]]))
        T.argmax(f32([[1., 9.], [3., 4.]]), dim=0, keepdim=True)
        f32([1., 5., 2.]).argmax().item()
        T.argmax(leaf([1., 2.]))
    """,
    "argmin": "f32([4., 5., 2.]).argmin().item()",
    "var": """
        T.var(ar(4), correction=0)
        T.var(ar(4), unbiased=False)
        T.var(ar(2, 3), 1, correction=2)
        T.var(f32([1.]))
        T.var(i64([1, 2]))
        grads(lambda x: T.var(x, correction=0), rnd(3))
        T.var(ar(2, 3), dim=1, unbiased=False)
    """,
    "std": """
        T.std(ar(4), correction=0)
        T.std(ar(4), unbiased=False)
        T.std(f32([1.]))
        grads(lambda x: T.std(x, 1, correction=0), rnd(2, 3))
    """,
    "norm": """
        T.norm(f32([3., 4.]))
        T.norm(f32([3., -4.]), 1)
        T.norm(f32([3., -4.]), inf)
        T.norm(f32([3., -4.]), -inf)
        T.norm(f32([3., 0., -4.]), 0)
        T.norm(f32([3., -4.]), 3)
        T.norm(ar(2, 3), p=2, dim=1)
        T.norm(ar(2, 3), 'fro')
        T.norm(ar(2, 3), dim=(0, 1))
        f64([3., 4.]).norm()
        grads(lambda x: T.norm(x, 1), f64([1., -2.]))
        grads(lambda x: T.norm(x, 3), f64([1., -2.]))
        grads(T.norm, f64([0., 0.]), order=1)
        T.linalg.norm(f32([3., 4.]))
        T.linalg.vector_norm(ar(2, 3), dim=1)
    """,
    "logsumexp": """
        T.logsumexp(rnd(2, 3, dtype='float32'), 1)
        T.logsumexp(rnd(2, 3, dtype='float32'), 0)
        T.logsumexp(rnd(2, 3), -1, keepdim=True)
        T.logsumexp(rnd(2, 3), (0, 1))
        rnd(4).logsumexp(0)
        T.logsumexp(f32([1000., 1000.]), 0)
        T.logsumexp(f32([-1000., -1001.]), 0)
        T.logsumexp(f32([-inf, -inf]), 0)
        T.logsumexp(f32([inf, 1.]), 0)
        T.logsumexp(f32([nan, 1.]), 0)
        T.logsumexp(T.zeros(0, 2), 0)
        grads(lambda x: T.logsumexp(x, 1), rnd(2, 3))
        grads(lambda x: T.logsumexp(x, 0), f64([1000., 999.]))
        grads(lambda x: T.logsumexp(x, 0), f64([-inf, 1.]), order=1)
        T.logsumexp(ar(3), 1)
        T.logsumexp(i64([1, 2]), 0)
        leaf([1., 2.]).logsumexp(0)
    """,
    "all": """
        T.all(b8([]))
        T.all(f32([1., 0.]))
        b8([[True, False]]).all(1)
        T.all(b8([[True, True], [True, False]]), dim=0)
        T.all(f32([nan]))
    """,
    "any": """
        T.any(b8([]))
        T.any(f32([0., 0.]))
        b8([[True, False]]).any(0)
        T.any(u8([0, 3]))
    """,
}

_RUNNING = {
    "cumsum": """
        T.cumsum(ar(4), 0)
        T.cumsum(ar(2, 3), 0)
        T.cumsum(ar(2, 3), 1)
        T.cumsum(ar(2, 3), -1)
        ar(4).cumsum(dim=0)
        T.cumsum(i64([1, 2, 3]), 0)
        T.cumsum(ar(3), 0, dtype=T.float64)
        T.cumsum(f32([]), 0)
        T.cumsum(f32([1., nan, 2.]), 0)
        T.cumsum(f32([1., inf, -inf]), 0)
        T.cumsum(f32(3.), 0)
        T.cumsum(ar(2, 3).t(), 1)
        T.cumsum(rnd(5), 0)
        grads(lambda x: T.cumsum(x, 0) ** 2, rnd(4))
        grads(lambda x: T.cumsum(x, 1) * x, rnd(2, 3))
        T.cumsum(ar(3), 1)
        T.cumsum(ar(3))
        leaf([1., 2.]).cumsum(0)
    """,
    "cumprod": """
        T.cumprod(ar(4) + 1, 0)
        T.cumprod(ar(2, 3) + 1, 0)
        T.cumprod(ar(2, 3) + 1, -1)
        (ar(4) + 1).cumprod(dim=0)
        T.cumprod(i64([1, 2, 3]), 0)
        T.cumprod(f32([]), 0)
        T.cumprod(f32([2., nan, 2.]), 0)
        T.cumprod(f32(3.), 0)
        T.cumprod(rnd(5), 0)
        grads(lambda x: T.cumprod(x, 0), rnd(4, low=0.5))
        grads(lambda x: T.cumprod(x, 1), rnd(2, 3, low=0.5))
        grads(lambda x: T.cumprod(x, 0), f64([2., 0., 3.]), order=1)
        T.cumprod(ar(3), 1)
    """,
}

CASES = (
    *family("reductions", _COMMON, _RUNNING),
    *family("reductions_further", _FURTHER),
)
