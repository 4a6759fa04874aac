"""Accuracy, against a plain loop and PyTorch; running means; scores over a whole data set."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.errors import ArgumentError, ShapeError
from minidl.vision.metrics import accuracy, class_scores, evaluate


def by_loop(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Sort each row by decreasing score, then by index, and look for the label in the first k."""
    hits = 0
    for row, label in zip(scores, labels, strict=True):
        order = sorted(range(len(row)), key=lambda index: (-row[index], index))
        hits += label in order[:k]
    return 100 * hits / len(scores)


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 9), classes=st.integers(1, 7))
def test_against_a_loop_with_many_ties(device: str, seed: int, rows: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (rows, classes)).astype(np.float32)
    labels = rng.integers(0, classes, rows)
    topk = tuple(range(1, classes + 1))
    results = accuracy(
        minidl.tensor(scores, device=device), minidl.tensor(labels, device=device), topk
    )
    expected = [by_loop(scores, labels, k) for k in topk]
    # One product of float32 numbers up to 100.
    np.testing.assert_allclose(
        [r.item() for r in results], expected, rtol=4 * float(np.finfo(np.float32).eps)
    )
    assert results[-1].dtype == np.float32
    assert tuple(results[-1].shape) == ()


def test_against_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((37, 20)).astype(np.float32), rng.integers(0, 20, 37)
    best = torch.tensor(scores).topk(5, 1).indices
    correct = best == torch.tensor(labels)[:, None]
    ours = accuracy(minidl.tensor(scores), minidl.tensor(labels), topk=(1, 5))
    for k, result in zip((1, 5), ours, strict=True):
        theirs = correct[:, :k].sum().item() * 100 / 37
        assert result.item() == pytest.approx(theirs, rel=4 * float(np.finfo(np.float32).eps))


def test_the_default_is_top_1_of_the_tensors_device(device: str) -> None:
    (top1,) = accuracy(minidl.tensor([[0.0, 1.0]]).to(device), minidl.tensor([1]).to(device))
    assert top1.item() == 100.0
    assert str(top1.device) == str(minidl.device(device))


def test_constant_scores_are_not_correct_by_chance() -> None:
    zeros = minidl.tensor(np.zeros((10, 10), np.float32))
    top1, top5 = accuracy(zeros, minidl.tensor(np.arange(10)), topk=(1, 5))
    assert (top1.item(), top5.item()) == (10.0, 50.0)


def test_nan_and_targets_outside_the_classes_are_wrong(device: str) -> None:
    scores = np.array([[np.nan, 1.0], [0.0, np.nan], [0.0, 1.0], [0.0, 1.0]], np.float32)
    labels = np.array([1, 1, -100, 2])
    results = accuracy(
        minidl.tensor(scores, device=device), minidl.tensor(labels, device=device), topk=(1, 2)
    )
    assert [r.item() for r in results] == [0.0, 0.0]


def test_mixed_labels_count_their_largest_class(device: str) -> None:
    scores = minidl.tensor([[0.1, 0.9], [0.8, 0.2]], device=device)
    mixed = minidl.tensor([[0.3, 0.7], [0.4, 0.6]], device=device)
    assert accuracy(scores, mixed)[0].item() == 50.0


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64"])
def test_scores_and_labels_of_any_type_and_order_of_memory(device: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(-9, 9, (1000, 70)).astype(dtype)  # in memory, a class is a row
    labels = rng.integers(0, 1000, 70).astype(np.int32)
    found = accuracy(minidl.tensor(scores, device=device).T, minidl.tensor(labels, device=device),
                     (1, 100, 1000))  # fmt: skip
    for k, result in zip((1, 100, 1000), found, strict=True):
        assert result.item() == pytest.approx(by_loop(scores.T, labels, k), rel=1e-6)


def test_accuracy_is_two_launches_and_no_wait(simulator: ModuleType, gpu: str) -> None:
    scores, labels = minidl.zeros(40, 30, device=gpu), minidl.arange(40).to(gpu)
    with simulator.count() as used:
        accuracy(scores, labels, (1,))
    assert dict(used.kernels) == {"ranks": 1, "percent": 1}
    assert used.h2d == used.d2h == used.d2d == used.syncs == 0


def test_wrong_shapes_and_k() -> None:
    scores = minidl.tensor(np.zeros((4, 3), np.float32))
    for wrong in (np.zeros(3, np.int64), np.zeros((4, 2), np.int64)):
        with pytest.raises(ShapeError, match="target"):
            accuracy(scores, minidl.tensor(wrong))
    with pytest.raises(ShapeError, match="output"):
        accuracy(minidl.tensor(np.zeros((0, 3), np.float32)), minidl.tensor(np.zeros(0, np.int64)))
    for k in (0, 4):
        with pytest.raises(ArgumentError, match="topk"):
            accuracy(scores, minidl.tensor([0, 1, 2, 0]), topk=(k,))


def test_evaluate_weighs_batches_by_their_size(device: str) -> None:
    logits = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    batches = [
        (minidl.tensor(logits[part], device=device), minidl.tensor(labels[part], device=device))
        for part in (slice(0, 5), slice(5, 7))
    ]
    found = evaluate(minidl.nn.Identity(), batches, topk=(1, 5))
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    loss = (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(7), labels]).mean()
    assert found["loss"] == pytest.approx(loss, rel=1e-6)
    assert found["top1"] == pytest.approx((logits.argmax(axis=1) == labels).mean() * 100, rel=1e-6)
    assert found["top5"] == pytest.approx(100, rel=1e-6)  # there are only three classes
    with pytest.raises(ArgumentError, match="no batches"):
        evaluate(minidl.nn.Identity(), [])


