"""Helpers of many tests: arrays in awkward memory layouts, tolerances that follow from eps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

import minidl

Array: TypeAlias = np.ndarray[Any, Any]

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]


def values(shape: tuple[int, ...], seed: int, dtype: Any = np.float64) -> Array:
    """Random numbers in [-1, 1), farther from ReLU's kink at 0 than a gradient check's step."""
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=shape) * 2.0 - 1.0
    return np.asarray(signs * rng.uniform(0.01, 1.0, size=shape), dtype=dtype)


def distinct(shape: tuple[int, ...], seed: int, dtype: Any = np.float64) -> Array:
    """Numbers that differ by much more than a gradient check's step: no ties for a maximum."""
    count = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(count).reshape(shape) * 0.25 - 3).astype(dtype)


# ---- memory layouts ----


def _contiguous(a: Array) -> Array:
    return np.ascontiguousarray(a)


def _channels_last(a: Array) -> Array:
    if a.ndim < 2:
        return np.ascontiguousarray(a)
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def _transposed(a: Array) -> Array:
    return np.ascontiguousarray(a.T).T


def _sliced(a: Array) -> Array:
    """Every second element of an array with NaN in between, which exposes a wrong stride."""
    wide = np.full([2 * length + 1 for length in a.shape], np.nan, dtype=a.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def _negative_strides(a: Array) -> Array:
    flip = tuple(slice(None, None, -1) for _ in a.shape)
    return np.ascontiguousarray(a[flip])[flip]


def _expanded(a: Array) -> Array:
    """The first image repeated over the batch with stride 0; the values differ from `a`'s."""
    if a.shape[0] == 0:
        return a
    strides = (0, *a.strides[1:])
    return np.lib.stride_tricks.as_strided(a, a.shape, strides)


#: Name -> function from an array to one with that layout (and, except "expanded", its values).
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "contiguous": _contiguous,
    "channels_last": _channels_last,
    "transposed": _transposed,
    "sliced": _sliced,
    "negative_strides": _negative_strides,
    "expanded": _expanded,
}


# ---- tensors ----


def leaf(array: Array, device: str = "cpu", requires_grad: bool = True) -> minidl.Tensor:
    """A Tensor over `array` itself, with its strides, where the device allows it."""
    if device == "cpu":
        tensor = minidl.from_numpy(array)
    else:
        tensor = minidl.Tensor(_with_strides(array, device))
    return tensor.requires_grad_(requires_grad)


def _with_strides(array: Array, device: str) -> Any:
    """Copy an array to a GPU, including the memory between its elements, to keep its strides."""
    if array.size == 0:
        return minidl.from_numpy(array).to(device).array
    size, xp = array.itemsize, minidl.cuda.cupy()
    axes = list(zip(array.strides, array.shape, strict=True))
    lowest = array[tuple(slice(None, None, -1 if step < 0 else 1) for step, _ in axes)]
    reach = sum(abs(step) * (n - 1) for step, n in axes) // size + 1
    memory = np.lib.stride_tricks.as_strided(lowest, (reach,), (size,))
    start = -sum(min(step, 0) * (n - 1) for step, n in axes)
    return xp.ndarray(array.shape, array.dtype, xp.array(memory).data + start, array.strides)


def as_layers_leave(array: Array, gpu: str) -> minidl.Tensor:
    """Copy an array to a GPU in the layout of layers' outputs: images have (C, N, H, W) memory."""
    if array.ndim != 4:
        return minidl.tensor(array, device=gpu)
    maps = np.ascontiguousarray(array.transpose(1, 0, 2, 3))
    return minidl.tensor(maps, device=gpu).transpose(0, 1).detach()


def shares_memory(a: Any, b: Any) -> bool:
    """Whether two arrays overlap (on a GPU: whether their ranges of memory do)."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.shares_memory(a, b)
    return bool(minidl.cuda.cupy().may_share_memory(a, b))


def host(tensor: Any) -> Array:
    """The values of a Tensor (or of the gradient that it must have) as a NumPy array."""
    assert tensor is not None, "expected a Tensor, got None (no gradient?)"
    return np.asarray(tensor.detach().cpu().numpy())


# ---- comparing ----


def assert_close(actual: Any, expected: Any, terms: int = 1, scale: float = 1.0) -> None:
    """Compare with a float64 reference.

    In a sum of n products of numbers up to `scale`, each term has at most n rounding errors, hence
    the tolerance ``2·eps·n·max(scale, |expected|)``, with n = `terms` and eps of `actual`'s dtype.
    """
    actual = host(actual) if isinstance(actual, minidl.Tensor) else np.asarray(actual)
    expected = np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    eps = float(np.finfo(actual.dtype).eps)
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=scale))
    np.testing.assert_allclose(actual, expected, rtol=4 * eps, atol=2 * eps * (terms + 2) * largest)


# ---- the simulated GPU ----


@contextmanager
def asynchronous(simulator: ModuleType, flag: bool) -> Iterator[None]:
    """Within the block, let streams delay their work as long as they may, or not at all."""
    simulator.set_asynchronous(flag)
    try:
        yield
        minidl.cuda.synchronize()
    finally:
        simulator.set_asynchronous(os.environ.get("CUPY_ON_CPU_ASYNCHRONOUS", "0") != "0")


class Double(minidl.autograd.Function):
    """x·2 in place."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        x *= 2
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 2
