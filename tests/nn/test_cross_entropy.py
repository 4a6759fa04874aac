"""Cross-entropy against loops: weights, ignored labels, smoothing, reductions, probabilities."""

from __future__ import annotations

import math
from contextlib import nullcontext
from itertools import product
from typing import Any

import helpers
import losses
import numpy as np
import pytest
import reference
from losses import REDUCTIONS, class_weight, labels, probabilities

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import ArgumentError, MinidlError

SHAPES = [(4, 5), (3, 4, 2), (2, 3, 2, 2), (5,), (1, 3), (4, 1)]


def check(x: Any, target: Any, weight: Any, device: str, **options: Any) -> None:
    """Compare with the loops, by the kernel and by the plain code."""
    expected, right = reference.cross_entropy(x, target, weight, **options)
    floating = target.dtype.kind == "f"
    target = minidl.tensor(target.astype(x.dtype) if floating else target, device=device)
    if weight is not None:
        weight = minidl.tensor(weight.astype(x.dtype), device=device)
    terms = 4 * max(x.size, 1)
    for way in (nullcontext(), minidl.reference()):
        leaf = helpers.leaf(x, device)
        with way:
            loss = F.cross_entropy(leaf, target, weight, **options)
            loss.sum().backward()
        assert loss.dtype == x.dtype and loss.shape == np.shape(expected)
        helpers.assert_close(loss, expected, terms, scale=4)
        helpers.assert_close(leaf.grad, right, terms, scale=4)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy(shape: tuple[int, ...], dtype: Any, device: str) -> None:
    x = helpers.values(shape, 1, dtype) * dtype.type(4)
    for reduction, smoothing, weighted, target in product(
        REDUCTIONS, [0.0, 0.1, 1.0], [False, True], [labels(shape), probabilities(shape)]
    ):
        weight = class_weight(shape) if weighted else None
        check(x, target, weight, device, reduction=reduction, label_smoothing=smoothing)


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_layouts(layout: str, dtype: Any, device: str) -> None:
    shape = (3, 4, 2, 3)
    x = helpers.LAYOUTS[layout](helpers.values(shape, 1, dtype))
    check(x, labels(shape), class_weight(shape), device, label_smoothing=0.1)
    check(x, probabilities(shape), class_weight(shape), device)
    two = helpers.LAYOUTS[layout](helpers.values((6, 5), 1, dtype))
    check(two, labels((6, 5)), None, device)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [-100, 2, 255])
def test_ignored_labels(ignored: int, smoothing: float, reduction: str, device: str) -> None:
    for shape in [(6, 4), (3, 4, 2)]:
        target = labels(shape)
        target[1] = ignored
        x = helpers.values(shape, 1)
        for weight in (None, class_weight(shape)):
            check(
                x, target, weight, device, ignore_index=ignored, reduction=reduction,
                label_smoothing=smoothing,
            )  # fmt: skip


def test_ignored_labels_do_not_count_in_the_mean(device: str) -> None:
    x = minidl.tensor(helpers.values((4, 3), 0), device=device)
    some = F.cross_entropy(x, minidl.tensor([0, -100, 2, -100], device=device))
    alone = F.cross_entropy(x[0:3:2], minidl.tensor([0, 2], device=device))
    np.testing.assert_allclose(some.item(), alone.item(), rtol=1e-14)


def test_labels_may_change_after_the_forward() -> None:
    gradients = []
    for change in (False, True):
        x = helpers.leaf(helpers.values((3, 4), 0))
        target = np.array([1, 0, 3])
        result = F.cross_entropy(x, minidl.from_numpy(target))
        if change:  # as of a buffer that is filled with the next batch
            target[:] = 2
        result.backward()
        gradients.append(helpers.host(x.grad))
    np.testing.assert_array_equal(*gradients)


def test_all_labels_ignored_is_nan_as_in_pytorch(device: str) -> None:
    x, target = minidl.zeros(2, 3, device=device), minidl.tensor([-100, -100], device=device)
    with np.errstate(invalid="ignore"):
        assert math.isnan(F.cross_entropy(x, target).item())
    assert F.cross_entropy(x, target, reduction="sum").item() == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_gradcheck(kind: str, reduction: str, smoothing: float, device: str) -> None:
    shape = (4, 3, 2)
    x = helpers.leaf(helpers.values(shape, 1), device)
    target = minidl.tensor({"labels": labels, "probabilities": probabilities}[kind](shape))
    weight = minidl.tensor(class_weight(shape), device=device)
    assert minidl.gradcheck(
        lambda x: F.cross_entropy(
            x, target.to(device), weight, reduction=reduction, label_smoothing=smoothing
        ),
        (x,),
        atol=1e-8,
        rtol=1e-6,
    )


