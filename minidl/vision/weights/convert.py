"""``python -m minidl convert IN OUT`` and ``python -m minidl inspect FILE``."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoint import encode
from ...errors import ArgumentError, CheckpointError, MinidlError
from ...files import write_atomically
from ...formats import write_safetensors
from ...tensor import Tensor
from ...torch_files import write_torch
from ..models.networks import make_network, plans
from ..models.options import plan_of_file
from ..models.rows import RowNet
from .caffe_file import Net
from .files import KINDS, Content, as_array, read
from .layouts import USUAL_PREPROCESSING, Weights, fitting, recognize, row_keys
from .onnx_export import export_onnx

#: Kinds of files that can be written, by suffix.
_SUFFIXES = {
    ".safetensors": "safetensors",
    ".pth": "torch",
    ".pt": "torch",
    ".npz": "npz",
    ".onnx": "onnx",
}
_SHOWN = 200  # arrays or values that `inspect` shows
_VISITED = 10_000  # that it looks at


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    variant: str | None = None,
    source_kind: str | None = None,
    target_kind: str | None = None,
    layout: str | None = None,
) -> Weights:
    """Write the weights in a file as another kind of file.

    Parameters
    ----------
    source : str or path-like
        A file in any layout that :mod:`minidl.vision.weights` describes, or a run's folder.
    target : str or path-like
        Replaced atomically. "safetensors" and "onnx" have a place for everything that is known of
        the network, the other kinds for less.
    variant : str, optional
        Default: the variant that the file names, or the only one that fits.
    source_kind : str, optional
        "minidl", "safetensors", "npz", "torch", "npy" or "caffe". Default: told from the content.
    target_kind : {"safetensors", "torch", "npz", "onnx", "minidl"}, optional
        Default: told from the suffix. "minidl" is a checkpoint with checksums.
    layout : {"torchvision", "minidl"}, optional
        Keys of the state dict: numbered as in torchvision (the default), or minidl's own.

    Returns
    -------
    Weights

    Raises
    ------
    CheckpointError
        A file can't be read or written, fits no variant, or several.
    ArgumentError
        The kind of `target` can't be told, or ``onnx`` is missing.
    """
    kind = _kind(target, target_kind)
    weights = recognize(read(source, source_kind), plans(variant))
    _write(weights, target, kind, layout)
    return weights


def _kind(target: str | os.PathLike[str], kind: str | None) -> str:
    kind = kind or _SUFFIXES.get(Path(target).suffix.lower())
    if kind is None:
        raise ArgumentError(f"{os.fspath(target)}: expected one of {', '.join(_SUFFIXES)}, or --to")
    return kind


def _left_out(weights: Weights, kind: str) -> list[str]:
    """Return what is known of a network and has no place in a kind of file."""
    if kind in ("safetensors", "onnx"):
        return []
    facts: dict[str, Any] = {}
    if kind != "minidl":
        usual = USUAL_PREPROCESSING.get(weights.variant)
        facts = {
            "preprocessing": weights.preprocessing != usual, "options": weights.options,
            "classes": weights.classes, "input_scale": weights.input_scale,
        }  # fmt: skip
    return [*(name for name, fact in facts.items() if fact), *weights.about]


def save_weights(
    net: RowNet,
    target: str | os.PathLike[str],
    classes: list[str] | None = None,
    options: dict[str, Any] | None = None,
    **about: Any,
) -> None:
    """Write a network's weights as safetensors, with what a program must know to use them.

    Parameters
    ----------
    net : RowNet
    target : str or path-like
        Replaced atomically.
    classes : list of str, optional
        The classes' names.
    options : dict of str to object, optional
        The arguments that made the network, besides variant and number of classes.
    **about
        Further facts about the network, such as its error, for ``python -m minidl inspect``.

    Raises
    ------
    CheckpointError
        The file can't be written.
    ArgumentError
        There are more or fewer classes than outputs, or the network has no such options.

    Examples
    --------
    >>> import os, tempfile
    >>> from minidl.vision.models import lenet5, load_network
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "net.safetensors")
    >>> save_weights(lenet5(num_classes=2), path, ["cat", "dog"], error=12.5)
    >>> load_network(path).variant
    'lenet5'
    >>> folder.cleanup()
    """
    arrays = {
        f"{row}.{kind}": getattr(layer, kind).detach().cpu().numpy()
        for row, layer in net.named_rows().items()
        for kind in ("weight", "bias")
    }
    plan_of_file(net.variant, options or {})
    facts = {name: str(fact) for name, fact in about.items()}
    weights = Weights(
        net.variant, arrays, net.preprocessing, options or {}, classes, net.input_scale, facts
    )
    if classes is not None and len(classes) != weights.num_classes:
        raise ArgumentError(
            f"classes: {len(classes)} names for a network with {weights.num_classes} outputs"
        )
    _write(weights, target, "safetensors", "minidl")


def _write(
    weights: Weights,
    target: str | os.PathLike[str],
    kind: str,
    layout: str | None,
) -> None:
    """Write weights as a file of a kind; see :func:`convert`."""
    metadata = {"variant": weights.variant}
    if weights.options:
        metadata["options"] = json.dumps(weights.options)
    if weights.preprocessing is not None:
        metadata["preprocessing"] = json.dumps(weights.preprocessing.to_dict())
    if weights.classes is not None:
        metadata["classes"] = json.dumps(weights.classes)
    if weights.input_scale is not None:
        metadata["input_scale"] = weights.input_scale
    metadata |= weights.about
    try:
        if kind == "onnx":
            net = make_network(weights.variant, weights.num_classes, **weights.options)
            weights.fill(net)
            export_onnx(net, target, metadata=metadata)
        else:
            write_atomically(target, _pieces(kind, weights, metadata, layout))
    except OSError as error:
        raise CheckpointError(
            f"{os.fspath(target)!r} can't be written: {error.strerror or error}"
        ) from error


def _pieces(kind: str, weights: Weights, metadata: dict[str, str], layout: str | None) -> Any:
    """Return the content of a file with a state dict."""
    if kind == "minidl":
        layout = layout or "minidl"
    plan = plans(weights.variant, **weights.options)[weights.variant]
    keys = row_keys(weights.variant, plan, "minidl")
    if layout != "minidl" and not any(
        part.isdigit() for key in keys.values() for part in key.split(".")
    ):
        keys = row_keys(weights.variant, plan, "torchvision")
    arrays = {key: np.ascontiguousarray(weights.arrays[row]) for row, key in keys.items()}
    if kind == "minidl":
        model = {key: Tensor(array) for key, array in arrays.items()}
        how = weights.preprocessing and weights.preprocessing.to_dict()
        options = {
            "variant": weights.variant, "network": weights.options, "preprocessing": how,
            "classes": weights.classes, "input_scale": weights.input_scale,
        }  # fmt: skip
        return encode({"model": model, "options": options})
    if kind == "safetensors":
        return write_safetensors(arrays, {"format": "pt", **metadata})
    if kind == "npz":
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        return [file.getbuffer()]
    return write_torch(arrays)


def describe(content: Content, variant: str | None = None) -> Iterator[str]:
    """Yield lines that say what a file holds.

    Parameters
    ----------
    content : Content
        Of :func:`~minidl.vision.weights.files.read`.
    variant : str, optional
        Default: all that fit.
    """
    size = os.path.getsize(content.path)
    yield f"{_printable(content.path)}: {_KIND_NAMES[content.kind]}, {size:,} bytes"
    for key, text in islice(content.metadata.items(), _SHOWN):
        yield f"  {_short(key)}: {_short(text)}"
    if len(content.metadata) > _SHOWN:
        yield f"  and {len(content.metadata) - _SHOWN:,} more facts"
    lines = list(islice(_lines(content.value), _VISITED))
    least = "at least " if len(lines) == _VISITED else ""
    width = min(80, max((len(name) for name, _, _ in lines), default=0))
    for name, text, _ in lines[:_SHOWN]:
        yield f"  {name:{width}}  {text}"
    if len(lines) > _SHOWN:
        yield f"  and {least}{len(lines) - _SHOWN:,} more"
    arrays = [array for _, _, array in lines if array is not None]
    numbers, size = sum(a.size for a in arrays), sum(a.nbytes for a in arrays)
    yield f"{least}{len(arrays)} arrays, {numbers:,} numbers, {size:,} bytes"
    found = fitting(content, plans(variant))
    yield "fits: " + (", ".join(weights.variant for weights in found) or "no network by name")
    for weights in found:
        if weights.options:
            yield f"options of {weights.variant}: {_short(str(weights.options))}"
        known = weights.preprocessing
        if known is not None:
            how = ", ".join(f"{key} {value}" for key, value in known.to_dict().items())
            yield f"preprocessing of {weights.variant}: {how}"


_KIND_NAMES = {
    "minidl": "a checkpoint of minidl",
    "safetensors": "safetensors",
    "npz": "NumPy's .npz",
    "torch": "PyTorch's .pth",
    "npy": "NumPy's .npy with a pickled object",
    "caffe": "Caffe's .caffemodel",
}


def _lines(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str, Any]]:
    """Yield names, descriptions, and arrays or None, of what is nested in a value."""
    array = as_array(value)
    if isinstance(value, Net):
        yield "name", _short(value.name), None
        for layer in value.layers:
            name = _short(layer.name)
            shapes = ", ".join(f"{blob.dtype} {blob.shape}" for blob in layer.blobs[:4])
            yield name, f"{_short(layer.type)}  {shapes}".rstrip(), None
            for number, blob in enumerate(layer.blobs):
                yield f"{name}[{number}]", f"{blob.dtype} {blob.shape}", blob
    elif array is not None:
        yield path or "value", f"{array.dtype} {array.shape}", array
    elif isinstance(value, (dict, list, tuple)) and value and depth < 5:
        items: Any = value.items() if isinstance(value, dict) else enumerate(value)
        if not isinstance(value, dict) and not any(
            isinstance(v, (dict, list, tuple)) or as_array(v) is not None for v in value[:100]
        ):
            yield path or "value", _short(value), None
            return
        for key, item in items:
            key = _short(key[:100].decode("latin-1") if isinstance(key, bytes) else key)
            yield from _lines(item, f"{path}.{key}" if path else key, depth + 1)
    else:
        yield path or "value", _short(value), None


def _short(value: Any) -> str:
    """Return 80 characters of a value, escaped; str() of a damaged one may fail or never end."""
    if isinstance(value, (dict, list, tuple, set)):
        text = f"{type(value).__name__} of {len(value):,}"
    elif isinstance(value, int) and value.bit_length() > 256:
        text = f"int of {value.bit_length():,} bits"
    elif isinstance(value, bytes):
        text = repr(value[:80])
    elif value is None or isinstance(value, (str, int, float, complex, np.generic, np.dtype)):
        text = str(value)
    else:
        text = f"object of class {type(value).__name__}"
    return _printable(text[:80]) + ("..." if len(text) > 80 else "")


def _printable(text: str) -> str:
    """Return a text without control characters, and without any that the output can't hold."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``convert``."""
    add = parser.add_argument
    add(
        "source",
        metavar="IN",
        help=".safetensors, .npz, .pth, .npy, .caffemodel, or a run's folder",
    )
    add("target", metavar="OUT", help=".safetensors, .pth, .npz or .onnx")
    _add_variant(parser)
    add("--from", dest="source_kind", choices=KINDS, help="kind of IN (default: told from IN)")
    kinds = [*dict.fromkeys(_SUFFIXES.values()), "minidl"]
    add("--to", dest="target_kind", choices=kinds, help="kind of OUT (default: by its suffix)")
    add("--keys", choices=("torchvision", "minidl"), help="of the state dict: features.0.weight, "
        "or features.conv1.weight (default: torchvision)")  # fmt: skip


