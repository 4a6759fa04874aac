"""The exercises of page 03_linear, solved without the library."""

import numpy as np


def linear(x, weight, bias):
    return np.einsum("ni,oi->no", x, weight) + bias


def linear_backward(dy, x, weight):
    return dy @ weight, dy.T @ x, dy.sum(0)


def weight_gradients(dy, x):
    return dy[:, :, None] * x[:, None, :]
