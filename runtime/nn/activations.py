"""Activation functions as Modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..tensor.creation import full
from . import functional as F
from .module import Module
from .parameter import Parameter

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor


class _Activation(Module):
    """A function of a Tensor and the settings named in `settings`; these are the arguments of the
    constructor, too, and printed."""

    function: ClassVar[Callable[..., Any]]
    settings: ClassVar[dict[str, Any]] = {}
    unnamed: ClassVar[bool] = False  # settings are printed without their names

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        names = list(self.settings)
        if len(args) > len(names):
            raise TypeError(
                f"{type(self).__name__}() takes at most {len(names)} arguments, got {len(args)}"
            )
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in self.settings or name in given:
                raise TypeError(
                    f"{type(self).__name__}() got an unexpected keyword argument '{name}'"
                )
            given[name] = value
        for name, default in self.settings.items():
            value = given.get(name, default)
            if value is REQUIRED:
                raise TypeError(f"{type(self).__name__}() missing a required argument: '{name}'")
            object.__setattr__(self, name, value)

    def forward(self, input: Tensor) -> Tensor:
        own = self.__dict__
        return type(self).function(input, *[own[name] for name in self.settings])

    def extra_repr(self) -> str:
        shown = {n: getattr(self, n) for n in self.settings}
        if not shown.get("inplace", True):
            del shown["inplace"]
        return ", ".join(
            str(value) if self.unnamed else f"{name}={value!r}" for name, value in shown.items()
        )


REQUIRED: Any = object()


class ReLU(_Activation):
    """max(x, 0)."""

    function = F.relu
    settings: ClassVar = {"inplace": False}

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class GELU(_Activation):
    """x Φ(x), Φ the normal distribution."""

    function = F.gelu
    settings: ClassVar = {"approximate": "none"}


class SiLU(_Activation):
    """x sigmoid(x)."""

    function = F.silu
    settings: ClassVar = {"inplace": False}


class Sigmoid(_Activation):
    """1 / (1 + exp(-x))."""

    function = F.sigmoid


class Tanh(_Activation):
    """The hyperbolic tangent."""

    function = F.tanh


class Softplus(_Activation):
    """log(1 + exp(beta x)) / beta."""

    function = F.softplus
    settings: ClassVar = {"beta": 1.0, "threshold": 20.0}


class LeakyReLU(_Activation):
    """x above 0, else negative_slope x."""

    function = F.leaky_relu
    settings: ClassVar = {"negative_slope": 0.01, "inplace": False}


class ELU(_Activation):
    """x above 0, else alpha (exp(x) - 1)."""

    function = F.elu
    settings: ClassVar = {"alpha": 1.0, "inplace": False}


class CELU(_Activation):
    """x above 0, else alpha (exp(x / alpha) - 1)."""

    function = F.celu
    settings: ClassVar = {"alpha": 1.0, "inplace": False}


class SELU(_Activation):
    """`ELU` with the scales that keep mean and variance."""

    function = F.selu
    settings: ClassVar = {"inplace": False}


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along a dim."""

    function = F.softmax
    settings: ClassVar = {"dim": None}


class LogSoftmax(_Activation):
    """The logarithm of `Softmax`."""

    function = F.log_softmax
    settings: ClassVar = {"dim": None}


class Softmin(_Activation):
    """`Softmax` of -x."""

    function = F.softmin
    settings: ClassVar = {"dim": None}


class LogSigmoid(_Activation):
    """log(sigmoid(x))."""

    function = F.logsigmoid


class Hardtanh(_Activation):
    """The elements, none below `min_val` or above `max_val`."""

    function = F.hardtanh
    settings: ClassVar = {"min_val": -1.0, "max_val": 1.0, "inplace": False}


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""

    function = F.relu6
    settings: ClassVar = {"inplace": False}


class Hardswish(_Activation):
    """x `Hardsigmoid`(x)."""

    function = F.hardswish
    settings: ClassVar = {"inplace": False}

    def extra_repr(self) -> str:
        return ""


class Hardsigmoid(_Activation):
    """min(max(x/6 + 1/2, 0), 1)."""

    function = F.hardsigmoid
    settings: ClassVar = {"inplace": False}

    def extra_repr(self) -> str:
        return ""


class Mish(_Activation):
    """x tanh(softplus(x))."""

    function = F.mish
    settings: ClassVar = {"inplace": False}


class Softsign(_Activation):
    """x / (1 + |x|)."""

    function = F.softsign


class Hardshrink(_Activation):
    """x outside [-lambd, lambd], else 0."""

    function = F.hardshrink
    settings: ClassVar = {"lambd": 0.5}
    unnamed = True


class Softshrink(_Activation):
    """x drawn towards 0 by `lambd`, 0 in between."""

    function = F.softshrink
    settings: ClassVar = {"lambd": 0.5}
    unnamed = True


class Tanhshrink(_Activation):
    """x - tanh(x)."""

    function = F.tanhshrink


class Threshold(_Activation):
    """x above `threshold`, else `value`."""

    function = F.threshold
    settings: ClassVar = {"threshold": REQUIRED, "value": REQUIRED, "inplace": False}


class GLU(_Activation):
    """The first half of a dim times the sigmoid of the second."""

    function = F.glu
    settings: ClassVar = {"dim": -1}


class PReLU(Module):
    """`LeakyReLU` with learnt slopes: one, or one for every channel."""

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(full((num_parameters,), init, device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
