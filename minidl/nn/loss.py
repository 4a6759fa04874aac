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

from typing import Any, NamedTuple

import numpy as np

from ..autograd import Function, Node
from ..device import Array, Shape, array_module, check_one_device
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels import cuda
from ..kernels.cuda import aligned
from ..kernels.cuda.rows import rows as rows_cuda
from ..tensor import Tensor
from .activation import has_kernels
from .module import Module
from .softmax import log_softmax_forward

__all__ = ["CrossEntropyLoss", "MSELoss", "NLLLoss", "cross_entropy", "mse_loss", "nll_loss"]

_REDUCTIONS = ("mean", "sum", "none")


def _reduce(losses: Array, divisor: Any, reduction: str) -> Array:
    """Return the losses of the samples, their sum, or their sum over `divisor`."""
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / _number(divisor, losses.dtype)  # no samples: 0/0 is nan, as in PyTorch


def _number(divisor: Any, dtype: np.dtype) -> Any:
    """Return the divisor in this dtype; a GPU's stays where it is, in the dtype that it has."""
    return dtype.type(divisor) if isinstance(divisor, (int, np.generic)) else divisor


def _per_sample(grad: Array, divisor: Any, reduction: str) -> Array:
    """Return the gradient of each sample's loss, or the one number that it is for all."""
    return grad / _number(divisor, grad.dtype) if reduction == "mean" else grad


def _rows(x: Array) -> Array:
    """Return (N, C, d1, ...) as (N·d1·..., C), or (C,) as (1, C)."""
    if x.ndim <= 2:
        return x if x.ndim == 2 else x[None]
    return array_module(x).moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def _unrows(rows: Array, shape: tuple[int, ...]) -> Array:
    """Undo :func:`_rows`."""
    if len(shape) <= 2:
        return rows if len(shape) == 2 else rows[0]
    xp = array_module(rows)
    return xp.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


class _Labels(NamedTuple):
    """Class indices on the CPU: where they are in (N, C), and how much each sample counts."""

    rows: Array
    classes: Array  #: 0 if ignored
    weights: Array | None  #: 0 if ignored; None if every sample counts once

    def weighted(self, values: Any) -> Any:
        """Return one value a sample, or one for all, as often as each sample counts."""
        return values if self.weights is None else values * self.weights

    def total(self) -> Any:
        """Return how much all samples count, the divisor of their mean."""
        return len(self.rows) if self.weights is None else self.weights.sum()


def _labels(target: Array, dtype: Any, weight: Array | None, ignore_index: int) -> _Labels:
    xp = array_module(target)
    rows, counted = xp.arange(len(target)), target != ignore_index
    if weight is None and isinstance(counted, np.ndarray) and counted.all():  # as nearly always
        return _Labels(rows, target.astype(np.intp), None)  # a copy: the caller's may change
    classes = xp.where(counted, target, 0)
    weights = counted.astype(dtype) if weight is None else weight[classes] * counted
    return _Labels(rows, classes, weights)


def _losses_of(labels: _Labels, log_probabilities: Array) -> Array:
    """Return ``-w_t·ℓ_t`` of every row."""
    losses = labels.weighted(-log_probabilities[labels.rows, labels.classes])
    if labels.weights is None:
        return losses
    # 0·(-inf) is no loss: the class of a sample that does not count may have probability 0
    return array_module(losses).where(labels.weights == 0, losses.dtype.type(0), losses)


def _spread(
    target: Array,
    x: Array,
    weight: Array | None,
    ignore_index: int,
    smoothing: float,
) -> tuple[Array, Any]:
    """Return the weights q of (N, C) and the divisor of the mean, of all but plain indices."""
    xp = array_module(x)
    n, classes = x.shape
    if target.dtype.kind == "f":  # class probabilities
        q = target.astype(x.dtype) * (1 - smoothing) + smoothing / classes
        return (q if weight is None else q * weight), n
    labels = _labels(target, x.dtype, weight, ignore_index)
    counted = (target != ignore_index)[:, None].astype(x.dtype)
    spread = 1 if weight is None else weight
    q = counted * (x.dtype.type(smoothing / classes) * spread)
    q = xp.broadcast_to(q, x.shape).copy()
    q[labels.rows, labels.classes] += labels.weighted(1 - smoothing)
    return q, labels.total()


# --- GPU ------------------------------------------------------------------------------------------

