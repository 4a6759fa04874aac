"""Windows as columns: how many there are, what they hold, and how often they hold it."""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake


def out_size(size, kernel, stride, padding, dilation):
    """Return how many windows fit along an axis.

    Parameters
    ----------
    size : int
        Length of the axis.
    kernel : int
        Number of entries of a window along the axis.
    stride : int
        Distance from the start of a window to that of the next.
    padding : int
        Zeros added before the axis, and again after it.
    dilation : int
        Distance between neighboring entries of a window; 1 if there is no gap.

    Returns
    -------
    int
        Windows that would reach beyond the padding are left out.
    """
    raise NotImplementedError


def im2col(x, kernel, stride, padding):
    """Return the windows of images as the columns of matrices.

    Parameters
    ----------
    x : array of shape (N, C, H, W)
    kernel, stride : int
        Size of the square windows, and the distance between them.
    padding : int
        Zeros added on each of the four sides.

    Returns
    -------
    array of shape (N, C * kernel * kernel, OH * OW)
        A column is a window: all of its channel 0 row by row, then channel 1, and so on. The
        windows are in reading order: the first row of windows from left to right, then the next.
    """
    raise NotImplementedError


def copies(height, width, kernel, stride):
    """Return in how many windows each pixel of an image is.

    Parameters
    ----------
    height, width : int
        The image's.
    kernel, stride : int
        Size of the square windows, and the distance between them. No padding; windows that would
        reach beyond the edge are left out.

    Returns
    -------
    array of shape (height, width), int
    """
    raise NotImplementedError


rng = np.random.default_rng(2006)


# The number of windows ----------------------------------------------------------------------------


