"""Files of named arrays: reading and writing safetensors, and reading NumPy's .npz.

The safetensors library reads and writes safetensors files, and checks a header against the file's
real size before it copies anything. This module adds the missing checks: duplicate names, bools
that are neither 0 nor 1, and metadata in random order. Reading takes twice the memory of the file,
plus that of the largest bfloat16 array, plus, for a malicious header (at most 100 MB), about 30
times the header's size.

Every length in an .npz file is checked against the file's real size before memory is allocated.
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .errors import ArgumentError, CheckpointError

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

DTYPES = {"BOOL": np.dtype("?")} | {
    f"{code[0].upper()}{8 * int(code[1])}": np.dtype(f"<{code}")  # such as "F32": "<f4"
    for code in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
}
CODES = {dtype: code for code, dtype in DTYPES.items()}

_METADATA = "__metadata__"
_MAX_AXES = 64  # NumPy's limit
_PIECE = 1 << 20  # bytes of an .npz file unpacked at a time

# An .npz file may need this many times its size in memory, and this many bytes in any case.
_MAX_EXPANSION = 20
_ALWAYS_ALLOWED = 64 << 20  # bytes


_PICKLE = "it is a pickle, but not one of PyTorch's files"
_FOREIGN = {
    b"version https://git-lfs": "it is a pointer of git-lfs; `git lfs pull` gets the file itself",
    b"<": "it is a web page, not a file of weights",
    b"\x89HDF": "it is an HDF5 file (.h5), which is not supported",
    b"\x1f\x8b": "it is packed by gzip; unpack it first",
    b"\x08": "it seems to be an ONNX file, which minidl can only write",
    **dict.fromkeys((b"(dp", b"(lp", b"(i", b"}q", b"]q", b"ccopy_reg", b"c__"), _PICKLE),
}


def foreign(start: bytes) -> str | None:
    """Return what a file that holds no weights is, in a sentence, if its first bytes tell."""
    if not start:
        return "it is empty"
    return next((text for magic, text in _FOREIGN.items() if start.startswith(magic)), None)


def write_safetensors(
    arrays: dict[str, np.ndarray], metadata: dict[str, str]
) -> list[bytes | memoryview]:
    """Return the content of a safetensors file, in pieces; the same for the same arguments.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Contiguous in C order. None may be named ``__metadata__``.
    metadata : dict of str to str
        Text for the header.

    Returns
    -------
    list of bytes and memoryview
        Copies; the library needs as much memory again while it makes them. In the file, each array
        begins at a multiple of its item size.

    Raises
    ------
    ArgumentError
        The header is larger than the format allows.
    CheckpointError
        The format lacks a dtype.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    for name, array in arrays.items():
        if array.dtype.newbyteorder("<") not in CODES:
            raise CheckpointError(
                f"{name!r} has the dtype {array.dtype}, which safetensors files lack"
            )
    try:
        data = save(arrays, metadata)
    except SafetensorError as error:
        raise ArgumentError(
            "save: everything except the arrays exceeds the safetensors format's limit "
            f"({error}); put long lists of numbers into arrays"
        ) from error
    # The library writes metadata in random order.
    header, start = _header(data)
    header[_METADATA] = metadata
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, memoryview(data)[start:]]


