"""The tables of AlexNet's variants (described in :mod:`.alexnet`), and the plans made from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...errors import ArgumentError
from ...nn import AdaptiveAvgPool2d, Flatten, Module, Sequential
from .rows import CLASSES, Plan, Row, Stages, with_classes

_PAPER = (
    Row("conv1", 96, 11, "conv relu norm pool", stride=4),
    Row("conv2", 256, 5, "conv relu norm pool", groups=2),
    Row("conv3", 384, 3, "conv relu"),
    Row("conv4", 384, 3, "conv relu", groups=2),
    Row("conv5", 256, 3, "conv relu pool", groups=2),
    Row("fc6", 4096, layers="linear relu dropout"),
    Row("fc7", 4096, layers="linear relu dropout"),
    Row("fc8", CLASSES, layers="linear"),
)

# Response normalization after conv1 acts on signed values, before pooling and ReLU. The one after
# conv2 is followed by a second, over a 5×5 window within each map.
_ORIGINAL = (
    Row("conv1", 96, 11, "conv norm pool relu", stride=4),
    Row("conv2", 256, 5, "conv relu norm spatial pool", groups=2),
    *_PAPER[2:],  # from conv3 on
)

# conv5 and the fully connected layers keep their width, so the number of parameters hardly changes.
_HALF = (
    Row("conv1", 48, 11, "conv norm pool relu", stride=4),
    Row("conv2", 128, 5, "conv relu norm spatial pool"),
    Row("conv3", 192, 3, "conv relu"),
    Row("conv4", 192, 3, "conv relu"),
    Row("conv5", 256, 3, "conv relu pool"),
    *_PAPER[5:],  # fc6 to fc8
)

# conv6 follows the last pooling, sees the maps of both towers and is not pooled.
_SIX_CONV = (*_ORIGINAL[:5], Row("conv6", 256, 3, "conv relu"), *_ORIGINAL[5:])

_CAFFENET = (
    Row("conv1", 96, 11, "conv relu pool norm", stride=4),
    Row("conv2", 256, 5, "conv relu pool norm", groups=2),
    *_PAPER[2:],  # from conv3 on
)

# Dropout comes before fc6 and fc7 here, so fc7's output is not dropped.
_SINGLE_TOWER = (
    Row("conv1", 96, 11, "conv relu norm pool", stride=4),
    Row("conv2", 256, 5, "conv relu norm pool"),
    Row("conv3", 384, 3, "conv relu"),
    Row("conv4", 384, 3, "conv relu"),
    Row("conv5", 256, 3, "conv relu pool"),
    Row("fc6", 4096, layers="dropout linear relu"),
    Row("fc7", 4096, layers="dropout linear relu"),
    Row("fc8", CLASSES, layers="linear"),
)

_TORCHVISION = (
    Row("conv1", 64, 11, "conv relu pool", stride=4),
    Row("conv2", 192, 5, "conv relu pool"),
    Row("conv3", 384, 3, "conv relu"),
    Row("conv4", 256, 3, "conv relu"),
    Row("conv5", 256, 3, "conv relu pool"),
    *_SINGLE_TOWER[5:],  # fc6 to fc8
)

# The fully connected layers are convolutions: fc6 covers its whole 5×5 input.
_SLIM = (
    *_TORCHVISION[:3],  # conv1 to conv3
    Row("conv4", 384, 3, "conv relu"),
    Row("conv5", 256, 3, "conv relu pool"),
    Row("fc6", 4096, 5, "conv relu dropout", padding=0),
    Row("fc7", 4096, 1, "conv relu dropout"),
    Row("fc8", CLASSES, 1, "conv"),
)

_CIFAR = (
    Row("conv1", 64, 3, "conv relu pool", stride=2),
    Row("conv2", 192, 3, "conv relu pool"),
    *_TORCHVISION[2:],  # from conv3 on
)


# --- Grouping the layers into child modules, which determines the keys of the state dict ----------


def named(stages: Stages) -> dict[str, Module]:
    """Return modules with the keys features.conv1.weight ... classifier.fc8.bias."""
    return {
        "features": Sequential(stages.features),
        "flatten": Flatten(),
        "classifier": Sequential(stages.classifier),
    }


def _fully_convolutional(stages: Stages) -> dict[str, Module]:
    """Return modules as ``named``, but with a classifier on maps, which are 1×1 at the end."""
    parts = named(stages)
    parts["flatten"] = parts.pop("flatten")  # behind the classifier
    return parts


def numbered(stages: Stages) -> dict[str, Module]:
    """Return modules with the keys features.0.weight ... classifier.6.bias, as in torchvision."""
    return {
        "features": Sequential(*stages.features.values()),
        "flatten": Flatten(),
        "classifier": Sequential(*stages.classifier.values()),
    }


def _torchvision(stages: Stages) -> dict[str, Module]:
    """Return modules as ``numbered``, with maps of any size averaged to 6×6 in between."""
    parts = numbered(stages)
    return {"features": parts.pop("features"), "avgpool": AdaptiveAvgPool2d((6, 6)), **parts}


def one_sequential(stages: Stages) -> dict[str, Module]:
    """Return AlexNet_model.0.weight ... AlexNet_model.22.bias, as in a popular teaching program."""
    layers = (*stages.features.values(), Flatten(), *stages.classifier.values())
    return {"AlexNet_model": Sequential(*layers)}


# --- The variants ---------------------------------------------------------------------------------


class _InputMode(NamedTuple):
    size: int
    padding: int  # of conv1
    ceil: bool = False


_INPUT_MODES = {
    "crop227": _InputMode(227, 0),
    "ceil224": _InputMode(224, 0, ceil=True),
    "pad224": _InputMode(224, 2),
    "valid224": _InputMode(224, 0),
    "cifar32": _InputMode(32, 1),
    "crop67": _InputMode(67, 0),  # for experiments: maps of 15, 7 and 3 instead of 55, 27 and 13
}


@dataclass(frozen=True)
class Variant:
    """A table, and what belongs to it."""

    rows: tuple[Row, ...]
    input_mode: str
    init: str
    norm: Mapping[str, Any] = field(default_factory=dict)
    plain_dropout: bool = False
    pool: tuple[int, int] = (3, 2)
    layout: Callable[[Stages], dict[str, Module]] = named


_LRN_AS_PRINTED = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}  # 5e-4 / 5 = 1e-4
_LRN_AS_RUN = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}
_LRN_PER_TOWER = {**_LRN_AS_RUN, "groups": 2}  # windows end where a GPU's channels end
_LRN_CAFFE = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
_SPATIAL = {"size": 5, "alpha": 1e-3, "beta": 0.75, "k": 1.0}  # divided by 25

VARIANTS = {
    "paper": Variant(_PAPER, "crop227", "paper", _LRN_AS_PRINTED, plain_dropout=True),
    "original": Variant(_ORIGINAL, "ceil224", "original", _LRN_PER_TOWER, plain_dropout=True),
    "single-tower": Variant(_SINGLE_TOWER, "pad224", "torch", _LRN_AS_RUN, layout=one_sequential),
    "caffe": Variant(_PAPER, "crop227", "caffe", _LRN_CAFFE),
    "caffenet": Variant(_CAFFENET, "crop227", "caffenet", _LRN_CAFFE),
    "torchvision": Variant(_TORCHVISION, "pad224", "torch", layout=_torchvision),
    "slim": Variant(_SLIM, "valid224", "slim", layout=_fully_convolutional),
    "half": Variant(_HALF, "ceil224", "original", _LRN_AS_RUN, plain_dropout=True),
    "six-conv": Variant(_SIX_CONV, "ceil224", "original", _LRN_PER_TOWER, plain_dropout=True),
    "cifar": Variant(_CIFAR, "cifar32", "torch", pool=(2, 2), layout=numbered),
}

#: Variants with only one input mode.
_FIXED_INPUT = ("slim", "cifar")


def plan(
    variant: str,
    num_classes: int = 1000,
    dropout: float = 0.5,
    input_mode: str | None = None,
    groups: int | None = None,
    lrn_groups: int | None = None,
    overlap: bool = True,
    activation: str | Callable[[], Module] = "relu",
    without: Iterable[str] = (),
    keep_pooling: bool = False,
    width: float = 1.0,
) -> Plan:
    """Return the plan of a variant; see :func:`minidl.vision.models.alexnet` for the arguments.

    Raises
    ------
    ArgumentError
        A variant or mode is unknown, or arguments exclude each other.
    """
    if variant not in VARIANTS:
        raise ArgumentError(
            f"variant: expected one of {list(VARIANTS)}, got {variant!r}"
            " (for the paper's CIFAR-10 nets use cuda_convnet)"
        )
    chosen = VARIANTS[variant]
    mode = _input_mode(variant, input_mode)
    if not 0 < width < math.inf:
        raise ArgumentError(f"width: expected a positive number, got {width}")
    rows = with_classes((_scaled(row, width) for row in chosen.rows), num_classes)
    rows = (rows[0]._replace(padding=mode.padding), *rows[1:])
    if lrn_groups is not None and not chosen.norm:
        raise ArgumentError(f"lrn_groups: {variant!r} has no response normalization across maps")
    if groups is not None:
        rows = tuple(
            row._replace(groups=groups) if row.name in ("conv2", "conv4", "conv5") else row
            for row in rows
        )
    return Plan(
        rows,
        input_size=(3, mode.size, mode.size),
        ceil_conv=mode.ceil,
        pool=chosen.pool if overlap else (2, 2),
        norm=chosen.norm if lrn_groups is None else {**chosen.norm, "groups": lrn_groups},
        spatial=_SPATIAL,
        dropout=dropout,
        plain_dropout=chosen.plain_dropout,
        activation=activation,
        without=frozenset((without,) if isinstance(without, str) else without),
        keep_pooling=keep_pooling,
    )


def _scaled(row: Row, width: float) -> Row:
    """Return a row with a multiple of its kernels or units, an even number for two towers."""
    if row.outputs == CLASSES or width == 1:
        return row
    return row._replace(outputs=2 * max(1, round(row.outputs * width / 2)))


def _input_mode(variant: str, name: str | None) -> _InputMode:
    own = VARIANTS[variant].input_mode
    allowed = (
        [own] if variant in _FIXED_INPUT else [mode for mode in _INPUT_MODES if mode != "cifar32"]
    )
    name = own if name is None else name
    if name not in allowed:
        raise ArgumentError(f"input_mode: {variant!r} takes one of {allowed}, got {name!r}")
    return _INPUT_MODES[name]
