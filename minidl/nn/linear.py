"""The fully connected layer.

With the input x of (N, in), weights W of (out, in) and a bias b of (out,):

    y  = x·Wᵀ + b                        (N, out)
    dx = dy·W        dW = dyᵀ·x        db = Σ_n dy_n

Three products of the same size. AlexNet's fc6 is 4096 x 9216: the weights, 151 MB of them, are the
largest thing that is read, so the work is cut along the weights: every lane reads its own rows of W
once for the whole batch.

A ReLU that follows is done in the same pass that adds b, and its gradient in the pass that adds up
db: see ``relu`` of the Function.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import DTypeError, ShapeError
from ..kernels import cpu, cuda
from ..kernels.cpu.relu import rectify
from ..tensor import Tensor
from . import init
from .activation import has_kernels, relu_gradient
from .module import Module, Parameter

__all__ = ["Linear", "linear"]


def multiply_turned(
    weight: Array, columns: Array, bias: Array | None, y: Array, relu: bool
) -> None:
    """Write ``(W·X)ᵀ + b`` into y (N, O), of W (O, K) and X (K, N), and ReLU of it if asked for.

    OpenBLAS takes up to 40 % longer for ``Xᵀ·Wᵀ`` (AVX-512, two images and more).
    """
    turned = cpu.scratch("turned", y.shape[::-1], y.dtype)
    np.matmul(weight, columns, out=turned)
    if bias is None:
        y[...] = turned.T
    else:
        np.add(turned.T, bias, out=y)
    if relu:
        rectify(y, y)


def _forward_numpy(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    y = cpu.empty((x.shape[0], weight.shape[0]), x.dtype)

    def lane(rows: slice) -> None:
        own_bias = None if bias is None else bias[rows]
        multiply_turned(weight[rows], x.T, own_bias, y[:, rows], relu)

    cpu.parallel(lane, _pieces(weight.shape[0], x.shape[0] * weight.size))
    return y


def _input_gradient_numpy(grad: Array, weight: Array) -> Array:
    dx = cpu.empty((grad.shape[0], weight.shape[1]), grad.dtype)

    def lane(columns: slice) -> None:
        np.matmul(grad, weight[:, columns], out=dx[:, columns])

    cpu.parallel(lane, _pieces(weight.shape[1], grad.shape[0] * weight.size))
    return dx


def _weight_gradient_numpy(grad: Array, x: Array) -> Array:
    dweight = cpu.empty((grad.shape[1], x.shape[1]), grad.dtype)

    def lane(rows: slice) -> None:
        np.matmul(grad[:, rows].T, x, out=dweight[rows])

    cpu.parallel(lane, _pieces(grad.shape[1], x.shape[0] * dweight.size))
    return dweight


def _pieces(length: int, multiplications: int) -> list[slice]:
    return [slice(0, length)] if multiplications < cpu.SMALL_PRODUCT else cpu.split(length)


_CUDA = cuda.Source(r"""
// y += b, with b = 0 if there is none, and then max(y, 0) if asked for; one thread a number.
extern "C" __global__ void add_bias(
    const T* bias, T* y, long long size, int columns, bool has_bias, bool relu)
{
    FOR_EACH(i, size) {
        const T sum = y[i] + (has_bias ? bias[i % columns] : T(0));
        y[i] = relu && sum < 0 ? T(0) : sum;  // NaN stays
    }
}

