"""examples/compare_networks.py."""

from __future__ import annotations

from pathlib import Path

from programs import assert_one_sentence, run


def test_lenet_beside_alexnet(tmp_path: Path) -> None:
    lines = run(tmp_path, "compare_networks.py").stdout.splitlines()
    table = {cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in lines)}
    assert table["parameters"] == ["61,706", "60,965,224"]
    assert table["kernels"] == ["5×5 5×5", "11×11 5×5 3×3 3×3 3×3"]
    assert table["pooling"] == ["2 AvgPool2d", "3 MaxPool2d"]
    assert table["activations"] == ["4 Tanh", "7 ReLU"] and table["dropout"][0] == "none"


def test_networks_have_their_usual_number_of_classes(tmp_path: Path) -> None:
    said = run(tmp_path, "compare_networks.py", "80sec", "13pct").stdout
    assert "| parameters | 145,578 | 1,116,490 |" in said


def test_an_unknown_network(tmp_path: Path) -> None:
    assert_one_sentence(run(tmp_path, "compare_networks.py", "vgg", status=2), "vgg", "lenet5")
