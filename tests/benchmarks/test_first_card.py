"""The program for the first run on a card goes through on the simulator."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "first_card.py"


@pytest.fixture
def first_card(gpu: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("FIRST_CARD", "simulated")
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("first_card", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs_through(first_card: Any) -> None:
    results = json.loads(first_card.main().read_text(encoding="utf-8"))
    assert list(results) == list(first_card.parts())
    assert [name for name, result in results.items() if "FAILED" in result] == []
    assert all(results[f"tests: {group}"]["passed"] > 0 for group in first_card.TESTS)
    assert results["training"]["status"] == 0 and results["profile"]["mixed"]["launches"] > 0
    assert results["against the CPU"]["largest deviation"] < 1e-4
    page = Path("first_card.md").read_text(encoding="utf-8")
    assert "SIMULATED" in page and all(f"## {name}\n" in page for name in results)


def test_a_part_that_fails_loses_nothing_of_the_others(
    first_card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = first_card.parts()
    with monkeypatch.context() as patch:
        patch.setattr(first_card, "output_of", lambda command, seconds: "no card")
        for name in every:
            assert first_card.run_part(name, 1)["FAILED"] == "no card"
    chosen = {name: every[name] for name in ("driver", "against the CPU")}
    monkeypatch.setattr(first_card, "parts", lambda: chosen)
    monkeypatch.setenv("FIRST_CARD", "simulated")
    monkeypatch.setenv("FIRST_CARD_FAIL", "driver")
    results = json.loads(first_card.main().read_text(encoding="utf-8"))
    assert "told to fail" in results["driver"]["FAILED"]
    assert results["against the CPU"]["losses"]["gpu"]
