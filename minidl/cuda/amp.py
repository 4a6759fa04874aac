"""``torch.cuda.amp``: :mod:`minidl.amp` with the device "cuda" and PyTorch's older arguments."""

from __future__ import annotations

from typing import Any

from .. import amp
from ..missing import attributes

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """``minidl.amp.autocast("cuda", ...)``."""

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)
        self._arguments: Any = enabled, dtype, cache_enabled


class GradScaler(amp.GradScaler):
    """``minidl.amp.GradScaler("cuda", ...)``."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        factors = init_scale, growth_factor, backoff_factor, growth_interval
        super().__init__("cuda", *factors, enabled=enabled)


__getattr__ = attributes(globals())
