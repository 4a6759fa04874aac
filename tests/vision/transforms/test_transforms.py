"""Transforms: exact geometry, both kinds of picture, randomness, AlexNet's own three."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.data import DataLoader, Dataset
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError
from minidl.vision import transforms
from minidl.vision.transforms.color import IMAGENET_EIGENVALUES, IMAGENET_EIGENVECTORS

Image = pytest.importorskip("PIL.Image")


def coded(height: int, width: int) -> np.ndarray:
    """A picture (H, W, 3) whose pixels encode their position: red the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, (rows + columns) % 256], axis=-1).astype(np.uint8)


def both_kinds(array: np.ndarray) -> list[Any]:
    return [Image.fromarray(array), minidl.from_numpy(array.transpose(2, 0, 1).copy())]


def pixels(picture: Any) -> np.ndarray:
    """Return the pixels (H, W, C) of either kind of picture."""
    if isinstance(picture, minidl.Tensor):
        return picture.numpy().transpose(1, 2, 0)
    return np.asarray(picture)


# --- Resize -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_size", "size", "expected"),
    [
        # (width, height), as in Pillow; int(256 * 500 / 375) = int(341.33)
        ((500, 375), 256, (341, 256)),
        ((375, 500), 256, (256, 341)),
        ((375, 562), 256, (256, 383)),  # 383.66, rounded down
        ((100, 100), 256, (256, 256)),
        ((50, 20), 256, (640, 256)),
        ((500, 375), (224, 200), (200, 224)),
        ((500, 375), [256], (341, 256)),
        ((256, 999), 256, (256, 999)),
    ],
)
def test_resize_sizes(given_size: tuple[int, int], size: Any, expected: tuple[int, int]) -> None:
    assert transforms.Resize(size)(Image.new("RGB", given_size)).size == expected


def test_resize_is_pillows_bilinear_and_returns_what_fits_already() -> None:
    image = Image.fromarray(coded(60, 90))
    expected = image.resize((45, 30), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(transforms.Resize(30)(image)), np.asarray(expected))
    assert transforms.Resize(60)(image) is image


def test_resize_of_bytes_is_that_of_the_picture() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8))
    given = transforms.PILToTensor()(image)
    got = transforms.Resize(5)(given)
    assert np.array_equal(got.numpy(), transforms.PILToTensor()(transforms.Resize(5)(image)))
    assert transforms.Resize(8)(given) is given


def test_resize_filters() -> None:
    image = Image.fromarray(coded(60, 90))
    for mode in transforms.InterpolationMode:
        pillows = Image.Resampling[mode.name.removesuffix("_EXACT")]
        expected = np.asarray(image.resize((9, 7), pillows))
        for given_mode in (mode, pillows, int(pillows)):
            got = transforms.Resize((7, 9), interpolation=given_mode)(image)
            np.testing.assert_array_equal(np.asarray(got), expected)


def test_resize_max_size() -> None:
    assert transforms.Resize(50, max_size=100)(Image.new("L", (400, 100))).size == (100, 25)
    assert transforms.Resize(50, max_size=300)(Image.new("L", (400, 100))).size == (200, 50)
    for size in (100, (100, 50)):
        with pytest.raises(ArgumentError, match="max_size"):
            transforms.Resize(size, max_size=100)


@pytest.mark.parametrize("size", [0, -3, (1, 2, 3), ()])
def test_sizes_are_checked(size: Any) -> None:
    for kind in (transforms.Resize, transforms.CenterCrop, transforms.RandomCrop):
        with pytest.raises(ArgumentError, match=f"{kind.__name__}: size"):
            kind(size)
    with pytest.raises(ArgumentError, match="interpolation"):
        transforms.Resize(3, interpolation=77)


