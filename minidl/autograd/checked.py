"""Attributes of tensors that are checked when set: ``grad``, ``data``; and read-only ones."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from ..errors import AutogradError, DTypeError
from ..tensor import Tensor, describe


def _set_grad(self: Tensor, grad: Any) -> None:
    if grad is not None:
        if not isinstance(grad, Tensor):
            raise DTypeError(f"grad: expected a Tensor or None, got a {type(grad).__name__}")
        if grad is self:
            raise AutogradError("grad: a tensor can't be its own gradient")
        for what in "shape", "dtype":
            given, expected = getattr(grad.array, what), getattr(self.array, what)
            if given != expected:
                raise AutogradError(
                    f"grad: expected the {what} of {describe(self)}, {expected}, got {given}"
                )
        if type(grad.array) is not type(self.array) or grad.device != self.device:
            raise AutogradError(f"grad: expected one on {self.device}, got one on {grad.device}")
    self._grad = grad


def _delete_grad(self: Tensor) -> None:
    self._grad = None


def _get_data(self: Tensor) -> Tensor:
    return Tensor(self.array)


def _set_data(self: Tensor, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise DTypeError(f"data: expected a Tensor, got a {type(value).__name__}")
    if self._requires_grad and value.dtype.kind != "f":
        raise AutogradError(
            f"data: {describe(self)} requires a gradient, so its numbers must be floats, not "
            f"{value.dtype}"
        )
    self.array = value.array


def _base(self: Tensor) -> Tensor | None:
    return None if self._view is None else self._view.base


def attach() -> None:
    """Give :class:`Tensor` these attributes."""
    for name, value in {
        "grad": property(
            attrgetter("_grad"),
            _set_grad,
            _delete_grad,
            "The gradient that backward has added up so far, a Tensor like this one, or None.",
        ),
        "data": property(_get_data, _set_data, doc="The same memory as a tensor outside the tape."),
        "_version": property(
            lambda self: self.version[0], doc="How often the numbers were changed in place."
        ),
        "_base": property(_base, doc="The tensor whose memory this view shows, or None."),
        "output_nr": property(
            lambda self: 0 if self.node is None else self.output_index,
            doc="Which output of its ``grad_fn`` the tensor is.",
        ),
    }.items():
        setattr(Tensor, name, value)
