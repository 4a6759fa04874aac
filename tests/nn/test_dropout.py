"""Dropout in both forms: rates, scale, one mask for both passes, seeds, modes."""

from __future__ import annotations

from contextlib import nullcontext
from types import ModuleType
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

# Function, and what a kept element is multiplied by in training, and every element in eval.
FORMS: dict[str, tuple[Any, Any, Any]] = {
    "inverted": (F.dropout, lambda p: 1 / (1 - p), lambda p: 1.0),
    "plain": (F.plain_dropout, lambda p: 1.0, lambda p: 1 - p),
}
forms = pytest.mark.parametrize("form", FORMS)


@forms
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_mask_scale_and_gradient(p: float, layout: str, dtype: Any, form: str, device: str) -> None:
    dropout, training_scale, _ = FORMS[form]
    x = helpers.LAYOUTS[layout](helpers.values((4, 5, 6, 3), 0, dtype))
    leaf = helpers.leaf(x, device)
    out = dropout(leaf, p, True)
    assert out.dtype == dtype
    kept = helpers.host(out) != 0  # no element of x is 0
    assert 0 < kept.mean() < 1
    helpers.assert_close(out, np.where(kept, x.astype(float) * training_scale(p), 0), 2)
    # The same mask, not a new one, in the backward pass.
    grad = helpers.values(x.shape, 1, dtype)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(leaf.grad, np.where(kept, grad.astype(float) * training_scale(p), 0), 2)


@forms
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate(p: float, form: str, device: str) -> None:
    out = helpers.host(FORMS[form][0](minidl.ones(200, 500, device=device), p, True))
    # The number kept is binomial: six standard deviations of its mean.
    assert abs((out != 0).mean() - (1 - p)) < 6 * np.sqrt(p * (1 - p) / 1e5)
    # No row, column or position has a rate of its own.
    assert np.abs((out != 0).mean(0) - (1 - p)).max() < 6 * np.sqrt(p * (1 - p) / 200)
    assert np.abs((out != 0).mean(1) - (1 - p)).max() < 6 * np.sqrt(p * (1 - p) / 500)


@forms
def test_large_array_has_one_mask_in_both_passes(form: str, device: str) -> None:
    x = helpers.leaf(np.ones((37, 4096), np.float32), device)
    out = FORMS[form][0](x, 0.5, True)
    out.sum().backward()
    np.testing.assert_array_equal(helpers.host(x.grad), helpers.host(out))


@forms
def test_a_large_mask_does_not_repeat(form: str, device: str) -> None:
    """Pieces of a large array are drawn apart from each other, each from its own numbers."""
    out = helpers.host(FORMS[form][0](minidl.ones(16, 1 << 15, device=device), 0.5, True)) != 0
    for i in range(16):
        for j in range(i):
            # Independent rows agree in half their places: six standard deviations.
            assert abs((out[i] == out[j]).mean() - 0.5) < 6 * 0.5 / np.sqrt(1 << 15)


def test_mean_is_preserved_in_training_or_halved_in_eval(device: str) -> None:
    x = minidl.ones(300, 300, device=device)
    assert F.dropout(x, 0.5, True).mean().item() == pytest.approx(1.0, abs=0.02)
    assert F.dropout(x, 0.5, False).mean().item() == 1.0
    assert F.plain_dropout(x, 0.5, True).mean().item() == pytest.approx(0.5, abs=0.01)
    assert F.plain_dropout(x, 0.5, False).mean().item() == 0.5


@forms
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_eval_is_deterministic(p: float, form: str, device: str) -> None:
    dropout, _, eval_scale = FORMS[form]
    x = helpers.values((3, 4), 0)
    out = dropout(minidl.tensor(x, device=device), p, False)
    helpers.assert_close(out, x * eval_scale(p), 1)
    assert minidl.gradcheck(lambda x: dropout(x, p, False), (helpers.leaf(x, device),))


@forms
def test_p_of_0_and_1(form: str, device: str) -> None:
    dropout = FORMS[form][0]
    x = helpers.values((3, 4), 0)
    leaf = helpers.leaf(x, device)
    np.testing.assert_array_equal(helpers.host(dropout(leaf, 0.0, True)), x)
    out = dropout(leaf, 1.0, True)
    np.testing.assert_array_equal(helpers.host(out), 0)
    out.sum().backward()
    np.testing.assert_array_equal(helpers.host(leaf.grad), 0)


@forms
def test_seed_decides_the_mask(form: str, device: str) -> None:
    dropout = FORMS[form][0]
    x = minidl.ones(10, 20, device=device)

    def drawn(seed: int) -> list[Any]:
        minidl.manual_seed(seed)
        return [dropout(x, 0.5, True).tolist() for _ in range(2)]

    first, again, other = drawn(3), drawn(3), drawn(4)
    assert first == again
    assert first[0] != first[1], "each call draws a mask of its own"
    assert first != other


