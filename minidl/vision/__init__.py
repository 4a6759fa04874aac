"""Computer vision: data sets, transforms, models, metrics, and figures.

Each part is imported at first use, and Pillow when the first picture is opened.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..missing import attributes
from ..version import __version__ as __version__

__all__ = [
    "bad_images", "batches", "datasets", "figures", "metrics", "models", "neighbors",
    "picture_options", "predictions", "report", "runs", "scan", "schedules", "statistics",
    "submission", "training", "transforms", "utils", "watch",
]  # fmt: skip


def _on_first_use(name: str) -> Any:
    if name not in __all__:
        raise KeyError(name)
    return importlib.import_module(f"{__name__}.{name}")


__getattr__ = attributes(globals(), _on_first_use)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