# --- Crops --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "size", "top", "left"),
    [
        (256, 256, 224, 16, 16),
        (256, 341, 256, 0, 42),  # 42.5 rounds to the even 42
        (259, 256, 256, 2, 0),  # 1.5 rounds to the even 2
        (256, 256, 227, 14, 14),  # 14.5
        (200, 255, (100, 50), 50, 102),
    ],
)
def test_center_crop_offsets(height: int, width: int, size: Any, top: int, left: int) -> None:
    array = coded(height, width)[:, :, :2] if width > 256 else coded(height, width)
    rows, columns = np.arange(height), np.arange(width)
    picture = minidl.from_numpy((rows[:, None] * 1000 + columns)[None])
    assert transforms.CenterCrop(size)(picture)[0, 0, 0].item() == top * 1000 + left
    if width <= 256 and height <= 256:
        for kind in both_kinds(array):
            assert pixels(transforms.CenterCrop(size)(kind))[0, 0, :2].tolist() == [top, left]


def test_center_crop_pads_small_pictures() -> None:
    array = np.full((2, 5, 3), 9, np.uint8)
    for picture in both_kinds(array):
        out = pixels(transforms.CenterCrop((5, 3))(picture))
        assert out.shape == (5, 3, 3)
        # Three rows are missing: one above, two below.
        assert out[:, 0, 0].tolist() == [0, 9, 9, 0, 0]


def test_shorter_side_256_then_center_256_of_every_format() -> None:
    prepare = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(256)])
    for size in ((500, 375), (375, 500), (64, 48), (256, 256), (257, 256)):
        assert prepare(Image.new("RGB", size)).size == (256, 256)


def test_random_crop_and_flip_give_all_views() -> None:
    """There are 9 places on each axis for 224 of 232 pixels, and two directions."""
    crop, flip = transforms.RandomCrop(224), transforms.RandomHorizontalFlip()
    picture = minidl.from_numpy(coded(232, 232).transpose(2, 0, 1).copy())
    views = set()
    for _ in range(2_000):  # 162 views are all seen after some 900
        view = flip(crop(picture))
        views.add(tuple(view.array[:2, 0, 0].tolist() + view.array[1:2, 0, -1].tolist()))
    assert len(views) == 9 * 9 * 2
    # The first pixel's row and column and the last pixel's column determine crop and flip.
    assert {row for row, _, _ in views} == set(range(9))
    assert {min(a, b) for _, a, b in views} == set(range(9))


def test_random_crop_is_uniform() -> None:
    crop = transforms.RandomCrop(1)
    picture = minidl.arange(4).reshape(1, 1, 4)
    counts = np.bincount([crop(picture).item() for _ in range(4000)], minlength=4)
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(4000 * 0.25 * 0.75))


def test_random_crop_of_the_whole_picture_and_of_too_small_ones() -> None:
    for picture in both_kinds(coded(8, 6)):
        np.testing.assert_array_equal(pixels(transforms.RandomCrop((8, 6))(picture)), coded(8, 6))
        with pytest.raises(DataError, match="crop of 9x6 does not fit into a picture of 8x6"):
            transforms.RandomCrop((9, 6))(picture)
        padded = transforms.RandomCrop((9, 6), pad_if_needed=True)(picture)
        assert pixels(padded).shape == (9, 6, 3)


def test_random_crop_with_padding_reaches_the_border() -> None:
    crop = transforms.RandomCrop(32, padding=4)
    picture = minidl.tensor(np.ones((1, 32, 32), np.uint8))
    sums = {int(crop(picture).array.sum()) for _ in range(500)}
    assert max(sums) <= 32 * 32
    assert min(sums) < 30 * 30
    assert tuple(crop(picture).shape) == (1, 32, 32)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_pad_modes(mode: str) -> None:
    array = coded(4, 5)
    widths = ((2, 3), (1, 2), (0, 0))
    options = {"constant_values": 7} if mode == "constant" else {}
    expected = np.pad(array, widths, mode, **options)  # type: ignore[call-overload]
    pil, tensor = both_kinds(array)
    fill: Any = (7, 7, 7) if mode == "constant" else 0
    np.testing.assert_array_equal(pixels(transforms.Pad((1, 2, 2, 3), fill, mode)(pil)), expected)
    np.testing.assert_array_equal(pixels(transforms.Pad((1, 2, 2, 3), 7, mode)(tensor)), expected)


