"""cuda-convnet's CIFAR-10 networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError
from minidl.nn.summary import summary
from minidl.vision.models import ScaledTanh, cuda_convnet

TOTALS = {
    "80sec": (32, 145_578, 12_354_176),
    "18pct": (32, 89_578, 12_298_240),
    "19pct": (32, 89_578, 12_298_240),
    "13pct": (24, 1_116_490, 18_517_248),
    "11pct": (24, 2_112_970, 19_512_576),
}

# name, output, parameters, multiply-accumulates of the layers with weights and of the pools
LAYERS = {
    "80sec": """
        conv1 32 32 32      2432  2457600
        pool1 32 16 16         0        0
        conv2 32 16 16     25632  6553600
        pool2   32 8 8         0        0
        conv3   64 8 8     51264  3276800
        pool3   64 4 4         0        0
        fc64        64     65600    65536
        fc10        10       650      640
    """,
    "18pct": """
        conv1 32 32 32      2432  2457600
        pool1 32 16 16         0        0
        conv2 32 16 16     25632  6553600
        pool2   32 8 8         0        0
        conv3   64 8 8     51264  3276800
        pool3   64 4 4         0        0
        fc10        10     10250    10240
    """,
    "13pct": """
        conv1 64 24 24      4864  2764800
        pool1 64 12 12         0        0
        conv2 64 12 12    102464 14745600
        pool2   64 6 6         0        0
        local3  32 6 6    664704   663552
        local4  32 6 6    332928   331776
        fc10        10     11530    11520
    """,
    "11pct": """
        conv1 64 24 24      4864  2764800
        pool1 64 12 12         0        0
        conv2 64 12 12    102464 14745600
        pool2   64 6 6         0        0
        local3  64 6 6   1329408  1327104
        local4  32 6 6    664704   663552
        fc10        10     11530    11520
    """,
}


@pytest.mark.parametrize("variant", TOTALS)
def test_totals(variant):
    size, parameters, macs = TOTALS[variant]
    net = cuda_convnet(variant)
    table = summary(net)
    assert net.input_size == (3, size, size)
    assert (table.parameters, table.macs) == (parameters, macs)
    assert net(minidl.zeros(2, 3, size, size)).shape == (2, 10)


@pytest.mark.parametrize("variant", LAYERS)
def test_layers(variant):
    rows = [
        (row.name.split(".")[1], row.output_shape, row.parameters, row.macs)
        for row in summary(cuda_convnet(variant)).rows
        if row.parameters or "pool" in row.name
    ]
    expected = []
    for line in LAYERS[variant].strip().splitlines():
        name, *numbers = line.split()
        *shape, parameters, macs = map(int, numbers)
        expected.append((name, tuple(shape), parameters, macs))
    assert rows == expected


@pytest.mark.parametrize(
    "variant, order",
    [
        ("80sec", "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 pool3"),
        ("18pct", "conv1 relu1 pool1 spatial1 conv2 relu2 pool2 spatial2 conv3 relu3 pool3"),
        ("19pct", "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 pool3"),
        ("13pct", "conv1 relu1 pool1 conv2 relu2 pool2 local3 relu3 local4 relu4"),
        ("11pct", "conv1 relu1 pool1 norm1 conv2 relu2 norm2 pool2 local3 relu3 local4 relu4"),
    ],
)
def test_order(variant, order):
    assert [name for name, _ in cuda_convnet(variant).features.named_children()] == order.split()


def test_first_pool_takes_the_maximum_and_the_others_the_mean():
    kinds = [type(cuda_convnet("19pct").features[i]).__name__ for i in (2, 5, 8)]
    assert kinds == ["MaxPool2d", "AvgPool2d", "AvgPool2d"]


@pytest.mark.parametrize(
    "variant, stds",
    [
        ("80sec", {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc64": 0.1, "fc10": 0.1}),
        ("19pct", {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc10": 0.01}),
        ("13pct", {"conv1": 1e-4, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc10": 0.01}),
    ],
)
def test_initial_values(variant, stds):
    net = cuda_convnet(variant)
    assert net.input_scale == "pixels"
    rows = net.named_rows()
    assert list(rows) == list(stds)
    for name, std in stds.items():
        weight = rows[name].weight.detach().numpy()
        assert abs(weight.std() - std) < 5 * std / (2 * weight.size) ** 0.5, name
        assert rows[name].bias.abs().max().item() == 0.0


def test_options():
    net = cuda_convnet("11pct", num_classes=7, init="he", without=("norm1", "norm2"))
    assert net.input_scale == "normalized"
    assert "LocalResponseNorm" not in repr(net)
    assert net(minidl.zeros(1, 3, 24, 24)).shape == (1, 7)
    scaled = cuda_convnet("80sec", activation=lambda: ScaledTanh(1.7159, 2 / 3))
    assert repr(scaled).count("ScaledTanh(a=1.7159, b=0.66") == 4
    assert repr(cuda_convnet("80sec", activation="tanh")).count("Tanh()") == 4
    for options, message in (
        ({"variant": "5pct"}, "'5pct'"),
        ({"init": "paper"}, "init.*'paper'"),
        ({"without": ("norm1",)}, "no layer 'norm1'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            cuda_convnet(**options)


def test_scaled_tanh():
    x = np.linspace(-3, 3, 7)
    y = ScaledTanh(1.7159, 2 / 3)(minidl.from_numpy(x)).numpy()
    assert np.abs(y - 1.7159 * np.tanh(2 / 3 * x)).max() < 8 * np.finfo(np.float64).eps


def test_a_network_memorizes_twenty_images():
    """It starts at the loss of guessing, ln 10, and then memorizes random labels."""
    net = cuda_convnet("19pct", init="he")
    # Squares of 8×8 pixels in one color each: average pooling would blur finer noise away.
    squares = np.random.default_rng(0).standard_normal((20, 3, 4, 4), dtype=np.float32)
    images = minidl.from_numpy(squares.repeat(8, axis=2).repeat(8, axis=3))
    labels = minidl.from_numpy(np.arange(20) % 10)
    loss_of = minidl.nn.CrossEntropyLoss()
    optimizer = minidl.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = loss_of(net(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert abs(losses[0] - math.log(10)) < 0.05
    assert losses[-1] < 0.1
    assert (net(images).argmax(1) == labels).all()
