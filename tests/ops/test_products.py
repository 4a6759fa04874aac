"""Matrix products and einsum: all shapes and layouts, gradients, errors."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, DTypeError, ShapeError

SHAPES = [
    ((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 5)),
    ((2, 3, 4), (4,)), ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((1, 1), (1, 1)), ((0, 3, 4), (4, 2)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_matmul(shapes: Any, dtype: Any, device: str) -> None:
    a, b = (helpers.values(shape, i, dtype) for i, shape in enumerate(shapes))
    result = helpers.leaf(a, device) @ helpers.leaf(b, device)
    assert result.dtype == dtype
    helpers.assert_close(result, a.astype(float) @ b.astype(float), 4)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_gradient(shapes: Any, device: str) -> None:
    leaves = [helpers.leaf(helpers.values(shape, i), device) for i, shape in enumerate(shapes)]
    assert minidl.gradcheck(minidl.matmul, leaves)
    assert minidl.gradcheck(lambda a: a @ leaves[1].detach(), leaves[0])
    assert minidl.gradcheck(lambda b: leaves[0].detach() @ b, leaves[1])


@pytest.mark.parametrize("first", helpers.LAYOUTS)
@pytest.mark.parametrize("second", helpers.LAYOUTS)
def test_layouts(first: str, second: str, device: str) -> None:
    a = helpers.LAYOUTS[first](helpers.values((6, 4), 0))
    b = helpers.LAYOUTS[second](helpers.values((4, 5), 1))
    leaves = [helpers.leaf(a, device), helpers.leaf(b, device)]
    out = leaves[0] @ leaves[1]
    helpers.assert_close(out, np.array(a) @ np.array(b), 4)
    out.backward(minidl.tensor(helpers.values((6, 5), 2), device=device))
    helpers.assert_close(leaves[0].grad, helpers.values((6, 5), 2) @ np.array(b).T, 5)
    helpers.assert_close(leaves[1].grad, np.array(a).T @ helpers.values((6, 5), 2), 6)


def test_integers(device: str) -> None:
    a = np.arange(6).reshape(2, 3)
    x = minidl.tensor(a, device=device)
    assert (x @ x.T).tolist() == (a @ a.T).tolist()


def test_relatives(device: str) -> None:
    a, b, c = (helpers.values(s, i) for i, s in enumerate([(2, 3), (3, 4), (2, 4)]))
    x, y, z = (helpers.leaf(array, device) for array in (a, b, c))
    helpers.assert_close(minidl.mm(x, y), a @ b, 3)
    helpers.assert_close(minidl.addmm(z, x, y, beta=2, alpha=0.5), 2 * c + 0.5 * (a @ b), 4)
    helpers.assert_close(minidl.mv(x, y[:, 0]), a @ b[:, 0], 3)
    helpers.assert_close(minidl.dot(x[0], y[:, 0]), a[0] @ b[:, 0], 3)
    helpers.assert_close(minidl.outer(x[0], y[0]), np.outer(a[0], b[0]))
    helpers.assert_close(minidl.bmm(x[None], y[None]), (a @ b)[None], 3)
    helpers.assert_close(minidl.baddbmm(z[None], x[None], y[None]), (c + a @ b)[None], 4)
    nan = minidl.full((2, 4), np.nan, dtype=minidl.float64, device=device)
    helpers.assert_close(minidl.addmm(nan, x, y, beta=0), a @ b, 3)


EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]), ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("i,i->", [(4,), (4,)]),
    ("i,j->ij", [(2,), (3,)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("ij,ij->ij", [(2, 3)] * 2),
    ("ij,kj,lk->il", [(2, 3), (4, 3), (5, 4)]), ("...ij,...jk->...ik", [(2, 2, 3), (3, 4)]),
    ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("ba,b->a", [(2, 3), (2,)]),
    ("ijij->ij", [(2, 3, 2, 3)]), ("i...->...", [(2, 3, 4)]), ("ij,k->i", [(2, 3), (4,)]),
    ("biij->bj", [(2, 3, 3, 4)]), ("zyx->xz", [(2, 3, 4)]), ("ij, jk -> ki", [(1, 3), (3, 4)]),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS, ids=str)
def test_einsum(equation: str, shapes: Any, device: str) -> None:
    arrays = [helpers.values(shape, i) for i, shape in enumerate(shapes)]
    leaves = [helpers.leaf(a, device) for a in arrays]
    helpers.assert_close(minidl.einsum(equation, *leaves), np.einsum(equation, *arrays), 60)
    assert minidl.gradcheck(lambda *xs: minidl.einsum(equation, *xs), leaves)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [("ij,jk->ik", [(2, 3)]), ("ij->ik", [(2, 3)]), ("ijk->i", [(2, 3)]), ("ij->ii", [(2, 2)]),
     ("ij,jk->ik", [(2, 3), (4, 5)])],
)  # fmt: skip
def test_einsum_errors(equation: str, shapes: Any, device: str) -> None:
    with pytest.raises((ArgumentError, ShapeError), match="einsum"):
        minidl.einsum(equation, *(minidl.ones(shape, device=device) for shape in shapes))


def test_errors(device: str) -> None:
    x = minidl.ones(2, 3, device=device)
    for error, match, call in [
        (ShapeError, r"\(2, 3\) and \(2, 3\)", lambda: x @ x),
        (ShapeError, "axis", lambda: x @ minidl.tensor(1.0, device=device)),
        (DTypeError, "float32 and float64", lambda: x @ x.T.double()),
        (ShapeError, "mm", lambda: minidl.mm(x, x[0])),
        (ShapeError, "bmm", lambda: minidl.bmm(x, x)),
        (ShapeError, "dot", lambda: minidl.dot(x, x)),
    ]:
        with pytest.raises(error, match=match):
            call()