_CUDA = cuda.Source(
    '#include "rows.cuh"\n'
    + r"""
// What a row leaves for the sums and for the backward, each an array of all rows.
struct Rows { T *loss, *weight, *largest, *log_sum, *q_sum; };

__device__ inline Rows rows_at(T* memory, long long rows)
{
    Rows result = {memory, memory + rows, memory + 2 * rows, memory + 3 * rows, memory + 4 * rows};
    return result;
}

// q of a class: see the module's first lines. `label` is the row's, or `probability` this class's.
__device__ inline T q_of(
    long long c, bool of_label, long long label, T probability, const T* weight, T kept, T spread)
{
    const T w = weight ? weight[c] : T(1);
    return w * (spread + kept * (of_label ? T(c == label) : probability));
}

// One row: its loss, its weight in the mean, and what its gradient needs. See ROWS_CUDA for who
// works on a row. `target` or `probability` is null, and so may `weight` be.
extern "C" __global__ void cross_entropy_forward(
    const T* x, const long long* target, const T* probability, const T* weight, T* memory,
    long long rows, long long length, long long inner, int lanes, long long ignore_index, T kept,
    T spread)
{
    const Rows out = rows_at(memory, rows);
    FOR_EACH(i, rows * lanes) {
        const long long row = i / lanes, start = row / inner * length * inner + row % inner;
        const long long first = i % lanes;
        T largest = MINUS_INFINITY;
        for (long long c = first; c < length; c += lanes)
            largest = max(largest, x[start + c * inner]);
        largest = largest_of(largest, lanes);
        T sum = 0;
        for (long long c = first; c < length; c += lanes)
            sum += exp(x[start + c * inner] - largest);
        const T log_sum = log(sum_of(sum, lanes));

        const long long label = target ? target[row] : 0;
        const bool ignored = target && label == ignore_index;
        T loss = 0, q_sum = 0;
        for (long long c = first; c < length && !ignored; c += lanes) {
            const long long k = start + c * inner;
            const T p = probability ? probability[k] : T(0);
            const T q = q_of(c, target, label, p, weight, kept, spread);
            q_sum += q;
            if (q != 0) loss -= q * (x[k] - largest - log_sum);  // 0·(-inf) is no loss
        }
        loss = sum_of(loss, lanes);
        q_sum = sum_of(q_sum, lanes);
        if (first != 0) continue;
        T own_weight = ignored ? 0 : 1;
        if (target && !ignored) {
            if (label < 0 || label >= length) {  // no such class: NaN, since an error would wait
                loss = __int_as_float(0x7fc00000);
                q_sum = loss;
            } else if (weight)
                own_weight = weight[label];
        }
        out.loss[row] = loss;
        out.weight[row] = own_weight;
        out.largest[row] = largest;
        out.log_sum[row] = log_sum;
        out.q_sum[row] = q_sum;
    }
}

// The gradient that reaches a row's loss: that of the mean, of the sum or its own.
__device__ inline T reaches(const T* grad, const T* totals, long long row, bool mean, bool each)
{
    const T own = grad[each ? row : 0];
    return mean ? own / totals[1] : own;
}

// dx and, if it is not null, the gradient of class probabilities; one thread an element.
extern "C" __global__ void cross_entropy_backward(
    const T* x, const long long* target, const T* probability, const T* weight, T* memory,
    const T* grad, const T* totals, T* dx, T* dprobability, long long rows, long long length,
    long long inner, long long ignore_index, T kept, T spread, bool mean, bool each)
{
    const Rows of = rows_at(memory, rows);
    FOR_EACH(i, rows * length) {
        const long long c = i / inner % length, row = i / inner / length * inner + i % inner;
        const T reached = reaches(grad, totals, row, mean, each);
        const T log_probability = x[i] - of.largest[row] - of.log_sum[row];
        const long long label = target ? target[row] : 0;
        const T p = probability ? probability[i] : T(0);
        T q = 0;
        if (!target || label != ignore_index) q = q_of(c, target, label, p, weight, kept, spread);
        dx[i] = (exp(log_probability) * of.q_sum[row] - q) * reached;
        if (dprobability)
            dprobability[i] = -log_probability * reached * (weight ? weight[c] : T(1)) * kept;
    }
}

// -w_t·x_t and w_t; one thread a row.
extern "C" __global__ void nll_forward(
    const T* x, const long long* target, const T* weight, T* loss, T* weights, long long rows,
    long long length, long long inner, long long ignore_index)
{
    FOR_EACH(row, rows) {
        const long long label = target[row];
        const bool ignored = label == ignore_index, known = label >= 0 && label < length;
        T value = __int_as_float(0x7fc00000), own_weight = 1;  // no such class: NaN
        if (ignored) value = own_weight = 0;
        else if (known) {
            if (weight) own_weight = weight[label];
            value = -x[(row / inner * length + label) * inner + row % inner] * own_weight;
        }
        loss[row] = value;
        weights[row] = own_weight;
    }
}

// -w_t·dloss at the label, 0 elsewhere; one thread an element.
extern "C" __global__ void nll_backward(
    const long long* target, const T* weights, const T* grad, const T* totals, T* dx,
    long long rows, long long length, long long inner, long long ignore_index, bool mean, bool each)
{
    FOR_EACH(i, rows * length) {
        const long long c = i / inner % length, row = i / inner / length * inner + i % inner;
        const bool counts = c == target[row] && c != ignore_index;
        dx[i] = counts ? -reaches(grad, totals, row, mean, each) * weights[row] : T(0);
    }
}

// The block's sum of `value`, in a fixed order, for thread 0 of 256.
__device__ inline T block_sum(T value)
{
    __shared__ T partial[256];
    partial[threadIdx.x] = value;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    const T sum = partial[0];
    __syncthreads();  // the next sum uses the same memory
    return sum;
}

// totals = {the sum of the losses, or their mean; the mean's divisor: the sum of the weights, or
// `divisor` if they are null}. One block.
extern "C" __global__ void add_up(
    const T* losses, const T* weights, T* totals, long long rows, T divisor, bool mean)
{
    T loss = 0, weight = 0;
    for (long long row = threadIdx.x; row < rows; row += 256) {
        loss += losses[row];
        if (weights) weight += weights[row];
    }
    loss = block_sum(loss);
    if (weights) divisor = block_sum(weight);
    if (threadIdx.x == 0) {
        totals[0] = mean ? loss / divisor : loss;
        totals[1] = divisor;
    }
}

// (x - t)², one thread an element; or, one of them a block, sums of some of them.
extern "C" __global__ void mse_forward(
    const T* x, const T* t, T* out, long long size, bool each)
{
    T sum = 0;
    FOR_EACH(i, size) {
        const T difference = x[i] - t[i];
        if (each) out[i] = difference * difference;
        sum += difference * difference;
    }
    if (each) return;
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// dx = 2 (x - t) dloss and, if it is not null, dt = -dx; one thread an element.
extern "C" __global__ void mse_backward(
    const T* x, const T* t, const T* grad, T* dx, T* dt, long long size, T divisor, bool each)
{
    FOR_EACH(i, size) {
        const T slope = 2 * (x[i] - t[i]) * (grad[each ? i : 0] / divisor);
        dx[i] = slope;
        if (dt) dt[i] = -slope;
    }
}
"""
)

