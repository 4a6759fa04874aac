"""Response normalization of one block, whatever its window: shared by both response norms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...device import Array
from .. import cpu

#: ``window_sum(terms, a, b, factor, out, mirrored)`` writes into `out` the sums over windows, or
#: mirrored windows, of ``terms(a, b)``, times `factor`. `terms` is a ufunc of NumPy.
WindowSum = Callable[[np.ufunc, Array, Array, float, Array, bool], None]


def scale(x: Array, s: Array, window_sum: WindowSum, alpha: float, k: float) -> None:
    """Write ``s = k + α'·Σ x²`` (`alpha` is α')."""
    window_sum(np.multiply, x, x, alpha, s, False)
    s += x.dtype.type(k)


def times_power(x: Array, s: Array, beta: float, out: Array) -> None:
    """Write ``x·s^(-β)``; for the usual β = 0.75 as x / √s / √√s, 10 times as fast as a power."""
    power = cpu.scratch("work", s.shape, s.dtype)
    if beta == 0.75:
        np.sqrt(s, out=power)
        np.divide(x, power, out=out)
        np.sqrt(power, out=power)
        np.divide(out, power, out=out)
    else:
        np.power(s, s.dtype.type(-beta), out=power)
        np.multiply(x, power, out=out)


def normalize(
    x: Array, y: Array, window_sum: WindowSum, alpha: float, beta: float, k: float
) -> None:
    """Write y for one block of x."""
    s = cpu.scratch("s", x.shape, x.dtype)
    scale(x, s, window_sum, alpha, k)
    times_power(x, s, beta, y)


def normalize_backward(
    x: Array, grad: Array, dx: Array, window_sum: WindowSum, alpha: float, beta: float, k: float
) -> None:
    """Write dx for one block of x and dy."""
    s = cpu.scratch("s", x.shape, x.dtype)
    scale(x, s, window_sum, alpha, k)
    direct = cpu.scratch("direct", x.shape, x.dtype)
    times_power(grad, s, beta, direct)  # g·s^(-β)
    cross = cpu.scratch("work", x.shape, x.dtype)
    np.multiply(direct, x, out=cross)
    window_sum(np.divide, cross, s, 2 * alpha * beta, s, True)  # of g·x·s^(-β) / s
    s *= x
    np.subtract(direct, s, out=dx)
