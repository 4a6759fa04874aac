"""minidl.vision.batches: a run's batches, their order, statistics and bad pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
from PIL import Image

import minidl
from minidl.data import Dataset, Subset, note
from minidl.errors import DataError
from minidl.vision.batches import PictureBatches
from minidl.vision.models import AlexNet, alexnet
from minidl.vision.statistics import PixelStatistics, PixelSums


class Noise(Dataset):
    """Twelve pictures, some of them "bad"."""

    transform: Callable[[Any], Any] | None = None

    def __init__(self, bad: int = 0) -> None:
        self.bad = bad
        self.alike = False

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if index < self.bad:
            note("bad image", f"picture {index}")
        pixels = np.random.default_rng(0 if self.alike else index).integers(
            0, 256, (48, 40, 3), dtype=np.uint8
        )
        assert self.transform is not None
        return self.transform(Image.fromarray(pixels)), index % 2


@pytest.fixture(scope="module")
def model() -> AlexNet:
    return alexnet("cifar", 2)


@pytest.fixture(autouse=True)
def seed() -> None:
    minidl.manual_seed(0)


def statistics(value: int) -> PixelStatistics:
    sums = PixelSums(8, 8)
    sums.add(np.full((8, 8, 3), value, np.uint8))
    sums.add(np.zeros((8, 8, 3), np.uint8))
    return sums.statistics()


def make(model: AlexNet, folder: Path, bad: int = 0, **options: Any) -> PictureBatches:
    settings = {"batch_size": 4, "workers": 0, "folder": folder, **options}
    return PictureBatches(model, Noise(bad), Subset(Noise(), range(10)), **settings)


def arrays(batches: Any) -> list[np.ndarray]:
    return [images.numpy() for images, _ in batches]


def test_an_epoch_can_be_entered_anywhere(model: AlexNet, tmp_path: Path) -> None:
    pictures = make(model, tmp_path)
    assert len(pictures) == 3
    whole = arrays(pictures.training(1, jitter=True))
    other = arrays(pictures.training(2, jitter=True))
    rest = arrays(make(model, tmp_path, workers=1).training(1, start=1, jitter=True))
    assert len(whole) == 3 and whole[0].shape == (4, *model.input_size)
    for found, expected in zip(rest, whole[1:], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(whole[0], other[0])


def test_color_noise_can_end(model: AlexNet, tmp_path: Path) -> None:
    pictures = make(model, tmp_path)
    noisy, plain = (arrays(pictures.training(0, jitter=jitter))[0] for jitter in (True, False))
    shift = (noisy - plain).mean(axis=(2, 3), keepdims=True)  # the shift of each picture's channels
    np.testing.assert_allclose(noisy, plain + shift, atol=1e-5)
    assert np.abs(shift).min() > 0


def test_neighbors_share_offset_and_mirror(model: AlexNet, tmp_path: Path) -> None:
    def views(**options: Any) -> list[bytes]:
        pictures = make(model, tmp_path, **options)
        pictures.train.alike = True
        return [view.tobytes() for batch in arrays(pictures.training(0)) for view in batch]

    assert len(set(views())) > 6
    chunks = views(shared_offset=6)
    assert len(set(chunks[:6])) == len(set(chunks[6:])) == 1 and chunks[0] != chunks[6]


def test_limit_ends_epochs_and_evaluations(model: AlexNet, tmp_path: Path) -> None:
    pictures = make(model, tmp_path, limit=2)
    assert len(pictures) == len(arrays(pictures.training(0))) == 2
    assert len(arrays(pictures.training(0, start=1))) == 1
    assert len(arrays(pictures.evaluation())) == 2


def test_evaluation_of_one_crop_and_ten(model: AlexNet, tmp_path: Path) -> None:
    pictures = make(model, tmp_path, batch_size=20)
    one = np.concatenate(arrays(pictures.evaluation()))
    ten = arrays(pictures.evaluation(ten_crop=True))
    assert one.shape == (10, *model.input_size)
    assert ten[0].shape == (2, 10, *model.input_size)
    np.testing.assert_array_equal(np.concatenate(ten)[:, 4], one)  # the central crop
    np.testing.assert_array_equal(np.concatenate(arrays(pictures.evaluation())), one)


def test_own_statistics_are_used(model: AlexNet, tmp_path: Path) -> None:
    plain, own = (
        arrays(make(model, tmp_path, statistics=known).evaluation())[0]
        for known in (None, statistics(200))
    )
    mean, std = np.full(3, 100 / 255), np.full(3, 100 / 255)
    pixels = plain * np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    pixels += np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    expected = (pixels - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_state_is_tied_to_its_pictures(model: AlexNet, tmp_path: Path) -> None:
    minidl.save(make(model, tmp_path, statistics=statistics(9)).state_dict(), tmp_path / "state")
    state = minidl.load(tmp_path / "state")
    assert state["pictures"] == [12, 10]
    make(model, tmp_path, statistics=statistics(9)).load_state_dict(state)
    for other in (None, statistics(8)):
        with pytest.raises(DataError, match="statistics"):
            make(model, tmp_path, statistics=other).load_state_dict(state)
    fewer = make(model, tmp_path, statistics=statistics(9))
    fewer.val = Subset(Noise(), range(9))
    with pytest.raises(DataError, match="12 training and 10 .* found 12 and 9"):
        fewer.load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_pictures_are_counted_between_batches(
    model: AlexNet, tmp_path: Path, workers: int
) -> None:
    pictures = make(model, tmp_path, bad=3, workers=workers)
    assert pictures.bad.limit == 10
    arrays(pictures.training(0))
    arrays(pictures.training(1))
    assert sorted(pictures.bad.found) == [f"picture {index}" for index in range(3)]
    with pytest.raises(DataError, match="more than the 2 allowed"):
        arrays(make(model, tmp_path / "other", bad=3, workers=workers, budget=2).training(0))


def test_training_without_augmentation_sees_the_central_crops(
    model: AlexNet, tmp_path: Path
) -> None:
    pictures = make(model, tmp_path, augment=False, batch_size=12)
    views = np.concatenate([images.numpy() for images, _ in pictures.training(0)])
    seen = np.concatenate(arrays(pictures.some(pictures.train, range(len(pictures.train)))))
    assert {view.tobytes() for view in views} == {view.tobytes() for view in seen}
    augmented = np.concatenate(arrays(make(model, tmp_path).training(0)))
    assert not {view.tobytes() for view in augmented} <= {view.tobytes() for view in seen}


def test_chosen_pictures_and_how_they_look(model: AlexNet, tmp_path: Path) -> None:
    pictures = make(model, tmp_path)
    [(images, labels)] = pictures.some(pictures.val, [3, 1])
    whole = [
        (image, label)
        for batch in pictures.evaluation()
        for image, label in zip(*batch, strict=True)
    ]
    for place, index in enumerate((3, 1)):
        np.testing.assert_array_equal(images[place].numpy(), whole[index][0].numpy())
        picture, label = pictures.shown(pictures.val, [index])[0]
        size = model.input_size[-1]
        assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
        assert label == labels[place].item() == whole[index][1].item()


@ranks.needs_mpi
@pytest.mark.parametrize("count", [2, 4])
def test_ranks_share_an_evaluation(count: int) -> None:
    result = ranks.run(count, Path(__file__).with_name("evaluation_program.py"))
    assert result.stdout.split() == ["content"] * count