def test_pad_refuses() -> None:
    with pytest.raises(ArgumentError, match="padding_mode"):
        transforms.Pad(1, padding_mode="wrap")
    for padding in (-1, (1, 2, 3)):
        with pytest.raises(ArgumentError, match="padding"):
            transforms.Pad(padding)


def test_flips() -> None:
    array = coded(4, 5)
    for picture in both_kinds(array):
        for kind, expected in (
            (transforms.RandomHorizontalFlip, array[:, ::-1]),
            (transforms.RandomVerticalFlip, array[::-1]),
        ):
            np.testing.assert_array_equal(pixels(kind(p=1)(picture)), expected)
            assert kind(p=0)(picture) is picture
            flips = sum(kind(p=0.3)(picture) is not picture for _ in range(2000))
            assert abs(flips - 600) < 5 * np.sqrt(2000 * 0.3 * 0.7)
            with pytest.raises(ArgumentError, match="p must"):
                kind(p=1.1)


def test_flipping_keeps_channels_last_memory() -> None:
    picture = minidl.from_numpy(coded(4, 5).transpose(2, 0, 1))
    for kind in (transforms.RandomHorizontalFlip, transforms.RandomVerticalFlip):
        assert kind(p=1)(picture).array.transpose(1, 2, 0).flags.c_contiguous


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    low=st.floats(0.01, 1),
    stretch=st.floats(1, 4),
)
def test_random_resized_crop_lies_inside(
    height: int, width: int, low: float, stretch: float
) -> None:
    picture = Image.new("L", (width, height))
    top, left, h, w = transforms.RandomResizedCrop.get_params(
        picture, (low, 1.0), (1 / stretch, stretch)
    )
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h > 0 and w > 0


def test_random_resized_crop_fallback_is_central_with_the_nearest_ratio() -> None:
    get = transforms.RandomResizedCrop.get_params
    # An area above the picture's own never fits.
    assert get(Image.new("L", (100, 400)), (2, 3), (0.5, 2)) == (100, 0, 200, 100)
    assert get(Image.new("L", (400, 100)), (2, 3), (0.5, 2)) == (0, 100, 100, 200)
    assert get(Image.new("L", (120, 100)), (2, 3), (0.5, 2)) == (0, 0, 100, 120)


def test_random_resized_crop_has_the_area_and_the_ratio() -> None:
    # A tenth of 200 * 100 is 2000; twice as wide as high: 63.2 by 31.6.
    *_, h, w = transforms.RandomResizedCrop.get_params(
        Image.new("L", (200, 100)), (0.1, 0.1), (2, 2)
    )
    assert (h, w) == (32, 63)


