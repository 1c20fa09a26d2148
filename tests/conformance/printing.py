"""The printed form of tensors, to the character."""

from __future__ import annotations

from .case import blocks, family

_TENSORS = [
    "f32([1., 2., 3.])", "f32([1.5, -2.25])", "f32(2.5)", "f32(3.)", "f32([])", "i64([])",
    "T.zeros(2, 0)", "i64([1, 20, 300])", "i64(5)", "i64([-1, 10])", "b8([True, False])",
    "b8(True)", "f64([1.5])", "f16([1.5])", "bf16([1.5])", "i32([1])", "u8([1, 255])",
    "f32([0.1, 0.25, 1/3])", "f32([1e-5, 1.])", "f32([1e5, 1.])", "f32([1e8])",
    "f32([12345678.])", "f32([1e10, 1.])", "f32([0.00001])", "f32([1000., 0.5])",
    "f32([100000., 0.5])", "f32([1e3, 1e-3])", "f32([1e4, 1e-1])", "f32([0., 0.])",
    "f32([-0., 0.])", "f32([nan, 1.])", "f32([inf, 1.5])", "f32([-inf, nan])", "f32([nan])",
    "f32([inf, 1.])", "f32([1e-10])", "f32([123456.789])", "f32([99999.9])", "f32([0.99999])",
    "f32([1.00001])", "ar(2, 3)", "ar(2, 2, 2)", "ar(2, 1, 2, 2)", "ar(2, 3).t()",
    "f32([[1.5, 20.], [-300.25, 4.]])", "ar(12)", "ar(40)", "ar(30) / 7", "ar(1001)",
    "ar(1000).shape", "T.zeros(40, 40)", "T.zeros(11, 100)", "T.zeros(8, 8, 20)", "ar(1001).long()",
    "leaf([1.])", "leaf([1.], 'float32')", "leaf([1.], 'float32') * 2",
    "leaf([1., 2.], 'float32').sum()", "leaf([[1.]], 'float32') @ leaf([[1.]], 'float32')",
    "(leaf([1.], 'float32') * 2).detach()", "leaf([1.])[0]", "leaf([1.]).exp()",
    "i64([2**40, 1])", "f64([0.1, 1e-300])", "f32([16777216., 1.])", "T.arange(5.) * 1000",
]  # fmt: skip

_PRINTING = {
    "repr": [
        *(f"repr({text})" for text in _TENSORS),
        *blocks("""
            str(f32([1., 2.]))

            str(f32(1.))

            T.set_default_dtype(T.float64); repr(f64([1.5]))

            T.set_default_dtype(T.float64); repr(f32([1.5]))

            repr(nn.Parameter(f32([1.])))

            [f32(1.), i64([2])].__repr__()

            repr(leaf([1.] * 30))

            repr(ar(2, 30) / 3)
        """),
    ],
}

CASES = family("printing", _PRINTING)
