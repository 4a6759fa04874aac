"""The layers' functions under one roof, as ``torch.nn.functional``; each stands on its own page."""

from typing import TYPE_CHECKING

from ..missing import attributes
from ..ops import one_hot
from . import pages

if TYPE_CHECKING:
    from .pages import *

globals().update(pages.FUNCTIONS)

__all__ = sorted([*pages.FUNCTIONS, "one_hot"])

__getattr__ = attributes(globals())
