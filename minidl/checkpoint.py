"""Saving and loading, exactly and safely: :func:`save` and :func:`load`.

A checkpoint is one safetensors file (https://github.com/huggingface/safetensors)::

    8 bytes       length H of the header, little-endian
    H bytes       JSON: {"__metadata__": {str: str}, name: {"dtype", "shape", "data_offsets"}, ...}
    the rest      the tensors' bytes, little-endian, C order, without gaps

so that every program that reads safetensors reads minidl's weights, and a ``state_dict`` saved here
loads in PyTorch by ``safetensors.torch.load_file``. The metadata holds what the format lacks:

- ``"minidl"``: JSON of the saved object's structure, in which tensors are named, and of every
  tensor's SHA-256 over dtype, shape and bytes;
- ``"minidl.sha256"``: the SHA-256 of that JSON.

Nothing read is ever executed: no pickle. Every byte that carries a value is under a hash, so that
a damaged file is an error and never a wrong number. A file is written beside its target, flushed
to the disk and renamed: at any moment there is the old file or the new one, whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from .device import Array, Device, copy_to
from .errors import ArgumentError, CheckpointError, DeviceError
from .tensor import Tensor

_DTYPES = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}

_VERSION = 1
_STRUCTURE = "minidl"
_DIGEST = "minidl.sha256"
_MAX_HEADER = 100_000_000  # the format's own limit
_MAX_DEPTH = 100
_BLOCK = 1 << 24

_TORCH_HELP = (
    "it is a pickle (PyTorch's .pth), which can run code when it is read. Where PyTorch is "
    "installed, convert it once: safetensors.torch.save_file(torch.load('model.pth', "
    "weights_only=True), 'model.safetensors')"
)


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Save tensors and everything around them in one file.

    Parameters
    ----------
    obj : object
        Any nest of dict, list and tuple, of Tensors, NumPy arrays and scalars, int, float, bool,
        str, bytes and None; such as ``{"model": model.state_dict(), "epoch": 3}``. Keys of
        dicts: str, int, float, bool, None, bytes, or tuples of these.
    path : str or path-like
        Replaced in one instant when everything is on the disk. If saving fails, the file that was
        there is there still.

    Raises
    ------
    ArgumentError
        Something in `obj` can't be saved; the message says where it is.
    CheckpointError
        The file can't be written.

    Notes
    -----
    Values come back bit for bit, with their types; of dicts' and lists' subclasses the base class
    comes back. The order of axes in memory does not come back, nor do gradients and
    ``requires_grad``. What shared one array shares one array again.

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
    encoder = _Encoder()
    root = encoder.encode(obj, (), 0)
    structure = json.dumps(
        {
            "version": _VERSION,
            "root": root,
            "tensors": {name: _digest(array) for name, array in encoder.arrays.items()},
        }
    )
    metadata = {_STRUCTURE: structure, _DIGEST: hashlib.sha256(structure.encode()).hexdigest()}
    with _replacing(path) as file:
        _write_safetensors(file, encoder.arrays, metadata)


def load(path: str | os.PathLike[str], map_location: str | Device | None = None) -> Any:
    """Load what :func:`save` saved, or weights from elsewhere.

    Parameters
    ----------
    path : str or path-like
        A file of :func:`save`; any other safetensors file; or a NumPy ``.npz`` file.
    map_location : str or Device, optional
        Where Tensors shall be. Default: where they were when they were saved.

    Returns
    -------
    object
        What was saved. Of other safetensors files a dict of Tensors (bfloat16 becomes float32,
        exactly), of an ``.npz`` file a dict of NumPy arrays; these files have no checksums or weak
        ones.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, cut off or of another kind. PyTorch's ``.pth`` files are
        refused, as reading them can run code; the message says how to convert them.

    Examples
    --------
    See :func:`save`.
    """
    name = os.fspath(path)
    device = None if map_location is None else Device(map_location)
    try:
        with open(name, "rb") as file:
            start = file.read(8)
            if int.from_bytes(start, "little") > _MAX_HEADER:  # not a safetensors file
                if start[:2] == b"PK":
                    return _load_npz(name, file)
                if start[0] == 0x80:
                    raise CheckpointError(f"{name!r}: {_TORCH_HELP}")
            arrays, metadata = _read_safetensors(name, file)
    except OSError as error:
        raise CheckpointError(f"{name!r} can't be read: {error.strerror or error}") from error
    if _STRUCTURE not in metadata and _DIGEST not in metadata:
        where = device or Device("cpu")
        return {key: Tensor(copy_to(array, where)) for key, array in arrays.items()}
    return _Decoder(name, arrays, device).decode_file(metadata)


# --- From objects to JSON and arrays --------------------------------------------------------------
#
# null, true, false, strings, ints of at most 64 bits, finite floats and lists stand for
# themselves. Everything else is a JSON object with one key that says what it is.


class _Encoder:
    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        self._alive: list[Any] = []  # memory whose address is in _names must not be used again

    def encode(self, obj: Any, where: tuple[Any, ...], depth: int) -> Any:
        if depth > _MAX_DEPTH:
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
                if not _is_key(key):
                    raise ArgumentError(
                        f"save: {_spot(where)} has a key that can't be saved: {key!r}"
                    )
                items.append(
                    [
                        self.encode(key, where, depth + 1),
                        self.encode(value, (*where, key), depth + 1),
                    ]
                )
            return {"dict": items}
        if isinstance(obj, (list, tuple)):
            items = [self.encode(item, (*where, i), depth + 1) for i, item in enumerate(obj)]
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
        raise ArgumentError(
            f"save: {_spot(where)} is a {kind.__module__}.{kind.__qualname__}, which can't be "
            "saved; expected dicts, lists and tuples of Tensors, arrays, numbers, strings, bytes "
            "or None"
        )

    def _store(self, array: Array, where: tuple[Any, ...]) -> str:
        """Keep an array under a name made from its place, once for all places that share it."""
        on_cpu = isinstance(array, np.ndarray)
        address = array.ctypes.data if on_cpu else array.data.ptr  # type: ignore[attr-defined]
        identity = (on_cpu, address, array.shape, array.strides, array.dtype)
        if array.size and identity in self._names:
            return self._names[identity]
        dtype = np.dtype(array.dtype).newbyteorder("<")
        if dtype not in _CODES:
            raise ArgumentError(
                f"save: {_spot(where)} has the dtype {array.dtype}, which can't be saved; expected "
                "bool, an integer, float16, float32 or float64"
            )
        # C order is a must: the format knows no strides.
        host = np.asarray(copy_to(array, Device("cpu")), dtype, order="C")
        name = base = _tensor_name(where)
        count = 1
        while name in self.arrays:
            count += 1
            name = f"{base}~{count}"
        self.arrays[name] = host
        self._names[identity] = name
        self._alive.append(array)
        return name


class _Decoder:
    def __init__(self, path: str, arrays: dict[str, np.ndarray], device: Device | None) -> None:
        self.path = path
        self.arrays = arrays
        self.device = device
        self._tensors: dict[str, Tensor] = {}

    def decode_file(self, metadata: dict[str, str]) -> Any:
        structure = metadata.get(_STRUCTURE, "")
        if hashlib.sha256(structure.encode("utf-8", "surrogatepass")).hexdigest() != metadata.get(
            _DIGEST
        ):
            raise CheckpointError(
                f"{self.path!r} is damaged: its structure does not match its checksum"
            )
        document = _parse_json(self.path, structure)
        if document.get("version") != _VERSION:
            raise CheckpointError(
                f"{self.path!r} has format version {document.get('version')!r}; this minidl reads "
                f"version {_VERSION}"
            )
        digests = document.get("tensors")
        if not isinstance(digests, dict) or set(digests) != set(self.arrays):
            raise CheckpointError(f"{self.path!r} is damaged: its tensors are not those it lists")
        for name, array in self.arrays.items():
            if _digest(array) != digests[name]:
                raise CheckpointError(
                    f"{self.path!r} is damaged: tensor {name!r} does not match its checksum"
                )
        try:
            return self.decode(document.get("root"))
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"{self.path!r} has an invalid structure ({error!r})") from error

    def decode(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        kind = next(iter(node), None)
        if len(node) != 1 and not (kind == "tensor" and set(node) == {"tensor", "device"}):
            raise CheckpointError(f"{self.path!r} has an invalid structure: {sorted(node)}")
        value = node[kind]
        if kind == "dict":
            return {self.decode(key): self.decode(item) for key, item in value}
        if kind == "tuple":
            return tuple([self.decode(item) for item in value])
        if kind == "int":
            return int(value, 16)
        if kind == "float":
            return float.fromhex(value)
        if kind == "tensor":
            if value not in self._tensors:
                device = self.device or Device(self._saved_device(node.get("device", "cpu")))
                self._tensors[value] = Tensor(copy_to(self.arrays[value], device))
            return self._tensors[value]
        if kind == "array":
            return self.arrays[value]
        if kind == "scalar":
            return self.arrays[value][()]
        if kind == "bytes":
            return self.arrays[value].tobytes()
        raise CheckpointError(f"{self.path!r} has an invalid structure: unknown kind {kind!r}")

    def _saved_device(self, device: str) -> str | Device:
        try:
            return Device(device)
        except DeviceError as error:
            raise CheckpointError(
                f"{self.path!r} was saved from device {device!r}, which is not here; load it with "
                "map_location='cpu'"
            ) from error


def _is_key(key: Any) -> bool:
    if type(key) is tuple:
        return all(_is_key(part) for part in key)
    return key is None or type(key) in (str, int, float, bool, bytes)


def _spot(where: tuple[Any, ...]) -> str:
    """Return a place in the saved object as Python would write it."""
    return "obj" + "".join(f"[{key!r}]" for key in where)


def _tensor_name(where: tuple[Any, ...]) -> str:
    name = "/".join(str(key) for key in where) or "value"
    name = name.encode("utf-8", "backslashreplace").decode()
    return f"{name}~" if name == "__metadata__" else name


def _digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's dtype, shape and bytes, in hexadecimal."""
    digest = hashlib.sha256(f"{_CODES[array.dtype]} {list(array.shape)} ".encode())
    digest.update(_bytes_of(array))
    return digest.hexdigest()


