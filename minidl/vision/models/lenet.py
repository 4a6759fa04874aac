"""LeNet-5 (LeCun et al., 1998) in its common teaching form, for comparison with AlexNet.

The original's pooling has a trainable scale and bias, its second convolution connects only some
of the maps, and its output layer computes distances; this version has none of that.
"""

from __future__ import annotations

from .rows import CLASSES, Plan, Row, RowNet, build, with_classes
from .variants import named

_LENET5 = (
    Row("conv1", 6, 5, "conv relu avgpool"),
    Row("conv2", 16, 5, "conv relu avgpool", padding=0),
    Row("fc3", 120, layers="linear relu"),
    Row("fc4", 84, layers="linear relu"),
    Row("fc5", CLASSES, layers="linear"),
)


def plan(num_classes: int = 10, activation: str = "tanh") -> Plan:
    """Return the plan of :func:`lenet5`."""
    rows = with_classes(_LENET5, num_classes)
    return Plan(rows, input_size=(1, 28, 28), pool=(2, 2), activation=activation)


class LeNet(RowNet):
    """The network made by ``lenet5``."""


def lenet5(num_classes: int = 10, activation: str = "tanh") -> LeNet:
    """Make a LeNet-5 for 28×28 images of one channel: 61,706 parameters, 416,520 MACs per image.

    Parameters
    ----------
    num_classes : int, default 10
    activation : {"tanh", "relu"}

    Returns
    -------
    LeNet
        With PyTorch's initial values, for normalized input.

    Examples
    --------
    >>> from minidl.vision.models import lenet5
    >>> sum(p.numel() for p in lenet5().parameters())
    61706
    """
    own_plan = plan(num_classes, activation)
    return LeNet(named(build(own_plan)), own_plan, "lenet5")
