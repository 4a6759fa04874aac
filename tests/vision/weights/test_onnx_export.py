"""Exported graphs give the network's numbers in onnxruntime."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_networks import small_networks
from weights_files import arrays_of

import minidl
from minidl import nn
from minidl.errors import ArgumentError, CheckpointError
from minidl.vision.models import ScaledTanh
from minidl.vision.models.networks import make_network, plans
from minidl.vision.weights.layouts import Weights
from minidl.vision.weights.onnx_export import export_onnx

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    with small_networks():
        yield


def run(path: Path, images: np.ndarray) -> np.ndarray:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options)
    return session.run(None, {"images": images})[0]


def compare(net: nn.Module, size: tuple[int, ...], path: Path, scale: float = 1.0) -> None:
    net.eval()
    export_onnx(net, path, size)
    for batch in (1, 7):
        images = np.random.default_rng(batch).normal(0, scale, (batch, *size)).astype(np.float32)
        with minidl.no_grad():
            expected = net(minidl.from_numpy(images)).numpy()
        found = run(path, images)
        assert found.shape == expected.shape
        spread = np.abs(expected).max()
        assert spread > 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1, spread))


@pytest.mark.parametrize("variant", [*plans()])
def test_every_variant(variant: str, tmp_path: Path) -> None:
    net = make_network(variant, 7)
    Weights(variant, arrays_of(variant), None, {}).fill(net)
    compare(net, net.input_size, tmp_path / "x.onnx", 60 if net.input_scale == "pixels" else 1)


def test_the_training_mode_stays(tmp_path: Path) -> None:
    net = make_network("lenet5", 7).train()
    export_onnx(net, tmp_path / "x.onnx", metadata={"variant": "lenet5"})
    assert net.training
    model = onnx.load(tmp_path / "x.onnx")
    assert [(p.key, p.value) for p in model.metadata_props] == [("variant", "lenet5")]


CHAINS = {
    "windows over two edges": nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), stride=(2, 3), padding=(1, 0), ceil_mode=True),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        nn.Flatten(),
    ),
    "padding": nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=2, dilation=2, groups=3, bias=False),
        nn.MaxPool2d(3, 2, padding=1),
        nn.AvgPool2d(3, 2, padding=1),
        nn.AvgPool2d(2, 1, padding=1, count_include_pad=False),
    ),
    "average over the edge": nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True), nn.Sigmoid()),
    "norms": nn.Sequential(
        nn.Conv2d(3, 6, 1),
        nn.BatchNorm2d(6),
        nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=2.0, groups=2),
        nn.SpatialResponseNorm(4, alpha=0.5, beta=0.6, k=2.0),
        nn.SpatialResponseNorm(3, alpha=0.5, beta=0.6, k=2.0),
    ),
    "local": nn.Sequential(
        nn.LocallyConnected2d(3, 4, (9, 7), (3, 2), stride=2, padding=1), nn.Tanh()
    ),
    "heads": nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Sequential(nn.Linear(3, 5), nn.PlainDropout(0.3), nn.Dropout(0.5)),
        ScaledTanh(1.7, 0.6),
        nn.Identity(),
        nn.LogSoftmax(dim=1),
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_layers(name: str, tmp_path: Path) -> None:
    minidl.manual_seed(0)
    net = CHAINS[name]
    if name == "norms":
        net.train()
        net(minidl.randn(5, 3, 9, 7))  # running statistics
    compare(net, (3, 9, 7), tmp_path / "x.onnx")


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 2, 3, padding="same"),
        nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
        nn.AvgPool2d(3, divisor_override=2),
        nn.AdaptiveAvgPool2d(3),
        nn.LocalResponseNorm(4),
        nn.BatchNorm2d(3, track_running_stats=False),
        nn.Flatten(2),
        nn.GELU(),
    ],
)
def test_layers_that_are_not_exported(layer: nn.Module, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(layer))
    with pytest.raises(ArgumentError, match=r"onnx: 1\.0"):
        export_onnx(net, tmp_path / "x.onnx", (3, 8, 8))
    assert not list(tmp_path.iterdir())


def test_pytorchs_call(tmp_path: Path) -> None:
    net = make_network("lenet5", 7)
    path = tmp_path / "x.onnx"
    options = {"dynamic_axes": {"x": {0: "n"}}, "opset_version": 13}
    minidl.onnx.export(
        net, minidl.zeros(1, 1, 28, 28), path, input_names=["x"], output_names=["y"], **options
    )
    images = np.ones((3, 1, 28, 28), np.float32)
    (found,) = runtime.InferenceSession(path).run(["y"], {"x": images})
    np.testing.assert_allclose(found, net(minidl.from_numpy(images)).detach().numpy(), atol=1e-5)
    with pytest.raises(ArgumentError, match="one batch"):
        minidl.onnx.export(net, [1], path)  # type: ignore[arg-type]


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    net, images = make_network("lenet5", 7), minidl.zeros(1, 1, 28, 28)
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "x.onnx", tmp_path / "folder"):
        for write in (minidl.onnx.export, lambda net, _, path: export_onnx(net, path)):
            with pytest.raises(CheckpointError, match="can't be written: ") as error:
                write(net, images, path)
            assert repr(str(path)) in str(error.value) and ".minidl" not in str(error.value)
    with pytest.raises(ArgumentError, match="expected the path of a file, got BytesIO"):
        minidl.onnx.export(net, images, io.BytesIO())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]
