"""examples/alexnet_ablations.py and examples/alexnet_ensemble.py."""

from __future__ import annotations

import json
import math
import runpy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from programs import ROOT, assert_one_sentence, draw, run

from minidl.vision.models.rows import parameter_shapes
from minidl.vision.models.variants import plan
from minidl.vision.predictions import Predictions
from minidl.vision.runs import make_network

PROGRAM = "alexnet_ablations.py"
SMALL = ("--variant", "cifar", "--epochs", 1, "--limit-batches", 2, "--workers", 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a baseline and two ablations, and of what the program said."""
    folder = tmp_path_factory.mktemp("ablations")
    pictures = draw(folder / "pictures", ("cat", "dog"), 20, (48, 40))
    said = run(
        folder, PROGRAM, "--data", pictures, *SMALL, "--no-dropout", "--no-conv3", "--output",
        folder / "runs",
    )  # fmt: skip
    (folder / "said.txt").write_text(said.stdout)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.usefixtures("device")
def test_the_table_has_our_differences_beside_the_papers(runs: Path) -> None:
    rows = [line for line in (runs / "said.txt").read_text().splitlines() if line[:1] == "|"]
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| all parts", "| no dropout", "| without conv3",
    ]  # fmt: skip
    assert rows[-1].endswith("| about +2 / – |") and "| strong overfitting |" in rows[-2]
    report = json.loads((runs / "runs/no-conv3/report.json").read_text())
    assert report["settings"]["network"] == {"without": ["conv3"], "keep_pooling": True}
    assert report["settings"]["color_jitter"] is True and report["settings"]["dropout"] == 0.5
    dropout = json.loads((runs / "runs/no-dropout/report.json").read_text())
    assert dropout["settings"]["dropout"] == 0.0


@pytest.mark.usefixtures("device")
def test_finished_runs_are_not_repeated_and_others_are_resumed(runs: Path) -> None:
    (runs / "runs/no-conv3/report.json").unlink()  # as if it had been interrupted
    again = run(runs, PROGRAM, "--no-conv3", "--output", runs / "runs").stdout
    assert "baseline:" not in again and "no-conv3:" in again and "epoch 1/1" not in again
    assert (runs / "runs/no-conv3/report.json").exists()
    table = run(runs, PROGRAM, "--table", "--output", runs / "runs").stdout
    assert table.strip() == again[again.index("| | top-1") :].strip()
    for other in (("--epochs", 2), ("--small",), ("--data", runs)):
        said = run(runs, PROGRAM, "--no-lrn", *other, "--output", runs / "runs", status=2)
        assert_one_sentence(said, "baseline was trained with", "name another --output")


@pytest.mark.usefixtures("device")
def test_a_run_without_a_checkpoint_begins_again(runs: Path) -> None:
    (runs / "runs/no-augment").mkdir()
    (runs / "runs/no-augment/log.jsonl").touch()
    said = run(runs, PROGRAM, "--no-augment", "--workers", 0, "--output", runs / "runs").stdout
    assert "no-augment:" in said and "epoch 1/1" in said  # the baseline's number of epochs
    report = json.loads((runs / "runs/no-augment/report.json").read_text())
    assert report["settings"]["limit_batches"] == 2 and report["settings"]["variant"] == "cifar"


def test_ablations_are_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    program = runpy.run_path(str(ROOT / "examples" / PROGRAM))
    for ablation in program["ABLATIONS"].values():
        variant = ablation.settings.get("variant", "paper")
        network = ablation.settings.get("network", {})
        plan(variant, **network)
        small = plan(variant, **program["SMALL"]["network"], **network)
        assert small.input_size == (3, 67, 67)
        assert sum(math.prod(shape) for shape in parameter_shapes(small).values()) < 3_000_000
    settings = {"dropout": 0.5, "init": "he", **program["BASELINE"]}
    settings |= program["ABLATIONS"]["no-conv3"].settings
    size = sum(parameter.numel() for parameter in make_network(settings, 1000).parameters())
    # conv3: 256·384·9 + 384; conv4 then sees 256 / 2 maps instead of 384 / 2.
    assert size == 60_965_224 - (256 * 384 * 9 + 384) - 384 * 64 * 9


@pytest.mark.usefixtures("device")
def test_an_ensemble_of_runs(runs: Path) -> None:
    members = [runs / "runs" / name for name in ("baseline", "no-dropout")]
    said = run(runs, "alexnet_ensemble.py", *members, "--search", "--save", runs / "mean").stdout
    lines = [line.split(" %  ")[-1] for line in said.splitlines()[1:]]
    assert lines[:3] == [*map(str, members), "average of 2"] and len(lines) == 5
    assert (runs / "mean").exists()
    bad = run(runs, "alexnet_ensemble.py", runs / "pictures", status=2)
    assert_one_sentence(bad, "predictions.safetensors")
    found = Predictions.load(members[0] / "predictions.safetensors")
    assert found.classes == ["cat", "dog"]
    replace(found, classes=["ant", "bee"]).save(runs / "others")
    bad = run(runs, "alexnet_ensemble.py", members[0], runs / "others", status=2)
    assert_one_sentence(bad, f"{runs / 'others'} has predictions of other pictures")
