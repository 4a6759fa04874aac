"""Response normalization of one block, whatever its window: shared by both response norms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...device import Array
from .. import cpu

#: Adds up the windows of its first argument into its second; mirrored if the third says so.
WindowSum = Callable[[Array, Array, bool], None]


def scale(x: Array, s: Array, window_sum: WindowSum, alpha: float, k: float) -> None:
    """Write ``s = k + α'·Σ x²`` (`alpha` is α')."""
    square = cpu.scratch("square", x.shape, x.dtype)
    np.multiply(x, x, out=square)
    window_sum(square, s, False)
    s *= x.dtype.type(alpha)
    s += x.dtype.type(k)


def negative_power(s: Array, beta: float, out: Array) -> None:
    """Write ``s^(-β)``; for the usual β = 0.75 as 1 / (√s·√√s), 10 times as fast as a power."""
    if beta == 0.75:
        np.sqrt(s, out=out)
        root = cpu.scratch("root", s.shape, s.dtype)
        np.sqrt(out, out=root)
        out *= root
        np.divide(s.dtype.type(1), out, out=out)
    else:
        np.power(s, s.dtype.type(-beta), out=out)


def normalize(
    x: Array, y: Array, window_sum: WindowSum, alpha: float, beta: float, k: float
) -> None:
    """Write y for one block of x."""
    s = cpu.scratch("s", x.shape, x.dtype)
    scale(x, s, window_sum, alpha, k)
    power = cpu.scratch("power", x.shape, x.dtype)
    negative_power(s, beta, power)
    np.multiply(x, power, out=y)


def normalize_backward(
    x: Array, grad: Array, dx: Array, window_sum: WindowSum, alpha: float, beta: float, k: float
) -> None:
    """Write dx for one block of x and dy."""
    s = cpu.scratch("s", x.shape, x.dtype)
    scale(x, s, window_sum, alpha, k)
    direct = cpu.scratch("direct", x.shape, x.dtype)
    negative_power(s, beta, direct)
    direct *= grad  # g·s^(-β)
    cross = cpu.scratch("cross", x.shape, x.dtype)
    np.multiply(direct, x, out=cross)
    cross /= s  # g·x·s^(-β) / s
    window_sum(cross, s, True)
    s *= x
    s *= x.dtype.type(2 * alpha * beta)
    np.subtract(direct, s, out=dx)
