"""From Pillow images to tensors: ToTensor (0 to 1), ToPixels (0 to 255), PILToTensor (as is).

The tensor has the shape (C, H, W), but its memory keeps the picture's order (H, W, C), which the
layers prefer and which needs no transposing copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import Array
from ...errors import DataError, ShapeError
from ...tensor import Tensor
from ._image import is_pil, require_pil

__all__ = ["PILToTensor", "ToPixels", "ToTensor"]


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
        raise DataError(
            f"{who}: expected a PIL image or a NumPy array, got {type(picture).__name__}"
        )
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3:
        raise ShapeError(
            f"{who}: expected an array of shape (H, W) or (H, W, C), got {pixels.shape}"
        )
    return pixels.transpose(2, 0, 1)


class ToTensor:
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

    def __call__(self, picture: Any) -> Tensor:
        planes = image_planes(picture, "ToTensor")
        if planes.dtype == np.uint8:
            return Tensor(np.divide(planes, np.float32(255), dtype=np.float32))
        if is_pil(picture):
            return Tensor(planes.astype(np.float32 if planes.dtype == np.bool_ else planes.dtype))
        return Tensor(planes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ToPixels:
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PILToTensor:
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

    def __call__(self, picture: Any) -> Tensor:
        require_pil(picture, "PILToTensor")
        # A copy: Pillow may lend its own memory, read-only.
        return Tensor(image_planes(picture, "PILToTensor").copy(order="K"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
