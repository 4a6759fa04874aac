"""One :class:`Update` for each parameter, for the kernels of optimizers."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..device import Array


class Update(NamedTuple):
    """The update of one parameter, or of a piece of it."""

    param: Array  #: changed in place
    grad: Array  #: read only; same logical shape
    state: tuple[Array, ...]  #: changed in place; same logical shape each
    numbers: tuple[Any, ...]  #: the learning rate and the rule's other numbers and flags
