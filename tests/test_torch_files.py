"""PyTorch's files: both forms, hostile ones, and what is written."""

from __future__ import annotations

import io
import os
import pickle
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pickled_programs import (
    Build,
    Call,
    Global,
    Persistent,
    Raw,
    emit,
    program,
    state_dict_file,
    storage,
    stream_file,
    tensor,
    tensor_of,
    zip_file,
)

import minidl
from minidl.errors import CheckpointError
from minidl.torch_files import write_torch

ARRAYS = {
    "features.0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "features.0.bias": np.array([1e-45, -np.inf], np.float32),
    "count": np.array(7),
    "half": np.arange(3, dtype=np.float16),
    "empty": np.zeros((0, 4)),
    "bytes": np.arange(5, dtype=np.uint8),
}

FORMS = pytest.mark.parametrize("form", [zip_file, stream_file])


def load(content: bytes) -> Any:
    return minidl.load(io.BytesIO(content))


def refused(content: bytes, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match):
        load(content)


def is_old(form: Any) -> bool:
    return form is stream_file


# --- Reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True])
def test_state_dicts(old: bool) -> None:
    found = load(state_dict_file(ARRAYS, old))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert isinstance(found[name], minidl.Tensor)
        assert found[name].numpy().dtype == array.dtype
        np.testing.assert_array_equal(found[name].numpy(), array)


@FORMS
def test_checkpoints_and_what_stands_around_the_tensors(form: Callable[..., bytes]) -> None:
    weight = np.ones((2, 2), np.float32)
    parameter = Call(
        Global("torch._utils", "_rebuild_parameter"),
        (
            tensor_of(weight, "0", is_old(form)),
            True,
            Call(Global("collections", "OrderedDict"), ()),
        ),
    )
    state = Build(Call(Global("collections", "OrderedDict"), ()), {"_metadata": {"": {}}})
    value = {
        "epoch": 3,
        "best": 0.5,
        "arch": "alexnet",
        "model": {"w": parameter},
        "state": state,
        "slots": Call(Global("collections", "defaultdict"), (Global("__builtin__", "dict"),)),
        "steps": Call(Global("collections", "Counter"), ({30: 1},)),
        "size": Call(Global("torch", "Size"), ((2, 2),)),
        "place": Call(Global("torch", "device"), ("cuda", 0)),
        "pairs": Call(Global("collections", "OrderedDict"), ([["a", 1]],)),
        "set": Call(Global("__builtin__", "set"), ([1, "a"],)),
        "raw": Call(Global("__builtin__", "bytearray"), ("\xe9", "latin-1")),
        "rest": Call(Global("builtins", "bytearray"), (b"\xe9",)),
        "root": Call(Global("__builtin__", "complex"), (0.0, 1.0)),
        "dtypes": [Global("torch", name) for name in ("float16", "bfloat16", "complex64")],
    }
    found = load(form(value, {"0": weight}))
    np.testing.assert_array_equal(found.pop("model")["w"].numpy(), weight)
    assert found == {
        "epoch": 3,
        "best": 0.5,
        "arch": "alexnet",
        "state": {},
        "slots": {},
        "steps": {30: 1},
        "size": (2, 2),
        "place": "cuda:0",
        "pairs": {"a": 1},
        "set": {1, "a"},
        "raw": b"\xe9",
        "rest": b"\xe9",
        "root": 1j,
        "dtypes": [minidl.float16, "bfloat16", np.dtype("complex64")],
    }


@FORMS
def test_tensors_are_views_of_shared_storages(form: Callable[..., bytes]) -> None:
    data = np.arange(12, dtype=np.float32)
    place = storage("0", 12, old=is_old(form))
    value = [
        tensor(place, (3, 4), (4, 1)),
        tensor(place, (4, 3), (1, 4)),  # transposed
        tensor(place, (2,), (5,), offset=6),
        tensor(place, (3, 2), (0, 1)),  # expanded
        tensor(place, (), (), offset=11, name=""),  # a number, as older versions wrote it
    ]
    a, b, c, d, e = load(form(value, {"0": data}))
    np.testing.assert_array_equal(a.numpy(), data.reshape(3, 4))
    np.testing.assert_array_equal(b.numpy(), data.reshape(3, 4).T)
    assert c.tolist() == [6, 11] and d.tolist() == [[0, 1]] * 3 and e.item() == 11
    a[1, 2] = -1.0
    assert b[2, 1].item() == -1 == c[0].item()


def test_a_part_of_a_storage_in_the_older_form() -> None:
    place = storage("0", 6, old=True, view=("1", 2, 3))
    (found,) = load(stream_file([tensor(place, (3,), (1,))], {"0": np.arange(6, dtype="<f4")}))
    assert found.tolist() == [2, 3, 4]


