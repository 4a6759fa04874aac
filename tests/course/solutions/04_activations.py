"""The exercises of page 04_activations, solved without the library."""

import numpy as np


def relu_backward(dy, x):
    return np.where(x > 0, dy, 0)


def tanh_backward(dy, y):
    return dy * (1 - y**2)


def dead_units(x):
    return (x <= 0).all(axis=0)