def test_random_resized_crop_resizes_the_part() -> None:
    image = Image.fromarray(coded(50, 70))
    minidl.manual_seed(3)
    top, left, h, w = transforms.RandomResizedCrop.get_params(image, (0.1, 0.5), (0.9, 1.1))
    assert 0.1 * 3500 * 0.9 < h * w < 0.5 * 3500 * 1.1
    minidl.manual_seed(3)
    out = transforms.RandomResizedCrop((20, 30), scale=(0.1, 0.5), ratio=(0.9, 1.1))(image)
    part = image.crop((left, top, left + w, top + h)).resize((30, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(out), np.asarray(part))
    with pytest.raises(ArgumentError, match="scale"):
        transforms.RandomResizedCrop(8, scale=(1, 0.5))
    with pytest.raises(DTypeError, match="scale must be two numbers, got 1"):
        transforms.RandomResizedCrop(8, scale=1)  # type: ignore[arg-type]


def test_ten_crop_views_are_the_papers() -> None:
    array = coded(256, 256)
    offsets = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    straight = [array[t : t + 224, c : c + 224] for t, c in offsets]
    originals = straight + [view[:, ::-1] for view in straight]
    for picture in both_kinds(array):
        views = [pixels(view) for view in transforms.TenCrop(224)(picture)]
        # The docstring's map from torchvision's order to the original's.
        for original, place in zip(originals, (0, 1, 4, 2, 3, 6, 5, 9, 8, 7), strict=True):
            np.testing.assert_array_equal(views[place], original)
        five = [pixels(view) for view in transforms.FiveCrop(224)(picture)]
        np.testing.assert_array_equal(np.stack(five), np.stack(views[:5]))
        mirrored = transforms.TenCrop(224, vertical_flip=True)(picture)[5]
        np.testing.assert_array_equal(pixels(mirrored), array[::-1][:224, :224])
        with pytest.raises(DataError, match="does not fit"):
            transforms.TenCrop(257)(picture)


# --- To tensors ---------------------------------------------------------------------------------


def test_to_tensor_scales_bytes() -> None:
    array = coded(5, 7)
    expected = array.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    for picture in (array, Image.fromarray(array)):
        tensor = transforms.ToTensor()(picture)
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor.numpy(), expected)
        # Shape (C, H, W), memory (H, W, C).
        assert tensor.array.transpose(1, 2, 0).flags.c_contiguous


def test_to_pixels_keeps_bytes_values() -> None:
    array = coded(5, 7)
    for picture in (array, Image.fromarray(array)):
        tensor = transforms.ToPixels()(picture)
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor.numpy(), array.transpose(2, 0, 1))
    white = transforms.ToPixels()(Image.new("1", (2, 2), 1))
    assert white.tolist() == [[[255.0] * 2] * 2]


def test_to_tensor_makes_numbers_of_the_default_dtype() -> None:
    minidl.set_default_dtype(minidl.float64)
    try:
        tensor = transforms.ToTensor()(Image.new("L", (1, 1), 51))
    finally:
        minidl.set_default_dtype(minidl.float32)
    assert tensor.dtype == minidl.float64 and tensor.item() == 0.2


def test_pil_to_tensor_keeps_the_type_and_copies() -> None:
    image = Image.fromarray(coded(5, 7))
    tensor = transforms.PILToTensor()(image)
    assert tensor.dtype == np.uint8
    tensor.array[:] = 0
    np.testing.assert_array_equal(np.asarray(image), coded(5, 7))
    with pytest.raises(DataError, match="PIL image"):
        transforms.PILToTensor()(coded(5, 7))


@pytest.mark.parametrize(
    ("mode", "value", "dtype", "expected"),
    [
        ("L", 51, np.float32, np.float32(51) / np.float32(255)),
        ("1", 1, np.float32, 1.0),
        ("I", 70_000, np.int32, 70_000),
        ("F", 0.25, np.float32, 0.25),
        ("I;16", 60_000, np.int32, 60_000),
    ],
)
def test_to_tensor_of_other_modes(mode: str, value: Any, dtype: Any, expected: Any) -> None:
    tensor = transforms.ToTensor()(Image.new(mode, (3, 2), value))
    assert tensor.dtype == dtype
    assert tuple(tensor.shape) == (1, 2, 3)
    assert tensor[0, 0, 0].item() == expected


def test_to_tensor_of_other_arrays() -> None:
    assert transforms.ToTensor()(np.zeros((4, 5), np.float64)).dtype == np.float64
    assert tuple(transforms.ToTensor()(np.zeros((4, 5))).shape) == (1, 4, 5)
    with pytest.raises(ShapeError, match=r"\(H, W, C\)"):
        transforms.ToTensor()(np.zeros(3))
    with pytest.raises(DataError, match="got list"):
        transforms.ToTensor()([1])


# --- Colors ------------------------------------------------------------------------------------


