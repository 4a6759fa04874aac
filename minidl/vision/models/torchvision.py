"""``torchvision.models`` for scripts that call ``alexnet()`` without naming a variant.

:func:`minidl.vision.models.alexnet` makes the paper's network unless its arguments are
torchvision's. Here it is always torchvision's: ``import minidl.vision.models.torchvision as
models``.
"""

from __future__ import annotations

from typing import Any

from ...missing import attributes
from . import alexnet as _alexnet
from .alexnet import AlexNet
from .pretrained import AlexNet_Weights

__all__ = ["AlexNet", "AlexNet_Weights", "alexnet"]


def alexnet(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> AlexNet:
    """Make torchvision's AlexNet.

    Parameters
    ----------
    weights, progress, **kwargs
        As for :func:`minidl.vision.models.alexnet`.

    Examples
    --------
    >>> import minidl.vision.models.torchvision as models
    >>> models.alexnet(num_classes=10).input_size
    (3, 224, 224)
    """
    return _alexnet("torchvision", weights=weights, progress=progress, **kwargs)


__getattr__ = attributes(globals())
