"""Kinds of files are told from their content; hostile .npy and .caffemodel files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pickled_programs import Call, Global, Python2, npy_file, pickled_array, zip_file
from weights_files import arrays_of, blob, caffemodel_of, field, npy_of, varint

import minidl
from minidl.errors import CheckpointError
from minidl.vision.models import load_network
from minidl.vision.models.networks import plans
from minidl.vision.weights.caffe_file import read_caffe
from minidl.vision.weights.files import TRAINED, read
from minidl.vision.weights.layouts import fitting


def refused(folder: Path, content: bytes, match: str | None = None, kind: Any = None) -> None:
    (folder / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match=match):
        read(folder / "x", kind)


def test_kinds(tmp_path: Path) -> None:
    arrays = arrays_of("80sec")
    contents = {
        "npy": npy_file({}),
        "caffe": caffemodel_of(arrays),
        "torch": zip_file({}, {}),
    }
    for kind, content in contents.items():
        (tmp_path / "x").write_bytes(content)
        assert read(tmp_path / "x").kind == kind
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    assert read(tmp_path / "x.npz").kind == "npz"
    minidl.save(arrays, tmp_path / "x")
    assert read(tmp_path / "x").kind == "minidl"
    for kind in ("npy", "safetensors", "torch"):
        refused(tmp_path, contents["caffe"], kind=kind)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(CheckpointError, match="no checkpoint can be loaded"):
        read(tmp_path)


FOREIGN = {
    b"": "it is empty",
    b"<!DOCTYPE html><html>": "it is a web page",
    b"version https://git-lfs.github.com/spec/v1\n": "a pointer of git-lfs; `git lfs pull`",
    b"\x08\x08\x12\x06minidl": "an ONNX file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x1f\x8b\x08": "packed by gzip",
    b"(dp0\nVa\np1\nI1\ns.": "it is a pickle, but not one of PyTorch's",
    b"\x80\x04}\x94.": "it is a pickle, but not one of PyTorch's",
    b"something else": "it is of an unknown kind",
    b"\x00\x00": "it is of an unknown kind",
}


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_file_of_weights_is_named(content: bytes, tmp_path: Path) -> None:
    for name in ("x.pth", "x.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=FOREIGN[content]) as caught:
            read(tmp_path / name)
        assert "caffemodel" not in str(caught.value)
    if content[:1] not in b"s\x00":
        with pytest.raises(CheckpointError, match=FOREIGN[content]):
            minidl.load(tmp_path / name)


def test_a_damaged_caffemodel_is_told_as_one(tmp_path: Path) -> None:
    for name, content in (("x.caffemodel", b"something else"), ("x", b"\n\xff\xff")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="not a .caffemodel"):
            read(tmp_path / name)


def test_a_zip_file_is_told_by_its_members(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    (tmp_path / "x.npz").rename(tmp_path / "x.pth")
    assert read(tmp_path / "x.pth").kind == "npz"
    (tmp_path / "x.npz").write_bytes(zip_file({}, {}))
    assert read(tmp_path / "x.npz").kind == "torch"
    refused(tmp_path, b"PK\3\4", "it is damaged")


@pytest.mark.parametrize("kind", ["caffe", "npy", "safetensors", "torch"])
def test_too_little_memory_is_no_damage(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise MemoryError

    for name in ("files.read_caffe", "files._read_npy", "files.read_safetensors"):
        monkeypatch.setattr(f"minidl.vision.weights.{name}", fail)
    monkeypatch.setattr("minidl.checkpoint.read_torch", fail)
    refused(tmp_path, zip_file({}, {}), "there is not enough memory", kind)


# --- .npy -----------------------------------------------------------------------------------------


def test_no_command_in_an_npy_file_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    call = Call(Global("os", "mkdir"), (str(canary),))
    for value in (call, {"conv1": [call, 1]}, {Python2(b"a"): (call,)}):
        refused(tmp_path, npy_file(value), r"a call of os\.mkdir.*\); nothing in it was executed")
        assert not canary.exists()
        np.load(tmp_path / "x", allow_pickle=True)  # the file is really hostile
        canary.rmdir() if canary.exists() else pytest.fail("the canary is mute")


def test_other_arrays_in_npy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    refused(tmp_path, (tmp_path / "x.npy").read_bytes(), "expected a pickled dict")
    np.save(tmp_path / "x.npy", np.array([{}, {}]), allow_pickle=True)
    refused(tmp_path, (tmp_path / "x.npy").read_bytes(), "expected a pickled dict")
    np.save(tmp_path / "x.npy", np.array({"a": np.arange(3)}), allow_pickle=True)
    found = read(tmp_path / "x.npy").value
    np.testing.assert_array_equal(found["a"], np.arange(3))


def test_arrays_keep_their_byte_order(tmp_path: Path) -> None:
    for order in "<>":
        array = np.arange(6, dtype=f"{order}f4").reshape(2, 3)
        (tmp_path / "x").write_bytes(npy_file([pickled_array(array)]))
        np.testing.assert_array_equal(read(tmp_path / "x").value[0], array)


@pytest.mark.parametrize("shape", [(-1,), (2**62,), (4, -1), (0,), (1,) * 65, (2.0,), None])
def test_shapes_that_lie(shape: Any, tmp_path: Path) -> None:
    build = pickled_array(np.arange(3, dtype=np.float32))
    state = (build.state[0], shape, *build.state[2:])
    refused(tmp_path, npy_file([build._replace(state=state)]))


# --- .caffemodel ----------------------------------------------------------------------------------


def net_of(content: bytes) -> bytes:
    return field(100, field(1, "conv1") + field(2, "Convolution") + field(7, content))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (field(7, field(1, varint(2) + varint(2))) + field(5, bytes(12)), r"3 numbers for shape"),
        (field(7, field(1, varint(2**63) * 2)) + field(5, bytes(12)), r"3 numbers for shape"),
        (field(7, field(1, varint(1) * 5000)) + field(5, bytes(4)), r"1 numbers for shape"),
        (field(1, 2**63) + field(2, 0) + field(5, bytes(4)), r"1 numbers for shape"),
        (field(5, bytes(3)), "multiple"),
        (field(7, 3), "damaged"),
        (field(5, 3), "damaged"),
        (b"\xff" * 20, "damaged"),
        (varint(5 << 3 | 2) + varint(2**40) + b"abc", "cut off"),
        (varint(5 << 3 | 3), "damaged"),
        (b"\x08\x01" * 200_001, "more than 200,000 fields"),
    ],
)
def test_hostile_blobs(content: bytes, match: str, tmp_path: Path) -> None:
    refused(tmp_path, net_of(content), match, "caffe")


def test_blobs_in_pieces_in_doubles_and_in_unpacked_shapes() -> None:
    whole = np.arange(6, dtype="<f4")
    pieces = field(5, whole[:2].tobytes()) + field(5, whole[2:].tobytes())
    net = read_caffe(net_of(field(7, field(1, 2) + field(1, 3)) + pieces))
    np.testing.assert_array_equal(net.layers[0].blobs[0], whole.reshape(2, 3))
    net = read_caffe(net_of(field(8, np.arange(3.0).tobytes()) + field(4, 3)))
    np.testing.assert_array_equal(net.layers[0].blobs[0], np.arange(3.0).reshape(1, 1, 1, 3))


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    arrays = {"conv1.weight": np.ones((2, 1, 3, 3), np.float32), "conv1.bias": np.ones(2)}
    content = caffemodel_of(arrays)
    for length in range(0, len(content) - 1, 3):
        try:
            found = read_caffe(content[:length])
        except (CheckpointError, ValueError):
            continue
        assert found.layers[1].name == "conv1"  # only whole layers are missing
    content = npy_of(arrays)
    for length in range(0, len(content) - 1, 3):
        refused(tmp_path, content[:length], kind="npy")


def test_blob_writer_is_that_of_both_forms() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for old, shape in ((True, (1, 1, 2, 3)), (False, (2, 3))):
        assert read_caffe(net_of(blob(array, old))).layers[0].blobs[0].shape == shape


@pytest.mark.parametrize("name", TRAINED)
def test_trained_networks_come_with_the_library(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = load_network(name)
    assert net.variant == name and net.preprocessing is not None
    content = read(name)
    assert {"trained_on", "error", "command"} <= set(content.metadata)
    (weights,) = fitting(content, plans())
    assert weights.classes is not None and weights.classes[0] == "airplane"
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"something else")  # a file of that name comes first
    with pytest.raises(CheckpointError, match=name):
        load_network(name)


def test_a_damaged_key_does_not_hide_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    minidl.save({"conv1.weight": minidl.ones(2, 2)}, path)
    path.write_bytes(path.read_bytes().replace(b'"minidl":', b'"linidl":'))
    with pytest.raises(CheckpointError):
        read(path)