def test_normalize(device: str) -> None:
    array = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    column = [np.array(v, np.float32)[:, None, None] for v in (mean, std)]
    expected = (array - column[0]) / column[1]
    image = minidl.tensor(array).to(device)
    out = transforms.Normalize(mean, std)(image)
    np.testing.assert_array_equal(out.cpu().numpy(), expected)
    np.testing.assert_array_equal(image.cpu().numpy(), array)
    if device == "cpu":
        whole = [np.broadcast_to(numbers, array.shape) for numbers in column]
        for spread in (column, whole, map(minidl.from_numpy, column)):
            again = transforms.Normalize(*spread)(image)
            np.testing.assert_array_equal(again.numpy(), expected)
    assert transforms.Normalize(mean, std, inplace=True)(image) is image
    np.testing.assert_array_equal(image.cpu().numpy(), expected)


def test_normalize_refuses() -> None:
    with pytest.raises(ArgumentError, match="zero"):
        transforms.Normalize([0.0], [0.0])
    normalize = transforms.Normalize([0.1, 0.2], [1, 1])
    with pytest.raises(ShapeError, match="mean has 2 channels"):
        normalize(minidl.zeros(3, 2, 2))
    with pytest.raises(ShapeError, match="C, H, W"):
        normalize(minidl.zeros(2, 2))
    with pytest.raises(DTypeError, match="uint8"):
        normalize(minidl.from_numpy(np.zeros((2, 2, 2), np.uint8)))
    with pytest.raises(DataError, match="ToTensor"):
        normalize(Image.new("RGB", (2, 2)))


def test_subtract_mean_of_channels() -> None:
    out = transforms.SubtractMean((1, 2, 3))(minidl.zeros(3, 2, 2))
    np.testing.assert_array_equal(out.numpy(), -np.ones((3, 2, 2)) * [[[1]], [[2]], [[3]]])


def test_subtract_mean_uses_the_mean_pictures_center() -> None:
    mean = coded(256, 256).transpose(2, 0, 1).astype(np.float32)
    for size, start in ((224, 16), (227, 14), (256, 0)):
        out = transforms.SubtractMean(minidl.tensor(mean))(minidl.zeros(3, size, size))
        np.testing.assert_array_equal(
            out.numpy(), -mean[:, start : start + size, start : start + size]
        )


def test_subtract_mean_refuses() -> None:
    with pytest.raises(ShapeError, match="smaller"):
        transforms.SubtractMean(np.zeros((3, 8, 8)))(minidl.zeros(3, 9, 8))
    with pytest.raises(ShapeError, match="has 3 channels"):
        transforms.SubtractMean((1, 2, 3))(minidl.zeros(1, 2, 2))
    with pytest.raises(ShapeError, match="one number per channel"):
        transforms.SubtractMean(np.zeros((8, 8)))
    with pytest.raises(DTypeError):
        transforms.SubtractMean((1.0,))(minidl.from_numpy(np.zeros((1, 2, 2), np.uint8)))


@pytest.mark.parametrize("mode", ["paper01", "original"])
def test_pca_jitter_has_the_covariance_of_the_formula(mode: str) -> None:
    jitter = transforms.PCAJitter(mode=mode)
    black = minidl.zeros(3, 1, 1)
    count = 20_000
    shifts = np.array([jitter(black).array[:, 0, 0] for _ in range(count)], np.float64)
    values, vectors = np.array(IMAGENET_EIGENVALUES), np.array(IMAGENET_EIGENVECTORS)
    variances = (0.1 * values) ** 2 if mode == "paper01" else (0.1 * 255 / 1.1) ** 2 * values
    expected = vectors @ np.diag(variances) @ vectors.T
    # The mean of n draws has the deviation sqrt(C_ii / n); a sample covariance of Gaussians has
    # sqrt((C_ij² + C_ii C_jj) / n). Five of them.
    diagonal = np.diag(expected)
    assert np.all(np.abs(shifts.mean(axis=0)) < 5 * np.sqrt(diagonal / count))
    deviation = np.sqrt((expected**2 + np.outer(diagonal, diagonal)) / count)
    assert np.all(np.abs(np.cov(shifts.T) - expected) < 5 * deviation)


