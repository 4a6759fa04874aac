"""``nn.modules``, PyTorch's paths, and which layer is a kind of which."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from minidl.nn.modules.batchnorm import _BatchNorm
from minidl.nn.modules.conv import _ConvNd
from minidl.nn.modules.utils import _pair

from minidl import nn


def test_paths_of_pytorchs_files() -> None:
    assert nn.modules.conv.Conv2d is nn.Conv2d
    assert nn.modules.activation.ReLU is nn.ReLU
    assert importlib.import_module("minidl.nn.modules.module").Module is nn.Module
    assert _pair(3) == (3, 3) and _pair([1, 2]) == (1, 2)
    with pytest.raises(AttributeError, match="has no 'Conv9d'"):
        _ = nn.modules.conv.Conv9d


@pytest.mark.parametrize(
    ("layer", "kind", "expected"),
    [
        (nn.BatchNorm1d(2), nn.BatchNorm2d, False),
        (nn.InstanceNorm2d(2), nn.BatchNorm2d, False),
        (nn.InstanceNorm1d(2), nn.InstanceNorm2d, False),
        (nn.ConvTranspose2d(1, 1, 1), _ConvNd, True),
        (nn.Linear(1, 1), _ConvNd, False),
        (nn.BatchNorm1d(2), _BatchNorm, True),
        (nn.InstanceNorm2d(2), _BatchNorm, False),
        (nn.LazyBatchNorm2d(), _BatchNorm, True),
        (nn.Dropout2d(), nn.Dropout, False),
        (nn.LogSoftmax(1), nn.Softmax, False),
        (nn.LazyConv2d(2, 3), nn.Conv2d, True),
        (nn.LazyLinear(2), nn.Linear, True),
    ],
)
def test_kinds_are_pytorchs(layer: nn.Module, kind: Any, expected: bool) -> None:
    assert isinstance(layer, kind) is expected


def test_batch_normalization_without_a_shift() -> None:
    layer = nn.BatchNorm2d(3, bias=False)
    assert layer.bias is None and layer.weight is not None
    assert repr(layer) == (
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=False, track_running_stats=True)"
    )
