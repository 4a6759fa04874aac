"""The place of ``torch.utils``: :mod:`minidl.utils.data` is :mod:`minidl.data`."""

from __future__ import annotations

from typing import Any

from ..missing import attributes

__all__ = ["data"]


def _on_first_use(name: str) -> Any:
    if name == "data":
        from . import data

        return data
    raise KeyError(name)


__getattr__ = attributes(globals(), _on_first_use)
