"""Compose and Lambda: transforms made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ArgumentError
from .geometry import ResizeAndCrop

__all__ = ["Compose", "Lambda"]


class Compose:
    """Applies transforms one after the other.

    Of a bilinear :class:`Resize` and a :class:`RandomCrop` right after it, only the pixels that the
    crop keeps are computed. They may differ from those of the two in sequence by one grey level,
    seldom by two.

    Parameters
    ----------
    transforms : sequence of callables
        Each gets what the one before it returned.

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
        """Whether all of them do: see :meth:`minidl.vision.datasets.Shards.load`."""
        return all(getattr(transform, "takes_bytes", False) for transform in self.transforms)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


def _with_pairs_as_one(transforms: Sequence[Any]) -> list[Any]:
    """Put one transform where two in sequence have a quicker common form."""
    steps: list[Any] = []
    for transform in transforms:
        if steps and ResizeAndCrop.fits(steps[-1], transform):
            steps[-1] = ResizeAndCrop(steps[-1], transform)
        else:
            steps.append(transform)
    return steps


class Lambda:
    """Applies a function of the user's.

    Parameters
    ----------
    lambd : callable
        From a picture to whatever the next transform takes.

    Raises
    ------
    ArgumentError
        When ``lambd`` can't be called.

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
