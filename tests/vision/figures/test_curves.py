"""minidl.vision.figures.curves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

from minidl import nn
from minidl.errors import DataError
from minidl.training import RunLog
from minidl.vision import figures


def test_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with RunLog(tmp_path) as log:
        pass
    with pytest.raises(DataError, match="no finished epoch"):
        figures.save_curves(log.path, tmp_path / "curves.png")
    with RunLog(tmp_path) as log:
        for step in range(1, 5):
            log.write("step", step, loss=2.0 / step)
        log.write("epoch", 4, epoch=1, train_loss=1.0, val_loss=math.nan, top1=40.0, top5=90.0)
    net = nn.Sequential(nn.Conv2d(3, 4, 2))
    assert figures.save_all(net, log.path, tmp_path) == ["curves.png", "filters.png"]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > picture.height > 100
