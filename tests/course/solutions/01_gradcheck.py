"""The exercises of page 01_gradcheck, solved without the library."""

import numpy as np


def numerical_jacobian(f, x, eps):
    columns = []
    for step in eps * np.eye(x.size).reshape(x.size, *x.shape):
        columns.append((np.asarray(f(x + step)) - f(x - step)).ravel() / (2 * eps))
    return np.stack(columns, axis=1)


def relative_error(a, b):
    sizes = np.abs(a) + np.abs(b)
    return float((np.abs(a - b) / np.where(sizes == 0, 1, sizes)).max())


def backward_is_right(forward, backward, x, dy, eps, tolerance):
    def loss(values):
        return (dy * forward(values)).sum()

    gradient = backward(dy.copy(), x.copy()).ravel()
    for step, slope in zip(eps * np.eye(x.size), gradient, strict=True):
        step = step.reshape(x.shape)
        if not abs((loss(x + step) - loss(x - step)) / (2 * eps) - slope) <= tolerance:
            return False
    return True
