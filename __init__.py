"""tdsl: a tensor expression language and its compiler.

    m = tdsl.load("model.tdsl")            functions of a file, compiled when first called
    value, gradient = m.loss.value_and_grad("w")(x, y, w)

`load` and `compile` make a `Module`, whose attributes are `Function`s; `tensor` makes a `Tensor`
that remembers what it needs for `backward()`. Everything here is imported when first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from .runtime import version as _version

__version__ = _version.VERSION

if TYPE_CHECKING:
    from .compiler.errors import Diagnostic, TdslError
    from .runtime.arguments import (
        ArgumentTypeError,
        ArgumentValueError,
        CallError,
        OutOfRangeError,
    )
    from .runtime.function import Function
    from .runtime.module import Module, TdslWarning, compile, load
    from .runtime.stats import Stats, stats
    from .runtime.tensor import (
        Size,
        Tensor,
        device,
        dtype,
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        is_grad_enabled,
        no_grad,
        tensor,
        uint8,
    )
    from .runtime.tensor import bool_ as bool

_HOME = {
    **dict.fromkeys(("Diagnostic", "TdslError"), "compiler.errors"),
    **dict.fromkeys(
        ("ArgumentTypeError", "ArgumentValueError", "CallError", "OutOfRangeError"),
        "runtime.arguments",
    ),
    "Function": "runtime.function",
    **dict.fromkeys(("Module", "TdslWarning", "compile", "load"), "runtime.module"),
    **dict.fromkeys(("Stats", "stats"), "runtime.stats"),
    **dict.fromkeys(
        (
            *("Size", "Tensor", "device", "dtype", "is_grad_enabled", "no_grad", "tensor"),
            *("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"),
        ),
        "runtime.tensor",
    ),
}

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "CallError",
    "Diagnostic",
    "Function",
    "Module",
    "OutOfRangeError",
    "Size",
    "Stats",
    "TdslError",
    "TdslWarning",
    "Tensor",
    "bool",
    "compile",
    "device",
    "dtype",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "load",
    "no_grad",
    "stats",
    "tensor",
    "uint8",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(
            f"module 'tdsl' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )
    module = importlib.import_module(f".{home}", __name__)
    value = getattr(module, "bool_" if name == "bool" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
