"""AlexNet's ways of preparing a picture: sizes, scales, and the same numbers as step by step."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import minidl
from minidl.errors import ArgumentError
from minidl.vision import transforms
from minidl.vision.transforms.presets import alexnet_evaluation, alexnet_training


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


def test_an_unknown_scale_is_named() -> None:
    with pytest.raises(ArgumentError, match="input_scale"):
        alexnet_training(224, "bytes")
