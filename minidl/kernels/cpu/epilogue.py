"""Epilogues on the CPU: see :mod:`minidl.kernels.epilogue`."""

from __future__ import annotations

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from . import relu


def apply(epilogue: Epilogue, block: Array, out: Array) -> None:
    """Write the epilogue of one block into `out`, which may be `block`; nothing without one."""
    if epilogue == "relu":
        relu.rectify(block, out)


def gradient(epilogue: Epilogue, y: Array, grad: Array, overwrite: bool) -> Array:
    """Return the gradient before the epilogue, from its result y and the gradient after it.

    In the memory of `grad` if `overwrite`.
    """
    return relu.backward(y, grad, overwrite=overwrite) if epilogue == "relu" else grad


def gradient_of_block(epilogue: Epilogue, y: Array, grad: Array) -> None:
    """Overwrite one block of gradients, given the epilogue's result y."""
    if epilogue == "relu":
        cpu.keep_where(y > 0, grad, grad)
