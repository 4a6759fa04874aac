"""Losses: cross-entropy, negative log-likelihood, mean squared error.

**Cross-entropy** of logits x of N samples and C classes. Whatever the target looks like, it comes
down to weights q of (N, C): how much each class of each sample counts. With log-probabilities
``ℓ = x - ln Σ e^x`` and probabilities ``s = e^ℓ``:

    loss_n = -Σ_c q_nc·ℓ_nc            dx_nc = dloss_n·(s_nc·Σ_j q_nj - q_nc)

- A class index t with class weights w gives ``q_nc = w_t`` at c = t and 0 elsewhere.
- Label smoothing ε gives ``q_nc = (1 - ε)·w_t·[c = t] + ε·w_c/C``.
- Class probabilities p give ``q_nc = w_c·((1 - ε)·p_nc + ε/C)``, and may want a gradient of their
  own: ``dp_nc = -dloss_n·w_c·(1 - ε)·ℓ_nc``.
- A sample whose index is ``ignore_index`` has q = 0.

The mean is taken over the weights of the targets, ``Σ_n loss_n / Σ_n w_tn``, or over N for class
probabilities. Without weights and smoothing the gradient is the familiar ``(s - onehot)/N``, and
logits of zero give the loss ln C.

Source: PyTorch's documentation of CrossEntropyLoss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor
from .activation import log_softmax_array
from .module import Module

_REDUCTIONS = ("mean", "sum", "none")


def _reduce(losses: Array, divisor: Any, reduction: str) -> Array:
    """Return the losses of the samples, their sum, or their sum over `divisor`."""
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    with np.errstate(divide="ignore", invalid="ignore"):  # no samples: 0/0 is nan, as in PyTorch
        return total / losses.dtype.type(divisor)


def _per_sample(grad: Array, divisor: Any, reduction: str, shape: tuple[int, ...]) -> Array:
    """Return the gradient of each sample's loss."""
    if reduction == "mean":
        with np.errstate(divide="ignore", invalid="ignore"):
            grad = grad / grad.dtype.type(divisor)
    return array_module(grad).broadcast_to(grad, shape)


def _rows(x: Array) -> Array:
    """Return (N, C, d1, ...) as (N·d1·..., C), or (C,) as (1, C)."""
    if x.ndim == 1:
        return x[None]
    return array_module(x).moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def _unrows(rows: Array, shape: tuple[int, ...]) -> Array:
    """Undo :func:`_rows`."""
    if len(shape) == 1:
        return rows[0]
    xp = array_module(rows)
    return xp.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _index_weights(
    target: Array, classes: int, dtype: Any, weight: Array | None, ignore_index: int
) -> tuple[Array, Array, Array]:
    """Return each sample's class (0 if ignored), its weight (0 if ignored) and row number."""
    xp = array_module(target)
    ignored = target == ignore_index
    classes_of = xp.where(ignored, 0, target)
    chosen = xp.ones(target.shape, dtype) if weight is None else weight[classes_of]
    return classes_of, chosen * ~ignored, xp.arange(len(target))


def _smoothed(
    target: Array,
    x: Array,
    weight: Array | None,
    ignore_index: int,
    smoothing: float,
) -> tuple[Array, Any]:
    """Return the weights q of (N, C) and the divisor of the mean."""
    xp = array_module(x)
    n, classes = x.shape
    if target.dtype.kind == "f":  # class probabilities
        q = target.astype(x.dtype) * (1 - smoothing) + smoothing / classes
        return (q if weight is None else q * weight), n
    chosen, sample_weight, rows = _index_weights(target, classes, x.dtype, weight, ignore_index)
    if smoothing:
        counted = (target != ignore_index)[:, None].astype(x.dtype)
        spread = 1 if weight is None else weight
        q = counted * (x.dtype.type(smoothing / classes) * spread)
        q = xp.broadcast_to(q, x.shape).copy()
        q[rows, chosen] += (1 - smoothing) * sample_weight
    else:
        q = xp.zeros(x.shape, x.dtype)
        q[rows, chosen] = sample_weight
    return q, sample_weight.sum()


