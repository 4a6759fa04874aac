"""Checkpoints: exact values and types, damage always found, never a half-written file."""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import os
import stat
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.errors import ArgumentError, CheckpointError, DTypeError
from minidl.files import write_atomically

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def identical(a: Any, b: Any) -> bool:
    """Whether types, structure and every bit are the same."""
    if type(a) is not type(b):
        return False
    if isinstance(a, minidl.Tensor):
        return str(a.device) == str(b.device) and identical(a.cpu().numpy(), b.cpu().numpy())
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return identical(list(a.items()), list(b.items()))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, float):
        return a.hex() == b.hex()
    return bool(a == b)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def round_trip(obj: Any, path: Path) -> Any:
    minidl.save(obj, path)
    assert os.listdir(path.parent) == [path.name]  # and no temporary file
    return minidl.load(path)


EXAMPLE = {
    "model": {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.zeros(2)},
    "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]},
    "epoch": 3,
}


# --- Exactness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (3, 5), (2, 1, 4)])
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...], path: Path, device: str) -> None:
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
    array = (raw > 127)[..., 0] if dtype == "?" else raw.view(dtype)[..., 0]  # any bits, NaNs too
    array = np.asarray(array)
    assert identical(round_trip(array, path), array)
    x = minidl.from_numpy(array).to(device)
    assert identical(round_trip(x, path), x)


