"""PyTorch's ``.pth`` files, without PyTorch: reading both forms, running nothing, and writing.

A file holds a pickle, a program that builds the saved object, and *storages*, plain numbers. The
newer form is a zip archive: ``<name>/data.pkl`` and ``<name>/data/<key>`` for each storage. In the
older form, pickles follow each other: a magic number, the version, the system, the object, the keys
of the storages; then, for each key, the number of elements in 8 bytes, and the elements. In the
pickle a storage is a persistent ID, ``("storage", torch.FloatStorage, key, device, elements)``, and
a tensor is a call ``_rebuild_tensor_v2(storage, offset, size, stride, ...)``.

:func:`~minidl.pickles.read_pickle` reads the program: besides plain values it can make nothing but
tensors, each a view into its storage, within the storage's bounds.
"""

from __future__ import annotations

import io
import math
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from .errors import CheckpointError
from .formats import members_of, unpack, widen
from .pickles import Name, RefusedError, only, plain_key, plain_keys, read_pickle

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "<u2", "Long": "<i8",
    "Int": "<i4", "Short": "<i2", "Char": "<i1", "Byte": "<u1", "Bool": "?",
}  # fmt: skip
_DTYPES = {
    f"torch.{name}": np.dtype(name)
    for name in "float16 float32 float64 uint8 int8 int16 int32 int64 bool".split()
}
_DTYPES |= {"torch.complex64": np.dtype("c8"), "torch.complex128": np.dtype("c16")}
_CONSTANTS: dict[str, Any] = {**_DTYPES, "torch.bfloat16": "bfloat16"}  # NumPy has none
_MAX_AXES = 64  # NumPy's limit
_MAX_EXPANDED = 1 << 22  # elements of a tensor that repeats those of a smaller storage

Make = Callable[[np.ndarray, str], Any]


@dataclass
class _Storage:  # not a tuple, which a pickle may take apart
    array: np.ndarray
    location: str


def _name(storage: Any) -> str:
    """Return "Float" for the name of the class torch.FloatStorage."""
    name = only(Name, storage).name.removeprefix("torch.").removesuffix("Storage")
    if name not in _STORAGES:
        raise CheckpointError(f"it holds tensors of {storage}, which are not supported")
    return name


def _numbers(name: str, data: np.ndarray) -> np.ndarray:
    """Return the elements of a storage from its bytes."""
    if name == "Bool" and data.max(initial=0) > 1:
        raise CheckpointError("it is damaged: bools have values besides 0 and 1")
    array = data.view(_STORAGES[name])
    return widen(array) if name == "BFloat16" else array