class CrossEntropyFunction(Function):
    """Softmax and cross-entropy in one, on the rows of :func:`_rows`."""

    @staticmethod
    def forward(
        ctx: Node,
        x: Array,
        target: Array,
        weight: Array | None,
        ignore_index: int,
        reduction: str,
        smoothing: float,
    ) -> Array:
        ctx.shape, ctx.reduction = x.shape, reduction
        rows = _rows(x)
        targets = _rows(target) if target.dtype.kind == "f" else target.reshape(-1)
        q, ctx.divisor = _smoothed(targets, rows, weight, ignore_index, smoothing)
        log_probabilities = log_softmax_array(rows, 1) if rows.size else rows
        ctx.save_for_backward(log_probabilities, q)
        # how much q grows with a class probability
        ctx.slope = (1 - smoothing) if weight is None else weight * (1 - smoothing)
        # 0·(-inf) is no loss: a class that does not count may have probability 0
        xp = array_module(x)
        losses = -xp.where(q == 0, x.dtype.type(0), q * log_probabilities).sum(axis=1)
        if reduction == "none":
            return losses.reshape((x.shape[0], *x.shape[2:]) if x.ndim > 1 else ())
        return _reduce(losses, ctx.divisor, reduction)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        log_probabilities, q = ctx.saved_tensors
        per_sample = _per_sample(grad.reshape(-1), ctx.divisor, ctx.reduction, (len(q),))
        dx = array_module(q).exp(log_probabilities)
        dx *= q.sum(axis=1, keepdims=True)
        dx -= q
        dx *= per_sample[:, None]
        dtarget = None
        if ctx.needs_input_grad[1]:  # class probabilities may come from a network as well
            dtarget = _unrows(-log_probabilities * per_sample[:, None] * ctx.slope, ctx.shape)
        return _unrows(dx, ctx.shape), dtarget, None, None, None, None


class NLLFunction(Function):
    """``-w_t · x_t`` for log-probabilities x and class indices t."""

    @staticmethod
    def forward(
        ctx: Node, x: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str
    ) -> Array:
        ctx.shape, ctx.reduction = x.shape, reduction
        rows = _rows(x)
        ctx.rows_shape = rows.shape
        chosen, sample_weight, n = _index_weights(
            target, rows.shape[1], x.dtype, weight, ignore_index
        )
        ctx.chosen, ctx.sample_weight, ctx.n = chosen, sample_weight, n
        ctx.divisor = sample_weight.sum()
        losses = -rows[n, chosen] * sample_weight
        if reduction == "none":
            return losses.reshape((x.shape[0], *x.shape[2:]) if x.ndim > 1 else ())
        return _reduce(losses, ctx.divisor, reduction)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        per_sample = _per_sample(
            grad.reshape(-1), ctx.divisor, ctx.reduction, ctx.sample_weight.shape
        )
        dx = array_module(grad).zeros(ctx.rows_shape, grad.dtype)
        dx[ctx.n, ctx.chosen] = -per_sample * ctx.sample_weight
        return _unrows(dx, ctx.shape), None, None, None, None


class MSEFunction(Function):
    """``(x - t)²``: dx = 2 (x - t) dy = -dt."""

    @staticmethod
    def forward(ctx: Node, x: Array, target: Array, reduction: str) -> Array:
        difference = x - target
        ctx.save_for_backward(difference)
        ctx.reduction = reduction
        return _reduce(difference * difference, max(difference.size, 1), reduction)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (difference,) = ctx.saved_tensors
        per_element = _per_sample(grad, max(difference.size, 1), ctx.reduction, difference.shape)
        dx = 2 * difference * per_element
        return dx, -dx if ctx.needs_input_grad[1] else None, None


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise ArgumentError(f"{name}: reduction must be one of {_REDUCTIONS}, got {reduction!r}")


def _check_scores(name: str, input: Tensor) -> None:
    """Raise a helpful error unless `input` holds scores of classes."""
    if input.ndim == 0:
        raise ShapeError(f"{name}: expected input of shape (C,), (N, C) or (N, C, ...), got ()")
    if not input.is_floating_point():
        raise DTypeError(f"{name}: input must be floats, got {input.dtype}")


def _check_class_indices(name: str, input: Tensor, target: Tensor, ignore_index: int) -> None:
    """Raise a helpful error unless `target` holds class indices for `input`."""
    expected = (input.shape[0], *input.shape[2:]) if input.ndim > 1 else ()
    if tuple(target.shape) != tuple(expected):
        raise ShapeError(
            f"{name}: target of shape {tuple(target.shape)} does not fit input of shape "
            f"{tuple(input.shape)}: expected class indices of shape {tuple(expected)}"
        )
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: class indices must be integers, got {target.dtype}")
    if not isinstance(target.array, np.ndarray):
        return  # looking at a GPU's numbers would wait for it
    classes = input.shape[1 if input.ndim > 1 else 0]
    valid = target.array[target.array != ignore_index]
    if valid.size and (valid.min() < 0 or valid.max() >= classes):
        raise ArgumentError(
            f"{name}: target holds class {int(valid.min() if valid.min() < 0 else valid.max())}, "
            f"but input has {classes} classes: expected 0 to {classes - 1}"
        )


