"""How a Tensor prints: PyTorch's text, with `tdsl.` where PyTorch writes `torch.`.

In: an array of elements and what is known of the tensor around them. Out: the text of its `repr`.
Left to others: finding the elements of a tensor (bfloat16 comes in widened), and `format`.

    tensor([[0.5000, 1.0000],                 what stands before the elements gives the column
            [1.5000, 2.0000]], dtype=…)       in which every line after the first begins

1. The elements to show: all, or the edges of each dim where there are more than `threshold`.
2. Their texts: one notation for all of them, set by the shown ones that are finite and not zero.
3. The layout: brackets, rows broken at `linewidth`, blank lines between matrices.
4. The suffixes: what a reader could not see from the elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import numpy as np

from ...compiler.records import dataclass

Array = np.ndarray[Any, Any]


# --------------------------------------------------------------------------- options
@dataclass(frozen=True)
class PrintOptions:
    """The options in force; as in PyTorch, a bad value is found when something is printed."""

    precision: int = 4  #: digits after the point
    threshold: float = 1000  #: more elements than this are summarised
    edgeitems: int = 3  #: elements shown at each end of a summarised dim
    linewidth: int = 80  #: characters after which a line is broken
    sci_mode: bool | None = None  #: whether floats have exponents; None: as their values need


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}
_options = _PROFILES["default"]


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors print from now on; None leaves an option as it is.

    `profile`, one of "default", "short" and "full" (another name is ignored), sets them all first.
    Only `sci_mode` is set by every call: None is a value of it, and lets the elements decide.
    """
    global _options
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    base = _options if profile is None else _PROFILES.get(profile, _options)
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _options = replace(base, **chosen, sci_mode=sci_mode)


def get_printoptions() -> dict[str, Any]:
    """The options in force, as arguments of `set_printoptions`."""
    return asdict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """`set_printoptions(**options)` for the length of a `with` block."""
    global _options
    before = _options
    try:
        set_printoptions(**options)
        yield
    finally:
        _options = before


# --------------------------------------------------------------------------- the whole text
def tensor_text(
    array: Array,
    *,
    dtype_name: str,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    device: str = "cpu",
    class_name: str = "tensor",
    default_dtype_name: str = "float32",
) -> str:
    """The `repr` of a tensor with these elements.

    `array` has any shape; of bfloat16 it holds the same values as float32. `device` is the text
    of the device. `class_name` is "tensor", or "Parameter", which stands on a line of its own, or
    that of a subclass, which takes the place of "tensor". Raises ValueError or TypeError for
    options that cannot be used.
    """
    if class_name == "Parameter":
        opening, name = "Parameter containing:\n", "tensor"
    else:
        opening, name = "", class_name
    options = _options
    column = len(name) + 1
    body = f"{name}({_elements(array, column, options)}"
    suffixes = []
    if device != "cpu":
        suffixes.append(f"device='{device}'")
    if _needs_size(array, options):
        suffixes.append(f"size={array.shape}")
    if dtype_name not in _told_dtypes(array, default_dtype_name):
        suffixes.append(f"dtype=tdsl.{dtype_name}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    return f"{opening}{_with_suffixes(body, suffixes, column, options.linewidth)})"


def _elements(array: Array, column: int, options: PrintOptions) -> str:
    """The elements with their brackets, the first of which stands at `column`."""
    if array.size == 0:
        return "[]"
    cut = [False] * array.ndim
    if array.ndim > 0 and array.size > options.threshold:
        if options.edgeitems == 0:
            return "[...]"
        cut = [extent > 2 * options.edgeitems >= 0 for extent in array.shape]
    shown = _edges(array, cut, options.edgeitems) if any(cut) else array
    texts, width = _texts(shown, options)
    if array.ndim == 0:
        return texts[0]
    # The innermost bracket stands ndim - 1 to the right; every element has its comma and space.
    room = options.linewidth - (column + array.ndim - 1)
    return _block(iter(texts), shown.shape, cut, column, max(1, math.floor(room / (width + 2))))


