"""Activations: ReLU, tanh, sigmoid, softmax and log-softmax.

========== ===================== ==========================================
function   y                     dx
========== ===================== ==========================================
relu       max(x, 0)             dy where y > 0, else 0 (0 at x = 0)
tanh       tanh x                dy·(1 - y²)
sigmoid    1 / (1 + e^-x)        dy·y·(1 - y)
softmax    e^x_i / Σ_j e^x_j     y_i·(dy_i - Σ_j dy_j·y_j)
logsoftmax x_i - ln Σ_j e^x_j    dy_i - softmax(x)_i·Σ_j dy_j
========== ===================== ==========================================

All gradients need the result only, so that the input can be freed (or overwritten: ``inplace``).
Krizhevsky, Sutskever and Hinton (2012) reach 25 % training error on CIFAR-10 six times sooner with
ReLU than with tanh: its slope is 1 however large x gets, where tanh's tends to 0.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..autograd import Function, Node, describe, is_grad_enabled
from ..device import Array, Shape, array_module
from ..errors import AutogradError, DTypeError
from ..kernels import cpu, cuda
from ..kernels.cuda import aligned, is_dense
from ..tensor import Tensor
from .module import Module

#: Kernels work on rows along an axis: what they share.
ROWS_CUDA = r"""
// Rows along an axis of an array (outer, length, inner): row r is (r / inner, all, r % inner).
// A row along the last axis has a warp (lanes = 32), so that neighbours read neighbours; along
// another axis it has one thread (lanes = 1), and the next thread's row lies beside it.

#define MINUS_INFINITY T(__int_as_float(0xff800000))

__device__ inline T largest_of(T value, int lanes)
{
    for (int apart = lanes / 2; apart > 0; apart /= 2)
        value = max(value, __shfl_xor_sync(0xffffffffu, value, apart));
    return value;
}

__device__ inline T sum_of(T value, int lanes)
{
    for (int apart = lanes / 2; apart > 0; apart /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, apart);
    return value;
}
"""

_CUDA = cuda.Source(
    r"""
// Elementwise kernels: one thread an element of memory, whatever the order of its axes.

extern "C" __global__ void relu_forward(const T* x, T* y, long long size)
{
    FOR_EACH(i, size) y[i] = x[i] < 0 ? T(0) : x[i];  // NaN stays
}

extern "C" __global__ void relu_backward(const T* y, const T* grad, T* dx, long long size)
{
    FOR_EACH(i, size) dx[i] = y[i] > 0 ? grad[i] : T(0);
}

extern "C" __global__ void tanh_forward(const T* x, T* y, long long size)
{
    FOR_EACH(i, size) y[i] = tanh(x[i]);
}

extern "C" __global__ void tanh_backward(const T* y, const T* grad, T* dx, long long size)
{
    FOR_EACH(i, size) dx[i] = grad[i] * (1 - y[i] * y[i]);
}

extern "C" __global__ void sigmoid_forward(const T* x, T* y, long long size)
{
    FOR_EACH(i, size) {
        const T small = exp(-abs(x[i]));
        y[i] = (x[i] >= 0 ? T(1) : small) / (1 + small);
    }
}

extern "C" __global__ void sigmoid_backward(const T* y, const T* grad, T* dx, long long size)
{
    FOR_EACH(i, size) dx[i] = grad[i] * y[i] * (1 - y[i]);
}

"""
    + ROWS_CUDA
    + r"""
// e^x_i / Σ_j e^x_j, or its logarithm.
extern "C" __global__ void softmax_forward(
    const T* x, T* y, long long rows, long long length, long long inner, int lanes, bool logarithm)
{
    FOR_EACH(i, rows * lanes) {
        const long long row = i / lanes, start = row / inner * length * inner + row % inner;
        const long long first = i % lanes;
        T largest = MINUS_INFINITY;
        for (long long j = first; j < length; j += lanes)
            largest = max(largest, x[start + j * inner]);
        largest = largest_of(largest, lanes);
        T sum = 0;
        for (long long j = first; j < length; j += lanes)
            sum += exp(x[start + j * inner] - largest);
        sum = sum_of(sum, lanes);
        const T log_sum = log(sum);
        for (long long j = first; j < length; j += lanes) {
            const T shifted = x[start + j * inner] - largest;
            y[start + j * inner] = logarithm ? shifted - log_sum : exp(shifted) / sum;
        }
    }
}