def read_safetensors(file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return a safetensors file's arrays and its metadata.

    Parameters
    ----------
    file : binary file
        At its beginning.

    Returns
    -------
    arrays : dict of str to ndarray
        In the header's order, each in its own memory; bfloat16 becomes float32, exactly.
    metadata : dict of str to str
        Empty if there is none.

    Raises
    ------
    CheckpointError, safetensors.SafetensorError, ValueError
        The file is damaged, or holds a dtype that NumPy does not have.
    """
    from safetensors import deserialize

    data = file.read()
    entries = dict(deserialize(data))  # checks the whole header before it copies anything
    header, _ = _header(data)
    del data
    metadata = header.pop(_METADATA, None) or {}
    # One entry at a time, so that a bfloat16 array is freed before the next is widened.
    return {name: _array(name, entries.pop(name)) for name in header}, metadata


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return a valid safetensors file's header, and where the arrays begin."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end], object_pairs_hook=_without_duplicates), end


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CheckpointError("it is damaged: its header has a duplicate name")
    return found


def _array(name: str, entry: dict[str, Any]) -> np.ndarray:
    """Return an entry from the library as an array, in the same memory unless it is bfloat16."""
    code = entry["dtype"]
    if code != "BF16" and code not in DTYPES:
        raise CheckpointError(f"tensor {name!r} has the dtype {code}, which is not supported")
    array = np.frombuffer(entry["data"], DTYPES.get(code, "<u2")).reshape(entry["shape"])
    if code == "BOOL" and array.view(np.uint8).max(initial=0) > 1:
        raise CheckpointError(f"it is damaged: bool tensor {name!r} has values besides 0 and 1")
    return widen(array) if code == "BF16" else array


def widen(array: np.ndarray) -> np.ndarray:
    """Return bfloat16 numbers, the upper halves of float32 ones, as float32."""
    wide = array.astype("<u4")
    wide <<= 16
    return wide.view("<f4")


def read_npz(file: BinaryIO) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file.

    Parameters
    ----------
    file : binary file
        At its beginning.

    Returns
    -------
    dict of str to ndarray
        Each in its own memory.

    Raises
    ------
    CheckpointError, zipfile.BadZipFile, ...
        The file is damaged or not an .npz file; it holds pickled objects; or its arrays exceed both
        64 MiB and 20 times the file's size, as in a decompression bomb.
    """
    import zipfile

    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = members_of(archive, size)
        if not all(name.endswith(".npy") for name in members):
            raise CheckpointError("it is a zip file, but neither a checkpoint nor an .npz file")
        arrays = {}
        for name, member in members.items():
            with archive.open(member) as unpacked:
                name = name.removesuffix(".npy")
                arrays[name] = _read_npy(unpacked, name, member.file_size)
    return arrays


def members_of(archive: ZipFile, size: int) -> dict[str, ZipInfo]:
    """Return the members of a zip archive by name.

    Parameters
    ----------
    archive : zipfile.ZipFile
    size : int
        Length of its file.

    Raises
    ------
    CheckpointError
        Unpacking could take much more memory than the file's size, or two have one name.
    """
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    if total > max(_MAX_EXPANSION * size, _ALWAYS_ALLOWED):
        raise CheckpointError(
            f"its {size} bytes claim to hold {total} bytes of arrays, more than "
            f"{_MAX_EXPANSION} times as much; if you trust it, use numpy.load"
        )
    for member in members:
        # zipfile limits the bytes unpacked at a time only for these two methods, 0 and 8.
        if member.compress_type not in (0, 8):
            raise CheckpointError(f"{member.filename!r} in it is not packed as by numpy.savez")
        if member.compress_type == 0 and member.file_size > size:
            raise CheckpointError(f"it is damaged: {member.filename!r} in it claims more bytes")
    found = {member.filename: member for member in members}
    if len(found) < len(members):
        twice = next(member.filename for member in members if found[member.filename] != member)
        name = twice.removesuffix(".npy")
        raise CheckpointError(f"it is damaged: it has two arrays named {name!r}")
    return found


def unpack(archive: ZipFile, member: ZipInfo) -> np.ndarray:
    """Return the bytes of a member of a zip archive, uint8, in their own memory."""
    with archive.open(member) as unpacked:
        return _read_bytes(unpacked, member.file_size)


def _read_npy(file: Any, name: str, size: int) -> np.ndarray:
    """Read an array of an .npz file like `numpy.load`, but check its size before allocating it."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise CheckpointError(f"array {name!r} has the .npy version {version}, not 1 or 2")
    if dtype.hasobject:
        raise CheckpointError(f"array {name!r} holds Python objects, which would need a pickle")
    if len(shape) > _MAX_AXES or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise CheckpointError(
            f"it is damaged: array {name!r} of shape {shape} and dtype {dtype} does not fill its "
            f"{size} bytes"
        )
    data = _read_bytes(file, size - file.tell())
    return np.ndarray(shape, dtype, data.data, order="F" if fortran else "C")


def _read_bytes(file: Any, size: int) -> np.ndarray:
    """Read exactly `size` bytes; zipfile verifies its checksum at the last one."""
    data = np.empty(size, np.uint8)
    for start in range(0, size, _PIECE):
        piece = data[start : start + _PIECE]
        piece[:] = np.frombuffer(file.read(len(piece)), np.uint8)
    return data
