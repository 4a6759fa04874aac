"""torchvision's arguments of alexnet, and where its weights are looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import minidl
from minidl.errors import ArgumentError, CheckpointError
from minidl.vision.models import AlexNet_Weights, alexnet
from minidl.vision.models import torchvision as models


@pytest.mark.parametrize(
    "make",
    [
        lambda: alexnet(weights=None, progress=False),
        lambda: alexnet(progress=False),
        lambda: alexnet(pretrained=False),
        lambda: alexnet(False),
        lambda: models.alexnet(),
        lambda: alexnet("torchvision"),
    ],
)
def test_torchvisions_arguments_make_torchvisions_net(make: Any) -> None:
    minidl.manual_seed(0)
    net = make()
    assert net.input_size == (3, 224, 224)
    assert sum(p.numel() for p in net.parameters()) == 61_100_840
    assert isinstance(net.classifier[6], minidl.nn.Linear)


def test_the_paper_is_what_nobody_named_means() -> None:
    assert alexnet(num_classes=2).input_size == (3, 227, 227)


def test_weights_come_from_a_file_or_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    for weights in ("IMAGENET1K_V1", "DEFAULT", AlexNet_Weights.DEFAULT):
        with pytest.raises(ArgumentError, match="nothing is downloaded; get it from http"):
            models.alexnet(weights=weights)
    net = models.alexnet(dropout=0.0)
    (tmp_path / "cache").mkdir()
    minidl.save(net.state_dict(), tmp_path / "cache" / AlexNet_Weights.IMAGENET1K_V1.value)
    for options in (
        {"weights": AlexNet_Weights.IMAGENET1K_V1}, {"pretrained": True}, {"pretrained": 1},
    ):  # fmt: skip
        again: Any = alexnet(**options)  # type: ignore[arg-type]
        assert minidl.equal(again.classifier[6].weight, net.classifier[6].weight)
    minidl.save({"other": minidl.ones(1)}, tmp_path / "other")
    with pytest.raises((CheckpointError, RuntimeError)):
        models.alexnet(weights=tmp_path / "other")


@pytest.mark.parametrize("make", [str, Path])
def test_a_mistyped_name_is_no_reason_to_get_torchvisions_file(make: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth' can't be loaded: No such file") as error:
        alexnet(weights=make(tmp_path / "none.pth"))
    assert "http" not in str(error.value)


def test_weights_know_their_transforms() -> None:
    from PIL import Image

    prepared = AlexNet_Weights.DEFAULT.transforms()(Image.new("RGB", (300, 260)))
    assert prepared.shape == (3, 224, 224)


def test_models_are_made_by_name() -> None:
    assert models.list_models() == ["alexnet"]
    net = models.get_model("alexnet", weights=None, num_classes=3)
    assert (net.input_size, net(minidl.zeros(1, 3, 224, 224)).shape) == ((3, 224, 224), (1, 3))
    with pytest.raises(ValueError, match="there is no 'resnet18'"):
        models.get_model("resnet18")
