"""Bytes of pictures to a network's input: whole rows of a crop at a time, pictures on all lanes."""

from __future__ import annotations

import numpy as np

from ...device import Array
from .lanes import parallel, split
from .memory import empty, scratch


def raw_to_input(
    pixels: Array, place: Array, shift: Array, mean: Array, std: Array, white: float, h: int, w: int
) -> Array:
    """Return crops (N, C, h, w), memory (N, h, w, C); see ``vision/transforms/raw.py``."""
    n, height, width, channels = pixels.shape
    out = empty((n, h, w, channels), np.dtype(np.float32))
    # Written out for a row of the crop: NumPy then works along W·C numbers at a time, not along C.
    mean_row = np.tile(mean, (1, w, 1)) if mean.ndim == 1 else None
    std_row = np.tile(std, (1, w, 1)) if (std != 1).any() else None

    def picture(number: int) -> None:
        top, left, mirrored = place[number].tolist()
        rows = slice(max(top, 0), max(min(top + h, height), 0))
        columns = slice(max(left, 0), max(min(left + w, width), 0))
        source = pixels[number, rows, columns]
        offset = columns.start - left
        if mirrored:
            turned = scratch("turned", source.shape, source.dtype)
            for channel in range(channels):  # long runs, where NumPy would copy three by three
                turned[..., channel] = source[:, ::-1, channel]
            source = turned
            offset = left + w - columns.stop
        if source.shape[:2] != (h, w):
            out[number] = 0
        above, (height_here, width_here) = rows.start - top, source.shape[:2]
        target = out[number, above : above + height_here, offset : offset + width_here]
        np.divide(source, np.float32(white), out=target, dtype=np.float32)
        if shift[number].any():
            target += np.tile(shift[number], (1, width_here, 1))
        if mean_row is not None:
            target -= mean_row[:, :width_here]
        else:
            target -= mean[above : above + height_here, offset : offset + width_here]
        if std_row is not None:
            target /= std_row[:, :width_here]

    def lane(pictures: slice) -> None:
        for number in range(pictures.start, pictures.stop):
            picture(number)

    parallel(lane, split(n))
    return out.transpose(0, 3, 1, 2)
