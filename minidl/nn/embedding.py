"""Embedding: a table of vectors, read by integers.

Forward. With the weights W (V, D), a row for each of V words, and integers i of any shape:

    y[..., :] = W[i[...], :]

This is the product of W with a one-hot vector, without the multiplications by 0.

Backward. A row of W enters y wherever its number is read, so it collects the gradients from there;
rows that are not read get 0:

    ∂L/∂W[v] = Σ over places with i = v of ∂L/∂y

The row `padding_idx` gets no gradient: it stands for "no word". With `scale_grad_by_freq` the sum
is divided by the number of its terms, so that frequent words learn no faster than rare ones.

Shapes: i (...) → y (..., D).

Source: Bengio et al., "A neural probabilistic language model" (2003); arguments as PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Context, Function
from ..device import Array, array_module, check_one_device
from ..errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from ..ops import empty
from ..ops.index import add_at
from ..ops.inplace import changed
from ..ops.precision import widened
from ..tensor import Tensor
from . import init
from .module import Module, Parameter

__all__ = ["Embedding", "embedding"]

# --- The plain code -------------------------------------------------------------------------------


def forward(index: Array, weight: Array) -> Array:
    """Return the rows that `index` names."""
    return weight[index]  # (..., D)


def backward(grad: Array, index: Array, rows: int, padding: int | None, by_freq: bool) -> Array:
    """Return ∂L/∂W: gradients of rows that are read several times are added."""
    xp = array_module(grad)
    if by_freq:
        counts = xp.bincount(index.reshape(-1), minlength=rows)  # (V,)
        (grad,) = widened(grad)
        grad = grad / counts[index][..., None].astype(grad.dtype)  # (..., D)
    dweight = xp.zeros((rows, grad.shape[-1]), grad.dtype)  # (V, D)
    add_at(dweight, (..., (index,)), grad)  # not dweight[index] += grad, which keeps one of several
    if padding is not None:
        dweight[padding] = 0
    return dweight


def renormalize(weight: Array, index: Array, max_norm: float, norm_type: float) -> None:
    """Shorten, in place, the rows that are read and longer than `max_norm`."""
    rows = weight[index.reshape(-1)]  # (N, D)
    sizes = abs(rows)
    if math.isinf(norm_type):
        norms = sizes.max(axis=1, keepdims=True)  # (N, 1)
    else:
        norms = (sizes**norm_type).sum(axis=1, keepdims=True) ** (1 / norm_type)
    shortened = rows * (max_norm / (norms + 1e-7)).astype(rows.dtype)
    # A row that is read twice is written twice, with the same numbers.
    weight[index.reshape(-1)] = array_module(weight).where(norms > max_norm, shortened, rows)


# --- The operation --------------------------------------------------------------------------------


class EmbeddingFunction(Function):
    """``weight[index]``; saves the index."""

    @staticmethod
    def forward(
        ctx: Context, index: Array, weight: Array, padding: int | None, by_freq: bool
    ) -> Array:
        ctx.save_for_backward(index)
        ctx.settings = len(weight), padding, by_freq
        return forward(index, weight)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (index,) = ctx.saved_tensors
        return None, backward(grad, index, *ctx.settings), None, None


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return rows of a table.

    Parameters
    ----------
    input : Tensor of integers, any shape
        Numbers of rows, from 0 to V - 1.
    weight : Tensor, shape (V, D)
    padding_idx : int, optional
        Number of a row that gets no gradient; a negative one counts from the end.
    max_norm : float, optional
        Rows that are read and have a larger norm are first scaled down to it, in `weight` itself.
    norm_type : float
        The p of the p-norm that measures a row. Default 2.
    scale_grad_by_freq : bool
        Divide the gradient of a row by the number of times it is read. Default False.
    sparse : bool
        Must be False: gradients are dense.

    Returns
    -------
    Tensor, shape (..., D)

    Raises
    ------
    DTypeError
        `input` is not of integers.
    ShapeError
        `weight` does not have two axes.
    ArgumentError
        (also an IndexError) `input` names no row; `padding_idx` is out of range; `sparse`.

    Examples
    --------
    >>> import minidl
    >>> table = minidl.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    >>> minidl.nn.functional.embedding(minidl.tensor([2, 1, 2]), table)
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    index, table = input.array, weight.array
    if index.dtype.kind not in "iu":
        raise DTypeError(f"embedding: expected input of integers, got {input.dtype}")
    if table.ndim != 2:
        raise ShapeError(f"embedding: expected weight of shape (V, D), got {tuple(table.shape)}")
    check_one_device("embedding", input=index, weight=table)
    if sparse:
        raise ArgumentError("embedding: gradients are dense, sparse=True is not supported")
    rows = len(table)
    padding = _padding("embedding", padding_idx, rows)
    if index.size and not bool(((index >= 0) & (index < rows)).all()):
        raise IndexOutOfRange(f"embedding: input must be in 0 ... {rows - 1}, the rows of weight")
    if max_norm is not None:
        renormalize(table, index, max_norm, norm_type)
        changed(weight)
    return EmbeddingFunction.apply(input, weight, padding, scale_grad_by_freq)


def _padding(name: str, padding_idx: int | None, rows: int) -> int | None:
    """Return `padding_idx` counted from the front."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"{name}: padding_idx must be in {-rows} ... {rows - 1}")
    return padding_idx % rows


