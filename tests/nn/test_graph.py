"""The picture of a tape."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

import minidl
from minidl import Tensor, nn
from minidl.errors import ArgumentError


def lines(graph: nn.Graph) -> list[str]:
    return [line.strip() for line in graph.mermaid.splitlines() if "classDef" not in line][1:]


def test_tape_of_a_tensor(device: str) -> None:
    x = minidl.ones(2, 3, requires_grad=True, device=device)
    x.name = "x"
    y = (x * x).sum()
    assert lines(nn.graph(y)) == [
        'n0(["x"]):::outer', 'n1("Mul"):::operation', 'n2("Sum"):::operation',
        'n3(["output"]):::outer', 'n0 -->|"2×3"| n1', 'n1 -->|"2×3"| n2', 'n2 -->|"scalar"| n3',
    ]  # fmt: skip
    y.backward()
    assert len(lines(nn.graph(y))) == 7  # the way stays after the walk


def test_layers_are_boxes_with_their_parameters(device: str) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).to(device)
    x = minidl.ones(5, 1, 4, 4, device=device)
    drawn = lines(nn.graph(net(x), model=net))
    assert 'n0["ConvReLU<br/>0"]:::module' in drawn
    assert 'n0w0(["weight 2×1×3×3"]):::leaf --> n0' in drawn
    assert 'n2["Linear<br/>3"]:::module' in drawn and 'n1 -->|"5×8"| n2' in drawn


def test_every_layer_of_a_module_has_its_name(device: str) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return (x + self.norm(self.conv(x))).relu()

    net = nn.Sequential(Block(), nn.ReLU()).to(device)
    net[1].register_forward_hook(lambda module, args, output: None)
    drawn = lines(nn.graph(net, minidl.ones(1, 2, 4, 4, device=device)))
    text = "\n".join(drawn)
    for box in ('["Conv2d<br/>0.conv"]', '["BatchNorm2d<br/>0.norm"]', '("Add")', '["ReLU<br/>1"]'):
        assert box in text
    add = next(line.split("(")[0] for line in drawn if '("Add")' in line)
    assert sum(line.endswith(f"| {add}") for line in drawn) == 2  # the shortcut and the branch
    assert len(net[1]._forward_hooks) == 1 and not net[0].conv._forward_hooks


def test_a_module_of_several_operations_is_one_box() -> None:
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.exp().reciprocal()

    assert [line for line in lines(nn.graph(Swish(), minidl.ones(2))) if "-->" not in line] == [
        'n0(["input"]):::outer', 'n1["Swish"]:::module', 'n2(["output"]):::outer',
    ]  # fmt: skip


def test_shared_parameters_and_several_outputs() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.name = "shared.weight"
    y = layer(layer(minidl.ones(1, 2)))
    drawn = lines(nn.graph([y, y.sum()]))
    assert 'n0(["shared.weight"]):::leaf' in drawn
    assert sum(line.startswith('n0 -->|"2×2"|') for line in drawn) == 2
    assert 'n4(["output 0"]):::outer' in drawn and 'n5(["output 1"]):::outer' in drawn


def test_saved_and_shown(tmp_path: Path) -> None:
    graph = nn.graph((minidl.ones(2, requires_grad=True) * 2).sum())
    for name in ("g.svg", "g.mmd", "g.md"):
        graph.save(tmp_path / name)
    assert (tmp_path / "g.svg").read_text(encoding="utf-8").strip() == graph._repr_svg_()
    assert (tmp_path / "g.mmd").read_text(encoding="utf-8").startswith("flowchart TD")
    assert (tmp_path / "g.md").read_text(encoding="utf-8").startswith("```mermaid\n")
    ElementTree.fromstring(graph._repr_html_())
    with pytest.raises(ArgumentError, match=r"\.svg, \.mmd or \.md"):
        graph.save(tmp_path / "g.png")


def test_nothing_recorded() -> None:
    with pytest.raises(ArgumentError, match="nothing was recorded"):
        nn.graph(minidl.ones(2))
