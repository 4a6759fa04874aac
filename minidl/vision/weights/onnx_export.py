"""Networks as ONNX graphs, which other programs run without minidl.

A network here is a chain: a Sequential, or a :class:`~minidl.vision.models.rows.RowNet`. Each layer
becomes one to five nodes; ``_NODES`` at the end says which. Layers that do nothing in evaluation
become nothing. The batch size stays free. What ONNX lacks is written with what it has:

- windows that hang over the edge (``ceil_mode``) get padding at the bottom and on the right;
- response normalization per tower treats each tower as an image of its own;
- spatial response normalization divides by the average of squares in a window;
- a locally connected layer gathers its windows by a convolution with kernels of ones and zeros.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ... import nn
from ...autograd import no_grad
from ...errors import ArgumentError, CheckpointError
from ...files import write_atomically
from ...nn.module import in_evaluation
from ...ops import zeros
from ..models.cuda_convnet import ScaledTanh
from ..models.rows import RowNet

_OPSET = 17


class _Graph:
    """A chain of nodes under construction: `output` and `shape` are those of the last one."""

    def __init__(self, onnx: Any, shape: tuple[int, ...], source: str) -> None:
        self.onnx, self.shape = onnx, shape
        self.output = source
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.layer = ""

    def add(self, operator: str, *others: Any, first: str | None = None, **attributes: Any) -> str:
        """Add a node; its first input is the last output, arrays among the others are constants.

        None among the others is an input that is left out.
        """
        inputs = [self.output if first is None else first]
        inputs += [x if isinstance(x, str) else self.constant(x) for x in others if x is not None]
        self.output = f"{self.layer}.{len(self.nodes)}"
        make = self.onnx.helper.make_node
        self.nodes.append(make(operator, inputs, [self.output], self.output, **attributes))
        return self.output

    def constant(self, value: Any) -> str:
        """Add an array, or a tensor of the network, and return its name."""
        array = value.detach().cpu().numpy() if isinstance(value, nn.Parameter) else value
        name = f"{self.layer}.constant{len(self.constants)}"
        array = np.ascontiguousarray(array)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _windows(graph: _Graph, layer: Any, out: tuple[int, ...]) -> dict[str, Any]:
    """Return kernel, strides and pads, including those for windows that hang over the edge."""
    kernel, stride, padding = (
        _pair(getattr(layer, name)) for name in ("kernel_size", "stride", "padding")
    )
    dilation = _pair(getattr(layer, "dilation", 1))
    over = [
        max(0, (n - 1) * s + d * (k - 1) + 1 - size - 2 * p)
        for n, s, d, k, size, p in zip(
            out[2:], stride, dilation, kernel, graph.shape[2:], padding, strict=True
        )
    ]
    pads = [*padding, *(p + more for p, more in zip(padding, over, strict=True))]
    return {"kernel_shape": kernel, "strides": stride, "pads": pads}


def _conv(graph: _Graph, layer: nn.Conv2d, out: tuple[int, ...]) -> None:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ArgumentError(f"onnx: {graph.layer} has padding that is not exported: {layer}")
    windows = {"dilations": _pair(layer.dilation), **_windows(graph, layer, out)}
    graph.add("Conv", layer.weight, layer.bias, group=layer.groups, **windows)


def _linear(graph: _Graph, layer: nn.Linear, out: tuple[int, ...]) -> None:
    graph.add("Gemm", layer.weight, layer.bias, transB=1)


def _local(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    channels, length = layer.in_channels, math.prod(layer.kernel_size)
    picks = np.eye(length, dtype=np.float32).reshape(length, 1, *layer.kernel_size)
    windows = _windows(graph, layer, out)
    graph.add("Conv", np.tile(picks, (channels, 1, 1, 1)), group=channels, **windows)
    # (N, K, OH, OW) to (L, K, N), to (L, O, N), to (N, O, OH, OW)
    positions = math.prod(out[2:])
    graph.add("Reshape", np.array([-1, channels * length, positions]))
    graph.add("Transpose", perm=[2, 1, 0])
    columns = graph.output
    graph.add("MatMul", columns, first=graph.constant(layer.weight))
    graph.add("Transpose", perm=[2, 1, 0])
    graph.add("Reshape", np.array([-1, *out[1:]]))
    if layer.bias is not None:
        graph.add("Add", layer.bias)


def _max_pool(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    graph.add("MaxPool", dilations=_pair(layer.dilation), **_windows(graph, layer, out))


def _avg_pool(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    windows = _windows(graph, layer, out)
    padded = any(_pair(layer.padding))
    if layer.divisor_override or (padded and windows["pads"][2:] != _pair(layer.padding)):
        raise ArgumentError(f"onnx: {graph.layer} counts in a way that is not exported: {layer}")
    count = int(padded and layer.count_include_pad)
    graph.add("AveragePool", count_include_pad=count, **windows)


def _adaptive_pool(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    size, target = graph.shape[2:], out[2:]
    if size == target:
        return
    if any(n % m for n, m in zip(size, target, strict=True)):
        raise ArgumentError(f"onnx: {graph.layer} has unequal windows, which ONNX lacks: {layer}")
    kernel = [n // m for n, m in zip(size, target, strict=True)]
    graph.add("AveragePool", kernel_shape=kernel, strides=kernel)


def _response_norm(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    if layer.size % 2 == 0:
        raise ArgumentError(f"onnx: {graph.layer} has an even window, which ONNX lacks: {layer}")
    if layer.groups > 1:
        graph.add("Reshape", np.array([-1, out[1] // layer.groups, *out[2:]]))
    graph.add("LRN", size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)
    if layer.groups > 1:
        graph.add("Reshape", np.array([-1, *out[1:]]))


def _spatial_norm(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    images, size = graph.output, layer.size
    before, after = size // 2, (size - 1) // 2
    graph.add("Mul", images)
    pads = [before, before, after, after]
    graph.add("AveragePool", kernel_shape=[size] * 2, pads=pads, count_include_pad=1)
    graph.add("Mul", np.float32(layer.alpha))
    graph.add("Add", np.float32(layer.k))
    graph.add("Pow", np.float32(layer.beta))
    graph.add("Div", graph.output, first=images)


def _batch_norm(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    if layer.running_mean is None:
        raise ArgumentError(f"onnx: {graph.layer} has no running statistics: {layer}")
    channels = layer.num_features
    scale = np.ones(channels, np.float32) if layer.weight is None else layer.weight
    shift = np.zeros(channels, np.float32) if layer.bias is None else layer.bias
    known = [buffer.cpu().numpy() for buffer in (layer.running_mean, layer.running_var)]
    graph.add("BatchNormalization", scale, shift, *known, epsilon=layer.eps)


def _plain_dropout(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    graph.add("Mul", np.float32(1 - layer.p))


def _scaled_tanh(graph: _Graph, layer: ScaledTanh, out: tuple[int, ...]) -> None:
    graph.add("Mul", np.float32(layer.b))
    graph.add("Tanh")
    graph.add("Mul", np.float32(layer.a))


def _flatten(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    if len(out) != 2 or layer.start_dim != 1:
        raise ArgumentError(f"onnx: {graph.layer} keeps axes, which is not exported: {layer}")
    graph.add("Flatten", axis=1)


def _nothing(graph: _Graph, layer: Any, out: tuple[int, ...]) -> None:
    pass


def _plain(operator: str, **attributes: Any) -> Callable[..., None]:
    return lambda graph, layer, out: graph.add(operator, **attributes) and None


def _softmax(operator: str) -> Callable[..., None]:
    return lambda graph, layer, out: graph.add(operator, axis=layer.dim) and None


_NODES: Mapping[type, Callable[[_Graph, Any, tuple[int, ...]], None]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.LocallyConnected2d: _local,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
    nn.LocalResponseNorm: _response_norm,
    nn.SpatialResponseNorm: _spatial_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.PlainDropout: _plain_dropout,
    nn.Dropout: _nothing,
    nn.Identity: _nothing,
    nn.ReLU: _plain("Relu"),
    nn.Tanh: _plain("Tanh"),
    nn.Sigmoid: _plain("Sigmoid"),
    nn.Softmax: _softmax("Softmax"),
    nn.LogSoftmax: _softmax("LogSoftmax"),
    nn.Flatten: _flatten,
    ScaledTanh: _scaled_tanh,
}


def _chain(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers in the order in which they are called."""
    if isinstance(module, (nn.Sequential, RowNet)):
        for key, child in module.named_children():
            yield from _chain(child, f"{name}.{key}" if name else key)
    elif type(module) in _NODES:
        yield name or "network", module
    else:
        raise ArgumentError(f"onnx: {name or 'the network'} is not exported: {module}")


