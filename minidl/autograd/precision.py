"""What :class:`minidl.amp.autocast` does to the arguments of an operation: see there.

``Function.apply`` calls the thread's :class:`Casts`, if there is one. The arrays are cast, not the
tensors: an edge leads to the tensor of the argument, and the walk back casts the gradient to its
dtype, as it does for every operation that promotes an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import Array
from ..errors import ArgumentError
from ..tensor import Tensor, float16, float32
from .modes import mode


class Casts:
    """The casts of one thread inside ``autocast``.

    Parameters
    ----------
    dtype : dtype
        Of the operations that compute in half precision.
    keep : bool
        Whether to cast a parameter only once.
    """

    def __init__(self, dtype: np.dtype, keep: bool) -> None:
        self.dtype, self.keep = dtype, keep
        # by the id of a parameter: itself, the version of its numbers, and their copy
        self._kept: dict[int, tuple[Tensor, int, Any]] = {}

    def __call__(
        self, function: Any, args: Sequence[Any], arrays: list[Any], places: dict[int, int]
    ) -> None:
        """Replace the arrays that `function` wants in another dtype; `places` gets the copies'."""
        wish = function.autocast
        wish = wish(args) if callable(wish) else wish
        if wish is None:
            return
        here, there = (float32, self.dtype) if wish == "half" else (self.dtype, float32)
        for number, arg in enumerate(args):
            if not isinstance(arg, Tensor) or isinstance(arg.array, np.ndarray):
                continue
            if wish == "banned":
                raise ArgumentError(
                    f"{function.__name__}: unsafe in half precision, whose rounded probabilities "
                    "may be 0; use binary_cross_entropy_with_logits, or BCEWithLogitsLoss"
                )
            if arg.dtype == here:
                copy = arrays[number] = self._cast(arg, arrays[number], there)
                places[id(copy)] = number

    def _cast(self, tensor: Tensor, array: Any, dtype: np.dtype) -> Any:
        from ..kernels.cuda.cast import cast

        if not (self.keep and tensor._requires_grad and tensor.is_leaf):
            return cast(array, dtype)
        kept = self._kept.get(id(tensor))
        if kept is None or kept[1] != tensor.version[0] or kept[2].dtype != dtype:
            kept = self._kept[id(tensor)] = tensor, tensor.version[0], cast(array, dtype)
        return kept[2]


def is_cast(tensor: Tensor) -> bool:
    """Return whether ``autocast`` brings the arguments beside `tensor` to one dtype."""
    return mode.autocast is not None and not isinstance(tensor.array, np.ndarray)


def dtype_of_loss(x: Array) -> np.dtype:
    """Return the dtype in which a loss of scores `x` computes."""
    wide = mode.autocast is not None and x.dtype == float16 and not isinstance(x, np.ndarray)
    return float32 if wide else x.dtype