def add_inspect_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``inspect``."""
    parser.add_argument("source", metavar="FILE", help="of any kind that convert reads")
    _add_variant(parser)
    parser.add_argument("--from", dest="source_kind", choices=KINDS, help="kind of the file")


def _add_variant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variant",
        metavar="NAME",
        help=f"network (default: told from the file): {', '.join(plans())}",
    )


def run_convert(arguments: argparse.Namespace) -> int:
    """Run ``convert``; return its exit status."""
    try:
        weights = convert(
            arguments.source, arguments.target, arguments.variant, arguments.source_kind,
            arguments.target_kind, arguments.keys,
        )  # fmt: skip
    except MinidlError as error:
        print(f"python -m minidl convert: {_printable(str(error))}", file=sys.stderr)
        return 2
    size = os.path.getsize(arguments.target)
    print(
        f"{_printable(arguments.target)}: variant {weights.variant}, "
        f"{weights.num_classes:,} classes, {size:,} bytes"
    )
    kind = _kind(arguments.target, arguments.target_kind)
    if lost := _left_out(weights, kind):
        print(
            f"python -m minidl convert: warning: {_printable(arguments.target)} has no place for "
            f"{', '.join(lost)}; .safetensors and .onnx have",
            file=sys.stderr,
        )
    return 0


def run_inspect(arguments: argparse.Namespace) -> int:
    """Run ``inspect``; return its exit status."""
    try:
        content = read(arguments.source, arguments.source_kind)
        for line in describe(content, arguments.variant):
            print(line)
    except MinidlError as error:
        print(f"python -m minidl inspect: {_printable(str(error))}", file=sys.stderr)
        return 2
    return 0
