"""Matrix products.

For ``Y = A·B`` with A of (M, K) and B of (K, N): dA = dY·Bᵀ and dB = Aᵀ·dY. Leading axes are a
batch of such products, with broadcasting; a 1-D operand is a row on the left and a column on the
right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..autograd.precision import is_cast
from ..autograd.tape_array import recorded_by
from ..device import Array
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels.cpu import product as cpu_product
from ..kernels.cuda import product as cuda_product
from ..tensor import Tensor, float16, float32
from .operands import unbroadcast
from .precision import wide_in_between, widened

__all__ = ["addmm", "baddbmm", "bmm", "dot", "einsum", "matmul", "mm", "mv", "outer"]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  #: names of axes


@recorded_by(lambda: Matmul)
def product(a: Array, b: Array) -> Array:
    """Return ``a @ b`` of arrays of at least two axes."""
    if not isinstance(a, np.ndarray):
        return cuda_product.product(a, b)
    if a.dtype == b.dtype == float16:
        return cpu_product.product(a.astype(float32), b.astype(float32)).astype(float16)
    return cpu_product.product(a, b)


class Matmul(Function):
    """``A @ B`` of at least two axes each."""

    autocast = "half"
    read_for = 1, 0

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save_for_backward(a, b)
        return product(a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        a, b = ctx.saved_tensors
        if grad.dtype == float16 and isinstance(grad, np.ndarray):  # rounded after the batch's sum
            a, b, grad = widened(a, b, grad)
        need_a, need_b = ctx.needs_input_grad
        return (
            # (..., M, N) @ (..., N, K) and (..., K, M) @ (..., M, N)
            unbroadcast(product(grad, b.swapaxes(-1, -2)), a.shape) if need_a else None,
            unbroadcast(product(a.swapaxes(-1, -2), grad), b.shape) if need_b else None,
        )


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product ``input @ other``.

    Parameters
    ----------
    input : Tensor, shape (..., M, K) or (K,)
    other : Tensor, shape (..., K, N) or (K,)

    Returns
    -------
    Tensor, shape (..., M, N), without the axis of a 1-D operand

    Raises
    ------
    ShapeError
        The inner lengths differ, or an operand has no axes.
    DTypeError
        The dtypes differ.

    Examples
    --------
    >>> import minidl
    >>> minidl.ones(2, 3) @ minidl.ones(3)
    tensor([3., 3.])
    """
    if input.ndim == 0 or other.ndim == 0:
        raise ShapeError("matmul: both operands need at least one axis")
    if input.dtype != other.dtype and not is_cast(input):
        raise DTypeError(f"matmul: expected one dtype, got {input.dtype} and {other.dtype}")
    a = input.unsqueeze(0) if input.ndim == 1 else input
    b = other.unsqueeze(1) if other.ndim == 1 else other
    if a.array.shape[-1] != b.array.shape[-2]:
        raise ShapeError(
            f"matmul: shapes {tuple(input.shape)} and {tuple(other.shape)} do not fit: the last "
            f"axis of the first is {a.array.shape[-1]}, the second expects {b.array.shape[-2]}"
        )
    y = Matmul.apply(a, b)
    if other.ndim == 1:
        y = y.squeeze(-1)
    if input.ndim == 1:
        y = y.squeeze(-2 if other.ndim > 1 else -1)
    return y


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the product of two matrices."""
    if input.ndim != 2 or mat2.ndim != 2:
        raise ShapeError(f"mm: expected two matrices, got {input.ndim} and {mat2.ndim} axes")
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the products of two batches of matrices, (B, M, K) and (B, K, N)."""
    if input.ndim != 3 or mat2.ndim != 3:
        raise ShapeError(f"bmm: expected two batches, got {input.ndim} and {mat2.ndim} axes")
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Return the product of a matrix and a vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise ShapeError(f"mv: expected a matrix and a vector, got {input.shape} and {vec.shape}")
    return matmul(input, vec)