class Embedding(Module):
    """A table of vectors to learn: see :func:`embedding`.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        V and D.
    padding_idx : int, optional
        Number of a row that is 0 at start and gets no gradient.
    max_norm, norm_type, scale_grad_by_freq, sparse
        As in :func:`embedding`.
    device, dtype : optional
        Default float32 on the CPU.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from the standard normal distribution.

    Raises
    ------
    ArgumentError
        `padding_idx` is out of range.

    Examples
    --------
    >>> import minidl
    >>> layer = minidl.nn.Embedding(10, 3, padding_idx=0)
    >>> layer(minidl.tensor([[1, 2, 4], [4, 0, 0]])).shape
    Size([2, 3, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _padding("Embedding", padding_idx, num_embeddings)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.weight = Parameter(empty(num_embeddings, embedding_dim, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw the weight; the row `padding_idx` becomes 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.array[self.padding_idx] = 0

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """Return a layer whose weight is a given table.

        Parameters
        ----------
        embeddings : Tensor, shape (V, D)
        freeze : bool
            Do not learn it. Default True.
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
            As in :func:`embedding`.

        Raises
        ------
        ShapeError
            `embeddings` does not have two axes.
        """
        if embeddings.ndim != 2:
            raise ShapeError(
                f"Embedding.from_pretrained: expected embeddings of shape (V, D), got "
                f"{tuple(embeddings.shape)}"
            )
        layer = cls(0, embeddings.array.shape[1])
        layer.num_embeddings = len(embeddings.array)
        layer.padding_idx = _padding("Embedding", padding_idx, layer.num_embeddings)
        layer.max_norm, layer.norm_type = max_norm, norm_type
        layer.scale_grad_by_freq, layer.sparse = scale_grad_by_freq, sparse
        layer.weight = Parameter(embeddings.detach(), requires_grad=not freeze)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        """Return the rows of the weight that `input` names."""
        options = self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        return embedding(input, self.weight, *options, self.sparse)

    def extra_repr(self) -> str:
        usual: dict[str, Any] = {"padding_idx": None, "max_norm": None, "norm_type": 2.0}
        usual |= {"scale_grad_by_freq": False}
        own = vars(self)
        changed = [f", {name}={own[name]}" for name in usual if own[name] != usual[name]]
        return f"{self.num_embeddings}, {self.embedding_dim}" + "".join(changed)
