"""Tensors whose printed text is recorded from PyTorch, and the script that records it.

In: the lists below. Out: tests/golden/printing.json, a case a line: how to make the elements, what
else is known of the tensor, the print options, and PyTorch's text with `tdsl.` for `torch.`. The
tests read it without PyTorch; only recording needs it:

    python tests/printing_cases.py

A case's elements are "values" (floats in hexadecimal), or a "ramp" of first value and step; a
"patch" of flat index and value replaces some. Fields that have their default are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parent / "golden" / "printing.json"
Case = dict[str, Any]
Array = np.ndarray[Any, Any]

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int8", "int16", "int32", "int64", "uint8")
NAN, INF = math.nan, math.inf

#: Each is one tensor of rank 1, and its values set the notation.
FLOAT_LISTS: tuple[tuple[float, ...], ...] = (
    (0.0,), (0.0, -0.0), (NAN,), (NAN, 0.0, -INF), (1.0, NAN), (1.0, -INF, -0.0),  # whole
    (1.0, 2.0, 3.0), (-1.0, 100.0), (1000.0, 1.0), (1001.0, 1.0), (2048.0, 2.0, 0.0),
    (1e8,), (99999999.0, 1e6), (1.1e8, NAN), (1e5, -1.0),
    (0.5,), (1.5, -2.25, 10.0), (-0.0, 1.5), (1.5, NAN, INF, -INF), (0.1, 0.2, 0.3),  # fixed
    (9.99995, 99.99995), (0.00005, 0.04), (1e-4,), (1.0001e-4, 0.1), (999.5, 0.9995), (0.001, 1.0),
    (9e-5,), (1e-5, 0.5), (1.5, 1e9), (-1.5e-5, 2e-5, 0.0, NAN, -INF),  # with an exponent
    (6e-8, 65504.0), (1e-40, 1.5), (5e-324,), (1e38, -1e-38), (1e300, 1e-300), (3.4e38, 1.0),
)  # fmt: skip
FLOAT_SCALARS = (0.0, -0.0, 1.0, -2.5, 1234.5, 1e8, 2e8, 1e-4, 9e-5, 1 / 3, NAN, INF, -INF)
#: Shapes that are shown in full, and shapes with more than 1000 elements.
SMALL_SHAPES = (
    (7,), (30,), (1, 1), (3, 4), (2, 30), (5, 1), (2, 2, 2), (1, 3, 1), (2, 1, 26), (2, 2, 2, 2),
    (1, 1, 1, 1, 1), (2, 1, 2, 1, 2), (3, 2, 2, 1),
)  # fmt: skip
LARGE_SHAPES = (
    (1001,), (2000,), (40, 40), (7, 150), (6, 200), (200, 6), (1, 1100), (1100, 1), (4, 20, 20),
    (20, 20, 4), (9, 12, 10), (1, 7, 7, 30), (2, 8, 2, 40), (7, 1, 2, 2, 40),
)  # fmt: skip
EMPTY_SHAPES = ((0,), (0, 0), (0, 3), (3, 0), (2, 0, 3), (0, 1, 1, 1), (2000, 0))
OPTIONS: tuple[dict[str, Any], ...] = (
    *({"precision": p} for p in (0, 1, 2, 7, 12)),
    *({"threshold": t} for t in (0, 5, 24, 1e9)),
    *({"threshold": 5, "edgeitems": e} for e in (0, 1, 2, 5)),
    *({"linewidth": w} for w in (0, 12, 20, 33, 54, 200)),
    *({"profile": p} for p in ("default", "short", "full")),
    *({"sci_mode": s} for s in (True, False)),
    {"profile": "short", "precision": 3, "sci_mode": True},
    {"profile": "full", "linewidth": 40},
    {"edgeitems": 0},
    {"precision": 0, "sci_mode": True},
)
#: Tensors that every option is tried on.
OPTION_TENSORS: tuple[Case, ...] = (
    {"dtype": "float32", "shape": [5, 6], "ramp": [-1.5, 0.125]},
    {"dtype": "float64", "shape": [3, 1, 4], "ramp": [0.0, 2.0], "patch": [[5, -1e9], [7, NAN]]},
    {"dtype": "int64", "shape": [26], "ramp": [-3, 7]},
    {"dtype": "float32", "shape": [], "ramp": [2.5, 0.0]},
)


# --------------------------------------------------------------------------- cases
def cases() -> Iterator[Case]:
    """All of them, without their texts."""
    for dtype in FLOATS:
        for values in FLOAT_LISTS:
            yield {"dtype": dtype, "shape": [len(values)], "values": list(values)}
        for value in FLOAT_SCALARS:
            yield {"dtype": dtype, "shape": [], "values": [value]}
    for dtype in INTS:
        ends = np.iinfo(dtype)
        for integers in (
            [0],
            [0, 1, 2],
            [max(-1, int(ends.min)), 10, 100],
            [int(ends.min), int(ends.max)],
        ):
            yield {"dtype": dtype, "shape": [len(integers)], "values": integers}
        yield {"dtype": dtype, "shape": [], "values": [int(ends.max)]}
    for flags in ([0], [1], [1, 0, 1], [1] * 20, [0, 1] * 20):
        yield {"dtype": "bool", "shape": [len(flags)], "values": flags}
    yield {"dtype": "bool", "shape": [], "values": [1]}
    yield {"dtype": "bool", "shape": [50, 50], "ramp": [0, 1]}
    for shape in SMALL_SHAPES:
        yield {"dtype": "float32", "shape": list(shape), "ramp": [-2.0, 0.25]}
        yield {"dtype": "int64", "shape": list(shape), "ramp": [0, 1]}
    for shape in LARGE_SHAPES:
        # The value in the middle is behind the dots, and must not widen the others.
        middle = int(np.ravel_multi_index([extent // 2 for extent in shape], shape))
        hidden = [[middle, 1e9]]
        yield {"dtype": "float32", "shape": list(shape), "ramp": [0.5, 0.25], "patch": hidden}
        yield {"dtype": "float64", "shape": list(shape), "ramp": [0.0, 1.0], "requires_grad": True}
        yield {"dtype": "int64", "shape": list(shape), "ramp": [-5, 3]}
    # More than 1000 elements, but no dim long enough to be cut.
    yield {"dtype": "int8", "shape": [2] * 10, "ramp": [0, 0]}
    for shape in EMPTY_SHAPES:
        for dtype in ("float32", "float64", "int64", "bool", "bfloat16"):
            yield {"dtype": dtype, "shape": list(shape), "values": []}
    for options in OPTIONS:
        for made in OPTION_TENSORS:
            yield {**made, "options": options}
    yield from _suffix_cases()


def _suffix_cases() -> Iterator[Case]:
    for extent in range(6, 12):  # the suffixes meet the right margin one after the other
        made: Case = {"dtype": "float64", "shape": [extent], "ramp": [0.0, 0.5]}
        yield made
        yield {**made, "requires_grad": True}
        yield {**made, "grad_fn": "MulBackward0"}
        yield {**made, "dtype": "float32", "grad_fn": "ViewBackward0"}
        yield {**made, "device": "cuda:0"}
        yield {**made, "device": "cuda:1", "requires_grad": True}
    for linewidth in range(60, 80):
        yield {
            "dtype": "float64", "shape": [3], "ramp": [1.5, 0.0], "requires_grad": True,
            "options": {"linewidth": linewidth},
        }  # fmt: skip
    for shape in ([], [0], [0, 2], [2, 3], [2, 2, 2]):
        made = {"dtype": "float32", "shape": shape, "ramp": [1.0, 1.0]}
        yield {**made, "requires_grad": True}
        yield {**made, "grad_fn": "CloneBackward0"}
        yield {**made, "dtype": "float16", "grad_fn": "LeakyReluBackward0"}
        yield {**made, "device": "cuda:0"}
        yield {**made, "dtype": "int32", "device": "cuda:0"}
        yield {**made, "class": "Parameter", "requires_grad": True}
        yield {**made, "class": "Parameter", "dtype": "bfloat16"}
        yield {**made, "class": "Angles"}
        for dtype in ("float32", "float64", "int64", "bool"):
            yield {**made, "dtype": dtype, "default_dtype": "float64"}


# --------------------------------------------------------------------------- elements
def elements(case: Case) -> Array:
    """The case's elements as `tensor_text` takes them: bfloat16 widened to float32."""
    dtype, shape = case["dtype"], case["shape"]
    wide = np.float64 if dtype in FLOATS else np.int64
    if "ramp" in case:
        first, step = case["ramp"]
        flat = first + step * np.arange(math.prod(shape)).astype(wide)
    else:
        flat = np.array(case["values"], wide)
    for index, value in case.get("patch", ()):
        flat[index] = value
    with np.errstate(over="ignore"):
        if dtype == "bfloat16":
            return _rounded_to_bfloat16(flat.astype(np.float32)).reshape(shape)
        array: Array = (flat % 2 if dtype == "bool" else flat).astype(dtype).reshape(shape)
        return array


