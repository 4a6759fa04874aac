"""Embedding against explicit loops."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import operation
import pytest
from operation import Case

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError


def loops(index: Any, weight: Any, **options: Any) -> Any:
    out = np.zeros((*index.shape, weight.shape[1]), weight.dtype)
    for where in np.ndindex(*index.shape):
        out[where] = weight[index[where]]
    return out


def loops_backward(
    grad: Any,
    index: Any,
    weight: Any,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
) -> Any:
    dweight = np.zeros(weight.shape)
    for where in np.ndindex(*index.shape):
        row = index[where]
        if padding_idx is None or row != padding_idx % len(weight):
            dweight[row] += grad[where] / ((index == row).sum() if scale_grad_by_freq else 1)
    return dweight


WORDS = np.array([[1, 4, 4, 0], [2, 1, 4, 1], [0, 0, 2, 5]])

TestEmbedding = operation.standard_tests(
    F.embedding,
    loops,
    [Case(WORDS, (6, 3)), Case(WORDS[0], (7, 2)), Case(np.array(3), (5, 4))],
    loops_backward=loops_backward,
    torch="embedding",
)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"padding_idx": 4},
        {"padding_idx": -2},
        {"scale_grad_by_freq": True},
        {"padding_idx": 0, "scale_grad_by_freq": True},
    ],
    ids=str,
)
def test_gradients_that_are_changed(options: dict[str, Any], dtype: Any, device: str) -> None:
    table = helpers.values((6, 3), 0, dtype)
    weight = helpers.leaf(table, device)
    out = F.embedding(minidl.tensor(WORDS, device=device), weight, **options)
    np.testing.assert_array_equal(helpers.host(out), table[WORDS])
    grad = helpers.values(tuple(out.shape), 1, dtype)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(weight.grad, loops_backward(grad, WORDS, table, **options), 12)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
def test_max_norm_shortens_the_rows_that_are_read(norm_type: float, device: str) -> None:
    table = helpers.values((6, 3), 0) * 2
    weight = helpers.leaf(table.copy(), device)
    out = F.embedding(minidl.tensor(WORDS, device=device), weight, None, 1.0, norm_type)
    expected = table.copy()
    for row in set(WORDS.reshape(-1)):
        norm = np.linalg.norm(table[row], norm_type)
        if norm > 1:
            expected[row] /= norm + 1e-7
    assert (expected != table).any() and (expected[3] == table[3]).all()
    helpers.assert_close(weight, expected, 4)
    helpers.assert_close(out, expected[WORDS], 4)


def test_module(device: str) -> None:
    layer = nn.Embedding(6, 3, padding_idx=-6).to(device)
    assert list(layer.state_dict()) == ["weight"] and layer.padding_idx == 0
    assert layer.weight[0].tolist() == [0, 0, 0] and (helpers.host(layer.weight)[1:] != 0).all()
    words = minidl.tensor(WORDS, device=device)
    layer(words).sum().backward()
    counts = np.bincount(WORDS.reshape(-1), minlength=6)
    counts[0] = 0
    np.testing.assert_array_equal(helpers.host(layer.weight.grad), np.outer(counts, [1, 1, 1]))
    assert repr(layer) == "Embedding(6, 3, padding_idx=0)"


def test_weights_are_drawn_from_the_standard_normal_distribution() -> None:
    weight = nn.Embedding(200, 100).weight.numpy(force=True)
    # Of 20,000 numbers: six standard deviations of the mean and of the standard deviation.
    assert abs(weight.mean()) < 6 / np.sqrt(2e4) and abs(weight.std() - 1) < 6 / np.sqrt(4e4)


def test_pretrained(device: str) -> None:
    table = minidl.tensor(helpers.values((5, 2), 0), device=device)
    layer = nn.Embedding.from_pretrained(table, padding_idx=1)
    assert not layer.weight.requires_grad and layer.num_embeddings == 5 and layer.padding_idx == 1
    assert layer(minidl.tensor([3, 1], device=device)).tolist() == table[[3, 1]].tolist()
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


def test_errors_name_the_argument(device: str) -> None:
    table, words = minidl.ones(3, 2, device=device), minidl.tensor([0, 1], device=device)
    for match, call in {
        "integers": lambda: F.embedding(table, table),
        "weight": lambda: F.embedding(words, table[0]),
        "padding_idx": lambda: F.embedding(words, table, padding_idx=3),
        "sparse": lambda: F.embedding(words, table, sparse=True),
        "Embedding: padding_idx": lambda: nn.Embedding(3, 2, padding_idx=-4),
        "embeddings": lambda: nn.Embedding.from_pretrained(table[0]),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()
    for bad in (3, -1):
        with pytest.raises(IndexError, match=r"0 \.\.\. 2"):
            F.embedding(minidl.tensor([0, bad], device=device), table)


@pytest.mark.parametrize(
    "options",
    [{"padding_idx": 4}, {"scale_grad_by_freq": True}, {"max_norm": 0.5, "norm_type": 1.0}],
    ids=str,
)
def test_same_as_pytorch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    table, grad = helpers.values((6, 3), 0), helpers.values((3, 4, 3), 1)
    ours, theirs = helpers.leaf(table.copy()), torch.tensor(table, requires_grad=True)
    out = F.embedding(minidl.tensor(WORDS), ours, **options)
    right = torch.nn.functional.embedding(torch.tensor(WORDS), theirs, **options)
    out.backward(minidl.tensor(grad))
    right.backward(torch.tensor(grad))
    helpers.assert_close(out, right.detach().numpy(), 4)
    helpers.assert_close(ours, theirs.detach().numpy(), 4)
    helpers.assert_close(ours.grad, theirs.grad.numpy(), 12)
