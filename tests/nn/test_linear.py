"""Linear against explicit loops."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest
import reference

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError


def check(x: Any, weight: Any, bias: Any, device: str) -> None:
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias) if a is not None]
    out = F.linear(*leaves)
    expected = reference.linear(x, weight, bias)
    assert out.dtype == x.dtype
    helpers.assert_close(out, expected, x.shape[-1])
    grad = helpers.values(expected.shape, 9, x.dtype)
    out.backward(minidl.tensor(grad, device=device))
    flat_grad = grad.astype(float).reshape(-1, weight.shape[0])
    flat_x = np.array(x, dtype=float).reshape(-1, weight.shape[1])
    rows = max(len(flat_x), 1)
    helpers.assert_close(leaves[0].grad, (flat_grad @ weight.astype(float)).reshape(x.shape), 20)
    helpers.assert_close(leaves[1].grad, flat_grad.T @ flat_x, rows)
    if bias is not None:
        helpers.assert_close(leaves[2].grad, flat_grad.sum(0), rows)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize(
    "shape", [(4, 3), (1, 3), (0, 3), (3,), (2, 5, 3), (2, 3, 2, 3), (37, 1)], ids=str
)
def test_shapes(shape: tuple[int, ...], dtype: Any, device: str) -> None:
    x, weight = helpers.values(shape, 0, dtype), helpers.values((5, shape[-1]), 1, dtype)
    check(x, weight, helpers.values((5,), 2, dtype), device)
    check(x, weight, None, device)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_layouts(layout: str, dtype: Any, device: str) -> None:
    lay = helpers.LAYOUTS[layout]
    x, weight, bias = (
        helpers.values(shape, i, dtype) for i, shape in enumerate([(6, 4), (5, 4), (5,)])
    )
    check(lay(x), weight, lay(bias), device)
    check(x, lay(weight), bias, device)
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    grad = lay(helpers.values((6, 5), 3, dtype))
    F.linear(*leaves).backward(helpers.leaf(grad, device, requires_grad=False))
    helpers.assert_close(leaves[0].grad, grad.astype(float) @ weight.astype(float), 5)
    helpers.assert_close(leaves[1].grad, grad.astype(float).T @ x.astype(float), 6)
    helpers.assert_close(leaves[2].grad, grad.astype(float).sum(0), 6)


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_flattened_images_of_any_layout(layout: str, device: str) -> None:
    """Flatten reads in NCHW order whatever the memory's order: fc6 depends on it."""
    x = helpers.LAYOUTS[layout](helpers.values((3, 4, 2, 2), 0))
    weight = helpers.values((5, 16), 1)
    flat = nn.Flatten()(helpers.leaf(x, device))
    np.testing.assert_array_equal(helpers.host(flat), np.array(x, order="C").reshape(3, 16))
    out = F.linear(flat, helpers.leaf(weight, device))
    helpers.assert_close(out, np.array(x, order="C").reshape(3, 16) @ weight.T, 16)
    assert minidl.gradcheck(
        lambda x, w: F.linear(nn.Flatten()(x), w),
        (helpers.leaf(x, device), helpers.leaf(weight, device)),
    )


def test_product_large_enough_for_pieces(device: str) -> None:
    x, weight, bias = (
        helpers.values(s, i, np.float32) for i, s in enumerate([(37, 700), (900, 700), (900,)])
    )
    grad = helpers.values((37, 900), 3, np.float32)
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    out = F.linear(*leaves)
    out.backward(minidl.tensor(grad, device=device))
    wide_x, wide_w, wide_g = (a.astype(float) for a in (x, weight, grad))
    helpers.assert_close(out, wide_x @ wide_w.T + bias, 700)
    helpers.assert_close(leaves[0].grad, wide_g @ wide_w, 900)
    helpers.assert_close(leaves[1].grad, wide_g.T @ wide_x, 37)
    helpers.assert_close(leaves[2].grad, wide_g.sum(0), 37)


