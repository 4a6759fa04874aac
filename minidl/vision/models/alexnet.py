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

from collections.abc import Callable, Iterable
from typing import Any

from ...errors import ArgumentError
from ...nn import Module
from .presets import initialize
from .pretrained import AlexNet_Weights, weights_file
from .rows import RowNet, build
from .variants import VARIANTS, plan


class AlexNet(RowNet):
    """A network made by ``alexnet``; see there."""


class _Default(str):
    """A default value, which differs from the same value given by a caller."""


_PAPER = _Default("paper")

_NOT_GIVEN: Any = object()


def alexnet(
    variant: str = _PAPER,
    num_classes: int | None = None,
    dropout: float | None = None,
    init: str | None = None,
    input_mode: str | None = None,
    *,
    groups: int | None = None,
    lrn_groups: int | None = None,
    overlap: bool | None = None,
    activation: str | Callable[[], Module] | None = None,
    without: Iterable[str] | None = None,
    keep_pooling: bool | None = None,
    width: float | None = None,
    weights: Any = _NOT_GIVEN,
    progress: bool = _NOT_GIVEN,
    pretrained: bool = _NOT_GIVEN,
) -> AlexNet:
    """Make an AlexNet.

    The defaults of `dropout` and of `input_mode` to `width` hold without a file of weights. With
    one, they are the file's, if it says how its network was made.

    Parameters
    ----------
    variant : str, default "paper"
        "paper", "original", "single-tower", "caffe", "caffenet", "torchvision", "slim", "half",
        "six-conv" or "cifar": see the module's table. For the paper's own CIFAR-10 nets, see
        ``cuda_convnet``.
    num_classes : int, optional
        Number of outputs of the last layer. Default: 1000, or that of the file of weights.
    dropout : float, default 0.5
        Probability of dropping a unit.
    init : str, optional
        "paper", "original", "caffe", "caffenet", "slim", "torch", "he", "clear" or "scaled".
        Default: the variant's own. See ``presets``: each belongs to one ``input_scale``.
    input_mode : str, optional
        "crop227", "ceil224", "pad224", "valid224", or "crop67" for small experiments. Default: the
        variant's own, which is the only one for "slim" and "cifar".
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
    keep_pooling : bool, default False
        Keep the pooling behind omitted convolutions, and with it the sizes of all other maps.
    width : float, default 1.0
        Number of kernels and of hidden units, as a multiple of the variant's; with another than 1,
        the initial values "scaled" suit.
    weights : str, path-like, AlexNet_Weights or None, optional
        A file of weights from minidl, PyTorch, Caffe or NumPy, in any layout that
        :mod:`minidl.vision.weights` describes; the default variant is then the one that the file
        belongs to. Or "IMAGENET1K_V1" or "DEFAULT" for torchvision's own, whose file must lie in
        the user's cache (nothing is downloaded). None makes torchvision's network, untrained,
        unless a variant is named.
    progress : bool
        An argument of torchvision's, without effect; it makes torchvision's network, too.
    pretrained : bool
        torchvision's older argument: True is ``weights="IMAGENET1K_V1"``, False ``weights=None``.

    Returns
    -------
    AlexNet
        In training mode. It maps images ``(N, *input_size)`` to logits ``(N, num_classes)``; see
        its attributes ``input_size``, ``input_scale`` and, with weights, ``preprocessing``.

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
    if (progress, pretrained) != (_NOT_GIVEN, _NOT_GIVEN) and weights in (_NOT_GIVEN, None):
        weights = AlexNet_Weights.DEFAULT if pretrained not in (_NOT_GIVEN, False) else None
    if variant is _PAPER and weights is None:
        variant = "torchvision"
    if without is not None and not isinstance(without, str):
        without = tuple(without)  # used more than once
    options: dict[str, Any] = {
        "dropout": dropout, "input_mode": input_mode, "groups": groups, "lrn_groups": lrn_groups,
        "overlap": overlap, "activation": activation, "without": without,
        "keep_pooling": keep_pooling, "width": width,
    }  # fmt: skip
    options = {name: value for name, value in options.items() if value is not None}
    loaded, classes = None, 1000 if num_classes is None else num_classes
    if weights not in (_NOT_GIVEN, None):
        plans = {}
        for name in VARIANTS if variant is _PAPER else (variant,):
            try:
                plans[name] = plan(name, classes, **options)
            except ArgumentError:  # of a variant that nobody named
                if variant is not _PAPER:
                    raise
                plans[name] = plan(name, classes)  # refused below, should the file be of this one
        from ..weights.layouts import read_weights  # which needs this package's tables

        loaded = read_weights(weights_file(weights), plans)
        variant, options = loaded.variant, {**loaded.options, **options}
        classes = loaded.num_classes if num_classes is None else num_classes
    variant = str(variant)
    own = plan(variant, classes, **options)
    net = AlexNet(VARIANTS[variant].layout(build(own)), own, variant)
    initialize(net, VARIANTS[variant].init if init is None else init)
    if loaded is not None:
        loaded.fill(net)
    return net