@pytest.mark.parametrize("way", ["kernel", "plain"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradcheck_of_class_probabilities(
    smoothing: float, reduction: str, way: str, device: str
) -> None:
    for shape in [(4, 3, 2), (3,)]:
        leaves = [helpers.leaf(a, device) for a in (helpers.values(shape, 1), probabilities(shape))]
        weight = minidl.tensor(class_weight(shape), device=device)
        with minidl.reference() if way == "plain" else nullcontext():
            assert minidl.gradcheck(
                lambda x, target, weight=weight: F.cross_entropy(
                    x, target, weight, reduction=reduction, label_smoothing=smoothing
                ),
                leaves,
            )


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 2), (5,)], ids=str)
def test_float16_runs_the_plain_code(shape: tuple[int, ...], device: str) -> None:
    x = helpers.values(shape, 1, np.float16)
    for target in (labels(shape), probabilities(shape)):
        check(x, target, class_weight(shape), device, label_smoothing=0.1)


def test_gradient_is_probability_minus_truth_over_n(device: str) -> None:
    x = helpers.values((8, 5), 0)
    target = labels((8, 5))
    leaf = helpers.leaf(x, device)
    F.cross_entropy(leaf, minidl.tensor(target, device=device)).backward()
    right = (reference.softmax(x, 1) - np.eye(5)[target]) / 8
    helpers.assert_close(leaf.grad, right, 5)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_initial_loss_is_the_logarithm_of_the_number_of_classes(classes: int) -> None:
    loss = F.cross_entropy(minidl.zeros(4, classes), minidl.tensor([0, 1, 1, 0]))
    assert loss.item() == pytest.approx(math.log(classes), rel=1e-6)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_logits_of_a_thousand(dtype: Any, device: str) -> None:
    x = helpers.leaf(np.array([[1000.0, -1000.0], [-1000.0, 1000.0]], dtype), device)
    loss = F.cross_entropy(x, minidl.tensor([0, 0], device=device), reduction="none")
    assert loss.tolist() == [0, 2000]
    loss.sum().backward()
    assert x.grad.tolist() == [[0, 0], [-1, 1]]


def test_empty_batch(device: str) -> None:
    x = helpers.leaf(np.zeros((0, 3)), device)
    loss = F.cross_entropy(x, minidl.tensor(np.zeros(0, np.int64), device=device), reduction="sum")
    loss.backward()
    assert loss.item() == 0 and x.grad.shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int16])
def test_labels_of_any_integer_dtype(dtype: Any) -> None:
    x = minidl.tensor(helpers.values((4, 3), 0))
    target = labels((4, 3))
    first = F.cross_entropy(x, minidl.tensor(target.astype(dtype)))
    assert first.item() == F.cross_entropy(x, minidl.tensor(target)).item()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("make", [labels, probabilities])
def test_weights_of_another_dtype_do_not_change_the_loss_dtype(make: Any, smoothing: float) -> None:
    """PyTorch refuses them; computing on in the input's dtype is as good."""
    x = minidl.tensor(helpers.values((4, 3), 0, np.float32))
    weight = minidl.tensor(class_weight((4, 3)))
    try:
        loss = F.cross_entropy(x, minidl.tensor(make((4, 3))), weight, label_smoothing=smoothing)
    except MinidlError as error:
        assert "weight" in str(error) or "target" in str(error)
    else:
        assert loss.dtype == np.float32


def test_modules_are_the_function(device: str) -> None:
    x = minidl.tensor(helpers.values((4, 3), 0), device=device)
    target = minidl.tensor(labels((4, 3)), device=device)
    assert nn.CrossEntropyLoss()(x, target).item() == F.cross_entropy(x, target).item()
    options: dict[str, Any] = {"ignore_index": 1, "reduction": "sum", "label_smoothing": 0.1}
    weight = minidl.tensor(class_weight((4, 3)), device=device)
    loss = F.cross_entropy(x, target, weight, **options)
    assert nn.CrossEntropyLoss(weight, **options)(x, target).item() == loss.item()


def test_one_hot() -> None:
    out = F.one_hot(minidl.tensor([[2, 0]]))
    assert out.tolist() == [[[0, 0, 1], [1, 0, 0]]] and out.dtype == np.int64
    assert F.one_hot(minidl.tensor([1]), 4).tolist() == [[0, 1, 0, 0]]
    with pytest.raises(MinidlError, match="num_classes|3"):
        F.one_hot(minidl.tensor([3]), 3)


