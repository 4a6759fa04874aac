"""The batches of a training run: pictures on their way through the loader into the network.

:class:`PictureBatches` combines the parts that training and evaluation share: the transforms for
the network's input, a loader, the upload to the device, and the count of bad pictures.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..data import BatchSampler, DataLoader, DeviceBatches, RandomSampler, SequentialSampler, Subset
from ..data.distributed import SharedBatches
from ..errors import ArgumentError, DataError
from .bad_images import BadImages
from .models.rows import RowNet
from .statistics import PixelStatistics
from .transforms import CenterCrop, Compose, Resize
from .transforms.presets import alexnet_evaluation, alexnet_finish, alexnet_training, whole_size

__all__ = ["PictureBatches"]


class PictureBatches:
    """Makes batches of training and validation pictures on the network's device.

    Parameters
    ----------
    model : RowNet
        The network, which determines device, size and scale of the input. If it has weights from
        elsewhere, pictures are prepared as their ``preprocessing`` says, unless there are
        statistics.
    train, val : Dataset
        Pictures and labels; a data set whose ``transform`` can be set, or a Subset of one.
    statistics : PixelStatistics, optional
        Statistics of the training pictures. Default: ImageNet's.
    batch_size : int, default 128
    workers : int, default 2
        Number of processes that prepare pictures.
    limit : int, optional
        Largest number of batches in an epoch or an evaluation. Default: no limit.
    folder : str or path, optional
        Where ``bad-images.txt`` is written if there are bad pictures. Default: the current folder.
    budget : int, optional
        Number of bad pictures that may be replaced. Default: a thousandth of all, at least 10.
    shared_offset : int, optional
        Number of neighbors in an epoch's order that are cropped and mirrored alike; 32 in the
        original program. Default: each picture is decided separately.
    augment : bool, default True
        False trains with the central crop of each picture, never mirrored.
    share : tuple of int, default (0, 1)
        This rank, and the number of ranks that have a share of each batch.

    Attributes
    ----------
    bad : BadImages
        The pictures that could not be read.
    """

    def __init__(
        self,
        model: RowNet,
        train: Any,
        val: Any,
        statistics: PixelStatistics | None = None,
        batch_size: int = 128,
        workers: int = 2,
        limit: int | None = None,
        folder: str | os.PathLike[str] = ".",
        budget: int | None = None,
        shared_offset: int | None = None,
        augment: bool = True,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if model.input_size[0] != 3:
            raise ArgumentError(f"the network takes pictures with {model.input_size[0]} channel, "
                                "not with three")  # fmt: skip
        self.train, self.val, self.statistics = train, val, statistics
        self.shared_offset, self.augment = shared_offset, augment
        self.device = next(model.parameters()).device
        self.batch_size, self.limit = batch_size, limit
        self._input = model.input_size[-1], model.input_scale
        size, scale = self._input
        known = getattr(model, "preprocessing", None)  # of weights from elsewhere
        self._expected = known if statistics is None else None
        if self._expected is None:
            self._finish: Any = alexnet_finish(scale, statistics, size)  # bytes to numbers
        else:
            self._finish = self._expected.finish()
        on_gpu = self.device.type == "gpu"
        self._load = partial(DataLoader, num_workers=workers, pin_memory=on_gpu)
        self._share = share
        order = BatchSampler(RandomSampler(train), batch_size, False)
        self._train_loader = self._load(
            train, batch_sampler=order if share[1] == 1 else SharedBatches(order, *share)
        )
        if budget is None:
            budget = max(10, (len(train) + len(val)) // 1000)
        name = f"bad-images-{share[0]}.txt" if share[0] else "bad-images.txt"
        self.bad = BadImages(Path(folder) / name, budget)

    def __len__(self) -> int:
        """The number of batches in a training epoch."""
        whole = len(self._train_loader)
        return whole if self.limit is None else min(whole, self.limit)

    def size_of(self, number: int) -> int:
        """Return the number of samples in a training batch of all ranks."""
        return min(self.batch_size, len(self.train) - number * self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return an identification of these pictures, for a checkpoint.

        Returns
        -------
        dict of str to object
            "pictures": the numbers of training and validation pictures; "statistics": None, or the
            fields of :class:`~minidl.vision.statistics.PixelStatistics`.
        """
        known = None if self.statistics is None else asdict(self.statistics)
        return {"pictures": [len(self.train), len(self.val)], "statistics": known}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that the pictures are those of :meth:`state_dict`.

        Raises
        ------
        DataError
            Their numbers or their statistics differ.
        """
        found, expected = self.state_dict(), state_dict
        if found["pictures"] != expected["pictures"]:
            raise DataError(
                "the run began with {:,} training and {:,} validation pictures, "
                "found {:,} and {:,}".format(*expected["pictures"], *found["pictures"])
            )
        mine, theirs = (known["statistics"] or {} for known in (found, expected))
        if mine.keys() != theirs.keys() or not all(
            np.array_equal(mine[name], theirs[name]) for name in mine
        ):
            raise DataError(
                "the pictures' statistics (mean, PCA) differ from those at the start of the run: "
                "prepare the same pictures in the same way"
            )

    def training(self, epoch: int, start: int = 0, jitter: bool = False) -> DeviceBatches:
        """Return the batches of an epoch, the same in every run.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        start : int
            Number of batches to skip. Default 0.
        jitter : bool
            Add the paper's color noise. Default False.

        Raises
        ------
        DataError
            From the iterator; also if there are more bad pictures than the budget.
        """
        transform = alexnet_training(
            *self._input, jitter, raw=True, statistics=self.statistics,
            shared_offset=self.shared_offset, augment=self.augment,
        )  # fmt: skip
        _set_transform(self.train, transform)
        self._train_loader.set_epoch(epoch)
        batches = islice(self._train_loader.iterate(start), len(self) - start)
        return self._to_device(batches, self._train_loader)

    def evaluation(self, ten_crop: bool = False) -> DeviceBatches:
        """Return the validation batches, with the central crop or ten crops of each picture.

        Parameters
        ----------
        ten_crop : bool
            Use ten crops of each picture, and a tenth of the pictures in a batch. Default False.

        Raises
        ------
        DataError
            From the iterator; also if there are more bad pictures than the budget.
        """
        loader = self._load(*self._evaluated(ten_crop))
        loader.set_epoch(0)  # so that an evaluation moves nothing
        return self._to_device(islice(loader, self.limit), loader)

    def shared_evaluation(self, ten_crop: bool = False) -> Iterable[Sequence[Any]]:
        """Return this rank's share of the validation batches, of equal size on all ranks.

        Parameters
        ----------
        ten_crop : bool
            As for :meth:`evaluation`.

        Returns
        -------
        iterable of (images, labels, total)
            See :func:`~minidl.vision.metrics.evaluate`; without `total` if there is only one rank.
        """
        rank, ranks = self._share
        if ranks == 1:
            return self.evaluation(ten_crop)
        pictures, size = self._evaluated(ten_crop)
        order = BatchSampler(SequentialSampler(pictures), max(size, ranks), False)
        totals = [len(batch) for batch in order][: self.limit]
        loader = self._load(pictures, batch_sampler=SharedBatches(order, rank, ranks, equal=True))
        loader.set_epoch(0)
        batches = self._to_device(islice(loader, self.limit), loader)
        return ((*batch, total) for batch, total in zip(batches, totals, strict=True))

    def _evaluated(self, ten_crop: bool) -> tuple[Any, int]:
        """Return the validation pictures as they are evaluated, and the size of a batch."""
        pictures = copy.copy(self.val)
        _set_transform(pictures, self._evaluating(ten_crop))
        return pictures, -(-self.batch_size // 10) if ten_crop else self.batch_size

    def some(self, pictures: Any, indices: Sequence[int]) -> DeviceBatches:
        """Return batches of chosen pictures with the central crop of each.

        Parameters
        ----------
        pictures : Dataset
            ``self.train`` or ``self.val``.
        indices : sequence of int
        """
        loader = self._load(_view(pictures, indices, self._evaluating()), self.batch_size)
        loader.set_epoch(0)
        return self._to_device(iter(loader), loader)

    def shown(self, pictures: Any, indices: Sequence[int]) -> list[tuple[np.ndarray, int]]:
        """Return the central crops of chosen pictures, (size, size, 3) bytes, and their labels."""
        size = self._input[0]
        view = _view(pictures, indices, Compose([Resize(whole_size(size)), CenterCrop(size)]))
        samples = (view[place] for place in range(len(view)))
        return [(np.asarray(picture.convert("RGB")), int(label)) for picture, label in samples]

    def _evaluating(self, ten_crop: bool = False) -> Any:
        if self._expected is not None:
            return self._expected.transforms(ten_crop, raw=True)
        return alexnet_evaluation(*self._input, ten_crop, raw=True, statistics=self.statistics)

    def _to_device(self, batches: Iterator[Any], loader: DataLoader) -> DeviceBatches:
        def counted() -> Iterator[Any]:
            for batch in batches:
                self.bad.update(loader.notes.get("bad image", ()))
                yield batch

        return DeviceBatches(counted(), self.device, self._finish)


def _view(pictures: Any, indices: Sequence[int], transform: Any) -> Subset:
    """Return chosen pictures with a transform of their own."""
    pictures = copy.copy(pictures)
    if isinstance(pictures, Subset):
        pictures.dataset = copy.copy(pictures.dataset)
    _set_transform(pictures, transform)
    return Subset(pictures, indices)


def _set_transform(pictures: Any, transform: Any) -> None:
    getattr(pictures, "dataset", pictures).transform = transform  # of a Subset's whole
