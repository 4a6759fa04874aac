"""The table of a network's layers."""

from __future__ import annotations

from typing import Self

import pytest

from minidl.errors import ArgumentError
from minidl.nn import (
    Conv2d,
    Flatten,
    Identity,
    Linear,
    LocallyConnected2d,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    fusion,
)  # fmt: skip
from minidl.nn.summary import summary


def net() -> Sequential:
    return Sequential(
        Conv2d(4, 6, (3, 5), stride=2, padding=1, groups=2, bias=False),
        MaxPool2d(2),
        LocallyConnected2d(6, 2, (2, 2), 1),
        Flatten(),
        Linear(8, 3),
    )


def test_counts(device):
    table = summary(net().to(device), (4, 8, 10))
    rows = {row.kind: row for row in table.rows}
    conv = rows["Conv2d"]
    assert conv.output_shape == (6, 4, 4)
    assert conv.parameters == 6 * 2 * 3 * 5
    assert conv.macs == 6 * 2 * 3 * 5 * 16
    assert conv.formula == "6·2·3·5"
    assert conv.geometry == "3×5/2/1/2"
    assert rows["MaxPool2d"].geometry == "2×2/2/0"
    local = rows["LocallyConnected2d"]
    assert (local.parameters, local.macs) == (4 * 2 * 6 + 2 * 4, 4 * 2 * 6)
    linear = rows["Linear"]
    assert (linear.parameters, linear.macs, linear.formula) == (27, 24, "3·8 + 3")
    assert table.parameters == 180 + 56 + 27
    assert table.macs == conv.macs + 48 + 24


def test_printed_table():
    lines = str(summary(net(), (4, 8, 10))).splitlines()
    assert lines[0] == "Sequential, input 4×8×10"
    assert lines[1].split() == ["layer", "type", "k/s/p/groups", "output", "parameters", "MACs"]
    assert lines[3].split() == [
        "0", "Conv2d", "3×5/2/1/2", "6×4×4", "180", "=", "6·2·3·5", "2,880",
    ]  # fmt: skip
    assert lines[-2].split() == ["total", "263", "2,952"]
    assert lines[-1] == "trainable parameters: 263"


def test_model_is_left_as_it_was(device):
    model = net().to(device)
    model[1].eval()
    summary(model, (4, 8, 10))
    assert [module.training for module in model.modules()] == [True, True, False, *[True] * 3]
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ValueError):
        summary(model, (3, 8, 10))
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


def test_a_module_that_refuses_evaluation_leaves_nothing_behind() -> None:
    class Stubborn(Linear):
        def train(self, mode: bool = True) -> Self:
            raise ValueError("no")

    model = Sequential(Flatten(), Stubborn(4, 2))
    with pytest.raises(ValueError, match="no"):
        summary(model, (4,))
    assert model.training and not any(module._forward_hooks for module in model.modules())


def test_shared_and_frozen_parameters():
    model = Sequential(Linear(4, 4), Linear(4, 4), Identity())
    model[1].weight = model[0].weight
    model[0].weight.requires_grad_(False)
    table = summary(model, (4,))
    assert table.parameters == 16 + 4 + 4
    assert table.trainable_parameters == 8
    assert table.macs == 32  # both layers compute


def test_default_size_is_the_models_own():
    model = Sequential(Linear(5, 2))
    model.input_size = (5,)
    assert summary(model).input_size == (5,)
    assert summary(Identity()).input_size == (3, 224, 224)
    with pytest.raises(ArgumentError, match="positive"):
        summary(model, (0,))


def test_linear_over_several_positions_and_dtype(device):
    assert summary(Sequential(Linear(5, 2)).double().to(device), (7, 5)).macs == 7 * 10


def test_a_layer_that_is_its_own_network():
    class Bare(Module):
        def forward(self, x):
            return x * 2

    rows = summary(Bare(), (2,)).rows
    assert [(row.name, row.macs) for row in rows] == [("Bare", 0)]


def test_fused_layers_are_shown(device):
    layers = Conv2d(3, 4, 3), ReLU(), LocalResponseNorm(3), Conv2d(4, 2, 1), ReLU()
    model = Sequential(Sequential(*layers), Identity()).to(device)
    table = summary(model, (3, 6, 6))
    assert [row.fused for row in table.rows] == ["", "0.2", "", "0.4", "", ""]
    assert str(table).splitlines()[1].endswith("MACs  fused with")
    fusion.set_fusion(False)
    try:
        assert "fused" not in str(summary(model, (3, 6, 6)))
    finally:
        fusion.set_fusion(True)
