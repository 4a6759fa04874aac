"""Reading a file of weights, of whatever kind, into arrays and plain values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ...checkpoint import load, reason_of
from ...errors import CheckpointError
from ...formats import foreign, read_safetensors
from ...pickles import RefusedError, read_pickle
from ...tensor import Tensor
from ...torch_files import is_torch
from ...training.checkpoints import Checkpoints
from .caffe_file import read_caffe

KINDS = ("minidl", "safetensors", "npz", "torch", "npy", "caffe")

#: Networks that come trained with the library, by name: see examples/results.
TRAINED = {path.stem: path for path in sorted((Path(__file__).parent / "trained").glob("*"))}


class Content(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    kind : str
        One of ``KINDS``.
    value : object
        Dicts and lists of arrays (or Tensors) and plain values; of Caffe's files, a ``Net``.
    metadata : dict of str to str
        Of safetensors files.
    path : str
    """

    kind: str
    value: Any
    metadata: dict[str, str]
    path: str


def read(path: str | os.PathLike[str], kind: str | None = None) -> Content:
    """Read a file of weights, or the best checkpoint of a run's folder.

    Parameters
    ----------
    path : str or path-like
        A file, a run's folder, or a name in ``TRAINED`` where there is no such file.
    kind : str, optional
        One of ``KINDS``. Default: told from the file's first bytes.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or of another kind.
    """
    name = os.fspath(path)
    if not os.path.exists(path):
        path = TRAINED.get(name, path)
        name = os.fspath(path)
    if os.path.isdir(path):
        found, state = Checkpoints.load(path, prefer="best", map_location="cpu")
        return Content("minidl", state, {}, str(found))
    try:
        with open(path, "rb") as file:
            kind = kind or _kind(file, Path(path).suffix)
        if kind == "caffe":
            return Content(kind, read_caffe(Path(path).read_bytes()), {}, name)
        if kind == "npy":
            return Content(kind, _read_npy(path), {}, name)
        if kind == "safetensors":
            with open(path, "rb") as file:
                arrays, metadata = read_safetensors(file)
            if not {"minidl", "minidl.sha256"} & metadata.keys():  # of another program
                return Content(kind, arrays, metadata, name)
            kind = "minidl"
    except RefusedError as refused:
        raise CheckpointError(
            f"{name!r} can't be loaded: its pickle holds more than arrays ({refused}); nothing in "
            "it was executed"
        ) from None
    except Exception as error:  # damage makes libraries raise a dozen kinds
        raise CheckpointError(f"{name!r} can't be loaded: {reason_of(error)}") from error
    return Content(kind, load(path, map_location="cpu"), {}, name)


#: How Caffe's files begin: with a net's name, its first layer in either form, or its input.
_CAFFE = (b"\n", b"\x12", b"\xa2\x06", b"\x1a")


def _kind(file: BinaryIO, suffix: str) -> str:
    start = file.read(100)
    file.seek(0)
    if start[8:9] == b"{":
        return "safetensors"
    if start[:6] == b"\x93NUMPY":
        return "npy"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return "torch" if is_torch(file) else "npz"
    reason = foreign(start)
    if reason is None and (suffix == ".caffemodel" or start.startswith(_CAFFE)):
        return "caffe"
    raise CheckpointError(
        reason or f"it is of an unknown kind; expected one of {', '.join(KINDS)}, by its content"
    )


def _read_npy(path: str | os.PathLike[str]) -> Any:
    """Return the pickled object of an .npy file, or its array as a dict."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_{version[1]}")
        shape, _, dtype = read_header(file, max_header_size=1000)
        if not dtype.hasobject or shape != ():
            raise CheckpointError("it holds one array; expected a pickled dict of arrays")
        return read_pickle(file, dtypes="biufO")


def as_array(value: Any) -> np.ndarray | None:
    """Return an array or Tensor as an array, and None for anything else."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    return value if isinstance(value, np.ndarray) else None
