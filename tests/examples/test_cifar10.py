"""examples/cifar10.py, run as a user does: in its own process, with tiny settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from programs import assert_one_sentence, draw, run

import minidl
from minidl.training import RunLog
from minidl.vision.models import load_network

PROGRAM = "cifar10.py"
CLASSES = ("airplane", "bird", "cat")


@pytest.mark.usefixtures("device")
def test_trains_on_folders_of_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "data" / "train", CLASSES, 100, (32, 32))
    result = run(
        tmp_path, PROGRAM, "--data", "data", "--epochs", 1, "--num-threads", 1, "--output", "out"
    )
    assert "30 training pictures are held out" in result.stdout
    assert "epoch  1/1: loss 1.099" in result.stdout  # ln 3: two steps teach nothing
    assert "images/s" in result.stdout and "final error" in result.stdout
    line, final = RunLog.read(tmp_path / "out" / "log.jsonl")
    assert line["step"] == 2  # 270 pictures in batches of 128
    assert final["error"] == 100 - line["top1"] and 0 <= final["error_views"] <= 100
    assert line["train_loss"] == pytest.approx(np.log(3), abs=0.01)
    assert (tmp_path / "out" / "filters.png").exists()
    net = load_network(tmp_path / "out" / "model.safetensors")
    assert net.variant == "80sec" and net.input_scale == "pixels"
    assert net.preprocessing is not None and 0 < net.preprocessing.mean[0] < 255
    picture = next((tmp_path / "data" / "train" / "cat").iterdir())
    weights = ("--checkpoint", "out/model.safetensors")
    said = run(tmp_path, "alexnet_predict.py", *weights, "--workers", 0, picture).stdout
    assert said.count(" %") == 3 and all(name in said for name in CLASSES)
    shown = "alexnet_figures.py", "confusion", "--run", "out/model.safetensors"
    assert_one_sentence(run(tmp_path, *shown, status=2), "holds only weights", "--data")
    run(tmp_path, *shown, "--data", "data", "--output", "out")
    assert (tmp_path / "out" / "confusion.png").exists()


def test_goes_on_after_an_interruption_as_if_nothing_had_happened(tmp_path: Path) -> None:
    draw(tmp_path / "train", CLASSES, 60, (32, 32))
    draw(tmp_path / "test", CLASSES, 2, (32, 32))
    options = "--activation", "tanh", "--plain", "--constant", "--num-threads", 1, "--epochs", 2
    run(tmp_path, PROGRAM, "--data", ".", *options, "--output", "whole")
    cut = shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (cut / "previous.safetensors").replace(cut / "last.safetensors")  # after the first epoch
    (cut / "model.safetensors").unlink()
    result = run(tmp_path, PROGRAM, "--resume", "cut", "--num-threads", 1)
    assert "epoch  1/2" not in result.stdout and "epoch  2/2" in result.stdout
    whole, again = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert whole.read_bytes() == again.read_bytes()
    assert "tanh" in str(minidl.load(cut / "last.safetensors")["settings"])
    (cut / "model.safetensors").unlink()
    for source in ("whole/model.safetensors", "whole", "cut"):
        net = load_network(tmp_path / source)
        assert "Tanh" in str(net) and net.preprocessing is not None
    run(tmp_path, "alexnet_figures.py", "--run", "whole", "filters", "curves")
    assert (tmp_path / "whole" / "curves.png").stat().st_mtime_ns > 0
    result = run(tmp_path, PROGRAM, "--resume", "cut/last.safetensors", "--num-threads", 1)
    assert "written to cut: " in result.stdout
    minidl.save({"model": {}}, tmp_path / "other.safetensors")
    result = run(tmp_path, PROGRAM, "--resume", "other.safetensors", status=2)
    assert_one_sentence(result, "other.safetensors was not written by this program")


@pytest.mark.usefixtures("device")
def test_networks_that_see_crops(tmp_path: Path) -> None:
    draw(tmp_path / "train", CLASSES, 50, (32, 32))
    draw(tmp_path / "test", CLASSES, 2, (32, 32))
    result = run(
        tmp_path, PROGRAM, "--data", ".", "--variant", "11pct", "--epochs", 1, "--num-threads", 1
    )
    assert "11pct: 150 pictures to train with, 6 held out" in result.stdout
    assert (tmp_path / "runs" / "cifar10" / "log.jsonl").exists()


def test_missing_data(tmp_path: Path) -> None:
    assert_one_sentence(run(tmp_path, PROGRAM, status=2), "--data", "https://", "train/<class>")
    draw(tmp_path / "few" / "train", CLASSES, 20, (32, 32))
    result = run(tmp_path, PROGRAM, "--data", "few", status=2)
    assert "too few pictures" in result.stderr and "128" in result.stderr
    result = run(tmp_path, PROGRAM, "--data", tmp_path / "no", status=2)
    assert_one_sentence(result, str(tmp_path / "no"), "train")