@pytest.mark.parametrize("view", ["T", "step", "reversed", "broadcast", "big-endian"])
def test_memory_that_is_not_c_contiguous(view: str, path: Path, device: str) -> None:
    a = np.arange(24, dtype=np.float32).reshape(4, 6)
    array = {
        "T": a.T,
        "step": a[::2, 1::3],
        "reversed": a[::-1, ::-1],
        "broadcast": np.broadcast_to(a[0], (3, 6)),
        "big-endian": a.astype(">f4"),
    }[view]
    np.testing.assert_array_equal(round_trip(array, path), array)
    if view == "big-endian" and device != "cpu":
        array = a  # CuPy has none
    x = helpers.leaf(array, device, requires_grad=False)
    np.testing.assert_array_equal(helpers.host(round_trip({"x": x}, path)["x"]), array)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**63,
        -(3**9999),
        0.1,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        math.inf,
        -math.inf,
        math.nan,
        "",
        'quotes " \\ \0 \n',
        "pictures 🖼 é",
        "\ud800",
        b"",
        b"\x00\xff",
        np.float32(0.1),
        np.int64(7),
        np.bool_(True),
        [],
        (),
        {},
        [[], ((),), {}],
        {1: "int", "1": "str", 1.5: None, None: 0, (1, "a", (2,)): 3, False: 5, b"k": 4},
        {np.int64(7): 1, (np.float32(0.1), b"k"): 2},
        {"tensor": 1, "dict": {"tuple": [1]}, "__metadata__": np.ones(2)},
        {"a/b": np.zeros(1), "a": {"b": np.ones(1)}, "é\ud800": np.ones(2), "\0": np.ones(3)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_exact_values_and_types(value: Any, path: Path) -> None:
    assert identical(round_trip(value, path), value)
    assert identical(round_trip({"key": [value, (value,)]}, path), {"key": [value, (value,)]})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
keys = st.none() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
trees = st.recursive(
    scalars,
    lambda t: st.lists(t) | st.lists(t).map(tuple) | st.dictionaries(keys, t),
    max_leaves=20,
)


@given(obj=trees)
def test_any_nest(obj: Any, tmp_path: Path) -> None:
    minidl.save(obj, tmp_path / "x")
    assert identical(minidl.load(tmp_path / "x"), obj)


def test_subclasses_become_their_base(path: Path) -> None:
    from collections import Counter, OrderedDict

    assert identical(round_trip(OrderedDict(a=1), path), {"a": 1})
    assert identical(round_trip(Counter([3, 3]), path), {3: 2})
    assert identical(round_trip(minidl.zeros(2, 3).shape, path), (2, 3))


def test_shared_memory_is_shared_after_loading(path: Path, device: str) -> None:
    w = minidl.ones(1000, device=device)
    obj = {
        "encoder": w,
        "decoder": w,
        "view": w.detach(),
        "other": minidl.ones(1000, device=device),
    }
    loaded = round_trip(obj, path)
    assert path.stat().st_size < 3 * 4000
    loaded["encoder"].array[0] = 7
    assert loaded["decoder"][0].item() == 7
    assert loaded["view"][0].item() == 7
    assert loaded["other"][0].item() == 1


def test_two_views_of_one_memory_keep_their_values(path: Path) -> None:
    a = np.arange(6.0)
    obj = {
        "whole": a,
        "half": a[:3],
        "twice": a[::2],
        "bits": a.view(np.int64),
        "rows": a.reshape(2, 3),
    }
    assert identical(round_trip(obj, path), obj)


def test_temporary_arrays_are_not_mistaken_for_each_other(path: Path) -> None:
    class Lazy(list[Any]):  # each item's memory could be freed before the next is made
        def __iter__(self) -> Iterator[Any]:
            return (np.broadcast_to(np.full(1, value), (2, 3)) for value in range(9))

    loaded = round_trip(Lazy(), path)
    assert [int(array[0, 0]) for array in loaded] == list(range(9))


def test_a_model_and_its_parameters(path: Path, device: str) -> None:
    model = minidl.nn.Linear(3, 2).to(device)
    saved = round_trip({"model": model.state_dict(), "parameter": model.weight}, path)
    assert type(saved["parameter"]) is minidl.Tensor
    assert not saved["parameter"].requires_grad
    other = minidl.nn.Linear(3, 2).to(device)
    other.load_state_dict(saved["model"])
    assert identical(other.weight.detach(), model.weight.detach())


def test_loaded_arrays_own_their_memory(path: Path) -> None:
    minidl.save(EXAMPLE, path)
    minidl.load(path)["model"]["fc.weight"][...] = 9
    assert identical(minidl.load(path), EXAMPLE)


def test_map_location(path: Path, device: str) -> None:
    minidl.save({"x": minidl.ones(2, device=device)}, path)
    assert minidl.load(path)["x"].device == minidl.device(device)
    assert minidl.load(path, map_location="cpu")["x"].device == minidl.device("cpu")
    assert minidl.load(path, map_location=minidl.device(device))["x"].device == minidl.device(
        device
    )


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ({"a": [1, object()]}, r"obj\['a'\]\[1\]"),
        ({"a": {1, 2}}, r"obj\['a'\]"),
        ({"f": abs}, r"obj\['f'\]"),
        ([1j], r"obj\[0\]"),
        ([np.zeros(2, complex)], r"obj\[0\].*complex128"),
        ([np.array(["text"])], r"obj\[0\].*<U4"),
        ([np.array([None])], r"obj\[0\].*object"),
        ([np.ma.masked_array([1.0], [True])], r"obj\[0\]"),
        ({frozenset(): 1}, r"obj\[frozenset\(\)\]"),
    ],
)
def test_an_unsupported_object_is_refused_with_its_place(bad: Any, place: str, path: Path) -> None:
    with pytest.raises(ArgumentError, match=place):
        minidl.save(bad, path)
    assert not os.listdir(path.parent)


def test_an_object_nested_in_itself_is_refused(path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ArgumentError, match="in itself"):
        minidl.save(loop, path)


# --- Other programs' files ------------------------------------------------------------------------


def test_safetensors_reads_a_state_dict_under_its_own_names(path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    state = {
        "features.0.weight": np.arange(6, dtype=np.float32).reshape(3, 2).T,
        "steps": np.array(3),
    }
    minidl.save(state, path)
    found = numpy.load_file(path)
    assert set(found) == set(state)
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array)


