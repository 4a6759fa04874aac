"""Raw pictures: bytes and random decisions, and the input computed from a batch."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import minidl
from minidl.data import DeviceBatches
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.vision.transforms import (
    PCAJitter,
    RandomHorizontalFlip,
    RawPicture,
    RawToInput,
    ToRaw,
)


def by_loop(raw: RawPicture, mean: np.ndarray, std: float, white: float, size: tuple[int, int]):  # type: ignore[no-untyped-def]
    """Compute the formula one number at a time, in float32."""
    pixels, place, shift = (part.cpu().numpy() for part in raw)
    (n, channels, height, width), (h, w) = pixels.shape, size
    out = np.zeros((n, channels, h, w), np.float32)
    above, beside = (mean.shape[-2] - h) // 2 if mean.ndim > 1 else 0, (mean.shape[-1] - w) // 2
    f = np.float32
    for i, c, y, x in np.ndindex(*out.shape):
        top, left, mirrored = place[i]
        row, column = top + y, left + (w - 1 - x if mirrored else x)
        if 0 <= row < height and 0 <= column < width:
            center = mean[c] if mean.ndim == 1 else mean[c, above + y, beside + x]
            out[i, c, y, x] = (f(pixels[i, c, row, column]) / f(white) + shift[i, c] - center) / f(
                std
            )
    return out


def random_batch(
    rng: np.random.Generator, n: int, channels: int, height: int, width: int, reach: int = 3
) -> RawPicture:
    """Return crops that may lie partly or entirely outside the pictures."""
    pixels = rng.integers(0, 256, (n, height, width, channels), np.uint8)
    place = rng.integers(-reach, reach + 1, (n, 3)).astype(np.int32)
    place[:, 2] = rng.integers(0, 2, n)
    shift = rng.standard_normal((n, channels)).astype(np.float32)
    shift[::2] = 0
    parts = pixels.transpose(0, 3, 1, 2), place, shift
    return RawPicture(*map(minidl.from_numpy, parts))


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    picture=st.booleans(),
    scales=st.sampled_from([(1.0, 1.0), (63.0, 1.0), (0.25, 255.0)]),
)
@settings(max_examples=60)
def test_against_a_loop(
    device: str,
    seed: int,
    shape: tuple[int, int, int, int],
    size: tuple[int, int],
    picture: bool,
    scales: tuple[float, float],
) -> None:
    rng = np.random.default_rng(seed)
    raw = random_batch(rng, *shape)
    sides = [side + extra for side, extra in zip(size, rng.integers(0, 4, 2), strict=True)]
    mean = rng.uniform(0, 255, (shape[1], *sides) if picture else shape[1]).astype(np.float32)
    std, white = scales
    there = RawPicture(*(part.to(device) for part in raw))
    found = RawToInput(mean, std, white, size)(there)
    assert found.device == minidl.device(device) and found.dtype == np.float32
    expected = by_loop(raw, mean, std, white, size)
    np.testing.assert_array_equal(found.cpu().numpy(), expected)  # to the last bit
    with minidl.reference():
        plain = RawToInput(mean, std, white, size)(there)
    np.testing.assert_array_equal(plain.cpu().numpy(), expected)


def test_every_crop_gets_the_central_part_of_a_mean_picture(device: str) -> None:
    rng = np.random.default_rng(0)
    mean = rng.uniform(0, 255, (2, 9, 8)).astype(np.float32)
    cropping, whole = RawToInput(mean, 63.0, size=(4, 5)), RawToInput(mean, 63.0)
    for size in ((6, 7), (9, 8)):  # a different part for crops of another size
        raw = random_batch(rng, 8, 2, *size)
        there = RawPicture(*(part.to(device) for part in raw))
        for convert, of_crop in ((cropping, (4, 5)), (whole, size)):
            expected = by_loop(raw, mean, 63.0, 1.0, of_crop)
            np.testing.assert_array_equal(convert(there).cpu().numpy(), expected)


def test_rows_longer_than_a_block_and_a_deviation_for_each_channel(device: str) -> None:
    rng = np.random.default_rng(0)
    raw = random_batch(rng, 2, 3, 5, 300, reach=1)
    mean, std = rng.uniform(0, 1, 3).astype(np.float32), np.array([0.5, 2.0, 3.0], np.float32)
    found = RawToInput(mean, std, 255)(RawPicture(*(part.to(device) for part in raw)))
    for channel in range(3):
        one = RawPicture(raw.pixels[:, channel : channel + 1], raw.place, raw.shift[:, [channel]])
        expected = by_loop(one, mean[[channel]], float(std[channel]), 255, (5, 300))
        np.testing.assert_array_equal(found.cpu().numpy()[:, [channel]], expected)


def test_views_and_other_orders_of_memory(device: str) -> None:
    """(N, V, C, H, W), such as ten crops; and pictures that are not channels-last."""
    raw = random_batch(np.random.default_rng(0), 6, 3, 4, 5)
    convert = RawToInput([1.0, 2.0, 3.0])
    expected = convert(raw).numpy().reshape(2, 3, 3, 4, 5)
    views = RawPicture(
        minidl.from_numpy(np.ascontiguousarray(raw.pixels.numpy())).reshape(2, 3, 3, 4, 5),
        raw.place.reshape(2, 3, 3),
        raw.shift.reshape(2, 3, 3),
    )
    found = convert(RawPicture(*(part.to(device) for part in views)))
    np.testing.assert_array_equal(found.cpu().numpy(), expected)
    pictures, labels = convert([raw, minidl.arange(6)])  # a loader's batch
    np.testing.assert_array_equal(pictures.numpy(), expected.reshape(6, 3, 4, 5))
    assert labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_layout_is_the_one_that_layers_use(gpu: str) -> None:
    raw = random_batch(np.random.default_rng(0), 4, 3, 5, 6)
    found = RawToInput([0.0] * 3, size=4)(RawPicture(*(part.to(gpu) for part in raw)))
    assert tuple(found.shape) == (4, 3, 4, 4)
    assert found.array.transpose(1, 0, 2, 3).flags.c_contiguous


def test_one_launch(simulator: ModuleType, gpu: str) -> None:
    (raw,) = DeviceBatches([random_batch(np.random.default_rng(0), 4, 3, 5, 6)], gpu)
    convert = RawToInput(np.zeros((3, 5, 6), np.float32), size=4)
    convert(raw)  # uploads the mean
    with simulator.count() as used:
        convert(raw)
    assert dict(used.kernels) == {"raw_to_input": 1}
    assert used.h2d == used.d2h == used.d2d == used.syncs == 0


def test_to_raw_draws_what_the_other_transforms_draw() -> None:
    """Crop, flip and jitter draw the same numbers from the stream: see the presets' test."""
    picture = Image.new("RGB", (4, 3), (1, 2, 3))
    jitter, flip = PCAJitter(white=255), RandomHorizontalFlip()
    minidl.manual_seed(5)
    flips, shifts = [], []
    for _ in range(20):
        raw = ToRaw(flip, jitter)(picture)
        flips.append(raw.place.tolist()[2])
        shifts.append(tuple(raw.shift.tolist()))
    assert {0, 1} == set(flips) and len(set(shifts)) == 20
    still = ToRaw()(picture)
    assert still.place.tolist() == [0, 0, 0] and still.shift.tolist() == [0, 0, 0]
    assert tuple(still.pixels.shape) == (3, 3, 4) and still.pixels[:, 0, 0].tolist() == [1, 2, 3]


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match="jitter"):
        ToRaw(jitter=PCAJitter("original"))
    with pytest.raises(DTypeError, match="8-bit"):
        ToRaw()(np.zeros((2, 2), np.float32))
    with pytest.raises(ShapeError, match="mean"):
        RawToInput(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match="std"):
        RawToInput([1.0, 2.0, 3.0], [1.0, 2.0])
    for std, white in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(ArgumentError, match="not be 0"):
            RawToInput([1.0], std, white)
    raw = random_batch(np.random.default_rng(0), 2, 3, 4, 5)
    with pytest.raises(ShapeError, match="does not match"):
        RawToInput([1.0])(raw)
    with pytest.raises(ShapeError, match="does not match"):
        RawToInput(np.zeros((3, 4, 4)))(raw)
    with pytest.raises(ShapeError, match="places"):
        RawToInput([0.0] * 3)(raw._replace(place=raw.place[:1]))
    with pytest.raises(DTypeError, match="uint8"):
        RawToInput([0.0] * 3)(raw._replace(pixels=raw.pixels.float()))
