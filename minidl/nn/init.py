"""Initial values for parameters: PyTorch's ``nn.init``, functions that fill a tensor in place.

Why the scale matters. A unit adds up fan_in products w·x. If the weights are independent with
variance s² and the inputs have mean square q, the sum has variance fan_in·s²·q: each layer
multiplies the size of the signal by s·√fan_in. Glorot and Bengio (2010, "Xavier") choose
s² = 2/(fan_in + fan_out), a compromise that preserves the signal and, on the way back, the
gradient. He et al. (2015, "Kaiming") choose s² = 2/fan_in, because a ReLU removes half of the mean
square.

Every function runs under ``no_grad``, returns the tensor that it filled, and draws from
``generator`` or, by default, from the generator that ``minidl.manual_seed`` seeds.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..errors import ArgumentError, ShapeError
from ..missing import attributes
from ..random import Generator, chosen
from ..tensor import Tensor, as_tensor

_LINEAR = ["linear", *(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))]
_GAINS = dict.fromkeys([*_LINEAR, "sigmoid"], 1.0)
_GAINS |= {"tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 3.0 / 4.0}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which weights must be larger to compensate for a nonlinearity.

    Parameters
    ----------
    nonlinearity : str
        "linear", "conv1d" to "conv3d", "conv_transpose1d" to "conv_transpose3d", "sigmoid",
        "tanh", "relu", "leaky_relu" or "selu".
    param : float, optional
        The negative slope of "leaky_relu" (default 0.01).

    Raises
    ------
    ArgumentError
        The name is unknown, or `param` is not a number.

    Examples
    --------
    >>> from minidl.nn.init import calculate_gain
    >>> round(calculate_gain("relu"), 4), round(calculate_gain("leaky_relu", 1.0), 4)
    (1.4142, 1.0)
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ArgumentError(f"calculate_gain: param must be a number, got {slope!r}")
        return math.sqrt(2.0 / (1.0 + slope**2))
    if nonlinearity not in _GAINS:
        names = ", ".join(sorted([*_GAINS, "leaky_relu"]))
        raise ArgumentError(f"unsupported nonlinearity {nonlinearity!r}, expected one of {names}")
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Return the number of inputs of one unit, and the number of units that one input feeds.

    A weight has the shape (outputs, inputs of a group, *kernel size).
    """
    if len(tensor.shape) < 2:
        raise ShapeError(
            "fan in and fan out are undefined for a tensor with fewer than 2 dimensions, got shape "
            f"{tensor.shape}"
        )
    kernel_area = math.prod(tensor.shape[2:])
    return tensor.shape[1] * kernel_area, tensor.shape[0] * kernel_area


