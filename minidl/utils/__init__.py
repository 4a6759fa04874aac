"""The place of ``torch.utils``: :mod:`minidl.utils.data` is :mod:`minidl.data`."""

from __future__ import annotations

import importlib
from typing import Any

from ..missing import attributes

__all__ = ["data"]


def _on_first_use(name: str) -> Any:
    if name not in __all__:
        raise KeyError(name)
    return importlib.import_module(f"{__name__}.{name}")


__getattr__ = attributes(globals(), _on_first_use)