def _check_weight(name: str, input: Tensor, weight: Tensor | None) -> Array | None:
    if weight is None:
        return None
    classes = input.shape[1 if input.ndim > 1 else 0]
    if tuple(weight.shape) != (classes,):
        raise ShapeError(
            f"{name}: weight of shape {tuple(weight.shape)}: expected one for each of {classes} "
            "classes"
        )
    return weight.array.astype(input.dtype, copy=False)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross-entropy between logits and targets.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Logits: scores before the softmax.
    target : Tensor
        Class indices of shape (), (N,) or (N, d1, ...), or class probabilities of `input`'s shape.
    weight : Tensor, shape (C,), optional
        The weight of each class.
    size_average, reduce
        PyTorch's deprecated arguments; must be None.
    ignore_index : int
        Samples of this class do not count. Default -100.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    label_smoothing : float
        In [0, 1]. Default 0.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit; the message says which and what was expected.

    Examples
    --------
    >>> import minidl
    >>> loss = minidl.nn.functional.cross_entropy(minidl.zeros(2, 10), minidl.tensor([3, 7]))
    >>> round(loss.item(), 4)  # ln 10
    2.3026
    """
    _check_reduction("cross_entropy", reduction)
    _check_deprecated("cross_entropy", size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}"
        )
    _check_scores("cross_entropy", input)
    if target.shape != input.shape or not target.is_floating_point():
        _check_class_indices("cross_entropy", input, target, ignore_index)
    class_weight = _check_weight("cross_entropy", input, weight)
    return CrossEntropyFunction.apply(
        input, target, class_weight, ignore_index, reduction, label_smoothing
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of class indices under log-probabilities.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Log-probabilities.
    target : Tensor of integers, shape (), (N,) or (N, d1, ...)
    weight, size_average, ignore_index, reduce, reduction
        As for :func:`cross_entropy`.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit.
    """
    _check_reduction("nll_loss", reduction)
    _check_deprecated("nll_loss", size_average, reduce)
    _check_scores("nll_loss", input)
    _check_class_indices("nll_loss", input, target, ignore_index)
    class_weight = _check_weight("nll_loss", input, weight)
    return NLLFunction.apply(input, target.array.reshape(-1), class_weight, ignore_index, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the squared differences, their mean or their sum.

    Parameters
    ----------
    input, target : Tensor of one shape
    size_average, reduce
        PyTorch's deprecated arguments; must be None.
    reduction : {"mean", "sum", "none"}
        Default "mean".

    Raises
    ------
    ShapeError
        The shapes differ (PyTorch would broadcast them with a warning: nearly always a mistake).
    """
    _check_reduction("mse_loss", reduction)
    _check_deprecated("mse_loss", size_average, reduce)
    if input.shape != target.shape:
        raise ShapeError(
            f"mse_loss: input has shape {tuple(input.shape)}, target {tuple(target.shape)}; "
            "expected the same"
        )
    return MSEFunction.apply(input, target, reduction)


def _check_deprecated(name: str, size_average: Any, reduce: Any) -> None:
    if size_average is not None or reduce is not None:
        raise ArgumentError(f"{name}: size_average and reduce are gone; use reduction=")


class CrossEntropyLoss(Module):
    """Cross-entropy between logits and targets: see :func:`cross_entropy`.

    Parameters
    ----------
    weight : Tensor, shape (C,), optional
    size_average, reduce
        PyTorch's deprecated arguments; must be None.
    ignore_index : int
        Default -100.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    label_smoothing : float
        Default 0.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        _check_reduction("CrossEntropyLoss", reduction)
        _check_deprecated("CrossEntropyLoss", size_average, reduce)
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `input` and `target`."""
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Module):
    """Negative log-likelihood of class indices: see :func:`nll_loss`.

    Parameters
    ----------
    weight : Tensor, shape (C,), optional
    size_average, reduce
        PyTorch's deprecated arguments; must be None.
    ignore_index : int
        Default -100.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check_reduction("NLLLoss", reduction)
        _check_deprecated("NLLLoss", size_average, reduce)
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of log-probabilities `input` and class indices `target`."""
        return nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class MSELoss(Module):
    """Mean squared error: see :func:`mse_loss`.

    Parameters
    ----------
    size_average, reduce
        PyTorch's deprecated arguments; must be None.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        _check_reduction("MSELoss", reduction)
        _check_deprecated("MSELoss", size_average, reduce)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` and `target`."""
        return mse_loss(input, target, reduction=self.reduction)
