"""Other implementations of the mistakes on page 11_initialization."""

import numpy as np


def _layers(x, weights, read=lambda w: w):
    """Yield the sums and the outputs of each layer."""
    for weight in weights:
        z = np.einsum("ni,oi->no", x, read(weight))
        x = np.where(z > 0, z, 0)
        yield z, x


def _rms(y):
    return np.linalg.norm(y) / y.size**0.5


def _linear(x, weights):
    sizes = []
    for weight in weights:
        x = x.dot(weight.T)
        sizes.append(_rms(x))
    return np.array(sizes)


PARAPHRASES = {
    "he_std": {
        "by outputs": [lambda c, f, k, g: 2**0.5 / (f / g * k**2) ** 0.5],
        "variance": [lambda c, f, k, g: 2 * g / (c * k**2)],
        "no 2": [lambda c, f, k, g: (c / g * k**2) ** -0.5],
        "groups ignored": [lambda c, f, k, g: (0.5 * c * k**2) ** -0.5],
        "kernel once": [lambda c, f, k, g: (2 * g / c / k) ** 0.5],
        "kernel ignored": [lambda c, f, k, g: (2 * g / c) ** 0.5],
        "mean of both": [lambda c, f, k, g: (2 / ((c + f) / g * k * k / 2)) ** 0.5],
    },
    "xavier_bound": {
        "standard deviation": [lambda i, o: ((i + o) / 2) ** -0.5],
        "brackets": [lambda i, o: (o + 6 / i) ** 0.5],
        "inputs alone": [lambda i, o: (i / 3) ** -0.5],
        "no root": [lambda i, o: 1 / ((i + o) / 6)],
        "width for bound": [lambda i, o: 2 * (6 / (i + o)) ** 0.5],
    },
    "signal": {
        "no ReLU": [_linear],
        "before the ReLU": [lambda x, ws: np.array([_rms(z) for z, _ in _layers(x, ws)])],
        "standard deviation": [lambda x, ws: np.array([y.std() for _, y in _layers(x, ws)])],
        "mean of absolute values": [
            lambda x, ws: np.array([y.mean() for _, y in _layers(x, ws)])
        ],
        "no root": [lambda x, ws: np.array([_rms(y) ** 2 for _, y in _layers(x, ws)])],
        "weights not transposed": [
            lambda x, ws: np.array([_rms(y) for _, y in _layers(x, ws, lambda w: w.T)])
        ],
        "each layer from x": [
            lambda x, ws: np.array([_rms(np.maximum(np.dot(x, w.T), 0)) for w in ws])
        ],
    },
}  # fmt: skip
