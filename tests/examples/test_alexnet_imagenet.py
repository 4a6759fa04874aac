"""examples/alexnet_imagenet.py, run as a user does: in its own process, with tiny settings."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from programs import ROOT, assert_one_sentence, command, draw, environment, run
from small_networks import small_networks

import minidl
from minidl.data import Dataset
from minidl.training import Interruption, RunLog
from minidl.training.watch import NotFiniteError
from minidl.vision.batches import PictureBatches
from minidl.vision.models import alexnet

PROGRAM = "alexnet_imagenet.py"
# The network for 32×32 pixels, made smaller.
SMALL = ("--variant", "cifar", "--batch-size", 4, "--num-threads", 1)
ALONE = (*SMALL, "--workers", 0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 12 pictures: 22 (6 batches) to train with and 2 to validate with."""
    return draw(tmp_path_factory.mktemp("pictures"), ("cat", "dog"), 12, (48, 40))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[Path]:
    """The folder of an uninterrupted run of two epochs."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = "--data", pictures, *SMALL, "--epochs", 2, "--output", folder / "run"
    result = run(folder, PROGRAM, *arguments, figures=True)
    (folder / "stdout.txt").write_text(result.stdout)
    (folder / "stderr.txt").write_text(result.stderr)
    yield folder / "run"
    shutil.rmtree(folder)  # hundreds of megabytes


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run"
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


def interrupt(arguments: list[object], folder: Path, number: signal.Signals) -> str:
    """Start the program, send it a signal in its first steps, and return its last output."""
    process = subprocess.Popen(
        command(PROGRAM, *arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = b""
    while b"epoch 1/" not in said:  # the progress bar appears with the first step
        character = os.read(process.stderr.fileno(), 1)
        assert character, said
        said += character
    process.send_signal(number)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 128 + number, rest
    return rest.decode().splitlines()[-1]


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Compare bit for bit, including nested dicts and lists."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert set(a) == set(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{where}/{number}")
    elif isinstance(a, minidl.Tensor):
        assert a.dtype == b.dtype and np.array_equal(a.cpu().numpy(), b.cpu().numpy()), where
    else:
        assert a == b, where


@pytest.mark.usefixtures("device")
def test_writes_log_checkpoints_and_figures(whole_run: Path) -> None:
    printed = (whole_run.parent / "stdout.txt").read_text()
    assert "22 pictures of 2 classes to train with, 2 to validate with" in printed
    assert "epoch 2/2: loss" in printed and "top-1" in printed and "images/s" in printed
    assert "final, single crop: loss" in printed and "best: top-1" in printed
    assert str(whole_run) in printed
    assert "waiting for data" in (whole_run.parent / "stderr.txt").read_text()
    names = {path.name for path in whole_run.iterdir()}
    checkpoints = {f"{name}.safetensors" for name in ("last", "previous", "best")}
    assert checkpoints | {"log.jsonl", "filters.png", "report.md", "report.json"} <= names
    for module, start in (("matplotlib", "curves.png"), ("tensorboardX", "events.out.tfevents")):
        written = any(name.startswith(start) for name in names)
        assert written == (importlib.util.find_spec(module) is not None)

    epochs = [line for line in RunLog.read(whole_run / "log.jsonl") if line["kind"] == "epoch"]
    assert [line["step"] for line in epochs] == [6, 12]
    assert epochs[0]["train_loss"] == pytest.approx(np.log(2), abs=0.1)
    assert epochs[0]["images_per_second"] > 0
    with Image.open(whole_run / "filters.png") as picture:  # 64 kernels of 3×3, 16 per row
        assert picture.size == (4 * (16 * 4 + 1), 4 * (4 * 4 + 1))
    state = minidl.load(whole_run / "last.safetensors")
    assert state["progress"] == [2, 0, 12]
    assert state["options"]["classes"] == ["cat", "dog"]


@pytest.mark.usefixtures("device")
def test_evaluate_prints_the_scores_of_the_training(whole_run: Path) -> None:
    best = minidl.load(whole_run / "best.safetensors")["history"][-1]
    result = run(whole_run.parent, PROGRAM, "--evaluate", "--resume", whole_run)
    scores = "(one crop): loss {val_loss:.3f}, top-1 {top1:.2f} %, top-5 {top5:.2f} %"
    assert scores.format(**best) in result.stdout
    result = run(whole_run.parent, PROGRAM, "--evaluate", "--ten-crop", "--resume", whole_run)
    assert "(ten crops): loss" in result.stdout


@pytest.mark.usefixtures("device")
def test_resumed_run_equals_the_uninterrupted_one(
    whole_run: Path, pictures: Path, output: Path
) -> None:
    arguments = ["--data", pictures, *SMALL, "--epochs", 2, "--output", output]
    said = interrupt(arguments, output.parent, signal.SIGINT)
    epoch, batch, step = minidl.load(output / "last.safetensors")["progress"]
    assert epoch == 0 and 0 < batch == step < 6

    # Run the command that it printed, with different numbers of threads and workers.
    python, program, *words = shlex.split(said.partition("to go on: ")[2])
    assert python == "python" and Path(program).name == PROGRAM
    subprocess.run(
        command(PROGRAM, *words, "--num-threads", 2, "--workers", 0),
        cwd=output.parent,
        env=environment(),
        check=True,
        capture_output=True,
    )
    whole = minidl.load(whole_run / "last.safetensors")
    resumed = minidl.load(output / "last.safetensors")
    for state in (whole, resumed):
        for free in ("output", "num_threads", "workers", "command"):
            del state["options"][free]
    assert_same(resumed, whole)
    keys = ("kind", "step", "train_loss", "val_loss", "top1", "lr")
    logs = [
        [[line.get(key) for key in keys] for line in RunLog.read(folder / "log.jsonl")]
        for folder in (whole_run, output)
    ]
    assert logs[0] == logs[1]
    began, went_on = json.loads((output / "report.json").read_text())["command"].splitlines()
    assert f"--data {pictures}" in began and "--resume" not in began
    assert f"--resume {output}" in went_on and "--workers 0" in went_on


def test_sigterm_saves(pictures: Path, output: Path) -> None:
    arguments = ["--data", pictures, *ALONE, "--epochs", 2, "--output", output]
    assert "--resume" in interrupt(arguments, output.parent, signal.SIGTERM)
    assert minidl.load(output / "last.safetensors")["progress"][2] > 0


@pytest.mark.skipif(os.name == "nt", reason="closed pipes behave differently")
def test_ctrl_c_saves_even_if_the_output_is_closed(pictures: Path, output: Path) -> None:
    """The reader may be ``tee``, which Ctrl-C ends, too."""
    process = subprocess.Popen(
        command(PROGRAM, "--data", pictures, *ALONE, "--epochs", 9, "--output", output),
        cwd=output.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    while b"output in" not in process.stdout.readline():
        pass
    process.stdout.close()
    while not (output / "best.safetensors").exists():  # after the first epoch
        assert process.poll() is None
        time.sleep(0.05)
    before = minidl.load(output / "best.safetensors")["progress"][2]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert minidl.load(output / "last.safetensors")["progress"][2] > before


def test_mistakes_of_the_command_line(
    tmp_path: Path,
    whole_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parse = runpy.run_path(str(ROOT / "examples" / PROGRAM))["parse"]
    for words, said in {
        ("--lr", "-1"): "argument --lr: expected a number of 0.0 or more, got '-1'",
        ("--seed", "-1"): "argument --seed: expected a whole number of 0 or more, got '-1'",
        ("--workers", "x"): "argument --workers: expected a whole number of 0 or more, got 'x'",
        ("--data", ".", "--synthetic"): "--synthetic: not allowed with argument --data",
    }.items():
        monkeypatch.setattr("sys.argv", [PROGRAM, *words])
        with pytest.raises(SystemExit):
            parse()
        assert said in capsys.readouterr().err
    result = run(tmp_path, PROGRAM, "--epochs", 0, status=2)
    assert "argument --epochs: expected a" in result.stderr
    result = run(tmp_path, PROGRAM, "--resume", whole_run, "--epochs", 1, status=2)
    assert_one_sentence(result, "--epochs 1", "step 12")


def test_a_resumed_run_overwrites_no_other(whole_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "log.jsonl").write_text("")
    result = run(tmp_path, PROGRAM, "--resume", whole_run, "--output", other, status=2)
    assert_one_sentence(result, str(other), "holds a run already")


def test_a_read_only_folder_is_reported_at_once(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = ("--data", pictures, *ALONE, "--output", tmp_path / "file")
    assert_one_sentence(run(tmp_path, PROGRAM, *options, status=2), str(tmp_path / "file"))


def test_a_resumed_program_keeps_its_settings(whole_run: Path) -> None:
    result = run(whole_run.parent, PROGRAM, "--resume", whole_run, "--lr", 1, status=2)
    assert_one_sentence(result, "--lr", "0.01")


def test_a_finished_run_is_not_overwritten(whole_run: Path) -> None:
    result = run(whole_run.parent, PROGRAM, "--synthetic", "--output", whole_run, status=2)
    assert_one_sentence(result, str(whole_run))


def test_the_papers_network_at_full_size(output: Path) -> None:
    result = run(
        output.parent, PROGRAM, "--synthetic", "--limit-batches", 1, "--batch-size", 2,
        "--epochs", 1, "--num-threads", 1, "--output", output,
    )  # fmt: skip
    assert "variant paper" in result.stdout and "epoch 1/1" in result.stdout
    with Image.open(output / "filters.png") as picture:  # 96 kernels of 11×11, two towers
        assert picture.size == (4 * (16 * 12 + 1), 4 * (2 * (3 * 12 + 1) + 1))


@pytest.mark.usefixtures("device")
def test_a_nan_loss_ends_the_run(pictures: Path, output: Path) -> None:
    result = run(
        output.parent, PROGRAM, "--data", pictures, *ALONE, "--lr", 1e30, "--schedule", "constant",
        "--limit-batches", 3, "--output", output, status=3,
    )  # fmt: skip
    said = result.stderr.replace("\r", "\n").splitlines()[-1]
    assert "nan" in said and "step 2" in said and "features." in said and "--lr" in said
    assert not list(output.glob("*.safetensors"))


class Noise(Dataset):
    """Twelve pictures."""

    transform: Any = None

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Any, int]:
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        return self.transform(Image.fromarray(pixels)), index % 2


def make_trainer(device: str, output: Path, **changed: Any) -> Any:
    """Return the program's ``Run``: three steps an epoch."""
    program = runpy.run_path(str(ROOT / "examples" / PROGRAM))
    settings = {**program["DEFAULTS"], **vars(program["Recipe"](epochs=1)), "classes": ["a", "b"]}
    settings |= {"output": str(output), **changed}
    minidl.manual_seed(0)
    with small_networks():
        model = alexnet("cifar", 2).to(device)
    batches = PictureBatches(model, Noise(), Noise(), batch_size=4, workers=0, folder=output)
    return program["Run"](model, batches, argparse.Namespace(**settings))


