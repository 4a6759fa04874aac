"""Computer vision: data sets, transforms, models, metrics, and figures.

Each part is imported at first use, and Pillow when the first picture is opened.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = [
    "bad_images",
    "batches",
    "datasets",
    "figures",
    "metrics",
    "models",
    "picture_options",
    "report",
    "scan",
    "schedules",
    "statistics",
    "submission",
    "training",
    "transforms",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
