"""The program for the first run on a card goes through on the simulator."""

from __future__ import annotations

import importlib.util
import json
import sys
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
    for group in first_card.TESTS:
        counts = results[f"tests: {group}"]
        assert 0 < counts["begun"] == counts["found"] and counts["failed"] == 0
    assert results["training"]["status"] == 0 and results["profile"]["mixed"]["launches"] > 0
    assert results["against the CPU"]["largest deviation"] < 1e-4
    page = Path("first_card.md").read_text(encoding="utf-8")
    assert "SIMULATED" in page and all(f"## {name}\n" in page for name in results)


WAYS = {"raise": "told to fail", "crash": "signal 11", "hang": "time was over"}


@pytest.mark.parametrize("first", range(len(WAYS)))
def test_parts_that_fail_crash_or_hang_lose_nothing_of_the_others(
    first_card: Any, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """All parts but one fail, each in one of the ways; in the three tests, in every way."""
    healthy, parts = "against the CPU", first_card.parts()
    names = list(WAYS)
    plan = {name: names[(first + n) % 3] for n, name in enumerate(parts) if name != healthy}
    monkeypatch.setenv("FIRST_CARD_FAIL", json.dumps(plan))
    shares = {name: 0.1 if plan.get(name) == "hang" else 60 for name in parts}
    short = {name: (part[0], shares[name]) for name, part in parts.items()}
    monkeypatch.setattr(first_card, "parts", lambda: short)
    results = json.loads(first_card.main().read_text(encoding="utf-8"))
    assert list(results) == list(parts)
    for name, how in plan.items():
        assert WAYS[how] in results[name]["FAILED"], (name, how)
    assert results[healthy]["losses"]["gpu"]
    assert results[healthy]["largest deviation"] < 1e-4
    assert "told to fail" in Path("first_card.md").read_text(encoding="utf-8")


def run_tests(first_card: Any, patch: pytest.MonkeyPatch, folder: Path, code: str, s: int) -> Any:
    """Return what the part "tests: kernels" makes of a file of tests in `s` seconds."""
    (folder / "test_bad.py").write_text(f"import os, signal, time\n{code}", encoding="utf-8")
    program = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import first_card\n"
        f"first_card.TESTS = first_card.SMALL_TESTS = {{'kernels': [{str(folder)!r}]}}\n"
        "first_card.answer(*sys.argv[-2:])\n"
    )
    (folder / "program.py").write_text(program, encoding="utf-8")
    # The option of our conftest, which is not there.
    option = "def pytest_addoption(parser): parser.addoption('--device')\n"
    (folder / "its_option.py").write_text(option, encoding="utf-8")
    patch.setenv("PYTEST_ADDOPTS", "-p its_option")
    patch.setenv("PYTHONPATH", str(folder))
    patch.setattr(first_card, "__file__", str(folder / "program.py"))
    return first_card.run_part("tests: kernels", s)


def test_tests_that_end_their_process_lose_nothing_of_the_others(
    first_card: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = """
def test_one(): pass
def test_two(): assert False, "wrong number"
def test_three(): os.kill(os.getpid(), signal.SIGSEGV)
def test_four(): raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access")
def test_five(): pass
"""
    result = run_tests(first_card, monkeypatch, tmp_path, code, 600)
    assert (result["found"], result["begun"], result["passed"], result["failed"]) == (5, 5, 2, 3)
    texts = ("wrong number", "signal 11", "illegal memory access")
    for failing, text in zip(result["failing"], texts, strict=True):
        assert text in failing


def test_a_test_that_hangs_loses_nothing_of_those_before(
    first_card: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = "def test_one(): pass\ndef test_two(): time.sleep(1000)\n"
    result = run_tests(first_card, monkeypatch, tmp_path, code, 20)
    assert "test_two" in result["its time was over in"] and "FAILED" not in result
    assert (result["found"], result["begun"], result["passed"], result["failed"]) == (2, 2, 1, 0)


def test_a_child_that_lives_on_does_not_hold_the_program_up(first_card: Any) -> None:
    child = "import subprocess, sys; subprocess.Popen(['sleep', '1000']); print('gone')"
    assert first_card.output_of([sys.executable, "-c", child], 600).startswith("gone")
