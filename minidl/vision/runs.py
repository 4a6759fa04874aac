"""Opening the data of a training run, and a whole run after its training."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..device import device as to_device
from ..distributed import get_rank, get_world_size
from ..errors import ArgumentError, DataError
from ..training import latest_run
from ..training.parallel import check_same
from . import picture_options
from .batches import PictureBatches
from .datasets import FakeData, ImageList, Shapes
from .datasets.decoding import pil_loader, reading
from .datasets.index import Samples
from .datasets.opening import check_classes, open_folder, print_skipped
from .datasets.pictures import Pictures
from .models import networks
from .models.rows import RowNet
from .models.shards import Shards
from .models.variants import VARIANTS
from .statistics import PixelStatistics
from .transforms.preprocessing import Preprocessing
from .weights.files import Content, read
from .weights.layouts import Weights, recognize, statistics_of

__all__ = [
    "TrainedRun", "make_network", "make_pictures", "open_data", "open_network", "open_run",
    "read_lines", "suit_towers",
]  # fmt: skip


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Return the nonempty lines of a text file, such as the names of classes.

    Raises
    ------
    DataError
        The file can't be read.
    """
    with reading(os.fspath(path)):
        text = Path(path).read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def open_data(settings: Mapping[str, Any]) -> tuple[Any, Any, list[str]]:
    """Return the training pictures, the validation pictures, and the names of the classes.

    Parameters
    ----------
    settings : mapping of str to object
        "synthetic" (noise of ImageNet's size), "data" (a folder; None for Shapes), "on_bad_image"
        and "exif": the options of :mod:`minidl.vision.picture_options`. Or "train_list" and
        "val_list", text files for :class:`~minidl.vision.datasets.ImageList`, and perhaps
        "classes_file", the names of their classes.

    Raises
    ------
    DataError
        The folder can't be read or has no pictures.
    ArgumentError
        There is one list without the other, or a folder beside them.
    """
    lists = [name for name in ("train_list", "val_list", "classes_file") if settings.get(name)]
    if lists and (settings["data"] or not {"train_list", "val_list"} <= set(lists)):
        raise ArgumentError("--train-list and --val-list belong together, without --data")
    if settings["synthetic"]:
        fake = partial(FakeData, image_size=(3, 256, 256), num_classes=1000)
        return fake(12_800), fake(1_280, random_offset=12_800), fake(0).classes
    if lists:
        classes = read_lines(settings["classes_file"]) if settings.get("classes_file") else None
        loader = partial(pil_loader, exif=settings["exif"] is not False)
        listed = ImageList(settings["train_list"], classes, loader=loader)
        others = ImageList(settings["val_list"], listed.classes, loader=loader)
        bad = settings["on_bad_image"]
        return Pictures(listed, None, bad), Pictures(others, None, bad), listed.classes
    if settings["data"] is None:
        shapes = Shapes(split="train")
        return shapes, Shapes(split="val"), shapes.classes
    train, val = open_folder(settings["data"], settings["on_bad_image"], settings["exif"])
    print_skipped(settings["data"], train.skipped, val.skipped)
    return train, val, train.classes


def make_network(settings: Mapping[str, Any], classes: int) -> RowNet:
    """Return a run's network with its initial weights.

    What weights from elsewhere expect of pictures is attached ("preprocessing").

    Parameters
    ----------
    settings : mapping of str to object
        "variant", "dropout", "init", and perhaps "network", a dict of further arguments of
        :func:`~minidl.vision.models.alexnet`, "preprocessing", and "parallel", how the network is
        cut if there are several ranks.
    classes : int
    """
    options = {"dropout": settings["dropout"], "init": settings["init"]}
    more = {**(options if settings["variant"] in VARIANTS else {}), **settings.get("network", {})}
    model = networks.make_network(settings["variant"], classes, **more)
    if settings.get("preprocessing"):
        model.preprocessing = Preprocessing.from_dict(settings["preprocessing"])
        model.input_scale = model.preprocessing.input_scale
    if settings.get("parallel") in ("towers", "hybrid") and get_world_size() > 1:
        Shards(model, settings["parallel"])
    return model


