"""The definition of every layer as loops in float64.

Nothing here is fast, and nothing is shared with the library: no strides, no columns, no tricks that
could contain the same mistake twice. Loops visit a window position by position, and scatter a
gradient term by term to every input that the forward read.

Functions take and return NumPy arrays. Those named ``*_backward`` take the gradient of the output
first, and return the gradients of the inputs. Letters in shapes: N batch, C channels, H and W
height and width of the input, OH and OW of the output, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Pair: TypeAlias = "int | tuple[int, int]"


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def double(*arrays: Any) -> Any:
    converted = tuple(None if a is None else np.array(a, dtype=np.float64) for a in arrays)
    return converted if len(converted) > 1 else converted[0]


# ---- convolution ----


def conv_padding(
    padding: Any, kernel: tuple[int, int], dilation: tuple[int, int]
) -> list[list[int]]:
    """[[top, bottom], [left, right]] of a padding argument, including "valid" and "same"."""
    if padding == "valid":
        return [[0, 0], [0, 0]]
    if padding == "same":
        totals = [dilation[i] * (kernel[i] - 1) for i in (0, 1)]
        return [[total // 2, total - total // 2] for total in totals]
    return [[p, p] for p in pair(padding)]


def conv_output_size(
    size: int, pads: list[int], kernel: int, stride: int, dilation: int, ceil_mode: bool = False
) -> int:
    room = size + pads[0] + pads[1] - dilation * (kernel - 1) - 1
    return (math.ceil(room / stride) if ceil_mode else room // stride) + 1


def _conv_terms(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    ceil_mode: bool,
) -> tuple[tuple[int, int], Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]]:
    """The output's size, and every term of the sum: (output index, weight index, input index)."""
    (n, _, h, w), (out_channels, per_group, kh, kw) = x_shape, w_shape
    stride, dilation = pair(stride), pair(dilation)
    pads = conv_padding(padding, (kh, kw), dilation)
    oh = conv_output_size(h, pads[0], kh, stride[0], dilation[0], ceil_mode)
    ow = conv_output_size(w, pads[1], kw, stride[1], dilation[1], ceil_mode)

    def terms() -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
        for y, x, i, j in product(range(oh), range(ow), range(kh), range(kw)):
            row = y * stride[0] - pads[0][0] + i * dilation[0]
            column = x * stride[1] - pads[1][0] + j * dilation[1]
            if not (0 <= row < h and 0 <= column < w):
                continue  # padding, or the overhang of ceil_mode: reads zero
            for image, o, c in product(range(n), range(out_channels), range(per_group)):
                channel = o // (out_channels // groups) * per_group + c
                yield (image, o, y, x), (o, c, i, j), (image, channel, row, column)

    return (oh, ow), terms()


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    ceil_mode: bool = False,
) -> Array:
    """x (N, C, H, W), weight (O, C/G, KH, KW), bias (O,) -> (N, O, OH, OW)."""
    x, weight, bias = double(x, weight, bias)
    size, terms = _conv_terms(x.shape, weight.shape, stride, padding, dilation, groups, ceil_mode)
    out = np.zeros((x.shape[0], weight.shape[0], *size))
    for at_out, at_weight, at_x in terms:
        out[at_out] += weight[at_weight] * x[at_x]
    return out if bias is None else out + bias[:, None, None]


