"""Padding: more pixels around an image (or any array), constant or taken from the image itself.

For an axis a b c d and padding of 2 on both sides:

    constant   0 0 a b c d 0 0        replicate  a a a b c d d d
    reflect    c b a b c d c b        circular   c d a b c d a b

The gradient is read where the image lies; a pixel that was used several times collects the
gradients of all its copies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import ArgumentError
from ..tensor import Tensor


def _sources(length: int, before: int, after: int, mode: str) -> list[int]:
    """Return for every padded position which position of the axis it shows."""
    positions = range(-before, length + after)
    if mode == "replicate":
        return [min(max(p, 0), length - 1) for p in positions]
    if mode == "reflect":
        last = length - 1
        return [last - abs(last - abs(p)) for p in positions]
    # circular: a negative amount crops first, and what is left goes round
    start, stop = max(-before, 0), length - max(-after, 0)
    return [start + (p - start) % (stop - start) for p in positions]


class Pad(Function):
    """``np.pad`` and, for cropping, negative amounts."""

    @staticmethod
    def forward(
        ctx: Node, x: Array, amounts: tuple[tuple[int, int], ...], mode: str, value: float
    ) -> Array:
        xp = array_module(x)
        ctx.shape, ctx.amounts, ctx.mode = x.shape, amounts, mode
        if mode != "constant":
            y = x
            for axis, (before, after) in enumerate(amounts):
                if before or after:
                    sources = _sources(x.shape[axis], before, after, mode)
                    y = xp.take(y, xp.asarray(sources), axis)
            return y
        shape = tuple(n + a + b for n, (a, b) in zip(x.shape, amounts, strict=True))
        y = xp.full(shape, value, x.dtype)
        inner, own = _overlap(x.shape, amounts)
        y[inner] = x[own]
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        xp = array_module(grad)
        if ctx.mode == "constant":
            dx = xp.zeros(ctx.shape, grad.dtype)
            inner, own = _overlap(ctx.shape, ctx.amounts)
            dx[own] = grad[inner]
            return dx, None, None, None
        for axis, (before, after) in enumerate(ctx.amounts):
            if before or after:
                sources = _sources(ctx.shape[axis], before, after, ctx.mode)
                narrow = xp.zeros(
                    (*grad.shape[:axis], ctx.shape[axis], *grad.shape[axis + 1 :]), grad.dtype
                )
                for position, source in enumerate(sources):
                    at: tuple[Any, ...] = (slice(None),) * axis
                    narrow[(*at, source)] += grad[(*at, position)]
                grad = narrow
        return grad, None, None, None


def _overlap(shape: Sequence[int], amounts: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
    """Return where the array lies in the padded one, and which part of it that is."""
    inner, own = [], []
    for n, (before, after) in zip(shape, amounts, strict=True):
        inner.append(slice(max(before, 0), max(before, 0) + n + min(before, 0) + min(after, 0)))
        own.append(slice(max(-before, 0), n - max(-after, 0)))
    return tuple(inner), tuple(own)


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
        What constant padding holds. Default 0.

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
    pairs = [(int(a), int(b)) for a, b in zip(pad[::2], pad[1::2], strict=True)][::-1]
    amounts = ((0, 0),) * (input.ndim - len(pairs)) + tuple(pairs)
    for n, (before, after) in zip(input.array.shape, amounts, strict=True):
        if before == after == 0:
            continue
        # only a constant needs nothing to be copied from
        most = {"reflect": n - 1, "circular": n, "replicate": math.inf if n else 0}.get(mode)
        if most is not None and max(before, after) > most:
            raise ArgumentError(f"pad: {(before, after)} does not suit mode {mode!r}, length {n}")
        if n + before + after < 0:
            raise ArgumentError(f"pad: {(before, after)} crops more than the length {n}")
    return Pad.apply(input, amounts, mode, 0.0 if value is None else value)
