"""AlexNet's transforms: sizes, scales, and the same numbers as single steps give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

import minidl
from minidl.data import DataLoader, Dataset, DeviceBatches
from minidl.errors import ArgumentError
from minidl.vision import transforms
from minidl.vision.statistics import PixelStatistics, PixelSums
from minidl.vision.transforms.presets import alexnet_evaluation, alexnet_finish, alexnet_training


def picture(width: int = 300, height: int = 260) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([rows % 256, columns % 256, rows * 0 + 7], -1).astype(np.uint8))


@pytest.mark.parametrize("size", [224, 227])
@pytest.mark.parametrize("scale", ["pixels", "normalized"])
def test_evaluation_is_the_central_crop_of_256(size: int, scale: str) -> None:
    steps = [transforms.Resize(256), transforms.CenterCrop(size)]
    if scale == "pixels":
        steps += [transforms.ToPixels(), transforms.SubtractMean((123.68, 116.78, 103.94))]
    else:
        steps += [
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    expected = transforms.Compose(steps)(picture())
    found = alexnet_evaluation(size, scale)(picture())
    assert tuple(found.shape) == (3, size, size)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_ten_crops_include_the_central_one() -> None:
    crops = alexnet_evaluation(224, "pixels", ten_crop=True)(picture())
    one = alexnet_evaluation(224, "pixels")(picture())
    assert tuple(crops.shape) == (10, 3, 224, 224)
    assert sum(bool((crop == one).all()) for crop in crops) == 1


def test_training_crops_differ_and_jitter_shifts_whole_channels() -> None:
    minidl.manual_seed(3)
    plain = alexnet_training(224, "pixels")
    views = [plain(picture()).numpy() for _ in range(8)]
    assert len({view.tobytes() for view in views}) > 1
    # the third channel is 7 everywhere: its value is known without noise, and uniform with it
    assert all(np.unique(view[2]).size == 1 for view in views)
    np.testing.assert_allclose(views[0][2, 0, 0], 7 - 103.94, rtol=1e-6)
    noisy = alexnet_training(224, "pixels", jitter=True)(picture()).numpy()
    assert np.ptp(noisy[2]) < 1e-3 and abs(noisy[2, 0, 0] - (7 - 103.94)) > 1e-4


class Noise(Dataset):
    """Pictures of different sizes, labeled with their indices."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __getitem__(self, index: int) -> Any:
        shape = (70 + 5 * index, 64 + 9 * (index % 3), 3)
        pixels = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        return self.transform(Image.fromarray(pixels)), index

    def __len__(self) -> int:
        return 7