def make_pictures(
    model: RowNet,
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

    Raises
    ------
    ArgumentError
        Another rank has other pictures, or there are more ranks than pictures in a batch.
    """
    if get_world_size() > 1:
        every = {"training pictures": train, "validation pictures": val}
        found = {name: f"{len(each):,} ({_checksum(each):08x})" for name, each in every.items()}
        check_same(found, "all ranks need the same pictures, under the same --data")
    return PictureBatches(
        model, train, val, statistics, settings["batch_size"], settings["workers"],
        settings["limit_batches"], settings["output"], settings["bad_image_budget"],
        settings["shared_offset"], settings["augment"],
        _share(settings),
    )  # fmt: skip


def _checksum(pictures: Any) -> int:
    """Return a checksum of the names and the labels."""
    whole = getattr(pictures, "dataset", pictures)
    number = zlib.crc32(repr(getattr(whole, "classes", None)).encode())
    samples = getattr(whole, "samples", None)
    parts = samples.arrays() if isinstance(samples, Samples) else [getattr(whole, "targets", ())]
    for part in parts:
        number = zlib.crc32(np.asarray(part).tobytes(), number)
    return number


def open_network(
    content: Content, variant: str | None = None
) -> tuple[RowNet, Weights, PixelStatistics | None]:
    """Return the network that a file holds, and the statistics of its training pictures.

    Parameters
    ----------
    content : Content
        Of :func:`~minidl.vision.weights.files.read`.
    variant : str, optional
        Default: the variant that the file names, or the only one that fits.

    Returns
    -------
    RowNet
        In evaluation mode.
    Weights
        What was copied into it, and the names of the classes, if they are known.
    PixelStatistics or None
        Of a run whose pictures had some.

    Raises
    ------
    CheckpointError, ArgumentError
        See :func:`~minidl.vision.weights.layouts.recognize`.
    """
    weights = recognize(content, networks.plans(variant))
    model = networks.make_network(weights.variant, weights.num_classes, **weights.options)
    weights.fill(model)
    return model.eval(), weights, statistics_of(content.value, content.path)


def _share(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Return this rank and the number of ranks that share batches."""
    ranks = get_world_size()
    if ranks == 1 or settings.get("parallel") not in ("data", "hybrid"):
        return 0, 1
    if settings["batch_size"] < ranks:
        raise ArgumentError(
            f"--batch-size {settings['batch_size']}: {ranks} ranks can't share so few pictures"
        )
    return get_rank(), ranks


def suit_towers(settings: dict[str, Any]) -> dict[str, Any]:
    """Let response normalization end at the border of two towers on two ranks, in a new run."""
    variant = VARIANTS.get(settings["variant"])
    if settings.get("parallel") == "towers" and variant is not None and variant.norm:
        return {**settings, "network": {"lrn_groups": 2, **settings.get("network", {})}}
    return settings


@dataclass(frozen=True)
class TrainedRun:
    """A run after its training.

    Attributes
    ----------
    model : RowNet
        With the weights of the best epoch.
    pictures : PictureBatches
        None if they were left out.
    classes : list of str
    folder : Path
    history : list of dict
        A line for each epoch; see :func:`minidl.training.report.write`.
    """

    model: RowNet
    pictures: Any
    classes: list[str]
    folder: Path
    history: list[dict[str, float]]


def open_run(
    run: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    pictures: bool = True,
) -> TrainedRun:
    """Open a run of ``alexnet_imagenet.py`` or ``finetune.py``, with its best epoch's network.

    Parameters
    ----------
    run : str or path, optional
        The run's folder, or one of its checkpoints; or weights that
        :func:`~minidl.vision.models.load_network` reads. Default: the latest run in ``runs``.
    data : str or path, optional
        Where the pictures are. Default: where they were in training. Weights alone need it.
    device : str, default "cpu"
    pictures : bool, default True
        False leaves the pictures out: for figures of the network itself.

    Raises
    ------
    CheckpointError
        There is no checkpoint, or it holds no weights of a network.
    DataError
        The pictures can't be read, or have other classes.
    ArgumentError
        Weights alone are given, and neither data nor ``pictures=False``.
    """
    content = read(run or latest_run("runs", "alexnet*"))
    path, state = Path(content.path), content.value
    model, weights, statistics = open_network(content)
    settings, history = {**picture_options.DEFAULTS}, []
    folder = Path(run) if run and os.path.isdir(run) else Path("runs") / path.stem
    if isinstance(state, dict) and {"options", "model", "pictures"} <= set(state):
        settings |= state["options"]
        picture_options.suit_older_run(settings, {}, state)
        folder, history = path.parent, state.get("history", [])
    elif data is None and pictures:
        raise ArgumentError(f"{path} holds only weights: add --data, a folder of pictures")
    model = model.to(to_device(device))
    if not pictures:
        return TrainedRun(model, None, weights.classes or [], folder, history)
    settings = {"batch_size": 128, **settings, "output": folder}
    if data is not None:
        settings |= dict.fromkeys(("train_list", "val_list", "classes_file"))
        settings["data"] = os.path.abspath(data)
    train, val, classes = open_data(settings)
    check_classes(path, weights.classes or classes, settings, classes)
    if len(classes) != weights.num_classes:
        raise DataError(
            f"{settings['data']} has {len(classes)} classes, the network has {weights.num_classes}"
        )
    batches = make_pictures(model, train, val, statistics, settings)
    return TrainedRun(model, batches, classes, folder, history)
