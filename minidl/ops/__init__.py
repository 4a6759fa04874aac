"""The primitive differentiable operations, one file a kind; PyTorch's names.

``elementwise`` · ``reduce`` · ``shape`` · ``index`` · ``matmul`` · ``creation``
"""

from .creation import (
    arange, bernoulli, empty, empty_like, eye, full, full_like, linspace, normal, ones, ones_like,
    rand, rand_like, randint, randn, randn_like, randperm, zeros, zeros_like,
)  # fmt: skip
from .elementwise import (
    abs, add, bitwise_and, bitwise_or, bitwise_xor, ceil, clamp, cos, div, eq, exp, floor,
    floor_divide, ge, gt, isfinite, isinf, isnan, le, log, log1p, logical_and, logical_not,
    logical_or, logical_xor, lt, masked_fill, maximum, minimum, mul, ne, neg, pow, reciprocal,
    remainder, round, rsqrt, sign, sin, sqrt, square, sub, where,
)  # fmt: skip
from .index import (
    argsort, assign, bincount, gather, getitem, index_select, masked_select, nonzero, one_hot,
    scatter, sort, topk, unique,
)  # fmt: skip
from .matmul import addmm, bmm, dot, matmul, mm, mv, outer
from .reduce import (
    all, allclose, amax, amin, any, argmax, argmin, count_nonzero, cumsum, equal, isclose,
    logsumexp, max, mean, min, norm, prod, std, sum, var,
)  # fmt: skip
from .shape import (
    broadcast_to, cast, cat, chunk, clone, concat, concatenate, contiguous, expand, expand_as,
    flatten, flip, move, movedim, permute, repeat, repeat_interleave, reshape, roll, split,
    squeeze, stack, t, transpose, tril, triu, unbind, unflatten, unsqueeze, view, view_as,
)  # fmt: skip

#: The functions that are methods of Tensor as well.
METHODS = (
    "abs", "add", "all", "allclose", "amax", "amin", "any", "argmax", "argmin", "argsort",
    "bincount", "bmm", "broadcast_to", "ceil", "chunk", "clamp", "cos", "count_nonzero", "cumsum",
    "div", "dot", "eq", "equal", "exp", "expand", "expand_as", "flatten", "flip", "floor",
    "floor_divide", "gather", "ge", "gt", "index_select", "isclose", "isfinite", "isinf", "isnan",
    "le", "log", "log1p", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp",
    "lt", "masked_fill", "masked_select", "matmul", "max", "maximum", "mean", "min", "minimum",
    "mm", "movedim", "mul", "mv", "ne", "neg", "nonzero", "norm", "outer", "permute", "pow",
    "prod", "reciprocal", "remainder", "repeat", "repeat_interleave", "reshape", "roll", "round",
    "rsqrt", "scatter", "sign", "sin", "sort", "split", "sqrt", "square", "squeeze", "std", "sub",
    "sum", "t", "topk", "transpose", "tril", "triu", "unbind", "unflatten", "unique", "unsqueeze",
    "var", "view", "view_as",
)  # fmt: skip

__all__ = [
    *METHODS, "addmm", "arange", "assign", "bernoulli", "bitwise_and", "bitwise_or", "bitwise_xor",
    "cast", "cat", "clone", "concat", "concatenate", "contiguous", "empty", "empty_like", "eye",
    "full", "full_like", "getitem", "linspace", "move", "normal", "one_hot", "ones", "ones_like",
    "rand", "rand_like", "randint", "randn", "randn_like", "randperm", "stack", "where", "zeros",
    "zeros_like",
]  # fmt: skip
