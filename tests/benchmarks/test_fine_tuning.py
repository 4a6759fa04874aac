"""benchmarks/fine_tuning.py: new classes, equal steps, frozen layers that stay."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import minidl
from minidl.vision.datasets import shapes
from minidl.vision.models import cuda_convnet

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_it_compares_both_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fine_tuning

    assert not set(fine_tuning.OUTLINES) & set(shapes.CLASSES) and len(fine_tuning.OUTLINES) == 10
    monkeypatch.setattr(shapes, "_OUTLINES", dict(shapes._OUTLINES))
    monkeypatch.setattr(fine_tuning, "SPLITS", {"train": 2, "val": 1})
    minidl.save(cuda_convnet("80sec").state_dict(), tmp_path / "net.safetensors")
    words = ["--weights", str(tmp_path / "net.safetensors"), "--output", str(tmp_path / "out")]
    words += ["--freeze", "conv1", "--epochs", "1", "--workers", "0", "--num-threads", "1"]
    monkeypatch.setattr(sys, "argv", ["fine_tuning.py", *words])
    for _ in range(2):  # the second time only the table is made
        fine_tuning.main()
        said = capsys.readouterr().out
        assert "conv1.weight: the same bits\nconv1.bias: the same bits\n" in said
        assert said.splitlines()[-1].startswith("| 1 | ") and said.count(" %") == 2
        monkeypatch.setattr(fine_tuning, "PROGRAM", tmp_path / "none.py")
