"""Other implementations of the mistakes on page 09_response_norm."""

import numpy as np


def _band(c, before, after):
    """Return the matrix (C, C) that sums windows: row i has ones at i - before ... i + after."""
    i, j = np.indices((c, c))
    return ((j >= i - before) & (j <= i + after)).astype(float)


def _roll(values, before, after):
    return sum(np.roll(values, -shift, 1) for shift in range(-before, after + 1))


def _padded(values, before, after, mode):
    padded = np.pad(values, ((0, 0), (before, after), (0, 0), (0, 0)), mode=mode)
    c = values.shape[1]
    return sum(padded[:, k : k + c] for k in range(before + after + 1))


def _apply(band, values):
    return np.einsum("ij,njhw->nihw", band, values)


def _forward(x, size, alpha, beta, k, before=None, after=None, factor=None):
    before = size // 2 if before is None else before
    after = (size - 1) // 2 if after is None else after
    factor = alpha / size if factor is None else factor
    return x / (k + factor * _apply(_band(x.shape[1], before, after), x**2)) ** beta


def _along_rows(x, size, alpha, beta, k):
    band = _band(x.shape[2], size // 2, (size - 1) // 2)
    return x / (k + alpha / size * np.einsum("ij,ncjw->nciw", band, x**2)) ** beta


def _backward(dy, x, size, alpha, beta, k, band=None, scale=1.0, sign=-1, power=-1, first=1.0):
    own = _band(x.shape[1], size // 2, (size - 1) // 2)
    s = k + alpha / size * _apply(own, x**2)
    across = _apply(own.T if band is None else band(own), dy * x * s ** (-beta + power))
    return first * dy / s**beta + sign * scale * 2 * alpha * beta / size * x * across


def _dy_outside(dy, x, size, alpha, beta, k):
    own = _band(x.shape[1], size // 2, (size - 1) // 2)
    s = k + alpha / size * _apply(own, x**2)
    across = _apply(own.T, x / s ** (beta + 1))
    return dy * (s**-beta - 2 * alpha * beta / size * x * across)


def _others(x, size, alpha, beta, k):
    band = _band(x.shape[1], size // 2, (size - 1) // 2) - np.eye(x.shape[1])
    return x / (k + alpha / size * _apply(band, x**2)) ** beta


def _window_means(x, size, alpha, beta, k):
    band = _band(x.shape[1], size // 2, (size - 1) // 2)
    return x / (k + alpha * _apply(band / band.sum(1, keepdims=True), x**2)) ** beta


def _s_outside(dy, x, size, alpha, beta, k):
    own = _band(x.shape[1], size // 2, (size - 1) // 2)
    s = k + alpha / size * _apply(own, x**2)
    return dy / s**beta - 2 * alpha * beta / size * x * _apply(own.T, dy * x) / s ** (beta + 1)


def _no_x(dy, x, size, alpha, beta, k):
    own = _band(x.shape[1], size // 2, (size - 1) // 2)
    s = k + alpha / size * _apply(own, x**2)
    return dy / s**beta - 2 * alpha * beta / size * x * _apply(own.T, dy / s ** (beta + 1))


PARAPHRASES = {
    "lrn": {
        "alpha not divided": [lambda x, n, a, b, k: _forward(x, n, a, b, k, factor=a)],
        "alpha divided twice": [lambda x, n, a, b, k: _forward(x, n, a / n, b, k)],
        "window mirrored": [lambda x, n, a, b, k: _forward(x, n, a, b, k, (n - 1) // 2, n // 2)],
        "window one too wide": [lambda x, n, a, b, k: _forward(x, n, a, b, k, n // 2, n // 2)],
        "window of size on either side": [lambda x, n, a, b, k: _forward(x, n, a, b, k, n, n)],
        "wraps around": [
            lambda x, n, a, b, k: x / (k + a / n * _roll(x * x, n // 2, (n - 1) // 2)) ** b
        ],
        "repeats the edge": [
            lambda x, n, a, b, k: (
                x / (k + a / n * _padded(x * x, n // 2, (n - 1) // 2, "edge")) ** b
            )
        ],
        "absolute values": [
            lambda x, n, a, b, k: (
                x / (k + a / n * _padded(abs(x), n // 2, (n - 1) // 2, "constant")) ** b
            )
        ],
        "multiplies": [lambda x, n, a, b, k: _forward(x, n, a, -b, k)],
        "k outside the power": [
            lambda x, n, a, b, k: (
                x / (k + (a / n * _padded(x * x, n // 2, (n - 1) // 2, "constant")) ** b)
            )
        ],
        "square root instead of beta": [lambda x, n, a, b, k: _forward(x, n, a, 0.5, k)],
        "own channel left out": [_others],
        "divided by the channels that exist": [_window_means],
        "along the rows": [_along_rows],
    },
    "lrn_backward": {
        "no cross term": [lambda *given: _backward(*given, scale=0)],
        "window not mirrored": [lambda *given: _backward(*given, band=lambda own: own)],
        "wrong sign": [lambda *given: _backward(*given, sign=1)],
        "factor 2 missing": [lambda *given: _backward(*given, scale=0.5)],
        "beta missing": [lambda dy, x, n, a, b, k: _backward(dy, x, n, a, b, k, scale=1 / b)],
        "alpha not divided": [lambda dy, x, n, *rest: _backward(dy, x, n, *rest, scale=n)],
        "exponent not lowered": [lambda *given: _backward(*given, power=0)],
        "own channel only": [lambda *given: _backward(*given, band=lambda own: np.eye(len(own)))],
        "dy outside the sum": [_dy_outside],
        "s outside the sum": [_s_outside],
        "own channel left out": [
            lambda *given: _backward(*given, band=lambda own: own.T - np.eye(len(own)))
        ],
        "x missing in the sum": [_no_x],
        "no direct term": [lambda *given: _backward(*given, first=0.0)],
        "forward again": [lambda dy, x, n, a, b, k: _forward(dy, n, a, b, k)],
    },
    "to_printed_alpha": {
        "multiplies": [lambda alpha, size: sum([alpha] * size)],
        "same": [lambda alpha, size: float(alpha)],
        "divides by the square": [lambda alpha, size: alpha / size / size],
        "divides by half the window": [lambda alpha, size: alpha / (size // 2 or 1)],
    },
}
