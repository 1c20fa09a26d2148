"""Indexing and assignment by ints, slices, None, ..., masks and integer tensors."""

from __future__ import annotations

from .case import blocks, family

#: Indices into a 3x4 tensor.
_INDICES = [
    "0", "-1", "1, 2", "-1, -1", ":", "1:", ":2", "::2", "1:3", "-2:", "5:", "2:1", ":, 1",
    ":, 1:3", ":, ::3", "1, :", "1:, ::2", "...", "..., 0", "0, ...", "None", "None, 0", ":, None",
    "0, None, 1", "..., None", "..., None, :", "1:2, None, 2", "[0, 2]", "[0, 2, 2], :",
    "[[0, 1], [1, 2]]", "i64([2, 0])", "i64([-1, 0])", "i64([[0], [2]])", "i64(1)",
    ":, i64([3, 0])", "i64([0, 1]), i64([2, 3])", "i64([[0], [1]]), i64([0, 2])", "i64([0, 1]), 2",
    "1, i64([0, 3])",
    "i64([0, 2]), None", "None, i64([0, 2])", "i64([0, 2]), 1:3", "..., i64([0, 2])", "[]",
    "x > 5", "x[:, 0] > 3", ":, x[0] > 0", "x > 100", "b8([True, False, True])", "True", "False",
    "[True, False, True]", "x[:, 0] > 3, 1", "i32([0, 1])", "np.array([0, 2])", "slice(1, None)",
    "np.int64(1)", "(0, 1)", "slice(None), [0, 1]",
]  # fmt: skip

_REFUSED_INDICES = [
    "3", "-4", "0, 4", "0, 0, 0", "i64([3])", "i64([-4])", "[0, 3]", "1.0", "f32([0.])",
    "b8([True, False])", "..., ...", "i64([0, 1]), i64([0, 1, 2])", "::-1", "x.t() > 5",
]  # fmt: skip

_INDEXING = {
    "indexing": [
        *(f"x = ar(3, 4); x[{i}]" for i in _INDICES),
        *(f"x = ar(3, 4); x[{i}]" for i in _REFUSED_INDICES),
        *blocks("""
            ar(2, 3, 4)[1, 2, 3]

            ar(2, 3, 4)[:, 1]

            ar(2, 3, 4)[..., 1]

            ar(2, 3, 4)[i64([0, 1]), :, i64([2, 3])]

            ar(2, 3, 4)[:, i64([0, 2]), i64([1, 3])]

            ar(2, 3, 4)[0, :, i64([2, 3])]

            f32(5.)[...]

            f32(5.)[None]

            f32(5.)[0]

            x = ar(3, 4); x[1].data_ptr() - x.data_ptr()

            x = ar(3, 4); x[i64([1])].data_ptr() == x[1].data_ptr()

            x = ar(4); x[True].shape

            f32([])[0]

            f32([])[:]
        """),
    ],
}

_WRITTEN = [
    ("0", "9."), ("1, 2", "9."), (":, 1", "f32([7., 8., 9.])"), ("1:", "0."), ("::2", "-1."),
    ("...", "5."), ("0", "f32([1., 2., 3., 4.]) * 10"), ("None", "3."), ("i64([0, 2])", "9."),
    ("i64([0, 2]), i64([1, 3])", "f32([50., 60.])"), ("x > 5", "0."), ("x[:, 0] > 3", "1."),
    ("x > 5", "-ar(6)"), (":, i64([0, 3])", "ar(3, 2)"), ("[1, 0]", "f32([[7.], [8.]])"),
    ("0, :2", "f32([5., 6.])"), ("1", "i64(4)"), ("1", "True"), ("2:, 3:", "nan"),
    ("0", "f64([2.])"),
    ("x > 100", "3."), (":2, None, 1", "8."), ("-1, -1", "f32(3.)"),
    ("5:", "1."), ("b8([True, False, True])", "ar(2, 4)"), ("x < 3, ", "2."),
]  # fmt: skip

_REFUSED_WRITES = [
    ("3", "1."), ("0", "f32([1., 2.])"), ("i64([5])", "1."), ("0, 0, 0", "1."), ("0", "'a'"),
    (":, 0", "ar(4)"), ("x > 5", "ar(3)"), ("0", "None"), ("0, 0", "ar(2)"),
]  # fmt: skip

_ASSIGNMENT = {
    "assignment": [
        *(f"x = ar(3, 4); x[{i}] = {value}; x" for i, value in _WRITTEN),
        *(f"x = ar(3, 4); x[{i}] = {value}; x" for i, value in _REFUSED_WRITES),
        *blocks("""
            x = i64([1, 2, 3]); x[0] = 7.9; x

            x = i64([1, 2, 3]); x[1:] = f32([1.5, -2.5]); x

            x = b8([True, False]); x[1] = 3; x

            x = ar(2, 2); x[0, 0] += 5.; x

            x = ar(2, 2); x[0] *= 3.; x

            x = ar(4); x[1:] = x[:-1].clone(); x

            x = ar(4); y = x; y[0] = 3.; x is y

            x = f32(2.); x[...] = 5.; x

            x = f32(2.); x[()] = 5.; x

            x = ar(2, 3).t(); x[0, 1] = 9.; x

            x = u8([1, 2]); x[0] = 200; x
        """),
    ],
    "assignment with gradients: assignment": blocks("""
        x = leaf([1., 2., 3.]); y = x * 2; y[1] = 0.; y.sum().backward(); x.grad

        x = leaf([1., 2.]); y = f64([0., 0., 0.]); y[1:] = x * x; y.sum().backward(); x.grad

        x = leaf([1., 2.]); y = f64([0., 0., 0.]); y[1:] = x; (y.requires_grad, y.is_leaf)

        x = leaf([1., 2., 3.]); y = x * 2; y[x > 1.5] = 7.; y.sum().backward(); (y, x.grad)

        x = leaf([1., 2.]); v = leaf([5.]); y = x * 2; y[:1] = v; (y * y).sum().backward(); v.grad

        x = leaf([1., 2., 3.]); y = x * 2; y[i64([0, 2])] = x[:2]; (y ** 2).sum().backward(); x.grad

        x = leaf([1., 2.]); x[0] = 5.

        with T.no_grad():
            x = leaf([1., 2.]); x[0] = 5.
        x
    """),
    "indexing gradients: indexing": blocks("""
        grads(lambda x: x[i64([0, 0, 1])] ** 2, rnd(2, 3))

        grads(lambda x: x[i64([0, 1]), i64([2, 2])] ** 3, rnd(2, 3))

        grads(lambda x: x[:, i64([1, 1, 0])] ** 2, rnd(2, 3))

        grads(lambda x: x[b8([True, False])] ** 2, rnd(2, 3))

        grads(lambda x: x[1:, ::2] * x[:1, 1:], rnd(2, 3))

        grads(lambda x: x[None, ..., 0] ** 2, rnd(2, 3))
    """),
}

CASES = family("indexing", _INDEXING, _ASSIGNMENT)