@pytest.mark.parametrize(("mode", "levels"), [("paper01", 5.5), ("original", 10.8)])
def test_pca_jitter_strength_in_gray_levels(mode: str, levels: float) -> None:
    """One sigma along the first component, on the scale 0 to 255: the published figures."""
    jitter = transforms.PCAJitter(
        mode=mode, eigenvalues=(0.2175, 0, 0), eigenvectors=np.eye(3).tolist(), white=255
    )
    draws = [jitter(minidl.zeros(3, 1, 1))[0, 0, 0].item() for _ in range(4000)]
    # The standard deviation of n draws has a relative deviation of 1 / sqrt(2 n).
    assert abs(np.std(draws) / levels - 1) < 5 / np.sqrt(8000) + 0.01


def test_pca_jitter_shifts_all_pixels_alike_and_scales_the_original() -> None:
    array = np.random.default_rng(1).random((3, 4, 5)).astype(np.float32) * 200
    for mode, scale in (("paper01", 1.0), ("original", 1.1)):
        out = transforms.PCAJitter(mode=mode)(minidl.tensor(array)).numpy() * scale
        shift = out - array
        # Rounding of numbers near 255 in float32, a few times.
        tolerance = 4 * 255 * np.finfo(np.float32).eps
        assert np.ptp(shift.reshape(3, -1), axis=1).max() < tolerance
        assert len({round(float(s), 4) for s in shift[:, 0, 0]}) == 3


def test_pca_jitter_refuses() -> None:
    with pytest.raises(ArgumentError, match="mode"):
        transforms.PCAJitter(mode="paper")
    with pytest.raises(ArgumentError, match="eigenvalues"):
        transforms.PCAJitter(eigenvalues=(1, -1, 1))
    with pytest.raises(ArgumentError, match="eigenvectors"):
        transforms.PCAJitter(eigenvectors=[[1.0]])
    with pytest.raises(ShapeError, match="3 channels"):
        transforms.PCAJitter()(minidl.zeros(1, 2, 2))


def test_grayscale() -> None:
    image = Image.new("RGB", (2, 1), (255, 0, 0))
    assert np.asarray(transforms.Grayscale()(image)).tolist() == [[76, 76]]
    assert np.asarray(transforms.Grayscale(3)(image)).tolist() == [[[76] * 3] * 2]
    with pytest.raises(ArgumentError):
        transforms.Grayscale(2)


def test_color_jitter() -> None:
    image = Image.fromarray(coded(40, 50) * np.uint8(4))
    assert np.array_equal(transforms.ColorJitter()(image), image)
    gray = transforms.ColorJitter(saturation=(0, 0))(image)
    assert np.ptp(np.asarray(gray), axis=2).max() == 0
    flat = np.asarray(transforms.ColorJitter(contrast=(0, 0))(image))
    assert np.ptp(flat) == 0
    red = Image.new("RGB", (1, 1), (255, 0, 0))
    turned = transforms.ColorJitter(hue=(1 / 3, 1 / 3))(red).getpixel((0, 0))
    assert turned[1] > 250 and turned[0] < 10 and turned[2] < 10
    jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
    assert not np.array_equal(jitter(image), jitter(image))
    for arguments in ({"hue": 0.6}, {"brightness": -1}, {"contrast": (2, 1)}):
        with pytest.raises(ArgumentError, match=next(iter(arguments))):
            transforms.ColorJitter(**arguments)


# --- Together -----------------------------------------------------------------------------------


def test_lambda_needs_a_function() -> None:
    with pytest.raises(ArgumentError, match="callable"):
        transforms.Lambda(3)  # type: ignore[arg-type]


