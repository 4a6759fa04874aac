"""Preprocessing: both paths give the same numbers, in the right order of channels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minidl.data import default_collate
from minidl.errors import ArgumentError
from minidl.vision.transforms.preprocessing import CAFFE, TORCHVISION, Preprocessing

PICTURE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8), "RGB"
)


def test_torchvisions() -> None:
    found = TORCHVISION.transforms()(PICTURE).numpy()
    small = np.asarray(PICTURE.resize((358, 256), Image.Resampling.BILINEAR), np.float32) / 255
    crop = small[16:240, 67:291].transpose(2, 0, 1)
    mean, std = (np.array(v)[:, None, None] for v in (TORCHVISION.mean, TORCHVISION.std))
    np.testing.assert_allclose(found, (crop - mean) / std, atol=1e-5)


def test_caffes_are_warped_and_blue_comes_first() -> None:
    found = CAFFE.transforms()(PICTURE).numpy()
    square = np.asarray(PICTURE.resize((256, 256), Image.Resampling.BILINEAR), np.float32)
    crop = square[14:241, 14:241].transpose(2, 0, 1)[::-1]
    mean = np.array([104.007, 116.669, 122.679])[:, None, None]
    np.testing.assert_allclose(found, crop - mean, atol=1e-4)


@pytest.mark.parametrize("ten_crop", [False, True])
@pytest.mark.parametrize("known", [TORCHVISION, CAFFE])
def test_bytes_give_the_same_numbers(known: Preprocessing, ten_crop: bool) -> None:
    expected = known.transforms(ten_crop)(PICTURE).numpy()
    raw = known.transforms(ten_crop, raw=True)(PICTURE)
    images, labels = known.finish()([default_collate([raw, raw]), "labels"])
    assert labels == "labels" and images.shape == (2, *expected.shape)
    np.testing.assert_allclose(images.numpy()[1], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("std", "white", "scale"),
    [(1.0, 255.0, "pixels"), (63.0, 255.0, "normalized"), (0.225, 1.0, "normalized")],
)
def test_the_scale_of_the_input(std: float, white: float, scale: str) -> None:
    assert Preprocessing(24, 32, (0.0,) * 3, (std,) * 3, white).input_scale == scale


@pytest.mark.parametrize("known", [TORCHVISION, CAFFE, Preprocessing(24, 32, (1.0, 2.0, 3.0))])
def test_files_keep_them(known: Preprocessing) -> None:
    assert Preprocessing.from_dict(json.loads(json.dumps(known.to_dict()))) == known


@pytest.mark.parametrize(
    "change",
    [
        {"crop": 0},
        {"crop": 300},
        {"crop": float("nan")},
        {"crop": float("inf")},
        {"resize": [256]},
        {"resize": 10**9},
        {"resize": None},
        {"mean": [1, 2]},
        {"mean": [1, float("nan"), 3]},
        {"std": [1, 1, float("inf")]},
        {"std": [1, 0, 1]},
        {"std": [1, -1, 1]},
        {"std": "abc"},
        {"white": 2},
    ],
)
def test_impossible_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="preprocessing"):
        Preprocessing.from_dict({**TORCHVISION.to_dict(), **change})
    with pytest.raises(ArgumentError, match="preprocessing"):
        Preprocessing.from_dict([])
