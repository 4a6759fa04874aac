"""Computer vision: data sets, transforms, models, metrics, and figures.

Each part is imported at first use, and Pillow when the first picture is opened.
"""

from __future__ import annotations

from ..missing import attributes
from ..version import __version__ as __version__

__all__ = [
    "bad_images", "batches", "datasets", "figures", "metrics", "models", "neighbors",
    "picture_options", "predictions", "report", "runs", "scan", "schedules", "statistics",
    "submission", "training", "transforms", "utils", "watch",
]  # fmt: skip

__getattr__ = attributes(globals(), {name: name for name in __all__})


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
