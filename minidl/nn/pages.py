"""The pages of layers, one line each: what they list in ``__all__`` is exported from here.

Classes become names of :mod:`minidl.nn`, functions names of :mod:`minidl.nn.functional`.
"""

from typing import TYPE_CHECKING, Any

from ..ops.spelling import explained
from .activation import *
from .adaptive_avg_pool import *
from .avg_pool import *
from .batch_norm import *
from .binary_cross_entropy import *
from .containers import *
from .conv import *
from .conv_transpose import *
from .cross_entropy import *
from .dropout import *
from .embedding import *
from .flatten import *
from .gelu import *
from .group_norm import *
from .im2col import *
from .instance_norm import *
from .interpolation import *
from .layer_norm import *
from .lazy import *
from .linear import *
from .local import *
from .max_pool import *
from .module import *
from .nll_loss import *
from .padding import *
from .pixel_shuffle import *
from .rectifiers import *
from .regression_loss import *
from .response_norm import *
from .sequential import *
from .softmax import *
from .spatial_response_norm import *

_public = {
    name: value
    for name, value in list(globals().items())
    if getattr(value, "__module__", "").startswith("minidl.nn.")
}

#: The functions of all pages, for ``minidl.nn.functional``.
FUNCTIONS: dict[str, Any] = {
    name: explained(value, "minidl.nn.functional")
    for name, value in _public.items()
    if not isinstance(value, type)
}

if not TYPE_CHECKING:  # type checkers can't follow it, and see all names
    __all__ = [name for name, value in _public.items() if isinstance(value, type)]