def test_same_bits_at_any_number_of_threads(threads: None) -> None:
    x, weight, grad = (
        helpers.values(s, i, np.float32) for i, s in enumerate([(37, 700), (900, 700), (37, 900)])
    )
    results = []
    for count in (1, 2, 3):
        minidl.set_num_threads(count)
        leaves = [helpers.leaf(a) for a in (x, weight)]
        out = F.linear(*leaves)
        out.backward(minidl.tensor(grad))
        results.append([helpers.host(t) for t in (out, leaves[0].grad, leaves[1].grad)])
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (4,), (2, 3, 4)], ids=str)
def test_gradcheck(shape: tuple[int, ...], device: str) -> None:
    leaves = [
        helpers.leaf(helpers.values(s, i), device) for i, s in enumerate([shape, (5, 4), (5,)])
    ]
    assert minidl.gradcheck(F.linear, leaves)
    assert minidl.gradcheck(F.linear, leaves[:2])


def test_module(device: str) -> None:
    layer = nn.Linear(4, 3).to(device)
    assert layer.weight.shape == (3, 4) and layer.bias.shape == (3,)
    x = minidl.tensor(helpers.values((2, 4), 0, np.float32), device=device)
    assert layer(x).tolist() == F.linear(x, layer.weight, layer.bias).tolist()
    assert nn.Linear(4, 3, bias=False).bias is None
    assert minidl.gradcheck(layer, (helpers.leaf(helpers.values((2, 4), 0), device),))


def test_parameter_counts_of_the_paper() -> None:
    counts = [(i + 1) * o for i, o in [(9216, 4096), (4096, 4096), (4096, 1000)]]
    assert counts == [37_752_832, 16_781_312, 4_097_000]
    layer = nn.Linear(4096, 1000)
    assert sum(p.numel() for p in layer.parameters()) == counts[2]


def test_initialisation_is_within_pytorchs_bound() -> None:
    layer = nn.Linear(100, 300)
    for values in (layer.weight, layer.bias):
        assert np.abs(helpers.host(values)).max() <= 0.1
    assert helpers.host(layer.weight).std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


def test_errors_name_the_argument() -> None:
    x, weight = minidl.zeros(2, 3), minidl.zeros(4, 3)
    for match, call in {
        "input|weight": lambda: F.linear(minidl.zeros(2, 4), weight),
        "weight": lambda: F.linear(x, minidl.zeros(3)),
        "bias": lambda: F.linear(x, weight, minidl.zeros(3)),
        "dtype|float64": lambda: F.linear(x, weight.double()),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


def test_same_as_pytorch() -> None:
    torch = pytest.importorskip("torch")
    arrays = [helpers.values(s, i) for i, s in enumerate([(2, 3, 4), (5, 4), (5,)])]
    ours, theirs = (
        [helpers.leaf(a) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    out, expected = F.linear(*ours), torch.nn.functional.linear(*theirs)
    helpers.assert_close(out, expected.detach().numpy(), 4)
    out.sum().backward()
    expected.sum().backward()
    for mine, right in zip(ours, theirs, strict=True):
        helpers.assert_close(mine.grad, right.grad.numpy(), 6)


# --- The kernels ----------------------------------------------------------------------------------


def test_gpu_launches_and_products(gpu: str, simulator: Any) -> None:
    leaves = [
        helpers.leaf(helpers.values(shape, i, np.float32), gpu)
        for i, shape in enumerate([(7, 30), (50, 30), (50,)])
    ]
    F.linear(*leaves).sum().backward()  # compiles
    for leaf in leaves:
        leaf.grad = None
    with simulator.count() as forward:
        out = F.linear(*leaves)
    grad = minidl.ones(7, 50, device=gpu)
    with simulator.count() as backward:
        out.backward(grad)
    assert (dict(forward.kernels), len(forward.cublas_calls)) == ({"add_bias": 1}, 1)
    assert (dict(backward.kernels), len(backward.cublas_calls)) == ({"sum_rows": 1}, 2)
    for used in (forward, backward):
        assert (used.syncs, used.h2d, used.d2h, used.d2d) == (0, 0, 0, 0)
    with simulator.count() as without_bias:
        F.linear(*leaves[:2])
    assert (without_bias.launches, len(without_bias.cublas_calls)) == (0, 1)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 300])
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 100])
def test_the_bias_gradient_adds_up_rows(rows: int, columns: int, device: str) -> None:
    x, weight = (helpers.values((n, 2), n, np.float32) for n in (rows, columns))
    check(x, weight, helpers.values((columns,), 2, np.float32), device)
