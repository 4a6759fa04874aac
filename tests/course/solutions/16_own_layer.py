"""The exercises of page 16_own_layer, solved without the library."""

import numpy as np


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softplus_backward(dy, x):
    small = np.exp(-np.abs(x))
    return dy * np.where(x > 0, 1, small) / (1 + small)


def conv_parameters(channels, filters, kernel, groups, bias):
    return filters * (channels // groups * kernel**2 + bool(bias))