def _view(storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """Return a tensor's array, after checking that it lies within its storage."""
    array = only(_Storage, storage).array
    size, stride = only(tuple, size), only(tuple, stride)
    numbers = [only(int, number) for number in (offset, *size, *stride)]
    if max(len(size), len(stride)) > _MAX_AXES or max(numbers) >= 1 << 63:  # before multiplying
        raise CheckpointError("it is damaged: a tensor has too many sides, or too long ones")
    count = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if min(numbers) < 0 or count > max(array.size, _MAX_EXPANDED) or (count and last >= array.size):
        raise CheckpointError(
            f"it is damaged: a tensor of shape {size} with strides {stride} does not lie within "
            f"its {array.size} numbers"
        )
    if count == 0:
        return np.empty(size, array.dtype)
    item = array.itemsize
    return np.ndarray(size, array.dtype, array.data, offset * item, [n * item for n in stride])


def _read_object(file: BinaryIO, storage: Callable[..., Any], make: Make | None) -> Any:
    """Read the pickle of the saved object; without `make`, only ask for its storages."""

    def tensor(storage: Any, offset: Any, size: Any, stride: Any, *others: Any) -> Any:
        if make is None:
            return None
        return make(_view(storage, offset, size, stride), storage.location)

    def ordered(items: Any = ()) -> dict[Any, Any]:
        pairs = only((list, tuple), items)
        return {plain_key(only((str, int), key)): value for key, value in pairs}

    def place(saved: Any) -> Any:
        word, *others = only(tuple, saved)
        if word != "storage":
            raise RefusedError(f"a reference to {only(str, word)[:40]!r}")
        return storage(*others)

    def device(kind: Any, *index: Any) -> str:
        if len(only(str, kind)) > 40 or len(index) > 1:
            raise RefusedError("a device of that name")
        return ":".join([kind, *(str(only(int, number)) for number in index)])

    calls: dict[str, Callable[..., Any]] = {
        "collections.OrderedDict": ordered,
        "collections.defaultdict": lambda *kind: {},
        "collections.Counter": lambda counts: Counter(only(dict, counts)),
        "__builtin__.set": lambda items: set(plain_keys(items)),
        "__builtin__.complex": lambda *parts: complex(*(only(float, part) for part in parts)),
        "torch.Size": lambda sides: only(tuple, sides),
        "torch.device": device,
        "torch._utils._rebuild_tensor": tensor,
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_parameter": lambda data, *others: data,
    }
    return read_pickle(file, calls, place, constants=_CONSTANTS)


def is_torch(file: BinaryIO) -> bool:
    """Return whether a file is a pickle, alone or in a zip archive; its position stays.

    Raises
    ------
    zipfile.BadZipFile
        The archive is damaged.
    """
    import zipfile

    begin = file.tell()
    start = file.read(2)
    file.seek(begin)
    if start != b"PK":
        return start[:1] == b"\x80"
    with zipfile.ZipFile(file) as archive:
        found = any(name.endswith("data.pkl") for name in archive.namelist())
    file.seek(begin)
    return found


def read_torch(file: BinaryIO, make: Make) -> Any:
    """Return what ``torch.save`` saved: tensors, and dicts, lists and plain values around them.

    Parameters
    ----------
    file : binary file
        At its beginning, and open for seeking.
    make : function (array, location) -> object
        Makes a tensor from an array, which shares its memory with all others of the same storage,
        and the saved device. bfloat16 has become float32, exactly.

    Raises
    ------
    CheckpointError
        The file asks for anything but tensors and plain values, such as whole models; nothing in it
        is executed. Or a tensor does not lie within its storage.
    Exception
        The file is damaged; any kind.
    """
    start = file.read(2)
    file.seek(-len(start), io.SEEK_CUR)
    try:
        return (_read_zip if start == b"PK" else _read_stream)(file, make)
    except RefusedError as refused:
        raise CheckpointError(
            f"it is a pickle that holds more than tensors ({refused}); nothing in it was executed; "
            "from PyTorch, save only tensors and plain values, such as model.state_dict()"
        ) from None


def _read_zip(file: BinaryIO, make: Make) -> Any:
    import zipfile

    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = members_of(archive, size)
        [root] = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
        order = members.get(root + "byteorder")
        if order is not None and unpack(archive, order).tobytes() != b"little":
            raise CheckpointError("its numbers are not little-endian, which is not supported")
        unpacked: dict[str, np.ndarray] = {}  # a storage may be named with several dtypes
        storages: dict[tuple[str, str], np.ndarray] = {}

        def storage(kind: Any, key: Any, location: Any, elements: Any) -> _Storage:
            name, key = _name(kind), only(str, key)
            if (key, name) not in storages:
                if key not in unpacked:
                    unpacked[key] = unpack(archive, members[f"{root}data/{key}"])
                storages[key, name] = _numbers(name, unpacked[key])
            if storages[key, name].size != elements:
                raise CheckpointError(f"it is damaged: storage {key!r} has another size")
            return _Storage(storages[key, name], only(str, location))

        program = unpack(archive, members[root + "data.pkl"])
        return _read_object(io.BytesIO(program.data), storage, make)


def _read_stream(file: BinaryIO, make: Make) -> Any:
    begin = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(begin)
    if read_pickle(file) != _MAGIC:
        raise CheckpointError("it is a pickle, but not one of PyTorch's files")
    if read_pickle(file) != _PROTOCOL or not only(dict, read_pickle(file))["little_endian"]:
        raise CheckpointError("it is of another version than 1001, or not little-endian")
    program = file.tell()
    names: dict[str, tuple[str, int]] = {}

    def note(kind: Any, key: Any, location: Any, elements: Any, view: Any = None) -> None:
        names[only(str, key)] = _name(kind), only(int, elements)

    _read_object(file, note, None)
    storages = {}
    for key in only(list, read_pickle(file)):
        name, elements = names[only(str, key)]
        data = np.empty(max(0, min(elements * np.dtype(_STORAGES[name]).itemsize, end)), np.uint8)
        (count,) = struct.unpack("<q", file.read(8))
        if count != elements or file.tell() + len(data) > end:
            raise CheckpointError(f"it is damaged or cut off: storage {key!r} is not whole")
        file.readinto(data)  # type: ignore[attr-defined]
        storages[key] = _numbers(name, data)

    def storage(kind: Any, key: Any, location: Any, elements: Any, view: Any = None) -> Any:
        array = storages[only(str, key)]
        if view is not None:  # an older PyTorch's part of a storage
            _, first, length = only(tuple, view)
            array = _view(_Storage(array, ""), first, (length,), (1,))
        return _Storage(array, only(str, location))

    file.seek(program)
    return _read_object(file, storage, make)


def write_torch(arrays: dict[str, np.ndarray]) -> list[bytes | memoryview]:
    """Return the content of a ``.pth`` file, in pieces; the same for the same arguments.

    Parameters
    ----------
    arrays : dict of str to ndarray
        A state dict, which ``torch.load(path, weights_only=True)`` reads; in any byte order.

    Raises
    ------
    CheckpointError
        A dtype is unknown to PyTorch, or to its older versions: uint16, uint32, uint64.
    """
    import zipfile

    arrays = {
        name: np.asarray(array, array.dtype.newbyteorder("<")) for name, array in arrays.items()
    }
    names = {np.dtype(code): name for name, code in _STORAGES.items() if name != "BFloat16"}
    program = [b"\x80\x02ccollections\nOrderedDict\n)R("]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:

        def add(name: str, data: Any) -> None:
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)

        for key, (name, array) in enumerate(arrays.items()):
            if array.dtype not in names:
                raise CheckpointError(f"{name!r} has the dtype {array.dtype}, which .pth lacks")
            kind = f"ctorch\n{names[array.dtype]}Storage\n".encode()
            strides = np.cumprod([1, *array.shape[:0:-1]], dtype=np.int64)[::-1].tolist()
            storage = (_text("storage"), kind, _text(str(key)), _text("cpu"), _integer(array.size))
            sides = [_integer(side) for side in array.shape]
            steps = [_integer(step) for step in strides[: array.ndim]]
            arguments = (
                b"(" + b"".join(storage) + b"tQ",
                _integer(0),
                b"(" + b"".join(sides) + b"t",
                b"(" + b"".join(steps) + b"t",
                b"\x89ccollections\nOrderedDict\n)R",  # requires_grad and hooks
            )
            program += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n("]
            program += [*arguments, b"tR"]
        add("data.pkl", b"".join([*program, b"u."]))
        add("byteorder", b"little")
        for key, array in enumerate(arrays.values()):
            add(f"data/{key}", np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        add("version", b"3\n")
    return [target.getbuffer()]


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data
