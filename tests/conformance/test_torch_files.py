"""PyTorch's own files, read and written."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import CheckpointError
from minidl.torch_files import write_torch

torch = pytest.importorskip("torch")


def saved(value: Any, zipped: bool) -> Any:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    file.seek(0)
    return file


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_checkpoint(zipped: bool) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(net.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60])
    net(torch.randn(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    state = {
        "epoch": 3,
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "best": np.float64(0.5),
        "list": list(net.parameters()),
    }
    found = minidl.load(saved(state, zipped))
    assert found["epoch"] == 3 and found["best"] == 0.5
    for name, tensor in net.state_dict().items():
        assert found["state_dict"][name].numpy().tobytes() == tensor.numpy().tobytes()
    moment = found["optimizer"]["state"][0]["exp_avg"]
    assert (
        moment.numpy().tobytes() == optimizer.state_dict()["state"][0]["exp_avg"].numpy().tobytes()
    )
    assert found["list"][0].shape == (4, 3, 3, 3)
    assert found["scheduler"]["milestones"] == {30: 1, 60: 1}


@pytest.mark.parametrize("zipped", [True, False])
def test_every_dtype_and_view(zipped: bool) -> None:
    names = "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
    base = torch.arange(12).reshape(3, 4)
    state = {name: base.to(getattr(torch, name)) for name in names}
    state |= {"view": base[1:, ::2], "turned": base.T, "expanded": base[:1].expand(5, 4)}
    state |= {"empty": torch.zeros(0, 3), "number": torch.tensor(2.5), "last": base[2, 3]}
    found = minidl.load(saved(state, zipped))
    for name, tensor in state.items():
        expected = tensor.float() if name == "bfloat16" else tensor
        np.testing.assert_array_equal(found[name].numpy(), expected.numpy(), strict=True)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model_is_refused(zipped: bool) -> None:
    with pytest.raises(CheckpointError, match=r"model\.state_dict"):
        minidl.load(saved(torch.nn.Linear(2, 2), zipped))


def test_torch_reads_what_is_written() -> None:
    arrays = {
        name: np.arange(6).reshape(2, 3).astype(name)
        for name in ("f2", "f4", "f8", "i8", "u1", "?")
    }
    arrays |= {"number": np.array(3.5, np.float32), "empty": np.zeros((0, 2), np.float32)}
    found = torch.load(io.BytesIO(b"".join(write_torch(arrays))), weights_only=True)
    assert isinstance(found, OrderedDict) and list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].numpy(), array, strict=True)
        assert found[name].is_contiguous() and not found[name].requires_grad
