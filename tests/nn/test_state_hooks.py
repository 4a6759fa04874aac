"""Hooks of ``state_dict`` and ``load_state_dict``."""

from __future__ import annotations

from typing import Any

import pytest

import minidl
from minidl import nn


def test_hooks_of_state_dict_run_around_a_module_and_its_children() -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    seen: list[Any] = []
    net[0].register_state_dict_pre_hook(lambda module, prefix, keep: seen.append((prefix, keep)))
    net.register_state_dict_post_hook(lambda m, state, p, metadata: seen.append(sorted(state)))
    handle = net[0]._register_state_dict_hook(
        lambda module, state, prefix, metadata: {f"{prefix}only": minidl.zeros(1)}
    )
    net.state_dict(prefix="a.", keep_vars=True)
    assert seen == [("a.0.", True), ["a.0.bias", "a.0.weight"]]  # a child's result is not used
    assert list(net[0].state_dict()) == ["only"]
    handle.remove()
    assert list(net[0].state_dict()) == ["weight", "bias"]
    net[0].register_state_dict_post_hook(lambda *args: 3)
    with pytest.raises(RuntimeError, match="None"):
        net.state_dict()


def test_pre_hook_renames_keys_of_a_copy() -> None:
    net = nn.Sequential(nn.Linear(1, 1))

    def rename(module: Any, state: Any, prefix: str, *args: Any) -> None:
        assert module is net[0] and args == ({}, True, [], [], [])
        state[f"{prefix}weight"] = state.pop(f"{prefix}w")

    net[0].register_load_state_dict_pre_hook(rename)
    given = {"0.w": minidl.full((1, 1), 7.0), "0.bias": minidl.zeros(1)}
    assert str(net.load_state_dict(given)) == "<All keys matched successfully>"
    assert net[0].weight.item() == 7 and list(given) == ["0.w", "0.bias"]


def test_pre_hook_reports_an_error() -> None:
    layer = nn.Linear(1, 1)
    before = layer.weight.item()
    layer._register_load_state_dict_pre_hook(lambda *args: args[-1].append("too old"))
    with pytest.raises(RuntimeError, match="too old"):
        layer.load_state_dict({"weight": minidl.ones(1, 1) * 9, "bias": minidl.ones(1)})
    assert layer.weight.item() == before


def test_post_hook_forgives_keys() -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    order: list[str] = []
    net.register_load_state_dict_post_hook(lambda module, keys: order.append("outer"))
    net[0].register_load_state_dict_post_hook(lambda module, keys: order.append("inner"))
    with pytest.raises(RuntimeError, match="Missing"):
        net.load_state_dict({"0.weight": minidl.ones(1, 1)})
    handle = net.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    assert net.load_state_dict({"0.weight": minidl.ones(1, 1)}).missing_keys == []
    assert order == ["inner", "outer"] * 2
    handle.remove()
    net.register_load_state_dict_post_hook(lambda m, keys: keys)
    with pytest.raises(RuntimeError, match="None"):
        net.load_state_dict(net.state_dict())


def test_hooks_are_not_run_by_loading_and_not_saved(tmp_path: Any) -> None:
    layer = nn.Linear(1, 1)
    layer.register_state_dict_pre_hook(lambda *args: pytest.fail("not saved here"))
    layer.load_state_dict({"weight": minidl.ones(1, 1), "bias": minidl.ones(1)})
    minidl.save(layer, tmp_path / "layer")
    minidl.load(tmp_path / "layer", weights_only=False).state_dict()
