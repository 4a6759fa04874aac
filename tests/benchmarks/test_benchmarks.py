"""The benchmarks run from end to end at the smallest size, and compare like with like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import zeros

import minidl

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the scripts importable by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_everything_runs_without_torch(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--smoke", "--without", "torch", "jax"]
    command += ["--threads", "1", "--name", "smoke", "--results", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr

    page = (tmp_path / "smoke.md").read_text(encoding="utf-8")
    assert "PyTorch is omitted, as requested on the command line." in page
    assert ("| onnxruntime |" in page) or "ONNX Runtime is omitted: it is not installed" in page
    data = json.loads((tmp_path / "smoke.json").read_text(encoding="utf-8"))
    assert data["stamp"]["minidl"] == minidl.__version__
    assert data["stamp"]["threads"] == 1
    for title, measured in data.items():
        assert measured, f"nothing was measured for {title}"
        assert title == "stamp" or f"## {title}" in page


@pytest.mark.parametrize("variant", ["paper", "single-tower", "torchvision", "80sec", "lenet5"])
def test_contenders_train_the_same_network(scripts: None, variant: str) -> None:
    import networks

    with zeros():
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

    with zeros():
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


def test_peers_compute_the_same_logits(scripts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of up to 9216 terms in another order: far less than 1e-5 of the largest logit."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import networks
    import peer_onnxruntime

    monkeypatch.setenv("BENCHMARK_THREADS", "1")
    for variant in ("paper", "80sec"):
        model = networks.own(variant).eval()
        pixels, _ = networks.arrays(variant, 2)
        images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        with minidl.no_grad():
            own = model(minidl.from_numpy(images)).numpy()
        other = peer_onnxruntime.logits(model)(images)
        assert np.abs(own - other).max() < 1e-5 * np.abs(own).max()


@pytest.mark.parametrize("variant", ["80sec", "torchvision"])
def test_onnxruntimes_profile_has_our_layers(
    scripts: None, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import layers
    import peer_onnxruntime

    monkeypatch.setenv("BENCHMARK_THREADS", "1")
    profile = peer_onnxruntime.make("layers", variant, 1).time(1)
    ours = [unit for unit in layers.UNITS[variant] if unit.startswith(("conv", "pool", "fc"))]
    assert [unit for unit in profile if unit in ours] == ours
    assert all(seconds > 0 for seconds in profile.values())


@pytest.mark.parametrize("variant", ["80sec", "lenet5", "paper"])
def test_jax_takes_the_same_step(
    scripts: None, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    jax = pytest.importorskip("jax")
    import networks
    import peer_jax

    monkeypatch.setenv("BENCHMARK_THREADS", "1")
    monkeypatch.setattr(peer_jax.os, "sched_setaffinity", lambda pid, cores: None)
    minidl.manual_seed(0)
    values = networks.own(variant).state_dict().values()
    model = networks.sequence(minidl.nn, variant).eval()  # with the usual dropout, as JAX's
    model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    minidl.manual_seed(0)
    parameters, logits = peer_jax.network(variant)
    pixels, _ = networks.arrays(variant, 2)
    with minidl.no_grad():
        own = model(minidl.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    assert np.abs(own - jax.jit(logits)(parameters, pixels)).max() < 1e-5 * np.abs(own).max()
    if variant != "paper":
        assert peer_jax.make("train_step", variant, 2).time(1)["step"] > 0


def test_a_missing_library_is_named(scripts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import harness

    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: None)
    settings = harness.Settings(without=("jax",))
    names, notes = harness.available(settings, ("torch", "torch compile", "onnxruntime", "jax"))
    assert names == [] and len(notes) == 3
    assert notes[1].startswith("ONNX Runtime is omitted: it is not installed (pip install")
    assert notes[2] == "JAX is omitted, as requested on the command line."
    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: True)
    settings = harness.Settings(without=("bfloat16",))
    assert harness.available(settings, ("torch", "torch bfloat16")) == (["torch"], [])


def test_machines_side_by_side(scripts: None) -> None:
    import compare

    first = {"stamp": {"processor": "A", "threads": 2}, "In short": [["speed", "3×", "≥ 2×"]]}
    second = {"stamp": {"processor": "B"}, "In short": [["memory", "1", ""], ["speed", "4×", ""]]}
    lines = compare.side_by_side({"a": first, "b": second}).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[0] == ["what", "a", "b", "aim"]
    assert ["processor", "A", "B", ""] in rows and ["threads", "2", "", ""] in rows
    assert ["speed", "3×", "4×", "≥ 2×"] in rows and ["memory", "", "1", ""] in rows
    stored = compare.read(sorted(compare.RESULTS.glob("*.json")))
    page = (compare.RESULTS / "side-by-side.md").read_text(encoding="utf-8")
    assert len(stored) > 1 and compare.side_by_side(stored) in page
