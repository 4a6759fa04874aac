"""Padding: pixels added around an image (or any array), constant or copied from the image itself.

For an axis a b c d and padding of 2 on both sides:

    constant   0 0 a b c d 0 0        replicate  a a a b c d d d
    reflect    c b a b c d c b        circular   c d a b c d a b

Backward. The gradient of a pixel is that of its place in the padded image, plus the gradients of
all its copies in the border. A constant border has no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

from ..autograd import Context, Function
from ..conversion import fitting
from ..device import Array, array_module
from ..errors import ArgumentError
from ..ops.precision import widened
from ..tensor import Tensor
from .module import Module

__all__ = [
    "CircularPad2d", "ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d", "ZeroPad2d", "pad",
]  # fmt: skip


# --- The plain code -------------------------------------------------------------------------------


def _sources(length: int, before: int, after: int, mode: str) -> list[int]:
    """Return, for every padded position, the position of the axis that it copies."""
    positions = range(-before, length + after)
    if mode == "replicate":
        return [min(max(p, 0), length - 1) for p in positions]
    if mode == "reflect":
        last = length - 1
        return [last - abs(last - abs(p)) for p in positions]
    return [p % length for p in positions]  # circular


def _borders(
    inner: tuple[slice, ...], shape: Sequence[int], amounts: Sequence[tuple[int, int]], mode: str
) -> list[list[tuple[Any, Any]]]:
    """Return, for one axis after another, the border's lines and the line that each copies."""
    borders = []
    for axis, (n, (before, after)) in enumerate(zip(shape, amounts, strict=True)):
        first, last = (slice(None),) * axis, inner[axis + 1 :]  # of the padded array, of the inner
        pairs = enumerate(_sources(n, before, after, mode), start=-before)
        moved = [(at + before, source + before) for at, source in pairs if at != source]
        borders.append([((*first, at, *last), (*first, source, *last)) for at, source in moved])
    return borders


def _overlap(shape: Sequence[int], amounts: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
    """Return the array's place in the padded one, and the part of the array that lies there."""
    inner, own = [], []
    for n, (before, after) in zip(shape, amounts, strict=True):
        inner.append(slice(max(before, 0), max(before, 0) + n + min(before, 0) + min(after, 0)))
        own.append(slice(max(-before, 0), n - max(-after, 0)))
    return tuple(inner), tuple(own)


# --- The operation --------------------------------------------------------------------------------


class PadFunction(Function):
    """Padding; for a constant, negative amounts crop."""

    @staticmethod
    def forward(
        ctx: Context, x: Array, amounts: tuple[tuple[int, int], ...], mode: str, value: float
    ) -> Array:
        xp = array_module(x)
        ctx.shape, ctx.amounts, ctx.mode = x.shape, amounts, mode
        shape = tuple(n + a + b for n, (a, b) in zip(x.shape, amounts, strict=True))
        y = xp.full(shape, value, x.dtype) if mode == "constant" else xp.empty(shape, x.dtype)
        inner, own = _overlap(x.shape, amounts)
        y[inner] = x[own]
        if mode != "constant":
            # The border along one axis after another, copied from lines that are there already.
            for lines in _borders(inner, x.shape, amounts, mode):
                for line, source in lines:
                    y[line] = y[source]
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        xp = array_module(grad)
        inner, own = _overlap(ctx.shape, ctx.amounts)
        if ctx.mode != "constant":
            # lines of the border are added to those that they were copied from
            grad = widened(grad)[0].copy()
            for lines in reversed(_borders(inner, ctx.shape, ctx.amounts, ctx.mode)):
                for line, source in lines:
                    grad[source] += grad[line]
        dx = xp.zeros(ctx.shape, grad.dtype)
        dx[own] = grad[inner]
        return dx, None, None, None


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Pad the last axes of a tensor.

    Parameters
    ----------
    input : Tensor
    pad : sequence of int
        Amounts before and after the last axis, then the one before it, and so on:
        ``(left, right, top, bottom)`` for images. Negative amounts crop.
    mode : {"constant", "reflect", "replicate", "circular"}
        Default "constant".
    value : float, optional
        The constant. Default 0.

    Raises
    ------
    ArgumentError
        `pad` has an odd length or more pairs than the tensor has axes, an amount does not suit the
        mode, or the mode is not known.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.pad(minidl.ones(1, 2), (1, 2))
    tensor([[0., 1., 1., 0., 0.]])
    """
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise ArgumentError(
            f"pad: expected pairs of amounts for at most {input.ndim} axes, got {tuple(pad)}"
        )
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ArgumentError(f"pad: mode {mode!r} is not known")
    pairs = [(index(a), index(b)) for a, b in zip(pad[::2], pad[1::2], strict=True)][::-1]
    amounts = ((0, 0),) * (input.ndim - len(pairs)) + tuple(pairs)
    for n, (before, after) in zip(input.array.shape, amounts, strict=True):
        if before == after == 0:
            continue
        # every mode but "constant" needs pixels to copy
        most = {"reflect": n - 1, "circular": n, "replicate": math.inf if n else 0}.get(mode)
        if most is not None and max(before, after) > most:
            raise ArgumentError(f"pad: {(before, after)} does not suit mode {mode!r}, length {n}")
        left = n + (min(before, 0) + min(after, 0) if mode == "circular" else before + after)
        if left < 0 or (left == 0 and mode == "circular"):
            raise ArgumentError(f"pad: {(before, after)} crops more than the length {n}")
    if value:
        value = fitting("pad", value, input.dtype).item()
    if mode == "constant" or min(map(min, amounts), default=0) >= 0:
        return PadFunction.apply(input, amounts, mode, 0.0 if value is None else value)
    more = tuple((max(a, 0), max(b, 0)) for a, b in amounts)
    less = tuple((min(a, 0), min(b, 0)) for a, b in amounts)
    if mode == "circular":  # the pixels left by cropping go round
        return PadFunction.apply(PadFunction.apply(input, less, "constant", 0.0), more, mode, 0.0)
    return PadFunction.apply(PadFunction.apply(input, more, mode, 0.0), less, "constant", 0.0)


class _Pad2d(Module):
    """Base of the layers below: :func:`pad` of images (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    padding : int or four int
        On all sides, or (left, right, top, bottom).
    """

    _mode = "constant"
    value = 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 4:
            raise ArgumentError(f"{type(self).__name__}: expected one or four numbers")

    def forward(self, input: Tensor) -> Tensor:
        """Return the padded images."""
        return pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return str(self.padding)


class ReflectionPad2d(_Pad2d):
    """Pad images with their reflection; one number, or (left, right, top, bottom)."""

    _mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """Pad images with their outer pixels; one number, or (left, right, top, bottom)."""

    _mode = "replicate"


class CircularPad2d(_Pad2d):
    """Pad images with their opposite side; one number, or (left, right, top, bottom)."""

    _mode = "circular"


class ZeroPad2d(_Pad2d):
    """Pad images with zeros; one number, or (left, right, top, bottom)."""


class ConstantPad2d(_Pad2d):
    """Pad images with `value`; one number, or (left, right, top, bottom)."""

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"
