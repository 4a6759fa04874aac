"""The notation for the networks in this folder, and the construction of layers from it.

A network is a table of rows, one for each layer with weights, in the order of the data flow::

    Row("conv1", 96, 11, "conv relu norm pool", stride=4)
    Row("fc6", 4096, layers="linear relu dropout")

means 96 kernels of 11×11 with stride 4, followed by ReLU, response normalization and pooling; then
a fully connected layer of 4096 units with ReLU and dropout. Each word is a method of ``_Builder``.
The number of input channels follows from the row above, so that a row can be removed and the
network remains consistent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...errors import ArgumentError, ShapeError
from ...nn import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Identity,
    Linear,
    LocallyConnected2d,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    PlainDropout,
    ReLU,
    SpatialResponseNorm,
    Tanh,
)
from ...tensor import Tensor
from ..transforms.preprocessing import Preprocessing

#: Layers with weights: one for each row.
_WEIGHTED = (Conv2d, Linear, LocallyConnected2d)

#: Placeholder for the number of classes in the last row of a table.
CLASSES = 0


class Row(NamedTuple):
    """A layer with weights, and the layers without weights around it.

    Attributes
    ----------
    name : str
        "conv1", "fc6", ...; the layers around it share its number: "relu1", "norm1", "drop6".
    outputs : int
        Number of output channels or units; ``CLASSES`` in the last row.
    kernel : int
        Height and width of a convolution's kernel.
    layers : str
        The layers in the order of the data flow, including the one with weights ("conv", "local" or
        "linear").
    stride, padding, groups : int
        Arguments of the convolution. Padding None keeps the size at stride 1: (kernel - 1) / 2.
    """

    name: str
    outputs: int
    kernel: int = 1
    layers: str = "conv relu"
    stride: int = 1
    padding: int | None = None
    groups: int = 1


@dataclass(frozen=True)
class Plan:
    """A table of rows and the settings that they share: the full description of a network.

    Attributes
    ----------
    rows : tuple of Row
    input_size : tuple of int
        Channels, height and width of one image; the height equals the width.
    ceil_conv : bool
        Round the output size of convolutions with a stride up, as the 2012 program did.
    ceil_pool : bool
        Round the output size of pooling up.
    pool : tuple of int
        Kernel size and stride of pooling.
    norm, spatial : mapping
        Arguments of LocalResponseNorm and of SpatialResponseNorm.
    dropout : float
        Probability of dropping a unit.
    plain_dropout : bool
        Multiply by 1 - p in evaluation (the paper) instead of by 1 / (1 - p) in training.
    activation : "relu", "tanh" or callable without arguments that makes a module
    without : frozenset of str
        Names of rows ("conv4") or of single layers ("norm1") to omit.
    keep_pooling : bool
        Keep the pooling of omitted rows, so that the sizes of all maps stay.
    """

    rows: tuple[Row, ...]
    input_size: tuple[int, int, int]
    ceil_conv: bool = False
    ceil_pool: bool = False
    pool: tuple[int, int] = (3, 2)
    norm: Mapping[str, Any] = field(default_factory=dict)
    spatial: Mapping[str, Any] = field(default_factory=dict)
    dropout: float = 0.5
    plain_dropout: bool = False
    activation: str | Callable[[], Module] = "relu"
    without: frozenset[str] = frozenset()
    keep_pooling: bool = False


class Stages(NamedTuple):
    """The layers of a network by name: those before the first "fc" row, and the rest."""

    features: OrderedDict[str, Module]
    classifier: OrderedDict[str, Module]

    def of(self, row: Row) -> OrderedDict[str, Module]:
        """Return the stage of a row."""
        return self.classifier if row.name.startswith("fc") else self.features


def build(plan: Plan) -> Stages:
    """Turn the rows of a plan into layers, named after their rows.

    Raises
    ------
    ArgumentError
        ``without`` names a layer that the network does not have, or ``activation`` is unknown.
    """
    known = {name for row in plan.rows for name in (row.name, *_layer_names(row, plan).values())}
    unknown = sorted(plan.without - known)
    if unknown:
        raise ArgumentError(f"without: there is no layer {unknown[0]!r} among {sorted(known)}")
    builder = _Builder(plan)
    stages = Stages(OrderedDict(), OrderedDict())
    for row, word, name in _kept(plan):
        stages.of(row)[name] = getattr(builder, word)(row)
    return stages


def _kept(plan: Plan) -> Iterator[tuple[Row, str, str]]:
    """Yield the row, the word and the name of each layer that is not omitted."""
    for row in plan.rows:
        omitted = row.name in plan.without
        for word, name in _layer_names(row, plan).items():
            kept = "pool" in word and plan.keep_pooling if omitted else True
            if kept and name not in plan.without:
                yield row, word, name


def skeleton(plan: Plan) -> tuple[Stages, dict[str, Module]]:
    """Return what :func:`build` does, without memory for weights: every layer is an Identity.

    Returns
    -------
    Stages
    dict of str to Module
        The layers with weights, by the names of their rows.
    """
    stages, weighted = Stages(OrderedDict(), OrderedDict()), {}
    for row, _, name in _kept(plan):
        stages.of(row)[name] = Identity()
        if name == row.name:
            weighted[name] = stages.of(row)[name]
    return stages, weighted


def parameter_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of all rows: "conv1.weight", "conv1.bias", ..."""
    shapes: dict[str, tuple[int, ...]] = {}
    sizes = _Builder(plan)
    for row, word, name in _kept(plan):
        inputs, kernel = sizes.channels, row.kernel
        if word == "conv":
            shapes[f"{name}.weight"] = row.outputs, inputs // row.groups, kernel, kernel
            shapes[f"{name}.bias"] = (row.outputs,)
            sizes.slide_conv(row)
        elif word == "local":
            side = sizes.size
            shapes[f"{name}.weight"] = side**2, row.outputs, inputs * kernel**2
            shapes[f"{name}.bias"] = row.outputs, side, side
            sizes.channels = row.outputs
        elif word == "linear":
            shapes[f"{name}.weight"] = row.outputs, inputs * sizes.size**2
            shapes[f"{name}.bias"] = (row.outputs,)
            sizes.channels, sizes.size = row.outputs, 1
        elif word in ("pool", "avgpool"):
            getattr(sizes, word)(row)
    return shapes


