"""torchvision's trained weights of AlexNet: where they are looked for, and how they get there."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Any

from ...errors import ArgumentError
from ...files import cache_folder

#: The name of torchvision's file, converted.
FILE = "alexnet-owt-7be5be79.safetensors"


class AlexNet_Weights(enum.Enum):
    """torchvision's weights for its AlexNet: trained on ImageNet's 1000 classes."""

    IMAGENET1K_V1 = FILE
    DEFAULT = FILE  # the same member

    def transforms(self) -> Any:
        """Return what prepares a picture for the network."""
        from .. import transforms

        return transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )


def weights_file(weights: Any) -> Path:
    """Return the file of some weights.

    Parameters
    ----------
    weights : AlexNet_Weights, str or path-like
        A member's name, such as "IMAGENET1K_V1", or a file.

    Raises
    ------
    ArgumentError
        torchvision's weights are not in the user's cache, or there is no such file.
    """
    if isinstance(weights, str) and weights in AlexNet_Weights.__members__:
        weights = AlexNet_Weights[weights]
    path = Path(cache_folder() / FILE if isinstance(weights, AlexNet_Weights) else weights)
    if path.is_file():
        return path
    raise ArgumentError(
        f"alexnet: there is no file {os.fspath(path)!r}, and nothing is downloaded; where "
        "torchvision is installed, run once: import torchvision, safetensors.torch; "
        "safetensors.torch.save_file(torchvision.models.alexnet(weights='IMAGENET1K_V1')"
        f".state_dict(), {os.fspath(path)!r})"
    )
