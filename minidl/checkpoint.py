"""Saving and loading, exactly and safely: :func:`save` and :func:`load`.

A checkpoint is one safetensors file. Every program that reads safetensors can read minidl's
weights, and ``safetensors.torch.load_file`` loads a ``state_dict`` saved here into PyTorch. The
file's metadata holds what the format lacks:

- ``"minidl"``: JSON with the structure of the saved object, which refers to tensors by name, and
  with the SHA-256 of each tensor's dtype, shape and bytes;
- ``"minidl.sha256"``: the SHA-256 of that JSON.

Nothing that is read is ever executed. A hash covers every byte that carries a
value, so that a damaged file is an error and never a wrong number.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from .device import Array, Device
from .errors import ArgumentError, CheckpointError, DeviceError, DTypeError, MissingCheckpointError
from .files import write_atomically
from .formats import CODES, foreign, read_npz, read_safetensors, write_safetensors
from .kernels.cuda import copy_to
from .nn import Module
from .serialization import class_named, name_of, put_together, taken_apart
from .tensor import Tensor
from .torch_files import is_torch, read_torch

__all__ = ["encode", "load", "save"]

_VERSION = 1
_MAX_DEPTH = 100
_MAX_MODULES = 100_000  # of one model; one that stands in several places counts in each


def save(
    obj: Any,
    f: str | os.PathLike[str] | IO[bytes],
    pickle_module: Any = None,
    pickle_protocol: int | None = None,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Save tensors and everything around them in one file.

    Parameters
    ----------
    obj : object
        Dicts, lists and tuples, nested in any way, of Tensors, NumPy arrays and scalars, int,
        float, bool, str, bytes, None, ``argparse.Namespace`` and whole Modules (without hooks; a
        ``state_dict`` outlives changes of the class), such as ``{"model":
        model.state_dict(), "epoch": 3}``. The keys of dicts may be any of these that are hashable.
    f : str, path-like or binary file
        A path's file is replaced atomically when everything is on the disk. If writing fails, the
        older file remains and nothing is left behind. An open file, such as ``io.BytesIO``, is
        written from where it stands.
    pickle_module, pickle_protocol
        Accepted for compatibility with PyTorch; nothing is pickled.

    Raises
    ------
    ArgumentError
        If something in `obj` can't be saved. The message says where it is.
    CheckpointError
        If the file can't be written. If only the last step failed, syncing the folder, the new file
        is there, and the message says so.

    Notes
    -----
    Values are restored bit for bit, with their types; subclasses of dict and list become their base
    class. The memory order of axes, gradients and ``requires_grad`` are not saved. Tensors that
    shared an array share one again.

    Examples
    --------
    >>> import os, tempfile, minidl
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "last.safetensors")
    >>> minidl.save({"weight": minidl.tensor([1.0, 2.0]), "epoch": 3}, path)
    >>> minidl.load(path)
    {'weight': tensor([1., 2.]), 'epoch': 3}
    >>> folder.cleanup()
    """
    if not isinstance(f, (str, os.PathLike)) and not hasattr(f, "write"):
        raise DTypeError(f"save: expected a path or an open file, got {type(f).__name__}")
    pieces = encode(obj)
    try:
        if isinstance(f, (str, os.PathLike)):
            write_atomically(f, pieces)
        else:
            for piece in pieces:
                f.write(piece)
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"{_named(f)} can't be written: {reason}") from error


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what :func:`save` saved, or weights from elsewhere.

    Parameters
    ----------
    f : str, path-like or binary file
        A file of :func:`save`, any other safetensors file, a NumPy ``.npz`` file, or PyTorch's
        ``.pth``. An open file is read from where it stands to its end.
    map_location : str, Device, dict or callable, optional
        The device of the loaded Tensors; a dict from saved devices to others; or a function of a
        Tensor on the CPU and its saved device, which returns the Tensor where it belongs. Default:
        the device that each was saved from.
    weights_only : bool, optional
        False: a whole Module may be of any class that the program has imported. Otherwise only of
        minidl's and those that :func:`minidl.serialization.add_safe_globals` was given.
    pickle_module, mmap
        Accepted for compatibility with PyTorch; nothing that is read is ever executed.

    Returns
    -------
    object
        The saved object. For another program's safetensors file, a dict of Tensors (bfloat16
        becomes float32, exactly); for a ``.pth`` file, what ``torch.load(weights_only=True)``
        returns; for an ``.npz`` file, a dict of NumPy arrays. Those files have weak checksums or
        none.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, cut off or of another kind. A ``.pth`` file that holds more
        than tensors and plain values, such as a whole model, is refused; nothing in it is executed.

    Examples
    --------
    >>> import numpy, os, tempfile, minidl
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "weights.npz")
    >>> numpy.savez(path, bias=[1, 2])
    >>> minidl.load(path)
    {'bias': array([1, 2])}
    >>> folder.cleanup()
    """
    if isinstance(map_location, (str, Device)):
        map_location = Device(map_location)
    try:
        if not isinstance(f, (str, os.PathLike)):
            return _read(f, map_location, weights_only)
        with open(f, "rb") as file:
            return _read(file, map_location, weights_only)
    except Exception as error:  # damage makes safetensors, zipfile and NumPy raise a dozen kinds
        missing = isinstance(error, FileNotFoundError)
        kind = MissingCheckpointError if missing else CheckpointError
        raise kind(f"{_named(f)} can't be loaded: {reason_of(error)}") from error


def encode(obj: Any) -> list[bytes | memoryview]:
    """Return the content of the file that :func:`save` writes, in pieces.

    Parameters
    ----------
    obj : object
        See :func:`save`.

    Returns
    -------
    list of bytes and memoryview
        Copies, so that `obj` may change before they are written.

    Raises
    ------
    ArgumentError
        If something in `obj` can't be saved. The message says where it is.
    """
    encoder = _Encoder()
    root = encoder.encode(obj, ())
    digests = {name: _digest(array) for name, array in encoder.arrays.items()}
    structure = json.dumps({"version": _VERSION, "root": root, "tensors": digests})
    metadata = {"minidl": structure, "minidl.sha256": _sha256(structure)}
    return write_safetensors(encoder.arrays, metadata)


def _read(file: Any, map_location: Any, weights_only: bool | None) -> Any:
    """Return what an open file holds."""
    begin = file.tell()
    start = file.read(100)
    file.seek(begin)
    if start[8:9] == b"{":  # 8 bytes with the length of the header, and the header
        return _decode_file(file, map_location, weights_only)
    if is_torch(file):
        return read_torch(file, lambda array, saved: _placed(array, saved, map_location))
    if start[:2] == b"PK":
        return read_npz(file)
    raise CheckpointError(foreign(start) or "it is cut off or not a checkpoint")


def _named(f: Any) -> str:
    """Return the name of a file for an error."""
    path = f if isinstance(f, (str, os.PathLike)) else getattr(f, "name", None)
    return repr(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else "the open file"


def reason_of(error: Exception) -> str:
    """Return why a file can't be read, in a few words."""
    if isinstance(error, CheckpointError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return f"it is damaged ({type(error).__name__}: {str(error)[:200]})"


# --- From objects to JSON and arrays, and back ----------------------------------------------------
#
# null, true, false, strings, ints of at most 64 bits, finite floats and lists represent
# themselves. Everything else is a JSON object whose only key names its kind.


class _Encoder:
    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        # The array beside the name keeps it alive, so that its address is not reused.
        self._known: dict[tuple[Any, ...], tuple[str, Array]] = {}
        self._models: dict[int, int] = {}

    def encode(self, obj: Any, where: tuple[Any, ...]) -> Any:
        if len(where) > _MAX_DEPTH:
            raise ArgumentError(
                f"save: {_spot(where[:4])}... is nested deeper than {_MAX_DEPTH}, or in itself"
            )
        kind = type(obj)
        if obj is None or kind is bool or kind is str:
            return obj
        if kind is int:
            return obj if obj.bit_length() <= 63 else {"int": hex(obj)}
        if kind is float:
            return obj if math.isfinite(obj) else {"float": obj.hex()}
        if isinstance(obj, dict):
            items = []
            for key, value in obj.items():
                there = (*where, key)
                items.append([self.encode(key, there), self.encode(value, there)])
            return {"dict": items}
        if isinstance(obj, (list, tuple)):
            items = [self.encode(item, (*where, i)) for i, item in enumerate(obj)]
            return items if isinstance(obj, list) else {"tuple": items}
        if isinstance(obj, Tensor):
            name = self._store(obj.array, where)
            device = str(obj.device)
            return {"tensor": name} if device == "cpu" else {"tensor": name, "device": device}
        if kind in (np.ndarray, np.memmap):
            return {"array": self._store(obj, where)}
        if isinstance(obj, np.generic):
            return {"scalar": self._store(np.asarray(obj), where)}
        if kind is bytes:
            return {"bytes": self._store(np.frombuffer(obj, np.uint8), where)}
        if isinstance(obj, Module):
            if id(obj) not in self._models:
                self._models[id(obj)] = len(self._models)
                parts = [name_of(kind), self.encode(taken_apart(obj), where)]
                return {"module": [self._models[id(obj)], *parts]}
            return {"module": [self._models[id(obj)]]}  # the same object again
        if kind.__module__ == "argparse" and kind.__name__ == "Namespace":
            return {"namespace": self.encode(vars(obj), where)}
        raise ArgumentError(
            f"save: {_spot(where)} is a {kind.__module__}.{kind.__qualname__}, which can't be "
            "saved; expected dicts, lists and tuples of Tensors, arrays, numbers, strings, bytes "
            "or None"
        )

    def _store(self, array: Array, where: tuple[Any, ...]) -> str:
        """Keep an array under a name made from its place; arrays that are shared, only once."""
        on_cpu = isinstance(array, np.ndarray)
        address = array.ctypes.data if on_cpu else array.data.ptr  # type: ignore[attr-defined]
        identity = (on_cpu, address, array.shape, array.strides, array.dtype)
        if array.size and identity in self._known:
            return self._known[identity][0]
        dtype = np.dtype(array.dtype).newbyteorder("<")
        if dtype not in CODES:
            raise ArgumentError(
                f"save: {_spot(where)} has the dtype {array.dtype}, which can't be saved; expected "
                "bool, an integer, float16, float32 or float64"
            )
        base = "/".join(map(str, where)) or "value"
        name = base = base.encode("utf-8", "backslashreplace").decode()
        count = 1
        while name in self.arrays or name == "__metadata__":  # the latter is the format's own
            count += 1
            name = f"{base}~{count}"
        # In C order, because the format has no strides and safetensors does not check them.
        self.arrays[name] = np.asarray(copy_to(array, Device("cpu")), dtype, order="C")
        self._known[identity] = name, array
        return name


def _decode_file(file: Any, map_location: Any, weights_only: bool | None) -> Any:
    """Check a safetensors file against its checksums and return the saved object."""
    arrays, metadata = read_safetensors(file)
    if "minidl" not in metadata and "minidl.sha256" not in metadata:  # of another program
        return {name: _placed(array, "cpu", map_location) for name, array in arrays.items()}
    structure = metadata.get("minidl", "")
    if _sha256(structure) != metadata.get("minidl.sha256"):
        raise CheckpointError("it is damaged: its structure does not match its checksum")
    document = json.loads(structure)
    if document["version"] != _VERSION:
        found = str(document["version"])[:20]
        raise CheckpointError(
            f"it has format version {found!r}; this minidl reads version {_VERSION}"
        )
    digests = document["tensors"]
    if digests.keys() != arrays.keys():
        raise CheckpointError("it is damaged: its tensors are not those it lists")
    for name, array in arrays.items():
        if _digest(array) != digests[name]:
            raise CheckpointError(f"it is damaged: tensor {name!r} does not match its checksum")
    return _decode(document["root"], arrays, map_location, weights_only is not False)


def _placed(array: np.ndarray, saved: str, map_location: Any) -> Any:
    """Return a loaded array as a Tensor where `map_location` says; `saved` is its saved device."""
    if isinstance(map_location, dict):
        devices = {str(key).replace("cuda", "gpu"): value for key, value in map_location.items()}
        map_location = devices.get(saved)
    elif callable(map_location):
        result = map_location(Tensor(array), saved.replace("gpu", "cuda"))
        if result is not None:
            return result
        map_location = None
    try:
        where = Device(saved if map_location is None else map_location)
    except DeviceError as error:
        raise CheckpointError(f"{error}; map_location='cpu' loads it here") from error
    return Tensor(copy_to(array, where))


def _decode(root: Any, arrays: dict[str, np.ndarray], map_location: Any, weights_only: bool) -> Any:
    tensors: dict[str, Tensor] = {}
    contents: dict[str, bytes] = {}
    models: dict[int, Module] = {}
    sizes: dict[int, int] = {}  # of models: how many modules each prints
    count = 0
    parameters: dict[int, Any] = {}

    def tensor(name: str, device: str) -> Tensor:
        if name not in tensors:
            tensors[name] = _placed(arrays[name], device, map_location)
        return tensors[name]

    def module(number: int, name: str = "", parts: Any = None) -> Module:
        nonlocal count
        if number not in models:
            before = count
            cls = class_named(name, weights_only)
            models[number] = put_together(cls, decode(parts), parameters)
            sizes[number] = count - before + 1
            count = before
        count += sizes[number]
        if count > _MAX_MODULES:
            raise CheckpointError(f"its model has more than {_MAX_MODULES:,} modules")
        return models[number]

    def content(name: str) -> bytes:
        if name not in contents:
            contents[name] = arrays[name].tobytes()
        return contents[name]

    def decode(node: Any) -> Any:
        if isinstance(node, list):
            return [decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "tensor" in node:
            return tensor(node["tensor"], node.get("device", "cpu"))
        [(kind, value)] = node.items()
        return kinds[kind](value)

    from argparse import Namespace

    kinds: dict[str, Callable[[Any], Any]] = {
        "dict": lambda items: {decode(key): decode(value) for key, value in items},
        "tuple": lambda items: tuple([decode(item) for item in items]),
        "int": lambda digits: int(digits, 16),
        "float": float.fromhex,
        "array": lambda name: arrays[name],
        "scalar": lambda name: arrays[name][()],
        "bytes": content,
        "module": lambda parts: module(*parts),
        "namespace": lambda options: Namespace(**decode(options)),
    }
    return decode(root)


def _spot(where: tuple[Any, ...]) -> str:
    """Return a place in the saved object as Python would write it."""
    return "obj" + "".join(f"[{key!r}]" for key in where)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's dtype, shape and bytes, in hexadecimal."""
    digest = hashlib.sha256(f"{CODES[array.dtype]} {list(array.shape)} ".encode())
    digest.update(array.reshape(-1).data)
    return digest.hexdigest()
