"""Interpolation: images (or lines, or volumes) made larger or smaller.

Pixel i of an axis of length O comes from the place s of an axis of length I:

    align_corners=False   s = (i + ½)·I/O − ½       pixels are squares, edges meet edges
    align_corners=True    s = i·(I − 1)/(O − 1)     pixels are points, the outer ones meet

and its number is a weighted sum over neighbors of s, an axis at a time:

    nearest               x[⌊i·I/O⌋]                (nearest-exact: x[⌊(i + ½)·I/O⌋])
    linear, bilinear, …   (1 − t)·x[⌊s⌋] + t·x[⌊s⌋ + 1], t = s − ⌊s⌋
    bicubic               four neighbors, weighted by Keys' cubic (1981) with a = −¾
    area                  the mean of all pixels that the square covers: adaptive average pooling

Neighbors beyond the border are the border's. With `antialias` the triangle (or Keys' cubic with
a = −½) is as wide as O's pixels, so that every pixel of the image counts.

Backward. Along an axis, y = A·x with the matrix A (O, I) of the weights, hence ∂L/∂x = Aᵀ·∂L/∂y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor
from .adaptive_avg_pool import adaptive_avg_pool2d
from .module import Module

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d", "interpolate"]

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
_MODES = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area")

# --- The plain code -------------------------------------------------------------------------------


class Taps(NamedTuple):
    """The weighted sum along one axis: y[i] = Σ_t weights[i, t] · x[indices[i, t]]."""

    length: int  # I
    indices: np.ndarray  # (O, T)
    weights: np.ndarray | None  # (O, T); None: 1


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Return Keys' cubic at the distances `x`."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def taps(
    length: int, size: int, scale: float, mode: str, corners: bool, antialias: bool, dtype: Any
) -> Taps:
    """Return the neighbors of each of `size` pixels, and their weights.

    `scale` is I/O, or what the caller gave in its place.
    """
    i = np.arange(size)
    if mode.startswith("nearest"):
        at = i + 0.5 if mode == "nearest-exact" else i
        source = np.floor(at.astype(np.float32) * np.float32(scale)).astype(np.int64)
        return Taps(length, np.minimum(source, length - 1)[:, None], None)
    if corners:
        scale = (length - 1) / (size - 1) if size > 1 else 0.0
    step = np.dtype(dtype).type(scale)
    cubic = mode == "bicubic"
    if antialias:
        center, widening = step * (i + dtype(0.5)), max(step, dtype(1))
        reach = (2 if cubic else 1) * widening
        first = np.maximum((center - reach + 0.5).astype(np.int64), 0)
        last = np.minimum((center + reach + 0.5).astype(np.int64), length)
        indices = first[:, None] + np.arange(int((last - first).max()))  # (O, T)
        x = (indices - center[:, None] + dtype(0.5)) / widening
        weights = _cubic(x, -0.5) if cubic else np.maximum(1 - np.abs(x), 0)
        weights = np.where(indices < last[:, None], weights, 0)
        weights = weights / weights.sum(axis=1, keepdims=True)
        return Taps(length, np.minimum(indices, length - 1), weights.astype(dtype))
    s = step * i.astype(dtype) if corners else step * (i + dtype(0.5)) - dtype(0.5)
    if not cubic:
        s = np.maximum(s, 0)
    lower = np.floor(s)
    offsets = np.arange(-1, 3) if cubic else np.arange(2)
    t = (s - lower)[:, None] - offsets  # the distances to the neighbors
    weights = _cubic(t, -0.75) if cubic else 1 - np.abs(t)
    indices = np.clip(lower[:, None].astype(np.int64) + offsets, 0, length - 1)
    return Taps(length, indices, weights.astype(dtype))


def forward(x: Array, axes: Sequence[Taps]) -> Array:
    """Return y: the sums along the last axes, from the last one on."""
    xp, dtype = array_module(x), x.dtype
    for axis, (_, indices, weights) in zip(range(x.ndim - len(axes), x.ndim), axes, strict=True):
        if weights is None:
            x = xp.take(x, xp.asarray(indices[:, 0]), axis=axis)
            continue
        column = (-1, *(1,) * (x.ndim - axis - 1))  # (O, 1, ...)
        x = sum(
            xp.take(x, xp.asarray(index), axis=axis) * xp.asarray(weight).reshape(column)
            for index, weight in zip(indices.T, weights.T, strict=True)
        )
    return x.astype(dtype, copy=False)


def backward(grad: Array, axes: Sequence[Taps]) -> Array:
    """Return ∂L/∂x."""
    xp, dtype = array_module(grad), grad.dtype
    wide = np.promote_types(dtype, np.float32)
    dx = grad.astype(wide, copy=False)
    for axis, (length, indices, weights) in enumerate(axes, grad.ndim - len(axes)):
        matrix = np.zeros((len(indices), length), wide)  # (O, I)
        rows = np.arange(len(indices))[:, None]
        np.add.at(matrix, (rows, indices), 1 if weights is None else weights)
        dx = xp.moveaxis(xp.tensordot(dx, xp.asarray(matrix), axes=(axis, 0)), -1, axis)
    return dx.astype(dtype, copy=False)


# --- The operation --------------------------------------------------------------------------------


class InterpolateFunction(Function):
    """The weighted sums, which need no numbers for the backward."""

    @staticmethod
    def forward(ctx: Context, x: Array, axes: Sequence[Taps]) -> Array:
        ctx.axes = axes
        return forward(x, axes)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return backward(grad, ctx.axes), None


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return images of another size.

    Parameters
    ----------
    input : Tensor, shape (N, C, L), (N, C, H, W) or (N, C, D, H, W)
    size : int or sequence of int, optional
        The new size of the axes after C.
    scale_factor : float or sequence of float, optional
        Instead of `size`: the new size by the old one, rounded down.
    mode : str
        "nearest" (default), "nearest-exact", "linear" (3 axes), "bilinear" (4), "trilinear" (5),
        "bicubic" (4), "area" (4).
    align_corners : bool, optional
        Whether outer pixels meet, for the linear modes and "bicubic". Default False.
    recompute_scale_factor : bool, optional
        Take the sizes' quotient instead of `scale_factor` in the formulas. Default False.
    antialias : bool
        For "bilinear" and "bicubic". Default False.

    Returns
    -------
    Tensor, shape (N, C, ...)

    Raises
    ------
    ArgumentError
        Both of `size` and `scale_factor` are given or none, or the mode does not fit the axes or
        the other arguments.
    ShapeError
        `input` has another number of axes, or none of its pixels would be left.
    DTypeError
        `input` is of integers, in another mode than the nearest; "bilinear" and "bicubic" take
        uint8 and round.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([[[1.0, 3.0]]])
    >>> minidl.nn.functional.interpolate(x, scale_factor=2, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    if input.ndim not in _LINEAR:
        raise ShapeError(f"interpolate: expected 3, 4 or 5 axes (N, C, ...), got {input.shape}")
    fits = ("nearest", "nearest-exact", _LINEAR[input.ndim])
    if mode not in (*fits, "bicubic", "area")[: None if input.ndim == 4 else 3]:
        known = "does not fit" if mode in _MODES else "is not known for"
        raise ArgumentError(f"interpolate: mode {mode!r} {known} {input.ndim} axes")
    if (size is None) == (scale_factor is None):
        raise ArgumentError("interpolate: give either size or scale_factor")
    if align_corners is not None and (mode.startswith("nearest") or mode == "area"):
        raise ArgumentError(f"interpolate: align_corners does not fit mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError(f"interpolate: antialias needs 'bilinear' or 'bicubic', not {mode!r}")
    old = input.array.shape[2:]
    given: Any = scale_factor if size is None else size
    given = list(given) if isinstance(given, (list, tuple)) else [given] * len(old)
    if len(given) != len(old):
        raise ArgumentError(f"interpolate: expected one or {len(old)} numbers, got {given}")
    if size is None:
        new = [math.floor(n * float(factor)) for n, factor in zip(old, given, strict=True)]
        scales = [1 / factor for factor in given]
    else:
        try:
            new = [index(n) for n in given]
        except TypeError as error:
            raise DTypeError(f"interpolate: size must be integers, got {size!r}") from error
        scales = [n / max(o, 1) for n, o in zip(old, new, strict=True)]
    if recompute_scale_factor:
        scales = [n / max(o, 1) for n, o in zip(old, new, strict=True)]
    if min(*old, *new, 1) < 1 or math.prod(new) > 2**48:
        raise ShapeError(f"interpolate: sizes must be positive, got {old} to {tuple(new)}")
    if mode == "area":
        return adaptive_avg_pool2d(input, (new[0], new[1]))
    bytes_in = input.dtype == np.uint8 and mode in ("bilinear", "bicubic")
    if not (mode.startswith("nearest") or bytes_in or input.is_floating_point()):
        raise DTypeError(f"interpolate: mode {mode!r} needs floats, got {input.dtype}")
    dtype = np.float64 if input.dtype == np.float64 else np.float32
    axes = [
        taps(n, o, scale, mode, bool(align_corners), antialias, dtype)
        for n, o, scale in zip(old, new, scales, strict=True)
    ]
    if bytes_in:
        return InterpolateFunction.apply(input.float(), axes).round().clamp(0, 255).byte()
    return InterpolateFunction.apply(input, axes)


class Upsample(Module):
    """Images of another size: see :func:`interpolate`, whose arguments it takes."""

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.mode = size, mode
        self.scale_factor = float(scale_factor) if isinstance(scale_factor, int) else scale_factor
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` in its new size."""
        return interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Larger images (N, C, H, W) of repeated pixels: :func:`interpolate` with "nearest"."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images (N, C, H, W) whose corners meet: :func:`interpolate` with "bilinear"."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
