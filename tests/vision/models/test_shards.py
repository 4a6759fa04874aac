"""Towers and the hybrid scheme: ranks compute what one process does, and send what they must."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranks

from minidl.vision.models import alexnet
from minidl.vision.models.shards import bytes_per_step


@ranks.needs_mpi
@pytest.mark.parametrize("count", [2, 4])
def test_ranks_equal_one_process(count: int) -> None:
    result = ranks.run(count, Path(__file__).with_name("shards_program.py"))
    assert result.stdout.split() == ["content"] * count


def test_bytes_of_the_paper() -> None:
    net = alexnet("original")
    towers = bytes_per_step(net, "towers", 2, 128)
    assert {name: sent / (128 * 4) for name, sent in towers.items()} == {
        "conv3": 256 * 13 * 13, "fc6": 9216, "fc7": 4096, "fc8": 4096, "outputs": 500,
    }  # fmt: skip
    assert bytes_per_step(net, "data", 2, 128) == {"gradients": 60_965_224 * 4}
    hybrid = bytes_per_step(net, "hybrid", 4, 128)
    assert hybrid["gradients"] == 2 * 2_334_080 * 0.75 * 4  # 58.6 of 61 million are never sent
    assert hybrid["fc6"] == 2 * 128 * 9216 * 0.75 * 4