@pytest.fixture
def trainer(device: str, output: Path) -> Any:
    """The program's ``Run``, set to save in every step."""
    return make_trainer(device, output, save_minutes=0)


def test_conv1_has_the_rate_that_its_initial_values_need(trainer: Any) -> None:
    model, options = trainer.model, trainer.options
    assert {group["lr"] for group in trainer.groups(model, options)} == {0.01, 0.02}
    model.conv1_rate = 10.0
    groups = trainer.groups(model, options)
    assert [(group["first_layer"], group["lr"]) for group in groups] == [
        (False, 0.01), (True, 0.1), (False, 0.02), (True, 0.2),
    ]  # fmt: skip


def test_broken_gradient_is_not_saved(trainer: Any, output: Path) -> None:
    step = trainer.optimizer.step

    def break_then_step() -> None:
        if trainer.step == 1:
            trainer.model.features[3].weight.grad.array[0, 0, 0, 0] = np.nan
            trainer.options.save_minutes = 60  # found when the losses are read
        step()

    trainer.optimizer.step = break_then_step
    message = r"^the gradient of features\.3\.weight has 1 nan in step 2$"
    if trainer.pictures.device.type == "gpu":  # which reads losses only in the epoch's last step
        message = r"^the loss is nan in step 3: the parameter features\.0\.weight has 27 nan$"
    with pytest.raises(NotFiniteError, match=message):
        trainer.train(Interruption())
    assert minidl.load(output / "last.safetensors")["progress"] == [0, 1, 1]