@forms
def test_random_state_can_be_restored(form: str) -> None:
    dropout, x = FORMS[form][0], minidl.ones(10, 20)
    state = minidl.get_rng_state()
    first = dropout(x, 0.5, True).tolist()
    minidl.set_rng_state(state)
    assert dropout(x, 0.5, True).tolist() == first


@forms
def test_mask_does_not_depend_on_the_number_of_threads(form: str, threads: None) -> None:
    masks = []
    for count in (1, 2, 3):
        minidl.set_num_threads(count)
        minidl.manual_seed(1)
        masks.append(helpers.host(FORMS[form][0](minidl.ones(64, 4096), 0.5, True)))
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])


@forms
@pytest.mark.parametrize("shape", [(0, 3), (), (1,)], ids=str)
def test_gradcheck_with_the_seed_inside(form: str, shape: tuple[int, ...], device: str) -> None:
    for size in (shape, (6, 7)):
        x = helpers.leaf(helpers.values(size, 0), device)
        assert minidl.gradcheck(
            lambda x: (minidl.manual_seed(0), FORMS[form][0](x, 0.5, True))[1], (x,)
        )


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.Dropout, F.dropout),
        (nn.PlainDropout, F.plain_dropout),
        (nn.Dropout2d, F.dropout2d),
    ],
)
def test_module_follows_its_mode(module: Any, function: Any) -> None:
    layer, x = module(0.3), minidl.tensor(helpers.values((8, 9, 2, 2), 0))
    for training in (True, False):
        layer.train(training)
        minidl.manual_seed(5)
        out = layer(x)
        minidl.manual_seed(5)
        assert out.tolist() == function(x, 0.3, training).tolist()
    assert not layer.state_dict()


