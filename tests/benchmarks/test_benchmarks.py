"""The benchmarks run from end to end at the smallest size, and compare like with like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import minidl

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the scripts importable by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_everything_runs_without_torch(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--smoke", "--without", "torch"]
    command += ["--threads", "1", "--name", "smoke", "--results", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr

    page = (tmp_path / "smoke.md").read_text(encoding="utf-8")
    assert "PyTorch is omitted, as requested on the command line." in page
    data = json.loads((tmp_path / "smoke.json").read_text(encoding="utf-8"))
    assert data["stamp"]["minidl"] == minidl.__version__
    assert data["stamp"]["threads"] == 1
    for title, measured in data.items():
        assert measured, f"nothing was measured for {title}"
        assert title == "stamp" or f"## {title}" in page


@pytest.mark.parametrize("variant", ["paper", "single-tower", "torchvision", "80sec"])
def test_contenders_train_the_same_network(scripts: None, variant: str) -> None:
    import networks

    own = minidl.nn.summary(networks.own(variant))
    other = minidl.nn.summary(networks.sequence(minidl.nn, variant), networks.IMAGE[variant])

    def layers(summary: Any) -> list[tuple[Any, ...]]:
        # The paper's dropout does the same work under another name.
        return [
            (row.kind.removeprefix("Plain"), row.geometry, row.output_shape, row.formula, row.macs)
            for row in summary.rows
        ]

    assert own.input_size == networks.IMAGE[variant]
    assert layers(own) == layers(other)


def test_paper_step_has_the_stated_operations(scripts: None) -> None:
    """6·724,406,816 - 2·105,415,200 operations for each of 128 images: 529 GFLOP."""
    import networks
    import train_step

    flop = 128 * train_step._flop(minidl, networks.own("paper"))
    assert flop == 128 * (6 * 724_406_816 - 2 * 105_415_200)
    assert round(flop / 1e9) == 529


def test_line_through_points_on_a_line(scripts: None) -> None:
    import train_step

    counts = (16, 64, 256)
    fixed, each = train_step.line_through(counts, [0.5 + 0.25 * n for n in counts])
    assert abs(fixed - 0.5) < 1e-9
    assert abs(each - 0.25) < 1e-9


def test_a_failing_contender_says_why(scripts: None) -> None:
    import harness

    entry = harness.Entry("overhead", "minidl", {"unknown": 1})
    with (
        pytest.raises(harness.ContenderError, match="unexpected keyword argument 'unknown'"),
        harness.Team(harness.Settings(threads=1, size="smoke")) as team,
    ):
        team.compete({"minidl": entry})