// y_i·(dy_i - Σ_j dy_j·y_j), or of the logarithm dy_i - e^y_i·Σ_j dy_j.
extern "C" __global__ void softmax_backward(
    const T* y, const T* grad, T* dx, long long rows, long long length, long long inner, int lanes,
    bool logarithm)
{
    FOR_EACH(i, rows * lanes) {
        const long long row = i / lanes, start = row / inner * length * inner + row % inner;
        const long long first = i % lanes;
        T sum = 0;
        for (long long j = first; j < length; j += lanes) {
            const long long k = start + j * inner;
            sum += logarithm ? grad[k] : grad[k] * y[k];
        }
        sum = sum_of(sum, lanes);
        for (long long j = first; j < length; j += lanes) {
            const long long k = start + j * inner;
            dx[k] = logarithm ? grad[k] - exp(y[k]) * sum : y[k] * (grad[k] - sum);
        }
    }
}
"""
)


def has_kernels(x: Array) -> bool:
    """Return whether `x` is on a GPU and of a dtype that the kernels have (float16 is not)."""
    return not isinstance(x, (np.ndarray, np.generic)) and x.dtype.char in "fd"


def _elementwise_cuda(name: str, *inputs: Array, out: Array | None = None) -> Array:
    """Return a kernel's result, in the memory order of the first input, or in `out`."""
    if out is None or not is_dense(out):
        result = cuda.cupy().empty_like(inputs[0])
    else:
        result = out
    target, *sources = aligned(result, *inputs)
    _CUDA.launch(name, target.dtype, target.size, *sources, target, np.int64(target.size))
    if out is not None and result is not out:
        out[...] = result
    return result if out is None else out


def _softmax_cuda(name: str, axis: int, logarithm: bool, *inputs: Array) -> Array:
    """Return what a kernel makes of the rows along `axis`."""
    xp = cuda.cupy()
    out = xp.empty(inputs[0].shape, inputs[0].dtype)
    sources = [xp.ascontiguousarray(array) for array in inputs]
    *sizes, lanes = rows_cuda(out.shape or (1,), axis)
    _CUDA.launch(
        name, out.dtype, int(sizes[0]) * lanes, *sources, out, *sizes, lanes, logarithm, block=128
    )
    return out


def rows_cuda(shape: Shape, axis: int) -> tuple[np.int64, np.int64, np.int64, int]:
    """Return how many rows lie along an axis, their length, what is inside, and a row's threads."""
    outer, inner = math.prod(shape[: axis % len(shape)]), math.prod(shape[axis % len(shape) + 1 :])
    lanes = 32 if inner == 1 else 1
    return np.int64(outer * inner), np.int64(shape[axis]), np.int64(inner), lanes


def _check_inplace(name: str, input: Tensor) -> None:
    if is_grad_enabled() and input.requires_grad and input.is_leaf:
        raise AutogradError(
            f"{name}: inplace=True would overwrite {describe(input)}, a leaf that requires a "
            "gradient"
        )


# --- ReLU -----------------------------------------------------------------------------------------


@functools.cache
def _zeros(dtype: np.dtype) -> Array:
    return np.zeros(4096, dtype)


def rectify(x: Array, y: Array) -> None:
    """Write ``max(x, 0)`` into `y`, which may be `x`: for one block on the CPU.

    With a row of zeros: NumPy takes three times as long with a scalar.
    """
    if not (x.flags.c_contiguous and y.flags.c_contiguous):
        np.maximum(x, np.zeros(x.shape[-1:], x.dtype), out=y)
        return
    x, y = x.reshape(-1), y.reshape(-1)
    zeros = _zeros(x.dtype)
    if x.size <= zeros.size:
        np.maximum(x, zeros[: x.size], out=y)
        return
    rows, whole = (-1, zeros.size), x.size - x.size % zeros.size
    np.maximum(x[:whole].reshape(rows), zeros, out=y[:whole].reshape(rows))
    np.maximum(x[whole:], zeros[: x.size - whole], out=y[whole:])


def _relu_forward_numpy(x: Array, inplace: bool) -> Array:
    y = x if inplace else cpu.empty_like(x)
    cpu.blockwise(rectify, x, y)
    return y


def _relu_backward_numpy(y: Array, grad: Array, overwrite: bool) -> Array:
    if overwrite:
        cpu.blockwise(lambda y, grad: cpu.keep_where(y > 0, grad, grad), y, grad)
        return grad
    dx = cpu.empty_like(y)
    cpu.blockwise(lambda y, grad, dx: cpu.keep_where(y > 0, grad, dx), y, grad, dx)
    return dx


def relu_gradient(y: Array, grad: Array, overwrite: bool) -> Array:
    """Return the gradient of ``y = max(x, 0)``'s input, in the memory of `grad` if `overwrite`."""
    if isinstance(y, np.ndarray):
        return _relu_backward_numpy(y, grad, overwrite)
    if has_kernels(y):
        # Otherwise in the memory order of y, in which the next gradient is computed.
        same_order = overwrite and grad.strides == y.strides
        return _elementwise_cuda("relu_backward", y, grad, out=grad if same_order else None)
    return grad * (y > 0)


def relu_(y: Array) -> None:
    """Overwrite an array on a GPU by ``max(y, 0)``."""
    if has_kernels(y):
        _elementwise_cuda("relu_forward", y, out=y)
    else:  # float16
        array_module(y).maximum(y, y.dtype.type(0), out=y)


