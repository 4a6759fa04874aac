"""What training loops do with all gradients at once: limit them.

The norm of several gradients is the norm of one long vector of them all, ``√(Σ_i ‖g_i‖²)``.
Clipping by norm scales all gradients by one factor, so that their direction stays; clipping by
value limits every number by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..device import Array, active, array_module, device_of
from ..errors import ArgumentError
from ..kernels import cuda
from ..kernels.cuda import ManySource, aligned, is_dense
from ..ops import stack, zeros
from ..tensor import Tensor

_CUDA = ManySource(
    r"""
#include "many.cuh"
#define INFINITE T(__int_as_float(0x7f800000))

// The larger number, or NaN.
__device__ inline T larger(T a, T b) { return a > b || a != a ? a : b; }

// The block's sum of `value` (its largest if `largest`), in a fixed order, for thread 0 of 256.
__device__ inline T block_total(T value, bool largest)
{
    __shared__ T partial[256];
    partial[threadIdx.x] = value;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x >= half) continue;
        const T other = partial[threadIdx.x + half];
        partial[threadIdx.x] =
            largest ? larger(partial[threadIdx.x], other) : partial[threadIdx.x] + other;
    }
    return partial[0];
}

// Σ|g|^p over a block's elements (max |g| for an infinite p) as one of `partial`.
extern "C" __global__ void powers(const Table table, T* partial, T p)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    const T* __restrict__ grad = row.grad;
    const bool largest = p == INFINITE;
    T total = 0;
    #pragma unroll 4
    FOR_EACH_OF_CHUNK(i, row, block) {
        const T g = abs(grad[i]);
        if (largest) total = larger(total, g);
        else total += p == 2 ? g * g : p == 1 ? g : pow(g, p);
    }
    total = block_total(total, largest);
    if (threadIdx.x == 0) partial[block] = total;
}

// result = {the norm, the factor that brings it down to max_norm}. One block.
extern "C" __global__ void norm_and_factor(const T* partial, int count, T* result, T p, T max_norm)
{
    const bool largest = p == INFINITE;
    T total = 0;
    for (int i = threadIdx.x; i < count; i += 256)
        total = largest ? larger(total, partial[i]) : total + partial[i];
    total = block_total(total, largest);
    if (threadIdx.x > 0) return;
    if (!largest && p != 1) total = p == 2 ? sqrt(total) : pow(total, 1 / p);
    const T factor = max_norm / (total + T(1e-6));
    result[0] = total;
    result[1] = factor > 1 ? T(1) : factor;  // NaN stays
}

// g ← g·factor
extern "C" __global__ void scale(const Table table, const T* result)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    T* __restrict__ grad = row.grad;
    const T factor = result[1];
    #pragma unroll 4
    FOR_EACH_OF_CHUNK(i, row, block) grad[i] *= factor;
}

// g ← g, at least `low` and at most `high`
extern "C" __global__ void limit(const Table table, T low, T high)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    T* __restrict__ grad = row.grad;
    #pragma unroll 4
    FOR_EACH_OF_CHUNK(i, row, block) {
        T g = grad[i];
        g = g < low ? low : g;
        grad[i] = g > high ? high : g;
    }
}
""",
    arrays=("grad",),
)


def _rows_cuda(arrays: list[Array]) -> list[Any] | None:
    """Return arrays on a GPU as a kernel's rows; None if the kernels can't take all of them."""
    if any(isinstance(array, np.ndarray) or not is_dense(array) for array in arrays):
        return None
    kinds = {(array.dtype.char, device_of(array)) for array in arrays}
    if len(kinds) != 1 or arrays[0].dtype.char not in "fd":
        return None
    return [(aligned(array), ()) for array in arrays]


def _norm_cuda(rows: list[Any], max_norm: float, p: float) -> Array:
    """Return the norm and the factor that brings it down to `max_norm`, as an array of two."""
    xp = cuda.cupy()
    dtype = rows[0][0][0].dtype
    partial = xp.empty(_CUDA.blocks([array.size for (array,), _ in rows]), dtype)
    result = xp.empty(2, dtype)
    _CUDA.launch("powers", dtype, rows, partial, p)
    _CUDA.source.launch(
        "norm_and_factor", dtype, 1, partial, partial.size, result, p, float(max_norm), grid=1
    )
    return result


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in several if p.grad is not None and p.grad.numel()]


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients in place so that their common norm is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are left out.
    max_norm : float
    norm_type : float
        The p of the p-norm; ``math.inf`` for the largest magnitude. Default 2.
    error_if_nonfinite : bool
        Raise if the norm is infinite or NaN. Default False.

    Returns
    -------
    Tensor, shape ()
        The norm before.

    Raises
    ------
    ArgumentError
        The norm is not finite, and `error_if_nonfinite`.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([3.0, 4.0], requires_grad=True)
    >>> (x * x / 2).sum().backward()
    >>> minidl.nn.utils.clip_grad_norm_(x, 1.0), x.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    gradients = _gradients(parameters)
    if not gradients:
        return zeros(())
    rows = _rows_cuda([g.array for g in gradients]) if norm_type > 0 else None
    if rows is not None:
        with active(device_of(gradients[0].array)):
            result = _norm_cuda(rows, max_norm, float(norm_type))
            total = Tensor(result[0])
    else:
        total = stack([g.norm(norm_type) for g in gradients]).norm(norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise ArgumentError(f"clip_grad_norm_: the norm of the gradients is {total.item()}")
    if rows is not None:
        with active(device_of(result)):
            _CUDA.launch("scale", result.dtype, rows, result)
        for gradient in gradients:
            gradient.version[0] += 1
        return total
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every number of the gradients to [-clip_value, clip_value] in place.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    clip_value : float
    """
    gradients = _gradients(parameters)
    rows = _rows_cuda([g.array for g in gradients])
    if rows is not None:
        low, high = -float(clip_value), float(clip_value)
        with active(device_of(gradients[0].array)):
            _CUDA.launch("limit", gradients[0].dtype, rows, low, high)
        return
    for gradient in gradients:
        array = gradient.array
        with active(device_of(array)):
            array_module(array).clip(array, -clip_value, clip_value, out=array)
