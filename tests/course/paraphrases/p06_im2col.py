"""Other implementations of the mistakes on page 06_im2col."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _starts(size, kernel, stride, padding, dilation):
    """Return the places where windows may start, if they may end anywhere."""
    return range(-padding, size + padding, stride)


def _fitting(size, kernel, stride, padding, dilation, length):
    starts = _starts(size, kernel, stride, padding, dilation)
    return sum(start + length <= size + padding for start in starts)


def _length(kernel, dilation):
    return len(range(0, (kernel - 1) * dilation + 1))


def _padded(x, padding, **kind):
    return np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)], **kind)


def _views(x, kernel, stride):
    """Return windows (N, C, OH, OW, KH, KW)."""
    return sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]


def _loop(x, kernel, stride, padding, read, by_row=True):
    x = _padded(x, padding)
    high, wide = ((side - kernel) // stride + 1 for side in x.shape[2:])
    columns = np.empty((len(x), x.shape[1] * kernel**2, high * wide))
    for place, (i, j) in enumerate(np.ndindex(high, wide)):
        place = place if by_row else j * high + i
        window = x[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        columns[:, :, place] = read(window)
    return columns


def _flat(window):
    return window.reshape(len(window), -1)


def _matrix(views):
    """Return (N, C·KH·KW, OH·OW) of (N, C, OH, OW, KH, KW)."""
    n, c, oh, ow, kh, kw = views.shape
    return np.moveaxis(views, (4, 5), (2, 3)).reshape(n, c * kh * kw, oh * ow)


def _rows(x, kernel, stride, padding):
    views = _views(_padded(x, padding), kernel, stride).transpose(0, 2, 3, 1, 4, 5)
    return views.reshape(len(x), -1, x.shape[1] * kernel**2)


def _mixed(x, kernel, stride, padding):
    rows = _rows(x, kernel, stride, padding)
    return rows.reshape(len(x), rows.shape[2], rows.shape[1])


def _below(x, kernel, stride, padding):
    larger = np.zeros((*x.shape[:2], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding))
    larger[:, :, : x.shape[2], : x.shape[3]] = x
    return _matrix(_views(larger, kernel, stride))


def _edges(x, kernel, stride, padding):
    high = np.clip(np.arange(-padding, x.shape[2] + padding), 0, x.shape[2] - 1)
    wide = np.clip(np.arange(-padding, x.shape[3] + padding), 0, x.shape[3] - 1)
    return _matrix(_views(x[:, :, high][:, :, :, wide], kernel, stride))


def _no_steps(x, kernel, stride, padding):
    x = _padded(x, padding)
    high, wide = ((side - kernel) // stride + 1 for side in x.shape[2:])
    return _matrix(_views(x, kernel, 1)[:, :, :high, :wide])


def _count(height, width, kernel, stride, last=0, clip=False, add=1):
    counts = np.zeros((height, width), int)
    for top in range(0, height - (0 if clip else kernel - 1) - last, stride):
        for left in range(0, width - (0 if clip else kernel - 1) - last, stride):
            part = counts[top : top + kernel, left : left + kernel]
            part[:] = part + 1 if add else 1
    return counts


def _sum(height, width, kernel, stride):
    rows = [sum(r in range(t, t + kernel) for t in range(0, height - kernel + 1, stride))
            for r in range(height)]  # fmt: skip
    columns = [sum(c in range(t, t + kernel) for t in range(0, width - kernel + 1, stride))
               for c in range(width)]  # fmt: skip
    return np.array([[row + column for column in columns] for row in rows])


PARAPHRASES = {
    "out_size": {
        "rounded up": [
            lambda n, k, s, p, d: 1 + math.ceil((n + p + p - _length(k, d)) / s),
        ],
        "no + 1": [lambda n, k, s, p, d: int((n + p + p - _length(k, d)) / s)],
        "padding once": [lambda n, k, s, p, d: (n + p - _length(k, d) + s) // s],
        "padding lost": [lambda n, k, s, p, d: _fitting(n, k, s, 0, d, _length(k, d))],
        "dilation lost": [lambda n, k, s, p, d: _fitting(n, k, s, p, d, k)],
        "dilation times kernel": [lambda n, k, s, p, d: _fitting(n, k, s, p, d, k * d)],
        "kernel times dilation - 1": [
            lambda n, k, s, p, d: math.floor((n + p + p - k * d + k - 1) / s + 1)
        ],
        "a starting place for each stride": [
            lambda n, k, s, p, d: len(_starts(n, k, s, p, d)),
        ],
    },
    "im2col": {
        "channel last": [
            lambda x, k, s, p: _loop(x, k, s, p, lambda w: _flat(w.transpose(0, 2, 3, 1)))
        ],
        "windows by column": [
            lambda x, k, s, p: _loop(x, k, s, p, lambda w: _flat(w.swapaxes(2, 3)))
        ],
        "windows top to bottom": [lambda x, k, s, p: _loop(x, k, s, p, _flat, by_row=False)],
        "windows as rows": [_rows],
        "rows reshaped": [_mixed],
        "padded at the end": [_below],
        "edges repeated": [_edges],
        "stride of the windows ignored": [_no_steps],
        "turned by 180°": [
            lambda x, k, s, p: _loop(x, k, s, p, lambda w: _flat(np.rot90(w, 2, (2, 3))))
        ],
    },
    "copies": {
        "kernel² everywhere": [lambda h, w, k, s: np.ones((h, w), int) * k * k],
        "once": [lambda h, w, k, s: _count(h, w, k, s, add=0)],
        "windows beyond the edge": [lambda h, w, k, s: _count(h, w, k, s, clip=True)],
        "last window missed": [lambda h, w, k, s: _count(h, w, k, s, last=1)],
        "rows plus columns": [_sum],
        "stride 1": [lambda h, w, k, s: _count(h, w, k, 1)],
    },
}