def conv2d_backward(
    grad: Any,
    x: Any,
    weight: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array, Array]:
    """The gradients of the input, the weight and the bias."""
    grad, x, weight = double(grad, x, weight)
    dx, dw = np.zeros(x.shape), np.zeros(weight.shape)
    _, terms = _conv_terms(x.shape, weight.shape, stride, padding, dilation, groups, ceil_mode)
    for at_out, at_weight, at_x in terms:
        dx[at_x] += weight[at_weight] * grad[at_out]
        dw[at_weight] += x[at_x] * grad[at_out]
    return dx, dw, grad.sum(axis=(0, 2, 3))


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """x (N, C, H, W), weight (C, O/G, KH, KW), bias (O,) -> (N, O, OH, OW)."""
    x, weight, bias = double(x, weight, bias)
    (n, channels, h, w), (_, per_group, kh, kw) = x.shape, weight.shape
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    more = pair(output_padding)
    height = (h - 1) * sh - 2 * ph + dh * (kh - 1) + more[0] + 1
    width = (w - 1) * sw - 2 * pw + dw * (kw - 1) + more[1] + 1
    out = np.zeros((n, groups * per_group, height, width))
    for c, o, y, z in product(range(channels), range(per_group), range(h), range(w)):
        to = c // (channels // groups) * per_group + o
        for i, j in product(range(kh), range(kw)):
            row, column = y * sh - ph + i * dh, z * sw - pw + j * dw
            if 0 <= row < height and 0 <= column < width:
                out[:, to, row, column] += x[:, c, y, z] * weight[c, o, i, j]
    return out if bias is None else out + bias[:, None, None]


def locally_connected2d(
    x: Any, weight: Any, bias: Any, kernel_size: Any, stride: Any = 1, padding: Any = 0
) -> Array:
    """x (N, C, H, W), weight (OH·OW, O, C·KH·KW), bias (O, OH, OW) or None -> (N, O, OH, OW)."""
    x, weight, bias = double(x, weight, bias)
    out, _, _, _ = _locally_connected(None, x, weight, kernel_size, stride, padding)
    return out if bias is None else out + bias


def locally_connected2d_backward(
    grad: Any, x: Any, weight: Any, kernel_size: Any, stride: Any = 1, padding: Any = 0
) -> tuple[Array, Array, Array]:
    """The gradients of the input, the weight and the bias."""
    grad, x, weight = double(grad, x, weight)
    _, dx, dw, db = _locally_connected(grad, x, weight, kernel_size, stride, padding)
    return dx, dw, db