def _bytes_of(array: np.ndarray) -> memoryview:
    """Return the memory of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8).data


# --- safetensors ----------------------------------------------------------------------------------


def _write_safetensors(
    file: BinaryIO, arrays: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    header: dict[str, Any] = {"__metadata__": metadata}
    # Wide types first: then every tensor is aligned to its own type.
    names = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    end = 0
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _CODES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ArgumentError(
            f"save: the structure takes {len(text)} bytes, more than the format's {_MAX_HEADER}; "
            "put long lists of numbers into arrays"
        )
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in names:
        file.write(_bytes_of(arrays[name]))


def _read_safetensors(path: str, file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return a file's arrays, in memory of their own, and its metadata."""
    file_size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if file_size < 10 or not 2 <= length <= min(file_size - 8, _MAX_HEADER):
        raise CheckpointError(
            f"{path!r} is cut off or not a checkpoint: it has {file_size} bytes and does not start "
            "as a safetensors file"
        )
    text = file.read(length)
    if text[:1] != b"{":
        raise CheckpointError(f"{path!r} is damaged or not a checkpoint: its header is not JSON")
    header = _parse_json(path, text)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path!r} is damaged: its metadata is not a map of strings")

    entries = sorted(
        ((name, *_parse_entry(path, name, entry)) for name, entry in header.items()),
        key=lambda entry: entry[3],
    )
    end = 0
    for name, _, _, offsets in entries:
        if offsets[0] != end:
            raise CheckpointError(f"{path!r} is damaged: tensor {name!r} is not where it must be")
        end = offsets[1]
    if file_size != 8 + length + end:
        raise CheckpointError(
            f"{path!r} is cut off or damaged: it has {file_size} bytes, expected {8 + length + end}"
        )
    arrays = {name: _read_array(path, file, name, code, shape) for name, code, shape, _ in entries}
    return arrays, metadata


