"""``alexnet_imagenet.py --parallel`` on several ranks: the numbers, signals and faults."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
import ranks

import minidl

pytestmark = ranks.needs_mpi

#: Six steps of 10 pictures, which 4 ranks can't share evenly, on a network for 32 x 32 pixels.
SETTINGS = (
    "--variant", "cifar", "--batch-size", 10, "--limit-batches", 3, "--epochs", 2,
    "--workers", 0, "--lr", 0.5,
)  # fmt: skip


def words(*arguments: object) -> list[str]:
    return programs.command("alexnet_imagenet.py", *arguments)[1:]


def parameters(folder: Path) -> np.ndarray:
    state: Any = minidl.load(folder / "last.safetensors", weights_only=False)
    return np.concatenate([value.numpy().ravel() for value in state["model"].values()])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The parameters of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    programs.run(folder, "alexnet_imagenet.py", *SETTINGS, "--output", "run")
    return parameters(folder / "run")


@pytest.mark.parametrize("count", [2, 4])
def test_ranks_equal_one_process(count: int, alone: np.ndarray, tmp_path: Path) -> None:
    for name in ("first", "second")[: 2 if count == 2 else 1]:
        arguments = *SETTINGS, "--parallel", "data", "--output", name
        result = ranks.run(count, *words(*arguments), folder=tmp_path)
        assert result.stdout.count("epoch 1/2: loss") == 1  # rank 0 alone speaks
    found = parameters(tmp_path / "first")
    if count == 2:
        assert np.array_equal(found, parameters(tmp_path / "second"))
    assert np.abs(found - alone).max() < 1e-5 * np.abs(alone).max()


@pytest.mark.parametrize(("count", "scheme"), [(2, "towers"), (2, "hybrid"), (4, "hybrid")])
def test_cut_networks_equal_one_process(count: int, scheme: str, tmp_path: Path) -> None:
    more = "--variant", "original", "--batch-size", 6, "--limit-batches", 1, "--output"
    settings = *SETTINGS[:6], "--epochs", 1, "--workers", 0, *more
    programs.run(tmp_path, "alexnet_imagenet.py", *settings, "alone")
    result = ranks.run(count, *words(*settings, "cut", "--parallel", scheme), folder=tmp_path)
    alone, found = (parameters(tmp_path / name) for name in ("alone", "cut"))
    assert np.abs(found - alone).max() < 1e-5 * np.abs(alone).max()
    pairs = re.findall(r"(\S+) (\S+) \((\S+)\)", result.stdout.split("formula): ")[1])
    assert {name for name, *_ in pairs} >= {"fc6", "fc7", "fc8", "outputs"}
    if count == 2:  # which divides 6
        assert all(sent == formula for _, sent, formula in pairs), pairs
    for name, target in (("cut", "alone-2"), ("alone", "cut-2")):  # each goes on from the other's
        resume = "--resume", name, "--epochs", 2, "--output", target
        if target == "alone-2":
            programs.run(tmp_path, "alexnet_imagenet.py", *resume)
        else:
            ranks.run(count, *words(*resume, "--parallel", scheme), folder=tmp_path)
    alone, found = (parameters(tmp_path / name) for name in ("alone-2", "cut-2"))
    assert np.abs(found - alone).max() < 1e-5 * np.abs(alone).max()


def wait_for_steps(process: Any, log: Path, text: str = '"step"') -> None:
    until = time.monotonic() + 60
    while not (log.exists() and text in log.read_text()):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.05)


LONG = (*SETTINGS[:4], "--limit-batches", 30, "--epochs", 1, *SETTINGS[8:], "--parallel", "data")


def test_signal_to_one_rank_then_another_number_of_ranks(tmp_path: Path) -> None:
    process = ranks.start(2, *words(*LONG, "--output", "run"), folder=tmp_path)
    wait_for_steps(process, tmp_path / "run" / "log.jsonl")
    os.kill(ranks.pids(process.pid)[1], signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert output.count("saved after step") == 1
    for count in (2, 4):
        target = "--output", f"on-{count}"
        ranks.run(count, *words("--resume", "run", "--parallel", "data", *target), folder=tmp_path)
    ranks.run(2, *words(*LONG, "--output", "whole"), folder=tmp_path)
    whole, same, other = (parameters(tmp_path / name) for name in ("whole", "on-2", "on-4"))
    assert np.array_equal(same, whole)
    assert np.abs(other - whole).max() < 1e-4 * np.abs(whole).max()  # another order of addition


@pytest.mark.parametrize(("number", "rank"), [("SIGKILL", 0), ("SIGKILL", 1), ("SIGSTOP", 1)])
def test_a_lost_rank_ends_all(number: str, rank: int, tmp_path: Path) -> None:
    arguments = *LONG, "--save-minutes", 0, "--output", "run"
    process = ranks.start(2, *words(*arguments), folder=tmp_path, MINIDL_HANG_SECONDS="2")
    wait_for_steps(process, tmp_path / "run" / "log.jsonl")
    victims = ranks.pids(process.pid)
    os.kill(victims[rank], getattr(signal, number))
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        for pid in filter(ranks.alive, (*victims.values(), process.pid)):
            os.kill(pid, signal.SIGKILL)  # in vain if all went well
    assert process.returncode not in (0, None), output
    assert f"rank {rank}" in output
    if number == "SIGSTOP":
        assert process.returncode == 5
        assert "rank 1 has given no sign of life for 2 seconds" in output
    assert minidl.load(tmp_path / "run" / "last.safetensors", weights_only=False)["progress"][2]


def test_nan_on_all_ranks(tmp_path: Path) -> None:
    arguments = *SETTINGS, "--lr", "1e30", "--parallel", "data", "--output", "run"
    result = ranks.run(2, *words(*arguments), folder=tmp_path, status=3)
    assert "rank 0: " in result.stderr or "rank 1: " in result.stderr
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_processes_without_a_scheme(tmp_path: Path) -> None:
    result = ranks.run(2, *words(*SETTINGS), folder=tmp_path, status=2)
    assert "2 processes were started" in result.stderr and "--parallel data" in result.stderr
