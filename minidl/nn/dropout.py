"""Dropout, in the form of today and in the paper's.

With a mask m of independent 0 and 1, P(m = 0) = p, drawn anew at every forward:

    inverted (today's): training  y = x·m / (1 - p)    dx = dy·m / (1 - p)    test  y = x
    plain (2012):       training  y = x·m              dx = dy·m              test  y = x·(1 - p)

Both have the same mean at test as in training. A net trained with the plain form is converted to
the inverted one by multiplying the weights of the layer after it by 1 - p.

The mask is a function of the generator's key and of the element's number alone: element i keeps its
value if word i of the Philox4x64-10 stream (as 32-bit words, low half first) is at least p·2³². So
both devices, and any number of threads, draw the same mask.

Source: Hinton et al. (2012), arXiv 1207.0580; Krizhevsky, Sutskever and Hinton (2012), section 4.2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Function, Node
from ..device import Array, Shape, array_module
from ..errors import ArgumentError
from ..kernels import cpu, cuda
from ..kernels.cuda import aligned
from ..random import default_generator
from ..tensor import Tensor
from .activation import _check_inplace, has_kernels
from .module import Module

__all__ = ["Dropout", "PlainDropout", "dropout", "plain_dropout"]

_WORDS_PER_COUNTER = 8  # Philox4x64: 4 words of 64 bits from each value of its counter
_BLOCK = 1 << 17  # elements in a piece of work; a multiple of _WORDS_PER_COUNTER


def _mask_numpy(key: np.ndarray, shape: Shape, p: float) -> Array:
    """Return a bool array that is False with probability `p`, element by element in C order."""
    keep = np.empty(math.prod(shape), np.bool_)
    threshold = np.uint32(min(round(p * 2**32), 2**32 - 1))

    def block(start: int) -> None:
        part = keep[start : start + _BLOCK]
        philox = np.random.Philox(key=key, counter=start // _WORDS_PER_COUNTER)
        words = philox.random_raw(-(-part.size // 2)).astype("<u8", copy=False).view("<u4")
        np.greater_equal(words[: part.size], threshold, out=part)

    cpu.parallel(block, range(0, keep.size, _BLOCK))
    return keep.reshape(shape)


def _forward_numpy(
    x: Array, key: np.ndarray | None, p: float, scale: float, inplace: bool
) -> tuple[Array, Array]:
    """Return y and what the backward multiplies by, ``m · scale``; float16 of a GPU as well."""
    xp = array_module(x)
    if key is None:
        mask = xp.zeros(x.shape, np.bool_)
    elif xp is np:
        mask = _mask_numpy(key, x.shape, p)
    else:
        mask = _forward_cuda(xp.zeros(x.shape, np.float32), key, p, 1.0, False)[1].view(np.bool_)
    factor = mask * x.dtype.type(scale)
    if inplace:
        x *= factor
        return x, factor
    return x * factor, factor


def _backward_numpy(grad: Array, factor: Array) -> Array:
    return grad * factor


_CUDA = cuda.Source(r"""
typedef unsigned long long u64;

// Words 0 ... 3 of 64 bits that Philox4x64-10 makes from a counter and a key.
__device__ inline void philox(u64 counter, u64 key0, u64 key1, u64* word)
{
    word[0] = counter, word[1] = word[2] = word[3] = 0;
    for (int round = 0; round < 10; round++) {
        const u64 low0 = 0xD2E7470EE14C6C93ull * word[0], low2 = 0xCA5A826395121157ull * word[2];
        const u64 high0 = __umul64hi(0xD2E7470EE14C6C93ull, word[0]);
        const u64 high2 = __umul64hi(0xCA5A826395121157ull, word[2]);
        word[0] = high2 ^ word[1] ^ key0, word[1] = low2;
        word[2] = high0 ^ word[3] ^ key1, word[3] = low0;
        key0 += 0x9E3779B97F4A7C15ull, key1 += 0xBB67AE8584CAA73Bull;
    }
}

// y = x·m·scale and the mask m, for images (images, channels, plane) in C order that lie in memory
// as (channels, images, plane): m is numbered in C order. Without images there is one channel.
// A warp does 256 elements: every thread draws the 8 words of one counter and keeps 8 bits of them,
// then asks the others for the bits of its own elements: 8, of which neighbours have neighbours.
extern "C" __global__ void dropout_forward(
    const T* x, T* y, unsigned char* mask, u64 key0, u64 key1, u64 threshold, T scale,
    long long size, int images, int channels, long long plane)
{
    const int lane = threadIdx.x % 32;
    const long long step = (long long)blockDim.x * gridDim.x * 8;
    long long start = ((long long)blockIdx.x * blockDim.x + threadIdx.x - lane) * 8;
    for (; start < size; start += step) {
        u64 word[4];
        philox(start / 8 + lane + 1, key0, key1, word);  // NumPy counts before it draws
        unsigned bits = 0;
        for (int k = 0; k < 4; k++) {
            bits |= (unsigned)((word[k] & 0xffffffffull) >= threshold) << 2 * k;
            bits |= (unsigned)((word[k] >> 32) >= threshold) << (2 * k + 1);
        }
        for (int k = 0; k < 8; k++) {
            const unsigned own = __shfl_sync(0xffffffffu, bits, 4 * k + lane / 8);
            const long long i = start + 32 * k + lane;
            if (i >= size) continue;
            const bool keep = own >> lane % 8 & 1;
            long long place = i;
            if (channels > 1) {
                const long long row = i / plane;
                const int image = row / channels, channel = row % channels;
                place = ((long long)channel * images + image) * plane + i % plane;
            }
            y[place] = x[place] * (keep ? scale : T(0));  // NaN and infinity: as on the CPU
            mask[place] = keep;
        }
    }
}