def _by_unfold(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    x = minidl.zeros(1, 1, 1, size)
    return F.unfold(x, (1, kernel), (1, dilation), (0, padding), (1, stride)).shape[2]


OUT_SIZE = Exercise(
    out_size,
    _by_unfold,
    {
        "5 pixels, windows of 3 at stride 1": (5, 3, 1, 0, 1),
        "AlexNet's conv1: 227, windows of 11 at stride 4": (227, 11, 4, 0, 1),
        "the same on 224 pixels: one step does not fit": (224, 11, 4, 0, 1),
        "padding of 2": (27, 5, 1, 2, 1),
        "dilation of 2": (9, 3, 1, 0, 2),
        "windows of 1, dilation of 3": (8, 1, 2, 0, 3),
        "everything at once": (20, 3, 2, 1, 3),
    },
    (
        Mistake(
            "rounded up",
            lambda n, k, s, p, d: -(-(n + 2 * p - d * (k - 1) - 1) // s) + 1,
            "you count a window that begins on the image and ends beyond it: what is left over of "
            "the last step must not be rounded up",
        ),
        Mistake(
            "no + 1",
            lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s,
            "you count the steps between the windows: the first window needs no step",
        ),
        Mistake(
            "padding once",
            lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1,
            "the padding is on both sides",
        ),
        Mistake(
            "padding lost",
            lambda n, k, s, p, d: (n - d * (k - 1) - 1) // s + 1,
            "your answer does not depend on padding",
        ),
        Mistake(
            "dilation lost",
            lambda n, k, s, p, d: (n + 2 * p - k) // s + 1,
            "your answer does not depend on dilation: gaps make a window longer",
            "PaddlePaddle/Paddle#5242",
        ),
        Mistake(
            "dilation times kernel",
            lambda n, k, s, p, d: (n + 2 * p - d * k) // s + 1,
            "a window of k entries has fewer than k gaps; a window of 1 entry has none, however "
            "large the dilation",
            "NVIDIA/cutlass#3502",
        ),
        Mistake(
            "kernel times dilation - 1",
            lambda n, k, s, p, d: (n + 2 * p - k * (d - 1) - 1) // s + 1,
            "at a dilation of 1 your answer does not depend on kernel at all",
            "vlfeat/matconvnet#1010",
        ),
        Mistake(
            "a starting place for each stride",
            lambda n, k, s, p, d: -(-(n + 2 * p) // s),
            "you count where windows could start; the last ones have no room to end",
        ),
    ),
)

# The columns --------------------------------------------------------------------------------------


def _unfold(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    return F.unfold(minidl.tensor(x), kernel, padding=padding, stride=stride).numpy()


def _columns(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Return the library's columns as (N, C, KH, KW, OH, OW)."""
    high, wide = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])
    columns = _unfold(x, kernel, stride, padding)
    return columns.reshape(*x.shape[:2], kernel, kernel, high, wide)


def _arranged(*axes: int) -> Any:
    """Return an im2col whose axes (N, C, KH, KW, OH, OW) come in another order."""

    def im2col(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
        columns = _columns(x, kernel, stride, padding)
        size = len(x), x.shape[1] * kernel**2, -1
        return columns.transpose(axes).reshape(size)

    return im2col


def _windows_as_rows(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    return _unfold(x, kernel, stride, padding).swapaxes(1, 2)


def _reshaped_rows(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    columns = _unfold(x, kernel, stride, padding)
    return np.ascontiguousarray(columns.swapaxes(1, 2)).reshape(columns.shape)


def _padded_at_the_end(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    width = ((0, 0), (0, 0), (0, 2 * padding), (0, 2 * padding))
    return _unfold(np.pad(x, width), kernel, stride, 0)


def _padded_with_edges(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    width = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    return _unfold(np.pad(x, width, mode="edge"), kernel, stride, 0)


def _dense(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Step by 1, and keep as many windows as there should be."""
    high, wide = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])
    columns = _columns(x, kernel, 1, padding)[..., :high, :wide]
    return columns.reshape(len(x), -1, high * wide)


def _turned(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    columns = _columns(x, kernel, stride, padding)[:, :, ::-1, ::-1]
    return columns.reshape(len(x), x.shape[1] * kernel**2, -1)


IM2COL = Exercise(
    im2col,
    _unfold,
    {
        "one channel, 3×3 windows": (rng.standard_normal((1, 1, 5, 5)), 3, 1, 0),
        "2 images, 3 channels, wider than high": (rng.standard_normal((2, 3, 4, 5)), 2, 1, 0),
        "stride 2": (rng.standard_normal((1, 2, 6, 7)), 3, 2, 0),
        "padding of 1": (rng.standard_normal((1, 2, 4, 3)), 3, 1, 1),
        "windows of 1 pixel": (rng.standard_normal((1, 2, 3, 4)), 1, 1, 0),
        "padding of 2, stride 3": (rng.standard_normal((1, 1, 5, 6)), 3, 3, 2),
    },
    (
        Mistake(
            "channel last",
            _arranged(0, 2, 3, 1, 4, 5),
            "the entries of a column are in the wrong order: yours go through the channels of a "
            "pixel first, and one channel hides it",
        ),
        Mistake(
            "windows by column",
            _arranged(0, 1, 3, 2, 4, 5),
            "within a channel a window is read row by row; yours is read column by column",
        ),
        Mistake(
            "windows top to bottom",
            _arranged(0, 1, 2, 3, 5, 4),
            "the windows come in another order: the second one lies to the right of the first",
        ),
        Mistake(
            "windows as rows",
            _windows_as_rows,
            "your windows are the rows of the matrix; they are to be its columns",
        ),
        Mistake(
            "rows reshaped",
            _reshaped_rows,
            "the shape is right and the numbers are mixed: reshape keeps the order in memory, it "
            "does not exchange axes",
        ),
        Mistake(
            "padded at the end",
            _padded_at_the_end,
            "all the zeros are below and to the right; half of them belong above and to the left",
        ),
        Mistake(
            "edges repeated",
            _padded_with_edges,
            "the padding is zeros; yours repeats the pixels of the edge",
        ),
        Mistake(
            "stride of the windows ignored",
            _dense,
            "at stride 2, the second window begins two pixels further",
        ),
        Mistake(
            "turned by 180°",
            _turned,
            "each window is read backwards; a convolution in a network does not turn its window",
        ),
    ),
)

# The copies ---------------------------------------------------------------------------------------


def _folded_ones(height: int, width: int, kernel: int, stride: int) -> np.ndarray:
    x = minidl.ones(1, 1, height, width)
    folded = F.fold(F.unfold(x, kernel, stride=stride), (height, width), kernel, stride=stride)
    return folded.numpy()[0, 0].astype(int)


def _counted(along: Any) -> Any:
    """Return a count from that along one axis."""

    def copies(height: int, width: int, kernel: int, stride: int) -> np.ndarray:
        return np.outer(along(height, kernel, stride), along(width, kernel, stride))

    return copies


def _along(size: int, kernel: int, stride: int) -> np.ndarray:
    starts = np.arange(0, size - kernel + 1, stride)[:, None]
    return ((starts <= np.arange(size)) & (np.arange(size) < starts + kernel)).sum(0)


def _beyond(size: int, kernel: int, stride: int) -> np.ndarray:
    return _along(size + kernel, kernel, stride)[:size]


def _last_missed(size: int, kernel: int, stride: int) -> np.ndarray:
    starts = np.arange(0, size - kernel, stride)[:, None]
    return ((starts <= np.arange(size)) & (np.arange(size) < starts + kernel)).sum(0)


def _square_of_kernel(height: int, width: int, kernel: int, stride: int) -> np.ndarray:
    return np.full((height, width), kernel**2)


def _once(height: int, width: int, kernel: int, stride: int) -> np.ndarray:
    return (_folded_ones(height, width, kernel, stride) > 0).astype(int)


def _sum_of_both(height: int, width: int, kernel: int, stride: int) -> np.ndarray:
    return np.add.outer(_along(height, kernel, stride), _along(width, kernel, stride))


COPIES = Exercise(
    copies,
    _folded_ones,
    {
        "5×5 pixels, 3×3 windows at stride 1": (5, 5, 3, 1),
        "windows side by side": (4, 6, 2, 2),
        "AlexNet's pooling: 3×3 at stride 2": (7, 9, 3, 2),
        "an edge that no window reaches": (6, 8, 3, 2),
        "gaps between windows": (7, 7, 2, 3),
    },
    (
        Mistake(
            "kernel² everywhere",
            _square_of_kernel,
            "only pixels far from the edge are in so many windows, and only at stride 1",
        ),
        Mistake(
            "once",
            _once,
            "you mark the pixels that some window holds; the question is how many do",
        ),
        Mistake(
            "windows beyond the edge",
            _counted(_beyond),
            "near the right and lower edges you count windows that reach beyond the image",
        ),
        Mistake(
            "last window missed",
            _counted(_last_missed),
            "a window may end exactly at the edge: yours stop one short",
        ),
        Mistake(
            "rows plus columns",
            _sum_of_both,
            "a pixel that 2 rows of windows hold, and 3 columns, is in more than 5 windows",
        ),
        Mistake(
            "stride 1",
            lambda height, width, kernel, stride: _folded_ones(height, width, kernel, 1),
            "your counts do not depend on stride",
        ),
    ),
)

EXERCISES = (OUT_SIZE, IM2COL, COPIES)
