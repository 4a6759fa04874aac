"""Other implementations of the mistakes on page 15_data_and_gpu."""

import numpy as np


def _at(picture, size, places):
    top, left = places
    return picture[:, top:, left:][:, :size, :size].copy()


def _room(picture, size):
    return picture.shape[1] - size, picture.shape[2] - size


def _scan(position, size, kernel, stride, starts=None, last=0, reach=0, low=0, high=0):
    """Return the range of windows, found by looking at each."""
    count = (size - kernel) // stride + 1 + high
    found = [
        i for i in range(-low, count)
        if i * stride <= position < i * stride + kernel + reach
    ]  # fmt: skip
    return (found[0], found[-1] + 1 - last) if len(found) > last else (0, 0)


def _rounded(position, size, kernel, stride):
    first = int(np.floor((position + 1 - kernel) / stride))
    stop = min(position // stride, (size - kernel) // stride) + 1
    return (max(first, 0), stop) if max(first, 0) < stop else (0, 0)


def _only(position, size, kernel, stride):
    window = position // stride
    return (window, window + 1) if window <= (size - kernel) // stride else (0, 0)


def _reached(position, size, kernel, stride):
    first = 0
    while first * stride + kernel < position:
        first += 1
    stop = min(position // stride, (size - kernel) // stride) + 1
    return (first, stop) if first < stop else (0, 0)


def _low(position, size, kernel, stride):
    first = -(((kernel - 1) - position) // stride)
    stop = 1 + min(position // stride, (size - kernel) // stride)
    return (first, stop) if first < stop else (0, 0)


def _late(position, size, kernel, stride):
    first = max(-((kernel - 1 - position) // stride), 0)
    return (first, position // stride + 1) if first <= position // stride else (0, 0)


def _early(position, size, kernel, stride):
    first = max(-((kernel - 1 - position) // stride), 0)
    stop = min(position // stride, (size - kernel) // stride)
    return (first, stop) if first < stop else (0, 0)


def _jitter(read):
    def jitter(picture, values, vectors, alpha):
        new = picture.copy()
        for color in range(3):
            new[color] += sum(read(values, vectors, alpha, color, i) for i in range(3))
        return new

    return jitter


def _row(picture, values, vectors, alpha):
    shift = np.dot(vectors, alpha * values)
    try:
        return picture + np.broadcast_to(shift, picture.shape)
    except ValueError:
        return picture + shift[:, None, None]


PARAPHRASES = {
    "random_crop": {
        "last place never drawn": [
            lambda x, n, rng: _at(x, n, [int(rng.random() * max(r - 1e-9, 0)) for r in _room(x, n)])
        ],
        "one number for both": [
            lambda x, n, rng: _at(x, n, [rng.integers(0, min(_room(x, n)), endpoint=True)] * 2)
        ],
        "center": [lambda x, n, rng: _at(x, n, [r // 2 for r in _room(x, n)])],
        "the same every time": [
            lambda x, n, rng: _at(x, n, _fixed(_room(x, n)))
        ],
        "another generator": [
            lambda x, n, rng: _at(x, n, [int(np.random.rand() * (r + 1)) for r in _room(x, n)])
        ],
        "rounded": [
            lambda x, n, rng: _at(x, n, [int(rng.uniform(0, r) + 0.5) for r in _room(x, n)])
        ],
        "a place for each channel": [
            lambda x, n, rng: np.stack(
                [_at(plane[None], n, [rng.integers(r + 1) for r in _room(x, n)])[0] for plane in x]
            )
        ],
    },
    "pca_jitter": {
        "vectors transposed": [_jitter(lambda v, p, a, color, i: a[i] * v[i] * p[i, color])],
        "no eigenvalues": [_jitter(lambda v, p, a, color, i: a[i] * p[color, i])],
        "roots of the eigenvalues": [
            _jitter(lambda v, p, a, color, i: a[i] * v[i] ** 0.5 * p[color, i])
        ],
        "multiplied": [
            lambda x, v, p, a: np.einsum("chw,ci,i,i->chw", x, p, v, a)
        ],
        "along the row": [_row],
        "the same for all colors": [lambda x, v, p, a: x + np.sum(p * (a * v))],
    },
    "readers": {
        "last window missed": [_early],
        "windows beyond the end": [_late],
        "negative windows": [_low],
        "first rounded down": [_rounded],
        "one window": [_only],
        "off by one at the start": [_reached],
    },
}  # fmt: skip


def _fixed(room):
    generator = np.random.default_rng(0)
    return [generator.integers(r + 1) for r in room]