def export_onnx(
    net: nn.Module,
    path: str | os.PathLike[str],
    input_size: tuple[int, ...] | None = None,
    metadata: Mapping[str, str] | None = None,
    names: tuple[str, str] = ("images", "logits"),
) -> None:
    """Write a network as an ONNX file, as it is in evaluation.

    Parameters
    ----------
    net : RowNet or Sequential
        Of the layers in ``_NODES``, in float32.
    path : str or path-like
        Replaced atomically.
    input_size : tuple of int, optional
        Channels, height and width of one image. Default: the network's.
    metadata : mapping of str to str, optional
        Text to keep in the file.
    names : tuple of str
        Of the input, of shape (N, \\*input_size), and of the output. Default "images", "logits".

    Raises
    ------
    ArgumentError
        ``onnx`` is not installed, a layer can't be exported, or `path` is none.
    CheckpointError
        The file can't be written.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(f"onnx: expected the path of a file, got {type(path).__name__}")
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise ArgumentError(
            "ONNX files need the package onnx: pip install 'minidl[onnx]'"
        ) from error
    size = tuple(net.input_size if input_size is None else input_size)
    graph = _Graph(onnx, (1, *size), names[0])
    images = zeros(1, *size)
    for parameter in net.parameters():
        images = images.to(parameter.device)
    with in_evaluation(net), no_grad():
        for name, layer in _chain(net, ""):
            images = layer(images)
            graph.layer = name
            _NODES[type(layer)](graph, layer, tuple(images.shape))
            graph.shape = tuple(images.shape)
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.output], [names[1]]))
    value = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        graph.nodes,
        type(net).__name__,
        [value(names[0], onnx.TensorProto.FLOAT, ["N", *size])],
        [value(names[1], onnx.TensorProto.FLOAT, ["N", *graph.shape[1:]])],
        graph.constants,
    )
    opset = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(made, producer_name="minidl", opset_imports=opset, ir_version=8)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    try:
        write_atomically(path, [model.SerializeToString()])
    except OSError as error:
        raise CheckpointError(
            f"{os.fspath(path)!r} can't be written: {error.strerror or error}"
        ) from error
