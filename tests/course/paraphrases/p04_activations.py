"""Other implementations of the mistakes on page 04_activations."""

import numpy as np


def _cleared(where):
    """Return a backward that sets dy to 0 in places."""

    def backward(dy, x):
        dx = dy.copy()
        dx[where(dy, x)] = 0
        return dx

    return backward


def _loop(x, dead):
    return np.array([dead(list(x[:, u])) for u in range(x.shape[1])])


PARAPHRASES = {
    "relu_backward": {
        "slope 1 at 0": [_cleared(lambda dy, x: x < 0)],
        "mask from dy": [
            lambda dy, x: np.maximum(dy, 0),
            _cleared(lambda dy, x: dy < 0),
        ],
        "both masks": [_cleared(lambda dy, x: (dy < 0) | (x <= 0))],
        "ignores dy": [lambda dy, x: np.where(x > 0, 1.0, 0.0)],
        "times x": [lambda dy, x: np.where(x > 0, dy * x, 0)],
        "nothing is stopped": [lambda dy, x: dy.copy()],
        "the other half": [_cleared(lambda dy, x: x >= 0)],
    },
    "tanh_backward": {
        "takes y for x": [lambda dy, y: dy / np.cosh(y) ** 2],
        "of dy": [lambda dy, y: 1 / np.cosh(dy) ** 2],
        "1 + y²": [lambda dy, y: dy + dy * y * y],
        "not squared": [lambda dy, y: dy - y * dy],
        "the square of the difference": [lambda dy, y: dy * (1 - 2 * y + y * y)],
        "sigmoid's": [lambda dy, y: (y - y * y) * dy],
        "ignores dy": [lambda dy, y: (1 - y) * (1 + y)],
        "1 - x²": [lambda dy, y: dy - dy * (np.log((1 + y) / (1 - y)) / 2) ** 2],
    },
    "dead_units": {
        "once is enough": [lambda x: x.min(0) <= 0],
        "by sample": [lambda x: np.array([max(row) <= 0 for row in x])],
        "0 is alive": [lambda x: x.max(0) < 0],
        "by the mean": [lambda x: _loop(x, lambda unit: sum(unit) <= 0)],
        "the living": [lambda x: np.maximum(x, 0).sum(0) > 0],
        "by the first sample": [lambda x: _loop(x, lambda unit: unit[0] <= 0)],
    },
}
