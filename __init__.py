"""tdsl: a tensor expression language and its compiler, and PyTorch's tensor on top of it.

    m = tdsl.load("model.tdsl")            functions of a file, compiled when first called
    value, gradient = m.loss.value_and_grad("w")(x, y, w)

    import tdsl as torch                   tensors that remember what `backward()` needs

`load` and `compile` make a `Module`, whose attributes are `Function`s; `tensor` and its like make
`Tensor`s, and every operation and gradient of theirs is compiled, too. Everything here is imported
when first used.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from .runtime import version as _version

__version__ = _version.VERSION

if TYPE_CHECKING:
    from .compiler.errors import Diagnostic, TdslError
    from .runtime import autograd, nn, optim
    from .runtime import cuda as cuda
    from .runtime import linalg as linalg
    from .runtime.arguments import (
        ArgumentTypeError,
        ArgumentValueError,
        CallError,
        OutOfRangeError,
    )
    from .runtime.function import Function
    from .runtime.module import Module, TdslWarning, compile, load
    from .runtime.stats import Stats, stats
    from .runtime.tensor.creation import tensor
    from .runtime.tensor.device import device
    from .runtime.tensor.dtype import (
        bfloat16 as bfloat16,
    )
    from .runtime.tensor.dtype import bool_ as bool
    from .runtime.tensor.dtype import (
        dtype,
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        uint8,
    )
    from .runtime.tensor.dtype import (
        finfo as finfo,
    )
    from .runtime.tensor.dtype import (
        get_default_dtype as get_default_dtype,
    )
    from .runtime.tensor.dtype import (
        iinfo as iinfo,
    )
    from .runtime.tensor.dtype import (
        promote_types as promote_types,
    )
    from .runtime.tensor.dtype import (
        set_default_dtype as set_default_dtype,
    )
    from .runtime.tensor.functions import *  # noqa: F403
    from .runtime.tensor.modes import (
        enable_grad as enable_grad,
    )
    from .runtime.tensor.modes import (
        inference_mode as inference_mode,
    )
    from .runtime.tensor.modes import (
        is_grad_enabled,
        no_grad,
    )
    from .runtime.tensor.modes import (
        is_inference_mode_enabled as is_inference_mode_enabled,
    )
    from .runtime.tensor.modes import (
        set_grad_enabled as set_grad_enabled,
    )
    from .runtime.tensor.size import Size
    from .runtime.tensor.tensor import Tensor

_HOME = {
    **dict.fromkeys(("Diagnostic", "TdslError"), "compiler.errors"),
    **dict.fromkeys(
        ("ArgumentTypeError", "ArgumentValueError", "CallError", "OutOfRangeError"),
        "runtime.arguments",
    ),
    "Function": "runtime.function",
    **dict.fromkeys(("Module", "TdslWarning", "compile", "load"), "runtime.module"),
    "save": "runtime.saving",
    **dict.fromkeys(("get_num_threads", "set_num_threads"), "runtime.threads"),
    **dict.fromkeys(("Stats", "stats"), "runtime.stats"),
    "Tensor": "runtime.tensor.tensor",
    "Size": "runtime.tensor.size",
    "device": "runtime.tensor.device",
    **dict.fromkeys(
        (
            *("dtype", "finfo", "iinfo", "bfloat16", "float16", "float32", "float64", "uint8"),
            *("int8", "int16", "int32", "int64", "bool", "get_default_dtype"),
            *("half", "float", "double", "short", "int", "long"),
            *("set_default_dtype", "promote_types"),
        ),
        "runtime.tensor.dtype",
    ),
    **dict.fromkeys(
        (
            *("no_grad", "enable_grad", "set_grad_enabled", "inference_mode"),
            *("is_grad_enabled", "is_inference_mode_enabled"),
        ),
        "runtime.tensor.modes",
    ),
    "is_anomaly_enabled": "runtime.tensor.anomaly",
    **dict.fromkeys(
        ("set_printoptions", "get_printoptions", "printoptions"), "runtime.tensor.printing"
    ),
}
#: Names here that are Python's own there.
_RENAMED = {"bool": "bool_"}
#: Modules of the namespace, also for `import tdsl.nn as nn`.
_MODULES = {
    "autograd": "runtime.autograd",
    "cuda": "runtime.cuda",
    "linalg": "runtime.linalg",
    "nn": "runtime.nn",
    "optim": "runtime.optim",
    "torch": "runtime.inside_torch",
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
    "autograd",
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
    "nn",
    "no_grad",
    "optim",
    "stats",
    "tensor",
    "uint8",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name.startswith("__"):
        raise AttributeError(f"module 'tdsl' has no attribute {name!r}")
    module = importlib.import_module(f".{_HOME.get(name, 'runtime.tensor.functions')}", __name__)
    try:
        value = _aliased(module, name)
    except AttributeError:
        raise AttributeError(
            f"module 'tdsl' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        ) from None
    globals()[name] = value
    return value


def _aliased(module: Any, name: str) -> Any:
    aliases = getattr(module, "ALIASES", {})
    return aliases[name] if name in aliases else getattr(module, _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_HOME, *_MODULES})


class _Finder:
    """Finds and loads `tdsl.nn` and its like, which are modules of the run time. (It is no subclass
    of `importlib.abc`'s classes: their import takes 8 ms.)"""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        parent, _, rest = name.partition(".")
        first, dot, below = rest.partition(".")
        if parent != __name__ or first not in _MODULES:
            return None
        home = f"{__name__}.{_MODULES[first]}{dot}{below}"
        if importlib.util.find_spec(home) is None:
            return None
        loader: Any = self
        return importlib.machinery.ModuleSpec(name, loader, origin=home, is_package=True)

    def create_module(self, spec: Any) -> Any:
        module = importlib.import_module(spec.origin)
        self._own = module.__spec__  # which the import would replace
        return module

    def exec_module(self, module: Any) -> None:
        module.__spec__ = self._own


# first: `tdsl.nn` has a path, by which `tdsl.nn.functional` would be loaded a second time
sys.meta_path.insert(0, _Finder())
