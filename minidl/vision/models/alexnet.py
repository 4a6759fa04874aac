"""AlexNet: the network of Krizhevsky, Sutskever and Hinton (NIPS 2012) and its later variants.

Each variant is one table below, in the notation of ``rows``. Names and sizes:

==============  ======  ===========  =============  ================================================
variant         input   parameters   MACs / image   description
==============  ======  ===========  =============  ================================================
"paper"         227     60,965,224     724,406,816  as in the paper's text
"original"      224     60,965,224     724,406,816  the program of run 145, the paper's results
"single-tower"  224     62,378,344   1,135,256,096  the paper's net without groups
"caffe"         227     60,965,224     724,406,816  Caffe's bvlc_alexnet
"caffenet"      227     60,965,224     724,406,816  Caffe's CaffeNet: pooling before normalization
"torchvision"   224     61,100,840     714,188,480  torchvision's, after "One weird trick" (2014)
"slim"          224     50,303,912     736,555,776  TF-slim's alexnet_v2, fully convolutional
"half"          224     59,798,312     391,514,384  the paper's control: one tower of half the width
"six-conv"      224     61,555,304     745,640,480  the paper's pre-trained net: a sixth convolution
"cifar"          32     23,272,266      62,742,528  torchvision's shape for 32×32 (10 classes)
==============  ======  ===========  =============  ================================================

Two towers. The paper's net ran on two GPUs, each with half of the kernels; conv2, conv4 and conv5
see only the maps on their own GPU. This is a convolution with ``groups=2``.

Three ways from 224 pixels to the 55×55 maps of conv1 (``input_mode``): the 2012 program rounded
the number of windows up and let the last one extend beyond the edge ("ceil224"); Caffe crops 227
pixels ("crop227"); torch pads two zeros on every side ("pad224"). TF-slim does none of these and
gets 54 ("valid224").

Two scales of alpha. The paper prints b = a / (k + alpha·Σa²)^beta with alpha = 1e-4. The 2012
program, like Caffe, PyTorch and this library's LocalResponseNorm, divides alpha by the window size
5. So "paper" passes alpha=5e-4 to match the paper's formula, and "original" passes 1e-4 to match
the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...checkpoint import load
from ...errors import ArgumentError
from ...nn import AdaptiveAvgPool2d, Flatten, Module, Sequential
from .presets import initialize
from .pretrained import AlexNet_Weights, weights_file
from .rows import CLASSES, Plan, Row, RowNet, Stages, build, with_classes


class AlexNet(RowNet):
    """A network made by ``alexnet``; see there."""


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
    Row("conv3", 384, 3, "conv relu"),
    Row("conv4", 384, 3, "conv relu", groups=2),
    Row("conv5", 256, 3, "conv relu pool", groups=2),
    Row("fc6", 4096, layers="linear relu dropout"),
    Row("fc7", 4096, layers="linear relu dropout"),
    Row("fc8", CLASSES, layers="linear"),
)

# conv5 and the fully connected layers keep their width, so the number of parameters hardly changes.
_HALF = (
    Row("conv1", 48, 11, "conv norm pool relu", stride=4),
    Row("conv2", 128, 5, "conv relu norm spatial pool"),
    Row("conv3", 192, 3, "conv relu"),
    Row("conv4", 192, 3, "conv relu"),
    Row("conv5", 256, 3, "conv relu pool"),
    Row("fc6", 4096, layers="linear relu dropout"),
    Row("fc7", 4096, layers="linear relu dropout"),
    Row("fc8", CLASSES, layers="linear"),
)

# conv6 follows the last pooling, sees the maps of both towers and is not pooled.
_SIX_CONV = (
    Row("conv1", 96, 11, "conv norm pool relu", stride=4),
    Row("conv2", 256, 5, "conv relu norm spatial pool", groups=2),
    Row("conv3", 384, 3, "conv relu"),
    Row("conv4", 384, 3, "conv relu", groups=2),
    Row("conv5", 256, 3, "conv relu pool", groups=2),
    Row("conv6", 256, 3, "conv relu"),
    Row("fc6", 4096, layers="linear relu dropout"),
    Row("fc7", 4096, layers="linear relu dropout"),
    Row("fc8", CLASSES, layers="linear"),
)

_CAFFENET = (
    Row("conv1", 96, 11, "conv relu pool norm", stride=4),
    Row("conv2", 256, 5, "conv relu pool norm", groups=2),
    Row("conv3", 384, 3, "conv relu"),
    Row("conv4", 384, 3, "conv relu", groups=2),
    Row("conv5", 256, 3, "conv relu pool", groups=2),
    Row("fc6", 4096, layers="linear relu dropout"),
    Row("fc7", 4096, layers="linear relu dropout"),
    Row("fc8", CLASSES, layers="linear"),
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
    Row("fc6", 4096, layers="dropout linear relu"),
    Row("fc7", 4096, layers="dropout linear relu"),
    Row("fc8", CLASSES, layers="linear"),
)

# The fully connected layers are convolutions: fc6 covers its whole 5×5 input.
_SLIM = (
    Row("conv1", 64, 11, "conv relu pool", stride=4),
    Row("conv2", 192, 5, "conv relu pool"),
    Row("conv3", 384, 3, "conv relu"),
    Row("conv4", 384, 3, "conv relu"),
    Row("conv5", 256, 3, "conv relu pool"),
    Row("fc6", 4096, 5, "conv relu dropout", padding=0),
    Row("fc7", 4096, 1, "conv relu dropout"),
    Row("fc8", CLASSES, 1, "conv"),
)

_CIFAR = (
    Row("conv1", 64, 3, "conv relu pool", stride=2),
    Row("conv2", 192, 3, "conv relu pool"),
    Row("conv3", 384, 3, "conv relu"),
    Row("conv4", 256, 3, "conv relu"),
    Row("conv5", 256, 3, "conv relu pool"),
    Row("fc6", 4096, layers="dropout linear relu"),
    Row("fc7", 4096, layers="dropout linear relu"),
    Row("fc8", CLASSES, layers="linear"),
)


# --- Grouping the layers into child modules, which determines the keys of the state dict ----------


def _named(stages: Stages) -> dict[str, Module]:
    """Return modules with the keys features.conv1.weight ... classifier.fc8.bias."""
    return {
        "features": Sequential(stages.features),
        "flatten": Flatten(),
        "classifier": Sequential(stages.classifier),
    }


def _fully_convolutional(stages: Stages) -> dict[str, Module]:
    """Return modules as ``_named``, but with a classifier on maps, which are 1×1 at the end."""
    return {
        "features": Sequential(stages.features),
        "classifier": Sequential(stages.classifier),
        "flatten": Flatten(),
    }


def _numbered(stages: Stages) -> dict[str, Module]:
    """Return modules with the keys features.0.weight ... classifier.6.bias, as in torchvision."""
    return {
        "features": Sequential(*stages.features.values()),
        "flatten": Flatten(),
        "classifier": Sequential(*stages.classifier.values()),
    }


def _torchvision(stages: Stages) -> dict[str, Module]:
    """Return modules as ``_numbered``, with maps of any size averaged to 6×6 in between."""
    numbered = _numbered(stages)
    return {
        "features": numbered["features"],
        "avgpool": AdaptiveAvgPool2d((6, 6)),
        "flatten": numbered["flatten"],
        "classifier": numbered["classifier"],
    }


def _one_sequential(stages: Stages) -> dict[str, Module]:
    """Return AlexNet_model.0.weight ... AlexNet_model.22.bias, as in a popular teaching program."""
    layers = (*stages.features.values(), Flatten(), *stages.classifier.values())
    return {"AlexNet_model": Sequential(*layers)}


# --- The variants ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _InputMode:
    size: int
    padding: int  # of conv1
    ceil: bool = False


_INPUT_MODES = {
    "crop227": _InputMode(227, 0),
    "ceil224": _InputMode(224, 0, ceil=True),
    "pad224": _InputMode(224, 2),
    "valid224": _InputMode(224, 0),
    "cifar32": _InputMode(32, 1),
}


@dataclass(frozen=True)
class _Variant:
    rows: tuple[Row, ...]
    input_mode: str
    init: str
    norm: Mapping[str, Any] = field(default_factory=dict)
    plain_dropout: bool = False
    pool: tuple[int, int] = (3, 2)
    layout: Callable[[Stages], dict[str, Module]] = _named


_LRN_AS_PRINTED = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}  # 5e-4 / 5 = 1e-4
_LRN_AS_RUN = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}
_LRN_PER_TOWER = {**_LRN_AS_RUN, "groups": 2}  # windows end where a GPU's channels end
_LRN_CAFFE = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
_SPATIAL = {"size": 5, "alpha": 1e-3, "beta": 0.75, "k": 1.0}  # divided by 25

_VARIANTS = {
    "paper": _Variant(_PAPER, "crop227", "paper", _LRN_AS_PRINTED, plain_dropout=True),
    "original": _Variant(_ORIGINAL, "ceil224", "original", _LRN_PER_TOWER, plain_dropout=True),
    "single-tower": _Variant(_SINGLE_TOWER, "pad224", "torch", _LRN_AS_RUN, layout=_one_sequential),
    "caffe": _Variant(_PAPER, "crop227", "caffe", _LRN_CAFFE),
    "caffenet": _Variant(_CAFFENET, "crop227", "caffenet", _LRN_CAFFE),
    "torchvision": _Variant(_TORCHVISION, "pad224", "torch", layout=_torchvision),
    "slim": _Variant(_SLIM, "valid224", "slim", layout=_fully_convolutional),
    "half": _Variant(_HALF, "ceil224", "original", _LRN_AS_RUN, plain_dropout=True),
    "six-conv": _Variant(_SIX_CONV, "ceil224", "original", _LRN_PER_TOWER, plain_dropout=True),
    "cifar": _Variant(_CIFAR, "cifar32", "torch", pool=(2, 2), layout=_numbered),
}

_NOT_GIVEN: Any = object()

#: Variants with only one input mode.
_FIXED_INPUT = ("slim", "cifar")


def alexnet(
    variant: str = "paper",
    num_classes: int = 1000,
    dropout: float = 0.5,
    init: str | None = None,
    input_mode: str | None = None,
    *,
    groups: int | None = None,
    lrn_groups: int | None = None,
    overlap: bool = True,
    activation: str | Callable[[], Module] = "relu",
    without: Iterable[str] = (),
    weights: Any = _NOT_GIVEN,
    progress: bool = True,
    pretrained: bool = False,
) -> AlexNet:
    """Make an AlexNet.

    Parameters
    ----------
    variant : str, default "paper"
        "paper", "original", "single-tower", "caffe", "caffenet", "torchvision", "slim", "half",
        "six-conv" or "cifar": see the module's table. For the paper's own CIFAR-10 nets, see
        ``cuda_convnet``.
    num_classes : int, default 1000
        Number of outputs of the last layer.
    dropout : float, default 0.5
        Probability of dropping a unit.
    init : str, optional
        "paper", "original", "caffe", "caffenet", "slim", "torch" or "he". Default: the variant's
        own. See ``presets``: each belongs to one ``input_scale``.
    input_mode : str, optional
        "crop227", "ceil224", "pad224" or "valid224". Default: the variant's own, which is the only
        one for "slim" and "cifar".
    groups : int, optional
        Number of towers of conv2, conv4 and conv5; 1 joins them. Default: the variant's own.
    lrn_groups : int, optional
        Number of channel groups that response normalization treats separately. Default: the
        variant's own.
    overlap : bool, default True
        False pools 2×2 windows that do not overlap, which gives maps of the same sizes.
    activation : "relu", "tanh" or callable, default "relu"
        A callable is called without arguments and returns a module, once for each layer.
    without : iterable of str, default ()
        Layers to omit: "conv3" or "fc7" (with the layers without weights that follow), or single
        ones such as "norm1" or "spatial2".
    weights : str, path-like, AlexNet_Weights or None, optional
        torchvision's argument: if it is given, even as None, the default variant is "torchvision".
        A file of weights; or "IMAGENET1K_V1" or "DEFAULT" for torchvision's own, which must lie
        converted in the user's cache (nothing is downloaded; the error says how to convert them).
    progress : bool
        Accepted for compatibility with torchvision.
    pretrained : bool
        torchvision's older argument: True is ``weights="IMAGENET1K_V1"``.

    Returns
    -------
    AlexNet
        In training mode. It maps images ``(N, *input_size)`` to logits ``(N, num_classes)``; see
        its attributes ``input_size`` and ``input_scale``.

    Raises
    ------
    ArgumentError
        A variant, preset, mode or layer is unknown, arguments exclude each other, or torchvision's
        weights are not there.
    CheckpointError
        The file of weights can't be loaded, or belongs to another network.

    Notes
    -----
    The paper's ablations: ``without=("norm1", "norm2")`` ("spatial2" too in "original"),
    ``overlap=False``, ``dropout=0.0``, ``variant="half"``, ``without=("conv3",)``. In the run
    behind the paper's overlap figure the 2×2 windows were rounded up and conv2 had less padding
    (55, 28, 26, 13); here they are rounded down and nothing else changes (55, 27, 13).

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.models import alexnet
    >>> net = alexnet("cifar", num_classes=10)
    >>> net(minidl.zeros(2, *net.input_size)).shape
    Size([2, 10])
    >>> sum(p.numel() for p in net.parameters())
    23272266
    """
    if isinstance(variant, bool):  # torchvision's older alexnet(pretrained)
        variant, pretrained = "torchvision", variant
    if weights is not _NOT_GIVEN or pretrained:
        variant = "torchvision" if variant == "paper" else variant
    if variant not in _VARIANTS:
        raise ArgumentError(
            f"variant: expected one of {list(_VARIANTS)}, got {variant!r}"
            " (for the paper's CIFAR-10 nets use cuda_convnet)"
        )
    chosen = _VARIANTS[variant]
    mode = _input_mode(variant, input_mode)
    rows = with_classes(chosen.rows, num_classes)
    rows = (rows[0]._replace(padding=mode.padding), *rows[1:])
    if lrn_groups is not None and not chosen.norm:
        raise ArgumentError(f"lrn_groups: {variant!r} has no response normalization across maps")
    if groups is not None:
        rows = tuple(
            row._replace(groups=groups) if row.name in ("conv2", "conv4", "conv5") else row
            for row in rows
        )
    plan = Plan(
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
    )
    net = AlexNet(chosen.layout(build(plan)), plan, variant)
    initialize(net, chosen.init if init is None else init)
    if pretrained or weights not in (_NOT_GIVEN, None):
        given = AlexNet_Weights.DEFAULT if weights in (_NOT_GIVEN, None) else weights
        net.load_state_dict(load(weights_file(given), map_location="cpu"))
    return net


def _input_mode(variant: str, name: str | None) -> _InputMode:
    own = _VARIANTS[variant].input_mode
    allowed = (
        [own] if variant in _FIXED_INPUT else [mode for mode in _INPUT_MODES if mode != "cifar32"]
    )
    name = own if name is None else name
    if name not in allowed:
        raise ArgumentError(f"input_mode: {variant!r} takes one of {allowed}, got {name!r}")
    return _INPUT_MODES[name]
