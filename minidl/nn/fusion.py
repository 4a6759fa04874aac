"""Fusion: neighboring layers of a Sequential that one kernel does in one pass over memory.

An activation is cheap to compute but expensive to load. A kernel that applies its neighbor's ReLU
while the numbers are in the cache saves passes over memory, forward and backward. This crosses the
border between two layers, so all of it is in this file:

- :data:`PAIRS`, the table of pairs. Each entry returns ``second(first(input))`` with the same
  gradients, bit for bit, through the kernels' epilogues (:mod:`minidl.kernels.epilogue`).
- :func:`pair_at`, which decides whether two neighbors are done as one.
- :func:`set_fusion`, the switch. ``minidl.nn.summary`` shows which layers are fused.

Nothing is fused under ``minidl.reference()``, for dtypes without kernels, or where somebody could
see the difference: a layer has hooks, a subclass, or a replaced ``forward`` or ``__call__``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from .. import kernels
from ..autograd import Context, Function
from ..device import Array
from ..kernels.windows import Geometry
from ..tensor import Tensor
from .activation import ReLU, relu, relu_backward, relu_forward
from .conv import Conv2d, operands
from .conv import backward as conv_backward
from .hooks import EVERYWHERE
from .linear import Linear, rows
from .linear import backward as linear_backward
from .linear import check as check_linear
from .max_pool import MaxPool2d
from .module import Module
from .response_norm import LocalResponseNorm
from .response_norm import backward as response_norm_backward
from .response_norm import check as check_response_norm

Both: TypeAlias = Callable[[Any, Any, Any], Any]
Callback = TypeVar("Callback", bound=Both)

#: Functions ``both(first, second, input)`` by the classes of the two layers.
PAIRS: dict[tuple[type[Module], type[Module]], Both] = {}

#: The methods that the classes above had when they were registered: replaced ones are called.
_METHODS: dict[type[Module], tuple[Any, Any]] = {}

_enabled = True


def set_fusion(enabled: bool) -> None:
    """Switch the fusion of layers on or off; it is on at start.

    Parameters
    ----------
    enabled : bool
    """
    global _enabled
    _enabled = bool(enabled)


def pair_at(modules: Sequence[Any], place: int) -> Both | None:
    """Return the function that does the modules at `place` and after it as one, or None."""
    if place + 1 == len(modules):
        return None
    first, second = modules[place], modules[place + 1]
    both = PAIRS.get((type(first), type(second)))
    if both is None or not _enabled or EVERYWHERE or kernels.is_reference():
        return None
    if place + 2 < len(modules) and (type(second), type(modules[place + 2])) in PAIRS:
        return None  # the later pair saves more: a pass forward and one backward
    for module in (first, second):
        kind = type(module)
        if module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__:
            return None
        if module._backward_hooks or module._backward_pre_hooks:
            return None
        if (kind.__call__, kind.forward) != _METHODS[kind]:
            return None
    # Only what a module made may be overwritten unasked, and the caller's array only if asked.
    return both if place or "inplace" not in first.__dict__ else None


def fuses(first: type[Module], second: type[Module]) -> Callable[[Callback], Callback]:
    """Register a function that does two neighboring layers as one."""

    def register(both: Callback) -> Callback:
        PAIRS[first, second] = both
        for kind in (first, second):
            _METHODS[kind] = kind.__call__, kind.forward
        return both

    return register


# --- ReLU in front of a response norm -------------------------------------------------------------


class _ReLUNormFunction(Function):
    """The norm of max(x, 0): ReLU is the norm's prologue, and is not stored."""

    @staticmethod
    def forward(
        ctx: Context, x: Array, size: int, alpha: float, beta: float, k: float, groups: int
    ) -> Array:
        ctx.settings = size, alpha, beta, k, groups
        ctx.kernel = kernels.of("response_norm", x)
        ctx.save_for_backward(x)
        return ctx.kernel.forward(x, *ctx.settings, prologue="relu")

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        if ctx.kernel is None:  # a backward that is recorded: the layers' plain code
            y = relu_forward(x)
            dx = relu_backward(response_norm_backward(grad, y, *ctx.settings), y)
            return dx, None, None, None, None, None
        overwrite = ctx.may_overwrite[0]
        dx = ctx.kernel.backward(grad, x, *ctx.settings, overwrite=overwrite, prologue="relu")
        return dx, None, None, None, None, None


