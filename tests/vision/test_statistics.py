"""Mean image, means, deviations and PCA of pixels, against NumPy and against exact fractions."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import CheckpointError, DataError, DTypeError, ShapeError
from minidl.vision.statistics import PixelStatistics, PixelSums
from minidl.vision.transforms import PCAJitter, SubtractMean, ToPixels

EPS = np.finfo(np.float64).eps


def pictures(count: int, height: int = 7, width: int = 5, seed: int = 0) -> np.ndarray:
    """Return pictures whose channels are correlated, as in photographs."""
    noise = np.random.default_rng(seed)
    gray = noise.integers(0, 200, (count, height, width, 1))
    return (gray + noise.integers(0, 56, (count, height, width, 3))).astype(np.uint8)


def added(*batches: np.ndarray) -> PixelSums:
    sums = PixelSums(*batches[0].shape[-3:-1])
    for batch in batches:
        sums.add(batch)
    return sums


def assert_identical(a: PixelStatistics, b: PixelStatistics) -> None:
    assert vars(a).keys() == vars(b).keys()
    for name, value in vars(a).items():
        assert np.asarray(value).tobytes() == np.asarray(vars(b)[name]).tobytes(), name


def test_against_numpy() -> None:
    batch = pictures(40)
    found = added(batch).statistics()
    pixels = batch.astype(np.float64)

    assert found.pictures == 40
    assert np.array_equal(found.mean_image, pixels.mean(axis=0).transpose(2, 0, 1))
    # NumPy rounds sums of 1400 numbers from 0 to 1; minidl rounds one quotient.
    rows = pixels.reshape(-1, 3) / 255
    tolerance = len(rows) * EPS
    assert np.allclose(found.mean, rows.mean(axis=0), rtol=0, atol=tolerance)
    assert np.allclose(found.std, rows.std(axis=0), rtol=tolerance, atol=0)
    assert np.allclose(found.covariance, np.cov(rows.T, bias=True), rtol=0, atol=tolerance)
    vectors = found.eigenvectors
    assert np.allclose(vectors.T @ vectors, np.eye(3), rtol=0, atol=10 * EPS)
    rebuilt = vectors @ np.diag(found.eigenvalues) @ vectors.T
    assert np.allclose(rebuilt, found.covariance, rtol=0, atol=10 * EPS)
    assert (np.diff(found.eigenvalues) < 0).all()
    assert (vectors[np.abs(vectors).argmax(axis=0), range(3)] > 0).all()


def test_rounds_once() -> None:
    """A large mean and a tiny deviation leave E[x²] - E[x]² in float64 no correct digits."""
    batch = np.full((3, 64, 64, 3), 255, dtype=np.uint8)
    batch[0, 0, 0] = (254, 253, 255)
    found = added(batch).statistics()
    n = 3 * 64 * 64
    red = Fraction(255 * n - 1, 255 * n)
    square = Fraction((n - 1) * 255**2 + 254**2, n * 255**2)
    assert found.mean[0] == float(red)
    assert found.covariance[0, 0] == float(square - red**2)
    assert found.covariance[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_any_parts_in_any_order_give_the_same_bits(parts: int) -> None:
    batch = pictures(20)
    whole = added(batch)
    order = np.random.default_rng(parts).permutation(20)
    merged = PixelSums(7, 5)
    for part in np.array_split(batch[order], parts):
        merged.merge(added(*part))
    assert merged.to_bytes() == whole.to_bytes()
    assert_identical(merged.statistics(), whole.statistics())


def test_gray_pictures_have_no_negative_eigenvalue() -> None:
    gray = np.repeat(pictures(9)[..., :1], 3, axis=-1)
    found = added(gray).statistics()
    assert (found.eigenvalues >= 0).all()
    assert found.eigenvalues[0] == pytest.approx(3 * found.covariance[0, 0], rel=10 * EPS)
    PCAJitter("original", found.eigenvalues.tolist(), found.eigenvectors.tolist())


def test_fits_the_transforms() -> None:
    batch = pictures(30)
    found = added(batch).statistics()
    center = SubtractMean(found.mean_image)
    centered = np.stack([center(ToPixels()(picture)).numpy() for picture in batch])
    limit = 255 * np.finfo(np.float32).eps
    assert abs(centered.astype(np.float64).mean(axis=0)).max() < limit
    centered = np.stack([SubtractMean(255 * found.mean)(ToPixels()(p)).numpy() for p in batch])
    assert abs(centered.astype(np.float64).mean(axis=(0, 2, 3))).max() < limit

    # The covariance of the shift on the scale 0 to 255: P diag(weights²) Pᵀ.
    for mode, weights in (("paper01", found.eigenvalues), ("original", found.eigenvalues**0.5)):
        values, vectors = found.eigenvalues.tolist(), found.eigenvectors.tolist()
        jitter = PCAJitter(mode, values, vectors, white=255.0)
        black = minidl.zeros(3, 1, 1)
        shifts = np.stack([jitter(black).numpy().ravel() for _ in range(4000)])
        shifts *= 1.1 if mode == "original" else 1.0
        expected = found.eigenvectors @ np.diag((25.5 * weights) ** 2) @ found.eigenvectors.T
        # The standard error of a covariance of 4000 draws is at most √(2 / 4000) of the largest.
        error = abs(np.cov(shifts.T) - expected).max()
        assert error < 5 * np.sqrt(2 / 4000) * expected.max()


def test_bytes_round_trip() -> None:
    sums = added(pictures(3))
    data = sums.to_bytes()
    assert len(data) == 8 * (9 + 7 * 5 * 3)
    assert PixelSums.from_bytes(data).to_bytes() == data
    for damaged in (b"", data[:-1], data[:-8], data + bytes(8)):
        with pytest.raises(DataError, match="are not sums of pixels"):
            PixelSums.from_bytes(damaged)


def test_file_round_trip(tmp_path: Path) -> None:
    found = added(pictures(3)).statistics()
    found.save(tmp_path / "statistics.safetensors")
    assert_identical(PixelStatistics.load(tmp_path / "statistics.safetensors"), found)
    minidl.save({"mean": 3}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"other\.safetensors holds no pixel statistics"):
        PixelStatistics.load(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="nothing"):
        PixelStatistics.load(tmp_path / "nothing")


def test_wrong_pictures() -> None:
    sums = PixelSums(7, 5)
    with pytest.raises(DTypeError, match="uint8, got float64"):
        sums.add(np.zeros((7, 5, 3)))
    with pytest.raises(ShapeError, match=r"\(7, 5, 3\).*got \(5, 7, 3\)"):
        sums.add(np.zeros((5, 7, 3), np.uint8))
    with pytest.raises(ShapeError, match=r"\(5, 7, 3\)"):
        sums.merge(PixelSums(5, 7))
    with pytest.raises(DataError, match="no pictures"):
        sums.statistics()


DAMAGED: dict[str, dict[str, Any]] = {
    "no number of pictures": {"pictures": None},
    "no picture": {"pictures": 0},
    "a list instead of an array": {"mean": [0.5, 0.5, 0.5]},
    "another dtype": {"std": np.ones(3, np.float32)},
    "integers": {"mean_image": np.zeros((3, 4, 4), np.int64)},
    "a channel too many": {"mean": np.zeros(4)},
    "an axis too many": {"std": np.ones((3, 1))},
    "a mean picture with another order of axes": {"mean_image": np.zeros((4, 4, 3))},
    "an empty mean picture": {"mean_image": np.zeros((3, 0, 4))},
    "eigenvectors of two channels": {"eigenvectors": np.eye(2)},
    "NaN": {"mean_image": np.full((3, 4, 4), np.nan)},
    "infinity": {"eigenvalues": np.array([np.inf, 1, 1])},
    "an unknown field": {"median": np.zeros(3)},
}


@pytest.mark.parametrize("how", DAMAGED)
def test_fields_with_impossible_values(how: str, tmp_path: Path) -> None:
    (name,) = DAMAGED[how]
    fields = {**asdict(added(pictures(2)).statistics()), **DAMAGED[how]}
    with pytest.raises(DataError, match=rf"{name}: expected|expected the fields"):
        PixelStatistics.from_fields(fields)
    minidl.save(fields, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match=r"x\.safetensors holds no pixel statistics: "):
        PixelStatistics.load(tmp_path / "x.safetensors")


def test_missing_fields() -> None:
    fields = asdict(added(pictures(2)).statistics())
    for name in fields:
        with pytest.raises(DataError, match="expected the fields pictures, mean_image"):
            PixelStatistics.from_fields({key: fields[key] for key in fields if key != name})
    for other in (None, 7, [], np.zeros(3), {}):
        with pytest.raises(DataError, match="expected the fields"):
            PixelStatistics.from_fields(other)
