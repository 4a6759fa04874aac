"""The place of ``torch.utils``: :mod:`minidl.utils.data` is :mod:`minidl.data`."""

from __future__ import annotations

from ..missing import attributes

__all__ = ["data"]

__getattr__ = attributes(globals(), {"data": "data"})
