"""``python -m minidl convert`` and ``inspect``."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pickled_programs import Call, Global, Raw, npy_file, state_dict_file, zip_file
from small_networks import small_networks
from weights_files import arrays_of, blob, caffemodel_of, field, npy_of

import minidl
from minidl import __main__ as program
from minidl import nn
from minidl.errors import ArgumentError, CheckpointError
from minidl.formats import write_safetensors
from minidl.vision.models import alexnet, cuda_convnet, lenet5, load_network
from minidl.vision.models.networks import plans
from minidl.vision.transforms.preprocessing import CAFFE
from minidl.vision.weights.convert import save_weights
from minidl.vision.weights.files import read
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


def test_inspect_looks_at_a_limited_number_of_items(capsys: pytest.CaptureFixture[str]) -> None:
    lists = b"]q\x00]a" + (b"](" + b"h\x00" * 60 + b"eq\x00") * 3
    Path("x.pth").write_bytes(zip_file({"a": Raw(b"(" + lists + b"t")}, {}))
    tracemalloc.start()
    run("inspect", "x.pth")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    shown = lines(capsys)
    assert len(shown) < 210 and "and at least 9,800 more" in shown
    assert "at least 0 arrays, 0 numbers, 0 bytes" in shown and most < 16 << 20


UNPRINTABLE = "\x1b]0;owned\x07\x1b[2J\ud800\u202e"


def test_inspect_prints_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    surrogate = UNPRINTABLE.encode("utf-8", "surrogatepass")
    key = Raw(b"X" + len(surrogate).to_bytes(4, "little") + surrogate)
    pair = Raw(b"](" + key + b"}(" + key + b"K\x01ue")
    printable = UNPRINTABLE.replace("\ud800", "")
    contents = {
        "x.pth": zip_file(pair, {}),
        "y.pth": zip_file(Call(Global(printable[:8], "f"), ()), {}),
        "x.caffemodel": field(1, printable)
        + field(100, field(1, printable) + field(2, printable) + field(7, blob(np.ones(1), False))),
        "x.safetensors": b"".join(
            write_safetensors({printable: np.ones(1)}, {printable: printable})
        ),
    }
    for name, content in contents.items():
        Path(name).write_bytes(content)
    minidl.save(type(printable, (minidl.nn.Module,), {})(), "model")  # of an unknown class
    for name in (*contents, "model"):
        assert program.main(("inspect", name)) == (2 if name in ("y.pth", "model") else 0)
        printed = "".join(capsys.readouterr())
        assert printed.replace("\n", "").isprintable() and printed.isascii()
        assert r"\x1b]0;owned\x07" in printed or name == "y.pth"


@pytest.mark.skipif(os.name == "nt", reason="names of POSIX")
def test_paths_that_cannot_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    target = os.fsdecode(b"\xe9.pth")
    Path("x.npy").write_bytes(npy_of(arrays_of("caffe")))
    run("convert", "x.npy", target)
    run("inspect", target)
    assert r"\udce9.pth: PyTorch's .pth" in capsys.readouterr().out


def test_inspect_shows_what_has_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    broken = minidl.nn.Conv2d.__new__(minidl.nn.Conv2d)
    minidl.nn.Module.__init__(broken)
    minidl.save({"big": 10**5000, 10**5000: 1, "model": broken, "set": 1j.real}, "x")
    run("inspect", "x")
    shown = lines(capsys)
    assert "big int of 16,610 bits" in shown and "int of 16,610 bits 1" in shown
    assert "model object of class Conv2d" in shown


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


def warning(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    run("convert", *arguments)
    return capsys.readouterr().err


def test_what_has_no_place_in_a_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.npy").write_bytes(npy_of(arrays_of("caffe")))
    Path("x.pth").write_bytes(state_dict_file(torchvision_state()))
    for arguments in (
        ("80sec", "a.safetensors"),
        ("x.pth", "b.npz"),  # whose preprocessing is torchvision's
        ("x.npy", "caffe.pth"),  # Caffe's, if the variant is named
    ):
        assert not warning(capsys, *arguments)
    assert load_network("caffe.pth", "caffe").preprocessing == CAFFE
    place = "has no place for"
    for arguments, words in (
        (("80sec", "a.pth"), "preprocessing, classes, trained_on, error, command; "),
        (("80sec", "a.npz"), "preprocessing, classes, trained_on, error, command; "),
        (("80sec", "a", "--to", "minidl"), "trained_on, error, command; "),
        (("x.npy", "b.pth", "--variant", "paper"), "preprocessing; "),
    ):
        printed = warning(capsys, *arguments)
        assert f"warning: {arguments[1]} {place} {words}" in printed
        assert len(printed.splitlines()) == 1
    options = {"activation": "tanh"}
    save_weights(cuda_convnet("80sec", **options), "o.safetensors", options=options)  # type: ignore[arg-type]
    assert f"o.pth {place} options, input_scale; " in warning(capsys, "o.safetensors", "o.pth")


def test_facts_about_a_network_go_along() -> None:
    run("convert", "80sec", "a.safetensors")
    assert read("a.safetensors").metadata == read("80sec").metadata
    onnx = pytest.importorskip("onnx")
    run("convert", "a.safetensors", "a.onnx")
    kept = {entry.key: entry.value for entry in onnx.load("a.onnx").metadata_props}
    expected = dict(read("80sec").metadata)
    expected.pop("format")
    assert kept == expected


@pytest.mark.parametrize("kind", ["safetensors", "minidl"])
def test_the_scale_of_the_input_stays_with_the_weights(kind: str) -> None:
    for net in (
        cuda_convnet("80sec", init="he"), cuda_convnet("80sec"), alexnet("paper", 2, init="scaled"),
        alexnet("torchvision", 2, init="paper"),
    ):  # fmt: skip
        save_weights(net, "a.safetensors")
        run("convert", "a.safetensors", "b", "--to", kind)
        for path in ("a.safetensors", "b"):
            assert load_network(path).input_scale == net.input_scale
    for scale in ("", "bytes"):
        metadata = {"variant": "80sec", "input_scale": scale}
        content = write_safetensors(arrays_of("80sec"), metadata)
        Path("c").write_bytes(b"".join(content))
        with pytest.raises(CheckpointError, match="'c' is damaged: input_scale"):
            load_network("c")


def test_options_of_lenet() -> None:
    net = lenet5(activation="relu")
    save_weights(net, "a.safetensors", options={"activation": "relu"})
    images = minidl.randn(2, 1, 28, 28)
    assert minidl.equal(load_network("a.safetensors")(images), net.eval()(images))
    run("convert", "a.safetensors", "b", "--to", "minidl")
    assert minidl.equal(load_network("b")(images), net(images))


def test_what_could_not_be_read_is_not_written() -> None:
    for given in (
        {"classes": ["a"]},
        {"options": {"foo": 1}},
        {"options": {"activation": nn.ReLU}},
    ):
        with pytest.raises(ArgumentError):
            save_weights(lenet5(), "a.safetensors", **given)  # type: ignore[arg-type]
    assert not Path("a.safetensors").exists()
