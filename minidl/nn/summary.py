"""A table of a network's layers; ``summary_table.py`` makes it, imported when it is first used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .module import Module

if TYPE_CHECKING:
    from .summary_table import Summary


def summary(model: Module, input_size: Sequence[int] | None = None) -> Summary:
    """Run one blank image through a network and tabulate its layers.

    Parameters
    ----------
    model : Module
        Evaluated once, without gradients; it is left as it was.
    input_size : sequence of int, optional
        Channels, height and width of the image. By default the network's ``input_size``, if it
        has that attribute, else (3, 224, 224).

    Returns
    -------
    Summary

    Raises
    ------
    ArgumentError
        If a size is not positive.

    Examples
    --------
    >>> from minidl.nn import Linear, ReLU, Sequential, summary
    >>> table = summary(Sequential(Linear(4, 3), ReLU(), Linear(3, 2)), (4,))
    >>> print(table)
    Sequential, input 4
    layer  type    k/s/p/groups  output  parameters             MACs  fused with
    ----------------------------------------------------------------------------
    0      Linear                     3          15  = 3·4 + 3    12  1
    1      ReLU                       3
    2      Linear                     2           8  = 2·3 + 2     6
    ----------------------------------------------------------------------------
    total                                        23               18
    trainable parameters: 23
    """
    from .summary_table import tabulate

    return tabulate(model, input_size)


def __getattr__(name: str) -> Any:
    if name not in ("Summary", "SummaryRow"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import summary_table

    return getattr(summary_table, name)
