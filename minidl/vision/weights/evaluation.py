"""``python -m minidl evaluate FILE FOLDER``: the errors of weights on labeled pictures."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ...device import device as to_device
from ...errors import ArgumentError, DataError, MinidlError
from ..batches import PictureBatches
from ..datasets import ImageFolder
from ..datasets.decoding import first_of
from ..datasets.opening import describe_classes, open_splits
from ..metrics import evaluate
from ..runs import open_network
from .files import KINDS, read


def evaluate_folder(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    variant: str | None = None,
    source_kind: str | None = None,
    *,
    ten_crop: bool = False,
    batch_size: int = 32,
    workers: int = 2,
    device: Any = "cpu",
) -> dict[str, float]:
    """Return the loss and accuracies of weights on a folder of pictures.

    Parameters
    ----------
    source, variant, source_kind
        See :func:`minidl.vision.weights.convert.convert`.
    folder : str or path-like
        ImageNet's archives, ``val/<class>/<picture>.jpg`` or ``<class>/<picture>.jpg``. A class is
        found by its name if the file has the same names, else by its place in their order; then a
        note says so.
    ten_crop : bool
        Average over ten crops of each picture. Default False.
    batch_size, workers : int
        Default 32 pictures at a time, prepared by 2 processes.
    device : str or Device
        Default "cpu".

    Returns
    -------
    dict of str to float
        ``{"loss": ..., "top1": ..., "top5": ..., "pictures": ...}``; accuracies in percent.

    Raises
    ------
    CheckpointError
        See :func:`~minidl.vision.weights.layouts.read_weights`.
    DataError
        There are no pictures, or their classes are not as many as the network's.
    """
    where = to_device(device)
    content = read(source, source_kind)
    net, weights, statistics = open_network(content, variant)
    splits = open_splits(folder, train=False) if os.path.isdir(folder) else {}
    pictures: Any = splits["val"] if "val" in splits else ImageFolder(folder)
    found, trained = list(getattr(pictures, "names", pictures.classes)), weights.classes
    if len(found) != weights.num_classes:
        raise DataError(
            f"{os.fspath(folder)} has other classes than the network, which has "
            f"{weights.num_classes}: {len(found)} ({first_of(found, 3)})"
        )
    if trained and found != trained:
        if sorted(found) == sorted(trained):
            pictures.target_transform = [trained.index(name) for name in found].__getitem__
        else:
            print(f"note: {os.fspath(folder)} has other names of classes than {content.path}, and "
                  f"they are taken in order: {describe_classes(trained, found)}",
                  file=sys.stderr)  # fmt: skip
    batches = PictureBatches(net.to(where), pictures, pictures, statistics, batch_size, workers)
    scores = evaluate(net, batches.evaluation(ten_crop))
    return {**scores, "pictures": len(pictures)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evaluate``."""
    add = parser.add_argument
    add("source", metavar="FILE", help="weights of any kind that convert reads, or a run's folder")
    add("folder", metavar="FOLDER", help="pictures in class folders, or a folder with val/")
    add("--variant", metavar="NAME", help="network (default: told from the file)")
    add("--from", dest="source_kind", choices=KINDS, help="kind of FILE (default: told from FILE)")
    add("--ten-crop", action="store_true", help="average over ten crops (default: one)")
    add("--batch-size", type=int, default=32, metavar="N", help="pictures at a time (default: 32)")
    add("--workers", type=int, default=2, metavar="N", help="decoding processes (default: 2)")
    add("--device", default="cpu", help="cpu, gpu or gpu:N (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Run ``evaluate``; return its exit status."""
    try:
        if arguments.batch_size < 1 or arguments.workers < 0:
            raise ArgumentError("--batch-size must be at least 1, --workers at least 0")
        scores = evaluate_folder(
            arguments.source, arguments.folder, arguments.variant, arguments.source_kind,
            ten_crop=arguments.ten_crop, batch_size=arguments.batch_size,
            workers=arguments.workers, device=arguments.device,
        )  # fmt: skip
    except MinidlError as error:
        print(f"python -m minidl evaluate: {error}", file=sys.stderr)
        return 2
    errors = [
        f"{key.replace('top', 'top-')} error {100 - value:.3f} %"
        for key, value in scores.items()
        if key.startswith("top")
    ]
    crops = "ten crops" if arguments.ten_crop else "one crop"
    print(
        f"{scores['pictures']:,} pictures, {crops}: {', '.join(errors)}, loss {scores['loss']:.4f}"
    )
    return 0
