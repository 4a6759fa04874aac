"""minidl: a deep-learning library written by hand on NumPy and CuPy, with AlexNet on top.

The names are PyTorch's: ``import minidl``, ``from minidl import nn``. Submodules that need more
than NumPy are imported when they are first used.
"""

from typing import TYPE_CHECKING

from numpy import dtype

from . import autograd, cuda, errors, nn, ops, random
from .autograd import (
    enable_grad, gradcheck, gradgradcheck, inference_mode, is_grad_enabled, is_inference, no_grad,
    set_grad_enabled,
)  # fmt: skip
from .autograd.modes import is_anomaly_enabled, is_inference_mode_enabled
from .kernels import reference
from .kernels.cpu import get_num_threads, set_num_threads
from .device import channels_last, contiguous_format, device, preserve_format
from .missing import attributes as _attributes
from .nn.methods import log_softmax, relu, sigmoid, softmax, tanh
from .ops import (
    abs, add, addcdiv, addcmul, addmm, all, allclose, amax, amin, any, arange, argmax, argmin,
    argsort, baddbmm, bernoulli, bincount, bitwise_and, bitwise_or, bitwise_xor, bmm, broadcast_to,
    can_cast, cat, ceil, chunk, clamp, clamp_max, clamp_min, clip, clone, concat, concatenate, cos,
    cosh, count_nonzero, cumprod, cumsum, diag, diagonal, div, dot, einsum, empty, empty_like, eq,
    equal, exp, expm1, eye, flatten, flip, floor, floor_divide, fmod, full, full_like, gather, ge,
    gt, hstack, index_add, index_fill, index_select, is_complex, is_floating_point, is_tensor,
    isclose, isfinite, isin, isinf, isnan, le, lerp, linspace, log, log10, log1p, log2, logical_and,
    logical_not, logical_or, logical_xor, logsumexp, lt, masked_fill, masked_select, matmul, max,
    maximum, mean, median, meshgrid, min, minimum, mm, movedim, mul, multinomial, mv, nan_to_num,
    nansum, narrow, ne, neg, nonzero, norm, normal, numel, ones, ones_like, outer, permute, pow,
    prod, promote_types, rand, rand_like, randint, randn, randn_like, randperm, reciprocal,
    remainder, repeat_interleave, reshape, result_type, roll, round, rsqrt, scatter, scatter_add,
    select, sign, sin, sinh, sort, split, sqrt, square, squeeze, stack, std, std_mean, sub, sum,
    swapaxes, t, take, take_along_dim, tile, topk, trace, transpose, tril, triu, trunc, unbind,
    unflatten, unique, unsqueeze, var, var_mean, vstack, where, zeros, zeros_like,
)  # fmt: skip
from .ops.dtypes import finfo, iinfo
from .printing import set_printoptions
from .random import (
    Generator, default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state,
)  # fmt: skip
from .tensor import (
    Size, Tensor, as_tensor, float16, float32, float64, from_dlpack, from_numpy, int8, int16, int32,
    int64, set_default_device, set_default_dtype, tensor, uint8,
)  # fmt: skip
from .tensor import bool_ as bool
from .tensor import default_device as get_default_device
from .tensor import default_dtype as get_default_dtype
from .tensor import float16 as half
from .tensor import float32 as float
from .tensor import float64 as double
from .tensor import int16 as short
from .tensor import int32 as int
from .tensor import int64 as long
from .version import __version__

if TYPE_CHECKING:
    from . import (
        accelerator, amp, backends, checkpoint, data, distributed, multiprocessing, onnx, optim,
        serialization, training, utils, vision,
    )  # fmt: skip
    from .amp import autocast, is_autocast_enabled
    from .backends import (
        are_deterministic_algorithms_enabled, get_float32_matmul_precision,
        set_float32_matmul_precision, use_deterministic_algorithms,
    )  # fmt: skip
    from .checkpoint import load, save

globals().update(ops.older.CONSTRUCTORS | ops.methods.OTHER_NAMES)

#: Modules that are imported when they are first used, and what stands in one.
_MODULES = (
    "accelerator", "amp", "backends", "checkpoint", "data", "distributed", "multiprocessing",
    "onnx", "optim", "serialization", "training", "utils", "vision",
)  # fmt: skip
_PLACES = {name: name for name in _MODULES} | {
    "load": "checkpoint", "save": "checkpoint", "use_deterministic_algorithms": "backends",
    "are_deterministic_algorithms_enabled": "backends",
    "set_float32_matmul_precision": "backends", "get_float32_matmul_precision": "backends",
    "autocast": "amp", "is_autocast_enabled": "amp",
}  # fmt: skip

__getattr__ = _attributes(globals(), _PLACES)
