"""Mirror images with a given probability."""

from __future__ import annotations

from typing import Any

from ...data import sample_stream
from ...data.stream import shared_stream
from ._image import Transform, hflip, neighbors, probability, size_of, vflip

__all__ = ["RandomHorizontalFlip", "RandomVerticalFlip"]


class RandomHorizontalFlip(Transform):
    """Mirrors left and right with a given probability.

    Parameters
    ----------
    p : float, default 0.5
        The probability, 0 to 1.
    shared : int, optional
        In a loader, the number of neighbors in the epoch's order that are mirrored together or not
        at all; 32 in the original AlexNet program. Default: each picture is decided separately.

    Raises
    ------
    ArgumentError
        `p` is not a probability, or `shared` is less than 1.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomHorizontalFlip
    >>> RandomHorizontalFlip(p=1)(minidl.tensor([[[1, 2, 3]]])).tolist()
    [[[3, 2, 1]]]
    """

    _shown = ("p", "shared")

    def __init__(self, p: float = 0.5, shared: int | None = None) -> None:
        self.p = probability(p, type(self).__name__)
        self.shared = neighbors(shared, type(self).__name__)

    def draw(self) -> bool:
        """Choose whether to mirror a picture."""
        rng = sample_stream() if self.shared is None else shared_stream(self.shared, "flip")
        return bool(rng.random() < self.p)

    def forward(self, img: Any) -> Any:
        size_of(img, "RandomHorizontalFlip")
        return hflip(img) if self.draw() else img


class RandomVerticalFlip(Transform):
    """Exchanges top and bottom with a given probability.

    Parameters
    ----------
    p : float, default 0.5
        The probability, 0 to 1.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomVerticalFlip
    >>> RandomVerticalFlip(p=1)(minidl.tensor([[[1], [2]]])).tolist()
    [[[2], [1]]]
    """

    _shown = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p, type(self).__name__)

    def forward(self, img: Any) -> Any:
        size_of(img, "RandomVerticalFlip")
        return vflip(img) if sample_stream().random() < self.p else img
