"""The exercises of page 13_speed, solved without the library."""

import numpy as np


def winograd_tile(d, g):
    products = np.array(
        [
            (d[0] - d[2]) * g[0],
            (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2,
            (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2,
            (d[1] - d[3]) * g[2],
        ]
    )
    a, b, c, e = products
    return products, np.array([a + b + c, b - c - e])


INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def winograd_f23(x, weight):
    height, width = (side - 2 for side in x.shape)
    x = np.pad(x, ((0, height % 2), (0, width % 2)))
    y = np.empty((x.shape[0] - 2, x.shape[1] - 2))
    kernel = KERNEL @ weight @ KERNEL.T
    for i in range(0, len(y), 2):
        for j in range(0, y.shape[1], 2):
            tile = INPUT @ x[i : i + 4, j : j + 4] @ INPUT.T
            y[i : i + 2, j : j + 2] = OUTPUT @ (tile * kernel) @ OUTPUT.T
    return y[:height, :width]


def multiplications(height, width, kernel, tile):
    return -(-height // tile) * -(-width // tile) * (tile + kernel - 1) ** 2


def gflops(images, weight_shape, out_height, out_width, times, warmup):
    operations = 2 * images * np.prod(weight_shape) * out_height * out_width
    return operations / np.median(times[warmup:]) / 1e9