def _parse_json(path: str, text: str | bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key stands there twice")
        return result

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        if isinstance(text, bytes):
            text = text.decode()
        document = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path!r} is damaged: its header is not valid ({error})") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path!r} is damaged: its header is not a map")
    return document


def _parse_entry(path: str, name: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    """Return dtype, shape and offsets that a header gives for a tensor, checked."""

    def is_size(value: Any) -> bool:
        return type(value) is int and 0 <= value < 1 << 63

    damaged = CheckpointError(
        f"{path!r} is damaged: the header's entry of tensor {name!r} is invalid"
    )
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise damaged
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(code, str) and isinstance(shape, list) and isinstance(offsets, list)):
        raise damaged
    if len(offsets) != 2 or not all(map(is_size, shape)) or not all(map(is_size, offsets)):
        raise damaged
    if code != "BF16" and code not in _DTYPES:
        raise CheckpointError(
            f"{path!r}: tensor {name!r} has the dtype {code}, which is not supported"
        )
    width = 2 if code == "BF16" else np.dtype(_DTYPES[code]).itemsize
    if len(shape) > 64 or offsets[1] - offsets[0] != math.prod(shape) * width:
        raise damaged
    return code, tuple(shape), (offsets[0], offsets[1])


def _read_array(
    path: str, file: BinaryIO, name: str, code: str, shape: tuple[int, ...]
) -> np.ndarray:
    try:
        array = np.empty(shape, "<u2" if code == "BF16" else _DTYPES[code])
    except (ValueError, MemoryError) as error:  # such as shape (0, 2**62)
        raise CheckpointError(f"{path!r}: tensor {name!r} of shape {shape}: {error}") from error
    memory = _bytes_of(array)
    for start in range(0, len(memory), _BLOCK):
        block = memory[start : start + _BLOCK]
        if file.readinto(block) != len(block):  # type: ignore[attr-defined]
            raise CheckpointError(f"{path!r} was cut off while it was read")
    if code == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise CheckpointError(f"{path!r} is damaged: tensor {name!r} is bool and not 0 or 1")
    if code == "BF16":  # the upper half of a float32
        array = (array.astype("<u4") << np.uint32(16)).view("<f4")
    return array


# --- Other files ----------------------------------------------------------------------------------


def _load_npz(path: str, file: BinaryIO) -> dict[str, np.ndarray]:
    import zipfile

    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        if any(name.endswith("data.pkl") for name in names):
            raise CheckpointError(f"{path!r}: {_TORCH_HELP}")
        if not all(name.endswith(".npy") for name in names):
            raise CheckpointError(
                f"{path!r} is a zip file, and neither a checkpoint nor an .npz file"
            )
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except CheckpointError:
        raise
    except Exception as error:  # damage makes zipfile, zlib and NumPy raise a dozen kinds
        raise CheckpointError(f"{path!r} is not a valid .npz file: {error}") from error


# --- Writing without ever leaving half a file -----------------------------------------------------


@contextmanager
def _replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path`, durably, when the block ends well."""
    target = os.path.realpath(os.fspath(path))  # through a link, not instead of it
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".minidl-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        if os.path.isdir(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise CheckpointError(
            f"{os.fspath(path)!r} can't be written: {error.strerror or error}"
        ) from error


def _sync_folder(folder: str) -> None:
    """Make the renaming durable, where folders can be opened (not on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)
