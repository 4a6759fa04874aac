"""Errors are those that a program written for PyTorch catches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minidl
from minidl import nn
from minidl.errors import MinidlError
from minidl.nn import functional as F

x, images = minidl.ones(3, 4), minidl.ones(1, 2, 5, 5)
index = minidl.tensor([0, 1, 9])

#: PyTorch's exception, and calls that raise it there.
CALLS: dict[type[Exception], list[Callable[[], Any]]] = {
    IndexError: [
        lambda: minidl.zeros(2, 0).max(1), lambda: minidl.zeros(0).argmax(), lambda: x.sum(5),
        lambda: x.transpose(0, 5), lambda: x.unsqueeze(5),
        lambda: x.sort(5), lambda: x.movedim(0, 5), lambda: x[9], lambda: x[[0, 9]],
        lambda: F.embedding(index, x), lambda: F.cross_entropy(x, index),
        lambda: F.nll_loss(x, index),
    ],
    RuntimeError: [
        lambda: minidl.zeros(-1), lambda: minidl.ones((2, -3)), lambda: minidl.eye(-1),
        lambda: minidl.rand(-2), lambda: minidl.randperm(-1), lambda: nn.Linear(-1, 2),
        lambda: minidl.normal(0.0, -1.0, (2,)), lambda: x.flip(0, 0),
        lambda: x.flatten(1, 0), lambda: x.chunk(0), lambda: x.split(0),
        lambda: x.split(-1), lambda: x.diagonal(0, 0, 0), lambda: x.repeat_interleave(-1),
        lambda: x.masked_select(minidl.tensor([True] * 5)), lambda: minidl.meshgrid(x),
        lambda: x.movedim((0, 1), (0,)), lambda: x.sum((0, 0)),
        lambda: x.reshape(7), lambda: x.clamp(), lambda: x.expand(5, 5),
        lambda: F.conv2d(images, minidl.ones(3, 2, 3, 3), stride=0),
        lambda: F.max_pool2d(images, 2, padding=2), lambda: F.pad(x, (1,)),
        lambda: F.one_hot(index, 3), lambda: F.one_hot(x), lambda: F.binary_cross_entropy(x + 5, x),
        lambda: F.smooth_l1_loss(x, x, beta=-1.0), lambda: minidl.multinomial(x[0], 9),
        lambda: nn.Linear(2, 2).load_state_dict({}),
    ],
    ValueError: [
        lambda: F.dropout(x, 2.0), lambda: nn.GroupNorm(3, 4), lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: minidl.optim.SGD([x], lr=-1), lambda: F.mse_loss(x, x, reduction="mena"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", CALLS)
def test_errors_are_subclasses_of_pytorchs(kind: type[Exception]) -> None:
    for call in CALLS[kind]:
        with pytest.raises(kind) as caught:
            call()
        assert isinstance(caught.value, MinidlError)
