"""LeNet-5."""

from __future__ import annotations

from minidl.nn.summary import summary
from minidl.vision.models import lenet5


def test_lenet5():
    table = summary(lenet5())
    assert table.parameters == 61_706
    # 6·25·28² + 16·150·10² + 400·120 + 120·84 + 84·10
    assert table.macs == 117_600 + 240_000 + 48_000 + 10_080 + 840
    shapes = [row.output_shape for row in table.rows if row.parameters]
    assert shapes == [(6, 28, 28), (16, 10, 10), (120,), (84,), (10,)]


def test_options():
    net = lenet5(num_classes=3, activation="relu")
    assert repr(net).count("ReLU(inplace=True)") == 4
    assert summary(net).rows[-1].output_shape == (3,)
