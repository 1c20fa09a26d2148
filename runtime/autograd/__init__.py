"""The namespace `tdsl.autograd`: reverse mode beside `Tensor.backward`.

`grad` and `backward`; `Function`, for operations with a backward pass of one's own; `gradcheck`,
which compares gradients with finite differences; `functional`, derivatives of Python functions;
`detect_anomaly`, which finds where a NaN comes from.
"""

from __future__ import annotations

from typing import Any

from ..tensor.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from ..tensor.entries import backward as _backward
from ..tensor.entries import gradients_of
from ..tensor.modes import enable_grad, inference_mode, no_grad, set_grad_enabled
from ..tensor.tensor import Tensor
from . import function, functional
from .function import Function
from .gradcheck import GradcheckError, gradcheck, gradgradcheck

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of the sum of `tensors` to the `grad` of every leaf that they depend on,
    or of `inputs` alone.

    `grad_tensors` are the cotangents, of the shapes of `tensors`; None stands for 1 where a Tensor
    has one element. `create_graph` makes the gradients differentiable themselves; the graph is
    freed unless `retain_graph` (default: `create_graph`). Raises RuntimeError where there is
    nothing to differentiate or the graph was freed.
    """
    _backward(tensors, grad_tensors, retain_graph, create_graph, inputs)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of `outputs` with respect to `inputs`, which need not be leaves; no
    Tensor's `grad` changes. The other arguments are those of `backward`.

    An input that the outputs do not depend on is an error, unless `allow_unused` (then its
    gradient is None) or `materialize_grads` (then it is zeros).
    """
    if is_grads_batched:
        raise NotImplementedError("is_grads_batched: cotangents are not batched yet")
    unused = True if materialize_grads and allow_unused is None else allow_unused
    return gradients_of(
        outputs, inputs, grad_outputs, retain_graph, create_graph, unused, materialize_grads
    )
