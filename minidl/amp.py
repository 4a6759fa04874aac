"""Automatic mixed precision on a GPU: :class:`autocast` and :class:`GradScaler`, as in PyTorch.

Inside ``autocast("cuda")`` an operation computes in the dtype that suits it, by PyTorch's lists:

- float16: ``conv2d``, ``conv_transpose2d``, ``linear`` and all matrix products. cuBLAS adds up in
  float32, and gradients of weights stay float32;
- float32: ``exp``, ``log``, ``pow`` and the like, reciprocals, sums, products and running sums,
  ``norm``, ``softmax``, ``log_softmax``, ``softplus``, ``layer_norm``, ``group_norm``, and losses;
- the widest of their arguments: all others. ``binary_cross_entropy`` of probabilities raises an
  error.

Parameters stay float32, and so do their gradients and the optimizer's state. float16 ends at
65,504, and below 6e-8 everything is 0, as many gradients of activations would be:
:class:`GradScaler` multiplies the loss, so that they are in the middle of this range.

On a CPU there is nothing to gain, and ``autocast`` does nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from contextlib import ContextDecorator
from typing import Any

import numpy as np

from .autograd.modes import mode
from .autograd.precision import Casts
from .device import Array, active, array_module, device_of, is_available
from .errors import ArgumentError, AutogradError
from .kernels.cuda import unscale
from .missing import attributes
from .tensor import Tensor, float16, float32

__all__ = ["GradScaler", "autocast", "is_autocast_available"]

_told: set[str] = set()


def _tell_once(text: str) -> None:
    if text not in _told:
        _told.add(text)
        warnings.warn(text, stacklevel=3)


def is_autocast_available(device_type: str) -> bool:
    """Return whether :class:`autocast` has an effect on a kind of device, such as "cuda"."""
    return device_type.partition(":")[0] in ("cuda", "gpu")


class autocast(ContextDecorator):
    """A context, or decorator, in which operations on a GPU compute in half precision.

    Put the forward and the loss into it, not the backward, which computes in the dtypes of its
    forward. A parameter is cast once while the outermost context lasts.

    Parameters
    ----------
    device_type : str
        "cuda" or "gpu". With "cpu", or without a GPU, the context does nothing and says so, once.
    dtype : dtype, optional
        float16, the default.
    enabled : bool
        False switches an outer context off. Default True.
    cache_enabled : bool, optional
        Whether to keep the casts of parameters. Default True.

    Raises
    ------
    ArgumentError
        A device or dtype that is not supported.

    Examples
    --------
    >>> import minidl
    >>> with minidl.amp.autocast("cuda", enabled=minidl.cuda.is_available()):
    ...     y = minidl.ones(2, 3) @ minidl.ones(3)
    """

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ArgumentError(f"autocast: device_type must be a str, got {device_type!r}")
        self.device_type = device_type.partition(":")[0]
        if self.device_type not in ("cpu", "cuda", "gpu"):
            raise ArgumentError(f"autocast: expected 'cuda', 'gpu' or 'cpu', got {device_type!r}")
        self._arguments = device_type, dtype, enabled, cache_enabled
        self._enabled = enabled
        self._keep = cache_enabled is not False
        self._before: list[Casts | None] = []
        if enabled and (self.device_type == "cpu" or not is_available()):
            _tell_once("autocast does nothing on a CPU: there, everything computes in float32")
            self._enabled = False
        elif enabled and dtype is not None and np.dtype(dtype) != float16:
            raise ArgumentError(f"autocast: expected dtype float16, got {dtype}")

    def _recreate_cm(self) -> autocast:
        return type(self)(*self._arguments)  # each call of a decorated function enters its own

    def __enter__(self) -> autocast:
        before: Casts | None = mode.autocast
        self._before.append(before)
        if self.device_type != "cpu":
            if not self._enabled:
                mode.autocast = None
            elif before is None or before.keep != self._keep:
                mode.autocast = Casts(float16, self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        mode.autocast = self._before.pop()


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Return whether this thread is inside :class:`autocast`."""
    return mode.autocast is not None and is_autocast_available(device_type)