def _layer_names(row: Row, plan: Plan) -> dict[str, str]:
    """Map a row's words to names of layers: {"conv": "conv1", "relu": "relu1", ...}."""
    number = row.name.lstrip("abcdefghijklmnopqrstuvwxyz")
    activation = plan.activation if isinstance(plan.activation, str) else "act"
    names = dict.fromkeys(("conv", "local", "linear"), row.name)
    names |= {"relu": activation + number, "avgpool": "pool" + number, "dropout": "drop" + number}
    return {word: names.get(word, word + number) for word in row.layers.split()}


class _Builder:
    """Makes layers row by row and tracks the shape: one method for each word of a row."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.channels, self.size, _ = plan.input_size  # of the next layer's input

    def conv(self, row: Row) -> Module:
        inputs, edges = self.channels, self.slide_conv(row)
        return Conv2d(inputs, row.outputs, row.kernel, row.stride, groups=row.groups, **edges)

    def slide_conv(self, row: Row) -> dict[str, Any]:
        """Set the sizes behind a convolution; return its padding and whether to round up."""
        padding = (row.kernel - 1) // 2 if row.padding is None else row.padding
        ceil_mode = self.plan.ceil_conv and row.stride > 1
        self.channels = row.outputs
        self._slide(row.kernel, row.stride, padding, ceil_mode)
        return {"padding": padding, "ceil_mode": ceil_mode}

    def local(self, row: Row) -> Module:
        size, padding = (self.size, self.size), (row.kernel - 1) // 2
        layer = LocallyConnected2d(self.channels, row.outputs, size, row.kernel, padding=padding)
        self.channels = row.outputs
        return layer

    def linear(self, row: Row) -> Module:
        layer = Linear(self.channels * self.size**2, row.outputs)
        self.channels, self.size = row.outputs, 1
        return layer

    def relu(self, row: Row) -> Module:
        """Return the plan's activation: ReLU by default."""
        activation = self.plan.activation
        if callable(activation):
            return activation()
        if activation == "tanh":
            return Tanh()
        if activation == "relu":
            return ReLU(inplace=True)
        raise ArgumentError(
            "activation: expected 'relu', 'tanh' or a function that returns a module, "
            f"got {activation!r}"
        )

    def norm(self, row: Row) -> Module:
        return LocalResponseNorm(**self.plan.norm)

    def spatial(self, row: Row) -> Module:
        return SpatialResponseNorm(**self.plan.spatial)

    def pool(self, row: Row) -> Module:
        return self._pool(MaxPool2d)

    def avgpool(self, row: Row) -> Module:
        return self._pool(AvgPool2d)

    def dropout(self, row: Row) -> Module:
        return (PlainDropout if self.plan.plain_dropout else Dropout)(self.plan.dropout)

    def _pool(self, layer: Callable[..., Module]) -> Module:
        kernel, stride = self.plan.pool
        self._slide(kernel, stride, 0, self.plan.ceil_pool)
        return layer(kernel, stride, ceil_mode=self.plan.ceil_pool)

    def _slide(self, kernel: int, stride: int, padding: int, ceil_mode: bool) -> None:
        """Set the size to the number of windows along one axis."""
        room = self.size + 2 * padding - kernel
        self.size = (-(-room // stride) if ceil_mode else room // stride) + 1


class RowNet(Module):
    """A network built from rows: child modules called in sequence.

    Parameters
    ----------
    stages : mapping of str to Module
        The child modules.
    plan : Plan
        The plan that they were built from.
    variant : str
        Name of the plan.

    Attributes
    ----------
    variant : str
    input_size : tuple of int
        Channels, height and width of one image.
    input_scale : str
        The scale of the input for the initial weights. "pixels": values 0 to 255 minus the training
        set's mean. "normalized": values 0 to 1 minus each channel's mean, divided by its standard
        deviation.
    conv1_rate : float
        conv1's learning rate that suits the initial weights, as a multiple of the other layers'.
    preprocessing : Preprocessing or None
        How pictures were prepared for the weights, if those were loaded from elsewhere.
    """

    def __init__(self, stages: Mapping[str, Module], plan: Plan, variant: str) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.variant = variant
        self.input_size = plan.input_size
        self.input_scale, self.conv1_rate = "normalized", 1.0
        self.preprocessing: Preprocessing | None = None
        self.shards: Any = None  # how it is cut, if several ranks have pieces of it
        self._row_names = tuple(row.name for row in plan.rows if row.name not in plan.without)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of images (N, *input_size).

        Raises
        ------
        ShapeError
            The images have another size.
        """
        if self.shards is not None:
            return self.shards.forward(images)
        output = images
        try:
            for stage in self._modules.values():
                output = stage(output)
        except ShapeError as error:
            if images.shape[1:] == self.input_size:
                raise
            raise ShapeError(
                f"{type(self).__name__}: the variant {self.variant!r} takes images of shape "
                f"(N, {', '.join(map(str, self.input_size))}), got {tuple(images.shape)}"
            ) from error
        return output

    def named_rows(self) -> dict[str, Module]:
        """Return the layers with weights by the names of their rows, "conv1" to "fc8".

        The names are the same in every variant, unlike the keys of the state dict. Use them to
        freeze layers, or to give layers their own learning rate.

        Examples
        --------
        >>> from minidl.vision.models import alexnet
        >>> net = alexnet("cifar", num_classes=10)
        >>> net.named_rows()["fc8"]
        Linear(in_features=4096, out_features=10, bias=True)
        """
        weighted = (module for module in self.modules() if isinstance(module, _WEIGHTED))
        return dict(zip(self._row_names, weighted, strict=True))


def with_classes(rows: Iterable[Row], num_classes: int) -> tuple[Row, ...]:
    """Return the rows with the number of classes in the last one."""
    if num_classes < 1:
        raise ArgumentError(f"num_classes: expected 1 or more, got {num_classes}")
    return tuple(
        row._replace(outputs=num_classes) if row.outputs == CLASSES else row for row in rows
    )
