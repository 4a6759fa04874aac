"""Dropout, in today's form and in the paper's, of single elements and of whole channels.

Forward. With a mask m of independent 0 and 1, P(m = 0) = p, redrawn at every forward:

    inverted (today's): training  y = x·m / (1 − p)    test  y = x
    plain (2012):       training  y = x·m              test  y = x·(1 − p)

Backward. y is x times a constant, the forward's mask:

    ∂L/∂x = ∂L/∂y · m / (1 − p)    or    ∂L/∂y · m

Both forms have the same mean at test as in training. A net trained with the plain form is converted
to the inverted one by multiplying the weights of the layer after it by 1 − p.

The mask is a function of the generator's key and of the element's number alone: element i (in C
order) keeps its value if word i of the Philox4x64-10 stream, in words of 32 bits, is at least
p·2³². So both devices, kernels and plain code, and any number of threads draw the same mask.

Sources: Hinton et al. (2012), arXiv 1207.0580; Krizhevsky, Sutskever and Hinton (2012), section
4.2; whole channels: Tompson et al. (2015), arXiv 1411.4280.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels, ops
from ..autograd import Context, Function
from ..device import Array, Shape, array_module
from ..errors import ArgumentError, ShapeError
from ..random import default_generator
from ..tensor import Tensor
from .activation import check_inplace
from .module import Module
from .parts import part_of_batch

__all__ = ["Dropout", "Dropout2d", "PlainDropout", "dropout", "dropout2d", "plain_dropout"]

# --- The plain code -------------------------------------------------------------------------------


def draw_mask(key: np.ndarray | None, shape: Shape, p: float) -> np.ndarray:
    """Return a bool array, False with probability `p`; all False if `key` is None."""
    if key is None:
        return np.zeros(shape, np.bool_)
    if (part := part_of_batch()) is not None:
        _, *row = part.whole(shape)
        first, end = min(part.rows), max(part.rows) + 1
        return part.cut(_draw(key, (end - first, *row), p, first * math.prod(row)), first)
    return _draw(key, shape, p)


def _draw(key: np.ndarray, shape: Shape, p: float, skip: int = 0) -> np.ndarray:
    blocks, over = divmod(skip, 8)  # a block of Philox has 8 words of 32 bits
    count, least = over + math.prod(shape), min(round(p * 2**32), 2**32 - 1)
    stream = np.random.Philox(key=key, counter=blocks)
    words = stream.random_raw(-(-count // 2))  # (count / 2,) of 64 bits
    halves = words.astype("<u8").view("<u4")[over:count]  # of 32 bits, low half first
    return (halves >= least).reshape(shape)


def forward(x: Array, key: np.ndarray | None, p: float, scale: float) -> tuple[Array, Array]:
    """Return y and the mask."""
    mask = array_module(x).asarray(draw_mask(key, x.shape, p))
    return x * (mask * x.dtype.type(scale)), mask


def backward(grad: Array, mask: Array, scale: float) -> Array:
    """Return ∂L/∂x: the gradient passes where the forward's mask let x pass."""
    return grad * (mask * grad.dtype.type(scale))


# --- The operation --------------------------------------------------------------------------------


class DropoutFunction(Function):
    """``x · m · scale``; saves the mask. Nothing is drawn where all elements are dropped."""

    @staticmethod
    def forward(ctx: Context, x: Array, p: float, scale: float, inplace: bool) -> Array:
        key = None if p == 1 else default_generator.next_key()
        ctx.scale, ctx.kernel = scale, None if part_of_batch() else kernels.of("dropout", x)
        if ctx.kernel:
            y, mask = ctx.kernel.forward(x, key, p, scale, inplace)
        else:
            y, mask = forward(x, key, p, scale)
            if inplace:
                x[...] = y
                y = x
        ctx.save_for_backward(mask)
        if inplace:
            ctx.mark_dirty(x)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (mask,) = ctx.saved_tensors
        if ctx.kernel:
            return ctx.kernel.backward(grad, mask, ctx.scale), None, None, None
        return backward(grad, mask != 0, ctx.scale), None, None, None  # any kernel's mask


def check_probability(name: str, p: float) -> None:
    """Raise an `ArgumentError` unless p is a probability."""
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
    AutogradError
        `inplace`, and `input` is a leaf that requires a gradient.

    Examples
    --------
    >>> import minidl
    >>> _ = minidl.manual_seed(0)
    >>> minidl.nn.functional.dropout(minidl.ones(6))
    tensor([0., 0., 2., 0., 0., 2.])
    """
    check_probability("dropout", p)
    if not training or p == 0:
        return input
    if inplace:
        check_inplace(input)
    return DropoutFunction.apply(input, p, 1 / (1 - p) if p < 1 else 0.0, inplace)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Set whole channels to 0 with probability `p` and scale the others by ``1 / (1 - p)``.

    Neighboring pixels of a channel are so alike that dropping single ones hides little.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (N, C, L)
    p, training, inplace
        As for :func:`dropout`, with the same errors.

    Raises
    ------
    ShapeError
        `input` does not have three or four axes.

    Examples
    --------
    >>> import minidl
    >>> _ = minidl.manual_seed(0)
    >>> minidl.nn.functional.dropout2d(minidl.ones(1, 3, 1, 2))
    tensor([[[[0., 0.]],
             [[0., 0.]],
             [[2., 2.]]]])
    """
    check_probability("dropout2d", p)
    if input.ndim not in (3, 4):
        raise ShapeError(
            f"dropout2d: expected input of shape (N, C, H, W) or (N, C, L), got "
            f"{tuple(input.shape)}"
        )
    if not training or p == 0:
        return input
    channels = (*input.shape[:2], *(1,) * (input.ndim - 2))  # (N, C, 1, 1)
    factors = dropout(ops.ones(channels, dtype=input.dtype, device=input.device), p)
    if not inplace:
        return input * factors
    check_inplace(input)
    input *= factors
    return input


def plain_dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set elements to 0 with probability `p`; outside training multiply by ``1 - p`` instead.

    Parameters
    ----------
    input, p, training
        As for :func:`dropout`, with the same errors.
    """
    check_probability("plain_dropout", p)
    if not training:
        return input * (1 - p)
    return input if p == 0 else DropoutFunction.apply(input, p, 1.0, False)


class _Dropout(Module):
    """The base: a probability."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
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

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements in training; return `input` otherwise."""
        return dropout(input, self.p, self.training, self.inplace)


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
        check_probability(type(self).__name__, p)
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements in training; scale by ``1 - p`` otherwise."""
        return plain_dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(_Dropout):
    """Dropout of whole channels: see :func:`dropout2d`.

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

    def forward(self, input: Tensor) -> Tensor:
        """Drop channels in training; return `input` otherwise."""
        return dropout2d(input, self.p, self.training, self.inplace)