def _rounded_to_bfloat16(x: Array) -> Array:
    """To nearest, ties to even: the 16 low bits of a float32 go."""
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(x), x, rounded)


# --------------------------------------------------------------------------- recording
def torch_text(case: Case) -> str:
    """What PyTorch prints for the case, under tdsl's name."""
    import torch
    from torch._tensor_str import printoptions

    array = elements(case)
    tensor = torch.from_numpy(array.copy()).to(getattr(torch, case["dtype"]))
    requires_grad = case.get("requires_grad", False)
    name = case.get("class", "tensor")
    if name == "Parameter":
        tensor = torch.nn.Parameter(tensor, requires_grad)
    elif name != "tensor" or "device" in case:
        kind = _subclass(name, case.get("device", "cpu"))
        tensor = torch.Tensor._make_subclass(kind, tensor, requires_grad)
    elif "grad_fn" in case:
        operations: dict[str, Callable[[Any], Any]] = {
            "MulBackward0": lambda t: t * 1,
            "ViewBackward0": lambda t: t.view(t.shape),
            "CloneBackward0": torch.clone,
            "LeakyReluBackward0": lambda t: torch.nn.functional.leaky_relu(t, 1.0),
        }
        tensor = operations[case["grad_fn"]](tensor.requires_grad_())
    else:
        tensor.requires_grad_(requires_grad)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(getattr(torch, case.get("default_dtype", "float32")))
        with printoptions(**case.get("options", {})):
            return repr(tensor).replace("torch.", "tdsl.")
    finally:
        torch.set_default_dtype(before)


