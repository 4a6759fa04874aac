"""Transforms made of others: Compose, Lambda, and random choices among transforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...data import sample_stream
from ...errors import ArgumentError
from ._image import Transform, probability
from .resize import ResizeAndCrop

__all__ = ["Compose", "Lambda", "RandomApply", "RandomChoice", "RandomOrder"]


class _Several(Transform):
    """The base of transforms that are made of others."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        if not hasattr(transforms, "__getitem__"):
            raise ArgumentError(
                f"{type(self).__name__}: transforms must be a sequence, "
                f"got {type(transforms).__name__}"
            )
        self.transforms = transforms

    def __repr__(self) -> str:
        lines = [str(transform) for transform in self.transforms]
        if isinstance(self, RandomApply):
            lines.insert(0, f"p={self.p}")
        end = f"(p={self.p})" if isinstance(self, RandomChoice) else ""
        return "\n    ".join([f"{type(self).__name__}(", *lines]) + f"\n){end}"


class Compose(_Several):
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

    def __call__(self, img: Any) -> Any:
        for transform in _with_pairs_as_one(self.transforms):
            img = transform(img)
        return img

    @property
    def takes_bytes(self) -> bool:
        """Whether all of them take bytes: see :meth:`minidl.vision.datasets.Shards.load`."""
        return all(getattr(transform, "takes_bytes", False) for transform in self.transforms)


def _with_pairs_as_one(transforms: Sequence[Any]) -> list[Any]:
    """Replace two transforms in sequence by one where that is faster."""
    steps: list[Any] = []
    for transform in transforms:
        if steps and ResizeAndCrop.fits(steps[-1], transform):
            steps[-1] = ResizeAndCrop(steps[-1], transform)
        else:
            steps.append(transform)
    return steps


class Lambda(Transform):
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

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)


class RandomApply(_Several):
    """Applies all of some transforms, or none of them.

    Parameters
    ----------
    transforms : sequence of callables
        Applied one after the other.
    p : float, default 0.5
        Probability of applying them, 0 to 1.

    Examples
    --------
    >>> from minidl.vision.transforms import RandomApply
    >>> RandomApply([abs, float], p=1)(-3)
    3.0
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = probability(p, "RandomApply")

    def forward(self, img: Any) -> Any:
        if sample_stream().random() < self.p:
            for transform in self.transforms:
                img = transform(img)
        return img


class RandomChoice(_Several):
    """Applies one of some transforms.

    Parameters
    ----------
    transforms : sequence of callables
        One of them is chosen for each picture.
    p : sequence of float, optional
        Their relative weights. Default: equal.

    Examples
    --------
    >>> from minidl.vision.transforms import RandomChoice
    >>> RandomChoice([abs, float], p=[1, 0])(-3)
    3
    """

    def __init__(
        self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None
    ) -> None:
        super().__init__(transforms)
        if not transforms:
            raise ArgumentError("RandomChoice: there is no transform to choose")
        if p is not None and not hasattr(p, "__len__"):
            raise ArgumentError(f"RandomChoice: p must be weights, got {p!r}")
        if p is not None and len(p) != len(transforms):
            raise ArgumentError(
                f"RandomChoice: p has {len(p)} weights for {len(transforms)} transforms"
            )
        if p is not None and not (min(p) >= 0 and 0 < sum(p) < math.inf):
            raise ArgumentError(f"RandomChoice: p must be weights, not 0 alone, got {p}")
        self.p = p

    def forward(self, *args: Any) -> Any:
        weights = None if self.p is None else [weight / sum(self.p) for weight in self.p]
        chosen = int(sample_stream().choice(len(self.transforms), p=weights))
        return self.transforms[chosen](*args)


class RandomOrder(_Several):
    """Applies transforms in a random order.

    Parameters
    ----------
    transforms : sequence of callables

    Examples
    --------
    >>> from minidl.vision.transforms import RandomOrder
    >>> RandomOrder([abs, float])(-3)
    3.0
    """

    def forward(self, img: Any) -> Any:
        for which in sample_stream().permutation(len(self.transforms)):
            img = self.transforms[which](img)
        return img
