"""The Module: an object whose attributes are parameters, buffers and other Modules.

In: attributes set by a subclass. Out: all of them by name, as a state, in another dtype or mode.
`traversal` walks the tree, `state` reads and writes it; a call's hooks stand here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from ..tensor import device as dv
from ..tensor import dtype as dt
from ..tensor.core import TensorBase
from ..tensor.hooks import RemovableHandle, register
from ..tensor.modes import no_grad
from .parameter import Parameter
from .state import IncompatibleKeys, load_state, state_of
from .traversal import Traversal

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

Hook = Callable[..., Any]


class Module(Traversal):
    """A part of a network. A subclass calls `super().__init__()`, sets parameters, buffers and
    Modules as attributes, and defines `forward`, which calling the Module runs."""

    training: bool

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"], own["_buffers"], own["_modules"] = {}, {}, {}
        own["_non_persistent_buffers_set"] = set()
        own["_forward_hooks"], own["_forward_pre_hooks"] = {}, {}
        own["_hook_options"] = {}

    # ----------------------------------------------------------------------- calls

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the Module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = self.__dict__
        if own["_forward_hooks"] or own["_forward_pre_hooks"]:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        options = self._hook_options
        for key, hook in list(self._forward_pre_hooks.items()):
            if options[key]["with_kwargs"]:
                found = hook(self, args, kwargs)
                if found is not None:
                    args, kwargs = found
            else:
                found = hook(self, args)
                if found is not None:
                    args = found if isinstance(found, tuple) else (found,)
        result = self.forward(*args, **kwargs)
        for key, hook in list(self._forward_hooks.items()):
            given = (args, kwargs) if options[key]["with_kwargs"] else (args,)
            found = hook(self, *given, result)
            if found is not None:
                result = found
        return result

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """`hook(module, args)` is called before `forward`; what it returns, if not None, replaces
        the arguments. `with_kwargs`: `hook(module, args, kwargs)` returns both."""
        return self._registered(self._forward_pre_hooks, hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """`hook(module, args, result)` is called after `forward`; what it returns, if not None,
        replaces the result. `with_kwargs`: `hook(module, args, kwargs, result)`."""
        return self._registered(self._forward_hooks, hook, prepend, with_kwargs)

    def _registered(
        self, hooks: dict[int, Hook], hook: Hook, prepend: bool, with_kwargs: bool
    ) -> RemovableHandle:
        before = dict(hooks) if prepend else {}
        handle = register(hooks, hook)
        self._hook_options[handle.id] = {"with_kwargs": with_kwargs}
        for key in before:  # to the end, after the one that goes first
            hooks[key] = hooks.pop(key)
        return handle

    # ----------------------------------------------------------------------- attributes

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Set a parameter (None: there is none under that name). Raises TypeError for what is no
        Parameter, KeyError for a name that cannot be or is taken."""
        self._check_name("parameter", name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_type_name(param)}' object to parameter '{name}' "
                "(tdsl.nn.Parameter or None required)"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set a Tensor that is no parameter but belongs to the state (if `persistent`)."""
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, TensorBase):
            raise TypeError(
                f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' (tdsl Tensor or "
                "None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Set a child."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_type_name(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, kind: str, name: str, own: Mapping[str, Any]) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind}s before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in own:
            raise KeyError(f"attribute '{name}' already exists")

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            found = own.get(table)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(
            f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self
        )

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._replaces(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._replaces(name, "_modules")
            self._modules[name] = value
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_type_name(value)}' as parameter '{name}' "
                    "(tdsl.nn.Parameter or None expected)"
                )
            self._parameters[name] = None
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_type_name(value)}' as child module '{name}' "
                    "(tdsl.nn.Module or None expected)"
                )
            self._modules[name] = None
        elif name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, TensorBase):
                raise TypeError(
                    f"cannot assign '{_type_name(value)}' as buffer '{name}' (tdsl.Tensor or None "
                    "expected)"
                )
            buffer: Any = value
            self._buffers[name] = buffer
        else:
            object.__setattr__(self, name, value)

    def _replaces(self, name: str, table: str) -> None:
        """Take `name` out of all tables but the one it goes to."""
        own = self.__dict__
        if "_parameters" not in own:
            kind = table.strip("_")
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        own.pop(name, None)
        for other in ("_parameters", "_buffers", "_modules"):
            if other != table:
                own[other].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        tables = (self._parameters, self._buffers, self._modules)
        return sorted({*super().__dir__(), *(name for table in tables for name in table)})

    # ----------------------------------------------------------------------- state

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Every parameter and persistent buffer under its dotted name, sharing memory; detached
        unless `keep_vars`."""
        return state_of(self, {} if destination is None else destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy a state into the parameters and buffers (or put its Tensors there, with
        `assign`). Raises RuntimeError for shapes that differ and, if `strict`, for keys that are
        missing or not expected; returns those."""
        return load_state(self, state_dict, strict, assign)

    # ----------------------------------------------------------------------- modes, dtypes

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in all descendants."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set it of every parameter."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or make them 0."""
        for p in self.parameters():
            forget_gradient(p, set_to_none)

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` with every descendant and then with this Module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert the floating-point parameters and buffers, in place: `to(dtype)`, `to(device)`,
        `to(tensor)`. Raises TypeError for a dtype that is not floating-point."""
        target = kwargs.pop("dtype", None)
        device = kwargs.pop("device", None)
        kwargs.pop("non_blocking", None)
        if kwargs:
            raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
        for a in args:
            if isinstance(a, TensorBase):
                target, device = a._kind.dtype, a.device  # type: ignore[attr-defined]
            elif isinstance(a, dt.dtype):
                target = a
            elif a is not None and not isinstance(a, bool):
                device = a
        if device is not None:
            dv.require(device)
        if target is None:
            return self
        if not target.is_floating_point:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={target}"
            )
        return self._apply(lambda t: t.to(target) if t._kind.dtype.is_floating_point else t)

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Put `fn` of every parameter, gradient and buffer in its place."""
        with no_grad():
            for module in self.modules():
                for p in module._parameters.values():
                    if p is not None:
                        held = p.grad
                        p.data = fn(p.data)
                        if held is not None:
                            held.data = fn(held.data)
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        module._buffers[name] = fn(buffer)
        return self

    def type(self, dst_type: dt.dtype) -> Self:
        """All parameters and buffers as another dtype."""
        return self._apply(lambda t: t.to(dst_type))

    def float(self) -> Self:
        """`to(float32)`."""
        return self.to(dt.float32)

    def double(self) -> Self:
        """`to(float64)`."""
        return self.to(dt.float64)

    def half(self) -> Self:
        """`to(float16)`."""
        return self.to(dt.float16)

    def bfloat16(self) -> Self:
        """`to(bfloat16)`."""
        return self.to(dt.bfloat16)

    def cpu(self) -> Self:
        """`to("cpu")`."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """`to` a CUDA device."""
        return self.to("cuda" if device is None else device)

    # ----------------------------------------------------------------------- text

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the brackets of the printed form."""
        return ""

    def _child_lines(self) -> Iterator[str]:
        for name, child in self._modules.items():
            yield f"({name}): {indented(repr(child))}"

    def __repr__(self) -> str:
        extra = self.extra_repr()
        own = extra.split("\n") if extra else []
        children = list(self._child_lines())
        if len(own) <= 1 and not children:
            return f"{self._get_name()}({extra})"
        lines = "\n  ".join([*own, *children])
        return f"{self._get_name()}(\n  {lines}\n)"


def indented(text: str) -> str:
    """All lines but the first two columns to the right."""
    return text.replace("\n", "\n  ")


def forget_gradient(p: Tensor, set_to_none: bool) -> None:
    """Drop a Tensor's gradient, or make it 0 and forget its history."""
    held = p.grad
    if held is None:
        return
    if set_to_none:
        p.grad = None
        return
    if held.grad_fn is not None:
        held.detach_()
    else:
        held.requires_grad_(False)
    held.zero_()


def _type_name(value: Any) -> str:
    cls = type(value)
    return f"tdsl.{cls.__name__}" if isinstance(value, TensorBase) else cls.__name__


__all__ = ["Module", "forget_gradient", "indented"]
