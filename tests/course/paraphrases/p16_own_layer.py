"""Other implementations of the mistakes on page 16_own_layer."""

import numpy as np


def _logistic(x):
    return (1 + np.tanh(x / 2)) / 2


def _count(channels, filters, kernel, groups, bias, weights=None, biases=None):
    shape = (filters, channels // groups, kernel, kernel)
    total = int(np.prod(shape)) if weights is None else weights
    return total + (filters * int(bias) if biases is None else biases)


PARAPHRASES = {
    "softplus": {
        "as written": [lambda x: np.log(np.exp(x) + np.exp(0 * x))],
        "log1p alone": [lambda x: np.log1p(1 / np.exp(-x))],
        "shifted, without log1p": [
            lambda x: np.where(x > 0, x, 0) + np.log(np.exp(-abs(x)) + 1),
        ],
        "cut off": [lambda x: np.log1p(np.exp(np.clip(x, None, 20)))],
        "ReLU": [lambda x: np.where(x > 0, x, 0.0)],
        "of -x": [lambda x: np.logaddexp(0, -x)],
    },
    "softplus_backward": {
        "inf / inf": [lambda dy, x: dy * (np.exp(x) / (np.exp(x) + 1))],
        "slope of the ReLU": [lambda dy, x: np.where(x > 0, dy, 0)],
        "ignores dy": [lambda dy, x: _logistic(x)],
        "of -x": [
            lambda dy, x: dy / (1 + np.exp(x)),
            lambda dy, x: dy * _logistic(-x),
        ],
        "slope of the sigmoid": [lambda dy, x: dy * (_logistic(x) - _logistic(x) ** 2)],
    },
    "conv_parameters": {
        "groups ignored": [lambda c, f, k, g, b: _count(c, f, k, 1, b)],
        "divided by groups twice": [
            lambda c, f, k, g, b: _count(c, f, k, g, b, weights=f * c * k * k // g**2)
        ],
        "bias forgotten": [lambda c, f, k, g, b: _count(c, f, k, g, False)],
        "bias always": [lambda c, f, k, g, b: _count(c, f, k, g, True)],
        "one bias": [lambda c, f, k, g, b: _count(c, f, k, g, b, biases=int(b))],
        "bias of each channel": [lambda c, f, k, g, b: _count(c, f, k, g, b, biases=c * b)],
        "kernel once": [lambda c, f, k, g, b: _count(c, f, k, g, b, weights=f * c // g * k)],
    },
}
