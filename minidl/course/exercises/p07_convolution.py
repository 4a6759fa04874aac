"""Convolution as it runs in networks, its gradients, and groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake
from .library import gradients


def conv(x, weight, stride, padding):
    """Return the convolution of images with filters, as networks compute it.

    Parameters
    ----------
    x : array of shape (N, C, H, W)
    weight : array of shape (O, C, K, K)
        Filter o has a K×K kernel for each channel.
    stride : int
        Distance between the windows of x.
    padding : int
        Zeros added on each of the four sides of x.

    Returns
    -------
    array of shape (N, O, OH, OW)
        Entry (n, o, i, j) is the sum of the window's numbers in all channels, each times the
        number at the same place of filter o. Windows that would reach beyond the padding are left
        out.
    """
    raise NotImplementedError


def col2im(columns, height, width, kernel, stride):
    """Return the gradient of im2col: add each number of the windows to its pixel.

    Parameters
    ----------
    columns : array of shape (N, C, kernel, kernel, OH, OW)
        Entry (n, c, a, b, i, j) belongs to row a and column b of window (i, j), whose upper left
        pixel is (i * stride, j * stride).
    height, width : int
        The images'. Pixels that are in no window get 0.
    kernel, stride : int

    Returns
    -------
    array of shape (N, C, height, width)
    """
    raise NotImplementedError


def conv_weight_backward(dy, x, kernel, stride):
    """Return the gradient of the loss with respect to the weight of a convolution.

    Parameters
    ----------
    dy : array of shape (N, O, OH, OW)
        The gradient with respect to the output.
    x : array of shape (N, C, H, W)
        The input; there is no padding.
    kernel, stride : int
        Size of the square kernels, and the distance between the windows.

    Returns
    -------
    array of shape (O, C, kernel, kernel)
    """
    raise NotImplementedError


def conv_input_backward(dy, weight, height, width, stride):
    """Return the gradient of the loss with respect to the input of a convolution.

    Parameters
    ----------
    dy : array of shape (N, O, OH, OW)
        The gradient with respect to the output.
    weight : array of shape (O, C, K, K)
    height, width : int
        The input's; there was no padding. Pixels that are in no window get 0.
    stride : int
        Distance between the windows.

    Returns
    -------
    array of shape (N, C, height, width)
    """
    raise NotImplementedError


def grouped_pointwise(x, weight, groups):
    """Return a convolution with 1×1 kernels whose channels are in groups.

    Parameters
    ----------
    x : array of shape (N, C, H, W)
        The first C / groups channels are group 0, the next ones group 1, and so on.
    weight : array of shape (O, C / groups, 1, 1)
        The first O / groups filters see group 0 alone, the next ones group 1, and so on.
    groups : int
        Divides C and O.

    Returns
    -------
    array of shape (N, O, H, W)
    """
    raise NotImplementedError


rng = np.random.default_rng(1980)


def normal(*shape: int) -> np.ndarray:
    """Return random numbers."""
    return rng.standard_normal(shape)


def views(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Return the windows of images, (N, C, OH, OW, K, K)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))
    return windows[:, :, ::stride, ::stride]


# Forward ------------------------------------------------------------------------------------------


def _conv(x: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    y = F.conv2d(minidl.tensor(x), minidl.tensor(weight), stride=stride, padding=padding)
    return y.numpy()


def _same_channels(x: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Use the first channel's kernel for all."""
    return _conv(x, np.repeat(weight[:, :1], weight.shape[1], 1), stride, padding)