@FORMS
def test_bfloat16_and_bool(form: Callable[..., bytes]) -> None:
    old = is_old(form)
    halves = np.array([1.5, -2.0], np.float32).view("<u2")[1::2]
    value = [
        tensor(storage("a", 2, "BFloat16", old), (2,), (1,)),
        tensor(storage("b", 2, "Bool", old), (2,), (1,)),
    ]
    wide, flags = load(form(value, {"a": halves, "b": np.array([True, False])}))
    assert wide.tolist() == [1.5, -2.0] and wide.dtype == np.float32
    assert flags.tolist() == [True, False]
    refused(form(value, {"a": halves, "b": np.array([1, 2], np.uint8)}), "bools")


def test_a_device_that_is_not_here() -> None:
    place = Persistent(("storage", Global("torch", "FloatStorage"), "0", "cuda:7", 1))
    content = zip_file([tensor(place, (1,), (1,))], {"0": np.ones(1, np.float32)})
    refused(content, "map_location='cpu' loads it here")
    assert minidl.load(io.BytesIO(content), map_location="cpu")[0].tolist() == [1]


def test_other_byte_orders_are_refused() -> None:
    refused(zip_file([], {}, order="big"), "little-endian")
    assert load(zip_file([], {}, order="little")) == []
    content = stream_file([], {})
    refused(content.replace(b"little_endian\x88", b"little_endian\x89"), "little-endian")


# --- Hostile files --------------------------------------------------------------------------------