def test_evaluate_averages_the_probabilities_of_views(device: str) -> None:
    # One view is sure of class 0, two are almost sure of class 1: averaged logits would say 0.
    logits = np.log(np.array([[0.9998, 0.0002], [0.1, 0.9], [0.1, 0.9]], dtype=np.float32))
    assert logits.mean(axis=0).argmax() == 0
    images = minidl.tensor(logits.reshape(1, 3, 2, 1, 1), device=device)
    labels = minidl.tensor([1], device=device)
    found = evaluate(minidl.nn.Flatten(), [(images, labels)], topk=(1,))
    assert found["top1"] == 100
    assert found["loss"] == pytest.approx(-np.log((0.0002 + 0.9 + 0.9) / 3), rel=1e-5)


def test_ten_crops_as_the_original_program_scores_them(device: str) -> None:
    """Compare with softmax of each view, their mean, its log-loss and its ranks, in float64."""
    logits = np.random.default_rng(1).standard_normal((6, 10, 8)).astype(np.float32) * 3
    labels = np.arange(6)
    powers = np.exp(logits.astype(np.float64))
    averaged = (powers / powers.sum(axis=2, keepdims=True)).mean(axis=1)  # (6, 8)
    batches = [
        (minidl.tensor(logits[part], device=device)[..., None, None],
         minidl.tensor(labels[part], device=device))
        for part in (slice(0, 4), slice(4, 6))
    ]  # fmt: skip
    found = evaluate(minidl.nn.Flatten(), batches)
    assert found["loss"] == pytest.approx(-np.log(averaged[np.arange(6), labels]).mean(), rel=1e-6)
    for k in (1, 5):
        assert found[f"top{k}"] == pytest.approx(by_loop(averaged, labels, k), rel=1e-6)
    scores = class_scores(minidl.nn.Flatten(), batches[0][0]).cpu().numpy()
    np.testing.assert_allclose(np.exp(scores), averaged[:4], rtol=1e-5)


def test_nearly_equal_logits_are_no_tie(device: str) -> None:
    # In float32 both log-probabilities are -20, and the smaller index would come first.
    logits = minidl.tensor([[0.0, 1e-9, 20.0]], device=device)
    labels = minidl.tensor([1], device=device)
    found = evaluate(minidl.nn.Identity(), [(logits, labels)], topk=(1, 2))
    assert (found["top1"], found["top2"]) == (0.0, 100.0)
    assert found["loss"] == pytest.approx(20.0, rel=1e-6)


def test_ties_go_to_the_smaller_index_for_one_view_and_for_ten(device: str) -> None:
    labels = minidl.tensor([0, 1, 2, 3, 4, 5], device=device)
    for shape in ((6, 6), (6, 10, 6, 1, 1)):
        scores = minidl.zeros(*shape, device=device)
        model = minidl.nn.Flatten() if len(shape) == 5 else minidl.nn.Identity()
        found = evaluate(model, [(scores, labels)])
        assert found["top1"] == pytest.approx(100 / 6) and found["top5"] == pytest.approx(500 / 6)
        assert found["loss"] == pytest.approx(np.log(6), rel=1e-6)


def test_evaluate_restores_the_mode() -> None:
    net = minidl.nn.Sequential(minidl.nn.Dropout(0.5), minidl.nn.Flatten())
    net[1].eval()  # a frozen part stays so
    batch = minidl.ones(2, 4), minidl.tensor([0, 1])
    first, second = (evaluate(net, [batch], topk=(1,)) for _ in range(2))
    assert first == second and net.training and net[0].training and not net[1].training
