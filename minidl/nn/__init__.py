"""Layers, one page each: the math, the plain code, the gradient, the function, the module.

In the order in which a picture travels through AlexNet: ``im2col`` (windows), ``conv``,
``activation``, ``response_norm``, ``max_pool``, ``flatten``, ``linear``, ``dropout``,
``cross_entropy``.
``pages`` lists all. ``module`` is the base of all layers, ``containers`` chain them, ``fusion``
runs neighbors as one, ``init`` sets initial values, ``functional`` has the functions under one
roof, ``utils`` clips gradients.
"""

from typing import TYPE_CHECKING

from ..missing import attributes
from . import functional, init, methods, pages, utils
from .graph import graph
from .hooks import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)
from .pages import *
from .summary import summary

if TYPE_CHECKING:
    from .summary_table import Summary as Summary
    from .tape_graph import Graph as Graph


_PLACES = {
    "parallel": "parallel", "modules": "modules", "DataParallel": "parallel",
    "SyncBatchNorm": "sync_batch_norm", "Summary": "summary_table", "Graph": "tape_graph",
}  # fmt: skip

if not TYPE_CHECKING:
    __all__ = [
        *pages.__all__, "Graph", "Summary", "functional", "graph", "init",
        "register_module_forward_hook", "register_module_forward_pre_hook",
        "register_module_full_backward_hook", "register_module_full_backward_pre_hook",
        "summary", "utils",
    ]  # fmt: skip

__getattr__ = attributes(globals(), _PLACES)