def noise(width: int, height: int, mode: str = "RGB") -> Any:
    shape = (height, width) if mode == "L" else (height, width, 3)
    pixels = np.random.default_rng(width).integers(0, 256, shape, np.uint8)
    return Image.fromarray(pixels).convert(mode)


def composed_and_one_by_one(picture: Any, *steps: Any) -> list[np.ndarray]:
    """Return the results of a Compose and of its transforms in sequence, with the same draws."""
    results = []
    for chain in (transforms.Compose(steps), lambda image: steps[1](steps[0](image))):
        minidl.manual_seed(4)
        result = pixels(chain(picture)).astype(int)
        follows = float(minidl.rand(1).item())  # equal if the same number of draws was made
        results.append(np.append(result, round(follows * 2**24)).reshape(-1))
        assert result.shape[:2] == (32, 40)
    return results


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(101, 70), (70, 101), (80, 80), (50, 31), (400, 300)])
def test_joined_resize_and_crop_equal_the_two_up_to_rounding(
    size: tuple[int, int], mode: str
) -> None:
    picture = noise(*size, mode)
    steps = transforms.Resize(48), transforms.RandomCrop((32, 40))
    one, two = composed_and_one_by_one(picture, *steps)
    assert np.abs(one - two).max() <= 1
    if mode == "RGB":
        tensor = transforms.PILToTensor()(picture)
        np.testing.assert_array_equal(composed_and_one_by_one(tensor, *steps)[0], one)


def test_resize_and_crop_are_not_joined_where_pixels_would_differ() -> None:
    nearest = transforms.Resize(48, transforms.InterpolationMode.NEAREST)
    crop = transforms.RandomCrop((32, 40))
    for picture, *steps in (
        (noise(50, 60), transforms.Resize(256, transforms.InterpolationMode.BOX), crop),
        (noise(96, 64), nearest, crop),  # 4/3 pixels per step: every third is a tie
        (noise(96, 64, "P"), transforms.Resize(48), crop),
        (noise(101, 70), transforms.Resize(48), transforms.RandomCrop((32, 40), padding=2)),
        (noise(101, 48), transforms.Resize(48), crop),
    ):
        one, two = composed_and_one_by_one(picture, *steps)
        np.testing.assert_array_equal(one, two)


def test_joined_resize_and_crop_raise_the_same_errors() -> None:
    chain = transforms.Compose([transforms.Resize(48), transforms.RandomCrop(50)])
    with pytest.raises(DataError, match="50x50 does not fit into a picture of 48x69"):
        chain(noise(101, 70))
    with pytest.raises(DataError, match="Resize: expected a PIL image or a tensor.*, got int"):
        chain(3)


def test_representations_name_the_arguments() -> None:
    chain = transforms.Compose([transforms.Resize(256), transforms.RandomHorizontalFlip(0.25)])
    assert repr(chain) == (
        "Compose(\n    Resize(size=256, interpolation=bilinear, max_size=None, antialias=True)\n"
        "    RandomHorizontalFlip(p=0.25)\n)"
    )
    assert repr(transforms.RandomCrop(3, shared=4)) == (
        "RandomCrop(size=(3, 3), padding=None, shared=4)"
    )
    for transform in (
        transforms.CenterCrop(3),
        transforms.Pad(1),
        transforms.RandomCrop(3),
        transforms.RandomResizedCrop(3),
        transforms.RandomVerticalFlip(),
        transforms.FiveCrop(3),
        transforms.TenCrop(3),
        transforms.ToTensor(),
        transforms.ToPixels(),
        transforms.PILToTensor(),
        transforms.Normalize([0], [1]),
        transforms.SubtractMean([0]),
        transforms.SubtractMean(np.zeros((3, 4, 5))),
        transforms.PCAJitter(),
        transforms.Grayscale(),
        transforms.ColorJitter(),
        transforms.Lambda(abs),
    ):
        assert repr(transform).startswith(type(transform).__name__ + "(")


