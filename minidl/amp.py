"""Mixed precision, switched off: ``autocast(enabled=False)`` and ``GradScaler(enabled=False)``.

minidl computes in the dtypes of its tensors. Scripts with optional mixed precision run if it is
off; switching it on raises an error. Use ``minidl.cuda.allow_tf32(True)`` for faster arithmetic.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

from .errors import ArgumentError
from .missing import attributes

__all__ = ["GradScaler", "autocast"]


def _refuse(name: str) -> None:
    raise ArgumentError(
        f"{name}: there is no mixed precision; pass enabled=False, and on a GPU call "
        "minidl.cuda.allow_tf32(True) for faster products"
    )


class autocast(ContextDecorator):
    """A context that changes nothing; `enabled` must be False.

    Parameters
    ----------
    device_type, dtype, cache_enabled
        Accepted for compatibility with PyTorch.
    enabled : bool
        Default True, which raises an ArgumentError.
    """

    def __init__(
        self,
        device_type: Any = None,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if enabled and device_type is not False:  # torch.cuda.amp's first argument is `enabled`
            _refuse("autocast")

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *error: object) -> None:
        """Change nothing."""


class GradScaler:
    """A scaler of losses that leaves them as they are; `enabled` must be False.

    Parameters
    ----------
    device, init_scale, growth_factor, backoff_factor, growth_interval
        Accepted for compatibility with PyTorch.
    enabled : bool
        Default True, which raises an ArgumentError.
    """

    def __init__(
        self,
        device: Any = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled:
            _refuse("GradScaler")

    def scale(self, outputs: Any) -> Any:
        """Return `outputs` as they are."""
        return outputs

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Return ``optimizer.step()``."""
        return optimizer.step(*args, **kwargs)

    def unscale_(self, ignored: Any = None) -> None:
        """Do nothing."""

    update = load_state_dict = unscale_

    def is_enabled(self) -> bool:
        """Return False."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return an empty dict."""
        return {}


__getattr__ = attributes(globals())