class GradScaler:
    """Scales the loss, so that float16 gradients are neither 0 nor infinite.

    ``scale(loss).backward()``, then ``step(optimizer)``, then ``update()``. A step whose gradients
    are not finite is skipped, and the scale falls; after `growth_interval` steps without one it
    rises. To see whether there was one, the host waits for the GPU, once a step.

    Parameters
    ----------
    device : str
        "cuda", "gpu" or "cpu". Without a GPU the first two switch the scaler off. Default "cuda".
    init_scale : float
        Default 65536.
    growth_factor, backoff_factor : float
        More than 1, and less than 1. Defaults 2 and 0.5.
    growth_interval : int
        Default 2000.
    enabled : bool
        False: every method passes on what it gets. Default True.

    Raises
    ------
    ArgumentError
        A factor on the wrong side of 1.

    Examples
    --------
    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> optimizer, scaler = minidl.optim.SGD([w], lr=0.5), minidl.amp.GradScaler("cpu")
    >>> scaler.scale((w * w).sum()).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.item(), scaler.get_scale()
    (0.0, 65536.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and not growth_factor > 1:
            raise ArgumentError(f"GradScaler: growth_factor must be > 1, got {growth_factor}")
        if enabled and not backoff_factor < 1:
            raise ArgumentError(f"GradScaler: backoff_factor must be < 1, got {backoff_factor}")
        if enabled and str(device).partition(":")[0] != "cpu" and not is_available():
            _tell_once("GradScaler is switched off: there is no GPU")
            enabled = False
        self._enabled = enabled
        self._scale, self._growth_tracker = float(init_scale), 0
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        # optimizers since the last update: whether a gradient was not finite; those that stepped
        self._found: dict[int, bool] = {}
        self._stepped: set[int] = set()

    # --- A step -----------------------------------------------------------------------------------

    def scale(self, outputs: Any) -> Any:
        """Return a Tensor, or an iterable of them, multiplied by the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            wide = outputs.dtype == float16 and outputs.ndim == 0
            return (outputs.to(float32) if wide else outputs) * self._scale
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ArgumentError("GradScaler.scale: outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, to clip them, say.

        Raises
        ------
        AutogradError
            It was called already since the last :meth:`update`, or after :meth:`step`.
        ArgumentError
            A gradient is float16.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._found:
            raise AutogradError(
                "unscale_() has already been called on this optimizer since the last update()"
            )
        if id(optimizer) in self._stepped:
            raise AutogradError("unscale_() is being called after step()")
        params = [param for group in optimizer.param_groups for param in group["params"]]
        grads = [param.grad for param in params if param.grad is not None]
        if any(grad.dtype == float16 for grad in grads):
            raise ArgumentError("GradScaler: attempting to unscale float16 gradients")
        by_device: dict[Any, list[Array]] = {}
        for grad in grads:
            by_device.setdefault(device_of(grad.array), []).append(grad.array)
            grad.version[0] += 1
        factor = 1 / self._scale
        found = False
        for where, arrays in by_device.items():
            with active(where):
                found |= _unscale(arrays, factor)
        if grads:
            self._found[id(optimizer)] = found

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call ``optimizer.step(*args, **kwargs)`` unless a gradient is not finite.

        Unscales the gradients first if :meth:`unscale_` has not done so.

        Returns
        -------
        object
            What the optimizer's step returned, or None.

        Raises
        ------
        AutogradError
            It was called already since the last :meth:`update`, or there are no gradients.
        ArgumentError
            A closure was given.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise ArgumentError("GradScaler.step: closures are not supported")
        if id(optimizer) in self._stepped:
            raise AutogradError("step() has already been called since the last update()")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        if id(optimizer) not in self._found:
            raise AutogradError("step(): no parameter of this optimizer has a gradient")
        self._stepped.add(id(optimizer))
        return None if self._found[id(optimizer)] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Change the scale after all optimizers' steps, or set it to `new_scale`.

        Raises
        ------
        AutogradError
            No gradients were checked since the last update.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._found:
            raise AutogradError("update(): no gradients were checked since the last update")
        elif any(self._found.values()):
            self._scale, self._growth_tracker = self._scale * self._backoff_factor, 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                grown = float(np.float32(self._scale * self._growth_factor))
                self._scale = grown if math.isfinite(grown) else self._scale
                self._growth_tracker = 0
        self._found.clear()
        self._stepped.clear()

    # --- What it holds ----------------------------------------------------------------------------

    def is_enabled(self) -> bool:
        """Return whether the scaler does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """Return the scale, 1 if the scaler is off."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """Return the factor by which the scale rises."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set the factor by which the scale rises."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """Return the factor by which the scale falls."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set the factor by which the scale falls."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """Return the number of steps after which the scale rises."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set the number of steps after which the scale rises."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """Return the state, {} if the scaler is off."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned.

        Raises
        ------
        ArgumentError
            It is the state of a scaler that was off.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ArgumentError("GradScaler: the state is that of a scaler that was switched off")
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]


def _unscale(arrays: list[Array], factor: float) -> bool:
    """Multiply arrays of one device in place; return whether a number is not finite."""
    if not isinstance(arrays[0], np.ndarray):
        return unscale.unscale(arrays, factor)
    found = False
    for array in arrays:
        array *= array.dtype.type(factor)
        found |= not bool(array_module(array).isfinite(array).all())
    return found


__getattr__ = attributes(globals())
