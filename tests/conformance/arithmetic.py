"""Pointwise functions of two arguments: operators, scalars on either side, broadcasting, edges,
gradients of first and second order."""

from __future__ import annotations

from collections.abc import Iterator

from .case import family

#: name: (operator, has a gradient, on bools)
_FUNCTIONS = {
    "add": ("+", True, True), "sub": ("-", True, False), "mul": ("*", True, True),
    "div": ("/", True, True), "floor_divide": ("//", False, False),
    "remainder": ("%", False, False), "pow": ("**", True, False), "eq": ("==", False, True),
    "ne": ("!=", False, True), "lt": ("<", False, True), "le": ("<=", False, True),
    "gt": (">", False, True), "ge": (">=", False, True), "maximum": ("", True, True),
    "minimum": ("", True, True), "atan2": ("", True, False), "hypot": ("", True, False),
    "logaddexp": ("", True, False), "xlogy": ("", True, False),
    "logical_and": ("", False, True), "logical_or": ("", False, True),
}  # fmt: skip

_LEFT = "f32([0., 1., -1., inf, -inf, nan, 2., -7., 7., 1.])"
_RIGHT = "f32([1., 0., 0.5, 2., inf, 1., nan, 2., -2., 1.])"
_POSITIVE = {"pow", "xlogy"}
_FLOATS_ONLY = {"hypot", "logaddexp"}
#: What these give for infinite or zero arguments is not documented.
_FINITE = {"floor_divide", "remainder"}


def _cases(name: str, operator: str, gradient: bool, bools: bool) -> Iterator[str]:
    call = f"T.{name}"
    if name in _FINITE:
        yield f"{call}(f32([5., -5., 7.5, -7.5]), f32([2., 3., -2., -2.]))"
    elif name in _POSITIVE:
        yield f"{call}(f32([0., 1., 2., inf, nan, 3.]), f32([1., 2., 0.5, 1., 1., nan]))"
    else:
        yield f"{call}({_LEFT}, {_RIGHT})"
    yield f"{call}(f64([1.5, 2.5]), f64([2.5, 0.5]))"
    yield f"{call}(ar(2, 3) + 1, ar(3) + 1)"
    if name in {"add", "mul", "lt"}:
        yield f"{call}(ar(3) + 1, f32([[1.], [2.]]))"
        yield f"{call}((ar(2, 3) + 1).t(), ar(3, 2) + 1)"
    yield f"{call}(f32([]), f32([]))"
    yield f"{call}(f32([]), f32([1.]))"
    yield f"{call}(ar(3), ar(2))"
    if name not in _FLOATS_ONLY:
        yield (
            f"{call}(i64([5, -5, 7, -7]), i64([2, 2, 3, 3]))"
            if name != "pow"
            else ("T.pow(i64([2, -3]), i64([3, 2]))")
        )
        yield f"{call}(f32([1.5, 2.5]), i64([2, 1]))"
    if bools:
        yield f"{call}(b8([True, False, True]), b8([True, True, False]))"
    yield f"f64([1.5, 2.5]).{name}(f64([2.5, 0.5]))"
    if operator:
        yield f"f32([1.5, -2.5]) {operator} 2"
        yield f"f32([1.5, 2.5]) {operator} 2.5"
        yield f"3 {operator} f32([1.5, 2.5])"
        yield f"i64([5, 2]) {operator} 2"
        yield f"i64([5, 2]) {operator} 2.5"
        yield f"f64([1.5, 2.5]) {operator} f32(2.)"
        yield f"f32([1.5, 2.5]) {operator} np.float64(2.5)"
        yield f"f32([1.5]) {operator} 'a'" if name not in {"eq", "ne"} else f"ar(2) {operator} None"
        yield f"{call}(f32([1.5, 2.5]), 2)"
    if gradient:
        yield f"grads({call}, rnd(4, low=0.5, high=2), rnd(4, seed=1, low=2.1, high=3))"
        yield f"grads({call}, rnd(2, 3, low=0.5, high=2), rnd(3, seed=1, low=2.1, high=3))"
        yield f"{call}(leaf([1., 2.]), f64([3., 1.5]))"


_TWO_ARGUMENTS = {
    name: list(_cases(name, operator, gradient, bools))
    for name, (operator, gradient, bools) in _FUNCTIONS.items()
}

