"""Where tdsl differs from PyTorch, and why. Each case named here is expected to fail: one that
agrees again is an error until its name is taken out."""

from __future__ import annotations

#: reason: the names of the cases, separated by spaces.
DIFFERENCES: dict[str, str] = {
    "a zero times an infinite derivative is 0: gradients are NaN-safe by construction": (
        "creation/where/12"
    ),
    "sign of NaN is NaN, as in NumPy": "pointwise/sign/1",
    "the trigamma function is within some ulp of the true value; PyTorch's is off by 2e-10": (
        "pointwise/lgamma/9 pointwise/digamma/9"
    ),
    "gelu(inf) is inf, the limit": "pointwise/gelu/1",
    "clamp at its bounds has the value's gradient, as the table of derivatives at edges states": (
        "choosing/clamp/15"
    ),
    "backward reads the operand here, not the result: writing the result does no harm": (
        "in_place/needed/12 in_place/needed/13"
    ),
    "a Tensor without elements has the strides of a dense one": (
        "creation/from_numpy/10 views/expand/7 views/diagonal/6"
    ),
    "gradients come dense, whatever the strides of the leaf": "layout/contiguous/6",
    "the node is called AccumulateGrad, without the namespace of PyTorch's C++": (
        "grad_fn/grad_fn.next_functions/2"
    ),
}


def reasons() -> dict[str, str]:
    """The reason for each case that differs."""
    return {name: reason for reason, names in DIFFERENCES.items() for name in names.split()}
