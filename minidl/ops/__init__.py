"""The primitive differentiable operations, one file a kind; PyTorch's names.

``elementwise`` · ``reduce`` · ``shape`` · ``index`` · ``matmul`` · ``creation``
"""

from .creation import (
    arange, bernoulli, empty, empty_like, eye, full, full_like, linspace, multinomial,
    normal, ones, ones_like, rand, rand_like, randint, randn, randn_like, randperm, zeros,
    zeros_like,
)  # fmt: skip
from .elementwise import (
    abs, add, addcdiv, addcmul, bitwise_and, bitwise_or, bitwise_xor, ceil, clamp, clamp_max,
    clamp_min, clip, cos, div, eq, exp, expm1, floor, floor_divide, fmod, ge, gt, isfinite, isinf,
    isnan, le, lerp, log, log10, log1p, log2, logical_and, logical_not, logical_or, logical_xor, lt,
    masked_fill, maximum, minimum, mul, ne, neg, pow, reciprocal, remainder, round, rsqrt, sign,
    sin, sqrt, square, sub, trunc, where,
)  # fmt: skip
from .index import (
    argsort, assign, bincount, diag, diagonal, gather, getitem, index_add, index_fill, index_select,
    isin, masked_select, nonzero, one_hot, scatter, scatter_add, sort, take_along_dim, topk, trace,
    unique,
)  # fmt: skip
from .matmul import addmm, baddbmm, bmm, dot, einsum, matmul, mm, mv, outer
from .reduce import (
    all, allclose, amax, amin, any, argmax, argmin, count_nonzero, cumprod, cumsum, equal, isclose,
    logsumexp, max, mean, median, min, norm, prod, std, std_mean, sum, var, var_mean,
)  # fmt: skip
from .shape import (
    broadcast_to, cast, cat, chunk, clone, concat, concatenate, contiguous, expand, expand_as,
    flatten, flip, hstack, meshgrid, move, movedim, narrow, permute, repeat, repeat_interleave,
    reshape, roll, select, split, squeeze, stack, swapaxes, t, tile, transpose, tril, triu, unbind,
    unflatten, unsqueeze, view, view_as, vstack,
)  # fmt: skip

#: The functions that are methods of Tensor as well.
METHODS: tuple[str, ...] = (
    "abs", "add", "addcdiv", "addcmul", "addmm", "all", "allclose", "amax", "amin", "any", "argmax",
    "argmin", "argsort", "baddbmm", "bernoulli", "bincount", "bmm", "broadcast_to", "ceil", "chunk",
    "clamp", "clamp_max", "clamp_min", "clip", "cos", "count_nonzero", "cumprod", "cumsum", "diag",
    "diagonal", "div", "dot", "eq", "equal", "exp", "expand", "expand_as", "expm1", "flatten",
    "flip", "floor", "floor_divide", "fmod", "gather", "ge", "gt", "index_add", "index_fill",
    "index_select", "isclose", "isfinite", "isin", "isinf", "isnan", "le", "lerp", "log", "log10",
    "log1p", "log2", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp", "lt",
    "masked_fill", "masked_select", "matmul", "max", "maximum", "mean", "median", "min", "minimum",
    "mm", "movedim", "mul", "multinomial", "mv", "narrow", "ne", "neg", "nonzero", "norm", "outer",
    "permute", "pow", "prod", "reciprocal", "remainder", "repeat", "repeat_interleave", "reshape",
    "roll", "round", "rsqrt", "scatter", "scatter_add", "select", "sign", "sin", "sort", "split",
    "sqrt", "square", "squeeze", "std", "sub", "sum", "swapaxes", "t", "take_along_dim", "tile",
    "topk", "trace", "transpose", "tril", "triu", "trunc", "unbind", "unflatten", "unique",
    "unsqueeze", "var", "view", "view_as",
)  # fmt: skip

#: The functions that Tensor has in place as well, with an underscore behind the name.
IN_PLACE: tuple[str, ...] = (
    "abs", "add", "addcdiv", "addcmul", "ceil", "clamp", "clamp_max", "clamp_min", "div", "exp",
    "floor", "index_add", "index_fill", "lerp", "log", "masked_fill", "mul", "neg", "pow",
    "reciprocal", "remainder", "round", "rsqrt", "scatter", "scatter_add", "sign", "sqrt", "square",
    "sub", "tril", "triu",
)  # fmt: skip

__all__ = [
    *METHODS, "arange", "assign", "bitwise_and", "bitwise_or", "bitwise_xor", "cast", "cat",
    "clone", "concat", "concatenate", "contiguous", "einsum", "empty", "empty_like", "eye", "full",
    "full_like", "getitem", "hstack", "linspace", "meshgrid", "move", "normal", "one_hot", "ones",
    "ones_like", "rand", "rand_like", "randint", "randn", "randn_like", "randperm", "stack",
    "std_mean", "var_mean", "vstack", "where", "zeros", "zeros_like",
]  # fmt: skip
