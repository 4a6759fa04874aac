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

from .. import cpu
from ..autograd import Function, Node
from ..device import Array, Shape, array_module
from ..errors import ArgumentError
from ..random import default_generator
from ..tensor import Tensor
from .activation import _check_inplace
from .module import Module

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


class DropoutFunction(Function):
    """``x · m · scale``; the backward uses the forward's mask."""

    @staticmethod
    def forward(ctx: Node, x: Array, p: float, scale: float, inplace: bool) -> Array:
        if p == 1:
            mask = np.zeros(x.shape, np.bool_)
        else:
            mask = _mask_numpy(default_generator.next_key(), x.shape, p)
        factor = array_module(x).asarray(mask * x.dtype.type(scale))
        ctx.save_for_backward(factor)
        if inplace:
            x *= factor
            ctx.mark_dirty(x)
            return x
        return x * factor

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (factor,) = ctx.saved_tensors
        return grad * factor, None, None, None


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
