"""``Variable``, which older scripts wrap tensors in: since PyTorch 0.4 it is a Tensor."""

from __future__ import annotations

from ..tensor import Tensor


def Variable(data: Tensor, requires_grad: bool | None = None) -> Tensor:
    """Return a tensor with the memory of `data`.

    Parameters
    ----------
    data : Tensor
    requires_grad : bool, optional
        Default: as `data`, which is then returned itself.
    """
    return data if requires_grad is None else data.detach().requires_grad_(requires_grad)