def mixed(device: str, output: Path, stop_after: int = 0, amp: bool = True) -> tuple[Any, ...]:
    """Train with ``--amp`` from a scale that overflows; resume if there is a checkpoint.

    Returns the run, and of each step its scale, its loss and whether it changed the weights.
    """
    output.mkdir(exist_ok=True)
    run = make_trainer(device, output, amp=amp, epochs=2, report=False)
    interruption, steps = Interruption(), []
    scaler, change, check_loss = run.scaler, run.scaler.update, run.check_loss
    weight = next(run.model.parameters())

    def check(loss: Any, images: Any) -> None:
        steps.append([scaler.get_scale(), loss.item(), weight.numpy(force=True).copy()])
        check_loss(loss, images)

    def update() -> None:
        steps[-1][2] = not np.array_equal(steps[-1][2], weight.numpy(force=True))
        change()
        interruption.number = 15 if run.step + 1 == stop_after else 0

    run.check_loss, scaler.update = check, update
    if (output / "last.safetensors").exists():
        run.load(minidl.load(output / "last.safetensors"))
    elif amp:
        # Two pictures' probabilities of two classes: gradients of the scores are about 1/8, and
        # float16 ends below 2**16.
        state = {**scaler.state_dict(), "scale": 2.0**20, "growth_interval": 2}
        scaler.load_state_dict(state)
    assert run.train(interruption) == (143 if stop_after else 0)
    return run, steps