#: A null pointer.
_NULL = np.uint64(0)

#: Blocks that the sum of squares is cut into, at most: they decide the order of the sum.
_MSE_BLOCKS = 1024


def _add_up_cuda(losses: Array, weights: Array | None, divisor: float, mean: bool) -> Array:
    """Return the mean or the sum of the losses, and the mean's divisor, as an array of two."""
    totals = cuda.cupy().empty(2, losses.dtype)
    _CUDA.launch(
        "add_up", losses.dtype, 1, losses, _NULL if weights is None else weights, totals,
        np.int64(losses.size), divisor, mean, grid=1,
    )  # fmt: skip
    return totals


class _TargetCuda:
    """Targets, weights and sizes as the kernels take them."""

    def __init__(
        self,
        shape: Shape,
        dtype: np.dtype,
        target: Array,
        weight: Array | None,
        ignore_index: int,
        smoothing: float,
    ) -> None:
        xp = cuda.cupy()
        self.shape, self.dtype = shape, dtype
        *self.sizes, self.lanes = rows_cuda(shape, 1 if len(shape) > 1 else 0)
        self.rows = int(self.sizes[0])
        self.weight = _NULL if weight is None else xp.ascontiguousarray(weight)
        self.labels = self.probabilities = _NULL
        if target.dtype.kind == "f":
            self.probabilities = xp.ascontiguousarray(target, dtype)
        else:
            self.labels = xp.ascontiguousarray(target, np.int64)
        self.ignore_index = np.int64(ignore_index)
        self.kept, self.spread = 1.0 - smoothing, smoothing / max(int(self.sizes[1]), 1)

    def reduced(self, losses: Array, weights: Array, reduction: str) -> tuple[Array, Array | None]:
        """Return the loss in its shape, and the totals unless every row has its own."""
        if reduction == "none":
            shape = self.shape
            return losses.reshape((shape[0], *shape[2:]) if len(shape) > 1 else ()), None
        totals = _add_up_cuda(losses, weights, 0.0, reduction == "mean")
        return totals[0], totals


