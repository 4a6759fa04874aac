"""examples/finetune.py: what is frozen stays, what is trained from elsewhere helps."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import ROOT, assert_one_sentence, run
from small_networks import small_networks

import minidl
from minidl.errors import ArgumentError, DataError
from minidl.training.checkpoints import Checkpoints
from minidl.vision.datasets import Shapes
from minidl.vision.models import alexnet, cuda_convnet, load_network
from minidl.vision.models.rows import RowNet
from minidl.vision.runs import make_network, open_run
from minidl.vision.weights.convert import save_weights

PROGRAM = "finetune.py"
COMMON = ("--num-threads", 1, "--workers", 0, "--no-report", "--batch-size", 8,
          "--limit-batches", 3)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Drawn pictures of ten classes: five to train a first network on, five to fine-tune it on."""
    folder = tmp_path_factory.mktemp("finetune")
    pictures = Shapes(split="train", root=folder / "shapes", train_per_class=12, val_per_class=1)
    root = Path(pictures.samples[0][0]).parents[1]
    for number, name in enumerate(pictures.classes):
        shutil.copytree(root / name, folder / ("first", "second")[number % 2] / name)
    run(
        folder, "alexnet_imagenet.py", "--data", folder / "first", "--variant", "cifar",
        "--epochs", 2, *COMMON, "--output", folder / "trained",
    )  # fmt: skip
    yield folder
    shutil.rmtree(folder)


def weights(path: Path, which: str = "last") -> dict[str, np.ndarray]:
    state = Checkpoints.load(path, which, "cpu")[1]["model"]
    return {name: value.numpy() for name, value in state.items()}


@pytest.mark.usefixtures("device")
def test_frozen_layers_stay_bit_for_bit(folder: Path) -> None:
    said = run(
        folder, PROGRAM, "--weights", folder / "trained", "--data", folder / "second",
        "--freeze", "conv1", "conv2", "--rate", "fc6=0", "--epochs", 1, *COMMON,
        "--output", folder / "tuned", figures=True,
    ).stdout  # fmt: skip
    before, after = weights(folder / "trained", "best"), weights(folder / "tuned")
    same = {name for name in before if np.array_equal(before[name], after[name])}
    # In torchvision's layout: conv1, conv2; then fc6, whose rate is 0.
    assert same == {
        f"{place}.{kind}"
        for place in ("features.0", "features.3", "classifier.1")
        for kind in ("weight", "bias")
    }
    assert "from scratch: fc8; frozen: conv1, conv2" in said
    rows = re.findall(r"^(\w+) +(\d+) +([\d.]+)%", said, re.M)
    assert [name for name, _, _ in rows] == sorted(
        path.name for path in (folder / "second").iterdir()
    )
    assert sum(int(count) for _, count, _ in rows) == 6 and "confusion matrix" in said
    assert {"curves.png", "best.safetensors"} <= {p.name for p in (folder / "tuned").iterdir()}


def test_it_goes_on_where_it_was(folder: Path) -> None:
    whole = (folder, PROGRAM, "--weights", folder / "trained", "--data", folder / "second", *COMMON)
    run(*whole, "--epochs", 2, "--schedule", "constant", "--output", folder / "whole")
    half = shutil.copytree(folder / "whole", folder / "half")
    (half / "previous.safetensors").replace(half / "last.safetensors")  # after the first epoch
    said = run(folder, PROGRAM, "--resume", half).stdout
    assert "epoch 1/2" not in said and "epoch 2/2" in said
    one, two = (weights(folder / name / "last.safetensors") for name in ("whole", "half"))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_lists_of_pictures_and_preprocessing(folder: Path) -> None:
    for split, start in (("train", 0), ("val", 1)):
        lines = [
            f"{path} {label}"
            for label, place in enumerate(sorted((folder / "second").iterdir()))
            for path in sorted(place.iterdir())[start::2]
        ]
        (folder / f"{split}.txt").write_text("\n".join(lines))
    with small_networks():
        minidl.save(alexnet("cifar", num_classes=7).state_dict(), folder / "net.safetensors")
    run(
        folder, PROGRAM, "--weights", folder / "net.safetensors", "--train-list",
        folder / "train.txt", "--val-list", folder / "val.txt", "--epochs", 1, *COMMON,
        "--output", folder / "listed",
    )  # fmt: skip
    report = json.loads((folder / "listed/report.json").read_text())
    assert report["classes"] == 5 and report["settings"]["variant"] == "cifar"
    assert report["settings"]["preprocessing"] is not None
    with small_networks(), pytest.raises(DataError, match="other classes than those of --data"):
        open_run(folder / "listed", data=folder / "second")  # whose classes have names