def test_plain_safetensors_files_load(path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = {f"a.{d}": np.arange(6).reshape(2, 3).astype(d) for d in DTYPES}
    arrays |= {"scalar": np.array(0.5), "empty": np.zeros((0, 3), np.float32)}
    numpy.save_file(arrays, path, metadata={"format": "pt"})
    loaded = minidl.load(path)
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert identical(loaded[name], minidl.Tensor(array))


def test_bfloat16_widens_exactly(path: Path) -> None:
    bits = np.array([0x3F80, 0xC049, 0x7F80, 0x0001, 0x8000, 0x7FC1], np.uint16)
    write_raw(
        path, {"x": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}, bits.tobytes()
    )
    x = minidl.load(path)["x"].numpy()
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x.view(np.uint32).ravel() >> 16, bits)
    assert x[0, :2].tolist() == [1.0, -3.140625]


def test_torch_exchanges_weights(path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    state = {"w": torch.randn(3, 2), "b": torch.randn(2).to(torch.bfloat16), "n": torch.tensor(3)}
    save_file(state, path)
    loaded = minidl.load(path)
    for name, theirs in state.items():
        np.testing.assert_array_equal(loaded[name].numpy(), theirs.to(torch.float64).numpy())
    minidl.save({"w": loaded["w"]}, path)
    assert torch.equal(load_file(path)["w"], state["w"])


def test_objects_in_npz_are_refused_and_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    np.savez(tmp_path / "objects.npz", a=np.array([Bomb()], object))
    with pytest.raises(CheckpointError, match="Python objects"):
        minidl.load(tmp_path / "objects.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
def test_npz(savez: Any, tmp_path: Path) -> None:
    arrays = {"w": np.arange(6.0).reshape(2, 3), "n": np.array(3)}
    savez(tmp_path / "x.npz", **arrays)
    assert identical(minidl.load(tmp_path / "x.npz"), arrays)


def test_a_damaged_npz_or_another_zip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, w=np.arange(100.0))
    whole = path.read_bytes()
    for damaged in (whole[:-30], whole[:300], whole[:150] + b"\xff" + whole[151:]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"x\.npz"):
            minidl.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="zip"):
        minidl.load(path)


# --- Damage ---------------------------------------------------------------------------------------


