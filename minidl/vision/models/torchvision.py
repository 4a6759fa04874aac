"""``torchvision.models`` for scripts that call ``alexnet()`` without naming a variant.

:func:`minidl.vision.models.alexnet` makes the paper's network unless its arguments are
torchvision's. Here it is always torchvision's: ``import minidl.vision.models.torchvision as
models``.
"""

from __future__ import annotations

from typing import Any

from ... import missing
from ...errors import ArgumentError
from .alexnet import AlexNet
from .alexnet import alexnet as _alexnet
from .pretrained import AlexNet_Weights

__all__ = ["AlexNet", "AlexNet_Weights", "alexnet", "get_model", "list_models"]


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


def get_model(name: str, **config: Any) -> AlexNet:
    """Make a network by its name, "alexnet", with the arguments of :func:`alexnet`.

    Raises
    ------
    ArgumentError
        There is no such network.
    """
    if name.lower() not in list_models():
        raise ArgumentError(f"get_model: there is no {name!r} in minidl, only 'alexnet'")
    return alexnet(**config)


def list_models() -> list[str]:
    """Return the names of torchvision's networks that there are."""
    return ["alexnet"]


__getattr__ = missing.attributes(globals())
