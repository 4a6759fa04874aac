"""Other implementations of the mistakes on page 13_speed."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _four(d, g, half=0.5):
    """Return the four products of one tile."""
    a, b, c, e = d
    even, odd = g[0] + g[2], g[1]
    return np.array([
        (a - c) * g[0], half * (b + c) * (even + odd), half * (c - b) * (even - odd), (b - e) * g[2]
    ])  # fmt: skip


def _tile(signs, half=0.5):
    def tile(d, g):
        m = _four(d, g, half)
        return m, np.array([sum(s * p for s, p in zip(row, m, strict=True)) for row in signs])

    return tile


def _mirrored(d, g):
    return _four(d, g[::-1]), np.convolve(d, g, "valid")  # NumPy's convolve turns the kernel


def _correlated(d, g):
    return _four(d, g), np.correlate(d, g, "valid")[::-1]


def _slide(x, weight):
    return np.einsum("ijab,ab->ij", sliding_window_view(x, (3, 3)), weight)


def _side_by_side(x, weight):
    """Take pieces of 4×4 pixels, side by side."""
    high, wide = x.shape[0] - 2, x.shape[1] - 2
    y = np.zeros((high + 1, wide + 1))
    big = np.zeros((4 * high, 4 * wide))
    big[: len(x), : x.shape[1]] = x
    for i in range(0, high, 2):
        for j in range(0, wide, 2):
            y[i : i + 2, j : j + 2] = _slide(big[2 * i : 2 * i + 4, 2 * j : 2 * j + 4], weight)
    return y[:high, :wide]


def _zeros_left(x, weight):
    y = _slide(x, weight)
    y[len(y) // 2 * 2 :] = 0
    y[:, y.shape[1] // 2 * 2 :] = 0
    return y


def _whole_alone(x, weight):
    rows, columns = (2 * ((side - 2) // 2) for side in x.shape)
    return _slide(x[: rows + 2, : columns + 2], weight)


def _hangs_over(x, weight):
    rows, columns = (2 * -(-(side - 2) // 2) for side in x.shape)
    big = np.zeros((rows + 2, columns + 2))
    big[: len(x), : x.shape[1]] = x
    return _slide(big, weight)


def _by_height(x, weight):
    y = _slide(x, weight)
    y[:, 2 * -(-len(y) // 2) :] = 0
    return y


def _doubled(x, weight):
    """Evaluate the kernel at 1 and -1 without the factor 1/2, in both axes."""

    def axis(values):
        even = values[0] + values[2]
        return np.array([values[0], even + values[1], even - values[1], values[2]])

    kernel = axis(axis(weight).T).T
    data = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    return _by_tiles(x, lambda d: data @ d @ data.T * kernel, [[1, 1, 1, 0], [0, 1, -1, -1]])


def _last_plus(x, weight):
    kernel = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
    data = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    values = kernel @ weight @ kernel.T
    return _by_tiles(x, lambda d: data @ d @ data.T * values, [[1, 1, 1, 0], [0, 1, -1, 1]])


def _by_tiles(x, products, back):
    back = np.array(back)
    big = np.pad(x, ((0, 3), (0, 3)))
    windows = sliding_window_view(big, (4, 4))[::2, ::2]
    high, wide = x.shape[0] - 2, x.shape[1] - 2
    down, across = -(-high // 2), -(-wide // 2)
    y = [[back @ products(windows[i, j]) @ back.T for j in range(across)] for i in range(down)]
    return np.block(y)[:high, :wide]


def _ceil(a, b):
    return -(-a // b)


def _work(images, shape, high, wide):
    return 2e-9 * images * high * wide * np.prod(shape)


PARAPHRASES = {
    "winograd_tile": {
        "sign of the third product": [_tile([[1, 1, 1, 0], [0, 1, 1, -1]])],
        "sign of the last product": [_tile([[1, 1, 1, 0], [0, 1, -1, 1]])],
        "halves lost": [_tile([[1, 1, 1, 0], [0, 1, -1, -1]], half=1)],
        "kernel turned": [_mirrored],
        "outputs exchanged": [_correlated],
    },
    "winograd_f23": {
        "tiles do not overlap": [_side_by_side],
        "ragged tiles stay 0": [_zeros_left],
        "ragged edge cut off": [_whole_alone],
        "not cut": [_hangs_over],
        "as many tiles across as down": [_by_height],
        "kernel transposed": [lambda x, w: _slide(x.T, w).T],
        "kernel turned": [lambda x, w: _slide(x[::-1, ::-1], w)[::-1, ::-1]],
        "halves lost": [_doubled],
        "sign of the last point": [_last_plus],
    },
    "multiplications": {
        "direct": [lambda h, w, k, t: sum(k * k for _ in range(h * w))],
        "ragged tiles lost": [lambda h, w, k, t: int(h / t) * int(w / t) * (k - 1 + t) ** 2],
        "parts of tiles": [lambda h, w, k, t: (h / t) * (w / t) * (k - 1 + t) ** 2],
        "one axis": [lambda h, w, k, t: _ceil(h, t) * _ceil(w, t) * (k - 1 + t) * k],
        "tile plus kernel": [lambda h, w, k, t: _ceil(h, t) * _ceil(w, t) * (k + t) ** 2],
        "outputs alone": [lambda h, w, k, t: _ceil(h, t) * t * _ceil(w, t) * t],
        "distance of kernel - 1": [
            lambda h, w, k, t: _ceil(h, k - 1) * _ceil(w, k - 1) * (k - 1 + t) ** 2
        ],
        "square pictures": [lambda h, w, k, t: (_ceil(h, t) * (k - 1 + t)) ** 2],
    },
    "gflops": {
        "additions lost": [
            lambda n, s, h, w, times, skip: _work(n, s, h, w) / 2 / np.median(times[skip:])
        ],
        "warm-up counted": [lambda n, s, h, w, times, skip: _work(n, s, h, w) / np.median(times)],
        "mean": [lambda n, s, h, w, times, skip: _work(n, s, h, w) / np.mean(times[skip:])],
        "best": [lambda n, s, h, w, times, skip: np.max(_work(n, s, h, w) / times[skip:])],
        "sorted before the warm-up": [
            lambda n, s, h, w, times, skip: _work(n, s, h, w) / np.median(sorted(times)[skip:])
        ],
        "total": [lambda n, s, h, w, times, skip: _work(n, s, h, w) / np.sum(times[skip:])],
        "one image": [
            lambda n, s, h, w, times, skip: _work(1, s, h, w) / np.median(times[skip:])
        ],
        "channels lost": [
            lambda n, s, h, w, times, skip: (
                _work(n, (s[0], *s[2:]), h, w) / np.median(times[skip:])
            )
        ],
        "side for area": [
            lambda n, s, h, w, times, skip: _work(n, s[:3], h, w) / np.median(times[skip:])
        ],
    },
}  # fmt: skip
