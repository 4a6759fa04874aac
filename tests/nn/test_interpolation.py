"""Interpolation against explicit sums, and against PyTorch in every mode."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import operation
import pytest
import reference
from operation import Case

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

TestInterpolate = operation.standard_tests(
    F.interpolate,
    reference.interpolate,
    [
        Case((2, 3, 4, 5), size=(6, 7), mode="bilinear"),
        Case((2, 3, 4, 5), size=(7, 3), mode="bilinear", align_corners=True),
        Case((2, 1, 5, 4), size=(9, 4), mode="bicubic"),
        Case((1, 2, 5, 4), size=(3, 6), mode="bicubic", align_corners=True),
        Case((2, 3, 4, 6), size=(8, 3), mode="nearest"),
    ],
    terms=20,
    modules=[
        (nn.Upsample((6, 7), mode="bilinear"), {"size": (6, 7), "mode": "bilinear"}),
        (nn.UpsamplingNearest2d((6, 7)), {"size": (6, 7), "mode": "nearest"}),
        (
            nn.UpsamplingBilinear2d((6, 7)),
            {"size": (6, 7), "mode": "bilinear", "align_corners": True},
        ),
    ],
    torch="interpolate",
)

TestPixelShuffle = operation.standard_tests(
    F.pixel_shuffle,
    reference.pixel_shuffle,
    [Case((2, 8, 3, 2), upscale_factor=2), Case((1, 9, 2, 2), upscale_factor=3)],
    modules=[(nn.PixelShuffle(2), {"upscale_factor": 2})],
    torch="pixel_shuffle",
)

TestPixelUnshuffle = operation.standard_tests(
    F.pixel_unshuffle,
    reference.pixel_unshuffle,
    [Case((2, 2, 6, 4), downscale_factor=2), Case((1, 1, 3, 6), downscale_factor=3)],
    modules=[(nn.PixelUnshuffle(2), {"downscale_factor": 2})],
    torch="pixel_unshuffle",
)

MODES = {
    3: ("nearest", "nearest-exact", "linear"),
    4: ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
    5: ("nearest", "nearest-exact", "trilinear"),
}
OPTIONS: list[dict[str, Any]] = [
    {"size": 9}, {"size": 4}, {"size": 1}, {"scale_factor": 2}, {"scale_factor": 1.7},
    {"scale_factor": 0.6}, {"scale_factor": 1.7, "recompute_scale_factor": True},
    {"scale_factor": 2.5, "align_corners": True}, {"size": 11, "align_corners": True},
    {"size": 1, "align_corners": True}, {"size": 3, "antialias": True},
    {"size": 13, "antialias": True}, {"size": 4, "antialias": True, "align_corners": True},
]  # fmt: skip
ALL = [(n, mode, o) for n in MODES for mode, o in product(MODES[n], OPTIONS)]


@pytest.mark.parametrize(("axes", "mode", "options"), ALL)
def test_every_mode_and_option_as_torch(axes: int, mode: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 5, 6)[:axes])
    ours, theirs = minidl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    try:
        expected = torch.nn.functional.interpolate(theirs, mode=mode, **options)
    except (ValueError, NotImplementedError):
        with pytest.raises(MinidlError):
            F.interpolate(ours, mode=mode, **options)
        return
    found = F.interpolate(ours, mode=mode, **options)
    grad = np.random.default_rng(1).standard_normal(tuple(expected.shape))
    found.backward(minidl.tensor(grad))
    expected.backward(torch.tensor(grad))
    tolerance = 128 * np.finfo(np.float64).eps
    np.testing.assert_allclose(found.detach(), expected.detach().numpy(), tolerance, tolerance)
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), tolerance, tolerance)


def test_nearest_takes_integers() -> None:
    x = minidl.arange(4).reshape(1, 1, 2, 2)
    assert F.interpolate(x, scale_factor=2)[0, 0, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_bytes_are_computed_as_floats_and_rounded(mode: str, device: str) -> None:
    x = minidl.tensor([[[[0, 255, 0], [255, 0, 10]]]], dtype=minidl.uint8, device=device)
    found = F.interpolate(x, size=(3, 5), mode=mode)
    expected = F.interpolate(x.float(), size=(3, 5), mode=mode).round().clamp(0, 255)
    assert found.dtype == minidl.uint8 and found.tolist() == expected.tolist()


def test_an_unshuffled_image_is_the_one_that_was_shuffled() -> None:
    x = minidl.randn(2, 3, 4, 6)
    assert minidl.equal(F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2), x)
    assert F.pixel_shuffle(minidl.zeros(4, 1, 1), 2).shape == (1, 2, 2)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"size": 2, "scale_factor": 2}, {"size": (2, 2, 2)}, {"size": 0},
        {"size": 2, "mode": "x"}, {"size": 2, "mode": "linear"},
        {"size": 2, "align_corners": False},
        {"size": 2, "antialias": True},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(MinidlError, match="interpolate"):
        F.interpolate(minidl.zeros(1, 1, 3, 3), **options)


def test_other_shapes_and_dtypes_are_refused() -> None:
    with pytest.raises(MinidlError, match="axes"):
        F.interpolate(minidl.zeros(3, 3), size=2)
    with pytest.raises(MinidlError, match="int64"):
        F.interpolate(minidl.zeros(1, 1, 3, 3).long(), size=2, mode="bilinear")
    for shape in ((2, 2), (3, 2, 2)):
        with pytest.raises(MinidlError, match="pixel_shuffle"):
            F.pixel_shuffle(minidl.zeros(shape), 2)
    with pytest.raises(MinidlError, match="pixel_unshuffle"):
        F.pixel_unshuffle(minidl.zeros(1, 1, 3, 2), 2)
