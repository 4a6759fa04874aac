"""torchvision's trained weights of AlexNet: where they are looked for, and how they get there."""

from __future__ import annotations

import enum
import os
from typing import Any

from ...errors import ArgumentError
from ...files import cache_folder

#: Where torchvision's file is published.
URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"

#: The name of torchvision's file, converted.
FILE = "alexnet-owt-7be5be79.safetensors"


class AlexNet_Weights(enum.Enum):
    """torchvision's weights for its AlexNet: trained on ImageNet's 1000 classes."""

    IMAGENET1K_V1 = FILE
    DEFAULT = FILE  # the same member

    def transforms(self) -> Any:
        """Return what prepares a picture for the network."""
        from ..transforms.preprocessing import TORCHVISION

        return TORCHVISION.transforms()


def weights_file(weights: Any) -> str | os.PathLike[str]:
    """Return the file of some weights.

    Parameters
    ----------
    weights : AlexNet_Weights, str or path-like
        A member or its name, such as "IMAGENET1K_V1"; or a file or a run's folder, which is
        returned as it is.

    Raises
    ------
    ArgumentError
        torchvision's weights are not in the user's cache.
    """
    if not isinstance(weights, AlexNet_Weights) and weights not in AlexNet_Weights.__members__:
        given: str | os.PathLike[str] = weights
        return given
    places = [cache_folder() / name for name in (FILE, FILE.replace(".safetensors", ".pth"))]
    for path in places:
        if path.exists():
            return path
    raise ArgumentError(
        f"alexnet: there is no file {os.fspath(places[-1])!r}, and nothing is downloaded; get it "
        f"from {URL} and put it there"
    )