def test_mixed_precision_from_start_to_end(gpu: str, tmp_path: Path) -> None:
    run, steps = mixed(gpu, tmp_path / "whole")
    scales, losses, changed = zip(*steps, strict=True)
    assert changed[:2] == (False, False) and changed.count(True) >= 3
    expected, good = [2.0**20], 0
    for went_well in changed[:-1]:  # PyTorch's rule
        good = good + 1 if went_well else 0
        expected.append(expected[-1] * (0.5 if not went_well else 2 if good == 2 else 1))
        good %= 2
    assert list(scales) == expected and max(scales[3:]) > scales[2]  # it has risen, too
    _, exact = mixed(gpu, tmp_path / "exact", amp=False)
    # The first three losses are those of the initial weights, whatever was skipped.
    assert losses[0] == pytest.approx(exact[0][1], rel=20 * 2.0**-11)
    whole = minidl.load(tmp_path / "whole" / "last.safetensors")
    for stop in (1, 4):  # in an overflow; when the scale has a step behind it
        folder = tmp_path / str(stop)
        before = mixed(gpu, folder, stop_after=stop)[1]
        resumed, rest = mixed(gpu, folder)
        assert before + rest == steps
        state = minidl.load(folder / "last.safetensors")
        assert_same(state["scaler"], whole["scaler"])
        assert_same(state["model"], whole["model"])
        assert_same(state["optimizer"], whole["optimizer"])
        assert resumed.scaler.state_dict() == run.scaler.state_dict()


def test_a_run_with_mixed_precision_changes_its_device(gpu: str, tmp_path: Path) -> None:
    """A CPU computes in float32, without a scaler; a GPU that goes on begins with a new one."""
    mixed("cpu", tmp_path / "run", stop_after=1)
    assert "scaler" not in minidl.load(tmp_path / "run" / "last.safetensors")
    run, steps = mixed(gpu, tmp_path / "run", stop_after=3)
    assert run.scaler.is_enabled() and [scale for scale, *_ in steps] == [65536, 65536]
    run, steps = mixed("cpu", tmp_path / "run")
    assert not run.scaler.is_enabled() and all(changed for *_, changed in steps)


