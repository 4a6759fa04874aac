"""Networks of PyTorch and minidl with the same weights give the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import small_networks
from weights_files import arrays_of, caffemodel_of, npy_of

import minidl
from minidl import __main__ as program
from minidl.vision.models import alexnet, load_network
from minidl.vision.transforms.preprocessing import Preprocessing

torch = pytest.importorskip("torch")
nn = torch.nn


def torchvisions(hidden: int, classes: int) -> Any:
    """Return torchvision's alexnet, with `hidden` units instead of 4096."""
    net = nn.Module()
    net.features = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    net.classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(9216, hidden), nn.ReLU(),
        nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes),
    )  # fmt: skip
    net.forward = lambda x: net.classifier(torch.flatten(net.features(x), 1))
    return net.eval()


def caffes(arrays: dict[str, np.ndarray], pool_first: bool) -> Any:
    """Return a grouped network with weights in the layout of minidl's rows."""
    norm, pool = (lambda: nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)), (lambda: nn.MaxPool2d(3, 2))
    after = (pool, norm) if pool_first else (norm, pool)
    layers, weighted = [], {}
    for row, stride, padding, groups in (
        ("conv1", 4, 0, 1), ("conv2", 1, 2, 2), ("conv3", 1, 1, 1), ("conv4", 1, 1, 2),
        ("conv5", 1, 1, 2),
    ):  # fmt: skip
        o, i, k, _ = arrays[f"{row}.weight"].shape
        weighted[row] = nn.Conv2d(i * groups, o, k, stride, padding, groups=groups)
        layers += [weighted[row], nn.ReLU()]
        layers += [make() for make in after] if row in ("conv1", "conv2") else []
    layers += [pool(), nn.Flatten()]
    for row in ("fc6", "fc7", "fc8"):
        weighted[row] = nn.Linear(*arrays[f"{row}.weight"].shape[::-1])
        layers += [weighted[row], nn.ReLU()][: 1 if row == "fc8" else 2]
    for row, layer in weighted.items():
        layer.weight.data = torch.from_numpy(arrays[f"{row}.weight"])
        layer.bias.data = torch.from_numpy(arrays[f"{row}.bias"])
    return nn.Sequential(*layers).eval()


def logits(net: Any, images: np.ndarray) -> np.ndarray:
    if isinstance(net, minidl.nn.Module):
        with minidl.no_grad():
            return net(minidl.from_numpy(images)).numpy()
    with torch.no_grad():
        return net(torch.from_numpy(images)).numpy()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare logits of magnitude 1 to 1e-4."""
    scale = max(1, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)
    np.testing.assert_array_equal(found.argsort(1)[:, -5:], expected.argsort(1)[:, -5:])


def pictures(known: Preprocessing, count: int = 3) -> np.ndarray:
    from PIL import Image

    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 9, 12, 3), dtype=np.uint8)
    views = [known.transforms()(Image.fromarray(p).resize((400, 300))).numpy() for p in small]
    return np.stack(views)


@pytest.mark.parametrize("kind", ["new.pth", "old.pth", "x.safetensors"])
def test_torchvisions_weights_there_and_back(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference, path = torchvisions(64, 10), tmp_path / kind
    state = reference.state_dict()
    if kind == "x.safetensors":
        import safetensors.torch

        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "new.pth")
    with small_networks():
        net = alexnet(weights=path, num_classes=10).eval()
        assert net.preprocessing is not None
        images = pictures(net.preprocessing)
        assert_same(logits(net, images), logits(reference, images))
        assert program.main(("convert", str(path), str(tmp_path / "back.pth"))) == 0
        assert program.main(("convert", str(path), str(tmp_path / "back.safetensors"))) == 0
    found = torch.load(tmp_path / "back.pth", weights_only=True)
    assert list(found) == list(state)
    assert all(
        torch.equal(found[key].view(torch.int32), state[key].view(torch.int32)) for key in state
    )
    reference.load_state_dict(found)
    import safetensors.torch

    found = safetensors.torch.load_file(tmp_path / "back.safetensors")
    assert found.keys() == state.keys()
    assert all(
        torch.equal(found[key].view(torch.int32), state[key].view(torch.int32)) for key in state
    )


@pytest.mark.parametrize("kind", ["npy", "caffemodel", "old.caffemodel", "caffenet.caffemodel"])
def test_caffes_weights(kind: str, tmp_path: Path) -> None:
    pool_first = kind.startswith("caffenet")
    path = tmp_path / f"x.{kind}"
    with small_networks():
        arrays = arrays_of("caffe", 10)
        if kind == "npy":
            path.write_bytes(npy_of(arrays))
        else:
            order = "pool norm" if pool_first else "norm pool"
            path.write_bytes(caffemodel_of(arrays, order, old=kind.startswith("old")))
        net = load_network(path)
    assert net.preprocessing is not None
    images = pictures(net.preprocessing)
    assert_same(logits(net, images), logits(caffes(arrays, pool_first), images))
