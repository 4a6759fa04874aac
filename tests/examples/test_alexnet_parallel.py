"""``alexnet_imagenet.py --parallel`` on several ranks: the numbers, signals and faults."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
import ranks
from PIL import Image

import minidl

pytestmark = ranks.needs_mpi

#: Six steps of 10 pictures, which 4 ranks can't share evenly, on a network for 32 x 32 pixels.
SETTINGS = (
    "--variant", "cifar", "--batch-size", 10, "--limit-batches", 3, "--epochs", 2,
    "--workers", 0, "--lr", 0.5,
)  # fmt: skip

#: A step of 6 pictures, on the paper's network for 227 x 227 pixels.
WHOLE = (
    "--variant", "original", "--batch-size", 6, "--limit-batches", 1, "--epochs", 1,
    "--workers", 0,
)  # fmt: skip

#: Numbers of ranks, and how they cut a network.
CUTS = (2, "towers"), (2, "hybrid"), (4, "hybrid")

SEVERAL = Path(__file__).with_name("several_runs.py")


def words(*arguments: object) -> list[str]:
    return programs.command("alexnet_imagenet.py", *arguments)[1:]


def together(folder: Path, count: int, *runs: tuple[object, ...]) -> str:
    """Make runs, one after another, in one process or on several ranks; return what is printed."""
    text = json.dumps(runs)
    if count > 1:
        return ranks.run(count, "-W", "error", SEVERAL, text, folder=folder).stdout
    alone = subprocess.run(
        [sys.executable, "-W", "error", SEVERAL, text], cwd=folder, env=programs.environment(),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    return alone.stdout


def parameters(folder: Path) -> np.ndarray:
    state: Any = minidl.load(folder / "last.safetensors", weights_only=False)
    return np.concatenate([value.numpy().ravel() for value in state["model"].values()])


def test_ranks_equal_one_process(tmp_path: Path) -> None:
    def run(name: str, scheme: str | None = None, *settings: object) -> tuple[object, ...]:
        more = () if scheme is None else ("--parallel", scheme)
        return (*(settings or SETTINGS), "--output", name, *more)

    def goes_on(source: str, target: str, scheme: str | None = None) -> tuple[object, ...]:
        return run(target, scheme, "--resume", source, "--epochs", 2)

    said = {}
    together(tmp_path, 1, run("alone"), run("whole", None, *WHOLE))
    for count in (2, 4):
        chosen = [scheme for number, scheme in CUTS if number == count]
        said[count] = together(
            tmp_path, count, run(f"data-{count}", "data"),
            *([run("again", "data")] if count == 2 else []),
            *(run(f"{scheme}-{count}", scheme, *WHOLE) for scheme in chosen),
            *(goes_on("whole", f"whole-{scheme}-{count}", scheme) for scheme in chosen),
        )  # fmt: skip
    whole_2 = goes_on("whole", "whole-2")
    together(tmp_path, 1, whole_2, *(goes_on(f"{s}-{n}", f"{s}-{n}-alone") for n, s in CUTS))

    assert said[2].count("epoch 1/2: loss") == 2  # rank 0 alone speaks
    assert np.array_equal(parameters(tmp_path / "data-2"), parameters(tmp_path / "again"))
    pairs = [("alone", "data-2"), ("alone", "data-4")]
    for count, scheme in CUTS:
        name = f"{scheme}-{count}"
        pairs += [("whole", name), ("whole-2", f"{name}-alone"), ("whole-2", f"whole-{name}")]
        printed = said[count].split(f"--output {name} ")[1].split("run --")[0]
        traffic = re.findall(r"(\S+) (\S+) \((\S+)\)", printed.split("formula): ")[1])
        assert {word for word, *_ in traffic} >= {"fc6", "fc7", "fc8", "outputs"}
        if count == 2:  # which divides 6
            assert all(sent == formula for _, sent, formula in traffic), traffic
    for one, other in pairs:
        expected, found = (parameters(tmp_path / name) for name in (one, other))
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max(), (one, other)


LONG = (*SETTINGS[:4], "--limit-batches", 6, "--epochs", 1, *SETTINGS[8:], "--parallel", "data")


def test_signal_to_one_rank_then_another_number_of_ranks(tmp_path: Path) -> None:
    text = json.dumps([[*LONG, "--output", "run"]])
    result = ranks.run(2, SEVERAL, text, folder=tmp_path, status=143, STOP_RANK="1")
    assert result.stderr.count("saved after step 3") == 1
    go_on = "--resume", "run", "--parallel", "data", "--output"
    together(tmp_path, 2, (*go_on, "on-2"), (*LONG, "--output", "whole"))
    together(tmp_path, 4, (*go_on, "on-4"))
    whole, same, other = (parameters(tmp_path / name) for name in ("whole", "on-2", "on-4"))
    assert np.array_equal(same, whole)
    assert np.abs(other - whole).max() < 1e-4 * np.abs(whole).max()  # another order of addition


@pytest.mark.parametrize(("number", "rank"), [("SIGKILL", 0), ("SIGSTOP", 1)])
def test_a_lost_rank_ends_all(number: str, rank: int, tmp_path: Path) -> None:
    last = tmp_path / "run" / "last.safetensors"
    text = json.dumps([[*LONG, "--limit-batches", 300, "--save-minutes", 0, "--output", "run"]])
    process = ranks.start(2, SEVERAL, text, folder=tmp_path, MINIDL_HANG_SECONDS="5")
    until = time.monotonic() + 300  # on a machine that does much else, too
    while not last.exists():
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.05)
    victims = ranks.pids(process.pid)
    os.kill(victims[rank], getattr(signal, number))
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        for pid in filter(ranks.alive, (*victims.values(), process.pid)):
            os.kill(pid, signal.SIGKILL)  # in vain if all went well
    assert process.returncode not in (0, None), output
    assert f"rank {rank}" in output
    if number == "SIGSTOP":
        assert process.returncode == 5
        assert "rank 1 has given no sign of life for 5 seconds" in output
    assert minidl.load(last, weights_only=False)["progress"][2]


def test_nan_on_all_ranks(tmp_path: Path) -> None:
    arguments = *SETTINGS, "--lr", "1e30", "--parallel", "data", "--output", "run"
    result = ranks.run(2, *words(*arguments), folder=tmp_path, status=3)
    assert result.stderr.count("all 2 ranks end") == 1  # both meet it, one speaks
    assert "rank 0: " in result.stderr or "rank 1: " in result.stderr
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_processes_without_a_scheme(tmp_path: Path) -> None:
    result = ranks.run(2, *words(*SETTINGS), folder=tmp_path, status=2)
    assert result.stderr.count("2 processes were started") == 1
    assert "--parallel data" in result.stderr


def test_ranks_with_different_command_lines(tmp_path: Path) -> None:
    one, other = (words(*SETTINGS, "--parallel", "data", "--seed", seed) for seed in (0, 1))
    result = ranks.run(1, *one, ":", "-n", 1, sys.executable, *other, folder=tmp_path, status=2)
    assert result.stderr.count("rank 1 has --seed 1, but rank 0 has 0") == 1


def test_ranks_with_different_pictures(tmp_path: Path) -> None:
    for machine, count in (("a", 2), ("b", 3)):
        for split in ("train", "val"):
            folder = tmp_path / machine / "data" / split / "cat"
            folder.mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", (32, 32)).save(folder / f"{k}.png")
    same_path = "/proc/self/cwd/data"  # as on two machines
    one = words(*SETTINGS, "--parallel", "data", "--data", same_path)
    there = "-n", 1, "-wdir", tmp_path / "b", sys.executable
    result = ranks.run(1, *one, ":", *there, *one, folder=tmp_path / "a", status=2)
    assert re.search(r"rank 1 has training pictures 3 \(\w+\), but rank 0 has 2", result.stderr)
    assert result.stderr.count("all ranks need the same pictures, under the same --data") == 1
