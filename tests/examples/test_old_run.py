"""A run begun by an older minidl continues exactly as it would have there.

``old_run/`` holds two checkpoints of the run below, from its second epoch and from its end. An
``examples/alexnet_imagenet.py`` from before :mod:`minidl.training` wrote them.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from programs import ROOT

import minidl
from minidl import nn
from minidl.data import Dataset
from minidl.training import Interruption
from minidl.vision.batches import PictureBatches

OLD = Path(__file__).parent / "old_run"


class Noise(Dataset):
    transform: Any = None

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Any, int]:
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        return self.transform(Image.fromarray(pixels)), index % 2


class Tiny(nn.Module):
    input_size, input_scale, conv1_rate = (3, 32, 32), "pixels", 1.0

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 8, stride=8)
        self.relu, self.drop = nn.ReLU(), nn.Dropout(0.5)
        self.fc = nn.Linear(64, 2)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.fc(self.drop(self.relu(self.conv1(x)).flatten(1)))

    def named_rows(self) -> dict[str, nn.Module]:
        return {"conv1": self.conv1, "fc": self.fc}


@pytest.fixture
def resumed(tmp_path: Path) -> Any:
    """The run, loaded in its second epoch."""
    state = minidl.load(OLD / "middle.safetensors")
    settings = {**state["options"], "output": str(tmp_path)}
    model: Any = Tiny()
    batches = PictureBatches(model, Noise(), Noise(), batch_size=4, workers=0, folder=tmp_path)
    program = runpy.run_path(str(ROOT / "examples" / "alexnet_imagenet.py"))
    run = program["Run"](model, batches, argparse.Namespace(**settings, report=False))
    run.load(state)
    return run


def test_an_old_run_resumes_where_it_stopped(resumed: Any) -> None:
    assert (resumed.epoch, resumed.batch, resumed.step) == (1, 1, 4)
    assert resumed.save()
    old = minidl.load(OLD / "middle.safetensors")
    new = minidl.load(resumed.checkpoints.folder / "last.safetensors")
    assert new.keys() == old.keys()
    for name, tensor in old["model"].items():
        assert np.array_equal(new["model"][name].numpy(), tensor.numpy()), name
    for state in (old, new):
        del state["options"]["output"], state["versions"]
    del new["options"]["report"]  # an option that the old program did not have
    for name in ("options", "progress", "history", "means", "flat", "pictures"):
        assert new[name] == old[name], name
    assert np.array_equal(new["rng"].numpy(), old["rng"].numpy())


def test_an_old_run_ends_with_the_same_weights(resumed: Any) -> None:
    """Compare to rounding, because the file may be from another kind of machine."""
    assert resumed.train(Interruption()) == 0
    old = minidl.load(OLD / "end.safetensors")
    new = minidl.load(resumed.checkpoints.folder / "last.safetensors")
    assert new["progress"] == old["progress"] == [2, 0, 6]
    for line, expected in zip(new["history"], old["history"], strict=True):
        assert line == pytest.approx(expected, rel=1e-4)
    for name, tensor in old["model"].items():
        # The two steps change weights by 4e-4 and biases by 5e-6.
        np.testing.assert_allclose(new["model"][name].numpy(), tensor.numpy(), 1e-5, 1e-6, name)
    momenta = [
        [entry["velocity"].numpy() for entry in state["optimizer"]["state"].values()]
        for state in (old, new)
    ]
    for velocity, expected in zip(*momenta, strict=True):
        np.testing.assert_allclose(velocity, expected, 1e-3, 2e-7)