def _cross_entropy_forward_cuda(
    x: Array, targets: _TargetCuda, reduction: str
) -> tuple[Array, Array, Array | None]:
    """Return the loss, what the rows leave for the backward, and the totals."""
    xp, t = cuda.cupy(), targets
    memory = xp.empty((5, t.rows), t.dtype)
    _CUDA.launch(
        "cross_entropy_forward", t.dtype, t.rows * t.lanes, xp.ascontiguousarray(x), t.labels,
        t.probabilities, t.weight, memory, *t.sizes, t.lanes, t.ignore_index, t.kept, t.spread,
        block=64,
    )  # fmt: skip
    loss, totals = t.reduced(memory[0], memory[1], reduction)
    return loss, memory, totals


def _cross_entropy_backward_cuda(
    x: Array,
    targets: _TargetCuda,
    memory: Array,
    totals: Array | None,
    grad: Array,
    reduction: str,
    need_target: bool,
) -> tuple[Array, Array | None]:
    """Return the gradients of the logits and, if it is wanted, of class probabilities."""
    xp, t = cuda.cupy(), targets
    dx = xp.empty(t.shape, t.dtype)
    dtarget = xp.empty(t.shape, t.dtype) if need_target else None
    _CUDA.launch(
        "cross_entropy_backward", t.dtype, dx.size, xp.ascontiguousarray(x), t.labels,
        t.probabilities, t.weight, memory, xp.ascontiguousarray(grad),
        _NULL if totals is None else totals, dx, _NULL if dtarget is None else dtarget, *t.sizes,
        t.ignore_index, t.kept, t.spread, reduction == "mean", reduction == "none",
    )  # fmt: skip
    return dx, dtarget


def _nll_forward_cuda(
    x: Array, targets: _TargetCuda, reduction: str
) -> tuple[Array, Array, Array | None]:
    """Return the loss, the rows' weights and the totals."""
    xp, t = cuda.cupy(), targets
    losses, weights = xp.empty((2, t.rows), t.dtype)
    _CUDA.launch(
        "nll_forward", t.dtype, t.rows, xp.ascontiguousarray(x), t.labels, t.weight, losses,
        weights, *t.sizes, t.ignore_index,
    )  # fmt: skip
    loss, totals = t.reduced(losses, weights, reduction)
    return loss, weights, totals


def _nll_backward_cuda(
    targets: _TargetCuda, weights: Array, totals: Array | None, grad: Array, reduction: str
) -> Array:
    xp, t = cuda.cupy(), targets
    dx = xp.empty(t.shape, t.dtype)
    _CUDA.launch(
        "nll_backward", t.dtype, dx.size, t.labels, weights, xp.ascontiguousarray(grad),
        _NULL if totals is None else totals, dx, *t.sizes, t.ignore_index, reduction == "mean",
        reduction == "none",
    )  # fmt: skip
    return dx


