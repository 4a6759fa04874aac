"""examples/alexnet_predict.py, run as a user does: in its own process, with a small network."""

from __future__ import annotations

import json
import runpy
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from programs import ROOT, assert_one_sentence, command, draw, environment, run
from small_networks import small_networks

import minidl
from minidl.nn.functional import softmax
from minidl.vision.datasets import pil_loader
from minidl.vision.models import alexnet, load_network
from minidl.vision.statistics import PixelSums
from minidl.vision.submission import check_submission
from minidl.vision.transforms.presets import alexnet_evaluation

PROGRAM = "alexnet_predict.py"
WNIDS = [f"n{number:08d}" for number in (5, 11, 17, 23, 31, 42, 57)]
NAMES = ["tench", "goldfish", "great white shark", "tiger shark", "hammerhead", "cock", "hen"]
IDS = [4, 1000, 7, 12, 999, 3, 501]


class Network:
    """Return the expected results, computed picture by picture without a loader."""

    def __init__(self, folder: Path) -> None:
        minidl.manual_seed(1)
        with small_networks():
            self.net = alexnet("cifar", len(WNIDS), init="he").eval()
        options = {"variant": "cifar", "init": "he", "classes": WNIDS, "dropout": 0.5}
        (folder / "run").mkdir()
        saved = {"model": self.net.state_dict(), "options": options}
        minidl.save(saved, folder / "run" / "best.safetensors")
        minidl.save(self.net.state_dict(), folder / "plain.safetensors")

    def probabilities(self, picture: Any, ten_crop: bool = False) -> np.ndarray:
        size, scale = self.net.input_size[-1], self.net.input_scale
        views = alexnet_evaluation(size, scale, ten_crop)(picture)
        with minidl.no_grad():
            one = softmax(self.net(views if ten_crop else minidl.stack([views])), 1).numpy()
        average: np.ndarray = one.mean(axis=0)
        return average


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run, its bare weights, a list of its classes, and pictures in nested folders."""
    folder = tmp_path_factory.mktemp("world")
    draw(folder / "pictures", ("b/deeper", "a"), 3, (50, 44))
    (folder / "pictures" / "notes.txt").write_text("no picture")
    rows = zip(IDS, WNIDS, NAMES, strict=True)
    lines = [f"{number} {wnid} {name}, another name" for number, wnid, name in rows]
    (folder / "list.txt").write_text("\n".join(reversed(lines)))  # in no order
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    yield folder
    for path in folder.rglob("*.safetensors"):  # a hundred megabytes each
        path.unlink()


@pytest.fixture(scope="module")
def network(world: Path) -> Network:
    return Network(world)


def table(stdout: str) -> dict[str, list[tuple[str, float]]]:
    """Return the names and percentages printed for each picture."""
    found = {}
    for block in stdout.removesuffix("\n\n").split("\n\n"):
        path, *lines = block.splitlines()
        parts = [line.split(" %  ") for line in lines]
        found[path] = [(name, float(percent)) for percent, name in parts]
    return found


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("ten_crop", [False, True])
def test_prints_the_classes_of_pictures(world: Path, network: Network, ten_crop: bool) -> None:
    result = run(
        world, PROGRAM, "pictures", "pictures/b/deeper/001.jpg", "--checkpoint", "run",
        "--batch-size", 4, *(["--ten-crop"] if ten_crop else []),
    )  # fmt: skip
    found = table(result.stdout)
    inside = [f"pictures/{name}/{number:03d}.jpg" for name in ("a", "b/deeper")
              for number in range(3)]  # fmt: skip
    assert list(found) == inside and result.stdout.count("pictures/b/deeper/001.jpg") == 2
    assert result.stderr == ""
    for path, answers in found.items():
        expected = network.probabilities(pil_loader(world / path), ten_crop)
        best = np.argsort(-expected, kind="stable")[:5]
        assert [name for name, _ in answers] == [WNIDS[label] for label in best]
        np.testing.assert_allclose([p for _, p in answers], 100 * expected[best], atol=0.0051)


def test_json_lines_with_the_names_of_a_list(world: Path, network: Network) -> None:
    first, second = (
        run(world, PROGRAM, "pictures/a", "--json", *arguments).stdout.splitlines()
        for arguments in (
            ("--checkpoint", "run/best.safetensors", "--devkit", "list.txt", "--workers", 0),
            ("--checkpoint", "plain.safetensors", "--variant", "cifar", "--classes", "names.txt"),
        )
    )
    assert len(first) == len(second) == 3
    for one, other in zip(map(json.loads, first), map(json.loads, second), strict=True):
        assert set(one) == {"file", "classes", "probabilities"} and one["file"] == other["file"]
        assert one["classes"] == [f"{name}, another name" for name in other["classes"]]
        assert set(other["classes"]) < set(NAMES)
        assert sorted(one["probabilities"], reverse=True) == one["probabilities"]
    expected = network.probabilities(pil_loader(world / "pictures/a/000.jpg"))
    answer = json.loads(first[0])
    by_name = dict(zip(answer["classes"], answer["probabilities"], strict=True))
    best = int(expected.argmax())
    assert by_name[f"{NAMES[best]}, another name"] == pytest.approx(expected[best], rel=1e-5)


def test_the_training_pictures_statistics_are_used(
    world: Path, network: Network, tmp_path: Path
) -> None:
    sums = PixelSums(40, 40)
    sums.add(np.random.default_rng(5).integers(0, 60, (40, 40, 3), dtype=np.uint8))
    state = minidl.load(world / "run" / "best.safetensors")
    for known in (None, sums.statistics()):
        state["pictures"] = {"statistics": known and asdict(known)}
        minidl.save(state, tmp_path / "last.safetensors")
        result = run(world, PROGRAM, "pictures/a/000.jpg", "--checkpoint",
                     tmp_path / "last.safetensors", "--json")  # fmt: skip
        crop = alexnet_evaluation(32, network.net.input_scale, statistics=known)
        with minidl.no_grad():
            picture = minidl.stack([crop(pil_loader(world / "pictures/a/000.jpg"))])
            expected = np.sort(softmax(network.net(picture), 1).numpy()[0])[::-1][:5]
        found = json.loads(result.stdout)["probabilities"]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    (tmp_path / "last.safetensors").unlink()


@pytest.mark.parametrize("ten_crop", [False, True])
def test_weights_bring_their_preprocessing(world: Path, ten_crop: bool) -> None:
    result = run(world, PROGRAM, "pictures/a/000.jpg", "--checkpoint", "80sec", "--json",
                 *(["--ten-crop"] if ten_crop else []))  # fmt: skip
    net = load_network("80sec")
    views = net.preprocessing.transforms(ten_crop)(pil_loader(world / "pictures/a/000.jpg"))
    with minidl.no_grad():
        logits = net(views if ten_crop else minidl.stack([views]))
    expected = np.sort(softmax(logits, 1).numpy().mean(axis=0))[::-1][:5]
    np.testing.assert_allclose(json.loads(result.stdout)["probabilities"], expected, rtol=1e-4)


def test_the_latest_run_is_the_default(world: Path, network: Network, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "alexnet-2").symlink_to(world / "run")
    (world / "run" / "last.safetensors").hardlink_to(world / "run" / "best.safetensors")
    try:
        result = run(tmp_path, PROGRAM, world / "pictures" / "a")
    finally:
        (world / "run" / "last.safetensors").unlink()
    assert len(table(result.stdout)) == 3


def test_unreadable_pictures_are_named_and_the_others_classified(
    world: Path, network: Network
) -> None:
    (world / "damaged.jpg").write_bytes((world / "pictures/a/000.jpg").read_bytes()[:400])
    result = run(
        world, PROGRAM, "damaged.jpg", "pictures/a/001.jpg", "missing.jpg", "--checkpoint", "run",
        "--batch-size", 1, status=1,
    )  # fmt: skip
    assert list(table(result.stdout)) == ["pictures/a/001.jpg"]
    first, second, last = result.stderr.splitlines()
    assert "damaged.jpg can't be decoded" in first and "missing.jpg" in second
    assert last.endswith("2 of 3 can't be read")


def test_submission(world: Path, network: Network, tmp_path: Path) -> None:
    test = tmp_path / "test"
    for number in (2, 3, 1):
        folder = test / str(9 - number)  # folders in a different order than the file names
        folder.mkdir(parents=True)
        name = f"ILSVRC2012_test_{number:08d}.JPEG"
        noise = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    result = run(
        tmp_path, PROGRAM, "test", "--checkpoint", world / "run", "--devkit", world / "list.txt",
        "--submission", "out.txt",
    )  # fmt: skip
    assert result.stdout == "3 lines written to out.txt\n"
    lines = (tmp_path / "out.txt").read_text().splitlines()
    for number, line in enumerate(lines, 1):
        picture = next(test.rglob(f"*{number}.JPEG"))
        best = np.argsort(-network.probabilities(pil_loader(picture)), kind="stable")[:5]
        assert [int(word) for word in line.split()] == [IDS[label] for label in best]

    result = run(tmp_path, PROGRAM, "--check", "out.txt", "--lines", 3)
    assert result.stdout == "out.txt: a submission for 3 pictures\n"
    result = run(tmp_path, PROGRAM, "--check", "out.txt", status=1)
    assert result.stdout == "out.txt: 3 lines, expected 100,000: one for each picture\n"
    (tmp_path / "labels.txt").write_text(f"{lines[0].split()[0]}\n{lines[1].split()[1]}\n77\n")
    result = run(tmp_path, PROGRAM, "--score", "out.txt", "--labels", "labels.txt")
    assert result.stdout == "top-1 error 66.67 %, top-5 error 33.33 %\n"


def test_a_submission_has_a_line_for_an_unreadable_picture(
    world: Path, network: Network, tmp_path: Path
) -> None:
    (tmp_path / "1.jpg").write_text("no picture")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "2.jpg")
    arguments = ("--checkpoint", world / "run", "--devkit", world / "list.txt")
    result = run(
        tmp_path, PROGRAM, "1.jpg", "2.jpg", *arguments, "--submission", "out.txt", status=1
    )
    assert "1.jpg can't be decoded" in result.stderr
    assert "1 of 2 can't be read; their lines are predictions for a black picture" in result.stderr
    assert check_submission(tmp_path / "out.txt", 2) == []
    first = (tmp_path / "out.txt").read_text().splitlines()[0]
    black = np.argsort(-network.probabilities(Image.new("RGB", (64, 64))), kind="stable")[:5]
    assert [int(word) for word in first.split()] == [IDS[label] for label in black]
    result = run(tmp_path, PROGRAM, "1.jpg", *arguments, "--submission", "none.txt", status=2)
    assert "no submission is written" in result.stderr and not (tmp_path / "none.txt").exists()


def test_a_check_shows_the_first_problems(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("1 1\n" * 30)
    result = run(tmp_path, PROGRAM, "--check", "s.txt", "--lines", 30, status=1)
    lines = result.stdout.splitlines()
    assert lines[0] == "s.txt: line 1: class 1 appears twice"
    assert len(lines) == 21 and lines[-1] == "and 10 more"


def test_mistakes_are_one_sentence(
    world: Path,
    network: Network,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = runpy.run_path(
        str(ROOT / "examples" / PROGRAM)
    )  # in this process, because there are many
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "p.jpg")
    (tmp_path / "q").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "q" / "p.jpg")
    (tmp_path / "few.txt").write_text("cat\ndog\n")
    saved, plain = world / "run", world / "plain.safetensors"
    listed = ("--devkit", world / "list.txt")
    for arguments, words in (
        ((), ("expected pictures",)),
        (("p.jpg",), ("runs/alexnet",)),
        (("p.jpg", "--checkpoint", "gone"), ("gone",)),
        (("empty", "--checkpoint", saved), ("no pictures", "empty")),
        (("p.jpg", "--checkpoint", plain), ("--classes",)),
        (("p.jpg", "--checkpoint", saved, "--variant", "cifar"), ("--variant", "omit it")),
        (("p.jpg", "--checkpoint", plain, "--variant", "paper", "--classes", "few.txt"),
         ("do not fit paper",)),
        (("p.jpg", "--checkpoint", saved, "--classes", "few.txt"), ("classes, not 2",)),
        (("p.jpg", "--checkpoint", saved, "--classes", "gone.txt"), ("gone.txt", "can't be read")),
        (("p.jpg", "--checkpoint", saved, "--device", "tpu"), ("tpu",)),
        (("p.jpg", "--submission", "o.txt"), ("--devkit",)),
        (("p.jpg", "--submission", "no/o.txt", *listed), ("no/o.txt", "does not exist")),
        (("p.jpg", "q", "--submission", "o.txt", *listed), ("same file name",)),
        (("--score", "few.txt"), ("--labels",)),
        (("--check", "gone.txt"), ("gone.txt", "can't be read")),
    ):  # fmt: skip
        monkeypatch.setattr("sys.argv", [PROGRAM, *map(str, arguments)])
        with small_networks():
            status = program["main"]()
        printed = capsys.readouterr()
        assert status == 2, printed
        assert_one_sentence(
            subprocess.CompletedProcess([], status, printed.out, printed.err), PROGRAM, *words
        )
    assert not (tmp_path / "o.txt").exists()


def test_a_closed_pipe_ends_the_program_quietly(world: Path, network: Network) -> None:
    many = ["pictures/a"] * 20
    with subprocess.Popen(
        command(PROGRAM, *many, "--checkpoint", "run", "--batch-size", 1),
        cwd=world, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "pictures/a/000.jpg\n"
        process.stdout.close()
        assert process.wait(timeout=120) == 141
        assert process.stderr.read() == ""
