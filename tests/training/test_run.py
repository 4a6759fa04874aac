"""minidl.training.run and .state: an interrupted run ends like an uninterrupted one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, training
from minidl.errors import ArgumentError, CheckpointError, DataError
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD
from minidl.training.settings import begin
from minidl.training.signals import Interruption

EPOCHS, BATCHES = 2, 3


class Run(training.Run):
    """A network with dropout that separates two classes of numbers."""

    data_advice = ", or buy a new disk"

    def __init__(self, output: Path, schedule: str = "cosine", **options: Any) -> None:
        minidl.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        settings = {"classes": ["a", "b"], "epochs": EPOCHS, "lr_drop_at": None,
                    "output": str(output), "save_minutes": 15, **options}  # fmt: skip
        groups = training.schedules.parameter_groups(model, model[0], lr=0.1, decay=0.01)
        optimizer = SGD(groups, momentum=0.9)
        scheduler = training.schedules.make_scheduler(
            optimizer, schedule, settings["epochs"], BATCHES, drops=settings["lr_drop_at"]
        )
        super().__init__(model, optimizer, scheduler, argparse.Namespace(**settings), BATCHES)
        self.before_step: Callable[[], None] = lambda: None
        self.scores = [50.0, 75.0, 25.0, 25.0, 25.0, 25.0, 25.0]

    def batch_of(self, number: int) -> tuple[minidl.Tensor, minidl.Tensor]:
        x = np.random.default_rng(number).standard_normal((5, 4), np.float32)
        return minidl.tensor(x), minidl.tensor((x[:, 0] > 0).astype(np.int64))

    def train_epoch(self) -> float:
        self.model.train()
        numbers = range(BATCHES * self.epoch + self.batch, BATCHES * (self.epoch + 1))
        with self.progress(map(self.batch_of, numbers)) as batches:
            for images, labels in batches:
                self.optimizer.zero_grad()
                logits = self.model(images)
                loss = cross_entropy(logits, labels)
                self.check_loss(loss, images)
                loss.backward()
                self.before_step()
                self.optimizer.step()
                self.end_step(images, loss, minidl.tensor(60.0))
        return batches.speed

    def validate(self) -> dict[str, float]:
        return {"loss": 0.5, "top1": self.scores[self.epoch], "top5": 100.0}

    def finish(self) -> None:
        self.write_report({"one": self.last_scores()}, pictures=7)

    def in_step(self, number: int, act: Callable[[], None]) -> Run:
        """Do something in the middle of a step."""
        self.before_step = lambda: act() if self.step == number else None
        return self


def load(folder: Path, name: str = "last") -> Any:
    return minidl.load(folder / f"{name}.safetensors")


def weights(folder: Path) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in load(folder)["model"].values()]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The folder of an uninterrupted run."""
    (tmp_path / "whole").mkdir()
    assert Run(tmp_path / "whole").train(Interruption()) == 0
    return tmp_path / "whole"


