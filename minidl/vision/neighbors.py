"""Exact nearest neighbors by Euclidean distance, in a gallery of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import ArgumentError, ShapeError

__all__ = ["nearest_neighbors"]

_ROUNDING = 4 * np.finfo(np.float64).eps  # of a sum of products, per term


def nearest_neighbors(
    queries: np.ndarray, gallery: np.ndarray | Iterable[np.ndarray], k: int, chunk: int = 8192
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k rows of a gallery that are closest to each query.

    Parameters
    ----------
    queries : ndarray, shape (Q, D)
    gallery : ndarray of shape (N, D), or an iterable of such arrays
        An iterable is read once, so a gallery need not fit in memory.
    k : int
        At least 1; at most N neighbors are found.
    chunk : int, default 8192
        Number of rows of the gallery that are compared at a time.

    Returns
    -------
    indices : ndarray of int64, shape (Q, min(k, N))
        Rows of the gallery from near to far; of equally distant rows, the first comes first.
    distances : ndarray of float64, shape (Q, min(k, N))

    Raises
    ------
    ArgumentError
        ``k`` or ``chunk`` is less than 1.
    ShapeError
        The rows of queries and gallery have different lengths.

    Notes
    -----
    A matrix product finds the candidates: ‖q - g‖² = ‖q‖² + ‖g‖² - 2 q·g. It loses digits where q
    and g are close, so whatever its rounding leaves in doubt is compared again by q - g itself.

    Examples
    --------
    >>> import numpy as np
    >>> gallery = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    >>> indices, distances = nearest_neighbors(np.array([[0.0, 0.0]]), gallery, k=2)
    >>> indices.tolist(), distances.tolist()
    ([[0, 2]], [[0.0, 1.0]])
    """
    if k < 1 or chunk < 1:
        raise ArgumentError(f"nearest_neighbors: k and chunk must be positive, got {k}, {chunk}")
    queries = np.asarray(queries, np.float64)
    best = [(np.empty(0, np.int64), np.empty(0))] * len(queries)  # rows, squared distances
    start = 0
    for part in _chunks(gallery, chunk):
        if part.ndim != 2 or part.shape[1] != queries.shape[1]:
            raise ShapeError(
                f"nearest_neighbors: gallery must have shape (N, {queries.shape[1]}), "
                f"got {part.shape}"
            )
        for number, query in enumerate(queries):
            near = _candidates(query, part, k)
            rows = np.concatenate([best[number][0], near + start])
            squares = np.concatenate([best[number][1], ((query - part[near]) ** 2).sum(1)])
            order = np.lexsort((rows, squares))[:k]
            best[number] = rows[order], squares[order]
        start += len(part)
    return np.stack([rows for rows, _ in best]), np.sqrt([squares for _, squares in best])


def _chunks(gallery: np.ndarray | Iterable[np.ndarray], chunk: int) -> Iterator[np.ndarray]:
    for part in [gallery] if isinstance(gallery, np.ndarray) else gallery:
        for start in range(0, len(part), chunk):
            yield np.asarray(part[start : start + chunk], np.float64)


def _candidates(query: np.ndarray, part: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of a part that may be among the k closest, in ascending order."""
    if k >= len(part):
        return np.arange(len(part))
    sizes = (part**2).sum(1)
    squares = sizes - 2 * (part @ query)  # less ‖q‖², which is the same for all
    error = _ROUNDING * len(query) * (sizes.max() + (query**2).sum())
    return np.flatnonzero(squares <= np.partition(squares, k - 1)[k - 1] + error)
