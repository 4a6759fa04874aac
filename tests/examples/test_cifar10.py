"""examples/cifar10.py, run as a user does: in its own process, with tiny settings."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import ROOT, assert_one_sentence, draw, run

import minidl
from minidl.training import RunLog
from minidl.vision.models import lenet5, load_network

PROGRAM = "cifar10.py"
CLASSES = ("airplane", "bird", "cat")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import cifar10

    yield cifar10
    sys.modules.pop("cifar10", None)


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
@pytest.mark.parametrize(("variant", "scale"), [("11pct", "pixels"), ("13pct", "normalized")])
def test_networks_that_see_crops(variant: str, scale: str, tmp_path: Path) -> None:
    draw(tmp_path / "train", CLASSES, 50, (32, 32))
    draw(tmp_path / "test", CLASSES, 2, (32, 32))
    result = run(
        tmp_path, PROGRAM, "--data", ".", "--variant", variant, "--epochs", 1, "--num-threads", 1
    )
    assert f"{variant}: 150 pictures to train with, 6 held out" in result.stdout
    folder = tmp_path / "runs" / "cifar10"
    assert (folder / "log.jsonl").exists()
    final = RunLog.read(folder / "log.jsonl")[-1]
    expected = f"error {final['error']:.2f} %, of several views {final['error_views']:.2f} %"
    for source in (folder, folder / "model.safetensors"):
        assert load_network(source).input_scale == scale
        assert expected in run(tmp_path, PROGRAM, "--data", ".", "--evaluate", source).stdout


def test_views_sample_the_range_of_the_crops_evenly(program: Any) -> None:
    places = [(top, left) for top in (1, 4, 7) for left in (1, 4, 7)]
    assert program.test_views(8) == [(*place, mirrored) for mirrored in (0, 1) for place in places]
    assert program.test_views(0) == [(0, 0, 0), (0, 0, 1)]


def test_networks_that_are_no_network_of_the_program(tmp_path: Path) -> None:
    minidl.save(lenet5().state_dict(), tmp_path / "lenet.safetensors")
    result = run(tmp_path, PROGRAM, "--data", ".", "--evaluate", "lenet.safetensors", status=2)
    assert_one_sentence(result, "lenet.safetensors holds lenet5", "80sec")


def test_colors_are_shifted_along_their_principal_components(program: Any) -> None:
    """The shifts' covariance is that of the pixels, times the squared strength."""
    rng = np.random.default_rng(0)
    pixels = (rng.normal(size=(50, 32, 32, 3)) @ rng.normal(0, 20, (3, 3)) + 128).clip(0, 255)
    pixels = pixels.astype(np.uint8)
    jitter, count = program.color_jitter(pixels, 0.2), 20_000
    batches = program.Batches(pixels, np.zeros(50, np.int64), 8, 0, True, None, jitter)
    (_, _, shift), _ = batches[rng.integers(0, 50, count)]
    root = np.linalg.inv(np.linalg.cholesky(0.04 * np.cov(pixels.reshape(-1, 3), rowvar=False)))
    found = np.cov(root @ shift.numpy().T)  # ought to be the identity
    assert np.abs(found - np.eye(3)).max() < 5 * (2 / count) ** 0.5
    still = program.Batches(pixels, np.zeros(50, np.int64), 8, 0, False, None, jitter)
    assert not still[np.arange(50)][0].shift.numpy().any()


def test_missing_data(tmp_path: Path) -> None:
    assert_one_sentence(run(tmp_path, PROGRAM, status=2), "--data", "https://", "train/<class>")
    draw(tmp_path / "few" / "train", CLASSES, 20, (32, 32))
    result = run(tmp_path, PROGRAM, "--data", "few", status=2)
    assert "too few pictures" in result.stderr and "128" in result.stderr
    result = run(tmp_path, PROGRAM, "--data", tmp_path / "no", status=2)
    assert_one_sentence(result, str(tmp_path / "no"), "train")