def write_raw(path: Path, header: Any, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_every_truncation_is_found(path: Path) -> None:
    minidl.save(EXAMPLE, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=path.name):
            minidl.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match=path.name):
        minidl.load(path)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_a_changed_byte_never_changes_a_value(flip: int, path: Path) -> None:
    minidl.save(EXAMPLE, path)
    whole = path.read_bytes()
    data = len(whole) - 6 * 4 - 2 * 8
    found = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= flip
        path.write_bytes(damaged)
        try:
            loaded = minidl.load(path)
        except CheckpointError:
            found += 1
        else:  # such as a space in the header's padding
            assert position < data
            assert identical(loaded, EXAMPLE)
    assert found >= len(whole) - 8


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE: dict[str, tuple[Any, bytes]] = {
    "nothing": (b"", b""),
    "not json": (b"{nonsense", b""),
    "not utf-8": (b'{"\xff": 1}', b""),
    "not a map": ([], b""),
    "deep": (b'{"a":' + b"[" * 100_000, b""),
    "huge number": (b'{"x": ' + b"9" * 10_000 + b"}", b""),
    "nan": (b'{"x": NaN}', b""),
    "entry is a list": ({"x": [1]}, bytes(8)),
    "no offsets": ({"x": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "dtype unknown": ({"x": {**ENTRY, "dtype": "F33"}}, bytes(8)),
    "dtype unsupported": ({"x": {**ENTRY, "dtype": "F8_E4M3", "shape": [8]}}, bytes(8)),
    "dtype is a list": ({"x": {**ENTRY, "dtype": ["F32"]}}, bytes(8)),
    "shape too large": ({"x": {**ENTRY, "shape": [3]}}, bytes(8)),
    "shape too small": ({"x": {**ENTRY, "shape": [1]}}, bytes(8)),
    "offsets of bools": (
        {"x": {**ENTRY, "dtype": "U8", "shape": [1], "data_offsets": [False, True]}},
        b"1",
    ),
    "shape negative": ({"x": {**ENTRY, "shape": [-1, -2]}}, bytes(8)),
    "shape of bools": ({"x": {**ENTRY, "shape": [True, 2]}}, bytes(8)),
    "shape of floats": ({"x": {**ENTRY, "shape": [2.0]}}, bytes(8)),
    "shape too long": ({"x": {**ENTRY, "shape": [1] * 99 + [2]}}, bytes(8)),
    "shape overflows": ({"x": {**ENTRY, "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}, b""),
    "shape beyond": ({"x": {**ENTRY, "shape": [0, 2**90], "data_offsets": [0, 0]}}, b""),
    "offsets backwards": ({"x": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8)),
    "offsets negative": ({"x": {**ENTRY, "data_offsets": [-8, 0]}}, bytes(8)),
    "three offsets": ({"x": {**ENTRY, "data_offsets": [0, 8, 8]}}, bytes(8)),
    "beyond the end": ({"x": {**ENTRY, "shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(8)),
    "overlap": ({"x": ENTRY, "y": ENTRY}, bytes(8)),
    "gap": ({"x": ENTRY, "y": {**ENTRY, "data_offsets": [12, 20]}}, bytes(20)),
    "rest": ({"x": ENTRY}, bytes(9)),
    "bool of 2": ({"x": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\1\2"),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "x": ENTRY}, bytes(8)),
    "metadata is a list": ({"__metadata__": [], "x": ENTRY}, bytes(8)),
    "structure without checksum": ({"__metadata__": {"minidl": "{}"}, "x": ENTRY}, bytes(8)),
    "checksum without structure": ({"__metadata__": {"minidl.sha256": "0"}, "x": ENTRY}, bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(name: str, path: Path) -> None:
    write_raw(path, *HOSTILE[name])
    with pytest.raises(CheckpointError, match=path.name):
        minidl.load(path)


@pytest.mark.parametrize("length", [9, 99_000_000, 2**40, 2**63, 2**64 - 9, 2**64 - 1])
def test_a_header_that_claims_to_be_huge(length: int, path: Path) -> None:
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match=path.name):
        minidl.load(path)


def peak(function: Callable[..., Any], *args: Any) -> int:
    """Call a function and return its peak memory in bytes."""
    function(*args)  # imports modules
    tracemalloc.start()
    try:
        function(*args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_saving_and_loading_take_the_files_size_twice(path: Path) -> None:
    tensors = [minidl.ones(1_000_000) for _ in range(4)]
    assert peak(minidl.save, tensors, path) < 2 * 16_000_000 + 200_000
    assert peak(minidl.load, path) < 2 * 16_000_000 + 200_000


@pytest.mark.parametrize(
    "start", [b"", b"\0" * 8, b"\xff" * 16, b"\x89HDF\r\n\x1a\n" * 9, b"text\n" * 9]
)
def test_other_files(start: bytes, path: Path) -> None:
    path.write_bytes(start)
    with pytest.raises(CheckpointError, match=path.name):
        minidl.load(path)


@pytest.mark.parametrize(
    "structure",
    [
        {"version": 2, "root": None, "tensors": {}},
        {"root": None, "tensors": {}},
        {"version": 1, "root": None, "tensors": {"x": ""}},
        {"version": 1, "root": None, "tensors": []},
        {"version": 1, "root": {"tensor": "x"}, "tensors": {}},
        {"version": 1, "root": {"tensor": []}, "tensors": {}},
        {"version": 1, "root": {"import": "os"}, "tensors": {}},
        {"version": 1, "root": {}, "tensors": {}},
        {"version": 1, "root": {"int": "zz"}, "tensors": {}},
        {"version": 1, "root": {"int": 3}, "tensors": {}},
        {"version": 1, "root": {"float": "0x1p99999"}, "tensors": {}},
        {"version": 1, "root": {"dict": [[[], 1]]}, "tensors": {}},
        {"version": 1, "root": {"dict": [[1]]}, "tensors": {}},
        {"version": 1, "root": {"tuple": 3}, "tensors": {}},
        {"version": 1, "root": {"int": "1", "float": "1"}, "tensors": {}},
    ],
    ids=str,
)
def test_a_hostile_structure_with_a_valid_checksum(structure: Any, path: Path) -> None:
    import hashlib

    text = json.dumps(structure)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_raw(path, {"__metadata__": {"minidl": text, "minidl.sha256": digest}}, b"")
    with pytest.raises(CheckpointError, match=path.name):
        minidl.load(path)


def write_structure(path: Path, root: Any, arrays: dict[str, np.ndarray]) -> None:
    """Write a checkpoint whose structure no program would save."""
    import hashlib

    from minidl.formats import write_safetensors

    digests = {
        name: hashlib.sha256(f"U8 {list(array.shape)} ".encode() + array.tobytes()).hexdigest()
        for name, array in arrays.items()
    }
    text = json.dumps({"version": 1, "root": root, "tensors": digests})
    metadata = {"minidl": text, "minidl.sha256": hashlib.sha256(text.encode()).hexdigest()}
    path.write_bytes(b"".join(write_safetensors(arrays, metadata)))


def test_bytes_are_copied_once(path: Path) -> None:
    array = np.arange(1 << 20).astype(np.uint8)
    write_structure(path, [{"bytes": "a"}] * 100, {"a": array})
    assert peak(minidl.load, path) < 6 << 20
    assert minidl.load(path) == [array.tobytes()] * 100


def test_a_model_that_nobody_could_print(path: Path) -> None:
    def holding(number: int, children: list[Any]) -> Any:
        parts = {
            "frozen": [], "_non_persistent_buffers": [], "_parameters": {"dict": []},
            "_buffers": {"dict": []}, "training": True,
            "_modules": {"dict": [[str(i), child] for i, child in enumerate(children)]},
        }  # fmt: skip
        dict_of = {"dict": list(map(list, parts.items()))}
        return {"module": [number, "minidl.nn:Sequential", dict_of]}

    for count, fits in ((10, True), (25, False)):
        nest = [holding(0, [])]
        for number in range(1, count):
            again = {"module": [number - 1]}
            nest.append(holding(number, [again, again]))  # twice what the one before prints
        write_structure(path, nest, {})
        if fits:
            assert str(minidl.load(path)[-1]).count("Sequential") == 1023
        else:
            with pytest.raises(CheckpointError, match="more than 100,000 modules"):
                minidl.load(path)


def test_a_missing_device(path: Path) -> None:
    import hashlib

    minidl.save(minidl.ones(2), path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    metadata = header["__metadata__"]
    structure = json.loads(metadata["minidl"])
    structure["root"]["device"] = "gpu:77"
    metadata["minidl"] = json.dumps(structure)
    metadata["minidl.sha256"] = hashlib.sha256(metadata["minidl"].encode()).hexdigest()
    write_raw(path, header, raw[8 + length :])
    with pytest.raises(CheckpointError, match="map_location='cpu'"):
        minidl.load(path)
    assert minidl.load(path, map_location="cpu").tolist() == [1.0, 1.0]


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for bad in (tmp_path / "nothing", tmp_path):
        with pytest.raises(CheckpointError, match=bad.name):
            minidl.load(bad)
    for bad in (tmp_path / "no folder" / "x", tmp_path):
        with pytest.raises(CheckpointError, match="can't be written"):
            minidl.save(1, bad)
    assert not os.listdir(tmp_path)


# --- Writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), KeyboardInterrupt()], ids=["full", "^C"]
)
def test_a_crash_leaves_the_old_file(step: str, error: Any, path: Path, monkeypatch: Any) -> None:
    minidl.save(EXAMPLE, path)

    def crash(*args: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, step, crash)
        with pytest.raises(CheckpointError if isinstance(error, OSError) else KeyboardInterrupt):
            minidl.save({"epoch": 4}, path)
    assert os.listdir(path.parent) == [path.name]
    assert identical(minidl.load(path), EXAMPLE)


def test_a_disk_that_fills_up_leaves_the_old_file(path: Path) -> None:
    resource = pytest.importorskip("resource")
    import signal

    minidl.save(EXAMPLE, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(CheckpointError, match="can't be written"):
            minidl.save(np.zeros(100_000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(path.parent) == [path.name]
    assert identical(minidl.load(path), EXAMPLE)


def test_the_order_is_write_sync_rename_sync(path: Path, monkeypatch: Any) -> None:
    calls = []
    synced: list[int] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        calls.append("folder" if stat.S_ISDIR(found.st_mode) else "file")
        synced.append(found.st_size)
        fsync(descriptor)

    def spy_replace(source: str, target: str) -> None:
        assert os.path.dirname(source) == os.path.dirname(target)
        assert identical(minidl.load(source), EXAMPLE)  # it is complete
        assert synced == [os.path.getsize(source)]  # and was complete when synced
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    minidl.save(EXAMPLE, path)
    assert calls == ["file", "replace", "folder"]


def test_the_same_object_gives_the_same_bytes(path: Path) -> None:
    found = set()
    # The safetensors library alone chooses one of two orders at random.
    for obj in [EXAMPLE, copy.deepcopy(EXAMPLE)] * 10:
        minidl.save(obj, path)
        found.add(path.read_bytes())
    assert len(found) == 1


def test_tensors_are_aligned_in_the_file(path: Path) -> None:
    for length in range(1, 9):  # of a name, which changes the header's length
        minidl.save({"x" * length: np.arange(3.0)}, path)
        assert (path.stat().st_size - 3 * 8) % 8 == 0


def test_write_atomically(path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"new"
        raise ZeroDivisionError

    write_atomically(path, [b"one ", memoryview(b"two")])
    with pytest.raises(ZeroDivisionError):
        write_atomically(path, broken())
    assert path.read_bytes() == b"one two"
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(FileNotFoundError):
        write_atomically(path.parent / "no folder" / "x", [])


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    link = tmp_path / "last"
    link.symlink_to(tmp_path / "store" / "real")
    minidl.save(1, link)
    assert link.is_symlink()
    assert minidl.load(tmp_path / "store" / "real") == 1


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_files_have_the_usual_permissions(path: Path, tmp_path: Path) -> None:
    minidl.save(1, path)
    (tmp_path / "usual").write_text("")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


# --- Arguments of PyTorch's save and load ---------------------------------------------------------


def test_open_files_are_written_and_read_at_their_position() -> None:
    file = io.BytesIO()
    file.write(b"before")
    minidl.save({"weight": minidl.ones(2)}, file, pickle_protocol=2)
    file.seek(6)
    loaded = minidl.load(file, map_location="cpu", weights_only=True, mmap=None)
    assert loaded["weight"].tolist() == [1.0, 1.0]
    file = io.BytesIO()
    np.savez(file, bias=[1, 2])
    file.seek(0)
    assert minidl.load(file, weights_only=False)["bias"].tolist() == [1, 2]
    with pytest.raises(CheckpointError, match="the open file can't be loaded: it is cut off"):
        minidl.load(io.BytesIO(b"abc"))
    with pytest.raises(DTypeError, match="save: expected a path or an open file, got int"):
        minidl.save({}, 3)  # type: ignore[arg-type]


def test_map_location_is_a_device_a_dict_or_a_function(tmp_path: Path, device: str) -> None:
    path = tmp_path / "file"
    minidl.save([minidl.ones(2, device=device)], path)
    saved = str(minidl.device(device))
    for where in ("cpu", minidl.device("cpu"), {saved: "cpu"}, lambda storage, location: storage):
        assert str(minidl.load(path, where)[0].device) == "cpu"
    for where in (None, device, {"elsewhere": "cpu"}, lambda storage, location: None):
        assert str(minidl.load(path, map_location=where)[0].device) == saved
    seen: list[str] = []
    minidl.load(path, lambda storage, location: seen.append(location))
    assert seen == [saved.replace("gpu", "cuda")]


def test_the_options_of_a_program_are_saved(tmp_path: Path) -> None:
    options = argparse.Namespace(lr=0.1, data=["a"], nested=argparse.Namespace(x=None))
    minidl.save({"args": options}, tmp_path / "file")
    assert minidl.load(tmp_path / "file") == {"args": options}


# --- Whole models ---------------------------------------------------------------------------------


class Net(minidl.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = minidl.nn.Sequential(
            minidl.nn.Conv2d(1, 2, 3), minidl.nn.BatchNorm2d(2), minidl.nn.ReLU()
        )
        self.first = minidl.nn.Linear(2, 2)
        self.second = minidl.nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.same = self.first
        self.first.bias.requires_grad_(False)
        self.register_buffer("scratch", minidl.ones(2), persistent=False)
        self.sizes, self.options = [1, 2], {"a": (1.5, None)}

    def forward(self, x: Any) -> Any:
        return self.second(self.first(self.features(x).mean(axis=(2, 3)))) + self.scratch


def test_a_whole_model_comes_back(tmp_path: Path) -> None:
    net, x = Net().eval(), minidl.randn(3, 1, 5, 5)
    minidl.save(net, tmp_path / "model")
    again = minidl.load(tmp_path / "model", weights_only=False)
    assert type(again) is Net and not again.training
    assert minidl.equal(again(x), net(x))
    assert again.same is again.first and again.second.weight is again.first.weight
    assert [p.requires_grad for p in again.parameters()] == [
        p.requires_grad for p in net.parameters()
    ]
    assert list(again.state_dict()) == list(net.state_dict())
    assert (again.sizes, again.options) == (net.sizes, net.options)
    again(x).sum().backward()
    assert net.first.weight.grad is None and again.first.weight.grad is not None


def test_a_class_must_be_known(tmp_path: Path) -> None:
    minidl.save({"model": Net()}, tmp_path / "model")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"class 'Net'.*add_safe_globals\(\[Net\]\)"):
            minidl.load(tmp_path / "model")
        with minidl.serialization.safe_globals([Net]):
            assert type(minidl.load(tmp_path / "model")["model"]) is Net
    minidl.serialization.add_safe_globals([Net])
    assert minidl.serialization.get_safe_globals() == [Net]
    minidl.load(tmp_path / "model")
    minidl.serialization.clear_safe_globals()
    minidl.save(minidl.nn.Sequential(minidl.nn.Linear(1, 1)), tmp_path / "own")
    assert type(minidl.load(tmp_path / "own")[0]) is minidl.nn.Linear


@pytest.mark.parametrize(
    "name", ["os:system", "minidl.nowhere:Net", "minidl.files:write_atomically"]
)
def test_a_file_makes_no_other_object(name: str) -> None:
    with pytest.raises(CheckpointError, match="not known here"):
        minidl.serialization.class_named(name, weights_only=False)


def test_a_model_with_a_function_is_refused(tmp_path: Path) -> None:
    net = Net()
    net.activation = minidl.relu
    with pytest.raises(ArgumentError, match=r"obj\['activation'\] is a builtins.function"):
        minidl.save(net, tmp_path / "model")
