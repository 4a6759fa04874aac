"""Pixel shuffle: r² channels become blocks of r × r pixels, and back.

    y[n, c, h·r + i, w·r + j] = x[n, c·r² + i·r + j, h, w]

A convolution before it computes r² pixels at each place of the small image, which is cheaper than a
convolution on the large one.

Backward. Every number moves to one place: the gradient moves back.

Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network", CVPR 2016.
"""

from __future__ import annotations

from ..errors import ShapeError
from ..ops.shape import own
from ..tensor import Tensor
from .module import Module

__all__ = ["PixelShuffle", "PixelUnshuffle", "pixel_shuffle", "pixel_unshuffle"]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Make pixels of channels.

    Parameters
    ----------
    input : Tensor, shape (..., C·r², H, W)
    upscale_factor : int
        r.

    Returns
    -------
    Tensor, shape (..., C, H·r, W·r)

    Raises
    ------
    ShapeError
        `input` has fewer than three axes, or r² does not divide its channels.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.pixel_shuffle(minidl.arange(4).reshape(1, 4, 1, 1), 2)
    tensor([[[[0, 1],
              [2, 3]]]])
    """
    r = upscale_factor
    if input.ndim < 3 or r < 1 or input.array.shape[-3] % (r * r):
        raise ShapeError(
            f"pixel_shuffle: expected input of shape (..., C·{r}², H, W), got {input.shape}"
        )
    *batch, channels, height, width = input.array.shape
    blocks = input.reshape(-1, channels // (r * r), r, r, height, width)  # (N, C, i, j, H, W)
    rows = blocks.permute(0, 1, 4, 2, 5, 3)  # (N, C, H, i, W, j)
    return own(rows.reshape(*batch, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Make channels of pixels: the inverse of :func:`pixel_shuffle`.

    Parameters
    ----------
    input : Tensor, shape (..., C, H·r, W·r)
    downscale_factor : int
        r.

    Returns
    -------
    Tensor, shape (..., C·r², H, W)

    Raises
    ------
    ShapeError
        `input` has fewer than three axes, or r does not divide its height and width.
    """
    r = downscale_factor
    if input.ndim < 3 or r < 1 or input.array.shape[-2] % r or input.array.shape[-1] % r:
        raise ShapeError(
            f"pixel_unshuffle: expected input of shape (..., C, H·{r}, W·{r}), got {input.shape}"
        )
    *batch, channels, height, width = input.array.shape
    rows = input.reshape(-1, channels, height // r, r, width // r, r)  # (N, C, H, i, W, j)
    blocks = rows.permute(0, 1, 3, 5, 2, 4)  # (N, C, i, j, H, W)
    return own(blocks.reshape(*batch, channels * r * r, height // r, width // r))


class PixelShuffle(Module):
    """Pixels of channels: see :func:`pixel_shuffle`.

    Parameters
    ----------
    upscale_factor : int
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return the larger image."""
        return pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Channels of pixels: see :func:`pixel_unshuffle`.

    Parameters
    ----------
    downscale_factor : int
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return the smaller image."""
        return pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
