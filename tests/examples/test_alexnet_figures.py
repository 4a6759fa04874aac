"""examples/alexnet_figures.py, and the page that the training program draws."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from programs import assert_one_sentence, draw, run

from minidl.vision import figures
from minidl.vision.figures import FIGURES
from minidl.vision.predictions import Predictions

pytest.importorskip("matplotlib")

PROGRAM = "alexnet_figures.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run of one epoch on three classes."""
    folder = tmp_path_factory.mktemp("figures")
    pictures = draw(folder / "pictures", ("cat", "dog", "<emu>"), 10, (48, 40))
    run(
        folder, "alexnet_imagenet.py", "--data", pictures, "--variant", "cifar", "--batch-size", 4,
        "--num-threads", 1, "--epochs", 1, "--output", folder / "run", "--report",
    )  # fmt: skip
    yield folder / "run"
    shutil.rmtree(folder)


def test_the_training_program_draws_the_page(trained: Path) -> None:
    html = (trained / "report.html").read_text(encoding="utf-8")
    for heading in ("Learning curves", "Nearest neighbors", "Confusion matrix", "Cost of each"):
        assert f"<h2>{heading}" in html
    assert html.count("<img ") == html.count('alt="') >= 7
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "") and "<emu>" not in html
    found = Predictions.load(trained / "predictions.safetensors")
    assert found.probabilities.shape == (3, 3)


@pytest.mark.usefixtures("device")
def test_the_page_of_the_best_epoch(trained: Path, tmp_path: Path) -> None:
    said = run(tmp_path, PROGRAM, "--run", trained, "--ten-crop", "--output", tmp_path / "new")
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert '<th scope="row">ten crops</th>' in page and "the paper: one network" in page
    assert said.stdout.splitlines()[-1] == str(tmp_path / "new" / "report.html")
    assert "single crop: loss" in said.stdout and "ten crops: loss" in said.stdout


@pytest.mark.usefixtures("device")
def test_single_figures(trained: Path, tmp_path: Path) -> None:
    names = sorted(set(FIGURES) - {"mistakes"})
    said = run(tmp_path, PROGRAM, *names, "--run", trained, "--output", tmp_path / "new").stdout
    for name in names:
        path = tmp_path / "new" / f"{name}{'.svg' if name == 'architecture' else '.png'}"
        assert f"{path}: " in said
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.width > 100
        else:
            assert path.read_text().startswith("<svg")


def test_figures_of_the_network_alone_need_no_pictures(trained: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(trained, tmp_path / "run")
    trained.parent.joinpath("pictures").rename(tmp_path / "elsewhere")
    try:
        run(tmp_path, PROGRAM, *figures.WITHOUT_PICTURES, "--run", moved)
        assert_one_sentence(run(tmp_path, PROGRAM, "top5", "--run", moved, status=2), "pictures")
    finally:
        (tmp_path / "elsewhere").rename(trained.parent / "pictures")
    weights = ("--run", "80sec", "--output", tmp_path / "new")
    said = run(tmp_path, PROGRAM, "filters", "architecture", *weights).stdout
    assert said.count(str(tmp_path / "new")) == 2
    bad = run(tmp_path, PROGRAM, "filters", "top5", *weights, status=2)
    assert_one_sentence(bad, "holds only weights: add --data")
    bad = run(tmp_path, PROGRAM, "curves", *weights, status=2)
    assert_one_sentence(bad, "curves: there is nothing to draw")


def test_no_run(tmp_path: Path) -> None:
    assert_one_sentence(run(tmp_path, PROGRAM, "--run", tmp_path / "none", status=2), "none")
    assert "invalid choice: 'nonsense'" in run(tmp_path, PROGRAM, "nonsense", status=2).stderr