_FURTHER = {
    "add": """
        T.add(ar(3), ar(3), alpha=2)
        ar(3).add(1, alpha=3)
        T.add(ar(3), 1)
        True + f32([1.])
        i64([1]) + True
        b8([True]) + 1
        grads(lambda x: x + 1, rnd(3))
        f32(1.) + f64(2.)
        sum([f32([1.]), f32([2.])])
    """,
    "sub": """
        T.sub(ar(3), ar(3), alpha=2)
        T.subtract(ar(3), 1)
        5 - i64([1])
        grads(lambda x: 1 - x * x, rnd(3))
        b8([True]) - b8([False])
    """,
    "mul": """
        T.multiply(ar(3), 2)
        grads(lambda x: 3 * x * x * x, rnd(3))
        2 * b8([True, False])
        T.mul(f32(3.), f32([1., 2.]))
    """,
    "div": """
        T.div(f32([7., -7.]), 2, rounding_mode='floor')
        T.div(f32([7., -7.]), 2, rounding_mode='trunc')
        T.div(i64([7, -7]), 2, rounding_mode='floor')
        T.div(i64([7, -7]), i64([2, 2]), rounding_mode='trunc')
        T.true_divide(i64([3]), 2)
        T.div(f32([1.]), 2, rounding_mode='other')
        grads(lambda x: 1 / x, rnd(3, low=1, high=2))
        i64([1]) / i64([2])
        b8([True]) / b8([True])
    """,
    "floor_divide": """
        i64([7, -7, 7, -7]) // i64([2, 2, -2, -2])
        7 // i64([2, 3])
        f32([-0.5]) // 1
    """,
    "remainder": """
        i64([7, -7, 7, -7]) % i64([3, 3, -3, -3])
        7 % i64([4, 5])
        T.remainder(7, i64([4]))
        T.fmod(f32([5., -5.]), 3)
        grads(lambda x: x % 1.5, rnd(3, low=0.1, high=1.4), order=1)
    """,
    "pow": """
        f32([4., 9.]) ** 0.5
        f32([2., 3.]) ** -1
        f32([-2., 3.]) ** 3
        f32([-2.]) ** 0.5
        f32([0., 1.]) ** 0
        i64([2, 3]) ** 2
        i64([2, 3]) ** -1
        2 ** f32([1., 2., 0.5])
        2 ** i64([1, 2])
        T.pow(2, f32([3.]))
        i64([2]) ** 0.5
        pow(f32([3.]), 2)
        grads(lambda x: x ** 3, rnd(3))
        grads(lambda x: x ** -1.5, rnd(3, low=1, high=2))
        grads(lambda x: 2 ** x, rnd(3))
        grads(lambda x: x ** 2, f64([0., -1.]))
        grads(lambda x: x ** 0, rnd(2), order=1)
    """,
    "maximum": """
        T.maximum(f32([1., nan, 3.]), f32([nan, 2., 1.]))
        T.max(f32([1., 5.]), f32([3., 2.]))
        grads(T.maximum, f64([1., 2.]), f64([1., 3.]), order=1)
    """,
    "minimum": """
        T.minimum(f32([1., nan, 3.]), f32([nan, 2., 1.]))
        T.min(f32([1., 5.]), f32([3., 2.]))
        grads(T.minimum, f64([1., 2.]), f64([1., 3.]), order=1)
    """,
    "eq": """
        T.equal(ar(3), ar(3))
        T.equal(ar(3), ar(4))
        T.equal(f32([nan]), f32([nan]))
        ar(3) == ar(4)
    """,
    "ne": "T.not_equal(ar(3), 1)",
    "lt": "1 < ar(3)",
    "gt": "T.greater(ar(3), 1)",
    "ge": "2 >= ar(4)",
    "logical_and": """
        b8([True, False]) & b8([True, True])
        T.logical_and(f32([0., 2.]), f32([1., 1.]))
        i64([6]) & 3
        f32([1.]) & 1
        b8([True, False]).logical_and(b8([True, True]))
    """,
    "logical_or": """
        b8([True, False]) | b8([False, False])
        b8([True, False]) ^ b8([True, True])
        i64([6]) | i64([1])
        T.logical_xor(b8([True, False]), b8([True, True]))
    """,
    "isclose": """
        T.isclose(f32([1., 2.]), f32([1. + 1e-7, 2.1]))
        T.isclose(f32([1., 2.]), f32([1.1, 2.]), atol=0.2)
        T.isclose(f64([100.]), f64([101.]), rtol=0.02)
        T.isclose(f32([nan]), f32([nan]))
        T.isclose(f32([nan]), f32([nan]), equal_nan=True)
        T.isclose(f32([inf, -inf, inf]), f32([inf, inf, 1.]))
        T.isclose(i64([1, 2]), i64([1, 3]))
        T.isclose(f32([1.]), f64([1.]))
        T.allclose(f32([1., 2.]), f32([1., 2. + 1e-7]))
        T.allclose(f32([1.]), f32([2.]))
        f32([1.]).isclose(f32([1.]))
    """,
    "lerp": """
        T.lerp(f32([0., 1.]), f32([10., 20.]), 0.5)
        T.lerp(f32([0., 1.]), f32([10., 20.]), f32([0.25, 0.75]))
        f32([0.]).lerp(f32([4.]), 0.25)
        grads(lambda x, y: T.lerp(x, y, 0.3), rnd(3), rnd(3, seed=1))
        grads(T.lerp, rnd(3), rnd(3, seed=1), rnd(3, seed=2))
        T.lerp(f32([0.]), f64([1.]), 0.5)
    """,
    "xlogy": """
        T.xlogy(f32([0., 0., 1.]), f32([0., nan, 0.]))
        T.xlogy(2., f32([3.]))
        T.xlogy(i64([0, 2]), 3)
    """,
    "atan2": """
        T.atan2(f32([0., 0., -0., 1.]), f32([1., -1., -1., 0.]))
        f64([1.]).arctan2(f64([2.]))
    """,
    "logaddexp": "T.logaddexp(f64([1000., -1000.]), f64([1000., -1001.]))",
    "hypot": "T.hypot(f32([3e30]), f32([4e30]))",
}

CASES = (
    *family("arithmetic", _TWO_ARGUMENTS),
    *family("arithmetic_further", _FURTHER),
)
