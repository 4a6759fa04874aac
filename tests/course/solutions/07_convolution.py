"""The exercises of page 07_convolution, solved without the library."""

import numpy as np


def conv(x, weight, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    kernel = weight.shape[2]
    height, width = ((side - kernel) // stride + 1 for side in x.shape[2:])
    y = np.zeros((len(x), len(weight), height, width))
    for i in range(height):
        for j in range(width):
            top, left = i * stride, j * stride
            window = x[:, :, top : top + kernel, left : left + kernel]
            y[:, :, i, j] = np.einsum("ncab,ocab->no", window, weight)
    return y


def col2im(columns, height, width, kernel, stride):
    n, c, _, _, rows, steps = columns.shape
    x = np.zeros((n, c, height, width))
    for i in range(rows):
        for j in range(steps):
            top, left = i * stride, j * stride
            x[:, :, top : top + kernel, left : left + kernel] += columns[..., i, j]
    return x


def conv_weight_backward(dy, x, kernel, stride):
    rows, columns = dy.shape[2:]
    gradient = np.zeros((dy.shape[1], x.shape[1], kernel, kernel))
    for a in range(kernel):
        for b in range(kernel):
            met = x[:, :, a : a + rows * stride : stride, b : b + columns * stride : stride]
            gradient[:, :, a, b] = np.einsum("noij,ncij->oc", dy, met[:, :, :rows, :columns])
    return gradient


def conv_input_backward(dy, weight, height, width, stride):
    columns = np.einsum("noij,ocab->ncabij", dy, weight)
    return col2im(columns, height, width, weight.shape[2], stride)


def grouped_pointwise(x, weight, groups):
    parts = zip(np.split(x, groups, 1), np.split(weight[:, :, 0, 0], groups), strict=True)
    return np.concatenate([np.einsum("nchw,oc->nohw", part, own) for part, own in parts], 1)
