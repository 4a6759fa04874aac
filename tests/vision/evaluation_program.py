"""An evaluation that ranks share gives what one process finds, for whole and for cut networks."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from small_networks import small_networks

import minidl
import minidl.distributed as dist
from minidl.data import Subset
from minidl.vision.batches import PictureBatches
from minidl.vision.metrics import evaluate
from minidl.vision.models import alexnet
from minidl.vision.models.shards import Shards
from minidl.vision.predictions import Recorder


def check(scheme: str, ten_crop: bool, folder: str) -> None:
    """Evaluate 10 pictures in batches of 4, or with ten crops in fewer: no N divides all."""
    from test_batches import Noise  # a name beside this program, not where tests are collected

    minidl.manual_seed(0)
    with small_networks():
        model: Any = alexnet("cifar", num_classes=10, init="he")
    images = Subset(Noise(), range(10))
    share = dist.get_rank(), dist.get_world_size()
    pictures = PictureBatches(model, Noise(), images, None, 4, 0, None, folder, share=share)
    alone, shared = Recorder(), Recorder()
    expected = evaluate(model, pictures.evaluation(ten_crop), record=alone)
    if scheme == "hybrid":
        Shards(model, scheme)
    found = evaluate(model, pictures.shared_evaluation(ten_crop), record=shared)
    assert found["top1"] == expected["top1"] and found["top5"] == expected["top5"]
    assert np.isclose(found["loss"], expected["loss"], rtol=1e-6), (found, expected)
    shared.gather()
    if dist.get_rank() == 0:
        one, other = alone.predictions(), shared.predictions()
        assert np.array_equal(one.labels, other.labels)
        assert np.allclose(one.probabilities, other.probabilities, atol=1e-6)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        check("data", False, place)
        check("data", True, place)
        check("hybrid", False, place)
        check("hybrid", True, place)
    print("content")