// What a warp does of sums[c] = Σ_r x[r, c]: a block does 32 columns, its 8 warps add up every 8th
// row, neighbouring threads neighbouring columns, and then the warps' sums are added in order.
__device__ void write_sum(T sum, T* sums, int columns)
{
    __shared__ T partial[8][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int column = blockIdx.x * 32 + lane;
    partial[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || column >= columns) return;
    for (int other = 1; other < 8; other++) sum += partial[other][lane];
    sums[column] = sum;
}

extern "C" __global__ void sum_rows(const T* x, T* sums, int rows, int columns)
{
    const int column = blockIdx.x * 32 + threadIdx.x % 32;
    T sum = 0;
    if (column < columns) {
        #pragma unroll 4
        for (int row = threadIdx.x / 32; row < rows; row += 8)
            sum += x[(long long)row * columns + column];
    }
    write_sum(sum, sums, columns);
}

// The same of dy = grad where y > 0 and 0 elsewhere: the gradients of ReLU and b in one pass. dy
// may be the memory of grad.
extern "C" __global__ void sum_rectified_rows(
    const T* y, const T* grad, T* dy, T* sums, int rows, int columns)
{
    const int column = blockIdx.x * 32 + threadIdx.x % 32;
    T sum = 0;
    if (column < columns) {
        #pragma unroll 4
        for (int row = threadIdx.x / 32; row < rows; row += 8) {
            const long long i = (long long)row * columns + column;
            const T passed = y[i] > 0 ? grad[i] : T(0);
            dy[i] = passed;
            sum += passed;
        }
    }
    write_sum(sum, sums, columns);
}
""")


def _forward_cuda(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    y = cuda.matmul(_matrix_cuda(x), _matrix_cuda(weight).T)
    if bias is not None or relu:
        added = y if bias is None else cuda.cupy().ascontiguousarray(bias, y.dtype)
        _CUDA.launch(
            "add_bias", y.dtype, y.size, added, y, np.int64(y.size), y.shape[1],
            bias is not None, relu,
        )  # fmt: skip
    return y


def _input_gradient_cuda(grad: Array, weight: Array) -> Array:
    return cuda.matmul(_matrix_cuda(grad), _matrix_cuda(weight))


def _weight_gradient_cuda(grad: Array, x: Array) -> Array:
    return cuda.matmul(_matrix_cuda(grad).T, _matrix_cuda(x))


def _bias_gradient_cuda(grad: Array) -> Array:
    xp = cuda.cupy()
    rows, columns = grad.shape
    sums = xp.empty(columns, grad.dtype)
    _CUDA.launch(
        "sum_rows", grad.dtype, columns, xp.ascontiguousarray(grad), sums, rows, columns,
        grid=-(-columns // 32),
    )  # fmt: skip
    return sums


def _relu_and_bias_gradient_cuda(y: Array, grad: Array, overwrite: bool) -> tuple[Array, Array]:
    """Return dy, in the memory of `grad` if `overwrite`, and db."""
    xp = cuda.cupy()
    rows, columns = y.shape
    source = xp.ascontiguousarray(grad)
    dy = source if overwrite or source is not grad else xp.empty_like(y)
    sums = xp.empty(columns, y.dtype)
    _CUDA.launch(
        "sum_rectified_rows", y.dtype, columns, xp.ascontiguousarray(y), source, dy, sums, rows,
        columns, grid=-(-columns // 32),
    )  # fmt: skip
    return dy, sums


def _matrix_cuda(x: Array) -> Array:
    """Return a matrix that cuBLAS can read: itself if its rows or columns are runs of memory."""
    flags = x.flags
    return x if flags.c_contiguous or flags.f_contiguous else cuda.cupy().ascontiguousarray(x)


def _rows(x: Array) -> Array:
    """Return (..., K) as (rows, K)."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


class LinearFunction(Function):
    """``x·Wᵀ + b`` of an input (..., in), and ReLU if asked for."""

    @staticmethod
    def forward(ctx: Node, x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
        rows = _rows(x)
        if isinstance(x, np.ndarray):
            y = _forward_numpy(rows, weight, bias, relu)
        elif has_kernels(x):
            y = _forward_cuda(rows, weight, bias, relu)
        else:  # integers, float16
            xp = array_module(x)
            y = xp.matmul(rows, weight.T)
            if bias is not None:
                y += bias
            if relu:
                xp.maximum(y, y.dtype.type(0), out=y)
        if x.ndim != 2:
            y = y.reshape(*x.shape[:-1], weight.shape[0])
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        x, weight, y = ctx.saved_tensors
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        rows, dy = _rows(x), _rows(grad)
        dx = dweight = dbias = None
        if y is not None and has_kernels(y) and need_bias:
            dy, dbias = _relu_and_bias_gradient_cuda(_rows(y), dy, ctx.may_overwrite[0])
        elif y is not None:
            dy = relu_gradient(_rows(y), dy, ctx.may_overwrite[0])
        if isinstance(x, np.ndarray):
            if need_x:
                dx = _input_gradient_numpy(dy, weight).reshape(x.shape)
            if need_weight:
                dweight = _weight_gradient_numpy(dy, rows)
            dbias = dy.sum(axis=0) if need_bias else None
        elif has_kernels(x):
            if need_x:
                dx = _input_gradient_cuda(dy, weight).reshape(x.shape)
            if need_weight:
                dweight = _weight_gradient_cuda(dy, rows)
            if need_bias and dbias is None:
                dbias = _bias_gradient_cuda(dy)
        else:
            xp = array_module(x)
            if need_x:
                dx = xp.matmul(dy, weight).reshape(x.shape)
            if need_weight:
                dweight = xp.matmul(dy.T, rows)
            if need_bias:
                dbias = dy.sum(axis=0)
        return dx, dweight, dbias, None


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor, shape (..., in_features)
    weight : Tensor, shape (out_features, in_features)
    bias : Tensor, shape (out_features,), optional

    Returns
    -------
    Tensor, shape (..., out_features)

    Raises
    ------
    ShapeError
        The last axis of `input` is not ``in_features``.
    DTypeError
        `input` and `weight` have different dtypes.
    """
    return _linear(input, weight, bias, relu=False)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """Check everything and multiply, with ReLU if asked for."""
    x, w = input.array, weight.array
    if w.ndim != 2:
        raise ShapeError(
            f"linear: expected weight of shape (out_features, in_features), got {w.shape}"
        )
    if bias is not None and bias.array.shape != w.shape[:1]:
        raise ShapeError(f"linear: bias of shape {bias.array.shape}, expected ({w.shape[0]},)")
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ShapeError(
            f"linear: input of shape {x.shape} does not fit weight of shape {w.shape}: expected a "
            f"last axis of {w.shape[1]}"
        )
    if x.dtype != w.dtype:
        raise DTypeError(f"linear: input is {x.dtype}, weight is {w.dtype}")
    return LinearFunction.apply(input, weight, bias, relu)


class Linear(Module):
    """A fully connected layer.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Default True.
    device, dtype : optional
        Default float32 on the CPU.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Drawn uniformly from ±1/√in_features, as PyTorch does.
    bias : Parameter, shape (out_features,)
        Likewise.

    Examples
    --------
    >>> import minidl
    >>> layer = minidl.nn.Linear(9216, 4096)
    >>> layer(minidl.zeros(2, 9216)).shape
    Size([2, 4096])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        from .. import ops

        self.weight = Parameter(ops.empty(out_features, in_features, device=device, dtype=dtype))
        self.bias = Parameter(ops.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # ±1/√in_features
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``."""
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