def test_errors_name_the_argument() -> None:
    x, target = minidl.zeros(4, 3), minidl.tensor([0, 1, 2, 0])
    for match, call in {
        "target": lambda: F.cross_entropy(x, minidl.tensor([0, 1])),
        "target|3": lambda: F.cross_entropy(x, minidl.tensor([0, 1, 3, 0])),
        "target|-1": lambda: F.cross_entropy(x, minidl.tensor([0, 1, -1, 0])),
        "weight": lambda: F.cross_entropy(x, target, minidl.ones(2)),
        "reduction": lambda: F.cross_entropy(x, target, reduction="average"),
        "label_smoothing": lambda: F.cross_entropy(x, target, label_smoothing=1.5),
        "input": lambda: F.cross_entropy(minidl.tensor(1.0), minidl.tensor(0)),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


def test_the_plain_code_refuses_classes_that_do_not_exist(device: str) -> None:
    x, target = minidl.zeros(2, 3, device=device), minidl.tensor([0, 3], device=device)
    with minidl.reference():
        for function in (F.cross_entropy, F.nll_loss):
            with pytest.raises(ArgumentError, match="class 3"):
                function(x, target)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_same_as_pytorch(kind: str, smoothing: float, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    for shape in [(4, 5), (2, 3, 2, 2), (5,)]:
        x = helpers.values(shape, 1) * 4
        target = {"labels": labels, "probabilities": probabilities}[kind](shape)
        if kind == "labels" and target.ndim:
            target[0] = -100
        for weight in (None, class_weight(shape)):
            ours, theirs = helpers.leaf(x), torch.tensor(x, requires_grad=True)
            options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
            mine = None if weight is None else minidl.tensor(weight)
            their = None if weight is None else torch.tensor(weight)
            out = F.cross_entropy(ours, minidl.tensor(target), mine, **options)
            expected = torch.nn.functional.cross_entropy(
                theirs, torch.tensor(target), their, **options
            )
            helpers.assert_close(out, expected.detach().numpy(), 40)
            out.sum().backward()
            expected.sum().backward()
            helpers.assert_close(ours.grad, theirs.grad.numpy(), 40)


# --- The kernels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(6, 1000), (3, 4, 2, 2)], ids=str)
def test_gpu_launches(
    shape: tuple[int, ...], smoothing: float, reduction: str, gpu: str, simulator: Any
) -> None:
    x = helpers.leaf(helpers.values(shape, 0, np.float32), gpu)
    weight = minidl.tensor(class_weight(shape).astype(np.float32), device=gpu)
    target = minidl.tensor(labels(shape), device=gpu)
    chances = helpers.leaf(np.ascontiguousarray(probabilities(shape), np.float32), gpu)
    add_up = {} if reduction == "none" else {"add_up": 1}
    for leaves, wanted in (((x,), target), ((x, chances), chances)):
        found = losses.launches(
            simulator,
            leaves,
            lambda wanted=wanted: F.cross_entropy(
                x, wanted, weight, label_smoothing=smoothing, reduction=reduction
            ),
        )
        assert found == [{"cross_entropy_forward": 1, **add_up}, {"cross_entropy_backward": 1}]


@pytest.mark.parametrize("wrong", [-1, 3, 1 << 40])
def test_gpu_a_class_that_does_not_exist_gives_nan(wrong: int, gpu: str) -> None:
    """An error would have to wait for the GPU."""
    x = helpers.leaf(helpers.values((3, 3), 0, np.float32), gpu)
    target = minidl.tensor([0, wrong, 2], device=gpu)
    weight = minidl.ones(3, device=gpu)
    for class_weights in (None, weight):
        losses = F.cross_entropy(x, target, class_weights, reduction="none").tolist()
        assert [math.isnan(loss) for loss in losses] == [False, True, False]
        assert math.isnan(F.cross_entropy(x, target, class_weights).item())


@pytest.mark.parametrize("count", [1, 255, 256, 257, 5000])
def test_the_mean_of_many_rows(count: int, device: str) -> None:
    x = helpers.values((count, 3), 0, np.float32)
    check(x, labels((count, 3)), class_weight((count, 3)), device)


def test_labels_of_any_integer_type(device: str) -> None:
    x = minidl.tensor(helpers.values((3, 4), 0), device=device)
    target = np.array([0, 3, 2])
    right = F.cross_entropy(x, minidl.tensor(target, device=device)).item()
    for dtype in (np.int32, np.uint8, np.int16):
        own = minidl.tensor(target.astype(dtype), device=device)
        assert F.cross_entropy(x, own).item() == right


def test_infinite_and_nan_logits(device: str) -> None:
    rows = [[0, -np.inf, 1], [np.inf, 0, 0], [np.nan, 0, 0], [-np.inf] * 3]
    x = helpers.leaf(np.array(rows, np.float32), device)
    target = minidl.tensor([0, 1, 2, 0], device=device)
    losses = F.cross_entropy(x, target, reduction="none")
    assert losses.tolist()[0] == pytest.approx(math.log(1 + math.e), rel=1e-6)
    assert all(math.isnan(loss) for loss in losses.tolist()[1:])
    losses.sum().backward()
    gradient = helpers.host(x.grad)
    np.testing.assert_allclose(gradient[0], [1 / (1 + math.e) - 1, 0, math.e / (1 + math.e)], 1e-6)
    assert np.isnan(gradient[1:]).all()


def test_what_does_not_count_may_be_impossible(device: str) -> None:
    x = helpers.leaf(np.array([[-np.inf, 0, 0], [-1, -2, -3]], np.float32), device)
    value = F.cross_entropy(x, minidl.tensor([-100, 1], device=device))
    value.backward()
    alone = F.cross_entropy(x[1:], minidl.tensor([1], device=device)).item()
    assert value.item() == pytest.approx(alone, rel=1e-6)
    assert helpers.host(x.grad)[0].tolist() == [0, 0, 0]