def test_other_objects_than_pictures_are_refused() -> None:
    for transform in (
        transforms.CenterCrop(3),
        transforms.Pad(1),
        transforms.RandomCrop(3),
        transforms.RandomHorizontalFlip(),
        transforms.TenCrop(3),
        transforms.Resize(3),
        transforms.RandomResizedCrop(3),
        transforms.Grayscale(),
        transforms.ColorJitter(),
        transforms.RandomRotation(3),
        transforms.RandomAffine(3),
    ):
        with pytest.raises(DataError, match="expected a PIL image or a tensor.*got ndarray"):
            transform(coded(8, 8))


class Pictures(Dataset):
    """Coded pictures of different sizes, passed through a whole random pipeline."""

    transform = transforms.Compose(
        [
            transforms.Resize(40),
            transforms.RandomCrop(32),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(0.2, 0.2, 0.2, 0.1),
            transforms.ToPixels(),
            transforms.SubtractMean((120.0, 115.0, 100.0)),
            transforms.PCAJitter("original"),
        ]
    )

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(coded(50 + index, 60))), index

    def __len__(self) -> int:
        return 13


def test_a_pipelines_bytes_are_the_same_with_any_number_of_workers() -> None:
    def epochs(workers: int) -> list[bytes]:
        minidl.manual_seed(1)
        loader = DataLoader(Pictures(), batch_size=4, shuffle=True, num_workers=workers)
        return [batch.numpy().tobytes() for _ in range(2) for batch, _ in loader]

    expected = epochs(0)
    assert len(set(expected)) == 8
    for workers in (1, 2, 3):
        assert epochs(workers) == expected


def test_importing_does_not_import_pillow() -> None:
    code = (
        "import sys, minidl.vision, minidl.vision.transforms, minidl.data, minidl.vision.metrics\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'PIL']\n"
        "assert 'models' in dir(minidl.vision)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_part_of_vision() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        minidl.vision.nothing_like_it  # noqa: B018


def test_subclasses_may_replace_forward_and_get_params() -> None:
    class Twice(transforms.RandomHorizontalFlip):
        def forward(self, img: Any) -> Any:
            return super().forward(super().forward(img))

    class Corner(transforms.RandomCrop):
        @staticmethod
        def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
            return (0, 1, *output_size)

    picture = minidl.arange(9).reshape(1, 3, 3)
    assert Twice(p=1)(img=picture).tolist() == picture.tolist()
    assert Corner(2)(picture).tolist() == [[[1, 2], [4, 5]]]
    assert transforms.Compose([transforms.Resize(3), Corner(1)])(picture).tolist() == [[[1]]]


def test_antialias_none_is_off_for_tensors() -> None:
    ramp = minidl.arange(8.0).reshape(1, 1, 8)
    for off in (None, False):
        assert transforms.Resize((1, 2), antialias=off)(ramp).tolist() == [[[1.5, 5.5]]]
    picture = minidl.randint(0, 256, (3, 32, 32), dtype=minidl.uint8)
    resize, crop = transforms.Resize(8, antialias=None), transforms.RandomCrop(8)
    assert minidl.equal(transforms.Compose([resize, crop])(picture), resize(picture))


def test_random_choices_show_their_probabilities() -> None:
    assert repr(transforms.RandomApply([abs], 0.3)).splitlines()[1] == "    p=0.3"
    assert repr(transforms.RandomChoice([abs], [1.0])).endswith(")(p=[1.0])")
    for p in ([0, 0], [-1, 2], [math.nan, 1]):
        with pytest.raises(ArgumentError, match="not 0 alone"):
            transforms.RandomChoice([abs, float], p)


def test_a_choice_passes_all_arguments_on() -> None:
    assert transforms.RandomChoice([lambda a, b: (b, a)])(1, 2) == (2, 1)


def test_transforms_are_also_in_a_module_of_that_name() -> None:
    from minidl.vision.transforms import transforms as same

    assert same.Compose is transforms.Compose