class Canary:
    """Touches a file when its pickle is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def canary(tmp_path: Path) -> Any:
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def commands(path: Path) -> dict[str, Any]:
    """Ways to run a command with a pickle."""
    system, text = Global("os", "system"), f"mkdir {path}"
    known = Global("collections", "OrderedDict")
    return {
        "reduce": Call(system, (text,)),
        "eval": Call(Global("builtins", "eval"), (f"__import__('os').mkdir({str(path)!r})",)),
        "getattr": Call(Call(Global("builtins", "getattr"), (Global("os", "sys"), "x")), ()),
        "import": Call(Global("torch.hub", "load"), (text,)),
        "nested": {"a": [{"b": (Call(system, (text,)),)}]},
        "argument": tensor(Call(system, (text,)), (1,), (1,)),
        "build": Build(Call(known, ()), {"__setstate__": system}),
        "attributes": Build(Call(known, ()), {"items": text}),
        "build object": Build(Global("os", "environ"), {"a": 1}),
        "new": Raw(b"cos\nsystem\n" + program((text,))[2:-1] + b"\x81"),
        "inst": Raw(b"(S" + repr(text).encode() + b"\nios\nsystem\n"),
        "obj": Raw(b"(cos\nsystem\nS" + repr(text).encode() + b"\no"),
        "extension": Raw(b"\x82\x01"),
        "persistent": Raw(b"Pabc\n"),
        "persistent call": Persistent(("storage", Call(system, (text,)), "0", "cpu", 1)),
        "persistent name": Persistent(("storage", Global("os", "system"), "0", "cpu", 1)),
        "dotted": Call(Global("torch._utils", "os.system"), (text,)),
        "method": Call(Global("minidl.torch_files", "write_torch"), ({},)),
    }


@FORMS
@pytest.mark.parametrize("how", commands(Path()))
def test_no_command_runs(form: Callable[..., bytes], how: str, canary: Path) -> None:
    refused(form(commands(canary)[how], {"0": np.ones(1, np.float32)}))


@FORMS
def test_the_canary_sings_in_pickle(form: Callable[..., bytes], tmp_path: Path) -> None:
    content = program(commands(tmp_path / "canary")["reduce"])
    pickle.loads(content)  # so the tests above would notice
    assert (tmp_path / "canary").exists()


def test_pickles_of_others_are_refused_and_not_run(canary: Path) -> None:
    for protocol in range(2, 6):
        refused(pickle.dumps(Canary(canary), protocol), "it is a pickle")
        refused(pickle.dumps({"weight": 1}, protocol), "not one of PyTorch's")


def test_long_names_are_cut(tmp_path: Path) -> None:
    name = b"a" * 100_000
    (tmp_path / "x.pth").write_bytes(b"\x80\x02c" + name + b"\n" + name + b"\n)R.")
    with pytest.raises(CheckpointError) as caught:
        minidl.load(tmp_path / "x.pth")
    assert "a call of aaa" in str(caught.value) and len(str(caught.value)) < 1000


def test_whole_models_are_refused_with_advice() -> None:
    model = Raw(b"ctorch.nn.modules.linear\nLinear\n)\x81")
    named = r"an object of class torch\.nn\.modules\.linear\.Linear"
    advice = r"\); .*save only tensors and plain values, such as model\.state_dict\(\)"
    refused(zip_file(model, {}), named + advice)
    refused(zip_file({"epoch": 1, "net": model}, {}), named + ", after 'net'" + advice)


def test_names_of_functions_and_classes_are_refused() -> None:
    name = Global("os", "system")
    for value in (name, [name], {"a": name}):
        refused(zip_file(value, {}), r"the name os\.system")


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [([[1.5, 2]], "float where str or int"), (5, "int where list or tuple")],
)
def test_wrong_pairs_of_an_ordered_dict_are_named(pairs: Any, problem: str) -> None:
    ordered = Call(Global("collections", "OrderedDict"), (pairs,))
    refused(zip_file(ordered, {}), f"{problem} was expected")


BAD_VIEWS = {
    "beyond the end": ((2, 3), (3, 1), 1),
    "negative stride": ((4,), (-1,), 3),
    "negative offset": ((2,), (1,), -1),
    "negative size": ((-2, -3), (3, 1), 0),
    "huge": ((2**62, 2**62), (0, 0), 0),
    "expanded too far": ((2**40,), (0,), 0),
    "huge stride": ((2,), (2**62,), 0),
    "huge offset": ((1,), (1,), 2**62),
    "one stride too few": ((2, 3), (1,), 0),
    "too many axes": ((1,) * 65, (1,) * 65, 0),
    "a float": ((2.0,), (1,), 0),
    "NaN": ((float("nan"),), (1,), 0),
    "text": (("2",), (1,), 0),
}


@FORMS
@pytest.mark.parametrize("view", BAD_VIEWS)
def test_views_outside_their_storage(form: Callable[..., bytes], view: str) -> None:
    size, stride, offset = BAD_VIEWS[view]
    value = [tensor(storage("0", 6, old=is_old(form)), size, stride, offset)]  # type: ignore[arg-type]
    tracemalloc.start()
    refused(form(value, {"0": np.arange(6, dtype=np.float32)}))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@FORMS
@pytest.mark.parametrize("count", [7, 5, -6, 2**40, 2**63, "6", None])
def test_sizes_of_storages_that_lie(form: Callable[..., bytes], count: Any) -> None:
    value = [tensor(storage("0", count, old=is_old(form)), (2,), (1,))]
    refused(form(value, {"0": np.arange(6, dtype=np.float32)}))


@FORMS
def test_storages_that_are_not_there(form: Callable[..., bytes]) -> None:
    for key in ("1", "../data.pkl", "/etc/passwd", ""):
        value = [tensor(storage(key, 6, old=is_old(form)), (6,), (1,))]
        refused(form(value, {"0": np.arange(6, dtype=np.float32)}))


def test_a_storage_with_two_dtypes() -> None:
    place, other = storage("0", 2, "Float"), storage("0", 1, "Double")
    content = zip_file([tensor(place, (2,), (1,)), tensor(other, (1,), (1,))], {"0": np.ones(1)})
    assert [t.dtype for t in load(content)] == [np.float32, np.float64]


SIZES = {"Float": 4, "Double": 8, "Half": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1}


def bomb(size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", program([]))
        archive.writestr("a/data/0", bytes(size))
    return file.getvalue()


NUMBERS = b"".join(b"M%c%c" % (i % 256, i // 256) for i in range(10_000))
PAIRS = b"".join(b"M%c%cN\x86" % (i % 256, i // 256) for i in range(10_000))
LONG = b"X\x10'\x00\x00" + b"a" * 10_000 + b"q\x00"


def calls(function: bytes, argument: bytes, count: int) -> bytes:
    """Return a tuple with the results of calls, of 5 bytes each."""
    return b"(c" + function + b"q\x01" + argument + b"q\x00" + b"h\x01h\x00\x85R" * count + b"t"


GROWTH = {
    # 10 bytes for a copy of 10,000
    "copies": b"](" + LONG + b"X\x06\x00\x00\x00latin1q\x01"
    b"c_codecs\nencode\nh\x00h\x01\x86R" * 10_000 + b"e",
    "lists": b"](" + b"]" * 200_000 + b"e",
    "keys": b"}(" + b"".join(b")q%c" % i + b"h%ch%c\x86" % (i, i) for i in range(60)) + b"Nu",
    "sets": calls(b"__builtin__\nset\n", b"](" + NUMBERS + b"e", 1000),
    "sets of tuples": calls(b"__builtin__\nset\n", b"(" + NUMBERS + b"t", 1000),
    "dicts of tuples": calls(b"collections\nOrderedDict\n", b"(" + PAIRS + b"t", 1000),
    "devices": b"(ctorch\ndevice\nq\x01(" + LONG + b"K\x00tq\x00" + b"h\x01h\x00R" * 10_000 + b"t",
    "names": b"(" + LONG + b"h\x00h\x00\x93" * 10_000 + b"t",
    "deep": b"]" * 40_000 + b"a" * 39_999,
}


@pytest.mark.parametrize("how", GROWTH)
def test_small_pickles_stay_small(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl.pickles._MAX_INSTRUCTIONS", 100_000)
    content = zip_file(Raw(GROWTH[how]), {})
    tracemalloc.start()
    with suppress(CheckpointError):
        load(content)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 32 << 20


DOUBLED = b")q\x00" + b"h\x00h\x00\x86q\x00" * 25  # a tuple of 34 million
FLOAT = emit(Call(Global("numpy", "dtype"), ("f4", 0, 1)))
BIG = b"\x8a\xff" + b"\xff" * 254 + b"\x7f"

ENDLESS = {
    "a device": b"(" + DOUBLED + b"ctorch\ndevice\nh\x00\x85Rt",
    "an encoding": b"(" + DOUBLED + b"c_codecs\nencode\nX\x01\x00\x00\x00ah\x00\x86Rt",
    "a class": b"(" + DOUBLED + b"h\x00)\x81t",
    "a byte order": b"(" + DOUBLED + FLOAT + b"Nh\x00\x86bt",
    "a value": b"(" + DOUBLED + b"t",
    "a value of lists": b"(]q\x00" + b"](h\x00h\x00eq\x00" * 60 + b"t",
    "a list in itself": b"]q\x00h\x00a",
    "a tensor's size": b"(" + BIG + b"q\x00" + emit(tensor(storage("0", 1), (), ())).replace(
        b"(t(t", b"(" + b"h\x00" * 50_000 + b"t(" + b"h\x00" * 50_000 + b"t") + b"t",
    "ignored arguments": b"(ccollections\ndefaultdict\nq\x01(" + NUMBERS * 5 + b"tq\x00"
    + b"h\x01h\x00R" * 100_000 + b"t",
    "keys of pairs": emit(Call(Global("collections", "OrderedDict"), (
        [(i * (2**61 - 1), None) for i in range(30_000)],))),
    "keys of one hash": b"}(" + b"".join(
        emit(i * (2**61 - 1)) + b"N" for i in range(30_000)) + b"u",
}  # fmt: skip


@FORMS
@pytest.mark.parametrize("how", ENDLESS)
def test_what_would_take_forever_is_refused(form: Callable[..., bytes], how: str) -> None:
    content = form(Raw(ENDLESS[how]), {"0": np.ones(1, np.float32)})
    start = time.process_time()
    refused(content)
    assert time.process_time() - start < 5


def test_the_keys_of_storages_are_text() -> None:
    refused(stream_file([], {}, [((), ())]), "tuple where str")  # type: ignore[list-item]


def test_a_storage_is_unpacked_once() -> None:
    file, size = io.BytesIO(), 8 << 20
    value = [tensor(storage("0", size // n, kind), (1,), (1,)) for kind, n in SIZES.items()]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", program(value))
        archive.writestr("a/data/0", bytes(size))
    tracemalloc.start()
    assert len(load(file.getvalue())) == len(SIZES)
    assert tracemalloc.get_traced_memory()[1] < 3 * size
    tracemalloc.stop()


def test_errors_hold_no_control_characters() -> None:
    name = Global("evil\x1b[2J", "name")
    for value in (Call(name, ()), [name], Persistent(("\x1b[2J",)), tensor(name, (), ())):
        with pytest.raises(CheckpointError) as caught:
            load(zip_file(value, {}))
        assert str(caught.value).isprintable()


def test_decompression_bombs() -> None:
    refused(bomb(100 << 20), "times as much")


def test_the_file_must_have_one_object() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", program([]))
        archive.writestr("b/data.pkl", program([]))
    refused(file.getvalue())


@pytest.mark.parametrize("old", [False, True])
def test_every_truncation_is_an_error(old: bool) -> None:
    content = state_dict_file(ARRAYS, old)
    for length in range(0, len(content) - 1, 7):
        refused(content[:length])


# --- Writing --------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = b"".join(write_torch(ARRAYS))
    assert content == b"".join(write_torch(ARRAYS))
    found = load(content)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].numpy().tobytes() == array.tobytes()
        assert found[name].shape == array.shape


def test_big_endian_arrays_are_written_little_endian() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    assert load(b"".join(write_torch({"x": array})))["x"].tolist() == array.tolist()


@pytest.mark.parametrize("dtype", ["uint16", "longdouble", "complex64", "U1"])
def test_dtypes_that_pth_lacks(dtype: str) -> None:
    array = np.zeros(1, dtype)
    with pytest.raises(CheckpointError, match=f"'x' has the dtype {array.dtype}, which .pth lacks"):
        write_torch({"x": array})
