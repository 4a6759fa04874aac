"""The exercises of page 06_im2col, solved without the library."""

import numpy as np


def out_size(size, kernel, stride, padding, dilation):
    starts = range(-padding, size + padding - dilation * (kernel - 1), stride)
    return len(starts)


def im2col(x, kernel, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    columns = []
    for i in range(0, x.shape[2] - kernel + 1, stride):
        for j in range(0, x.shape[3] - kernel + 1, stride):
            columns.append(x[:, :, i : i + kernel, j : j + kernel].reshape(len(x), -1))
    return np.stack(columns, axis=2)


def copies(height, width, kernel, stride):
    count = np.zeros((height, width), int)
    for i in range(0, height - kernel + 1, stride):
        for j in range(0, width - kernel + 1, stride):
            count[i : i + kernel, j : j + kernel] += 1
    return count
