"""Transforms as functions, on tensors: the numbers that torchvision 0.29 gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
import minidl.vision.transforms.functional as F
from minidl.errors import (
    ArgumentError,
    AutogradError,
    DataError,
    DTypeError,
    MinidlError,
    ShapeError,
)
from minidl.vision import transforms
from minidl.vision.transforms import InterpolationMode
from minidl.vision.utils import make_grid

Image = pytest.importorskip("PIL.Image")

#: Shape (3, 3, 4): 0, 7, 14, ..., 245.
PICTURE = minidl.from_numpy((np.arange(36) * 7).astype(np.uint8).reshape(3, 3, 4))
NUMBERS = PICTURE[:1].float()
BILINEAR, BICUBIC = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC
EXACT = InterpolationMode.NEAREST_EXACT


@pytest.mark.parametrize(
    "result, expected",
    [
        (F.adjust_brightness(PICTURE, 1.5)[1],
         [[126, 136, 147, 157], [168, 178, 189, 199], [210, 220, 231, 241]]),
        (F.adjust_contrast(PICTURE, 0.5)[0],
         [[53, 56, 60, 63], [67, 70, 74, 77], [81, 84, 88, 91]]),
        (F.adjust_saturation(PICTURE, 1.5)[0], [[0, 0, 0, 0], [0, 1, 8, 15], [22, 29, 36, 43]]),
        (F.adjust_hue(PICTURE, 0.2)[0],
         [[118, 125, 132, 139], [146, 153, 160, 167], [174, 181, 188, 195]]),
        (F.adjust_gamma(PICTURE, 0.5)[0],
         [[0, 42, 59, 73], [84, 94, 103, 112], [119, 127, 134, 140]]),
        (F.rgb_to_grayscale(PICTURE)[0],
         [[68, 75, 82, 89], [96, 103, 110, 117], [124, 131, 138, 145]]),
        (F.rotate(PICTURE, 30)[0], [[0, 14, 14, 49], [0, 35, 42, 77], [28, 63, 63, 0]]),
        (F.rotate(PICTURE, -40, BILINEAR, fill=9)[0],
         [[19, 19, 8, 8], [57, 45, 32, 20], [11, 58, 58, 24]]),
        (F.rotate(PICTURE, 45, expand=True)[0],
         [[0, 0, 0, 21, 0, 0], [0, 0, 14, 49, 49, 0], [0, 0, 35, 42, 77, 0],
          [0, 28, 28, 63, 0, 0], [0, 0, 56, 0, 0, 0]]),
        (F.affine(PICTURE, 10, [1, 0], 1.2, [5.0, 3.0])[0],
         [[0, 0, 7, 14], [0, 28, 35, 42], [56, 56, 63, 70]]),
        (F.resize(NUMBERS, [2, 3], EXACT)[0], [[0.0, 14.0, 21.0], [56.0, 70.0, 77.0]]),
        (F.resize(NUMBERS, [2, 3])[0], [[12.6, 21.0, 29.4], [47.6, 56.0, 64.4]]),
        (F.resize(NUMBERS, [4, 3], BICUBIC, antialias=False)[0],
         [[-1.1267, 8.4902, 18.1071], [15.7171, 25.334, 34.9509], [42.0491, 51.666, 61.2829],
          [58.8929, 68.5098, 78.1267]]),
    ],
)  # fmt: skip
def test_torchvisions_numbers(result: Any, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-4)


def test_both_kinds_of_picture_have_each_function(device: str) -> None:
    tensor = PICTURE.to(device)
    image = F.to_pil_image(PICTURE)
    assert F.get_dimensions(tensor) == F.get_dimensions(image) == [3, 3, 4]
    assert F.get_image_size(tensor) == F.get_image_size(image) == [4, 3]
    for change in (
        lambda x: F.pad(x, (1, 2), fill=(1, 2, 3)), lambda x: F.pad(x, 1, fill=9),
        lambda x: F.crop(x, -1, 2, 3, 5), lambda x: F.center_crop(x, 2), F.hflip, F.vflip,
        lambda x: F.ten_crop(x, 2)[6],
        lambda x: F.resized_crop(x, 0, 0, 2, 2, (2, 2)), lambda x: F.five_crop(x, 2)[3],
    ):  # fmt: skip
        ours, theirs = change(tensor), F.pil_to_tensor(change(image))
        assert ours.device == tensor.device and ours.tolist() == theirs.tolist()
    for change in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue):
        found = change(tensor, 0.3).cpu().numpy().astype(int)
        expected = F.pil_to_tensor(change(image, 0.3)).numpy().astype(int)
        assert abs(found - expected).max() <= 8  # Pillow's hue has 8 bits
    for change in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation):
        for picture in (tensor, tensor[:1]):
            with pytest.raises(ArgumentError, match="must not be negative"):
                change(picture, -0.4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "int32"])
def test_white_stays_white(dtype: str) -> None:
    for source in (minidl.ones(1, 1, 1), minidl.full((1, 1, 1), 255, dtype=minidl.uint8)):
        if source.dtype == np.float32 and dtype == "int32":
            with pytest.raises(DTypeError, match="too few digits"):
                F.convert_image_dtype(source, np.int32)
            continue
        found = F.convert_image_dtype(source, getattr(minidl, dtype))
        white = 1 if dtype[0] == "f" else np.iinfo(dtype).max
        assert found.dtype == dtype
        assert white - found.item() in (0, white // 256)  # integers are multiplied by 2^n


def test_gray_from_any_number_of_channels() -> None:
    gray = F.rgb_to_grayscale(PICTURE, 3)
    assert gray.shape == (3, 3, 4) and gray[0].tolist() == gray[2].tolist()
    assert F.rgb_to_grayscale(PICTURE[:1]).tolist() == PICTURE[:1].tolist()
    with pytest.raises(ShapeError, match="1 or 3 channels"):
        F.adjust_hue(minidl.zeros(4, 2, 2), 0.1)
    with pytest.raises(DataError, match="got list"):
        F.adjust_contrast([1], 0.5)
    for bad in (lambda: F.adjust_hue(PICTURE, 0.6), lambda: F.adjust_contrast(PICTURE, -1)):
        with pytest.raises(ArgumentError, match="factor"):
            bad()


def test_to_pil_image() -> None:
    assert F.to_pil_image(minidl.full((3, 1, 1), 0.999)).getpixel((0, 0)) == (254,) * 3
    for channels, mode in ((1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")):
        assert F.to_pil_image(minidl.zeros(channels, 2, 3)).mode == mode
    assert F.to_pil_image(minidl.zeros(2, 3), "F").mode == "F"
    assert F.to_pil_image(PICTURE, "HSV").mode == "HSV"
    assert F.to_pil_image(np.full((2, 3), 300, np.int32)).getpixel((0, 0)) == 300
    with pytest.raises(ArgumentError, match="RGB or YCbCr or HSV for 3 channels"):
        F.to_pil_image(PICTURE, "CMYK")
    assert F.to_pil_image(np.full((2, 3, 3), 0.5)).getpixel((0, 0)) == (127,) * 3
    for array, message in (
        (np.zeros((2, 3, 3), np.int64), "3 channels of uint8, got int64"),
        (np.zeros((2, 3), np.uint16), "1 channels of uint8 or int16"),
    ):
        with pytest.raises(DTypeError, match=message):
            F.to_pil_image(array)
    with pytest.raises(ShapeError, match="1 to 4 channels"):
        F.to_pil_image(minidl.zeros(5, 2, 2))
    for wrong in (F.to_pil_image, F.to_tensor, F.pil_to_tensor, F.hflip, F.vflip, F.get_dimensions):
        with pytest.raises(DataError, match="got list") as error:
            wrong([1])
        assert isinstance(error.value, TypeError)


def test_a_batch_is_resized_as_each_of_its_pictures() -> None:
    batch = minidl.randint(0, 256, (2, 2, 3, 9, 7), dtype=minidl.uint8)
    for picture in (batch, batch.float(), batch[:, :, :1]):
        small = F.resize(picture, [5, 4])
        assert minidl.equal(small[1, 0], F.resize(picture[1, 0], [5, 4]))
    assert tuple(F.resize(batch[:0], [5, 4]).shape) == (0, 2, 3, 5, 4)


def test_fill_has_one_number_or_one_for_each_channel() -> None:
    image = Image.new("RGB", (2, 2))
    assert F.pad(image, 1, fill=255).getpixel((0, 0)) == (255, 255, 255)
    assert F.pad(image, 1, fill=(1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)
    assert F.rotate(image.resize((9, 9)), 45, fill=7).getpixel((0, 0)) == (7, 7, 7)
    for picture in (image, PICTURE):
        with pytest.raises(ArgumentError, match="one for each of 3 channels"):
            F.pad(picture, 1, fill=(1, 2))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: F.erase(np.zeros(3), 0, 0, 1, 1, 0), "erase: expected a tensor, got ndarray"),
        (lambda: F.convert_image_dtype(None), "convert_image_dtype: expected a tensor"),
        (lambda: F.resize(PICTURE, None), "Resize: size must be an int or several, got None"),
        (lambda: F.pad(PICTURE, "1"), "Pad: padding must be an int or several, got '1'"),
        (lambda: F.pad(PICTURE, 1, "red"), "fill must be a number"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_a_missing_function_says_so() -> None:
    with pytest.raises(AttributeError, match="functional has no 'gaussian_blur'"):
        F.gaussian_blur  # noqa: B018


def slope(change: Any, picture: minidl.Tensor) -> float:
    """Return the gradient of one pixel of a transformed picture, weighted by the places."""
    y = change(picture)
    (y * minidl.arange(float(y.numel())).reshape(y.shape)).sum().backward()
    return float(picture.grad[0, 1, 1])


@pytest.mark.parametrize(
    "change",
    [
        F.hflip, F.vflip, lambda x: F.crop(x, -1, 1, 2, 2), lambda x: F.center_crop(x, 2),
        lambda x: F.pad(x, 1, padding_mode="edge"), lambda x: F.pad(x, 1, fill=3.0),
        lambda x: F.resize(x, [2, 2]), lambda x: F.normalize(x, [0.5] * 3, [0.25] * 3),
        lambda x: F.adjust_brightness(x, 0.5), lambda x: F.adjust_contrast(x, 0.5),
        lambda x: F.adjust_saturation(x, 0.5), lambda x: F.adjust_gamma(x, 2.0),
        F.rgb_to_grayscale, lambda x: F.erase(x, 0, 0, 1, 1, 5.0),
        lambda x: F.convert_image_dtype(x, np.float64),
    ],
)  # fmt: skip
def test_gradients_pass(change: Any) -> None:
    pixels = (np.arange(27).reshape(3, 3, 3) + 5) / 40
    found = slope(change, minidl.from_numpy(pixels).requires_grad_())
    step = np.zeros_like(pixels)
    step[0, 1, 1] = 1e-4
    low, high = (change(minidl.from_numpy(pixels + sign * step)).numpy() for sign in (-1, 1))
    expected = ((high - low) * np.arange(float(low.size)).reshape(low.shape)).sum() / 2e-4
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: F.rotate(x, 30), lambda x: F.affine(x, 10, [1, 0], 1.2, [5.0, 3.0]),
        lambda x: F.adjust_hue(x, 0.1), lambda x: F.pad(x, 1, padding_mode="symmetric"),
    ],
)  # fmt: skip
def test_gradients_that_would_get_lost_are_refused(change: Any) -> None:
    x = minidl.rand(3, 4, 4, requires_grad=True)
    with pytest.raises(AutogradError, match="has no gradient: call it inside no_grad"):
        change(x)
    with minidl.no_grad():
        assert change(x).shape[0] == 3


def test_names_of_arguments_are_torchvisions() -> None:
    for name, factor in (("brightness", 0.5), ("contrast", 0.5), ("saturation", 0.5), ("hue", 0.1)):
        change = getattr(F, f"adjust_{name}")
        assert minidl.equal(change(img=PICTURE, **{f"{name}_factor": factor}),
                            change(PICTURE, factor))  # fmt: skip
    assert F.rotate(img=PICTURE, angle=90).shape == F.hflip(img=PICTURE).shape


def test_bools_and_pictures_without_channels() -> None:
    mask = minidl.tensor([[[True, False], [False, False]]])
    assert F.convert_image_dtype(mask, np.float32).tolist() == [[[1, 0], [0, 0]]]
    assert F.convert_image_dtype(mask, np.uint8).tolist() == [[[128, 0], [0, 0]]]
    assert F.convert_image_dtype(PICTURE[:1, :1, :2] + 127, np.bool_).tolist() == [[[False, True]]]
    assert F.resize(mask, [1, 1]).tolist() == [[[True]]]
    plane = minidl.tensor([[0.5, 0.25]])
    assert F.adjust_brightness(plane, 2).tolist() == [[1.0, 0.5]]
    assert F.adjust_brightness(plane, minidl.tensor([2.0])).tolist() == [[1.0, 0.5]]
    assert F.adjust_saturation(plane, 2) is plane and F.adjust_hue(plane, 0.2) is plane


def test_gray_of_doubles_is_double() -> None:
    gray = F.rgb_to_grayscale(minidl.full((3, 1, 1), 0.1, dtype=minidl.float64))
    assert gray.item() == 0.2989 * 0.1 + 0.587 * 0.1 + 0.114 * 0.1


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.adjust_brightness(Image.new("F", (2, 2)), 0.5),
        lambda: F.crop(PICTURE, 2, 2, -1, 4), lambda: F.pad(PICTURE, 1, fill=300),
        lambda: F.rotate(PICTURE, 30, center=[1]),
        lambda: F.affine(PICTURE, 0, [0, 0], 1, [1, 2, 3]),
        lambda: transforms.Compose(3), lambda: transforms.RandomHorizontalFlip(None),
        lambda: transforms.Normalize("a", "b"), lambda: make_grid([PICTURE] * 2, padding=-1),
        lambda: F.erase(PICTURE, 0, 0, 1, 1, "x"), lambda: F.rotate(PICTURE, "a"),
        lambda: F.adjust_contrast(PICTURE, "a"), lambda: F.adjust_hue(PICTURE, None),
        lambda: transforms.RandomChoice([abs], p=3),
    ],
)  # fmt: skip
def test_what_no_transform_takes_is_refused_in_a_sentence(call: Any) -> None:
    with pytest.raises(MinidlError):
        call()


def test_pictures_without_channels_are_turned() -> None:
    plane = PICTURE[0]
    assert minidl.equal(F.rotate(plane, 90), F.rotate(PICTURE[:1], 90)[0])
    assert transforms.RandomGrayscale(1.0)(plane).tolist() == [plane.tolist()]


def test_numbers_may_be_numpys() -> None:
    x = np.float32(3)
    for transform in (
        transforms.Pad(1, x), transforms.RandomRotation(x), transforms.RandomAffine(0, shear=x),
        transforms.ColorJitter(x / 10),
    ):  # fmt: skip
        assert transform(PICTURE).dtype == np.uint8


def test_negative_numbers_in_bytes_wrap_as_in_torchvision() -> None:
    assert make_grid([PICTURE] * 2, pad_value=-3)[0, 0, 0].item() == 253
    assert F.erase(PICTURE, 0, 0, 1, 1, -1)[0, 0, 0].item() == 255
