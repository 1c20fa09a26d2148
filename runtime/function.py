"""The compiled function as the user holds it.

In: a source, a name, perhaps a transform. Out: a callable that compiles itself at its first call
and from then on is called natively: every `Function` has a class of its own whose `__call__` is
the builtin that the native entry provides, so that a call costs no Python frame.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import collector
from .donation import asks_to_donate, call_donating
from .requests import (
    parameters_to_differentiate,
    parameters_to_donate,
    parameters_to_map,
    require_floats,
    require_no_donation,
    require_scalar,
)
from .signature import Signature
from .source import Source
from .transforms import Transform, transformed_signature

if TYPE_CHECKING:
    import inspect

    from ..compiler.graph import Function as Graph
    from ..compiler.tuning import Tuning
    from .tensor.kernels import Kernel


class Function:
    """A function of a `.tdsl` file.

    Call it with NumPy arrays, anything with the buffer protocol, or Tensors; Python numbers for
    scalars. Arrays come back as NumPy arrays and scalars as Python numbers; with a Tensor among
    the arguments everything comes back as Tensors. Raises ArgumentTypeError, ArgumentValueError
    and OutOfRangeError (subclasses of TypeError, ValueError and IndexError).
    """

    _source: Source
    _base: str
    _transform: Transform | None
    _tuning: Tuning | None  # None: the recorded one
    description: Signature
    __name__: str
    __qualname__: str
    _lock: threading.RLock
    _compiled: bool
    _derived: dict[Transform, Function]
    donating: dict[Any, Function]  # what calls with `donate=` have asked for
    _native: Callable[..., Any]
    converted: Callable[..., Any]  # for arguments that were converted already
    step: type[Any] | None  # of the backward pass; made at the first call that needs it

    def __new__(
        cls,
        source: Source,
        name: str,
        transform: Transform | None = None,
        tuning: Tuning | None = None,
    ) -> Function:
        own = type("Function", (Function,), {"__module__": Function.__module__})
        self: Function = object.__new__(own)
        self._source, self._base, self._transform = source, name, transform
        self._tuning = tuning
        plain = source.index.signatures[name]
        self.description = transformed_signature(plain, transform) if transform else plain
        self._lock = threading.RLock()
        self._compiled = False
        self._derived = {}
        self.donating = {}
        self.step = None
        self.__name__ = self.__qualname__ = self.description.name
        self.__doc__ = self._documentation()
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # the first call; from then on the class's `__call__` is the builtin
        if asks_to_donate(self.description, kwargs):
            return call_donating(self, args, kwargs)
        self.compile()
        return self._native(*args, **kwargs)

    def compile(self) -> None:
        """Compile now rather than at the first call. Safe from several threads at once."""
        with self._lock, collector.paused():
            if self._compiled:
                return
            from .compilation import native_of

            native = native_of(
                self._source, self._base, self._transform, weakref.ref(self), self.tuning
            )
            self._native = native.callable
            self.converted = native.converted
            # a builtin is no descriptor: calling the instance calls it with the arguments alone
            type(self).__call__ = self._native  # type: ignore[method-assign]
            self._compiled = True

    @property
    def signature(self) -> str:
        """As the language writes it: `def loss(x: f32[b, i], w: f32[i]) -> f32`."""
        return str(self.description)

    @property
    def __signature__(self) -> inspect.Signature:
        """For `inspect.signature`, editors and `help`."""
        import inspect

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature(
            [
                inspect.Parameter(p.name, kind, annotation=p.type_text)
                for p in self.description.params
            ]
        )

    # ----------------------------------------------------------------------- tuning

    @property
    def tuning(self) -> Tuning:
        """The choices that its code is made by: those that `tune` recorded, else the static
        ones."""
        from .tuning_records import recorded

        if self._tuning is None:
            self._tuning = recorded(self._source, self._base, self._transform)
        return self._tuning

    def tune(self, *args: Any, **kwargs: Any) -> Tuning:
        """Time the function's variants at these arguments; the fastest is used, and recorded for
        later processes, if it is faster than the static choice by more than the noise.

        It is used at all sizes, and may round sums differently. `forget_tuning` undoes this.
        """
        from .tuning import tune

        return tune(self, args, kwargs).best

    def forget_tuning(self) -> bool:
        """Return to the static choices; whether there was a record of others."""
        from .tuning_records import forget

        found = forget(self._source, self._base, self._transform)
        self._use(None)
        return found

    def _use(self, tuning: Tuning | None) -> None:
        """From the next call on, code by these choices (None: the recorded ones)."""
        with self._lock:
            self._tuning = tuning
            if self._compiled:
                del type(self).__call__
                self._compiled = False

    # ----------------------------------------------------------------------- derivatives

    def grad(self, *names: str) -> Function:
        """The gradient with respect to the named parameters (all floating-point ones if none is
        named), as a function of the same arguments: one array, or a tuple for several names.

        Raises ValueError for an unknown name, TypeError where there is no gradient.
        """
        return self._scalar_transform("grad", names)

    def value_and_grad(self, *names: str) -> Function:
        """The value and the gradients, as a function of the same arguments that returns
        `(value, gradient, …)`, one gradient for each name."""
        return self._scalar_transform("value_and_grad", names)

    def vjp(self, *names: str) -> Function:
        """The vector-Jacobian product: a function of the same arguments and a cotangent for each
        floating-point output, which returns a cotangent for each name (all floating-point
        parameters if none is named)."""
        return self._transformed("vjp", names)

    def jvp(self, *names: str) -> Function:
        """The Jacobian-vector product: a function of the same arguments and a tangent for each
        name (`dx` for `x`), which returns the tangent of each floating-point output."""
        return self._transformed("jvp", names)

    def jacobian(self, *names: str) -> Function:
        """The Jacobian: a function of the same arguments that returns, for each floating-point
        output and in it for each name, the derivatives of every element by every element: an array
        with the output's dims, then the parameter's."""
        return self._transformed("jacobian", names)

    def hessian(self, *names: str) -> Function:
        """The Hessian of a scalar: the Jacobian of the gradient. For several names a tuple, row by
        row: of `a`, `b` the blocks aa, ab, ba, bb."""
        return self.grad(*names).jacobian(*names)

    def hvp(self, *names: str) -> Function:
        """The Hessian-vector product of a scalar: a function of the same arguments and a tangent
        for each name, which returns the tangent of each gradient."""
        return self._scalar_transform("hvp", names)

    def vmap(self, in_dims: Any = 0) -> Function:
        """The function for every element along one dim more, which leads in every result.

        `in_dims` says where parameters have it: an int for all of them, a sequence with an int or
        None (not mapped) for each, or a mapping from names. Raises ValueError and TypeError for
        anything else.
        """
        require_no_donation(self.description, "vmap")
        wrt, at = parameters_to_map(self.description, in_dims)
        return self._derive(Transform("vmap", wrt, at, self._transform))

    def donate(self, *names: str) -> Function:
        """The same function, to which callers give the named arguments' memory away: a result of
        the same dtype and shape (the first that no other has taken) is written there, and the array
        or Tensor that was given comes back for it. A call with the keyword `donate="w"`, or
        `donate=("w", "b")`, is a call of this.

        Raises ValueError for an unknown name and where no result fits, TypeError for a scalar.
        At a call, ArgumentTypeError and ArgumentValueError (both before anything is written) for
        memory that is not writable, contiguous, aligned, and apart from all other arguments.
        """
        wrt = parameters_to_donate(self.description, names)
        within = self._transform
        if within is not None and within.kind == "donate":
            within = within.inner
        return self._derive(Transform("donate", wrt, inner=within))

    def _scalar_transform(self, kind: str, names: Sequence[str]) -> Function:
        require_no_donation(self.description, kind)
        wrt = parameters_to_differentiate(self.description, names)
        require_scalar(self.description)
        return self._derive(Transform(kind, wrt, inner=self._transform))

    def _transformed(self, kind: str, names: Sequence[str]) -> Function:
        require_no_donation(self.description, kind)
        wrt = parameters_to_differentiate(self.description, names)
        require_floats(self.description)
        return self._derive(Transform(kind, wrt, inner=self._transform))

    @cached_property
    def kernel(self) -> Kernel:
        """The graph as reverse mode takes it: with a vjp, to any order."""
        from .tensor.kernels import Kernel

        content = f"{self._source.digest} {self._base} {self._transform}"
        return Kernel(content, self.graph)

    def _derive(self, transform: Transform) -> Function:
        with self._lock:
            found = self._derived.get(transform)
            if found is None:
                found = self._derived[transform] = Function(self._source, self._base, transform)
            return found

    # ----------------------------------------------------------------------- to be read

    def graph(self) -> Graph:
        """The checked graph, gradients still requests."""
        from .compilation import graph_of

        return graph_of(self._source, self._base, self._transform)

    def ir(self, stage: str = "simplified", *, explain: bool = False) -> str:
        """The text of a stage: ast, graph, grad, simplified, kernels, plan, loops, llvm,
        llvm-opt, asm or ptx. `explain` adds which rules fired. Raises ValueError for another
        name."""
        from .inspection import stage_text

        return stage_text(self._source, self._base, self._transform, stage, explain, self.tuning)

    def gradient_source(self, *names: str) -> str:
        """The gradient as a `.tdsl` program, which compiles."""
        return self.grad(*names).ir("simplified")

    def latex(self) -> str:
        """The function as LaTeX: an `align*` environment."""
        from ..compiler.latex import function_latex

        return function_latex(self.graph())

    def plan(self) -> str:
        """The memory plan: order, buffers, lifetimes."""
        return self.ir("plan")

    def _documentation(self) -> str:
        text = self.signature
        return f"{text}\n\n{self.description.doc}" if self.description.doc else text

    def __repr__(self) -> str:
        return f"<tdsl function {self.signature.removeprefix('def ')}>"

    # a function is immutable: a copy is the same one
    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, memo: object) -> Function:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (self._source.path, self._source.text, self._base, self._transform)


def restored(path: str | None, text: str, name: str, transform: Transform | None) -> Function:
    """The function that was pickled: its source travels with it, its imports are read anew."""
    from .module import module_of

    function = module_of(path, text)[name]
    return function if transform is None else function._derive(transform)