def _fan(tensor: Tensor, mode: str) -> int:
    modes = ("fan_in", "fan_out")
    if mode.lower() not in modes:
        raise ArgumentError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def _assign(tensor: Tensor, values: np.ndarray[Any, Any]) -> Tensor:
    """Copy values from the host into the tensor."""
    with no_grad():
        return tensor.copy_(as_tensor(values.astype(tensor.dtype, copy=False)))


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with values uniform in [a, b).

    Examples
    --------
    >>> import minidl
    >>> w = minidl.nn.init.uniform_(minidl.zeros(2, 3), -1.0, 1.0)
    >>> bool((w.abs() <= 1).all())
    True
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with values of the normal distribution N(mean, std²)."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with values of N(mean, std²), redrawing those outside [a, b].

    Parameters
    ----------
    mean, std : float
        Of the normal distribution before it is truncated.
    a, b : float
        The ends of the interval, in the units of the values (not of `std`).

    Raises
    ------
    ArgumentError
        The interval is empty, or so far out that hardly any value falls into it.
    """
    low, high = (a - mean) / std, (b - mean) / std
    inside = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    if inside < 1e-3:
        here = f"N({mean}, {std}²)"
        raise ArgumentError(f"trunc_normal_: [{a}, {b}] holds too little of {here}: {inside:.1e}")
    stream = chosen(generator).next_stream()
    values = stream.standard_normal(math.prod(tensor.shape))
    outside = np.flatnonzero((values < low) | (values > high))
    while outside.size:
        values[outside] = redrawn = stream.standard_normal(outside.size)
        outside = outside[(redrawn < low) | (redrawn > high)]
    return _assign(tensor, (values * std + mean).reshape(tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity: a linear layer that passes its inputs on unchanged."""
    if len(tensor.shape) != 2:
        raise ShapeError(f"eye_: expected a matrix, got shape {tensor.shape}")
    return _assign(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Make the weight of a convolution pass its input channels on unchanged.

    Parameters
    ----------
    tensor : Tensor, shape (out_channels, in_channels / groups, *kernel_size)
        Three to five dimensions.
    groups : int
        Groups of the convolution, a divisor of ``out_channels``. Default 1.
    """
    shape = tensor.shape
    if len(shape) not in (3, 4, 5):
        raise ShapeError(f"dirac_: expected 3, 4 or 5 dimensions, got shape {shape}")
    if groups < 1 or shape[0] % groups:
        raise ArgumentError(f"dirac_: groups={groups} must divide the {shape[0]} out_channels")
    values = np.zeros(shape)
    per_group, center = shape[0] // groups, tuple(size // 2 for size in shape[2:])
    for group in range(groups):
        for channel in range(min(per_group, shape[1])):
            values[(group * per_group + channel, channel, *center)] = 1.0
    return _assign(tensor, values)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill uniformly in ±gain·√(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = gain * math.sqrt(6.0 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with N(0, std²), std = gain·√(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (fan_in + fan_out)), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill uniformly in ±gain·√(3 / fan) (He et al., 2015).

    Parameters
    ----------
    a : float
        The negative slope of the leaky ReLU after the layer; only for "leaky_relu". Default 0.
    mode : {"fan_in", "fan_out"}
        Preserve the size of the signal ("fan_in", the default) or that of the gradient.
    nonlinearity : str
        See :func:`calculate_gain`. Default "leaky_relu".
    """
    if 0 in tensor.shape:
        return _nothing(tensor)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with N(0, std²), std = gain / √fan (He et al., 2015); see :func:`kaiming_uniform_`."""
    if 0 in tensor.shape:
        return _nothing(tensor)
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def _nothing(tensor: Tensor) -> Tensor:
    shape = tuple(tensor.shape)
    warnings.warn(f"a tensor of shape {shape} has no elements to initialize", stacklevel=3)
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with a random matrix whose rows or columns, whichever are fewer, are orthonormal.

    The matrix is the Q of the QR decomposition of a Gaussian matrix. Its columns take the signs of
    R's diagonal, which makes it uniform among them (Saxe et al., 2013; Mezzadri, 2007).

    Parameters
    ----------
    tensor : Tensor, at least 2 dimensions
        Seen as a matrix of shape (first dimension, all others).
    gain : float
        Multiplies the matrix. Default 1.
    """
    if len(tensor.shape) < 2:
        raise ShapeError(f"orthogonal_: expected 2 or more dimensions, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    stream = chosen(generator).next_stream()
    q, r = np.linalg.qr(stream.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return _assign(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill a matrix with N(0, std²), and set the fraction `sparsity` of each column to zero."""
    if len(tensor.shape) != 2:
        raise ShapeError(f"sparse_: expected a matrix, got shape {tensor.shape}")
    rows, columns = tensor.shape
    stream = chosen(generator).next_stream()
    values = stream.standard_normal((rows, columns)) * std
    for column in range(columns):
        values[stream.permutation(rows)[: math.ceil(sparsity * rows)], column] = 0.0
    return _assign(tensor, values)


# PyTorch's deprecated names.
uniform, normal, constant, eye, dirac = uniform_, normal_, constant_, eye_, dirac_
orthogonal, sparse = orthogonal_, sparse_
xavier_uniform, xavier_normal = xavier_uniform_, xavier_normal_
kaiming_uniform, kaiming_normal = kaiming_uniform_, kaiming_normal_

__getattr__ = attributes(globals())
