"""New tensors: constants, ranges and random numbers.

Random numbers are drawn on the CPU, by NumPy from the counter-based generator, and then moved: the
same seed gives the same numbers on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..conversion import as_dtype, as_number, fitting
from ..device import Array, Device, active, device_of, module_for, on_its_device
from ..errors import ArgumentError, DTypeError, NumberError, ShapeError
from ..kernels import cuda
from ..kernels.cuda import copy_to
from ..random import Generator, chosen
from ..tensor import Tensor, default_device, default_dtype, float32, float64, int64, to_array
from .axes import lengths

__all__ = [
    "arange", "bernoulli", "empty", "empty_like", "eye", "full", "full_like", "linspace",
    "multinomial", "normal", "ones", "ones_like", "rand", "rand_like", "randint", "randn",
    "randn_like", "randperm", "zeros", "zeros_like",
]  # fmt: skip


def _place(device: Any) -> Device:
    return default_device() if device is None else Device(device)


def _dtype(dtype: Any, default: np.dtype | None = None) -> np.dtype:
    return default or default_dtype() if dtype is None else as_dtype("dtype", dtype)


def _made(device: Any, name: str, *args: Any, **kwargs: Any) -> Array:
    """Return an array that NumPy's or CuPy's function of that name makes on `device`."""
    where = _place(device)
    with active(where):
        try:
            array: Array = getattr(module_for(where), name)(*args, **kwargs)
        except (MemoryError, RuntimeError) as error:
            cuda.explain_out_of_memory(error, f"making an array ({name})")
            raise
    return array


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of shape `size` filled with `fill_value`.

    Parameters
    ----------
    size : int or sequence of int
    fill_value : number or Tensor without axes
    dtype : dtype, optional
        Default: int64 for an integer, bool for a truth value, float32 for a float, a Tensor's own.
    device, requires_grad
        Default: the CPU, False.

    Raises
    ------
    NumberError
        `fill_value` does not fit into `dtype`.
    """
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.cpu().array
    dtype = to_array(fill_value).dtype if dtype is None else as_dtype("full", dtype)
    number = fitting("full", fill_value, dtype)
    return Tensor(_made(device, "full", lengths((size,)), number, number.dtype), requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return zeros, float32 unless `dtype` is given: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return Tensor(_made(device, "zeros", lengths(size), _dtype(dtype)), requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ones, float32 unless `dtype` is given."""
    return Tensor(_made(device, "ones", lengths(size), _dtype(dtype)), requires_grad)


def empty(
    *size: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return an uninitialized tensor, float32 unless `dtype` is given."""
    return Tensor(_made(device, "empty", lengths(size), _dtype(dtype)), requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the identity matrix of `n` rows (and `m` columns)."""
    n, m = lengths((n, n if m is None else m))
    return Tensor(_made(device, "eye", n, m, dtype=_dtype(dtype)), requires_grad)


def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the numbers from `start` (default 0) to `end`, which is excluded, in steps of `step`.

    Parameters
    ----------
    start, end, step : number or Tensor without axes
        ``arange(end)`` starts at 0.
    dtype : dtype, optional
        Default: int64 if all three are integers, else float32.
    device, requires_grad
        Default: the CPU, False.

    Raises
    ------
    ArgumentError
        `step` is 0 or leads away from `end`, or a limit is not finite.
    """
    if end is None:
        start, end = 0, start
    start, end, step = (as_number("arange", v) for v in (start, end, step))
    if dtype is None:
        dtype = default_dtype() if any(isinstance(v, float) for v in (start, end, step)) else int64
    dtype = as_dtype("arange", dtype)
    finite = all(map(math.isfinite, (start, end, step)))
    if finite and dtype == int64:  # PyTorch cuts off fractions before it counts the steps ...
        start, end, step = int(start), int(end), int(step)
    if step == 0:
        raise NumberError("arange: step must not be 0")
    if not finite or (end - start) * step < 0:
        raise NumberError(f"arange: steps of {step} don't lead from {start} to {end}")
    if dtype.kind in "iu" and dtype != int64:  # ... and with smaller integers afterwards
        places = _made(device, "arange", math.ceil((end - start) / step))
        array = int(start) + int(step) * places
    else:
        array = _made(device, "arange", start, end, step)
    return Tensor(array).to(dtype=dtype).requires_grad_(requires_grad)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `steps` numbers from `start` to `end`, both included, evenly spaced.

    Parameters
    ----------
    start, end : number or Tensor without axes
    steps : int
    dtype : dtype, optional
        Default float32. Integers are rounded towards 0.
    device, requires_grad
        Default: the CPU, False.

    Raises
    ------
    ArgumentError
        `steps` is negative.
    """
    (steps,) = lengths((steps,))
    start, end = (as_number("linspace", v) for v in (start, end))
    if math.isfinite(start) and math.isfinite(end):
        array = _made(device, "linspace", start, end, steps)
    else:
        array = _made(device, "full", steps, start if steps == 1 else math.nan)
    return Tensor(array).to(dtype=_dtype(dtype)).requires_grad_(requires_grad)


def _like(make: Callable[..., Tensor], what: str) -> Callable[..., Tensor]:
    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        **options: Any,
    ) -> Tensor:
        options |= {"dtype": dtype or input.dtype, "device": device or input.device}
        return make(input.shape, requires_grad=requires_grad, **options)

    like.__name__ = like.__qualname__ = f"{make.__name__}_like"
    like.__doc__ = f"""Return {what}, of the shape, dtype and device of `input`.

    `dtype`, `device` and `requires_grad` may be given; `memory_format` is accepted for
    compatibility with PyTorch.
    """
    return like


zeros_like = _like(zeros, "zeros")
ones_like = _like(ones, "ones")
empty_like = _like(empty, "an uninitialized tensor")


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a constant tensor of the shape, dtype and device of `input`."""
    dtype, device = dtype or input.dtype, device or input.device
    if not isinstance(fill_value, Tensor):
        fitting("full_like", fill_value, np.dtype(dtype))
    return full(input.shape, fill_value, dtype=dtype, device=device, requires_grad=requires_grad)


# --- Random numbers -------------------------------------------------------------------------------


def _drawn(
    name: str, size: Any, generator: Any, dtype: Any, device: Any, requires_grad: bool
) -> Tensor:
    """Return what a stream's method of that name draws; NumPy draws float32 and float64."""
    wanted = _dtype(dtype)
    draw = getattr(chosen(generator).next_stream(), name)
    array = np.asarray(draw(lengths(size), float64 if wanted == float64 else float32))
    result = Tensor(array.astype(wanted, copy=False)).to(_place(device))
    return result.requires_grad_(requires_grad)


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn uniformly from [0, 1).

    Parameters
    ----------
    *size : int
        ``rand(2, 3)`` or ``rand((2, 3))``.
    generator : Generator, optional
        Default: the generator that :func:`minidl.manual_seed` seeds.
    dtype, device, requires_grad
        Default float32 on the CPU.
    """
    return _drawn("random", size, generator, dtype, device, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn from N(0, 1); arguments as for :func:`rand`."""
    return _drawn("standard_normal", size, generator, dtype, device, requires_grad)


def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return int64 integers drawn from [low, high): ``randint(high, size)`` starts at 0."""
    if size is None:  # randint(high, size)
        high, size = None, high
    if high is None:
        low, high = 0, low
    dtype = _dtype(dtype, int64)
    check_range("randint", low, high, dtype)
    stream = chosen(generator).next_stream()
    array = np.asarray(stream.integers(low, high, lengths((size,))), dtype)
    return Tensor(array).to(_place(device)).requires_grad_(requires_grad)


def check_range(name: str, low: Any, high: Any, dtype: np.dtype) -> None:
    """Raise an error unless there are integers in [low, high), and `dtype` holds all."""
    if isinstance(low, float | np.floating) or isinstance(high, float | np.floating):
        raise DTypeError(f"{name}: expected integers, got [{low}, {high})")
    if high <= low:
        raise ArgumentError(f"{name}: expected low < high, got [{low}, {high})")
    if dtype.kind in "iu" and (low < np.iinfo(dtype).min or high - 1 > np.iinfo(dtype).max):
        raise NumberError(f"{name}: [{low}, {high}) does not fit into {dtype}")


def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return the integers of [0, n) in random order, int64 unless `dtype` is given."""
    stream = chosen(generator).next_stream()
    (n,) = lengths((n,))
    return Tensor(stream.permutation(n)).to(_place(device), _dtype(dtype, int64))


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn from N(mean, std²); a Tensor among `mean` and `std` gives the size."""
    if size is None:
        if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
            raise ArgumentError("normal: expected a Tensor as mean or std, or size=")
        size = mean.shape if isinstance(mean, Tensor) else std.shape
    if (std.array.min(initial=0) if isinstance(std, Tensor) else std) < 0:
        raise ArgumentError("normal: std must not be negative")
    drawn = randn(size, generator=generator, dtype=dtype, device=device) * std + mean
    return drawn.requires_grad_() if requires_grad else drawn


rand_like = _like(rand, "numbers drawn from [0, 1)")
randn_like = _like(randn, "numbers drawn from N(0, 1)")


@on_its_device
def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Return 1 with the probability `p`, or else that given by each element of `input`, else 0.

    Raises
    ------
    ArgumentError
        A probability is not in [0, 1].
    """
    if p is not None:
        input = full_like(input, p)
    if not bool(((input.array >= 0) & (input.array <= 1)).all()):
        raise ArgumentError("bernoulli: probabilities must be in [0, 1]")
    drawn = chosen(generator).next_stream().random(tuple(input.shape))
    drawn = copy_to(drawn, device_of(input.array))
    return Tensor((drawn < input.array).astype(input.dtype))


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Draw positions, each with a probability proportional to its weight.

    Parameters
    ----------
    input : Tensor, shape (K,) or (N, K)
        Weights, not negative.
    num_samples : int
    replacement : bool
        Whether a position can be drawn again. Default False.
    generator : Generator, optional

    Returns
    -------
    Tensor of int64, shape (num_samples,) or (N, num_samples)

    Raises
    ------
    ArgumentError
        Weights are negative or all 0, or fewer than the samples without replacement.
    ShapeError
        `input` has another number of axes.
    """
    if input.ndim not in (1, 2):
        raise ShapeError(f"multinomial: expected shape (K,) or (N, K), got {tuple(input.shape)}")
    rows = input.cpu().array.reshape(-1, input.array.shape[-1]).astype(float64)
    needed = 1 if replacement else num_samples
    if (rows < 0).any() or ((rows > 0).sum(axis=1) < needed).any():
        raise ArgumentError(
            f"multinomial: expected at least {needed} positive weights and none below 0"
        )
    stream = chosen(generator).next_stream()
    drawn = [stream.choice(len(w), num_samples, replacement, w / w.sum()) for w in rows]
    shape = (*input.array.shape[:-1], num_samples)
    return Tensor(np.array(drawn, int64).reshape(shape)).to(input.device)
