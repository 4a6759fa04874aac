"""Train AlexNet on ImageNet, on a folder of your own pictures, or on pictures drawn for a first try.

    python examples/alexnet_imagenet.py                            # Shapes: ten classes, no download
    python examples/alexnet_imagenet.py --data DIR --device gpu    # DIR/train/<class>/<picture>.jpg
    python examples/alexnet_imagenet.py --resume runs/alexnet      # go on where a run was stopped
"""

from __future__ import annotations

import argparse
import copy
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

import minidl
from minidl import optim
from minidl.data import DataLoader, Dataset, Subset
from minidl.errors import ArgumentError, CheckpointError, DataError, MinidlError
from minidl.nn import Module
from minidl.nn.functional import cross_entropy
from minidl.vision import figures, transforms
from minidl.vision.datasets import ImageFolder, Shapes
from minidl.vision.metrics import accuracy, evaluate
from minidl.vision.models import AlexNet, alexnet
from minidl.vision.training import Interruption, RunLog, Waiting, hold_out

MOMENTUM = 0.9
BIAS_RATE = 2.0  # biases learn twice as fast as weights and don't decay, as in the original program
LOG_EVERY = 25  # steps between lines of the log
SAVE_EVERY = 15 * 60  # seconds between checkpoints within an epoch


@dataclass(frozen=True)
class Recipe:
    """The settings of a run that the command line does not give."""

    variant: str = "paper"
    init: str | None = None  # None: the variant's own
    epochs: int = 90
    batch_size: int = 128
    lr: float = 0.01
    schedule: str = "paper"
    warmup: int = 0  # steps in which the rate rises from 0
    dropout: float = 0.5
    weight_decay: float = 5e-4
    color_jitter: bool = True


RECIPES = {
    # The paper's own, for 100,000 pictures or more.
    "imagenet": Recipe(),
    # For fewer pictures: the paper's initial values would need many more steps to get going.
    "pictures": Recipe(
        init="he", epochs=30, batch_size=32, schedule="cosine", warmup=30, color_jitter=False
    ),
    # Without --data: minutes on a CPU.
    "shapes": Recipe(
        init="he", epochs=3, batch_size=32, schedule="cosine", warmup=30, color_jitter=False
    ),
}


# --- Data -----------------------------------------------------------------------------------------


class Synthetic(Dataset):
    """Random pictures of 256×256 pixels with random labels, made on the fly."""

    def __init__(self, length: int) -> None:
        self.length, self.classes = length, [f"class {label}" for label in range(1000)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        rng = minidl.random.stream(0, "synthetic", index)
        return Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)), index % 1000


class Transformed(Dataset):
    """A data set whose pictures go through a transform."""

    def __init__(self, pictures: Dataset, transform: Callable[[Any], minidl.Tensor]) -> None:
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[minidl.Tensor, int]:
        picture, label = self.pictures[index]
        return self.transform(picture), label


def open_data(data: str | None, synthetic: bool) -> tuple[Dataset, Dataset, list[str]]:
    """Return the pictures to train with, those to validate with, and the names of the classes."""
    if synthetic:
        return Synthetic(12_800), Synthetic(1_280), Synthetic(0).classes
    if data is None:
        shapes = Shapes(split="train")
        return shapes, Shapes(split="val"), shapes.classes
    folder = Path(data)
    if not folder.is_dir():
        raise DataError(
            f"--data: expected a folder with train/<class>/<picture>.jpg and val/..., or with "
            f"<class>/<picture>.jpg, found {'a file' if folder.exists() else 'nothing'} at {folder}"
        )
    train = ImageFolder(folder / "train" if (folder / "train").is_dir() else folder)
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        val = ImageFolder(folder / "val")
        if val.classes != train.classes:
            odd = sorted(set(val.classes) ^ set(train.classes))
            raise DataError(
                f"--data: expected the same classes in train/ and val/ of {folder}, found "
                f"{', '.join(odd[:5])}{' and others' if len(odd) > 5 else ''} in one of them only"
            )
        return train, val, train.classes
    kept, held_out = hold_out(train.targets, every=10)
    if not held_out:
        raise DataError(f"--data: expected 10 pictures or more in {folder}, found {len(train)}")
    return Subset(train, kept), Subset(train, held_out), train.classes


def make_transforms(model: AlexNet, color_jitter: bool, ten_crop: bool) -> tuple[Any, Any]:
    """Return the transforms of training and of evaluation, on the scale that the model expects."""
    size = model.input_size[-1]
    shorter_side = round(size / 7) * 8  # 256 for inputs of 224 and 227
    if model.input_scale == "pixels":
        scale = [transforms.ToPixels(), transforms.SubtractMean((123.68, 116.78, 103.94))]
        jitter = [*scale, transforms.PCAJitter("original")]
    else:
        normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        scale = [transforms.ToTensor(), normalize]
        jitter = [transforms.ToTensor(), transforms.PCAJitter("paper01"), normalize]
    train = transforms.Compose([
        transforms.Resize(shorter_side),
        transforms.RandomCrop(size),
        transforms.RandomHorizontalFlip(),
        *(jitter if color_jitter else scale),
    ])  # fmt: skip
    center = transforms.Compose([transforms.CenterCrop(size), *scale])
    one_view = transforms.Compose(scale)
    crops = transforms.TenCrop(size)
    views = transforms.Lambda(lambda p: minidl.stack([one_view(crop) for crop in crops(p)]))
    return train, transforms.Compose([
        transforms.Resize(shorter_side), views if ten_crop else center
    ])  # fmt: skip


# --- The run --------------------------------------------------------------------------------------


@dataclass
class Progress:
    """How far a run has come: with the parameters, all that is needed to go on."""

    epoch: int = 0  # finished
    batch: int = 0  # finished in the present epoch
    step: int = 0
    images: int = 0  # of the present epoch, with the sums of their losses and right answers
    loss_sum: float = 0.0
    right_sum: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_top1: float = -1.0
    unread: list[tuple[int, minidl.Tensor]] = field(default_factory=list)

    def add(self, loss: minidl.Tensor, logits: minidl.Tensor, labels: minidl.Tensor) -> None:
        """Count a step. Its numbers stay on the device, for reading them waits for a GPU."""
        self.batch, self.step = self.batch + 1, self.step + 1
        scores = minidl.stack([loss.detach(), *accuracy(logits.detach(), labels)])
        self.unread.append((len(labels), scores))

    def read(self) -> float:
        """Fetch the numbers of the last steps, and return the mean loss of the epoch so far."""
        rows = minidl.stack([scores for _, scores in self.unread]).tolist() if self.unread else []
        for number, (loss, right) in enumerate(rows):
            if not math.isfinite(loss):
                step = self.step - len(rows) + number + 1
                raise SystemExit(f"the loss became {loss} at step {step}: try a smaller --lr")
            count = self.unread[number][0]
            self.images += count
            self.loss_sum += loss * count
            self.right_sum += right * count
        self.unread = []
        return self.loss_sum / max(self.images, 1)

    def finish_epoch(self, scores: dict[str, float]) -> dict[str, float]:
        """Go to the next epoch; return this one's line of the log."""
        train = {"train_loss": self.read(), "train_top1": self.right_sum / max(self.images, 1)}
        self.epoch, self.batch, self.images, self.loss_sum, self.right_sum = self.epoch + 1, 0, 0, 0.0, 0.0
        self.best_top1 = max(self.best_top1, scores["top1"])
        self.history.append({"epoch": self.epoch, **train, **{
            "val_loss": scores["loss"], "top1": scores["top1"], "top5": scores["top5"]
        }})  # fmt: skip
        return self.history[-1]
