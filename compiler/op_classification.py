"""Losses of classes: the cost of the class that is true, or of a distribution over classes.

`input` is [batch, classes, …], or [classes] alone; `target` has integer classes without the
dim of the classes, or probabilities in the input's shape. `weight` [classes] scales what a class
costs, and a mean divides by the weights of what it sums. PyTorch's formulas.
"""

from __future__ import annotations

from . import index_lambda as il
from . import scalar as sc
from .index_lambda import IndexLambda, OpError
from .op_losses import reduced
from .op_reductions import log_softmax, mean
from .scalar import Scalar


def cross_entropy(
    input: IndexLambda,
    target: IndexLambda,
    weight: IndexLambda | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> IndexLambda:
    """-log softmax(input)[row, target[row]], or the same weighted with probabilities. Targets equal
    to `ignore_index` do not count; `label_smoothing` mixes in the uniform distribution."""
    axis = _class_dim(input)
    if target.dtype.is_float and target.shape == input.shape:
        logs = log_softmax(input, axis)
        return _of_distribution(logs, target, axis, weight, reduction, label_smoothing)
    if not target.dtype.is_integer or not input.rank or target.shape != _positions(input, axis):
        raise OpError(
            "E0402",
            "cross_entropy takes logits [rows, classes] and integer classes [rows], "
            f"got {il.type_text(input)} and {il.type_text(target)}",
        )
    logs = log_softmax(input, axis)
    if label_smoothing == 0:
        return nll_loss(logs, target, weight, ignore_index, reduction)
    logs, target = il.computed_once(logs), il.computed_once(target)
    exact = _picked(logs, target, axis, weight, ignore_index)
    spread = _total(logs, axis, weight)
    if ignore_index is not None:
        spread = IndexLambda(
            spread.shape,
            sc.op("where", _counted(target, ignore_index), spread.body, sc.const(0)),
        )
    share = il.apply("div", il.scalar(label_smoothing), il.scalar(input.shape[axis]))
    loss = il.apply(
        "add",
        il.apply("mul", il.scalar(1 - label_smoothing), exact),
        il.apply("mul", share, spread),
    )
    return _mean_by_weight(loss, target, logs, axis, weight, ignore_index, reduction)


def nll_loss(
    input: IndexLambda,
    target: IndexLambda,
    weight: IndexLambda | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> IndexLambda:
    """-input[row, target[row]], `input` log-probabilities."""
    axis = _class_dim(input)
    if not input.rank or not target.dtype.is_integer or target.shape != _positions(input, axis):
        raise OpError(
            "E0402",
            "nll_loss takes log-probabilities [rows, classes] and integer classes [rows], "
            f"got {il.type_text(input)} and {il.type_text(target)}",
        )
    x, y = il.computed_once(input), il.computed_once(target)
    if weight is None and ignore_index is None:
        picked = IndexLambda(y.shape, _at_class(x, y, axis))
        if reduction == "mean":
            return il.apply("neg", mean(picked))
        return reduced(il.apply("neg", picked), reduction)
    loss = _picked(x, y, axis, weight, ignore_index)
    return _mean_by_weight(loss, y, x, axis, weight, ignore_index, reduction)


def _class_dim(x: IndexLambda) -> int:
    return 0 if x.rank <= 1 else 1


def _positions(x: IndexLambda, axis: int) -> tuple[object, ...]:
    return (*x.shape[:axis], *x.shape[axis + 1 :])


def _at_class(x: IndexLambda, target: IndexLambda, axis: int) -> Scalar:
    """x[row, target[row], …]."""
    rest = iter(range(target.rank))
    at = [target.body if k == axis else sc.index(next(rest)) for k in range(x.rank)]
    return il.reindex(x, target.shape, at).body


def _counted(target: IndexLambda, ignore_index: int) -> Scalar:
    return sc.op("ne", target.body, sc.const(ignore_index))


def _unless_ignored(value: Scalar, target: IndexLambda, ignore_index: int | None) -> IndexLambda:
    """0 where the target is ignored: its class need not exist."""
    if ignore_index is not None:
        value = sc.op("where", _counted(target, ignore_index), value, sc.const(0, value.dtype))
    return IndexLambda(target.shape, value)


def _weight_of(weight: IndexLambda, target: IndexLambda) -> Scalar:
    return sc.substitute_indices(il.computed_once(weight).body, {0: target.body})


def _picked(
    x: IndexLambda,
    target: IndexLambda,
    axis: int,
    weight: IndexLambda | None,
    ignore_index: int | None,
) -> IndexLambda:
    """The cost of each target's class."""
    value = sc.op("neg", _at_class(x, target, axis))
    if weight is not None:
        value = sc.op("mul", _weight_of(weight, target), value)
    return _unless_ignored(value, target, ignore_index)


def _total(x: IndexLambda, axis: int, weight: IndexLambda | None) -> IndexLambda:
    """The cost of all classes together."""
    if weight is not None:
        x = il.apply("mul", x, _along(weight, axis, x.rank))
    return il.apply("neg", il.reduce(x, "sum", (axis,)))


def _along(weight: IndexLambda, axis: int, rank: int) -> IndexLambda:
    """`weight` [classes] as a factor along the class dim."""
    if weight.rank != 1:
        raise OpError("E0503", f"weight is a vector over the classes, got {il.type_text(weight)}")
    return il.insert_axes(weight, range(1, rank - axis))


def _mean_by_weight(
    loss: IndexLambda,
    target: IndexLambda,
    x: IndexLambda,
    axis: int,
    weight: IndexLambda | None,
    ignore_index: int | None,
    reduction: str,
) -> IndexLambda:
    if reduction != "mean" or (weight is None and ignore_index is None):
        return reduced(loss, reduction)
    one = sc.const(1, x.dtype)
    counted = _weight_of(weight, target) if weight is not None else one
    count = il.reduce(_unless_ignored(counted, target, ignore_index), "sum", None)
    return il.apply("div", reduced(loss, "sum"), count)


def _of_distribution(
    logs: IndexLambda,
    target: IndexLambda,
    axis: int,
    weight: IndexLambda | None,
    reduction: str,
    label_smoothing: float,
) -> IndexLambda:
    if label_smoothing:
        share = il.apply("div", il.scalar(label_smoothing), il.scalar(logs.shape[axis]))
        target = il.apply("add", il.apply("mul", target, il.scalar(1 - label_smoothing)), share)
    terms = il.apply("mul", logs, target)
    if weight is not None:
        terms = il.apply("mul", terms, _along(weight, axis, logs.rank))
    loss = il.apply("neg", il.reduce(terms, "sum", (axis,)))
    return reduced(loss, reduction)