def dot(input: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of two vectors."""
    if input.ndim != 1 or other.ndim != 1:
        raise ShapeError(f"dot: expected two vectors, got {input.ndim} and {other.ndim} axes")
    return matmul(input, other)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the outer product of two vectors."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise ShapeError(f"outer: expected two vectors, got {input.shape} and {vec2.shape}")
    return input.unsqueeze(1) * vec2.unsqueeze(0)


@wide_in_between
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """Return ``beta * input + alpha * mat1 @ mat2``."""
    return _weighted(input, mm(mat1, mat2), beta, alpha)


@wide_in_between
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """Return ``beta * input + alpha * batch1 @ batch2`` of batches of matrices."""
    return _weighted(input, bmm(batch1, batch2), beta, alpha)


def _weighted(input: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    product = product if alpha == 1 else alpha * product
    if beta == 0:  # whatever input holds, NaN included
        return product
    return (input if beta == 1 else beta * input) + product


def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """Return sums of products, axes named by letters: ``einsum("bij,bjk->bik", a, b)``.

    Parameters
    ----------
    equation : str
        The operands' axes, comma between operands; after ``->`` those of the result. An axis that
        is missing there is summed. Without ``->``: the letters that occur once, sorted.
        ``...`` stands for any axes.
    *operands : Tensor

    Raises
    ------
    ArgumentError
        The equation does not fit the operands.

    Notes
    -----
    The operands are multiplied pair after pair: the axes of a pair are sorted into those that both
    have and that are needed later (a batch), those that only the first or the second has, and those
    that both have and that are not needed later. Then the pair is one batch of matrix products.
    """
    if not operands:
        raise ArgumentError("einsum: expected an equation and at least one operand")
    tensors: Any = operands[0] if isinstance(operands[0], (list, tuple)) else operands
    terms, result = _letters(equation, tensors)
    tensors = [_summed_diagonals(t, term) for t, term in zip(tensors, terms, strict=True)]
    names = ["".join(dict.fromkeys(term)) for term in terms]
    while len(tensors) > 1:
        later = set("".join(names[2:]) + result)
        product, letters = _pair(tensors, names, later)
        tensors[:2], names[:2] = [product], [letters]
    (tensor,), (letters,) = tensors, names
    dropped = [axis for axis, letter in enumerate(letters) if letter not in result]
    if dropped:
        tensor = tensor.sum(dropped)
    kept = [letter for letter in letters if letter in result]
    return tensor.permute([kept.index(letter) for letter in result])


def _letters(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """Return the letters of every operand and of the result, with ``...`` written out."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise ArgumentError(f"einsum: {equation!r} names {len(terms)} operands, got {len(tensors)}")
    unused = [c for c in LETTERS if c not in equation]
    longest = ""
    for i, (term, tensor) in enumerate(zip(terms, tensors, strict=True)):
        if "..." in term:
            count = tensor.ndim - len(term) + 3
            dots = "".join(unused[:count][::-1])  # aligned at the right, as broadcasting is
            longest = max(longest, dots, key=len)
            terms[i] = term.replace("...", dots)
        if len(terms[i]) != tensor.ndim or not (terms[i] + "a").isalpha():
            raise ArgumentError(
                f"einsum: {term!r} does not fit operand {i} of shape {tuple(tensor.shape)}"
            )
    if arrow:
        result = result.replace("...", longest)
    else:
        once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        result = longest + "".join(once)
    if len(set(result)) < len(result) or not set(result) <= set("".join(terms)):
        raise ArgumentError(f"einsum: the result of {equation!r} must name axes of operands, once")
    return terms, result


def _summed_diagonals(tensor: Tensor, term: str) -> Tensor:
    """Take the diagonal of axes with the same letter, leaving the first of them."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            a = term.index(letter)
            b = term.index(letter, a + 1)
            if tensor.array.shape[a] != tensor.array.shape[b]:
                raise ShapeError(f"einsum: {letter!r} names axes of two lengths in {tensor.shape}")
            tensor = tensor.diagonal(0, a, b).movedim(-1, a)
            term = term[:b] + term[b + 1 :]
    return tensor


def _pair(tensors: list[Tensor], names: list[str], later: set[str]) -> tuple[Tensor, str]:
    """Multiply the first two tensors and sum what is not needed `later`."""
    (a, b), (in_a, in_b) = tensors[:2], names[:2]
    lengths: dict[str, int] = {}
    for tensor, letters in ((a, in_a), (b, in_b)):
        for letter, length in zip(letters, tensor.array.shape, strict=True):
            if lengths.setdefault(letter, length) == 1:
                lengths[letter] = length
            elif length not in (1, lengths[letter]):
                raise ShapeError(f"einsum: an axis has lengths {lengths[letter]} and {length}")
    batch = [c for c in in_a if c in in_b and c in later]
    inner = [c for c in in_a if c in in_b and c not in later]
    rows = [c for c in in_a if c not in in_b]
    columns = [c for c in in_b if c not in in_a]

    def arranged(tensor: Tensor, letters: str, *groups: list[str]) -> Tensor:
        order = [c for group in groups for c in group]
        full = tensor.permute([letters.index(c) for c in order])
        full = full.expand([lengths[c] for c in order])
        return full.reshape([math.prod(lengths[c] for c in group) for group in groups])

    left = arranged(a, in_a, batch, rows, inner)  # (batch, rows, inner)
    product = bmm(left, arranged(b, in_b, batch, inner, columns))  # (batch, rows, columns)
    letters = "".join(batch + rows + columns)
    return product.reshape([lengths[c] for c in letters]), letters