// dx = dy·m·scale; one thread an element.
extern "C" __global__ void dropout_backward(
    const T* grad, const unsigned char* mask, T* dx, T scale, long long size)
{
    FOR_EACH(i, size) dx[i] = grad[i] * (mask[i] ? scale : T(0));
}
""")


def _forward_cuda(
    x: Array, key: np.ndarray | None, p: float, scale: float, inplace: bool
) -> tuple[Array, Array]:
    """Return y and the mask, one byte an element, both in the memory order of x."""
    xp = cuda.cupy()
    turned = x.ndim == 4 and not x.flags.c_contiguous  # images as the layers leave them
    turned = turned and x.transpose(1, 0, 2, 3).flags.c_contiguous
    source = x.transpose(1, 0, 2, 3) if turned else x
    if not source.flags.c_contiguous:
        source = xp.ascontiguousarray(x)
    images, channels = x.shape[:2] if turned else (1, 1)
    plane = x.size // max(images * channels, 1)
    overwrite = inplace and (turned or source is x)
    y = source if overwrite else xp.empty_like(source)
    mask = xp.empty(source.shape, np.uint8)
    threshold = 2**32 if key is None else min(round(p * 2**32), 2**32 - 1)
    key0, key1 = (0, 0) if key is None else key
    _CUDA.launch(
        "dropout_forward", x.dtype, -(-x.size // 8), source, y, mask, np.uint64(key0),
        np.uint64(key1), np.uint64(threshold), scale, np.int64(x.size), images, channels,
        np.int64(plane),
    )  # fmt: skip
    if turned:
        y, mask = y.transpose(1, 0, 2, 3), mask.transpose(1, 0, 2, 3)
    if not inplace:
        return y, mask
    if not overwrite:
        x[...] = y
    return x, mask


def _backward_cuda(grad: Array, mask: Array, scale: float) -> Array:
    dx = cuda.cupy().empty_like(mask, grad.dtype)
    target, m, dy = aligned(dx, mask, grad)
    _CUDA.launch("dropout_backward", grad.dtype, dx.size, dy, m, target, scale, np.int64(dx.size))
    return dx


class DropoutFunction(Function):
    """``x · m · scale``; the backward uses the forward's mask."""

    @staticmethod
    def forward(ctx: Node, x: Array, p: float, scale: float, inplace: bool) -> Array:
        key = None if p == 1 else default_generator.next_key()
        ctx.scale = scale
        ctx.on_gpu = has_kernels(x)
        y, mask = (_forward_cuda if ctx.on_gpu else _forward_numpy)(x, key, p, scale, inplace)
        ctx.save_for_backward(mask)
        if inplace:
            ctx.mark_dirty(x)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (mask,) = ctx.saved_tensors
        if ctx.on_gpu:
            return _backward_cuda(grad, mask, ctx.scale), None, None, None
        return _backward_numpy(grad, mask), None, None, None


def _check_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ArgumentError(f"{name}: p must be between 0 and 1, got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set elements to 0 with probability `p` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    input : Tensor
    p : float
        In [0, 1]. Default 0.5.
    training : bool
        Without it the input comes back as it is. Default True.
    inplace : bool
        Overwrite `input`. Default False.

    Raises
    ------
    ArgumentError
        `p` is not a probability.
    """
    _check_probability("dropout", p)
    if not training or p == 0:
        return input
    if inplace:
        _check_inplace("dropout", input)
    return DropoutFunction.apply(input, p, 1 / (1 - p) if p < 1 else 0.0, inplace)


def plain_dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set elements to 0 with probability `p`; outside training multiply by ``1 - p`` instead.

    Parameters
    ----------
    input : Tensor
    p : float
        In [0, 1]. Default 0.5.
    training : bool
        Default True.

    Raises
    ------
    ArgumentError
        `p` is not a probability.
    """
    _check_probability("plain_dropout", p)
    if not training:
        return input * (1 - p)
    return input if p == 0 else DropoutFunction.apply(input, p, 1.0, False)


class Dropout(Module):
    """Dropout that scales in training and does nothing at test.

    Parameters
    ----------
    p : float
        The probability of 0. Default 0.5.
    inplace : bool
        Overwrite the input. Default False.

    Raises
    ------
    ArgumentError
        `p` is not a probability.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        _check_probability(type(self).__name__, p)
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements in training; return `input` otherwise."""
        return dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"p={self.p}, inplace={self.inplace}"


class PlainDropout(Module):
    """The paper's dropout: no scaling in training, ``x · (1 - p)`` at test.

    Parameters
    ----------
    p : float
        The probability of 0. Default 0.5.

    Raises
    ------
    ArgumentError
        `p` is not a probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        _check_probability(type(self).__name__, p)
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements in training; scale by ``1 - p`` otherwise."""
        return plain_dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"p={self.p}"