def _mse_forward_cuda(x: Array, target: Array, reduction: str) -> Array:
    xp = cuda.cupy()
    each = reduction == "none"
    blocks = min(-(-x.size // 256), 1 << 20 if each else _MSE_BLOCKS)
    result = xp.empty_like(x) if each else xp.empty(blocks, x.dtype)
    if each:
        out, x, target = aligned(result, x, target)
    else:
        out, (x, target) = result, aligned(x, target)
    _CUDA.launch(
        "mse_forward", x.dtype, x.size, x, target, out, np.int64(x.size), each, grid=blocks
    )
    if each:
        return result
    return _add_up_cuda(out, None, float(max(x.size, 1)), reduction == "mean")[0]


def _mse_backward_cuda(
    x: Array, target: Array, grad: Array, reduction: str, need_target: bool
) -> tuple[Array, Array | None]:
    xp = cuda.cupy()
    each = reduction == "none"
    dx = xp.empty_like(x)
    dtarget = xp.empty_like(x) if need_target else None
    out, x, target, *more = aligned(dx, x, target, *([grad] if each else []))
    grad = more[0] if each else grad
    second = _NULL if dtarget is None else aligned(dtarget)[0]
    divisor = float(max(x.size, 1)) if reduction == "mean" else 1.0
    _CUDA.launch(
        "mse_backward", x.dtype, x.size, x, target, grad, out, second, np.int64(x.size), divisor,
        each,
    )  # fmt: skip
    return dx, dtarget


# --- The operations -------------------------------------------------------------------------------


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
        ctx.on_gpu = has_kernels(x)  # other dtypes there: operation by operation, as on the CPU
        if ctx.on_gpu:
            ctx.options = ignore_index, smoothing
            targets = _TargetCuda(x.shape, x.dtype, target, weight, *ctx.options)
            loss, memory, totals = _cross_entropy_forward_cuda(x, targets, reduction)
            ctx.save_for_backward(x, target, weight, memory, totals)
            return loss
        rows = _rows(x)
        flat = _rows(target) if target.dtype.kind == "f" else target.reshape(-1)
        log_probabilities = log_softmax_forward(rows, 1) if rows.size else rows
        if flat.dtype.kind != "f" and not smoothing:  # q is 0 but for one class of a sample
            ctx.labels = _labels(flat, x.dtype, weight, ignore_index)
            ctx.save_for_backward(log_probabilities)
            ctx.divisor = ctx.labels.total()
            losses = _losses_of(ctx.labels, log_probabilities)
        else:
            ctx.labels = None
            q, ctx.divisor = _spread(flat, rows, weight, ignore_index, smoothing)
            ctx.save_for_backward(log_probabilities, q)
            # how much q grows with a class probability
            ctx.slope = (1 - smoothing) if weight is None else weight * (1 - smoothing)
            # 0·(-inf) is no loss: a class that does not count may have probability 0
            weighted = array_module(x).where(q == 0, x.dtype.type(0), q * log_probabilities)
            losses = -weighted.sum(axis=1)
        if reduction == "none":
            return losses.reshape((x.shape[0], *x.shape[2:]) if x.ndim > 1 else ())
        return _reduce(losses, ctx.divisor, reduction)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        if ctx.on_gpu:
            x, target, weight, memory, totals = ctx.saved_tensors
            targets = _TargetCuda(x.shape, x.dtype, target, weight, *ctx.options)
            dx, dtarget = _cross_entropy_backward_cuda(
                x, targets, memory, totals, grad, ctx.reduction, ctx.needs_input_grad[1]
            )
            return dx, dtarget, None, None, None, None
        log_probabilities, *spread = ctx.saved_tensors
        per_sample = _per_sample(grad.reshape(-1), ctx.divisor, ctx.reduction)
        dx = array_module(grad).exp(log_probabilities)
        dtarget = None
        if ctx.labels is not None:
            dx[ctx.labels.rows, ctx.labels.classes] -= 1
            dx *= ctx.labels.weighted(per_sample)[:, None]
        else:
            (q,) = spread
            dx *= q.sum(axis=1, keepdims=True)
            dx -= q
            dx *= per_sample[:, None]
            if ctx.needs_input_grad[1]:  # class probabilities may come from a network as well
                dtarget = _unrows(-log_probabilities * per_sample[:, None] * ctx.slope, ctx.shape)
        return _unrows(dx, ctx.shape), dtarget, None, None, None, None


class NLLFunction(Function):
    """``-w_t · x_t`` for log-probabilities x and class indices t."""

    @staticmethod
    def forward(
        ctx: Node, x: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str
    ) -> Array:
        ctx.shape, ctx.reduction, ctx.on_gpu = x.shape, reduction, has_kernels(x)
        if ctx.on_gpu:
            targets = _TargetCuda(x.shape, x.dtype, target, weight, ignore_index, 0.0)
            loss, weights, totals = _nll_forward_cuda(x, targets, reduction)
            ctx.save_for_backward(target, weights, totals)
            ctx.options = x.shape, x.dtype, ignore_index
            return loss
        rows = _rows(x)
        ctx.rows_shape = rows.shape
        ctx.labels = _labels(target, x.dtype, weight, ignore_index)
        ctx.divisor = ctx.labels.total()
        losses = _losses_of(ctx.labels, rows)
        if reduction == "none":
            return losses.reshape((x.shape[0], *x.shape[2:]) if x.ndim > 1 else ())
        return _reduce(losses, ctx.divisor, reduction)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        if ctx.on_gpu:
            target, weights, totals = ctx.saved_tensors
            shape, dtype, ignore_index = ctx.options
            targets = _TargetCuda(shape, dtype, target, None, ignore_index, 0.0)
            dx = _nll_backward_cuda(targets, weights, totals, grad, ctx.reduction)
            return dx, None, None, None, None
        per_sample = _per_sample(grad.reshape(-1), ctx.divisor, ctx.reduction)
        dx = array_module(grad).zeros(ctx.rows_shape, grad.dtype)
        dx[ctx.labels.rows, ctx.labels.classes] = ctx.labels.weighted(-per_sample)
        return _unrows(dx, ctx.shape), None, None, None, None


class MSEFunction(Function):
    """``(x - t)²``: dx = 2 (x - t) dy = -dt."""

    @staticmethod
    def forward(ctx: Node, x: Array, target: Array, reduction: str) -> Array:
        ctx.on_gpu = has_kernels(x) and x.dtype == target.dtype
        if ctx.on_gpu:
            ctx.save_for_backward(x, target)
            ctx.reduction = reduction
            return _mse_forward_cuda(x, target, reduction)
        difference = x - target
        ctx.save_for_backward(difference)
        ctx.reduction = reduction
        return _reduce(difference * difference, max(difference.size, 1), reduction)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        if ctx.on_gpu:
            x, target = ctx.saved_tensors
            needed = ctx.needs_input_grad[1]
            return *_mse_backward_cuda(x, target, grad, ctx.reduction, needed), None
        (difference,) = ctx.saved_tensors
        per_element = _per_sample(grad, max(difference.size, 1), ctx.reduction)
        dx = 2 * difference * per_element
        return dx, -dx if ctx.needs_input_grad[1] else None, None


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise ArgumentError(f"{name}: reduction must be one of {_REDUCTIONS}, got {reduction!r}")


def _check_scores(name: str, x: Array) -> None:
    """Raise a helpful error unless the input holds scores of classes."""
    if x.ndim == 0:
        raise ShapeError(f"{name}: expected input of shape (C,), (N, C) or (N, C, ...), got ()")
    if x.dtype.kind != "f":
        raise DTypeError(f"{name}: input must be floats, got {x.dtype}")


def _check_class_indices(name: str, x: Array, target: Array, ignore_index: int) -> None:
    """Raise a helpful error unless `target` holds class indices for the input `x`."""
    expected = (x.shape[0], *x.shape[2:]) if x.ndim > 1 else ()
    if target.shape != expected:
        raise ShapeError(
            f"{name}: target of shape {target.shape} does not fit input of shape {x.shape}: "
            f"expected class indices of shape {expected}"
        )
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: class indices must be integers, got {target.dtype}")
    if not isinstance(target, np.ndarray):
        return  # looking at a GPU's numbers would wait for it
    classes = x.shape[1 if x.ndim > 1 else 0]
    # Seen as unsigned, numbers below 0 are large: one pass where all is well, and nothing ignored.
    if target.view(f"u{target.itemsize}").max(initial=0) < classes:
        return
    valid = target[target != ignore_index]
    if valid.size and (valid.min() < 0 or valid.max() >= classes):
        raise ArgumentError(
            f"{name}: target holds class {int(valid.min() if valid.min() < 0 else valid.max())}, "
            f"but input has {classes} classes: expected 0 to {classes - 1}"
        )


def _check_weight(name: str, x: Array, weight: Tensor | None) -> Array | None:
    if weight is None:
        return None
    check_one_device(name, input=x, weight=weight.array)
    classes = x.shape[1 if x.ndim > 1 else 0]
    if weight.array.shape != (classes,):
        raise ShapeError(
            f"{name}: weight of shape {weight.array.shape}: expected one for each of {classes} "
            "classes"
        )
    return weight.array.astype(x.dtype, copy=False)


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
    x, t = input.array, target.array
    _check_scores("cross_entropy", x)
    if t.shape != x.shape or t.dtype.kind != "f":
        _check_class_indices("cross_entropy", x, t, ignore_index)
    class_weight = _check_weight("cross_entropy", x, weight)
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
    x, t = input.array, target.array
    _check_scores("nll_loss", x)
    _check_class_indices("nll_loss", x, t, ignore_index)
    class_weight = _check_weight("nll_loss", x, weight)
    check_one_device("nll_loss", input=x, target=t)
    return NLLFunction.apply(input, t.reshape(-1), class_weight, ignore_index, reduction)


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
