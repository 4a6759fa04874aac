"""AlexNet's ways of preparing a picture: sizes, scales, and the same numbers as step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

import minidl
from minidl.data import DataLoader, Dataset, DeviceBatches
from minidl.errors import ArgumentError
from minidl.vision import transforms
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


def test_ten_crops_hold_the_central_one() -> None:
    crops = alexnet_evaluation(224, "pixels", ten_crop=True)(picture())
    one = alexnet_evaluation(224, "pixels")(picture())
    assert tuple(crops.shape) == (10, 3, 224, 224)
    assert sum(bool((crop == one).all()) for crop in crops) == 1


def test_training_crops_differ_and_jitter_shifts_whole_channels() -> None:
    minidl.manual_seed(3)
    plain = alexnet_training(224, "pixels")
    views = [plain(picture()).numpy() for _ in range(8)]
    assert len({view.tobytes() for view in views}) > 1
    # the third channel is 7 everywhere: without noise its value is known, with it it is one other
    assert all(np.unique(view[2]).size == 1 for view in views)
    np.testing.assert_allclose(views[0][2, 0, 0], 7 - 103.94, rtol=1e-6)
    noisy = alexnet_training(224, "pixels", jitter=True)(picture()).numpy()
    assert np.ptp(noisy[2]) < 1e-3 and abs(noisy[2, 0, 0] - (7 - 103.94)) > 1e-4


class Noise(Dataset):
    """Pictures of other sizes each, and their numbers as labels."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __getitem__(self, index: int) -> Any:
        shape = (70 + 5 * index, 64 + 9 * (index % 3), 3)
        pixels = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        return self.transform(Image.fromarray(pixels)), index

    def __len__(self) -> int:
        return 7


@pytest.mark.parametrize("scale", ["pixels", "normalized"])
@pytest.mark.parametrize("kind", ["training", "jitter", "evaluation", "ten crops"])
def test_raw_pictures_become_the_same_numbers(device: str, scale: str, kind: str) -> None:
    def transform(raw: bool) -> Any:
        if kind in ("training", "jitter"):
            return alexnet_training(48, scale, jitter=kind == "jitter", raw=raw)
        return alexnet_evaluation(48, scale, ten_crop=kind == "ten crops", raw=raw)

    plain = DataLoader(Noise(transform(False)), 3, shuffle=True)
    raw = DataLoader(Noise(transform(True)), 3, shuffle=True, num_workers=2, pin_memory=True)
    finished = DeviceBatches(raw, device, alexnet_finish(scale))
    for epoch in range(2):
        plain.set_epoch(epoch)
        raw.set_epoch(epoch)
        for (expected, numbers), (found, labels) in zip(plain, finished, strict=True):
            assert found.device == labels.device == minidl.device(device)
            assert labels.tolist() == numbers.tolist()
            np.testing.assert_array_equal(found.cpu().numpy(), expected.numpy())


def test_an_unknown_scale_is_named() -> None:
    for preset in (alexnet_training, alexnet_evaluation):
        with pytest.raises(ArgumentError, match="input_scale"):
            preset(224, "bytes")
    with pytest.raises(ArgumentError, match="input_scale"):
        alexnet_finish("bytes")