def test_inplace_is_accepted() -> None:
    minidl.manual_seed(0)
    out = nn.Dropout(0.5, inplace=True)(minidl.ones(10))
    assert set(out.tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_errors_name_the_argument(p: float) -> None:
    for call in (
        lambda: F.dropout(minidl.ones(2), p),
        lambda: F.plain_dropout(minidl.ones(2), p),
        lambda: nn.Dropout(p),
        lambda: nn.PlainDropout(p),
        lambda: F.dropout2d(minidl.ones(2, 2, 2), p),
        lambda: nn.Dropout2d(p),
    ):
        with pytest.raises(MinidlError, match=r"\bp\b"):
            call()


# --- The plain code -------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("shape", [(), (0, 3), (9,), (3, 5, 4, 7), (5, 4099)], ids=str)
def test_plain_code_draws_the_kernels_mask(
    shape: tuple[int, ...], inplace: bool, dtype: Any, p: float, device: str
) -> None:
    x, results = helpers.values(shape, 0, dtype), []
    for plain in (False, True):
        minidl.manual_seed(5)
        leaf = helpers.leaf(x, device)
        with minidl.reference() if plain else nullcontext():
            out = F.dropout(leaf * 1, p, inplace=inplace)
            out.backward(minidl.tensor(x + x, device=device))
        results.append((helpers.host(out), helpers.host(leaf.grad)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_mask_is_philox_word_by_word() -> None:
    minidl.manual_seed(5)
    out = F.dropout(minidl.ones(21), 0.3).numpy()
    minidl.manual_seed(5)
    numbers = np.random.Philox(key=minidl.random.default_generator.next_key())
    for i in range(0, 21, 2):
        word = int(numbers.random_raw())
        for half, kept in zip((word % 2**32, word >> 32), out[i : i + 2], strict=False):
            assert (half / 2**32 >= 0.3) == (kept != 0)


# --- Whole channels -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5, 3, 2), (4, 5, 3), (0, 5, 3, 2)], ids=str)
@pytest.mark.parametrize("dtype", [*helpers.DTYPES, np.dtype("float16")], ids=str)
@pytest.mark.parametrize("inplace", [False, True])
def test_whole_channels(shape: tuple[int, ...], dtype: Any, inplace: bool, device: str) -> None:
    x = helpers.values(shape, 0, dtype)
    leaf = helpers.leaf(x, device)
    out = F.dropout2d(leaf * 1, 0.25, inplace=inplace)
    out.backward(minidl.ones(*shape, dtype=str(dtype), device=device))
    assert out.dtype == leaf.grad.dtype == dtype
    factors = helpers.host(leaf.grad)  # what each element was multiplied by
    np.testing.assert_array_equal(helpers.host(out), x * factors)
    for channel in factors.reshape(-1, int(np.prod(shape[2:]))):
        assert len(set(channel)) == 1
    if len(x):
        assert set(factors.reshape(-1)) == {0, dtype.type(1 / 0.75)}


def test_rate_of_channels(device: str) -> None:
    out = helpers.host(F.dropout2d(minidl.ones(100, 100, 1, 1, device=device), 0.2))
    # The number kept is binomial: six standard deviations of its mean.
    assert abs((out != 0).mean() - 0.8) < 6 * np.sqrt(0.2 * 0.8 / 1e4)


def test_channels_in_eval_at_0_and_at_1(device: str) -> None:
    x = minidl.tensor(helpers.values((2, 3, 4, 4), 0), device=device)
    assert F.dropout2d(x, 0.5, training=False) is x and F.dropout2d(x, 0.0) is x
    np.testing.assert_array_equal(helpers.host(F.dropout2d(x, 1.0)), 0)


def test_gradcheck_of_channels(device: str) -> None:
    x = helpers.leaf(helpers.values((2, 3, 2, 2), 0), device)
    assert minidl.gradcheck(lambda x: (minidl.manual_seed(0), F.dropout2d(x))[1], (x,))


def test_errors_of_channels() -> None:
    with pytest.raises(MinidlError, match="input of shape"):
        F.dropout2d(minidl.ones(3, 4))
    with pytest.raises(MinidlError, match="leaf"):
        F.dropout2d(minidl.ones(1, 2, 3, 4, requires_grad=True), inplace=True)


# --- The kernel -----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [*helpers.DTYPES, np.dtype("float16")], ids=str)
@pytest.mark.parametrize(
    "shape", [(), (0, 3), (1,), (7,), (8,), (9,), (255,), (257,), (3, 5, 4, 7), (5, 4099)], ids=str
)
def test_gpu_draws_the_cpus_mask(shape: tuple[int, ...], dtype: Any, p: float, gpu: str) -> None:
    x = helpers.values(shape, 0, dtype)
    for layout in ("contiguous", "channel_major", "sliced") if x.ndim else ("contiguous",):
        results = []
        for device in ("cpu", gpu):
            minidl.manual_seed(5)
            leaf = helpers.leaf(helpers.LAYOUTS["sliced"](x) if layout == "sliced" else x, device)
            if device != "cpu" and layout == "channel_major" and x.ndim == 4:
                leaf = minidl.Tensor(channel_major(leaf.array)).requires_grad_()
            out = F.dropout(leaf, p)
            out.backward(minidl.tensor(x + x, device=device))
            results.append((helpers.host(out), helpers.host(leaf.grad)))
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_array_equal(theirs, ours)


def test_gpu_draws_without_the_host(gpu: str, simulator: ModuleType) -> None:
    x = minidl.ones(1000, device=gpu)
    with simulator.count() as used:
        F.dropout(x)
    assert used.h2d == used.d2h == used.syncs == 0


def channel_major(x: Any) -> Any:
    """The same images, (C, N, H, W) in memory."""
    xp = minidl.cuda.cupy()
    return xp.ascontiguousarray(x.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3)


def test_gpu_keeps_the_layout_of_images(gpu: str) -> None:
    x = minidl.Tensor(channel_major(minidl.ones(3, 5, 4, 7, device=gpu).array))
    x.requires_grad_()
    out = F.dropout(x)
    out.sum().backward()
    for array in (out.array, x.grad.array):
        assert array.transpose(1, 0, 2, 3).flags.c_contiguous


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_inplace_overwrites_any_layout(layout: str, device: str) -> None:
    x = helpers.LAYOUTS[layout](helpers.values((4, 5, 6, 3), 0, np.float32).copy())
    if layout == "expanded":
        return  # one number for all images can't be overwritten
    expected = helpers.host(F.dropout(helpers.leaf(x.copy(), requires_grad=False)))
    minidl.manual_seed(0)
    tensor = helpers.leaf(x, device, requires_grad=False)
    memory = tensor.array
    assert F.dropout(tensor, inplace=True) is tensor
    assert tensor.array is memory
    np.testing.assert_array_equal(helpers.host(tensor), expected)


def test_infinity_times_0_is_nan(device: str) -> None:
    x = minidl.full((100,), np.inf, device=device)
    out = helpers.host(F.dropout(x))
    assert set(np.where(np.isnan(out), -1, out)) == {-1, np.inf}


def test_gpu_one_launch_each_way_without_copies(gpu: str, simulator: Any) -> None:
    x = helpers.leaf(helpers.values((20, 300), 0, np.float32), gpu)
    F.dropout(x).sum().backward()  # compiles
    x.grad = None
    with simulator.count() as forward:
        out = F.dropout(x)
    grad = minidl.ones(20, 300, device=gpu)
    with simulator.count() as backward:
        out.backward(grad)
    assert dict(forward.kernels) == {"dropout_forward": 1}
    assert dict(backward.kernels) == {"dropout_backward": 1}
    for used in (forward, backward):
        assert (used.launches, used.syncs, used.h2d, used.d2h, used.d2d) == (1, 0, 0, 0, 0)
