"""Options of networks that files name."""

from __future__ import annotations

from typing import Any

import pytest

from minidl.errors import ArgumentError
from minidl.vision.models import networks
from minidl.vision.models.options import plan_of_file

POSSIBLE: list[tuple[str, dict[str, Any]]] = [
    ("paper", {"dropout": 0, "groups": 1, "lrn_groups": 2, "overlap": False, "width": 0.5}),
    ("paper", {"without": ["norm1", "conv4"], "keep_pooling": True, "activation": "tanh"}),
    ("torchvision", {"input_mode": "ceil224", "groups": None}),
    ("18pct", {"without": "spatial1", "activation": "tanh"}),
    ("lenet5", {"activation": "relu"}),
]


@pytest.mark.parametrize(("variant", "options"), POSSIBLE)
def test_possible_options_make_the_plan_of_the_network(variant: str, options: Any) -> None:
    assert plan_of_file(variant, options) == networks.plans(variant, **options)[variant]


IMPOSSIBLE: list[tuple[str, dict[Any, Any]]] = [
    ("lenet5", {"foo": 1}),
    ("lenet5", {"dropout": 0.5}),
    ("80sec", {"num_classes": 10}),
    ("80sec", {"variant": "80sec"}),
    ("80sec", {10**5000: 4}),
    ("80sec", {"without": ["conv1", "conv2", "conv3", "fc64", "fc10"]}),
    ("80sec", {"activation": ["a"]}),
    ("80sec", {"activation": "sigmoid"}),
    ("paper", {"init": "he"}),
    ("paper", {"dropout": "abc"}),
    ("paper", {"dropout": None}),
    ("paper", {"dropout": 7}),
    ("paper", {"dropout": float("nan")}),
    ("paper", {"dropout": -(10**5000)}),
    ("paper", {"without": [1, "a"]}),
    ("paper", {"without": ["nope"]}),
    ("paper", {"without": {"conv3": 1}}),
    ("paper", {"lrn_groups": "x"}),
    ("paper", {"lrn_groups": 0}),
    ("paper", {"lrn_groups": 7}),
    ("paper", {"lrn_groups": 1.5}),
    ("torchvision", {"lrn_groups": 2}),
    ("paper", {"groups": 0}),
    ("paper", {"groups": 3}),
    ("paper", {"groups": -1}),
    ("paper", {"width": 10**5000}),
    ("paper", {"width": -(10**5000)}),
    ("paper", {"overlap": 1}),
    ("paper", {"input_mode": "cifar32"}),
]


@pytest.mark.parametrize(("variant", "options"), IMPOSSIBLE)
def test_impossible_options_are_refused(variant: str, options: Any) -> None:
    with pytest.raises(ArgumentError) as refused:
        plan_of_file(variant, options)
    assert 0 < len(str(refused.value)) < 400
