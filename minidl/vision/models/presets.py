"""Presets: which values the weights and biases of a network start from, layer by layer.

A preset belongs to one scale of the input. A layer multiplies the signal's size by about
std·√fan_in; the paper's std of 0.01 makes that 0.19 for conv1 and 0.4 for the others, which works
because the input is raw pixels of size 70. The same values with an input of size 1 start 60 times
smaller and hardly train: use "torch" or "he" there.

=============  ==========  ================================================================
preset         input       source
=============  ==========  ================================================================
"paper"        pixels      the paper, section 5: std 0.01 everywhere; biases 1 in conv2,
                           conv4, conv5 and the hidden fully connected layers
"original"     pixels      the program of 2012: the same, but std 0.03 in conv3 to conv5
"caffe"        pixels      bvlc_alexnet: std 0.005 in fc6 and fc7, biases 0.1 instead of 1
"caffenet"     pixels      CaffeNet: as "caffe" with biases 1
"slim"         pixels      TF-slim: Xavier convolutions, fully connected layers N(0, 0.005²)
                           cut off at two standard deviations, biases 0.1 but for the last
"torch"        normalized  PyTorch's defaults: uniform in ±1/√fan_in, biases too
"he"           normalized  ours, for small data sets: He et al.'s convolutions, 0.01 in the
                           hidden layers, 0.001 in the last, biases 0
=============  ==========  ================================================================

With "he" the outputs start close to zero and the loss therefore at ln(number of classes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ...errors import ArgumentError
from ...nn import init
from ...tensor import Tensor
from .rows import RowNet

Fill = Callable[[Tensor], Tensor]


class Preset(NamedTuple):
    """How to fill the weights and biases of each row.

    Attributes
    ----------
    input_scale : str
        "pixels" or "normalized": see RowNet.
    weights : mapping of str to (float or function)
        By row name ("conv3"), kind of row ("conv") or, for all others, "*". A float is the
        standard deviation of a normal distribution.
    biases : mapping of str to float
        By the same keys; 0 where none fits.
    """

    input_scale: str
    weights: Mapping[str, float | Fill]
    biases: Mapping[str, float]


def _biases(value: float) -> dict[str, float]:
    """The layers whose biases the paper raises: ReLUs there start with positive inputs."""
    return dict.fromkeys(("conv2", "conv4", "conv5", "conv6", "fc6", "fc7"), value)


_TRUNCATED = partial(init.trunc_normal_, std=0.005, a=-0.01, b=0.01)

#: The presets of the networks for ImageNet. conv6 is the six-conv net's; the paper says nothing
#: about its initial values, and it is treated as conv5 is.
PRESETS = {
    "paper": Preset("pixels", {"*": 0.01}, _biases(1.0)),
    "original": Preset(
        "pixels",
        {"conv1": 0.01, "conv2": 0.01, "conv": 0.03, "fc": 0.01},
        _biases(1.0),
    ),
    "caffe": Preset("pixels", {"fc6": 0.005, "fc7": 0.005, "*": 0.01}, _biases(0.1)),
    "caffenet": Preset("pixels", {"fc6": 0.005, "fc7": 0.005, "*": 0.01}, _biases(1.0)),
    "slim": Preset(
        "pixels", {"conv": init.xavier_uniform_, "fc": _TRUNCATED}, {"fc8": 0.0, "*": 0.1}
    ),
    "he": Preset(
        "normalized",
        {"conv": partial(init.kaiming_normal_, nonlinearity="relu"), "fc8": 0.001, "fc": 0.01},
        {},
    ),
}


def initialize(net: RowNet, name: str, presets: Mapping[str, Preset] = PRESETS) -> None:
    """Fill all weights and biases of ``net``, and set its ``input_scale``.

    Parameters
    ----------
    net : RowNet
    name : str
        A key of ``presets``, or "torch", which keeps the values that the layers were made with.
    presets : mapping of str to Preset

    Raises
    ------
    ArgumentError
        If there is no such preset.
    """
    if name == "torch":
        net.input_scale = "normalized"
        return
    if name not in presets:
        raise ArgumentError(f"init: expected one of {[*presets, 'torch']}, got {name!r}")
    preset = presets[name]
    net.input_scale = preset.input_scale
    for row, layer in net.named_rows().items():
        fill = _entry(preset.weights, row)
        if callable(fill):
            fill(layer.weight)
        else:
            init.normal_(layer.weight, std=fill)
        init.constant_(layer.bias, _entry({"*": 0.0, **preset.biases}, row))


def _entry(table: Mapping[str, Any], row: str) -> Any:
    """Look a row up by its name, else by its kind, else under "*"."""
    kind = row.rstrip("0123456789")
    return next(table[key] for key in (row, kind, "*") if key in table)
