"""Pickles written instruction by instruction: PyTorch's and NumPy's files without PyTorch, and
hostile ones, which no pickler would write."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Global(NamedTuple):
    """A function or class by name."""

    module: str
    name: str


class Call(NamedTuple):
    """REDUCE: a call of a function."""

    function: Any
    arguments: Any


class Build(NamedTuple):
    """BUILD: an object, and the state that it is given."""

    target: Any
    state: Any


class Persistent(NamedTuple):
    """BINPERSID: a reference to something outside the pickle."""

    id: Any


class Python2(bytes):
    """A string of Python 2."""


class Raw(bytes):
    """Instructions, as they are."""


def emit(value: Any) -> bytes:
    """Return the instructions that make a value."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        return emit(value.function) + emit(value.arguments) + b"R"
    if isinstance(value, Build):
        return emit(value.target) + emit(value.state) + b"b"
    if isinstance(value, Persistent):
        return emit(value.id) + b"Q"
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, Python2):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data
    if isinstance(value, int):
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, dict):
        return b"}(" + b"".join(map(emit, (x for pair in value.items() for x in pair))) + b"u"
    opening, closing = (b"](", b"e") if isinstance(value, list) else (b"(", b"t")
    return opening + b"".join(map(emit, value)) + closing


def program(value: Any) -> bytes:
    """Return a whole pickle."""
    return b"\x80\x02" + emit(value) + b"."


# --- PyTorch's files ------------------------------------------------------------------------------

KINDS = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "i4": "Int", "u1": "Byte"}


def tensor(
    storage: Any, size: Sequence[int], stride: Sequence[int], offset: int = 0, name: str = "_v2"
) -> Call:
    """Return PyTorch's call for a tensor of a storage."""
    function = Global("torch._utils", f"_rebuild_tensor{name}")
    hooks = Call(Global("collections", "OrderedDict"), ())
    return Call(function, (storage, offset, tuple(size), tuple(stride), False, hooks))


def storage(
    key: str, count: Any, kind: str = "Float", old: bool = False, view: Any = None
) -> Persistent:
    """Return PyTorch's reference to a storage."""
    saved = ("storage", Global("torch", f"{kind}Storage"), key, "cpu", count)
    return Persistent((*saved, view) if old else saved)


def tensor_of(array: np.ndarray, key: str, old: bool = False) -> Call:
    """Return PyTorch's call for a tensor with a storage of its own."""
    kind = KINDS[array.dtype.str[1:]]
    stride = [step // array.itemsize for step in array.strides]
    return tensor(storage(key, array.size, kind, old), array.shape, stride)


def zip_file(value: Any, storages: dict[str, Any], root: str = "archive", order: str = "") -> bytes:
    """Return a file in PyTorch's newer form."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{root}/data.pkl", program(value))
        if order:
            archive.writestr(f"{root}/byteorder", order)
        for key, data in storages.items():
            archive.writestr(f"{root}/data/{key}", np.asarray(data).tobytes())
        archive.writestr(f"{root}/version", "3\n")
    return file.getvalue()


def stream_file(value: Any, storages: dict[str, Any], keys: list[str] | None = None) -> bytes:
    """Return a file in PyTorch's older form."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    pickles = [0x1950A86A20F9469CFC6C, 1001, system, value, keys or list(storages)]
    numbers = [
        struct.pack("<q", np.asarray(data).size) + np.asarray(data).tobytes()
        for data in storages.values()
    ]
    return b"".join([*map(program, pickles), *numbers])


def state_dict_file(arrays: dict[str, np.ndarray], old: bool = False, **around: Any) -> bytes:
    """Return a state dict as PyTorch saves it; with `around`, under the key "state_dict"."""
    state = {name: tensor_of(array, str(i), old) for i, (name, array) in enumerate(arrays.items())}
    value = {**around, "state_dict": state} if around else state
    storages = {str(i): array for i, array in enumerate(arrays.values())}
    return (stream_file if old else zip_file)(value, storages)


# --- NumPy's files --------------------------------------------------------------------------------


def pickled_array(array: np.ndarray) -> Build:
    """Return an array as NumPy pickled it under Python 2."""
    order = array.dtype.str[0].encode()
    dtype = Call(Global("numpy", "dtype"), (Python2(array.dtype.str[1:].encode()), 0, 1))
    dtype = Build(dtype, (3, Python2(order), None, None, None, -1, -1, 0))
    return _array(array.shape, dtype, Python2(array.tobytes()))


def _array(shape: tuple[int, ...], dtype: Any, content: Any) -> Build:
    make = Global("numpy.core.multiarray", "_reconstruct")
    empty = Call(make, (Global("numpy", "ndarray"), (0,), Python2(b"b")))
    return Build(empty, (1, shape, dtype, False, content))


def npy_file(value: Any) -> bytes:
    """Return an .npy file that holds one pickled object."""
    dtype = Call(Global("numpy", "dtype"), (Python2(b"O8"), 0, 1))
    dtype = Build(dtype, (3, Python2(b"|"), None, None, None, -1, -1, 63))
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(len(header) + 11) % 16) + b"\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    return start + program(_array((), dtype, [value]))
