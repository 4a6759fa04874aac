"""Opening the data of a training run, and a whole run after its training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..device import device as to_device
from ..errors import CheckpointError
from ..training import latest_run
from ..training.checkpoints import Checkpoints
from . import picture_options
from .batches import PictureBatches
from .datasets import FakeData, Shapes
from .datasets.opening import check_classes, open_folder, print_skipped
from .models import AlexNet, alexnet
from .statistics import PixelStatistics

__all__ = ["TrainedRun", "make_network", "make_pictures", "open_data", "open_run"]


def open_data(settings: Mapping[str, Any]) -> tuple[Any, Any, list[str]]:
    """Return the training pictures, the validation pictures, and the names of the classes.

    Parameters
    ----------
    settings : mapping of str to object
        "synthetic" (noise of ImageNet's size), "data" (a folder; None for Shapes), "on_bad_image"
        and "exif": the options of :mod:`minidl.vision.picture_options`.

    Raises
    ------
    DataError
        The folder can't be read or has no pictures.
    """
    if settings["synthetic"]:
        fake = partial(FakeData, image_size=(3, 256, 256), num_classes=1000)
        return fake(12_800), fake(1_280, random_offset=12_800), fake(0).classes
    if settings["data"] is None:
        shapes = Shapes(split="train")
        return shapes, Shapes(split="val"), shapes.classes
    train, val = open_folder(settings["data"], settings["on_bad_image"], settings["exif"])
    print_skipped(settings["data"], train.skipped, val.skipped)
    return train, val, train.classes


def make_network(settings: Mapping[str, Any], classes: int) -> AlexNet:
    """Return a run's network with its initial weights.

    Parameters
    ----------
    settings : mapping of str to object
        "variant", "dropout", "init", and perhaps "network", a dict of further arguments of
        :func:`~minidl.vision.models.alexnet`.
    classes : int
    """
    return alexnet(
        settings["variant"], classes, settings["dropout"], settings["init"],
        **settings.get("network", {}),
    )  # fmt: skip


def make_pictures(
    model: AlexNet,
    train: Any,
    val: Any,
    statistics: PixelStatistics | None,
    settings: Mapping[str, Any],
) -> PictureBatches:
    """Return a run's batches of pictures on the network's device.

    Parameters
    ----------
    model, train, val, statistics
        See :class:`~minidl.vision.batches.PictureBatches`.
    settings : mapping of str to object
        "output" and the options of :mod:`minidl.vision.picture_options`.
    """
    return PictureBatches(
        model, train, val, statistics, settings["batch_size"], settings["workers"],
        settings["limit_batches"], settings["output"], settings["bad_image_budget"],
        settings["shared_offset"], settings["augment"],
    )  # fmt: skip


@dataclass(frozen=True)
class TrainedRun:
    """A run after its training.

    Attributes
    ----------
    model : AlexNet
        With the weights of the best epoch.
    pictures : PictureBatches
    classes : list of str
    folder : Path
    history : list of dict
        A line for each epoch; see :func:`minidl.training.report.write`.
    """

    model: AlexNet
    pictures: PictureBatches
    classes: list[str]
    folder: Path
    history: list[dict[str, float]]


def open_run(
    run: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    device: str = "cpu",
) -> TrainedRun:
    """Open a run of ``examples/alexnet_imagenet.py``, with the network of its best epoch.

    Parameters
    ----------
    run : str or path, optional
        The run's folder, or one of its checkpoints. Default: the latest run in ``runs``.
    data : str or path, optional
        Where its pictures are now. Default: where they were.
    device : str, default "cpu"

    Raises
    ------
    CheckpointError
        There is no checkpoint, or it is not one of such a run.
    DataError
        The pictures can't be read, or have other classes.
    """
    path, state = Checkpoints.load(run or latest_run("runs", "alexnet*"), "best", "cpu")
    if not isinstance(state, dict) or not {"options", "model", "pictures"} <= set(state):
        raise CheckpointError(f"{path} was not written by examples/alexnet_imagenet.py")
    settings = {**picture_options.DEFAULTS, **state["options"]}
    picture_options.suit_older_run(settings, {}, state)
    if data is not None:
        settings["data"] = os.path.abspath(data)
    train, val, classes = open_data(settings)
    check_classes(path, settings["classes"], settings["data"], classes)
    model = make_network(settings, len(classes))
    model.load_state_dict(state["model"])
    known, settings["output"] = state["pictures"]["statistics"], path.parent
    statistics = known and PixelStatistics(**known)
    pictures = make_pictures(model.to(to_device(device)), train, val, statistics, settings)
    return TrainedRun(model.eval(), pictures, classes, path.parent, state.get("history", []))
