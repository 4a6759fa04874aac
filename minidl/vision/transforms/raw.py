"""Pictures as bytes that become floats a batch at a time: ToRaw, RawPicture, RawToInput.

Bytes take a quarter of the memory of floats, which counts most on the way to a GPU. So the last
transforms of a picture, which touch all of its numbers, can be postponed. :class:`ToRaw` ends the
transforms of one picture: it returns the bytes and the random decisions (from the same draws that
:class:`RandomHorizontalFlip` and :class:`PCAJitter` would make). :class:`RawToInput` then computes
for a batch, in one pass,

    out[n, c, y, x] = (pixels[n, c, top_n + y, column] / white + shift[n, c] - mean[c]) / std[c]

with ``column = left_n + x``, or ``left_n + w - 1 - x`` for a mirrored crop. From a mean *picture*
the central part is subtracted, ``mean[c, y, x]``, wherever the crop was and mirrored or not, as in
the original AlexNet program. Anything outside the picture becomes 0. Operations and order are those
of ToTensor (white = 255) or ToPixels (1), PCAJitter, and Normalize or SubtractMean, so the results
have the same bits, on either device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import kernels
from ...device import Array, Device, active, array_module, device_of
from ...errors import ArgumentError, DTypeError, ShapeError
from ...kernels import cuda
from ...kernels.cuda import copy_to
from ...tensor import Tensor
from ._image import Transform, is_rgb_bytes, pair
from .color import PCAJitter, mean_of
from .convert import image_planes
from .flip import RandomHorizontalFlip

__all__ = ["RawPicture", "RawToInput", "ToRaw"]


class RawPicture(NamedTuple):
    """The bytes of a picture, or of a batch of them, and the random decisions about it.

    Attributes
    ----------
    pixels : Tensor of uint8, shape (..., C, H, W)
    place : Tensor of int32, shape (..., 3)
        Top and left of the crop, and whether it is mirrored.
    shift : Tensor of float32, shape (..., C)
        Shift of each channel.
    """

    pixels: Tensor
    place: Tensor
    shift: Tensor


class ToRaw(Transform):
    """Makes a :class:`RawPicture` from a picture: the last transform before the loader's batch.

    Called with a PIL image, with a uint8 array of shape (H, W) or (H, W, C), or with a uint8 tensor
    of shape (3, H, W).

    Parameters
    ----------
    flip : RandomHorizontalFlip, optional
        Draws whether the picture will be mirrored. Default: never.
    jitter : PCAJitter, optional
        Draws the shift of the colors; its mode must be ``"paper01"``.

    Raises
    ------
    ArgumentError
        From the constructor: the jitter has another mode.
    DTypeError
        The pixels are not 8-bit numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.vision.transforms import RandomHorizontalFlip, ToRaw
    >>> raw = ToRaw(RandomHorizontalFlip(p=1))(np.array([[[1, 2, 3]]], np.uint8))
    >>> raw.pixels.tolist(), raw.place.tolist(), raw.shift.tolist()
    ([[[1]], [[2]], [[3]]], [0, 0, 1], [0.0, 0.0, 0.0])
    """

    _shown = ("flip", "jitter")
    takes_bytes = True

    def __init__(
        self, flip: RandomHorizontalFlip | None = None, jitter: PCAJitter | None = None
    ) -> None:
        if jitter is not None and jitter.mode != "paper01":
            raise ArgumentError(f"ToRaw: jitter must have mode 'paper01', got {jitter.mode!r}")
        self.flip = flip
        self.jitter = jitter

    def __call__(self, picture: Any) -> RawPicture:
        pixels = picture.array if is_rgb_bytes(picture) else image_planes(picture, "ToRaw")
        if pixels.dtype != np.uint8:
            raise DTypeError(f"ToRaw: expected a picture of 8-bit numbers, got {pixels.dtype}")
        place, shift = np.zeros(3, np.int32), np.zeros(len(pixels), np.float32)
        if self.flip is not None:
            place[2] = self.flip.draw()
        if self.jitter is not None:
            shift[:] = self.jitter.draw()
        return RawPicture(Tensor(pixels), Tensor(place), Tensor(shift))


def raw_to_input(
    pixels: Array, place: Array, shift: Array, mean: Array, std: Array, white: float, h: int, w: int
) -> Array:
    """Compute the formula at the top of this file: plain code, for either device.

    Parameters
    ----------
    pixels : array of uint8, shape (N, H, W, C)
    place : array of int32, shape (N, 3)
    shift : array of float32, shape (N, C)
    mean : array of float32, shape (C,) or (h, w, C)
    std : array of float32, shape (C,)
    white : float
    h, w : int
        Size of the crops.

    Returns
    -------
    array of float32, shape (N, C, h, w)
    """
    xp, (n, height, width, _) = array_module(pixels), pixels.shape
    top, left, mirrored = place.T[:, :, None]  # (N, 1) each
    x, y = xp.arange(w), xp.arange(h)
    row = top + y  # (N, h)
    column = left + xp.where(mirrored, w - 1 - x, x)  # (N, w)
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
    row, column = row.clip(0, height - 1), column.clip(0, width - 1)
    picked = pixels[xp.arange(n)[:, None, None], row[:, :, None], column[:, None]]  # (N, h, w, C)
    out = (picked / np.float32(white) + shift[:, None, None] - mean) / std
    return xp.where(inside[..., None], out, np.float32(0)).transpose(0, 3, 1, 2)


class RawToInput:
    """Makes a network's input from a batch of raw pictures: see the formula at the top of the file.

    Called with the :class:`RawPicture` of a batch, or with a loader's whole batch, which starts
    with one; the other parts (the labels) are kept.

    Parameters
    ----------
    mean : sequence of C floats, or array of shape (C, H, W)
        One number per channel, or the mean picture, whose central part is subtracted from each
        crop.
    std : float or sequence of C floats
        Default 1.
    white : float
        Divisor of the bytes: 1 for values from 0 to 255 (default), 255 for 0 to 1.
    size : int or (height, width), optional
        Size of the crops. Default: that of the pictures.

    Returns
    -------
    Tensor of float32, shape (..., C, h, w)
        On the device of the pixels; in a list with the batch's other parts.

    Raises
    ------
    ArgumentError, DTypeError
        A standard deviation or `white` is zero; the pixels are not uint8.
    ShapeError
        The mean or the deviations don't match the pictures, or the batch's parts each other.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data import default_collate
    >>> from minidl.vision.transforms import RandomHorizontalFlip, RawToInput, ToRaw
    >>> mirror = RandomHorizontalFlip(p=1)
    >>> batch = default_collate([ToRaw(mirror)(np.array([[10, 20]], np.uint8))] * 3)
    >>> RawToInput(mean=[5.0])(batch)[0]
    tensor([[[15.,  5.]]])
    """

    def __init__(
        self,
        mean: Any,
        std: float | Sequence[float] = 1.0,
        white: float = 1.0,
        size: int | Sequence[int] | None = None,
    ) -> None:
        values = mean_of(mean, "RawToInput")
        self.mean = np.ascontiguousarray(values.transpose(1, 2, 0)) if values.ndim == 3 else values
        channels = self.mean.shape[-1]
        self.std = np.asarray(std, np.float32)
        if self.std.shape not in ((), (1,), (channels,)):
            raise ShapeError(f"RawToInput: expected {channels} std, got shape {self.std.shape}")
        self.std = np.broadcast_to(self.std, (channels,)).copy()
        if not self.std.all() or white == 0:
            raise ArgumentError(f"RawToInput: std and white must not be 0, got {std} and {white}")
        self.white = float(white)
        self.size = None if size is None else pair(size, "RawToInput")
        self._constants: dict[tuple[Device, int, int], tuple[Array, Array]] = {}

    def __call__(self, batch: Any) -> Any:
        if not isinstance(batch, RawPicture):
            pictures, *others = batch
            return [self(pictures), *others]
        *lead, channels, height, width = batch.pixels.shape
        if tuple(batch.place.shape) != (*lead, 3) or tuple(batch.shift.shape) != (*lead, channels):
            raise ShapeError(
                f"RawToInput: pixels of shape {tuple(batch.pixels.shape)} need places of shape "
                f"{(*lead, 3)} and shifts of shape {(*lead, channels)}, got "
                f"{tuple(batch.place.shape)} and {tuple(batch.shift.shape)}"
            )
        h, w = self.size or (height, width)
        too_small = self.mean.ndim == 3 and (self.mean.shape[0] < h or self.mean.shape[1] < w)
        if self.mean.shape[-1] != channels or too_small:
            raise ShapeError(
                f"RawToInput: a mean of shape {self.mean.shape} (channels last) does not match "
                f"crops of {channels} channels, {h}x{w}"
            )
        if batch.pixels.dtype != np.uint8:
            raise DTypeError(f"RawToInput: expected uint8 pixels, got {batch.pixels.dtype}")
        pixels = batch.pixels.array.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        place = batch.place.array.reshape(-1, 3).astype(np.int32, copy=False)
        shift = batch.shift.array.reshape(-1, channels).astype(np.float32, copy=False)
        mean, std = self._on(device_of(pixels), h, w)
        kernel = kernels.of("raw_to_input", shift)
        forward = kernel.raw_to_input if kernel else raw_to_input
        try:
            with active(device_of(pixels)):
                out = forward(pixels, place, shift, mean, std, self.white, h, w)
        except (MemoryError, RuntimeError) as error:
            cuda.explain_out_of_memory(error, "RawToInput", pixels.shape)
            raise
        return Tensor(out.reshape(*lead, channels, h, w))

    def _on(self, device: Device, h: int, w: int) -> tuple[Array, Array]:
        """Return the mean (the central part of a mean picture) and deviations on a device."""
        key = device, h, w
        if key not in self._constants:
            mean = self.mean
            if mean.ndim > 1:
                top, left = (mean.shape[0] - h) // 2, (mean.shape[1] - w) // 2
                mean = np.ascontiguousarray(mean[top : top + h, left : left + w])
            self._constants[key] = copy_to(mean, device), copy_to(self.std, device)
        return self._constants[key]

    def __repr__(self) -> str:
        mean = self.mean.tolist() if self.mean.ndim == 1 else f"picture of {self.mean.shape}"
        return (
            f"{type(self).__name__}(mean={mean}, std={self.std.tolist()}, white={self.white}, "
            f"size={self.size})"
        )
