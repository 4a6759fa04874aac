"""The primitive differentiable operations, one file a kind, under PyTorch's names.

=============== ====================================================================
file            operations
=============== ====================================================================
``arithmetic``  of two tensors: ``+ - * /``, powers, maxima
``elementwise`` of one number: exp, sqrt, clamp, ...
``comparison``  ``==``, ``<``, logic, and the choice by a condition (``where``)
``reduce``      of an axis to one number: sums, means, extremes, norms
``shape``       rearrangements: reshape, permute, cat, split, ...
``diagonals``   diagonals and triangles of matrices
``index``       ``x[index]`` and ``x[index] = y``
``gathering``   reading and writing at positions along an axis
``sorting``     sort, topk, median, unique
``counting``    nonzero, bincount, one-hot
``products``    matrix products, einsum
``creation``    new tensors: constants, ranges, random numbers
``dtypes``      what dtypes can hold, and which one an operation returns
``inplace``     changes in place
``methods``     makes all of them methods and operators of Tensor
=============== ====================================================================

``operands`` and ``axes`` hold what they share: dtypes and broadcasting, checked axes. ``spelling``
adds PyTorch's other spellings: ``axis=``, ``size=``, ``out=``. With ``numpy_functions``, NumPy's
functions do them too: ``np.exp(x)``.
"""

from .arithmetic import *
from . import numpy_functions as _numpy_functions
from .comparison import *
from .counting import *
from .creation import *
from .diagonals import *
from .dtypes import *
from .elementwise import *
from .gathering import *
from .index import *
from .methods import FUNCTIONS
from .products import *
from .reduce import *
from .shape import *
from .sorting import *

globals().update(FUNCTIONS)

__all__ = sorted(FUNCTIONS)