def _locally_connected(
    grad: Array | None, x: Array, weight: Array, kernel_size: Any, stride: Any, padding: Any
) -> tuple[Array, Array, Array, Array]:
    (n, channels, h, w), out_channels = x.shape, weight.shape[1]
    (kh, kw), (sh, sw), (ph, pw) = pair(kernel_size), pair(stride), pair(padding)
    oh, ow = (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1
    out = np.zeros((n, out_channels, oh, ow))
    dx, dw = np.zeros(x.shape), np.zeros(weight.shape)
    for y, z, c, i, j in product(range(oh), range(ow), range(channels), range(kh), range(kw)):
        row, column = y * sh - ph + i, z * sw - pw + j
        if not (0 <= row < h and 0 <= column < w):
            continue
        position, k = y * ow + z, (c * kh + i) * kw + j
        for image, o in product(range(n), range(out_channels)):
            out[image, o, y, z] += weight[position, o, k] * x[image, c, row, column]
            if grad is not None:
                dx[image, c, row, column] += weight[position, o, k] * grad[image, o, y, z]
                dw[position, o, k] += x[image, c, row, column] * grad[image, o, y, z]
    db = np.zeros((out_channels, oh, ow)) if grad is None else grad.sum(axis=0)
    return out, dx, dw, db


# ---- unfold and fold ----


def _column_terms(
    shape: tuple[int, ...], kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[tuple[int, int, int], list[tuple[int, int, tuple[int, int, int]]]]:
    """(C·KH·KW, OH, OW), and each (row, column) of the matrix with its pixel (c, y, x)."""
    _, channels, h, w = shape
    (kh, kw), (dh, dw) = pair(kernel_size), pair(dilation)
    (ph, pw), (sh, sw) = pair(padding), pair(stride)
    oh = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    ow = (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    terms = []
    for c, i, j, y, x in product(range(channels), range(kh), range(kw), range(oh), range(ow)):
        row, column = y * sh - ph + i * dh, x * sw - pw + j * dw
        if 0 <= row < h and 0 <= column < w:
            terms.append(((c * kh + i) * kw + j, y * ow + x, (c, row, column)))
    return (channels * kh * kw, oh, ow), terms


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    """x (N, C, H, W) -> (N, C·KH·KW, OH·OW)."""
    x = double(x)
    (k, oh, ow), terms = _column_terms(x.shape, kernel_size, dilation, padding, stride)
    columns = np.zeros((x.shape[0], k, oh * ow))
    for row, column, (c, y, z) in terms:
        columns[:, row, column] = x[:, c, y, z]
    return columns


def fold(
    columns: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Array:
    """columns (N, C·KH·KW, OH·OW) -> (N, C, H, W): values of the same pixel are added."""
    columns = double(columns)
    (h, w), (kh, kw) = pair(output_size), pair(kernel_size)
    channels = columns.shape[1] // (kh * kw)
    x = np.zeros((columns.shape[0], channels, h, w))
    _, terms = _column_terms(x.shape, kernel_size, dilation, padding, stride)
    for row, column, (c, y, z) in terms:
        x[:, c, y, z] += columns[:, row, column]
    return x


# ---- pooling ----


def pool_output_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """PyTorch's rule: with ceil_mode no window may begin beyond the image and its left padding."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = math.ceil(room / stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    """The maxima, and their indices y·W + x: the first in row-major order if several are equal."""
    x = double(x)
    n, channels, h, w = x.shape
    (kh, kw), (ph, pw), (dh, dw) = pair(kernel_size), pair(padding), pair(dilation)
    sh, sw = (kh, kw) if stride is None else pair(stride)
    oh = pool_output_size(h, kh, sh, ph, dh, ceil_mode)
    ow = pool_output_size(w, kw, sw, pw, dw, ceil_mode)
    out = np.full((n, channels, oh, ow), -np.inf)
    indices = np.full((n, channels, oh, ow), -1, dtype=np.int64)
    for image, c, y, z, i, j in product(*map(range, (n, channels, oh, ow, kh, kw))):
        row, column = y * sh - ph + i * dh, z * sw - pw + j * dw
        if not (0 <= row < h and 0 <= column < w):
            continue
        value = x[image, c, row, column]
        first = indices[image, c, y, z] < 0
        if first or value > out[image, c, y, z] or math.isnan(value):
            out[image, c, y, z] = value
            indices[image, c, y, z] = row * w + column
    return out, indices


def max_pool2d_backward(grad: Any, indices: Array, x_shape: tuple[int, ...]) -> Array:
    """The gradients of windows that share a maximum are added."""
    grad = double(grad)
    dx = np.zeros(x_shape)
    for image, c, y, z in np.ndindex(*grad.shape):
        row, column = divmod(int(indices[image, c, y, z]), x_shape[3])
        dx[image, c, row, column] += grad[image, c, y, z]
    return dx


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    x = double(x)
    out, _ = _avg_pool(
        x, None, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return out


def avg_pool2d_backward(
    grad: Any,
    x_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    _, dx = _avg_pool(
        np.zeros(x_shape),
        double(grad),
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )
    return dx


def _avg_pool(
    x: Array,
    grad: Array | None,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[Array, Array]:
    n, channels, h, w = x.shape
    (kh, kw), (ph, pw) = pair(kernel_size), pair(padding)
    sh, sw = (kh, kw) if stride is None else pair(stride)
    oh = pool_output_size(h, kh, sh, ph, 1, ceil_mode)
    ow = pool_output_size(w, kw, sw, pw, 1, ceil_mode)
    out, dx = np.zeros((n, channels, oh, ow)), np.zeros(x.shape)
    for y, z in product(range(oh), range(ow)):
        # The window in padded coordinates ends with the padding: an overhang does not count.
        rows = range(y * sh - ph, min(y * sh - ph + kh, h + ph))
        columns = range(z * sw - pw, min(z * sw - pw + kw, w + pw))
        inside = [(r, c) for r in rows for c in columns if 0 <= r < h and 0 <= c < w]
        if divisor_override is not None:
            divisor = divisor_override
        else:
            divisor = len(rows) * len(columns) if count_include_pad else len(inside)
        for row, column in inside:
            out[:, :, y, z] += x[:, :, row, column] / divisor
            if grad is not None:
                dx[:, :, row, column] += grad[:, :, y, z] / divisor
    return out, dx


def adaptive_windows(size: int, count: int) -> list[range]:
    """Window i covers floor(i·size/count) up to, but not including, ceil((i+1)·size/count)."""
    return [range(i * size // count, -((-(i + 1) * size) // count)) for i in range(count)]


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Array:
    x = double(x)
    oh, ow = pair(output_size)
    out = np.zeros((*x.shape[:2], oh, ow))
    for y, rows in enumerate(adaptive_windows(x.shape[2], oh)):
        for z, columns in enumerate(adaptive_windows(x.shape[3], ow)):
            for row, column in product(rows, columns):
                out[:, :, y, z] += x[:, :, row, column] / (len(rows) * len(columns))
    return out


def adaptive_avg_pool2d_backward(grad: Any, x_shape: tuple[int, ...]) -> Array:
    grad = double(grad)
    dx = np.zeros(x_shape)
    for y, rows in enumerate(adaptive_windows(x_shape[2], grad.shape[2])):
        for z, columns in enumerate(adaptive_windows(x_shape[3], grad.shape[3])):
            for row, column in product(rows, columns):
                dx[:, :, row, column] += grad[:, :, y, z] / (len(rows) * len(columns))
    return dx


# ---- normalization ----


def lrn_window(channel: int, channels: int, size: int, groups: int) -> range:
    """Channels that normalize `channel`: size//2 before to (size−1)//2 after, within its group."""
    per_group = channels // groups
    start = channel // per_group * per_group
    first = max(start, channel - size // 2)
    last = min(start + per_group - 1, channel + (size - 1) // 2)
    return range(first, last + 1)


def local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, groups: int = 1
) -> Array:
    """x (N, C, ...): b_i = a_i / (k + alpha/size · Σ a_j²)^beta over the window of i."""
    x = double(x)
    out = np.zeros(x.shape)
    channels = x.shape[1]
    for n, i in product(range(x.shape[0]), range(channels)):
        for where in np.ndindex(*x.shape[2:]):
            total = sum(x[(n, j, *where)] ** 2 for j in lrn_window(i, channels, size, groups))
            out[(n, i, *where)] = x[(n, i, *where)] * (k + alpha / size * total) ** -beta
    return out


def local_response_norm_backward(
    grad: Any,
    x: Any,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    groups: int = 1,
) -> Array:
    """Σ_i g_i · ∂b_i/∂a_j, with each ∂b_i/∂a_j from the quotient rule."""
    grad, x = double(grad, x)
    dx = np.zeros(x.shape)
    channels = x.shape[1]
    for n, i in product(range(x.shape[0]), range(channels)):
        window = lrn_window(i, channels, size, groups)
        for where in np.ndindex(*x.shape[2:]):
            a_i, g = x[(n, i, *where)], grad[(n, i, *where)]
            s = k + alpha / size * sum(x[(n, j, *where)] ** 2 for j in window)
            dx[(n, i, *where)] += g * s**-beta
            for j in window:
                slope_of_s = 2 * alpha / size * x[(n, j, *where)]
                dx[(n, j, *where)] += g * a_i * -beta * s ** (-beta - 1) * slope_of_s
    return dx


def spatial_window(position: int, length: int, size: int) -> range:
    """Rows (or columns) from position − size//2 on, `size` of them, clipped to the map."""
    first = position - size // 2
    return range(max(first, 0), min(first + size, length))


def spatial_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """x (N, C, H, W): divided by (k + alpha/size² · Σ of squares in a size×size window)^beta."""
    x = double(x)
    out = np.zeros(x.shape)
    for n, c, y, z in np.ndindex(*x.shape):
        rows, columns = spatial_window(y, x.shape[2], size), spatial_window(z, x.shape[3], size)
        total = sum(x[n, c, r, q] ** 2 for r in rows for q in columns)
        out[n, c, y, z] = x[n, c, y, z] * (k + alpha / size**2 * total) ** -beta
    return out


def spatial_response_norm_backward(
    grad: Any, x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    grad, x = double(grad, x)
    dx = np.zeros(x.shape)
    for n, c, y, z in np.ndindex(*x.shape):
        rows, columns = spatial_window(y, x.shape[2], size), spatial_window(z, x.shape[3], size)
        s = k + alpha / size**2 * sum(x[n, c, r, q] ** 2 for r in rows for q in columns)
        g = grad[n, c, y, z]
        dx[n, c, y, z] += g * s**-beta
        for r, q in product(rows, columns):
            slope_of_s = 2 * alpha / size**2 * x[n, c, r, q]
            dx[n, c, r, q] += g * x[n, c, y, z] * -beta * s ** (-beta - 1) * slope_of_s
    return dx


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Array | None, Array | None]:
    """The output and the new running mean and variance; x is (N, C) or (N, C, ...)."""
    x, weight, bias = double(x, weight, bias)
    running_mean, running_var = double(running_mean, running_var)
    out = np.zeros(x.shape)
    for c in range(x.shape[1]):
        values = [float(v) for v in x[:, c].ravel()]
        if training:
            mean = sum(values) / len(values)
            squares = sum((v - mean) ** 2 for v in values)
            var = squares / len(values)  # biased: normalizes the batch
            if running_mean is not None:
                running_mean[c] += momentum * (mean - running_mean[c])
                unbiased = squares / (len(values) - 1)  # for the running variance
                running_var[c] += momentum * (unbiased - running_var[c])
        else:
            mean, var = float(running_mean[c]), float(running_var[c])
        out[:, c] = (x[:, c] - mean) / math.sqrt(var + eps)
        if weight is not None:
            out[:, c] *= weight[c]
        if bias is not None:
            out[:, c] += bias[c]
    return out, running_mean, running_var


def group_norm(
    x: Any, weight: Any = None, bias: Any = None, num_groups: int = 1, eps: float = 1e-5
) -> Array:
    """x is (N, C, ...): each group of channels of each image gets mean 0 and variance 1."""
    x, weight, bias = double(x, weight, bias)
    out, per_group = np.zeros(x.shape), x.shape[1] // num_groups
    for n, group in product(range(x.shape[0]), range(num_groups)):
        channels = slice(group * per_group, (group + 1) * per_group)
        values = [float(v) for v in x[n, channels].ravel()]
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        out[n, channels] = (x[n, channels] - mean) / math.sqrt(var + eps)
    for c in range(x.shape[1]):
        out[:, c] = out[:, c] * (1 if weight is None else weight[c])
        out[:, c] += 0 if bias is None else bias[c]
    return out


def layer_norm(
    x: Any, weight: Any = None, bias: Any = None, normalized_shape: Any = 1, eps: float = 1e-5
) -> Array:
    """The last axes, of `normalized_shape`, get mean 0 and variance 1."""
    x, weight, bias = double(x, weight, bias)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    out = np.zeros(x.shape)
    for where in np.ndindex(*x.shape[: x.ndim - len(shape)]):
        values = [float(v) for v in x[where].ravel()]
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        out[where] = (x[where] - mean) / math.sqrt(var + eps)
        out[where] *= 1 if weight is None else weight
        out[where] += 0 if bias is None else bias
    return out


# ---- probabilities and losses ----


def softmax(x: Any, axis: int) -> Array:
    x = np.moveaxis(double(x), axis, -1)
    out = np.zeros(x.shape)
    for index in np.ndindex(*x.shape[:-1]):
        row = [float(v) for v in x[index]]
        highest = max(row)
        powers = [math.exp(v - highest) for v in row]
        out[index] = [p / sum(powers) for p in powers]
    return np.moveaxis(out, -1, axis)


def log_softmax(x: Any, axis: int) -> Array:
    x = np.moveaxis(double(x), axis, -1)
    out = np.zeros(x.shape)
    for index in np.ndindex(*x.shape[:-1]):
        row = [float(v) for v in x[index]]
        highest = max(row)
        logarithm = highest + math.log(sum(math.exp(v - highest) for v in row))
        out[index] = [v - logarithm for v in row]
    return np.moveaxis(out, -1, axis)


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
    """The loss, and the gradient of its sum with respect to x.

    x (N, C, ...) and target (N, ...) of class indices, or (N, C, ...) of probabilities; or x (C,).
    """
    x = double(x)
    target = np.asarray(target)
    unbatched = x.ndim == 1
    if unbatched:
        x, target = x[None], target[None]
    classes = x.shape[1]
    weight = np.ones(classes) if weight is None else double(weight)
    probabilities = target.shape == x.shape
    logs, grad = log_softmax(x, 1), np.zeros(x.shape)
    losses = np.zeros((x.shape[0], *x.shape[2:]))
    total_weight = 0.0
    for index in np.ndindex(*losses.shape):
        n, where = index[0], index[1:]
        if probabilities:
            wanted = [float(target[(n, c, *where)]) for c in range(classes)]
            total_weight += 1.0
        else:
            label = int(target[index])
            if label == ignore_index:
                continue
            wanted = [float(c == label) for c in range(classes)]
            total_weight += weight[label]
        wanted = [(1 - label_smoothing) * p + label_smoothing / classes for p in wanted]
        scaled = [weight[c] * wanted[c] for c in range(classes)]
        for c in range(classes):
            losses[index] -= scaled[c] * logs[(n, c, *where)]
            grad[(n, c, *where)] = math.exp(logs[(n, c, *where)]) * sum(scaled) - scaled[c]
    if reduction == "none":
        return (losses[0], grad[0]) if unbatched else (losses, grad)
    divisor = total_weight if reduction == "mean" else 1.0
    grad = grad / divisor
    return losses.sum() / divisor, grad[0] if unbatched else grad


# ---- small ones ----


def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    """x (..., I), weight (O, I), bias (O,) -> (..., O)."""
    x, weight, bias = double(x, weight, bias)
    out = np.zeros((*x.shape[:-1], weight.shape[0]))
    for index in np.ndindex(*out.shape):
        for i in range(x.shape[-1]):
            out[index] += x[(*index[:-1], i)] * weight[index[-1], i]
        if bias is not None:
            out[index] += bias[index[-1]]
    return out


# --- Images of another size -----------------------------------------------------------------------


def _keys(distance: float, a: float = -0.75) -> float:
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def interpolate(x: Any, size: tuple[int, int], mode: str, align_corners: bool = False) -> Array:
    """Every pixel as the sum over all pixels, weighted by their distances along both axes."""
    x = double(x)
    height, width = x.shape[2:]
    y = np.zeros((*x.shape[:2], *size))

    def weights(i: int, new: int, old: int) -> list[float]:
        place = (i + 0.5) * old / new - 0.5
        if align_corners:
            place = i * (old - 1) / (new - 1) if new > 1 else 0.0
        if mode == "nearest":
            return [float(j == i * old // new) for j in range(old)]
        kernel = _keys if mode == "bicubic" else lambda d: max(0.0, 1 - abs(d))
        found = [0.0] * old
        for j in range(-3, old + 3):  # neighbors beyond the border are the border's
            found[min(max(j, 0), old - 1)] += kernel(place - j)
        return found

    for p in range(size[0]):
        for q in range(size[1]):
            for h, a in enumerate(weights(p, size[0], height)):
                for w, b in enumerate(weights(q, size[1], width)):
                    y[:, :, p, q] += a * b * x[:, :, h, w]
    return y


def pixel_shuffle(x: Any, upscale_factor: int) -> Array:
    r = upscale_factor
    n, channels, height, width = x.shape
    y = np.zeros((n, channels // r**2, height * r, width * r))
    for c in range(channels):
        for h in range(height):
            for w in range(width):
                i, j = c % r**2 // r, c % r
                y[:, c // r**2, h * r + i, w * r + j] = x[:, c, h, w]
    return y


def pixel_unshuffle(x: Any, downscale_factor: int) -> Array:
    r = downscale_factor
    n, channels, height, width = x.shape
    y = np.zeros((n, channels * r**2, height // r, width // r))
    for h in range(height):
        for w in range(width):
            for c in range(channels):
                y[:, c * r**2 + h % r * r + w % r, h // r, w // r] = x[:, c, h, w]
    return y