@cache
def _subclass(name: str, device: str) -> Any:
    """A class whose tensors say they are on that device: recording needs none."""
    import torch

    return type(name, (torch.Tensor,), {"device": property(lambda t: torch.device(device))})


def as_json(case: Case) -> str:
    """The case on one line; floats in hexadecimal, which JSON's own cannot spell exactly."""

    def spelled(value: Any) -> Any:
        return value.hex() if isinstance(value, float) else value

    plain = {**case}
    for field in ("values", "ramp"):
        if field in case:
            plain[field] = [spelled(value) for value in case[field]]
    if "patch" in case:
        plain["patch"] = [[index, spelled(value)] for index, value in case["patch"]]
    return json.dumps(plain)


def recorded() -> list[Case]:
    """The cases of the file, with their texts."""

    def value(x: Any) -> Any:
        return float.fromhex(x) if isinstance(x, str) else x

    found: list[Case] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for case in found:
        for field in ("values", "ramp"):
            if field in case:
                case[field] = [value(x) for x in case[field]]
        if "patch" in case:
            case["patch"] = [[index, value(x)] for index, x in case["patch"]]
    return found


def main() -> None:
    lines = [as_json({**case, "text": torch_text(case)}) for case in cases()]
    GOLDEN.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(lines)} cases recorded in {GOLDEN}")


if __name__ == "__main__":
    main()
