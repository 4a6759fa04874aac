"""The reader of pickles: everything CIFAR needs, and nothing else."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.errors import DataError
from minidl.vision.datasets.pickled import read_pickled_dict

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 7), dtype=np.uint8)
CONTENT = {
    "batch_label": "training batch 1 of 5",
    "labels": [6, 0, 300, -1, 70000, 2**40],
    "data": PIXELS,
    "filenames": [b"a\xff.png", b"b.png"],
    "nothing": None,
    "flags": (True, False),
    "deep": {"one": [1, (2,), (2, 3), (2, 3, 4), (2, 3, 4, 5), ()]},
}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def assert_same(found: object, expected: object) -> None:
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray) and found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert isinstance(found, dict) and list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    else:
        assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_python_3_files(tmp_path: Path, protocol: int, order: str) -> None:
    content = {**CONTENT, "data": np.asarray(PIXELS, order=order)}
    path = write(tmp_path / "x", pickle.dumps(content, protocol))
    assert_same(read_pickled_dict(path), content)


@pytest.mark.parametrize("protocol", [2, 4])
def test_keys_of_bytes_become_text(tmp_path: Path, protocol: int) -> None:
    path = write(tmp_path / "x", pickle.dumps({b"labels": [1], b"data": PIXELS}, protocol))
    assert_same(read_pickled_dict(path), {"labels": [1], "data": PIXELS})


def test_old_numpy_names(tmp_path: Path) -> None:
    program = pickle.dumps({"data": PIXELS}, 2).replace(b"numpy._core", b"numpy.core")
    assert_same(read_pickled_dict(write(tmp_path / "x", program)), {"data": PIXELS})


def python2_string(text: bytes) -> bytes:
    if len(text) < 256:
        return b"U" + bytes([len(text)]) + text
    return b"T" + struct.pack("<i", len(text)) + text


def python2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """Return the bytes that Python 2's cPickle writes at protocol 2, as in the CIFAR files."""
    rows, columns = pixels.shape
    integer = b"M" + struct.pack("<H", rows) + b"M" + struct.pack("<H", columns) + b"\x86"
    return b"".join(
        [
            b"\x80\x02}q\x01(",
            python2_string(b"batch_label") + b"q\x02",
            python2_string(b"training batch 1 of 5") + b"q\x03",
            python2_string(b"labels") + b"q\x04]q\x05(",
            *[b"K" + bytes([label]) for label in labels],
            b"e",
            python2_string(b"data") + b"q\x06",
            b"cnumpy.core.multiarray\n_reconstruct\nq\x07",
            b"cnumpy\nndarray\nq\x08K\x00\x85" + python2_string(b"b") + b"\x87Rq\x09",
            b"(K\x01" + integer,
            b"cnumpy\ndtype\nq\x0a" + python2_string(b"u1") + b"K\x00K\x01\x87Rq\x0b",
            b"(K\x03" + python2_string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89" + python2_string(pixels.tobytes()) + b"tb",
            b"u.",
        ]
    )


def test_python_2_files(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 3072), dtype=np.uint8)
    program = python2_batch(pixels, [6, 9, 9, 4])
    # Python agrees about the handwritten program.
    assert pickle.loads(program, encoding="bytes")[b"labels"] == [6, 9, 9, 4]
    found = read_pickled_dict(write(tmp_path / "x", program))
    assert list(found) == ["batch_label", "labels", "data"]
    assert found["labels"] == [6, 9, 9, 4]
    np.testing.assert_array_equal(found["data"], pixels)


def test_python_2_text_files(tmp_path: Path) -> None:
    # Protocol 0, as batches.meta is published.
    program = (
        b"(dp1\nS'num_cases_per_batch'\np2\nI10000\nsS'label_names'\np3\n(lp4\n"
        b"S'airplane'\np5\naS'automobile'\np6\nasS'num_vis'\np7\nI3072\ns."
    )
    assert pickle.loads(program)["num_vis"] == 3072
    assert read_pickled_dict(write(tmp_path / "x", program)) == {
        "num_cases_per_batch": 10000,
        "label_names": [b"airplane", b"automobile"],
        "num_vis": 3072,
    }


class Calls:
    """An object whose pickle calls any function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call  # type: ignore[return-value]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["alone", "value", "label", "key"])
def test_hostile_pickles_run_nothing(tmp_path: Path, protocol: int, place: str) -> None:
    victim = tmp_path / "victim"
    hostile = Calls(os.system, f"touch {victim}")
    value = {
        "alone": hostile,
        "value": {"data": hostile},
        "label": {"labels": [1, hostile]},
        "key": {Calls(os.mkdir, str(victim)): 1},
    }[place]
    path = write(tmp_path / "x", pickle.dumps(value, protocol))
    with pytest.raises(DataError, match=r"x was refused.*executed"):
        read_pickled_dict(path)
    assert not victim.exists()
    # The fixture is really hostile. A failed os.mkdir also means that the call was made.
    pickle.loads(path.read_bytes())
    assert victim.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # the classic attack
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x80\x02cos\nsystem\nU\x04true\x85\x81.",  # NEWOBJ
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pabc\n.",  # PERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"\x80\x02}(U\x01ac__builtin__\neval\nu.",  # a function as a value
        b"\x80\x02}c__builtin__\neval\nb.",  # BUILD of a dict's attributes
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    ],
)
def test_other_instructions_are_refused(tmp_path: Path, program: bytes) -> None:
    path = write(tmp_path / "x", program)
    with pytest.raises(DataError, match="x was refused"):
        read_pickled_dict(path)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(4),  # not uint8
        np.array([1, "x"], dtype=object),
        np.float32(1),
        {1, 2},
        1 + 2j,
        Path("x"),
    ],
)
def test_other_values_are_refused(tmp_path: Path, value: object) -> None:
    path = write(tmp_path / "x", pickle.dumps({"data": value}))
    with pytest.raises(DataError, match="x was refused"):
        read_pickled_dict(path)


def test_a_wrong_shape_is_refused(tmp_path: Path) -> None:
    program = pickle.dumps({"data": PIXELS}, 2)
    assert program.count(b"K\x03K\x07\x86") == 1
    path = write(tmp_path / "x", program.replace(b"K\x03K\x07\x86", b"K\x04K\x07\x86"))
    with pytest.raises(DataError, match=r"shape \(4, 7\) from 21 bytes"):
        read_pickled_dict(path)


@pytest.mark.parametrize("value", [[1], "text", None, 3])
def test_only_a_dict_is_accepted(tmp_path: Path, value: object) -> None:
    with pytest.raises(DataError, match="dict was expected"):
        read_pickled_dict(write(tmp_path / "x", pickle.dumps(value)))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="x is missing"):
        read_pickled_dict(tmp_path / "x")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_every_truncation_is_an_error(tmp_path: Path, protocol: int) -> None:
    program = pickle.dumps({"labels": [1, 2], "data": PIXELS}, protocol)
    for length in range(len(program) - 1):
        with pytest.raises(DataError):
            read_pickled_dict(write(tmp_path / "x", program[:length]))


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 400), byte=st.integers(0, 255), protocol=st.sampled_from([0, 2, 4]))
def test_any_damage_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, protocol: int
) -> None:
    program = bytearray(pickle.dumps(CONTENT, protocol))
    program[place % len(program)] = byte
    path = write(tmp_path_factory.getbasetemp() / "damaged", bytes(program))
    try:
        found = read_pickled_dict(path)
    except DataError:
        return
    assert all(type(key) is str for key in found)
