"""The fully connected layer on the CPU: products cut along the weights.

AlexNet's fc6 is 4096 x 9216: its weights, 151 MB, are the largest thing that is read. Each lane
reads its own rows of W once for the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from . import epilogue as epilogues


def forward(x: Array, weight: Array, bias: Array | None, *, epilogue: Epilogue = None) -> Array:
    """Return x·Wᵀ + b for rows x (N, I), or its epilogue."""
    y = cpu.empty((x.shape[0], weight.shape[0]), x.dtype)

    def lane(rows: slice) -> None:
        own_bias = None if bias is None else bias[rows]
        multiply_turned(weight[rows], x.T, own_bias, y[:, rows], epilogue)

    cpu.parallel(lane, _pieces(weight.shape[0], x.shape[0] * weight.size))
    return y


def backward(
    grad: Array,
    x: Array,
    weight: Array,
    want: Sequence[bool],
    *,
    epilogue: Epilogue = None,
    y: Array | None = None,
    overwrite: bool = False,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dW and db (None if not needed).

    With an epilogue, whose result was `y`, `grad` is the gradient after it; `overwrite` allows
    its memory to be used.
    """
    if epilogue:
        assert y is not None
        grad = epilogues.gradient(epilogue, y, grad, overwrite)
    return (
        _input_gradient(grad, weight) if want[0] else None,
        _weight_gradient(grad, x) if want[1] else None,
        grad.sum(axis=0) if want[2] else None,
    )


def _input_gradient(grad: Array, weight: Array) -> Array:
    dx = cpu.empty((grad.shape[0], weight.shape[1]), grad.dtype)

    def lane(columns: slice) -> None:
        np.matmul(grad, weight[:, columns], out=dx[:, columns])

    cpu.parallel(lane, _pieces(weight.shape[1], grad.shape[0] * weight.size))
    return dx


def _weight_gradient(grad: Array, x: Array) -> Array:
    dweight = cpu.empty((grad.shape[1], x.shape[1]), grad.dtype)
    pieces = _pieces(grad.shape[1], x.shape[0] * dweight.size)
    # in parts, a result that does not fit the cache takes twice as long
    multiply = cpu.multiply_wide if len(pieces) == 1 else np.matmul

    def lane(rows: slice) -> None:
        multiply(grad[:, rows].T, x, dweight[rows])

    cpu.parallel(lane, pieces)
    return dweight


def _pieces(length: int, multiplications: int) -> list[slice]:
    # few pieces: BLAS packs the other factor anew for each
    return cpu.split(length, cpu.pieces_of_product(multiplications, cpu.BANDS))


def multiply_turned(
    weight: Array, columns: Array, bias: Array | None, y: Array, epilogue: Epilogue
) -> None:
    """Write ``(W·X)ᵀ + b``, or its epilogue, into y (N, O), for W (O, K) and X (K, N).

    OpenBLAS takes up to 40 % longer for ``Xᵀ·Wᵀ`` (AVX-512, two images and more).
    """
    turned = cpu.scratch("turned", y.shape[::-1], y.dtype)
    np.matmul(weight, columns, out=turned)
    write_turned(turned, bias, y, epilogue)


def write_turned(turned: Array, bias: Array | None, y: Array, epilogue: Epilogue) -> None:
    """Write ``Tᵀ + b``, or its epilogue, into y (N, O), for T (O, N)."""
    if bias is None:
        y[...] = turned.T
    else:
        np.add(turned.T, bias, out=y)
    epilogues.apply(epilogue, y, y)
