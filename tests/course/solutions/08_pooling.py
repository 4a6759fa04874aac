"""The exercises of page 08_pooling, solved without the library."""

import numpy as np


def windows(x, kernel, stride):
    for i in range((x.shape[2] - kernel) // stride + 1):
        for j in range((x.shape[3] - kernel) // stride + 1):
            top, left = i * stride, j * stride
            yield i, j, (slice(top, top + kernel), slice(left, left + kernel))


def maxpool(x, kernel, stride):
    height, width = ((side - kernel) // stride + 1 for side in x.shape[2:])
    y = np.empty((*x.shape[:2], height, width))
    for i, j, place in windows(x, kernel, stride):
        y[:, :, i, j] = x[:, :, *place].max((2, 3))
    return y


def maxpool_backward(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        for i, j, place in windows(x, kernel, stride):
            row, column = divmod(int(x[n, c][place].argmax()), kernel)
            dx[n, c, place[0].start + row, place[1].start + column] += dy[n, c, i, j]
    return dx


def avgpool_backward(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for i, j, place in windows(x, kernel, stride):
        dx[:, :, *place] += dy[:, :, i, j, None, None] / kernel**2
    return dx
