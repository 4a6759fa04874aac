"""Keys with something in front, and what is said of weights that do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weights_files import arrays_of

import minidl
from minidl.errors import CheckpointError
from minidl.vision.models import cuda_convnet, load_network
from minidl.vision.models.networks import plans
from minidl.vision.weights.layouts import row_keys

State = dict[str, np.ndarray]


def state_of(layout: str) -> tuple[State, State]:
    """Return a network's parameters by rows, and its state dict."""
    arrays = arrays_of("80sec")
    keys = row_keys("80sec", plans()["80sec"], layout)
    return arrays, {keys[row]: array for row, array in arrays.items()}


@pytest.mark.parametrize("prefix", ["", "model.", "net.backbone."])
@pytest.mark.parametrize("layout", ["minidl", "torchvision", "sequential", "rows"])
def test_what_all_keys_begin_with_is_dropped(prefix: str, layout: str, tmp_path: Path) -> None:
    arrays, state = state_of(layout)
    path = tmp_path / "x.npz"
    np.savez(path, **{prefix + key: array for key, array in state.items()})  # type: ignore[arg-type]
    rows = load_network(path).named_rows()
    assert all(
        (rows[name].weight.detach().numpy() == arrays[f"{name}.weight"]).all() for name in rows
    )


@pytest.mark.parametrize("name", ["state_dict", "model", "params", "model_ema"])
def test_a_state_dict_lies_in_a_checkpoint(name: str, tmp_path: Path) -> None:
    net = cuda_convnet("80sec")
    for number, inside in enumerate((net.state_dict(), net)):  # a whole network, too
        path = tmp_path / str(number)
        minidl.save({"epoch": 3, name: inside}, path)
        assert minidl.equal(load_network(path).classifier[2].weight, net.classifier[2].weight)


def test_a_whole_network(tmp_path: Path) -> None:
    net = cuda_convnet("18pct", init="he")
    minidl.save(net, tmp_path / "x")
    found = load_network(tmp_path / "x")
    assert (found.variant, found.input_scale) == ("18pct", "normalized")
    assert minidl.equal(found.features[0].weight, net.features[0].weight)


def add(state: State) -> State:
    return {**state, "mean": np.zeros(3, np.float32)}


def only_features(state: State) -> State:
    return {key: array for key, array in state.items() if key.startswith("features")}


def in_bytes(state: State) -> State:
    return {key: array.astype(np.int8) for key, array in state.items()}


def narrow(state: State) -> State:
    return {**state, "features.0.weight": state["features.0.weight"][:, :2]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add, "lenet5; for 80sec, mean does not belong to it"),
        (only_features, "classifier.0.weight is missing, classifier.0.bias is missing, "),
        (in_bytes, "features.3.bias is int8, not float, and 6 more"),
        (narrow, "features.0.weight has shape (32, 2, 5, 5), not (32, 3, 5, 5)"),
    ],
)
def test_the_closest_network_says_what_is_wrong(
    change: Callable[[State], State], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **change(state_of("torchvision")[1]))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=re.escape(words)) as error:
        load_network(path)
    assert "for 80sec, " in str(error.value)


def test_rows_of_no_maps(tmp_path: Path) -> None:
    rows: Any = {
        "conv1": [np.zeros((1, 1, 1, 4)), np.zeros(4)],
        "fc2": [np.zeros((0, 5)), np.zeros(5)],
    }
    np.save(tmp_path / "x.npy", rows, allow_pickle=True)
    with pytest.raises(CheckpointError, match=r"its 4 arrays .* do not fit"):
        load_network(tmp_path / "x.npy")