def of_pictures(side: int) -> PixelStatistics:
    """Statistics of two pictures, darker at the bottom, and redder than the others."""
    sums = PixelSums(side, side)
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 128, (side, side, 3), np.uint8)
        pixels[: side // 2] += 90
        pixels[..., 0] += 30
        sums.add(pixels)
    return sums.statistics()


@pytest.mark.parametrize("scale", ["pixels", "normalized"])
@pytest.mark.parametrize("kind", ["training", "jitter", "evaluation", "ten crops"])
@pytest.mark.parametrize("side", [None, 56, 30])
def test_raw_pictures_become_the_same_numbers(
    device: str, scale: str, kind: str, side: int | None
) -> None:
    known = None if side is None else of_pictures(side)

    def transform(raw: bool) -> Any:
        if kind in ("training", "jitter"):
            return alexnet_training(48, scale, kind == "jitter", raw, known, 2)
        return alexnet_evaluation(48, scale, kind == "ten crops", raw, known)

    plain = DataLoader(Noise(transform(False)), 3, shuffle=True)
    workers = 2 if (kind, side) == ("jitter", 56) else 0  # they make the same, but start slowly
    raw = DataLoader(Noise(transform(True)), 3, shuffle=True, num_workers=workers, pin_memory=True)
    finished = DeviceBatches(raw, device, alexnet_finish(scale, known, 48))
    for epoch in range(2):
        plain.set_epoch(epoch)
        raw.set_epoch(epoch)
        for (expected, numbers), (found, labels) in zip(plain, finished, strict=True):
            assert found.device == labels.device == minidl.device(device)
            assert labels.tolist() == numbers.tolist()
            np.testing.assert_array_equal(found.cpu().numpy(), expected.numpy())


def test_the_data_sets_own_mean_picture_and_deviations() -> None:
    known = of_pictures(256)
    pixels = np.asarray(picture(256, 256)).transpose(2, 0, 1).astype(np.float32)
    found = alexnet_evaluation(224, "pixels", statistics=known)(picture(256, 256)).numpy()
    mean = known.mean_image.astype(np.float32)
    np.testing.assert_array_equal(found, (pixels - mean)[:, 16:240, 16:240])
    found = alexnet_evaluation(224, "normalized", statistics=known)(picture(256, 256)).numpy()
    expected = (pixels / 255 - known.mean[:, None, None]) / known.std[:, None, None]
    np.testing.assert_allclose(found, expected[:, 16:240, 16:240], rtol=1e-5, atol=1e-5)


def test_a_mean_picture_of_another_size_is_resized() -> None:
    """A picture black above, white below, like the mean: only the edge between them remains."""
    small = np.zeros((32, 32, 3), np.uint8)
    small[16:] = 255
    sums = PixelSums(32, 32)
    sums.add(small)
    found = alexnet_evaluation(224, "pixels", statistics=sums.statistics())
    left = found(Image.fromarray(small)).numpy()  # resized with integer values
    assert np.abs(left).max() <= 0.51


@pytest.mark.parametrize("raw", [False, True])
def test_the_jitter_follows_the_data_sets_own_axes(raw: bool) -> None:
    known = of_pictures(56)
    minidl.manual_seed(1)
    whole = alexnet_training(48, "pixels", jitter=True, raw=raw, statistics=known)
    gray = Image.new("RGB", (56, 56), (9, 9, 9))
    shifts = []
    for _ in range(400):
        view = whole(gray)
        if raw:
            shifts.append(view.shift.numpy())
        else:
            mean = known.mean_image.astype(np.float32)[:, 4:52, 4:52]
            shifts.append((view.numpy() + mean).mean(axis=(1, 2)) - 9)
    spread = np.cov(np.stack(shifts).T)
    # a shift is eigenvectors · (0.1 · 255 · eigenvalues · normal numbers)
    vectors = known.eigenvectors
    expected = vectors @ np.diag((25.5 * known.eigenvalues) ** 2) @ vectors.T
    np.testing.assert_allclose(spread, expected, atol=0.2 * expected.max())


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_neighbors_share_offset_and_mirror(raw: bool, workers: int) -> None:
    """Pixels encode their position, so the first one reveals offset and mirroring."""

    class Same(Dataset):
        transform = alexnet_training(48, "pixels", raw=raw, shared_offset=32)

        def __getitem__(self, index: int) -> Any:
            view = self.transform(picture(56, 56))
            corners = (view.pixels if raw else view).numpy()[:2, 0, [0, -1]].round()
            return np.append(corners.ravel(), view.place[2].item() if raw else 0).astype(np.int64)

        def __len__(self) -> int:
            return 200

    loader = DataLoader(Same(), 50, num_workers=workers)  # batches end within a group of neighbors
    seen = set()
    for epoch in range(2):
        loader.set_epoch(epoch)
        views = [tuple(row) for batch in loader for row in batch.tolist()]
        chunks = [set(views[start : start + 32]) for start in range(0, 200, 32)]
        assert all(len(chunk) == 1 for chunk in chunks)
        seen |= {(epoch, *next(iter(chunk))) for chunk in chunks}
    assert len(seen) > 8 and len({view[1:] for view in seen}) > 8  # 162 are possible
    with pytest.raises(ArgumentError, match="shared must be at least 1"):
        alexnet_training(48, "pixels", shared_offset=0)


def test_an_unknown_scale_is_named() -> None:
    for preset in (alexnet_training, alexnet_evaluation):
        with pytest.raises(ArgumentError, match="input_scale"):
            preset(224, "bytes")
    with pytest.raises(ArgumentError, match="input_scale"):
        alexnet_finish("bytes")