@pytest.mark.usefixtures("device")
def test_a_finished_run_is_judged_again(folder: Path) -> None:
    output = folder / "judged"
    start = ("--weights", "80sec", "--data", folder / "second", "--epochs", 1, *COMMON)
    run(folder, PROGRAM, *start, "--output", output)
    again = run(folder, PROGRAM, "--resume", output, "--no-report").stdout
    assert "confusion matrix" in again and "epoch 1/1:" not in again
    scores = run(folder, PROGRAM, "--evaluate", "--resume", output).stdout
    assert f"{output}/best.safetensors (one crop): " in scores and "epoch" not in scores
    assert_one_sentence(
        run(folder, "alexnet_imagenet.py", "--resume", output, status=2), "not written by this"
    )


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The function that makes the network of a run."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import finetune

    def make(path: object, **given: Any) -> tuple[RowNet, dict[str, Any]]:
        settings = {**asdict(finetune.RECIPE), "variant": None, "seed": 0, "weights": path, **given}
        made: tuple[RowNet, dict[str, Any]] = finetune.start(settings, ["ant", "bee"])
        return made

    yield make
    for name in ("finetune", "alexnet_imagenet"):
        sys.modules.pop(name, None)


def test_options_and_scale_are_those_of_the_weights(start: Any, tmp_path: Path) -> None:
    changed = {"activation": "tanh", "without": ["spatial1"]}
    minidl.manual_seed(1)
    net = cuda_convnet("18pct", **changed)
    save_weights(net, tmp_path / "tanh.safetensors", options=changed)
    minidl.save(cuda_convnet("80sec").state_dict(), tmp_path / "plain.safetensors")
    model, settings = start(tmp_path / "tanh.safetensors", scratch=["conv3"])
    assert str(model).count("Tanh") == 3 and str(model).count("SpatialResponseNorm") == 1
    assert settings["scratch"] == ["conv3", "fc10"]
    same = [np.array_equal(*(n.named_rows()[row].weight.detach().numpy() for n in (net, model)))
            for row in ("conv1", "conv2", "conv3")]  # fmt: skip
    assert same == [True, True, False]
    model, settings = start(tmp_path / "plain.safetensors")
    assert model.input_scale == load_network(tmp_path / "plain.safetensors").input_scale == "pixels"
    assert make_network(settings, 2).input_scale == "pixels"  # when it is resumed


@pytest.mark.parametrize("rate", ["conv1=-1", "conv1=nan", "conv1=inf", "conv2=1"])
def test_impossible_rates(start: Any, rate: str) -> None:
    with pytest.raises(ArgumentError, match="rate"):
        start("80sec", rate=[rate], freeze=["conv2"])


def test_mistakes(folder: Path) -> None:
    data = ("--data", folder / "second")
    for arguments, words in (
        (data, ["--weights"]),
        ((*data, "--weights", folder / "trained", "--freeze", "conv9"), ["conv9", "conv1"]),
        ((*data, "--weights", folder / "trained", "--freeze", "fc8"), ["fc8", "frozen"]),
        ((*data, "--weights", folder / "trained", "--rate", "fc7"), ["LAYER=FACTOR"]),
        ((*data, "--weights", folder / "none.pth"), ["none.pth"]),
        ((*data, "--weights", "80sec", "--val-list", "val.txt"), ["--train-list", "--val-list"]),
        (("--weights", "80sec", "--train-list", "train.txt"), ["--train-list", "--val-list"]),
        ((*data, "--resume", folder / "trained"), ["not written by this program"]),
    ):
        output = () if "--resume" in arguments else ("--output", folder / "mistake")
        assert_one_sentence(run(folder, PROGRAM, *arguments, *output, status=2), *words)
        assert not (folder / "mistake").exists()
