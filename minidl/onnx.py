"""``torch.onnx``'s way to write a network as an ONNX file; see ``minidl.vision.weights``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .errors import ArgumentError
from .missing import attributes
from .nn import Module
from .tensor import Tensor
from .vision.weights.onnx_export import export_onnx

__all__ = ["export"]


def export(
    model: Module,
    args: Tensor | tuple[Tensor],
    f: str | os.PathLike[str],
    *,
    input_names: Sequence[str] = ("images",),
    output_names: Sequence[str] = ("logits",),
    **options: Any,
) -> None:
    """Write a network as an ONNX file, as it is in evaluation.

    Parameters
    ----------
    model : Module
        A chain of layers: a Sequential, or a network of ``minidl.vision.models``.
    args : Tensor, or a tuple of one
        A batch of images, which gives their size. The batch size of the file is free.
    f : str or path-like
        Replaced atomically.
    input_names, output_names : sequence of str
        One name each. Default "images" and "logits".
    **options
        PyTorch's ``dynamic_axes``, ``opset_version``, ``export_params``, ... are ignored.

    Raises
    ------
    ArgumentError
        The package ``onnx`` is not installed, a layer can't be exported, or `f` is no path.
    CheckpointError
        The file can't be written.
    """
    images = args[0] if isinstance(args, tuple) else args
    names = (*input_names, *output_names)
    if not isinstance(images, Tensor) or len(names) != 2:
        raise ArgumentError("export: expected one batch of images, one input and one output name")
    export_onnx(model, f, tuple(images.shape[1:]), names=(names[0], names[1]))


__getattr__ = attributes(globals())