def test_a_complete_run(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = load(whole)
    assert list(state) == ["model", "optimizer", "scheduler", "means", "flat", "rng", "options",
                           "progress", "history", "versions"]  # fmt: skip
    assert state["progress"] == [2, 0, 6]
    assert [line["top1"] for line in state["history"]] == [50.0, 75.0]
    assert state["history"][0]["train_top1"] == pytest.approx(60)
    entries = training.RunLog.read(whole / "log.jsonl")
    assert [(entry["kind"], entry["step"]) for entry in entries] == [("epoch", 3), ("epoch", 6)]
    report = json.loads((whole / "report.json").read_text())
    assert report["results"]["one"]["top1"] == 75 and report["settings"]["pictures"] == 7


@pytest.mark.parametrize("step", range(EPOCHS * BATCHES))
def test_a_resume_after_a_signal_gives_the_same_bits(
    step: int, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    interruption = Interruption()
    run = Run(tmp_path).in_step(step, lambda: setattr(interruption, "number", 15))
    run.go_on = () if step % 2 else ("many.py", "--all")
    assert run.train(interruption) == 143
    assert f"saved after step {step + 1}; to go on: python" in (said := capsys.readouterr().err)
    assert said.endswith(f" --resume {tmp_path}\n" if step % 2 else "python many.py --all\n")
    state = load(tmp_path)
    assert state["progress"] == [step // 3, step % 3 + 1, step + 1]
    resumed = Run(tmp_path)
    resumed.load(state)
    assert resumed.train(Interruption()) == 0
    for ours, expected in zip(weights(tmp_path), weights(whole), strict=True):
        assert np.array_equal(ours, expected)
    assert load(tmp_path)["history"] == load(whole)["history"]


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    Run(tmp_path, epochs=3).train(Interruption())
    progress = [load(tmp_path, name)["progress"][0] for name in ("best", "previous", "last")]
    assert progress == [2, 2, 3]


def test_bad_data_saves_and_raises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class BadDisk(Run):
        def batch_of(self, number: int) -> tuple[minidl.Tensor, minidl.Tensor]:
            if number == 4:
                raise DataError("a.jpg is cut off")
            return super().batch_of(number)

    with pytest.raises(DataError, match="cut off"):
        BadDisk(tmp_path).train(Interruption())
    said = capsys.readouterr().err
    assert "saved after step 4; to go on, fix the problem below, or buy a new disk: python" in said
    assert load(tmp_path)["progress"] == [1, 1, 4]


def test_nan_is_never_saved(tmp_path: Path) -> None:
    run = Run(tmp_path, save_minutes=0)
    bias = run.model[0].bias  # type: ignore[index]
    run.in_step(1, lambda: bias.grad.array.fill(np.nan))
    with pytest.raises(training.NotFiniteError, match=r"gradient of 0\.bias has 8 nan in step 2"):
        run.train(Interruption())
    assert load(tmp_path)["progress"] == [0, 1, 1]
    with pytest.raises(training.NotFiniteError):
        run.save()


@pytest.mark.parametrize("minutes, expected", [(0, [1, 2, 3, 3, 4, 5, 6, 6]), (60, [3, 6])])
def test_saves_at_an_interval(minutes: int, expected: list[int], tmp_path: Path) -> None:
    saved = []

    class Counted(Run):
        def save(self, best: bool = False) -> bool:
            saved.append(self.step)
            return super().save(best)

    Counted(tmp_path, save_minutes=minutes).train(Interruption())
    assert saved == expected


def test_a_run_without_a_checkpoint_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    monkeypatch.setattr(run.checkpoints, "save", lambda state, best, **options: False)
    assert run.train(Interruption()) == training.program.UNSAVED == 4


def test_failing_figures_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(self: Run) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Run, "draw", draw)
    assert Run(tmp_path).train(Interruption()) == 0
    assert capsys.readouterr().err.count("the figures can't be written (no room)") == 1


def test_plateau_moves_once_an_epoch(tmp_path: Path) -> None:
    run = Run(tmp_path, schedule="plateau", epochs=7)
    run.train(Interruption())
    epochs = [e for e in training.RunLog.read(run.log.path) if e["kind"] == "epoch"]
    # The second epoch is the best. After four worse ones the rate falls, in the seventh epoch.
    assert [entry["lr"] for entry in epochs] == pytest.approx([0.1] * 6 + [0.01])


def test_manual_rates_apply_from_the_first_step(tmp_path: Path) -> None:
    run = Run(tmp_path, schedule="constant")
    interruption = Interruption()
    run.in_step(3, lambda: setattr(interruption, "number", 2)).train(interruption)
    assert run.rate() == pytest.approx(0.1)
    resumed = Run(tmp_path, schedule="constant", lr_drop_at=[1])
    resumed.load(load(tmp_path))
    assert resumed.rate() == pytest.approx(0.01)


def test_a_run_can_be_extended_but_not_shortened(tmp_path: Path) -> None:
    Run(tmp_path).train(Interruption())
    longer = Run(tmp_path, epochs=3)
    longer.load(load(tmp_path))
    assert longer.train(Interruption()) == 0 and load(tmp_path)["progress"] == [3, 0, 9]
    with pytest.raises(ArgumentError, match=r"--epochs 2: the run is in epoch 4 .* step 9"):
        Run(tmp_path).load(load(tmp_path))


def test_another_version_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path)
    run.save()
    state = load(tmp_path)
    Run(tmp_path).load(state)
    assert capsys.readouterr().err == ""
    state["versions"] = {**state["versions"], "numpy": "1.0"}
    Run(tmp_path).load(state)
    assert "'numpy': '1.0'" in capsys.readouterr().err


def test_every_twentieth_step_is_logged(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=7)
    run.train(Interruption())
    (entry,) = [e for e in training.RunLog.read(run.log.path) if e["kind"] == "step"]
    assert entry["step"] == 20 and entry["loss"] > 0 and entry["lr"] > 0
    assert entry["images_per_second"] > 0 and 0 <= entry["data_share"] <= 1


def test_of_equal_scores_the_smaller_loss_is_the_best(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=4)
    losses = [0.5, 0.4, 0.6, 0.4]
    run.validate = lambda: {  # type: ignore[method-assign]
        "loss": losses[run.epoch], "top1": 50.0, "top5": 100.0,
    }  # fmt: skip
    assert run.train(Interruption()) == 0
    best = load(tmp_path, "best")
    assert best["progress"][0] == 2
    assert json.loads((tmp_path / "report.json").read_text())["best"]["epoch"] == 2


def test_the_best_may_be_weights_alone(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=2, save_weights=True)
    assert run.train(Interruption()) == 0
    best, last = load(tmp_path, "best"), load(tmp_path, "last")
    assert set(last) - set(best) == {"optimizer"}
    again = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    again.load_state_dict(best["model"])
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("best", "last")]
    assert sizes[0] < sizes[1]
    with pytest.raises(CheckpointError, match="no run can resume"):
        begin({"resume": tmp_path / "best.safetensors"}, {}, (), "runs/x")
    settings, path, _ = begin({"resume": tmp_path}, {}, (), "runs/x", evaluating=True)
    assert path == tmp_path / "best.safetensors" and settings["epochs"] == 2
