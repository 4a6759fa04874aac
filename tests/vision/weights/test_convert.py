"""``python -m minidl convert`` and ``inspect``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pickled_programs import Call, Global, Raw, npy_file, state_dict_file, zip_file
from small_networks import small_networks
from weights_files import arrays_of, caffemodel_of, npy_of

import minidl
from minidl import __main__ as program
from minidl.vision.models import load_network
from minidl.vision.models.networks import plans
from minidl.vision.transforms.preprocessing import CAFFE
from minidl.vision.weights.layouts import row_keys


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with small_networks():
        yield


def torchvision_state() -> dict[str, np.ndarray]:
    keys = row_keys("torchvision", plans()["torchvision"], "torchvision")
    return {keys[row]: array for row, array in arrays_of("torchvision").items()}


def run(*arguments: str) -> None:
    assert program.main(arguments) == 0


def test_the_round_trip_through_every_kind_keeps_every_bit() -> None:
    state = torchvision_state()
    Path("a.pth").write_bytes(state_dict_file(state, old=True))
    run("convert", "a.pth", "b.safetensors")
    run("convert", "b.safetensors", "c.npz")
    run("convert", "c.npz", "d", "--to", "minidl")
    run("convert", "d", "e.pt")
    for name in ("b.safetensors", "c.npz", "e.pt"):
        found = minidl.load(name)
        assert found.keys() == state.keys()
        for key, array in state.items():
            assert np.asarray(found[key]).tobytes() == array.tobytes()
    assert list(minidl.load("e.pt")) == list(state)  # in the order of torchvision's


@pytest.mark.parametrize("source", ["x.npy", "x.caffemodel"])
def test_the_variant_and_the_preprocessing_stay_with_the_weights(source: str) -> None:
    arrays = arrays_of("caffe")
    Path("x.npy").write_bytes(npy_of(arrays))
    Path("x.caffemodel").write_bytes(caffemodel_of(arrays))
    run("convert", source, "y.safetensors")
    assert "features.0.weight" in minidl.load("y.safetensors")
    net = load_network("y.safetensors")
    assert net.variant == "caffe" and net.preprocessing == CAFFE
    run("convert", source, "z.safetensors", "--keys", "minidl", "--variant", "paper")
    net = load_network("z.safetensors")
    assert net.variant == "paper"
    net.load_state_dict(minidl.load("z.safetensors"))


def test_kinds_that_cannot_be_told() -> None:
    Path("data.npz").write_bytes(state_dict_file(torchvision_state()))
    Path("weights").write_bytes(npy_of(arrays_of("caffe")))
    run("convert", "data.npz", "a", "--from", "torch", "--to", "safetensors")
    run("convert", "weights", "b", "--from", "npy", "--to", "torch")
    assert len(minidl.load("a")) == len(minidl.load("b")) == 16


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_inspect(capsys: pytest.CaptureFixture[str]) -> None:
    state = torchvision_state()
    Path("a.pth").write_bytes(state_dict_file(state, epoch=3, arch="alexnet"))
    run("inspect", "a.pth")
    shown = lines(capsys)
    numbers = sum(array.size for array in state.values())
    size = Path("a.pth").stat().st_size
    for line in (
        f"a.pth: PyTorch's .pth, {size:,} bytes",
        "epoch 3",
        "arch alexnet",
        "state_dict.features.0.weight float32 (64, 3, 11, 11)",
        f"16 arrays, {numbers:,} numbers, {4 * numbers:,} bytes",
        "fits: torchvision",
        "preprocessing of torchvision: crop 224, resize 256, mean (0.485, 0.456, 0.406), "
        "std (0.229, 0.224, 0.225), white 1.0, bgr False",
    ):
        assert line in shown, shown
    Path("b.caffemodel").write_bytes(caffemodel_of(arrays_of("caffe")))
    run("inspect", "b.caffemodel")
    shown = lines(capsys)
    assert "conv2 Convolution float32 (256, 48, 5, 5), float32 (256,)" in shown
    assert "fits: caffe" in shown


def test_inspect_shows_files_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    minidl.save(
        {"a": [1, 2], "b": {"c": minidl.ones(2)}, "text": "x\n" * 99, "raw": b"\0" * 99}, "x"
    )
    run("inspect", "x")
    printed = capsys.readouterr().out
    assert "b.c   float32 (2,)" in printed and "fits: no network by name" in printed
    assert "list of 2" in printed and max(map(len, printed.splitlines())) < 200
    deep = Raw(b"](" * 500 + b"e" * 500)
    for value in (deep, [0] * 5000, {"a": [{} for _ in range(5000)]}, {i: i for i in range(5000)}):
        Path("x.npy").write_bytes(npy_file(value))
        run("inspect", "x.npy")
        assert len(capsys.readouterr().out.splitlines()) < 210


def test_errors_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("evil.pth").write_bytes(zip_file(Call(Global("os", "system"), ("true",)), {}))
    Path("folder.pth").mkdir()
    Path("good.npy").write_bytes(npy_of(arrays_of("caffe")))
    for arguments, words in (
        (("inspect", "none"), "No such file"),
        (("inspect", "evil.pth"), "nothing in it was executed"),
        (("convert", "evil.pth", "x.npz"), "nothing in it was executed"),
        (("convert", "none", "x"), "--to"),
        (("convert", "good.npy", "x.pth", "--variant", "none"), "variant: expected one of"),
        (("convert", "good.npy", "x.pth", "--variant", "80sec"), "do not fit 80sec"),
        (("convert", "good.npy", "folder.pth"), "can't be written"),
        (("convert", "good.npy", "no/x.pth"), "can't be written"),
    ):
        assert program.main(arguments) == 2
        printed = capsys.readouterr()
        assert words in printed.err and len(printed.err.splitlines()) == 1 and not printed.out
    assert not Path("x.npz").exists() and not Path("x.pth").exists()


def test_onnx_without_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("good.npy").write_bytes(npy_of(arrays_of("caffe")))
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert program.main(("convert", "good.npy", "x.onnx")) == 2
    assert "pip install 'minidl[onnx]'" in capsys.readouterr().err
