"""The paper's CIFAR-10 networks, from Krizhevsky's cuda-convnet (2011 to 2014).

=======  =====  ==========  =============  =========================================================
variant  input  parameters  MACs / image   description
=======  =====  ==========  =============  =========================================================
"80sec"  32        145,578     12,354,176  26 % error after 80 seconds on a GPU of 2011
"18pct"  32         89,578     12,298,240  18 % test error; normalizes within maps
"19pct"  32         89,578     12,298,240  19 %: the same without normalization
"13pct"  24      1,116,490     18,517,248  13 %: locally connected layers, crops of 24×24
"11pct"  24      2,112,970     19,512,576  11 %: the same with LRN across maps, local3 twice as wide
=======  =====  ==========  =============  =========================================================

The paper's section 3.3 refers to "13pct" and "11pct": response normalization lowers the error of a
four-layer CIFAR-10 network from 13 % to 11 %. The network of Figure 1 (ReLU against tanh) is not
specified; "19pct" has four layers and "80sec" five, and both take ``activation="tanh"``. All
variants pool 3×3 windows with stride 2 and round the sizes up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...errors import ArgumentError
from ...nn import Module
from ...tensor import Tensor
from .presets import PRESETS, Preset, initialize
from .rows import CLASSES, Plan, Row, RowNet, build, with_classes
from .variants import named

_80SEC = (
    Row("conv1", 32, 5, "conv relu pool"),
    Row("conv2", 32, 5, "conv relu avgpool"),
    Row("conv3", 64, 5, "conv relu avgpool"),
    Row("fc64", 64, layers="linear relu"),
    Row("fc10", CLASSES, layers="linear"),
)

_18PCT = (
    Row("conv1", 32, 5, "conv relu pool spatial"),
    Row("conv2", 32, 5, "conv relu avgpool spatial"),
    Row("conv3", 64, 5, "conv relu avgpool"),
    Row("fc10", CLASSES, layers="linear"),
)

_19PCT = (*_80SEC[:3], Row("fc10", CLASSES, layers="linear"))

_13PCT = (
    Row("conv1", 64, 5, "conv relu pool"),
    Row("conv2", 64, 5, "conv relu pool"),
    Row("local3", 32, 3, "local relu"),
    Row("local4", 32, 3, "local relu"),
    Row("fc10", CLASSES, layers="linear"),
)

_11PCT = (
    Row("conv1", 64, 5, "conv relu pool norm"),
    Row("conv2", 64, 5, "conv relu norm pool"),
    Row("local3", 64, 3, "local relu"),
    Row("local4", 32, 3, "local relu"),
    Row("fc10", CLASSES, layers="linear"),
)

_LRN = {"size": 9, "alpha": 1e-3, "beta": 0.75, "k": 1.0}
_SPATIAL = {"size": 3, "alpha": 5e-5, "beta": 0.75, "k": 1.0}

VARIANTS = {
    "80sec": (_80SEC, 32),
    "18pct": (_18PCT, 32),
    "19pct": (_19PCT, 32),
    "13pct": (_13PCT, 24),
    "11pct": (_11PCT, 24),
}

#: The original programs' values: all biases are 0.
_PRESETS = {
    "cuda-convnet": Preset(
        "pixels", {"conv1": 1e-4, "conv": 0.01, "local": 0.04, "fc10": 0.01}, {}
    ),
    "80sec": Preset("pixels", {"conv1": 1e-4, "conv": 0.01, "fc": 0.1}, {}),
    "he": PRESETS["he"]._replace(
        weights={**PRESETS["he"].weights, "local": PRESETS["he"].weights["conv"], "fc10": 0.001}
    ),
}


def plan(
    variant: str,
    num_classes: int = 10,
    activation: str | Callable[[], Module] = "relu",
    without: Iterable[str] = (),
) -> Plan:
    """Return the plan of a variant; see :func:`cuda_convnet`.

    Raises
    ------
    ArgumentError
        The variant is unknown.
    """
    if variant not in VARIANTS:
        raise ArgumentError(f"variant: expected one of {list(VARIANTS)}, got {variant!r}")
    rows, size = VARIANTS[variant]
    return Plan(
        with_classes(rows, num_classes),
        input_size=(3, size, size),
        ceil_pool=True,
        norm=_LRN,
        spatial=_SPATIAL,
        activation=activation,
        without=frozenset((without,) if isinstance(without, str) else without),
    )


class CudaConvnet(RowNet):
    """A network made by ``cuda_convnet``; see there."""


class ScaledTanh(Module):
    """a·tanh(b·x), the ``tanh[a,b]`` of cuda-convnet.

    Parameters
    ----------
    a, b : float, default 1
        LeCun et al. (1998) recommend a = 1.7159, b = 2/3.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.models import ScaledTanh
    >>> ScaledTanh(2.0, 0.5)(minidl.zeros(1)).item()
    0.0
    """

    def __init__(self, a: float = 1.0, b: float = 1.0) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, input: Tensor) -> Tensor:
        return (input * self.b).tanh() * self.a

    def extra_repr(self) -> str:
        return f"a={self.a}, b={self.b}"


def cuda_convnet(
    variant: str = "19pct",
    num_classes: int = 10,
    init: str | None = None,
    *,
    activation: str | Callable[[], Module] = "relu",
    without: Iterable[str] = (),
) -> CudaConvnet:
    """Make one of cuda-convnet's CIFAR-10 networks.

    Parameters
    ----------
    variant : {"80sec", "18pct", "19pct", "13pct", "11pct"}
        See the module's table.
    num_classes : int, default 10
        Number of outputs of the last layer, which is always named fc10.
    init : str, optional
        "80sec" or "cuda-convnet" for pixels from 0 to 255 minus their mean; "torch" or "he" for
        normalized ones. Default: the variant's own.
    activation : "relu", "tanh" or callable, default "relu"
        A callable is called without arguments and returns a module, once for each layer:
        ``lambda: ScaledTanh(1.7159, 2 / 3)``.
    without : iterable of str, default ()
        Layers to omit, such as "norm1".

    Returns
    -------
    CudaConvnet
        Takes images of shape (N, 3, 32, 32), or (N, 3, 24, 24) for the last two variants.

    Raises
    ------
    ArgumentError
        A variant, preset or layer is unknown.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.models import cuda_convnet
    >>> net = cuda_convnet("18pct", activation="tanh")
    >>> net(minidl.zeros(2, *net.input_size)).shape
    Size([2, 10])
    """
    own_plan = plan(variant, num_classes, activation, without)
    net = CudaConvnet(named(build(own_plan)), own_plan, variant)
    own = "80sec" if variant == "80sec" else "cuda-convnet"
    initialize(net, own if init is None else init, _PRESETS)
    return net
