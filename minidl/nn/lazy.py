"""Lazy layers: they learn the number of input channels or features from their first input.

Until then their parameters are empty, shape (0,), on the device and in the dtype that they will
have. The first call draws the values, in the same Parameter objects, so an optimizer made before
goes on working, and keeps those that came from a state dict. It turns the layer into an ordinary
one: a ``LazyConv2d`` becomes a ``Conv2d``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import ShapeError
from ..ops import empty
from ..tensor import Tensor
from .batch_norm import BatchNorm1d, BatchNorm2d, _BatchNorm
from .conv import Conv2d
from .conv_transpose import ConvTranspose2d
from .linear import Linear
from .module import Module

__all__ = ["LazyBatchNorm1d", "LazyBatchNorm2d", "LazyConv2d", "LazyConvTranspose2d", "LazyLinear"]


class _Lazy(Module):
    """The base: `_becomes` is the ordinary layer, `_axis` the axis of the input that it counts."""

    _waits = True
    _becomes: ClassVar[Any]
    _axis: ClassVar[int]
    _groups_at: ClassVar[int] = 0  # among the positional arguments

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        Module.__init__(self)
        self._arguments = args, kwargs
        place = self._groups_at
        groups = kwargs.get("groups", args[place] if len(args) > place > 0 else 1)
        undrawn = type("undrawn", (self._becomes,), {"reset_parameters": lambda layer: None})
        few = undrawn(groups, *args, **kwargs)  # checks the arguments; draws no random numbers
        self._text = few.extra_repr().replace(str(groups), "0", 1)
        self._parameters, self._buffers = few._parameters, few._buffers
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.ndim:  # not the number of batches
                tensor.data = empty(0, device=tensor.device, dtype=tensor.dtype)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Become the ordinary layer for this input, and call that."""
        shape = tuple((args[0] if args else kwargs["input"]).shape)
        if len(shape) < -self._axis or self._axis >= len(shape):
            raise ShapeError(f"{type(self).__name__}: the input of shape {shape} has too few axes")
        positional, named = self._arguments
        layer = self._becomes(shape[self._axis], *positional, **named)
        own: dict[str, Tensor | None] = {**self._parameters, **self._buffers}
        for name, tensor in {**layer._parameters, **layer._buffers}.items():
            waiting = own[name]
            if tensor is None or waiting is None:
                continue
            if waiting.shape == (0,):
                waiting.data = tensor.detach().to(waiting.device, waiting.dtype)
            elif waiting.shape != tensor.shape:  # loaded
                raise ShapeError(
                    f"{type(self).__name__}: an input of shape {shape} does not fit the "
                    f"{name} of shape {tuple(waiting.shape)} that was loaded"
                )
        registries = vars(Module())
        vars(self).update({k: v for k, v in vars(layer).items() if k not in registries})
        del self._arguments, self._text
        self.__class__ = self._becomes
        return self.forward(*args, **kwargs)

    def extra_repr(self) -> str:
        return self._text


class LazyLinear(_Lazy, Linear):
    """A :class:`Linear` that takes its number of input features from its first input.

    Its arguments are those of :class:`Linear` without ``in_features``.

    Examples
    --------
    >>> import minidl
    >>> layer = minidl.nn.LazyLinear(2)
    >>> layer(minidl.zeros(4, 3)).shape, layer
    (Size([4, 2]), Linear(in_features=3, out_features=2, bias=True))
    """

    _becomes, _axis = Linear, -1


class LazyConv2d(_Lazy, Conv2d):
    """A :class:`Conv2d` that takes its number of input channels from its first input.

    Its arguments are those of :class:`Conv2d` without ``in_channels``.
    """

    _becomes, _axis, _groups_at = Conv2d, -3, 5


class LazyConvTranspose2d(_Lazy, ConvTranspose2d):
    """A :class:`ConvTranspose2d` that takes its number of input channels from its first input.

    Its arguments are those of :class:`ConvTranspose2d` without ``in_channels``.
    """

    _becomes, _axis, _groups_at = ConvTranspose2d, -3, 5


class LazyBatchNorm1d(_Lazy, _BatchNorm):
    """A :class:`BatchNorm1d` that takes its number of features from its first input.

    Its arguments are those of :class:`BatchNorm1d` without ``num_features``.
    """

    _becomes, _axis = BatchNorm1d, 1


class LazyBatchNorm2d(_Lazy, _BatchNorm):
    """A :class:`BatchNorm2d` that takes its number of channels from its first input.

    Its arguments are those of :class:`BatchNorm2d` without ``num_features``.
    """

    _becomes, _axis = BatchNorm2d, 1