@fuses(ReLU, LocalResponseNorm)
def _relu_norm(relu: ReLU, norm: LocalResponseNorm, input: Tensor) -> Tensor:
    if kernels.of("response_norm", input.array) is None:
        return norm(relu(input))
    check_response_norm("local_response_norm", input, norm.size, norm.groups)
    settings = norm.size, norm.alpha, norm.beta, norm.k, norm.groups
    return _ReLUNormFunction.apply(input, *settings)


# --- ReLU after a convolution ---------------------------------------------------------------------


class _ConvReLUFunction(Function):
    """max(Y, 0): ReLU is the convolution's epilogue, and its gradient is that of the result."""

    autocast = "half"
    read_for = 1, 0, None

    @staticmethod
    def forward(
        ctx: Context, x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int
    ) -> Array:
        ctx.kernel, ctx.settings = kernels.of("conv", x), (geometry, groups)
        y: Array = ctx.kernel.forward(x, weight, bias, geometry, groups, epilogue="relu")
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, weight, y = ctx.saved_tensors
        if ctx.kernel is None:
            (geometry, groups), want = ctx.settings, ctx.needs_input_grad
            gradients = conv_backward(relu_backward(grad, y), x, weight, geometry, groups, want)
            return *gradients, None, None
        gradients = ctx.kernel.backward(
            grad, x, weight, *ctx.settings, ctx.needs_input_grad, epilogue="relu", y=y,
            overwrite=ctx.may_overwrite[0],
        )  # fmt: skip
        return *gradients, None, None


@fuses(Conv2d, ReLU)
def _conv_relu(conv: Conv2d, relu: ReLU, input: Tensor) -> Tensor:
    if kernels.of("conv", input.array) is None:
        return relu(conv(input))
    if input.ndim == 3:
        return _conv_relu(conv, relu, input.unsqueeze(0)).squeeze(0)
    images, padding = conv.padded(input)
    windows = conv.stride, padding, conv.dilation, conv.ceil_mode
    arguments = operands(images, conv.weight, conv.bias, conv.groups, *windows)
    return _ConvReLUFunction.apply(*arguments)


# --- ReLU after a linear layer --------------------------------------------------------------------


class _LinearReLUFunction(Function):
    """max(x·Wᵀ + b, 0): ReLU is the product's epilogue, and its gradient is that of the result."""

    autocast = "half"
    read_for = 1, 0, None

    @staticmethod
    def forward(ctx: Context, x: Array, weight: Array, bias: Array | None) -> Array:
        ctx.kernel = kernels.of("linear", x)
        y: Array = ctx.kernel.forward(rows(x), weight, bias, epilogue="relu")
        y = y if x.ndim == 2 else y.reshape(*x.shape[:-1], len(weight))
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x, weight, y), want = ctx.saved_tensors, ctx.needs_input_grad
        if ctx.kernel is None:
            dy = rows(relu_backward(grad, y))
            dx, dweight, dbias = linear_backward(dy, rows(x), weight, want)
        else:
            dx, dweight, dbias = ctx.kernel.backward(
                rows(grad), rows(x), weight, want, epilogue="relu", y=rows(y),
                overwrite=ctx.may_overwrite[0],
            )  # fmt: skip
        return dx if dx is None or x.ndim == 2 else dx.reshape(x.shape), dweight, dbias


@fuses(Linear, ReLU)
def _linear_relu(layer: Linear, relu: ReLU, input: Tensor) -> Tensor:
    if kernels.of("linear", input.array) is None:
        return relu(layer(input))
    weight, bias = layer.weight, layer.bias
    check_linear(input, weight, bias)
    return _LinearReLUFunction.apply(input, weight, bias)


# --- Others ---------------------------------------------------------------------------------------


@fuses(ReLU, MaxPool2d)
def _pool_and_rectify(relu_: ReLU, pool: MaxPool2d, input: Tensor) -> Any:
    """The largest of what ReLU lets pass is what it lets pass of the largest: fewer numbers."""
    if pool.return_indices:
        return pool(relu_(input))
    return relu(pool(input), inplace=True)
