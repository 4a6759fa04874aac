"""Random rotations and affine maps, random erasing."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.vision.transforms.functional as F
from minidl.errors import ArgumentError, DataError
from minidl.vision import transforms
from minidl.vision.transforms import RandomAffine, RandomErasing, RandomRotation

Image = pytest.importorskip("PIL.Image")


def test_angles_are_drawn_from_the_range() -> None:
    minidl.manual_seed(1)
    angles = [RandomRotation.get_params(RandomRotation(30).degrees) for _ in range(200)]
    assert -30 <= min(angles) < -20 and 20 < max(angles) <= 30
    assert RandomRotation((10, 20)).degrees == (10.0, 20.0)
    for bad in (-1, (3, 1), (1, 2, 3)):
        with pytest.raises(ArgumentError, match="degrees"):
            RandomRotation(bad)


def test_cubic_interpolation_is_pillows() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8))
    cubic = transforms.InterpolationMode.BICUBIC
    for turn in RandomRotation((20, 20), cubic), RandomAffine((-20, -20), interpolation=cubic):
        expected = image.rotate(20, Image.Resampling.BICUBIC)
        differences = np.asarray(turn(image)).astype(int) - np.asarray(expected)
        assert abs(differences).max() <= 1  # the map's last digits
        with pytest.raises(ArgumentError, match="of a tensor must be NEAREST or BILINEAR"):
            turn(minidl.ones(3, 4, 4))


def test_an_affine_map_is_drawn_from_the_ranges() -> None:
    minidl.manual_seed(1)
    affine = RandomAffine(0, (0.1, 0.2), (0.5, 2), (1, 2, 3, 4))
    drawn = [
        affine.get_params(affine.degrees, affine.translate, affine.scale, affine.shear, (100, 50))
        for _ in range(200)
    ]
    assert {angle for angle, *_ in drawn} == {0.0}
    assert (
        max(abs(x) for _, (x, _), _, _ in drawn) == max(abs(y) for _, (_, y), _, _ in drawn) == 10
    )
    assert all(0.5 <= scale <= 2 for _, _, scale, _ in drawn)
    assert all(1 <= x <= 2 and 3 <= y <= 4 for *_, (x, y) in drawn)
    only_x = RandomAffine(0, shear=5)
    assert only_x.shear == [-5.0, 5.0]
    assert only_x(Image.new("RGB", (7, 5))).size == (7, 5)
    values = ({"translate": (0.1, 1.1)}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"scale": [1]},
              {"scale": (1, 2, 3)}, {"shear": (1, 2, 3)}, {"shear": [1]})  # fmt: skip
    for bad in values:
        with pytest.raises(ArgumentError, match=next(iter(bad))):
            RandomAffine(0, **bad)
    for wrong in ({"translate": 1}, {"scale": 2.0}, {"fill": {}}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            RandomAffine(0, **wrong)
    with pytest.raises(TypeError, match="translate"):
        F.affine(Image.new("RGB", (7, 5)), 0, 1, 1, 0)
    assert RandomRotation(0, interpolation=2, fill=None).fill == 0


def test_what_erases_is_chosen_with_the_place() -> None:
    image = minidl.ones(3, 40, 50)
    *place, values = RandomErasing.get_params(image, (0.1, 0.2), (1, 1), [5, 6, 7])
    assert values.flatten().tolist() == [5, 6, 7]
    assert F.erase(image, *place, values)[1].max() == 6
    *_, h, w, values = RandomErasing.get_params(image, (0.1, 0.2), (1, 1))
    assert tuple(values.shape) == (3, h, w)
    assert RandomErasing.get_params(image, (1, 1), (1, 1), [0]) == (0, 0, 40, 50, image)
    for bad, error in (("black", ValueError), ({}, TypeError)):
        with pytest.raises(error, match="value"):
            RandomErasing(value=bad)
    with pytest.raises(TypeError, match="scale"):
        RandomErasing(scale=0.1)  # type: ignore[arg-type]


def test_a_rectangle_is_erased() -> None:
    minidl.manual_seed(1)
    ones = minidl.ones(3, 40, 50)
    for _ in range(20):
        gone = RandomErasing(p=1, scale=(0.1, 0.2), value=(5, 6, 7))(ones).numpy()
        rows, columns = np.nonzero(gone[0] == 5)
        area = len(rows)
        assert area == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert 0.09 < area / 2000 < 0.21 and (gone[2] == 7).sum() == area
    assert ones.numpy().min() == 1
    assert RandomErasing(p=0)(ones) is ones
    assert len(set(RandomErasing(p=1, value="random")(ones).flatten().tolist())) > 30
    RandomErasing(p=1, inplace=True)(ones)
    assert ones.numpy().min() == 0
    with pytest.raises(DataError, match="expected a tensor"):
        RandomErasing(p=1)(Image.new("RGB", (2, 2)))
    with pytest.raises(ArgumentError, match="scale"):
        RandomErasing(scale=(0.5, 1.5))
    with pytest.raises(ArgumentError, match="each of 3 channels"):
        RandomErasing(p=1, value=(1, 2))(minidl.ones(3, 40, 50))


def test_random_choices_among_transforms() -> None:
    minidl.manual_seed(1)
    add, double = (lambda x: x + 1), (lambda x: x * 2)
    applied = transforms.RandomApply([add, double], p=0.25)
    counts = np.bincount([applied(1) for _ in range(400)], minlength=5)
    assert counts[1] + counts[4] == 400 and 60 < counts[4] < 140  # 100, with deviation 9
    chosen = [transforms.RandomChoice([add, double], p=[3, 1])(5) for _ in range(400)]
    assert set(chosen) == {6, 10} and 60 < chosen.count(10) < 140
    assert {transforms.RandomOrder([add, double])(5) for _ in range(50)} == {11, 12}
    with pytest.raises(ArgumentError, match="2 weights for 1"):
        transforms.RandomChoice([add], p=[1, 2])
    with pytest.raises(ArgumentError, match="must be a sequence"):
        transforms.RandomOrder(add)
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        transforms.RandomApply([add], p=2)


def test_a_pipeline_of_tensors(device: str) -> None:
    pipeline = transforms.Compose([
        transforms.ConvertImageDtype(minidl.float32), transforms.RandomResizedCrop(24),
        transforms.ColorJitter(0.4, 0.4, 0.4, 0.1), transforms.RandomGrayscale(0.5),
        transforms.RandomRotation(10), transforms.RandomAffine(5, (0.1, 0.1)),
        transforms.Normalize([0.5] * 3, [0.5] * 3), transforms.RandomErasing(p=1),
    ])  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 30), np.uint8)
    results = []
    for _ in range(2):
        minidl.manual_seed(3)
        results.append(pipeline(minidl.from_numpy(pixels).to(device)))
    assert results[0].shape == (3, 24, 24) and results[0].dtype == np.float32
    assert minidl.equal(*results) and minidl.isfinite(results[0]).all()
