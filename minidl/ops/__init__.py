"""The primitive differentiable operations, one file a kind; PyTorch's names.

``elementwise`` · ``reduce`` · ``shape`` · ``index`` · ``products`` · ``creation`` · ``inplace``,
and ``methods``, which makes them methods of Tensor.
"""

from .creation import *
from .elementwise import *
from .index import *
from .methods import FUNCTIONS
from .products import *
from .reduce import *
from .shape import *

__all__ = sorted(FUNCTIONS)
