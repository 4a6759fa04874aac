"""Epilogues on the GPU: see :mod:`minidl.kernels.epilogue`."""

from __future__ import annotations

from ...device import Array
from ..epilogue import Epilogue
from . import relu


def apply(epilogue: Epilogue, y: Array) -> None:
    """Overwrite an array by its epilogue; nothing without one."""
    if epilogue == "relu":
        relu.forward(y, inplace=True)


def gradient(epilogue: Epilogue, y: Array, grad: Array, overwrite: bool) -> Array:
    """Return the gradient before the epilogue, from its result y and the gradient after it.

    In the memory of `grad` if `overwrite`.
    """
    return relu.backward(y, grad, overwrite=overwrite) if epilogue == "relu" else grad