def _first_channel(x: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return _conv(x[:, :1], weight[:, :1], stride, padding)


def _mean(x: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return _conv(x, weight, stride, padding) / weight[0].size


CONV = Exercise(
    conv,
    _conv,
    {
        "a symmetric kernel": (
            normal(1, 1, 5, 5),
            np.outer([1.0, 2, 1], [1.0, 2, 1])[None, None],
            1,
            0,
        ),
        "a kernel without symmetry": (normal(1, 1, 5, 5), normal(1, 1, 3, 3), 1, 0),
        "2 images, 3 channels, 4 filters": (normal(2, 3, 5, 6), normal(4, 3, 3, 3), 1, 0),
        "stride 2, an edge that no window reaches": (normal(1, 2, 6, 8), normal(2, 2, 3, 3), 2, 0),
        "padding of 1": (normal(1, 2, 4, 5), normal(3, 2, 3, 3), 1, 1),
        "padding of 2, stride 3": (normal(1, 1, 5, 6), normal(1, 1, 3, 3), 3, 2),
    },
    (
        Mistake(
            "kernel turned by 180°",
            lambda x, w, s, p: _conv(x, w[:, :, ::-1, ::-1].copy(), s, p),
            "that is the convolution of mathematics, which reads the kernel backwards; the number "
            "at the same place is wanted. A symmetric kernel hides the difference",
            "FluxML/NNlib.jl#208",
        ),
        Mistake(
            "kernel transposed",
            lambda x, w, s, p: _conv(x, w.swapaxes(2, 3).copy(), s, p),
            "rows and columns of the kernel are exchanged; a symmetric kernel hides it",
        ),
        Mistake(
            "one channel",
            _first_channel,
            "only the first channel counts in your sums",
        ),
        Mistake(
            "one kernel for all channels",
            _same_channels,
            "each channel has a kernel of its own; yours all use that of the first",
        ),
        Mistake(
            "padding lost",
            lambda x, w, s, p: _conv(x, w, s, 0),
            "your answer does not depend on padding",
        ),
        Mistake(
            "stride lost",
            lambda x, w, s, p: _conv(x, w, 1, p),
            "your answer does not depend on stride",
        ),
        Mistake(
            "mean",
            _mean,
            "you divide by the number of products: the sum is wanted",
        ),
    ),
)

# col2im -------------------------------------------------------------------------------------------


def _fold(columns: np.ndarray, height: int, width: int, kernel: int, stride: int) -> np.ndarray:
    flat = columns.reshape(len(columns), -1, columns.shape[4] * columns.shape[5])
    return F.fold(minidl.tensor(flat), (height, width), kernel, stride=stride).numpy()


def _scattered(
    add: bool = True, mean: bool = False, order: tuple[int, ...] = (0, 1, 2, 3, 4, 5), step: int = 0
) -> Callable[..., Any]:
    """Return a col2im that puts or adds window after window."""

    def col2im(
        columns: np.ndarray, height: int, width: int, kernel: int, stride: int
    ) -> np.ndarray:
        image = np.zeros((*columns.shape[:2], height, width))
        counts = np.zeros((height, width))
        turned = columns.transpose(order)
        for i, j in np.ndindex(columns.shape[4:]):
            top, left = i * (step or stride), j * (step or stride)
            place = slice(top, top + kernel), slice(left, left + kernel)
            before = image[:, :, *place] if add else 0
            image[:, :, *place] = before + turned[..., i, j]
            counts[place] += 1
        return image / np.maximum(counts, 1) if mean else image

    return col2im


def _folded(n: int, c: int, height: int, width: int, kernel: int, stride: int) -> tuple[Any, ...]:
    high, wide = ((side - kernel) // stride + 1 for side in (height, width))
    return normal(n, c, kernel, kernel, high, wide), height, width, kernel, stride


def _once_per_index(
    columns: np.ndarray, height: int, width: int, kernel: int, stride: int
) -> np.ndarray:
    """Within a row of windows the first one wins."""
    turned = np.ascontiguousarray(columns[..., ::-1, ::-1])
    image = np.zeros((*columns.shape[:2], height, width))
    for i, j in np.ndindex(columns.shape[4:]):
        i0, j0 = columns.shape[4] - 1 - i, columns.shape[5] - 1 - j
        rows = slice(i0 * stride, i0 * stride + kernel)
        image[:, :, rows, j0 * stride : j0 * stride + kernel] = turned[..., i, j]
    return image


COL2IM = Exercise(
    col2im,
    _fold,
    {
        "windows side by side": _folded(1, 1, 4, 4, 2, 2),
        "overlapping windows, 3×3 at stride 1": _folded(1, 1, 5, 5, 3, 1),
        "overlapping windows, 3×3 at stride 2": _folded(1, 2, 7, 9, 3, 2),
        "2 images, 3 channels": _folded(2, 3, 4, 5, 2, 1),
        "an edge that no window reaches": _folded(1, 1, 6, 8, 3, 2),
    },
    (
        Mistake(
            "overwrites",
            _scattered(add=False),
            "a pixel that several windows share keeps only the last one's number: windows side by "
            "side hide it",
            "oreilly-japan/deep-learning-from-scratch#27",
        ),
        Mistake(
            "the first stays",
            _once_per_index,
            "a pixel that several windows share keeps only the first one's number",
        ),
        Mistake(
            "mean",
            _scattered(mean=True),
            "you average what the windows send: this is a gradient, and a pixel that moves several "
            "windows moves the loss by all of them",
        ),
        Mistake(
            "kernel transposed",
            _scattered(order=(0, 1, 3, 2, 4, 5)),
            "rows and columns within a window are exchanged",
        ),
        Mistake(
            "windows at every pixel",
            _scattered(step=1),
            "your windows lie one pixel apart; they lie stride pixels apart",
            "enggen/Deep-Learning-Coursera#7",
        ),
        Mistake(
            "windows side by side",
            lambda columns, h, w, k, s: _clipped(columns, h, w, k),
            "your windows lie kernel pixels apart; they lie stride pixels apart, and may overlap",
        ),
    ),
)


def _clipped(columns: np.ndarray, height: int, width: int, kernel: int) -> np.ndarray:
    high, wide = columns.shape[4] * kernel, columns.shape[5] * kernel
    image = np.zeros((*columns.shape[:2], max(height, high), max(width, wide)))
    tiles = columns.transpose(0, 1, 4, 2, 5, 3)
    image[:, :, :high, :wide] = tiles.reshape(*columns.shape[:2], high, wide)
    return image[:, :, :height, :width]


# The weight's gradient ----------------------------------------------------------------------------


def _weight_gradient(dy: np.ndarray, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    weight = np.zeros((dy.shape[1], x.shape[1], kernel, kernel))
    return gradients(lambda w: F.conv2d(minidl.tensor(x), w, stride=stride), dy, weight)[0]


def _layer(n: int, c: int, o: int, h: int, w: int, k: int, s: int) -> tuple[Any, ...]:
    """Return dy, x, kernel and stride."""
    sizes = ((side - k) // s + 1 for side in (h, w))
    return normal(n, o, *sizes), normal(n, c, h, w), k, s


def _first_positions(dy: np.ndarray, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Let stride be 1 in the windows of x."""
    seen = views(x, kernel, 1)[:, :, : dy.shape[2], : dy.shape[3]]
    return np.einsum("noij,ncijab->ocab", dy, seen)


WEIGHT = Exercise(
    conv_weight_backward,
    _weight_gradient,
    {
        "one channel, one filter": _layer(1, 1, 1, 5, 5, 3, 1),
        "2 images": _layer(2, 1, 1, 4, 5, 3, 1),
        "as many filters as channels": _layer(1, 3, 3, 5, 5, 2, 1),
        "2 images, 3 channels, 4 filters": _layer(2, 3, 4, 5, 6, 3, 1),
        "stride 2, an edge that no window reaches": _layer(1, 2, 2, 6, 8, 3, 2),
    },
    (
        Mistake(
            "turned by 180°",
            lambda dy, x, k, s: _weight_gradient(dy, x, k, s)[:, :, ::-1, ::-1],
            "each kernel of your answer is read backwards: the number at (a, b) of the kernel met "
            "the pixels at (a, b) of the windows",
            "nntrainer/nntrainer#705",
        ),
        Mistake(
            "kernel transposed",
            lambda dy, x, k, s: _weight_gradient(dy, x, k, s).swapaxes(2, 3),
            "rows and columns of each kernel are exchanged",
        ),
        Mistake(
            "filters and channels exchanged",
            lambda dy, x, k, s: _weight_gradient(dy, x, k, s).swapaxes(0, 1),
            "the first axis belongs to the filters, the second to the channels; with as many of "
            "one as of the other the shape does not tell",
        ),
        Mistake(
            "one image",
            lambda dy, x, k, s: _weight_gradient(dy[:1], x[:1], k, s),
            "all images use the same weight; only the first one's part is in your answer",
        ),
        Mistake(
            "mean over the batch",
            lambda dy, x, k, s: _weight_gradient(dy, x, k, s) / len(x),
            "you divide by the size of the batch; if the loss is a mean, dy already has that "
            "factor",
        ),
        Mistake(
            "mean over the places",
            lambda dy, x, k, s: _weight_gradient(dy, x, k, s) / dy[:, 0].size,
            "you divide by the number of windows; the kernel was used in each of them, and its "
            "gradients add up",
            "sebgao/cTensor#3",
        ),
        Mistake(
            "stride lost",
            _first_positions,
            "right at stride 1; otherwise dy[i, j] meets the wrong window: where does window "
            "(i, j) begin?",
            "Kulbear/deep-learning-coursera#34",
        ),
        Mistake(
            "ignores dy",
            lambda dy, x, k, s: _weight_gradient(np.ones_like(dy), x, k, s),
            "your answer does not depend on dy",
        ),
    ),
)

# The input's gradient -----------------------------------------------------------------------------


def _input_gradient(
    dy: np.ndarray, weight: np.ndarray, height: int, width: int, stride: int
) -> np.ndarray:
    x = np.zeros((len(dy), weight.shape[1], height, width))
    return gradients(lambda x: F.conv2d(x, minidl.tensor(weight), stride=stride), dy, x)[0]


def _back(n: int, c: int, o: int, h: int, w: int, k: int, s: int) -> tuple[Any, ...]:
    """Return dy, weight, height, width and stride."""
    sizes = ((side - k) // s + 1 for side in (h, w))
    return normal(n, o, *sizes), normal(o, c, k, k), h, w, s


def _overwritten(
    dy: np.ndarray, weight: np.ndarray, height: int, width: int, stride: int
) -> np.ndarray:
    columns = np.einsum("noij,ocab->ncabij", dy, weight)
    return _scattered(add=False)(columns, height, width, weight.shape[2], stride)


def _every_pixel(
    dy: np.ndarray, weight: np.ndarray, height: int, width: int, stride: int
) -> np.ndarray:
    columns = np.einsum("noij,ocab->ncabij", dy, weight)
    return _scattered(step=1)(columns, height, width, weight.shape[2], stride)


def _turned(axes: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Any]:
    return lambda dy, w, h, width, s: _input_gradient(dy, axes(w).copy(), h, width, s)


INPUT = Exercise(
    conv_input_backward,
    _input_gradient,
    {
        "a symmetric kernel": (normal(1, 1, 3, 3), np.ones((1, 1, 3, 3)), 5, 5, 1),
        "a kernel without symmetry": _back(1, 1, 1, 5, 5, 3, 1),
        "as many filters as channels": _back(1, 2, 2, 5, 6, 3, 1),
        "2 images, 3 channels, 4 filters": _back(2, 3, 4, 5, 6, 3, 1),
        "windows side by side": _back(1, 2, 3, 6, 4, 2, 2),
        "stride 2, an edge that no window reaches": _back(1, 2, 3, 6, 8, 3, 2),
    },
    (
        Mistake(
            "the kernel is turned once too often",
            _turned(lambda w: w[:, :, ::-1, ::-1]),
            "the pixel at (a, b) of a window was multiplied by the kernel's number at (a, b): "
            "yours comes back with the opposite one. Whoever scatters reads the kernel "
            "as it is, whoever slides a window over dy reads it backwards; a symmetric kernel "
            "hides it",
            "nntrainer/nntrainer#705",
        ),
        Mistake(
            "kernel turned by 90°",
            _turned(lambda w: np.rot90(w, 1, (2, 3))),
            "your kernel is turned by a quarter; half a turn exchanges first and last, in rows and "
            "in columns",
        ),
        Mistake(
            "kernel transposed",
            _turned(lambda w: w.swapaxes(2, 3)),
            "rows and columns of the kernels are exchanged",
        ),
        Mistake(
            "overwrites",
            _overwritten,
            "right where windows lie side by side; where they overlap, a pixel collects from each "
            "window that it is in",
        ),
        Mistake(
            "stride lost",
            _every_pixel,
            "right at stride 1; otherwise your windows lie too close together",
            "enggen/Deep-Learning-Coursera#7",
        ),
        Mistake(
            "one filter",
            lambda dy, w, h, width, s: _input_gradient(dy[:, :1], w[:1], h, width, s),
            "every filter read this input; only the first one's gradient is in your answer",
        ),
        Mistake(
            "channels alike",
            _turned(lambda w: np.repeat(w.mean(1, keepdims=True), w.shape[1], 1)),
            "all channels get the same gradient: each was multiplied by a kernel of its own",
        ),
    ),
)

# Groups -------------------------------------------------------------------------------------------


def _grouped(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    return F.conv2d(minidl.tensor(x), minidl.tensor(weight), groups=groups).numpy()


def _interleaved(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    """Deal the channels out to the groups in turn."""
    order = np.concatenate([np.arange(g, x.shape[1], groups) for g in range(groups)])
    return _grouped(x[:, order].copy(), weight, groups)


def _filters_interleaved(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    order = np.concatenate([np.arange(g, len(weight), groups) for g in range(groups)])
    y = np.empty((len(x), len(weight), *x.shape[2:]))
    y[:, order] = _grouped(x, weight[order].copy(), groups)
    return y


def _first_group(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    return _grouped(x[:, : x.shape[1] // groups].copy(), weight, 1)


def _all_channels(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    return _grouped(x, np.tile(weight, (1, groups, 1, 1)), 1)


def _reversed(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    parts = np.split(x, groups, axis=1)[::-1]
    return _grouped(np.concatenate(parts, 1), weight, groups)


GROUPED = Exercise(
    grouped_pointwise,
    _grouped,
    {
        "1 group": (normal(1, 2, 2, 3), normal(3, 2, 1, 1), 1),
        "2 groups, 4 channels, 6 filters": (normal(2, 4, 2, 3), normal(6, 2, 1, 1), 2),
        "3 groups, 6 channels, 6 filters": (normal(1, 6, 2, 2), normal(6, 2, 1, 1), 3),
        "as many groups as channels": (normal(1, 3, 2, 2), normal(6, 1, 1, 1), 3),
    },
    (
        Mistake(
            "channels dealt out in turn",
            _interleaved,
            "group 0 has the first channels, next to each other; yours has every second or third",
        ),
        Mistake(
            "filters dealt out in turn",
            _filters_interleaved,
            "the filters of a group are next to each other; you give group g the filters g, "
            "g + groups, ...",
        ),
        Mistake(
            "always the first group",
            _first_group,
            "all of your filters see the first group's channels",
        ),
        Mistake(
            "all groups",
            _all_channels,
            "your filters see all channels, with the same weights again for each group",
        ),
        Mistake(
            "groups in reverse",
            _reversed,
            "the first filters see the last group's channels",
        ),
    ),
)

EXERCISES = (CONV, COL2IM, WEIGHT, INPUT, GROUPED)
