"""Files of named arrays: round trips, memory, and hostile files."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, CheckpointError
from minidl.formats import DTYPES, read_safetensors, write_safetensors

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(0.5),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False, True]),
    "é": np.array([-1], np.int16),
}


def same(a: Any, b: Any) -> bool:
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def peak(function: Callable[..., Any], *args: Any) -> int:
    tracemalloc.start()
    try:
        function(*args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- safetensors ----------------------------------------------------------------------------------


def test_each_array_begins_at_a_multiple_of_its_item() -> None:
    for length in range(8):
        _, text, *_ = write_safetensors(ARRAYS, {"key": "x" * length})
        assert len(text) % 8 == 0
        for name, entry in json.loads(bytes(text)).items():
            if name != "__metadata__":
                assert entry["data_offsets"][0] % DTYPES[entry["dtype"]].itemsize == 0


def test_arrays_survive_a_round_trip_in_their_own_memory(tmp_path: Path) -> None:
    arrays = ARRAYS | {code: np.arange(2).astype(dtype) for code, dtype in DTYPES.items()}
    found, metadata = read_back(tmp_path, write_safetensors(arrays, {"key": 'a "text"\n'}))
    assert metadata == {"key": 'a "text"\n'}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert same(found[name], array)
        assert found[name].flags.writeable


def test_big_endian_arrays_are_written_little_endian(tmp_path: Path) -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    found, _ = read_back(tmp_path, write_safetensors({"x": array}, {}))
    np.testing.assert_array_equal(found["x"], array)


@pytest.mark.parametrize("dtype", ["longdouble", "complex64", "U1", "O"])
def test_dtypes_that_safetensors_lacks(dtype: str) -> None:
    array = np.zeros(1, dtype)
    with pytest.raises(CheckpointError, match=f"'x' has the dtype {array.dtype}, which safetens"):
        write_safetensors({"x": array}, {})


def test_arrays_are_read_in_the_headers_order(tmp_path: Path) -> None:
    names = [f"{number * 37 % 100:02}" for number in range(100)]
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({"__metadata__": None} | dict.fromkeys(names, entry)).encode()
    found, metadata = read_back(tmp_path, [len(text).to_bytes(8, "little"), text])
    assert list(found) == names
    assert metadata == {}


def read_back(folder: Path, pieces: list[Any]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    (folder / "x.safetensors").write_bytes(b"".join(pieces))
    with open(folder / "x.safetensors", "rb") as file:
        return read_safetensors(file)


def test_a_header_larger_than_the_format_allows() -> None:
    with pytest.raises(ArgumentError, match=r"header too large.*into arrays"):
        write_safetensors({}, {"key": "x" * 100_000_000})


@pytest.mark.parametrize(
    "header",
    [
        b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"x":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}',
        b'{"x":{"dtype":"U8","dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}',
        b'{"x":{"dtype":"U8","shape":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"x":{"dtype":"U8","shape":[' + b"9" * 1_000_000 + b'],"data_offsets":[0,1]}}',
        b'{"x":{"dtype":"U8","shape":[' + b"1," * 200_000 + b'1],"data_offsets":[0,1]}}',
        b'{"x":{"dtype":"U8","shape":[' + b"99999999," * 200_000 + b'1],"data_offsets":[0,1]}}',
        b'{"x":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}',
        '{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.encode("utf-16-le"),
    ],
    ids=["name twice", "key twice", "deep", "number", "ones", "product", "float", "utf-16"],
)
def test_hostile_safetensors_headers(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\1")
    with pytest.raises(CheckpointError, match=path.name):
        minidl.load(path)


def test_a_dtype_that_numpy_lacks(tmp_path: Path) -> None:
    text = b'{"x":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]}}'
    with pytest.raises(CheckpointError, match="'x' has the dtype F8_E4M3, which is not supported"):
        read_back(tmp_path, [len(text).to_bytes(8, "little"), text])


def test_a_claimed_size_allocates_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    entry = {"dtype": "U8", "shape": [10**9], "data_offsets": [0, 10**9]}
    text = json.dumps({"x": entry}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\1")

    def load() -> None:
        with pytest.raises(CheckpointError, match=path.name):
            minidl.load(path)

    assert peak(load) < 1_000_000


def test_bfloat16_is_widened_array_by_array(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    one = 1_000_000  # bytes
    header = {
        str(i): {"dtype": "BF16", "shape": [one // 2], "data_offsets": [i * one, (i + 1) * one]}
        for i in range(6)
    }
    text = json.dumps(header).encode()
    values = np.arange(3 * one).astype("<u2")
    path.write_bytes(len(text).to_bytes(8, "little") + text + values.tobytes())
    found = minidl.load(path)
    widened = np.concatenate([found[str(i)].numpy() for i in range(6)])
    np.testing.assert_array_equal(widened.view("<u4"), values.astype("<u4") << 16)
    assert peak(minidl.load, path) < 2 * path.stat().st_size + one + 200_000


# --- .npz -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
def test_npz_as_numpy_reads_it(savez: Any, tmp_path: Path) -> None:
    arrays = {
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(1_000_000, dtype=">i4"),
        "text": np.array(["a", "bc"]),
        "record": np.zeros(2, [("x", "<f4"), ("y", "?")]),
        "scalar": np.array(1j),
        "empty": np.zeros((0, 2)),
        "a/b": np.array([np.datetime64("2012-09-30")]),
    }
    savez(tmp_path / "x.npz", **arrays)
    found = minidl.load(tmp_path / "x.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert same(found[name], array)
        assert found[name].flags.writeable
        assert found[name].flags.f_contiguous == array.flags.f_contiguous


def test_reading_npz_takes_the_files_size(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **{f"a{i}": np.ones(1_000_000) for i in range(4)})
    assert peak(minidl.load, path) < path.stat().st_size + 4 * 2**20


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode() + data


def shape(text: str, descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {text}}}\n"


@pytest.mark.parametrize(
    "member",
    [
        npy(shape("(1000000000000,)"), bytes(8)),
        npy(shape("(2,)"), bytes(8)),
        npy(shape("(1,)"), bytes(9)),
        npy(shape("(-1, -1)"), bytes(8)),
        npy(shape("(" + "1," * 70 + ")"), bytes(8)),
        npy(shape("(1,)", "'|O'"), bytes(8)),
        npy(shape("(1,)", "[('x', '|O')]"), bytes(8)),
        npy(shape("(1,)", "'|V1000000000'"), bytes(8)),
        npy(shape("(True,)"), bytes(9)),
        npy(shape("(__import__('os').system('false'),)"), bytes(8)),
        npy(shape("(" + "-" * 9000 + "1,)"), bytes(8)),
        npy(shape("(" + "9" * 9000 + ",)"), bytes(8)),
        npy("(" * 9000, bytes(8)),
        npy(" " * 60_000, bytes(8)),
        npy(shape("(1,)"), bytes(8), version=(3, 0)),
        npy(shape("(1,)"), bytes(8), version=(9, 9)),
        b"\x93NUMPY",
        b"",
    ],
    ids=range(18),
)
def test_hostile_npy_headers(member: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)

    def load() -> None:
        with pytest.raises(CheckpointError, match=path.name):
            minidl.load(path)

    load()
    assert peak(load) < 16_000_000


def bomb(path: Path, method: int, size: int) -> None:
    """Write an .npz file with an array of `size` zeros."""
    header = npy(shape(f"({size},)", "'|u1'"))
    with (
        zipfile.ZipFile(path, "w", method) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(header)
        for _ in range(size // 2**20):
            file.write(bytes(2**20))


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    bomb(path, zipfile.ZIP_DEFLATED, 80 * 2**20)
    assert path.stat().st_size < 200_000

    def load() -> None:
        with pytest.raises(CheckpointError, match=r"20 times.*numpy\.load"):
            minidl.load(path)

    load()
    assert peak(load) < 1_000_000
    bomb(path, zipfile.ZIP_DEFLATED, 2**20)  # small enough to be allowed
    assert not minidl.load(path)["x"].any()


def test_a_bomb_that_claims_to_be_small_is_damaged(tmp_path: Path) -> None:
    """The sizes in the zip file's directory are too small; unpacking stops there."""
    path = tmp_path / "x.npz"
    size = 80 * 2**20
    bomb(path, zipfile.ZIP_DEFLATED, size)
    data = bytearray(path.read_bytes())
    record = data.index(b"PK\1\2")
    struct.pack_into("<I", data, record + 24, 2000)
    path.write_bytes(data)

    def load() -> None:
        with pytest.raises(CheckpointError, match=path.name):
            minidl.load(path)

    load()
    assert peak(load) < 2_000_000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unbounded_compression_methods_are_refused(method: int, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    bomb(path, method, 2**20)
    with pytest.raises(CheckpointError, match=r"numpy\.savez"):
        minidl.load(path)


def test_a_duplicate_name_in_an_npz_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    data = npy(shape("()"), bytes(8))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", data)
        archive.writestr("y.npy", data)
    path.write_bytes(path.read_bytes().replace(b"y.npy", b"x.npy"))
    with pytest.raises(CheckpointError, match="two arrays named 'x'"):
        minidl.load(path)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_the_checksum_in_an_npz_file_is_compared(count: int, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros(count))
    data = bytearray(path.read_bytes())
    crc = zlib.crc32(npy_of(path))
    record = data.index(b"PK\1\2")
    assert struct.unpack_from("<I", data, record + 16) == (crc,)
    struct.pack_into("<I", data, record + 16, crc ^ 1)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="CRC"):
        minidl.load(path)


def npy_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("x.npy")


def test_the_compression_limit_applies_to_the_whole_file(tmp_path: Path) -> None:
    """Zeros among incompressible numbers, such as an initial momentum, are accepted."""
    path = tmp_path / "x.npz"
    noise = np.random.default_rng(0).integers(0, 256, 2**21, dtype=np.uint8)
    np.savez_compressed(path, noise=noise, zeros=np.zeros(2**21, np.uint8))
    assert math.isclose(path.stat().st_size, 2**21, rel_tol=0.01)
    assert same(minidl.load(path)["noise"], noise)
