"""From Pillow images to tensors: ToTensor (0 to 1), ToPixels (0 to 255), PILToTensor (as is);
and back: ToPILImage.

The tensor has the shape (C, H, W), but its memory keeps the picture's order (H, W, C), which the
layers prefer and which needs no transposing copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import Array
from ...errors import ArgumentError, DTypeError, SampleTypeError, ShapeError
from ...tensor import Tensor, default_dtype
from ._image import Transform, is_pil
from .adjust import convert_image_dtype

__all__ = ["ConvertImageDtype", "PILToTensor", "ToPILImage", "ToPixels", "ToTensor"]


def image_planes(picture: Any, who: str) -> Array:
    """Return the pixels as (C, H, W), in the picture's memory order."""
    if is_pil(picture):
        pixels = np.asarray(picture)
        if picture.mode.startswith("I;16"):
            # Tensors have no unsigned 16 bits: take the next larger type.
            pixels = pixels.astype(np.int32)
    elif isinstance(picture, np.ndarray):
        pixels = picture
    else:
        raise SampleTypeError(
            f"{who}: expected a PIL image or a NumPy array, got {type(picture).__name__}"
        )
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3:
        raise ShapeError(
            f"{who}: expected an array of shape (H, W) or (H, W, C), got {pixels.shape}"
        )
    return pixels.transpose(2, 0, 1)


class ToTensor(Transform):
    """Makes a float32 tensor of shape (C, H, W) with values from 0 to 1.

    Called with a PIL image, or with an array of shape (H, W) or (H, W, C).

    Returns
    -------
    Tensor, shape (C, H, W)
        8-bit values divided by 255, or 0 and 1 for black-and-white images (mode 1), in float32.
        Other values (modes I, I;16 and F, arrays that are not uint8) keep their scale and type, as
        in torchvision.

    Raises
    ------
    DataError
        The value is neither a PIL image nor an array.
    ShapeError
        The array has another number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.vision.transforms import ToTensor
    >>> ToTensor()(np.array([[[0, 51, 255]]], np.uint8)).flatten()
    tensor([0.0000, 0.2000, 1.0000])
    """

    def __call__(self, pic: Any) -> Tensor:
        planes = image_planes(pic, "ToTensor")
        if planes.dtype == np.uint8:
            dtype: Any = default_dtype()
            return Tensor(np.divide(planes, dtype.type(255), dtype=dtype))
        if is_pil(pic):
            whole = planes.dtype != np.bool_
            return Tensor(planes.astype(planes.dtype if whole else default_dtype()))
        return Tensor(planes)


class ToPixels(Transform):
    """Makes a float32 tensor of shape (C, H, W) that keeps the values 0 to 255.

    Networks whose initial values were chosen for raw pixels (the paper's, the original program's,
    Caffe's) expect this scale; torchvision's recipe expects :class:`ToTensor`. Called with a PIL
    image, or with an array of shape (H, W) or (H, W, C).

    Returns
    -------
    Tensor, shape (C, H, W), float32
        ``255 * ToTensor()(picture)`` for 8-bit pictures, without rounding.

    Raises
    ------
    DataError
        The value is neither a PIL image nor an array.
    ShapeError
        The array has another number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.vision.transforms import ToPixels
    >>> ToPixels()(np.array([[[0, 51, 255]]], np.uint8)).tolist()
    [[[0.0]], [[51.0]], [[255.0]]]
    """

    def __call__(self, picture: Any) -> Tensor:
        planes = image_planes(picture, "ToPixels")
        pixels = planes.astype(np.float32)
        if planes.dtype == np.bool_:
            pixels *= np.float32(255)
        return Tensor(pixels)


class PILToTensor(Transform):
    """Makes a tensor of shape (C, H, W) from a PIL image, with its values and type (mostly uint8).

    Raises
    ------
    DataError
        The value is not a PIL image.

    Examples
    --------
    >>> from PIL import Image
    >>> from minidl.vision.transforms import PILToTensor
    >>> PILToTensor()(Image.new("RGB", (1, 1), (1, 2, 3))).tolist()
    [[[1]], [[2]], [[3]]]
    """

    def __call__(self, pic: Any) -> Tensor:
        if not is_pil(pic):
            raise SampleTypeError(f"PILToTensor: expected a PIL image, got {type(pic).__name__}")
        # A copy: Pillow may lend its own memory, read-only.
        return Tensor(image_planes(pic, "PILToTensor").copy(order="K"))


class ToPILImage(Transform):
    """Makes a PIL image from a tensor of shape (C, H, W) or (H, W), or an array (H, W, C).

    Parameters
    ----------
    mode : str, optional
        Pillow's mode. Default: by the number of channels L, LA, RGB or RGBA; for one channel of
        int16 or int32 numbers I;16 or I. Must be "F" if floats are to stay as they are.

    Raises
    ------
    DataError, DTypeError, ShapeError
        The value is neither, has other numbers, or has other than 1 to 4 channels.
    ArgumentError
        The mode does not fit the channels.

    Notes
    -----
    Floats are taken as 0 to 1 and multiplied by 255, without rounding.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import ToPILImage
    >>> ToPILImage()(minidl.ones(3, 2, 4)).size
    (4, 2)
    """

    _shown = ("mode",)

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        from PIL import Image

        if isinstance(pic, Tensor):
            pixels = pic.detach().cpu().array
            pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
        elif isinstance(pic, np.ndarray):
            pixels = pic
        else:
            raise SampleTypeError(
                f"ToPILImage: expected a tensor or a NumPy array, got {type(pic).__name__}"
            )
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
            raise ShapeError(
                f"ToPILImage: expected 1 to 4 channels in 2 or 3 axes, got {tuple(pic.shape)}"
            )
        if pixels.dtype.kind == "f" and self.mode != "F":
            pixels = (pixels * pixels.dtype.type(255)).astype(np.uint8)
        channels, kind = pixels.shape[2], str(pixels.dtype)
        known = {2: ["LA"], 3: ["RGB", "YCbCr", "HSV"], 4: ["RGBA", "CMYK", "RGBX"]}
        modes = {"uint8": known.get(channels, ["L"])}
        if channels == 1:
            modes |= {"int16": ["I;16"], "int32": ["I"], "float32": ["F"]}
        if kind not in modes:
            raise DTypeError(
                f"ToPILImage: expected {channels} channels of {' or '.join(modes)}, got {kind}"
            )
        mode = self.mode or modes[kind][0]
        if mode not in modes[kind]:
            raise ArgumentError(
                f"ToPILImage: mode must be {' or '.join(modes[kind])} for {channels} channels of "
                f"{kind}, got {mode!r}"
            )
        pixels = np.ascontiguousarray(pixels)
        return Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())


class ConvertImageDtype(Transform):
    """Converts a tensor to another dtype, and scales it so that white stays white.

    Parameters
    ----------
    dtype : dtype
        Floats have white at 1, integers at their greatest number.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import ConvertImageDtype
    >>> ConvertImageDtype(minidl.float32)(minidl.tensor([[[51]]], dtype=minidl.uint8)).tolist()
    [[[0.20000000298023224]]]
    """

    _shown = ("dtype",)

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        return convert_image_dtype(image, self.dtype)
