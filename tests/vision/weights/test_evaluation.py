"""``python -m minidl evaluate``: weights from elsewhere on labeled pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_networks import small_networks
from weights_files import arrays_of, npy_of

import minidl
from minidl import __main__ as program
from minidl.nn.functional import softmax
from minidl.vision.models import load_network
from minidl.vision.weights.convert import save_weights
from minidl.vision.weights.evaluation import evaluate_folder


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    rng = np.random.default_rng(0)
    for label in range(7):
        (tmp_path / "val" / f"class{label}").mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((320, 280))
            picture.save(tmp_path / "val" / f"class{label}" / f"{number}.png")
    with small_networks():
        arrays = arrays_of("caffe")
        arrays["fc8.weight"] *= 0.01
        (tmp_path / "bvlc_alexnet.npy").write_bytes(npy_of(arrays))
        yield tmp_path


def test_classes_are_found_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = load_network("80sec")
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
             "truck"]  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    for number, picture in enumerate(pixels):
        path = tmp_path / "pictures" / names[number % 10] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    expected = evaluate_folder("80sec", tmp_path / "pictures", workers=0)
    last = net.named_rows()["fc10"]
    with minidl.no_grad():
        last.weight.copy_(last.weight.flip(0).clone())
        last.bias.copy_(last.bias.flip(0).clone())
    save_weights(net, tmp_path / "reversed.safetensors", names[::-1])
    found = evaluate_folder(tmp_path / "reversed.safetensors", tmp_path / "pictures", workers=0)
    assert found == pytest.approx(expected, rel=1e-5)
    assert capsys.readouterr().err == ""
    (tmp_path / "pictures" / "cat").rename(tmp_path / "pictures" / "cats")
    assert evaluate_folder("80sec", tmp_path / "pictures", workers=0) == expected
    assert "the data has no 'cat', but also 'cats'" in capsys.readouterr().err


@pytest.mark.parametrize("ten_crop", [False, True])
def test_the_preprocessing_of_the_weights_is_used(world: Path, ten_crop: bool) -> None:
    net = load_network(world / "bvlc_alexnet.npy")
    assert net.preprocessing is not None
    prepare = net.preprocessing.transforms(ten_crop)
    ranks, losses = [], []
    for path in sorted(world.glob("val/*/*.png")):
        views = prepare(Image.open(path))
        with minidl.no_grad():
            logits = net(views if ten_crop else views.unsqueeze(0))
        scores = softmax(logits, 1).numpy().mean(0)
        label = int(path.parent.name[-1])
        ranks.append(int((scores > scores[label]).sum()))
        losses.append(-np.log(scores[label]))
    found = evaluate_folder(
        world / "bvlc_alexnet.npy", world / "val", ten_crop=ten_crop, workers=0, batch_size=5
    )
    assert found["top1"] == pytest.approx(100 * np.mean(np.array(ranks) < 1), abs=1e-3)
    assert found["top5"] == pytest.approx(100 * np.mean(np.array(ranks) < 5), abs=1e-3)
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert found["pictures"] == 14
    (world / "alone").mkdir(exist_ok=True)
    (world / "val").rename(world / "alone" / "val")  # pictures to evaluate on are enough
    again = evaluate_folder(
        world / "bvlc_alexnet.npy", world / "alone", ten_crop=ten_crop, workers=0, batch_size=5
    )
    (world / "alone" / "val").rename(world / "val")
    assert again == found


def test_from_the_command_line(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(world / "bvlc_alexnet.npy")
    assert program.main(("evaluate", source, str(world / "val"), "--workers", "0")) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("14 pictures, one crop: top-1 error ") and "top-5 error" in printed
    for arguments, words in (
        ((source, str(world / "none")), "none"),
        ((source, str(world / "val" / "class0")), "class0"),
        ((str(world / "none"), str(world / "val")), "No such file"),
        ((source, str(world / "val"), "--batch-size", "0"), "--batch-size"),
        ((source, str(world / "val"), "--device", "tpu"), "tpu"),
    ):
        assert program.main(("evaluate", *arguments)) == 2
        assert words in capsys.readouterr().err