def _edges(array: Array, cut: list[bool], edge: int) -> Array:
    """The array without the middle of the dims that are cut; of that, nothing is read."""
    shown = [
        (*range(extent)[:edge], *range(extent)[-edge:]) if is_cut else range(extent)
        for extent, is_cut in zip(array.shape, cut, strict=True)
    ]
    edges: Array = array[np.ix_(*shown)]
    return edges


# --------------------------------------------------------------------------- the elements' texts
def _texts(shown: Array, options: PrintOptions) -> tuple[list[str], int]:
    """The elements' texts in order, padded, and the width that lines are counted with."""
    if shown.dtype.kind == "f":
        values = shown.astype(np.float64).ravel()
        texts, measured = _float_texts(values, options)
    else:
        texts = [str(value) for value in shown.ravel().tolist()]
        measured = texts
    # Infinities, NaN and a zero's sign may be wider: PyTorch lets them stick out.
    width = max(map(len, measured), default=1)
    return [text.rjust(width) for text in texts], width


def _float_texts(values: Array, options: PrintOptions) -> tuple[list[str], list[str]]:
    """The texts of the values, and those of them that are finite and not zero."""
    counts = np.isfinite(values) & (values != 0)
    sizes = np.abs(values[counts])
    whole = bool(np.all(sizes == np.floor(sizes)))
    if sizes.size and _has_exponent(sizes, whole, options.sci_mode):
        spec = f".{options.precision}e"
        texts = [format(value, spec) for value in values.tolist()]
    elif whole:
        texts = [
            f"{value:.0f}." if math.isfinite(value) else str(value) for value in values.tolist()
        ]
    else:
        spec = f".{options.precision}f"
        texts = [format(value, spec) for value in values.tolist()]
    return texts, [text for text, counted in zip(texts, counts.tolist(), strict=True) if counted]


def _has_exponent(sizes: Array, whole: bool, sci_mode: bool | None) -> bool:
    """Whether values of these sizes need an exponent, unless the options say."""
    if sci_mode is not None:
        return bool(sci_mode)
    least, greatest = float(sizes.min()), float(sizes.max())
    return greatest > 1e8 or greatest / least > 1000 or (not whole and least < 1e-4)


# --------------------------------------------------------------------------- layout
def _block(
    texts: Iterator[str], counts: tuple[int, ...], cut: list[bool], column: int, per_line: int
) -> str:
    """The next elements in brackets, as many as `counts` says; dots in the middle of a cut dim.

    The bracket stands at `column`, and no line has more than `per_line` elements.
    """
    count, *rest = counts
    if not rest:
        items = list(islice(texts, count))
        if cut[0]:
            items.insert(count // 2, " ...")
        parts = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    else:
        below = tuple(rest)
        parts = [_block(texts, below, cut[1:], column + 1, per_line) for _ in range(count)]
        if cut[0]:
            parts.insert(count // 2, "...")
    # One line break between rows, one more for every dim that ends with them.
    separator = "," + "\n" * max(1, len(rest)) + " " * (column + 1)
    return f"[{separator.join(parts)}]"


# --------------------------------------------------------------------------- suffixes
def _needs_size(array: Array, options: PrintOptions) -> bool:
    """Whether the elements leave the shape open: there are none, or `edgeitems` hides them all."""
    return array.ndim != 1 if array.size == 0 else options.edgeitems == 0


def _told_dtypes(array: Array, default_dtype_name: str) -> set[str]:
    """The dtypes that a reader assumes, or knows from the elements' texts if there are any."""
    return {default_dtype_name} if array.size == 0 else {default_dtype_name, "int64", "bool"}


def _with_suffixes(body: str, suffixes: list[str], column: int, linewidth: int) -> str:
    """The body and its suffixes, each on the line it fits on."""
    text = body
    used = len(body) - (body.rfind("\n") + 1) + 2  # PyTorch counts two for the closing bracket
    for suffix in suffixes:
        # Lines break where PyTorch breaks them, whose own name is a letter longer than ours.
        length = len(suffix) + suffix.startswith("dtype=")
        if used + length + 2 > linewidth:
            text += ",\n" + " " * column + suffix
            used = column + length
        else:
            text += ", " + suffix
            used += length + 2
    return text
