"""Bytes of pictures to a network's input, in one launch of ``raw_to_input.cu``."""

from __future__ import annotations

import numpy as np

from ...device import Array, cupy
from .launch import Source
from .memory import channel_major, empty_image

_RAW_TO_INPUT = Source("raw_to_input.cu")


def raw_to_input(
    pixels: Array, place: Array, shift: Array, mean: Array, std: Array, white: float, h: int, w: int
) -> Array:
    """Return crops (N, C, h, w), memory (C, N, h, w); see ``vision/transforms/raw.py``."""
    n, height, width, channels = pixels.shape
    out = empty_image(n, channels, h, w, np.float32)
    _RAW_TO_INPUT.launch(
        "raw_to_input", np.float32, out.size, cupy().ascontiguousarray(pixels), place, shift, mean,
        std, channel_major(out), white, mean.ndim > 1, n, channels, height, width, h, w,
        grid=n * h, block=min(-(-w // 32) * 32, 256),
    )  # fmt: skip
    return out
