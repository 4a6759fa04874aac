"""minidl.vision.neighbors: equal to comparing every pair."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.errors import ArgumentError, ShapeError
from minidl.vision.neighbors import nearest_neighbors


def brute_force(queries: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distances = np.sqrt(((queries[:, None].astype(float) - gallery[None]) ** 2).sum(2))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("offset", [0.0, 1e6])  # far from the origin, products lose every digit
def test_equals_brute_force(chunk: int, offset: float) -> None:
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(100, 12)).astype(np.float32) + np.float32(offset)
    gallery[50:60] = gallery[:10]  # equally distant rows
    queries = np.concatenate([gallery[3:5], gallery[20:23] + np.float32(0.25)])
    indices, distances = nearest_neighbors(queries, gallery, 9, chunk)
    expected, far = brute_force(queries, gallery, 9)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, far, rtol=1e-12)
    assert indices[0, 0] == 3 and indices[0, 1] == 53


def test_a_gallery_in_parts() -> None:
    gallery = np.random.default_rng(1).normal(size=(40, 3))
    whole = nearest_neighbors(gallery[:4], gallery, 5)
    parts = nearest_neighbors(gallery[:4], (gallery[k : k + 9] for k in range(0, 40, 9)), 5)
    np.testing.assert_array_equal(whole, parts)


def test_fewer_rows_than_neighbors() -> None:
    indices, distances = nearest_neighbors(np.zeros((2, 3)), np.ones((2, 3)), 5)
    assert indices.tolist() == [[0, 1], [0, 1]] and distances.shape == (2, 2)


def test_wrong_arguments() -> None:
    with pytest.raises(ArgumentError, match="k and chunk must be positive"):
        nearest_neighbors(np.zeros((1, 3)), np.ones((2, 3)), 0)
    with pytest.raises(ShapeError, match=r"expected|must have shape \(N, 3\), got \(2, 4\)"):
        nearest_neighbors(np.zeros((1, 3)), np.ones((2, 4)), 1)