class ReLUFunction(Function):
    """``max(x, 0)``."""

    @staticmethod
    def forward(ctx: Node, x: Array, inplace: bool) -> Array:
        if isinstance(x, np.ndarray):
            y = _relu_forward_numpy(x, inplace)
        elif has_kernels(x):
            y = _elementwise_cuda("relu_forward", x, out=x if inplace else None)
        else:  # integers
            xp = array_module(x)
            y = xp.maximum(x, x.dtype.type(0), out=x if inplace else None)
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        return relu_gradient(y, grad, ctx.may_overwrite[0]), None


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(input, 0)``; NaN stays NaN.

    Parameters
    ----------
    input : Tensor
    inplace : bool
        Overwrite `input`. Default False.
    """
    if inplace:
        _check_inplace("relu", input)
    return ReLUFunction.apply(input, inplace)


# --- tanh and sigmoid -----------------------------------------------------------------------------


class TanhFunction(Function):
    """``tanh x``."""

    @staticmethod
    def forward(ctx: Node, x: Array) -> Array:
        if isinstance(x, np.ndarray):
            y = cpu.apply_ufunc(np.tanh, x)
        elif has_kernels(x):
            y = _elementwise_cuda("tanh_forward", x)
        else:  # float16
            y = array_module(x).tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        if has_kernels(y):
            return _elementwise_cuda("tanh_backward", y, grad)
        return grad * (1 - y * y)


class SigmoidFunction(Function):
    """``1 / (1 + e^-x)``; for negative x as ``e^x / (1 + e^x)``, so that nothing overflows."""

    @staticmethod
    def forward(ctx: Node, x: Array) -> Array:
        xp = array_module(x)
        if has_kernels(x):
            y = _elementwise_cuda("sigmoid_forward", x)
        else:  # the CPU, and float16 on a GPU
            small = xp.exp(-xp.abs(x))  # in (0, 1]
            y = xp.where(x >= 0, 1, small) / (1 + small)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        if has_kernels(y):
            return _elementwise_cuda("sigmoid_backward", y, grad)
        return grad * y * (1 - y)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangents."""
    return TanhFunction.apply(_float("tanh", input))


def sigmoid(input: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(-input))``."""
    return SigmoidFunction.apply(_float("sigmoid", input))


def _float(name: str, input: Tensor) -> Tensor:
    return input if input.is_floating_point() else input.float()


# --- Softmax --------------------------------------------------------------------------------------


def log_softmax_array(x: Array, axis: int) -> Array:
    """Return ``x - ln Σ e^x`` along `axis`, with the maximum taken off first against overflow."""
    xp = array_module(x)
    shifted = x - x.max(axis=axis, keepdims=True)
    shifted -= xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


class SoftmaxFunction(Function):
    """``e^x_i / Σ_j e^x_j`` along an axis."""

    @staticmethod
    def forward(ctx: Node, x: Array, axis: int) -> Array:
        ctx.axis = axis
        if has_kernels(x):
            y = _softmax_cuda("softmax_forward", axis, False, x)
        else:
            y = array_module(x).exp(x - x.max(axis=axis, keepdims=True))
            y /= y.sum(axis=axis, keepdims=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        if has_kernels(y):
            return _softmax_cuda("softmax_backward", ctx.axis, False, y, grad), None
        return y * (grad - (grad * y).sum(axis=ctx.axis, keepdims=True)), None


class LogSoftmaxFunction(Function):
    """``x_i - ln Σ_j e^x_j`` along an axis."""

    @staticmethod
    def forward(ctx: Node, x: Array, axis: int) -> Array:
        ctx.axis = axis
        if has_kernels(x):
            y = _softmax_cuda("softmax_forward", axis, True, x)
        else:
            y = log_softmax_array(x, axis)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        if has_kernels(y):
            return _softmax_cuda("softmax_backward", ctx.axis, True, y, grad), None
        return grad - array_module(y).exp(y) * grad.sum(axis=ctx.axis, keepdims=True), None


def softmax(input: Tensor, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """Return ``exp(input) / sum(exp(input))`` along `dim`.

    Parameters
    ----------
    input : Tensor of floats
    dim : int
        Default -1.
    dtype : dtype, optional
        Cast `input` to it first.

    Raises
    ------
    DTypeError
        `input` is not of floats.
    """
    return _softmax("softmax", SoftmaxFunction, input, dim, dtype)


def log_softmax(input: Tensor, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """Return the logarithm of :func:`softmax`, without its loss of precision."""
    return _softmax("log_softmax", LogSoftmaxFunction, input, dim, dtype)


def _softmax(name: str, function: type[Function], input: Tensor, dim: int, dtype: Any) -> Tensor:
    if dtype is not None:
        input = input.to(dtype=dtype)
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}")
    if input.numel() == 0:
        return input * 1
    return function.apply(input, dim)


# --- Modules --------------------------------------------------------------------------------------


class ReLU(Module):
    """``max(x, 0)``.

    Parameters
    ----------
    inplace : bool
        Overwrite the input. Default False.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return ``max(input, 0)``."""
        return relu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``tanh(input)``."""
        return tanh(input)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``sigmoid(input)``."""
        return sigmoid(input)


class Softmax(Module):
    """Softmax along an axis.

    Parameters
    ----------
    dim : int
        Default -1.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of `input` along `dim`."""
        return softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of the softmax along an axis.

    Parameters
    ----------
    dim : int
        Default -1.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the log-softmax of `input` along `dim`."""
        return log_softmax(input, self.dim)