def test_broken_weights_are_not_saved(trainer: Any, output: Path) -> None:
    """On a GPU a checkpoint may be due before the losses are read."""
    trainer.model.features[0].bias.data[3] = np.inf
    with pytest.raises(NotFiniteError, match=r"features\.0\.bias has 1 inf"):
        trainer.save()
    assert not list(output.glob("*.safetensors"))


def test_a_flat_loss_gets_one_hint(trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trainer.flat.update([np.log(2)] * 1999)
    trainer.means.update(minidl.tensor(0.69))
    trainer.step = 2000
    trainer.read_losses(minidl.zeros(1))
    trainer.read_losses(minidl.zeros(1))
    assert capsys.readouterr().err.count("hint: after 2000 steps the loss is still") == 1


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(whole_run: Path, output: Path) -> None:
    """The previous one is from the first epoch; the rate is dropped by hand in the second."""
    output.mkdir()
    shutil.copy(whole_run / "previous.safetensors", output)
    (output / "last.safetensors").write_bytes((whole_run / "last.safetensors").read_bytes()[:999])
    shutil.copy(whole_run / "log.jsonl", output)
    result = run(output.parent, PROGRAM, "--resume", output, "--ten-crop", "--lr-drop-at", 1)
    assert "last.safetensors" in result.stderr and "previous.safetensors" in result.stderr
    assert "single crop: loss" in result.stdout and "ten crops: loss" in result.stdout
    assert set(json.loads((output / "report.json").read_text())["results"]) == {
        "single crop", "ten crops",
    }  # fmt: skip
    epochs = [line for line in RunLog.read(output / "log.jsonl") if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2]
    groups = minidl.load(output / "last.safetensors")["optimizer"]["param_groups"]
    assert [group["lr"] for group in groups] == pytest.approx(
        [rate * 13 / 31 for rate in (1e-3, 1e-3, 2e-3, 2e-3)]  # during the warm-up
    )


def test_bad_pictures_are_replaced_and_listed(pictures: Path, output: Path) -> None:
    mixed = shutil.copytree(pictures, output.parent / "mixed")
    (mixed / "cat" / "003.jpg").write_bytes(b"")
    options = ("--data", mixed, *ALONE, "--epochs", 1, "--output", output)
    result = run(output.parent, PROGRAM, *options, status=2)
    assert "add --on-bad-image skip" in result.stderr and "003.jpg" in result.stderr
    result = run(output.parent, PROGRAM, "--on-bad-image", "skip", "--resume", output)
    assert "pictures that could not be read: 1, listed in" in result.stdout
    assert "003.jpg" in (output / "bad-images.txt").read_text()
    assert json.loads((output / "report.json").read_text())["bad_pictures"] == 1


@pytest.mark.skipif(os.name == "nt", reason="there are no limits on file sizes")
def test_a_full_disk_does_not_stop_the_training(pictures: Path, output: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    result = subprocess.run(
        command(PROGRAM, "--data", pictures, *ALONE, "--epochs", 1, "--output", output),
        cwd=output.parent,
        env=environment(),
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    assert result.returncode == 4, result.stderr
    assert "no checkpoint was saved" in result.stderr
    assert "epoch 1/1" in result.stdout
    assert not list(output.glob(".minidl-*"))
    assert [path.name for path in output.glob("*.safetensors")] == ["predictions.safetensors"]


def test_wrong_data(tmp_path: Path) -> None:
    result = run(tmp_path, PROGRAM, "--data", tmp_path / "nothing", status=2)
    assert_one_sentence(result, str(tmp_path / "nothing"), "expected", "found nothing")
    result = run(tmp_path, PROGRAM, "--data", tmp_path, status=2)
    assert_one_sentence(result, str(tmp_path), "expected", "found nothing")


@pytest.mark.skipif(minidl.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu(tmp_path: Path) -> None:
    result = run(tmp_path, PROGRAM, "--device", "gpu", status=2)
    assert_one_sentence(result, "GPU")
    assert not list(tmp_path.iterdir())
