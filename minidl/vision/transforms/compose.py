"""Compose and Lambda: transforms made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ArgumentError
from .resize import ResizeAndCrop

__all__ = ["Compose", "Lambda"]


class Compose:
    """Applies transforms one after the other.

    A bilinear :class:`Resize` followed directly by a :class:`RandomCrop` computes only the pixels
    that the crop keeps. They may differ from those of the two in sequence by one gray level, rarely
    by two.

    Parameters
    ----------
    transforms : sequence of callables
        Each is called with the result of the one before.

    Examples
    --------
    >>> from minidl.vision import transforms
    >>> transforms.Compose([transforms.Lambda(abs), transforms.Lambda(float)])(-3)
    3.0
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in _with_pairs_as_one(self.transforms):
            image = transform(image)
        return image

    @property
    def takes_bytes(self) -> bool:
        """Whether all of them take bytes: see :meth:`minidl.vision.datasets.Shards.load`."""
        return all(getattr(transform, "takes_bytes", False) for transform in self.transforms)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


def _with_pairs_as_one(transforms: Sequence[Any]) -> list[Any]:
    """Replace two transforms in sequence by one where that is faster."""
    steps: list[Any] = []
    for transform in transforms:
        if steps and ResizeAndCrop.fits(steps[-1], transform):
            steps[-1] = ResizeAndCrop(steps[-1], transform)
        else:
            steps.append(transform)
    return steps


class Lambda:
    """Applies a user-defined function.

    Parameters
    ----------
    lambd : callable
        From a picture to whatever the next transform takes.

    Raises
    ------
    ArgumentError
        ``lambd`` is not callable.

    Examples
    --------
    The ten crops of a picture as one tensor, for a network that averages over them:

    >>> import minidl
    >>> from minidl.vision import transforms
    >>> views = transforms.Compose([
    ...     transforms.TenCrop(224),
    ...     transforms.Lambda(lambda crops: minidl.stack(list(crops))),
    ... ])
    >>> tuple(views(minidl.zeros(3, 256, 256)).shape)
    (10, 3, 224, 224)
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise ArgumentError(f"Lambda: lambd must be callable, got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, image: Any) -> Any:
        return self.lambd(image)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
