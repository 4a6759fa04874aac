"""Presets: initial values of a network's weights and biases, layer by layer.

A preset belongs to one scale of the input. A layer multiplies the magnitude of the signal by about
std·√fan_in; the paper's std of 0.01 makes that 0.19 for conv1 and 0.4 for the others, which works
because the input is raw pixels of magnitude 70. With an input of magnitude 1, the same values start
60 times smaller and hardly train: use "torch" or "he" there.

=============  ==========  ================================================================
preset         input       source
=============  ==========  ================================================================
"paper"        pixels      the paper, section 5: std 0.01 everywhere; biases 1 in conv2,
                           conv4, conv5 and the hidden fully connected layers
"original"     pixels      the 2012 program: the same, but std 0.03 in conv3 to conv5
"caffe"        pixels      bvlc_alexnet: std 0.005 in fc6 and fc7, biases 0.1 instead of 1
"caffenet"     pixels      CaffeNet: as "caffe" with biases 1
"slim"         pixels      TF-slim: Xavier convolutions, fully connected layers N(0, 0.005²)
                           truncated at two standard deviations, biases 0.1 except the last
"torch"        normalized  PyTorch's defaults: uniform in ±1/√fan_in, biases too
"he"           normalized  ours, for small data sets: He et al.'s convolutions, 0.01 in the
                           hidden layers, 0.001 in the last, biases 0
"clear"        normalized  ours, for clear kernels soon: "he" with 0.004 in conv1, four times
                           He's deviation in conv2, and ten times the rate for conv1
"scaled"       normalized  ours, for networks of other widths: He et al.'s in every layer but
                           the last, 0.01 there, biases 0
=============  ==========  ================================================================

With "he", "clear" and "scaled" the outputs start close to zero, and so the loss starts at
ln(number of classes).

He et al.'s values for conv1 have a deviation of 0.074, more than a short training adds to them, so
its kernels still look like noise afterwards. With "clear" they start almost at zero, so what they
show at the end is what they have learned. Larger values in conv2 keep the signal from vanishing and
enlarge the gradient of conv1, which also learns at ten times the rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ...errors import ArgumentError
from ...nn import init
from ...tensor import Tensor
from .rows import RowNet

Fill = Callable[[Tensor], Tensor]


class Preset(NamedTuple):
    """Initial values of the weights and biases of each row.

    Attributes
    ----------
    input_scale : str
        "pixels" or "normalized": see RowNet.
    weights : mapping of str to (float or function)
        Keys are row names ("conv3"), kinds of rows ("conv") or, for all others, "*". A float is the
        standard deviation of a normal distribution.
    biases : mapping of str to float
        The same keys; 0 if none matches.
    conv1_rate : float, default 1.0
        conv1's learning rate that suits these values, as a multiple of the other layers'.
    """

    input_scale: str
    weights: Mapping[str, float | Fill]
    biases: Mapping[str, float]
    conv1_rate: float = 1.0


def _biases(value: float) -> dict[str, float]:
    """Return `value` for the layers whose ReLUs start with positive inputs in the paper."""
    return dict.fromkeys(("conv2", "conv4", "conv5", "conv6", "fc6", "fc7"), value)


def _four_times_he(weight: Tensor) -> Tensor:
    return init.normal_(weight, std=4 * math.sqrt(2 / weight[0].numel()))


_HE = partial(init.kaiming_normal_, nonlinearity="relu")
_TRUNCATED = partial(init.trunc_normal_, std=0.005, a=-0.01, b=0.01)

#: The presets of the networks for ImageNet. conv6 belongs to the six-conv net; the paper does not
#: mention its initial values, so it is treated like conv5.
PRESETS = {
    "paper": Preset("pixels", {"*": 0.01}, _biases(1.0)),
    "original": Preset(
        "pixels", {"conv1": 0.01, "conv2": 0.01, "conv": 0.03, "fc": 0.01}, _biases(1.0)
    ),
    "caffe": Preset("pixels", {"fc6": 0.005, "fc7": 0.005, "*": 0.01}, _biases(0.1)),
    "caffenet": Preset("pixels", {"fc6": 0.005, "fc7": 0.005, "*": 0.01}, _biases(1.0)),
    "slim": Preset(
        "pixels", {"conv": init.xavier_uniform_, "fc": _TRUNCATED}, {"fc8": 0.0, "*": 0.1}
    ),
    "he": Preset("normalized", {"conv": _HE, "fc8": 0.001, "fc": 0.01}, {}),
    "scaled": Preset("normalized", {"fc8": 0.01, "*": _HE}, {}),
}
PRESETS["clear"] = PRESETS["he"]._replace(
    weights={**PRESETS["he"].weights, "conv1": 0.004, "conv2": _four_times_he}, conv1_rate=10.0
)


def initialize(net: RowNet, name: str, presets: Mapping[str, Preset] = PRESETS) -> None:
    """Fill all weights and biases of ``net``, set its ``input_scale`` and its ``conv1_rate``.

    Parameters
    ----------
    net : RowNet
    name : str
        A key of ``presets``, or "torch", which keeps the layers' default values.
    presets : mapping of str to Preset

    Raises
    ------
    ArgumentError
        The preset is unknown.
    """
    if name == "torch":
        net.input_scale = "normalized"
        return
    if name not in presets:
        raise ArgumentError(f"init: expected one of {[*presets, 'torch']}, got {name!r}")
    preset = presets[name]
    net.input_scale, net.conv1_rate = preset.input_scale, preset.conv1_rate
    for row, layer in net.named_rows().items():
        fill = _entry(preset.weights, row)
        if callable(fill):
            fill(layer.weight)
        else:
            init.normal_(layer.weight, std=fill)
        init.constant_(layer.bias, _entry({"*": 0.0, **preset.biases}, row))


def _entry(table: Mapping[str, Any], row: str) -> Any:
    """Look a row up by its name, then by its kind, then under "*"."""
    kind = row.rstrip("0123456789")
    return next(table[key] for key in (row, kind, "*") if key in table)
