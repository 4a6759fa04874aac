"""Every variant of AlexNet: sizes, shapes, names, initial values, options."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from small_networks import zeros

import minidl
from minidl.errors import ArgumentError, ShapeError
from minidl.nn.module import Module
from minidl.nn.summary import summary
from minidl.vision.models import AlexNet, alexnet

# variant: input, parameters, multiply-accumulates
TOTALS = {
    "paper": (227, 60_965_224, 724_406_816),
    "original": (224, 60_965_224, 724_406_816),
    "single-tower": (224, 62_378_344, 1_135_256_096),
    "caffe": (227, 60_965_224, 724_406_816),
    "caffenet": (227, 60_965_224, 724_406_816),
    "torchvision": (224, 61_100_840, 714_188_480),
    "slim": (224, 50_303_912, 736_555_776),
    "half": (224, 59_798_312, 391_514_384),
    "six-conv": (224, 61_555_304, 745_640_480),
    "cifar": (32, 23_640_996 + 900 * 4097, 63_111_168 + 900 * 4096),
}


@functools.cache
def facts(variant: str) -> SimpleNamespace:
    """Build a variant once for all tests; keep its properties, not the network."""
    minidl.manual_seed(0)
    net = alexnet(variant)
    initial = {}
    for name, layer in net.named_rows().items():
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        sample = weight.ravel()[:: max(1, weight.size // 500_000)].astype(np.float64)
        initial[name] = SimpleNamespace(
            fan_in=math.prod(weight.shape[1:]),
            size=sample.size,
            mean=float(sample.mean()),
            std=float(sample.std()),
            largest=float(np.abs(sample).max()),
            biases=np.unique(bias).tolist() if np.ptp(bias) == 0 else bias,
        )
    return SimpleNamespace(
        summary=summary(net),
        input_size=net.input_size,
        input_scale=net.input_scale,
        shapes={key: tuple(value.shape) for key, value in net.state_dict().items()},
        initial=initial,
        text=repr(net),
    )


@pytest.mark.parametrize("variant", TOTALS)
def test_totals(variant):
    size, parameters, macs = TOTALS[variant]
    built = facts(variant)
    assert built.input_size == (3, size, size)
    assert built.summary.parameters == parameters
    assert built.summary.macs == macs


def test_cifar_with_other_numbers_of_classes():
    net = alexnet("cifar", num_classes=10)
    table = summary(net)
    assert (table.parameters, table.macs) == (23_272_266, 62_742_528)
    assert table.rows[-1].output_shape == (10,)


# --- Layer by layer: the order, the output's shape, parameters, multiply-accumulates --------------

PAPER = """
    features.conv1    96 55 55        34944  105415200
    features.relu1    96 55 55            0          0
    features.norm1    96 55 55            0          0
    features.pool1    96 27 27            0          0
    features.conv2   256 27 27       307456  223948800
    features.relu2   256 27 27            0          0
    features.norm2   256 27 27            0          0
    features.pool2   256 13 13            0          0
    features.conv3   384 13 13       885120  149520384
    features.relu3   384 13 13            0          0
    features.conv4   384 13 13       663936  112140288
    features.relu4   384 13 13            0          0
    features.conv5   256 13 13       442624   74760192
    features.relu5   256 13 13            0          0
    features.pool5     256 6 6            0          0
    flatten               9216            0          0
    classifier.fc6        4096     37752832   37748736
    classifier.relu6      4096            0          0
    classifier.drop6      4096            0          0
    classifier.fc7        4096     16781312   16777216
    classifier.relu7      4096            0          0
    classifier.drop7      4096            0          0
    classifier.fc8        1000      4097000    4096000
"""
TORCHVISION = """
    features.0        64 55 55        23296   70276800
    features.1        64 55 55            0          0
    features.2        64 27 27            0          0
    features.3       192 27 27       307392  223948800
    features.4       192 27 27            0          0
    features.5       192 13 13            0          0
    features.6       384 13 13       663936  112140288
    features.7       384 13 13            0          0
    features.8       256 13 13       884992  149520384
    features.9       256 13 13            0          0
    features.10      256 13 13       590080   99680256
    features.11      256 13 13            0          0
    features.12        256 6 6            0          0
    avgpool            256 6 6            0          0
    flatten               9216            0          0
    classifier.0          9216            0          0
    classifier.1          4096     37752832   37748736
    classifier.2          4096            0          0
    classifier.3          4096            0          0
    classifier.4          4096     16781312   16777216
    classifier.5          4096            0          0
    classifier.6          1000      4097000    4096000
"""
SLIM = """
    features.conv1    64 54 54        23296   67744512
    features.relu1    64 54 54            0          0
    features.pool1    64 26 26            0          0
    features.conv2   192 26 26       307392  207667200
    features.relu2   192 26 26            0          0
    features.pool2   192 12 12            0          0
    features.conv3   384 12 12       663936   95551488
    features.relu3   384 12 12            0          0
    features.conv4   384 12 12      1327488  191102976
    features.relu4   384 12 12            0          0
    features.conv5   256 12 12       884992  127401984
    features.relu5   256 12 12            0          0
    features.pool5     256 5 5            0          0
    classifier.fc6    4096 1 1     26218496   26214400
    classifier.relu6  4096 1 1            0          0
    classifier.drop6  4096 1 1            0          0
    classifier.fc7    4096 1 1     16781312   16777216
    classifier.relu7  4096 1 1            0          0
    classifier.drop7  4096 1 1            0          0
    classifier.fc8    1000 1 1      4097000    4096000
    flatten               1000            0          0
"""
CIFAR = """
    features.0        64 16 16         1792     442368
    features.1        64 16 16            0          0
    features.2          64 8 8            0          0
    features.3         192 8 8       110784    7077888
    features.4         192 8 8            0          0
    features.5         192 4 4            0          0
    features.6         384 4 4       663936   10616832
    features.7         384 4 4            0          0
    features.8         256 4 4       884992   14155776
    features.9         256 4 4            0          0
    features.10        256 4 4       590080    9437184
    features.11        256 4 4            0          0
    features.12        256 2 2            0          0
    flatten               1024            0          0
    classifier.0          1024            0          0
    classifier.1          4096      4198400    4194304
    classifier.2          4096            0          0
    classifier.3          4096            0          0
    classifier.4          4096     16781312   16777216
    classifier.5          4096            0          0
    classifier.6          1000      4097000    4096000
"""


@pytest.mark.parametrize(
    "variant, table",
    [
        ("paper", PAPER),
        ("caffe", PAPER),
        ("torchvision", TORCHVISION),
        ("slim", SLIM),
        ("cifar", CIFAR),
    ],
)
def test_every_layer(variant, table):
    expected = []
    for line in table.strip().splitlines():
        name, *numbers = line.split()
        *shape, parameters, macs = map(int, numbers)
        expected.append((name, tuple(shape), parameters, macs))
    rows = facts(variant).summary.rows
    assert [(r.name, r.output_shape, r.parameters, r.macs) for r in rows] == expected


@pytest.mark.parametrize(
    "variant, order",
    [
        ("original", "conv1 norm1 pool1 relu1 conv2 relu2 norm2 spatial2 pool2 conv3"),
        ("half", "conv1 norm1 pool1 relu1 conv2 relu2 norm2 spatial2 pool2 conv3"),
        ("caffenet", "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3"),
    ],
)
def test_order_of_the_first_blocks(variant, order):
    names = [row.name.removeprefix("features.") for row in facts(variant).summary.rows]
    assert names[: len(order.split())] == order.split()


@pytest.mark.parametrize(
    "variant, widths, maps",
    [
        ("original", (96, 256, 384, 384, 256), (55, 27, 13, 13, 13)),
        ("half", (48, 128, 192, 192, 256), (55, 27, 13, 13, 13)),
        ("six-conv", (96, 256, 384, 384, 256, 256), (55, 27, 13, 13, 13, 6)),
        ("single-tower", (96, 256, 384, 384, 256), (55, 27, 13, 13, 13)),
        ("caffenet", (96, 256, 384, 384, 256), (55, 27, 13, 13, 13)),
    ],
)
def test_convolutions(variant, widths, maps):
    rows = [row for row in facts(variant).summary.rows if row.kind == "Conv2d"]
    assert [row.output_shape for row in rows] == [
        (width, size, size) for width, size in zip(widths, maps, strict=True)
    ]


def test_neurons_of_the_paper():
    """The abstract's 650,000 neurons: the outputs of the layers with weights."""
    rows = facts("paper").summary.rows
    assert sum(math.prod(row.output_shape) for row in rows if row.parameters) == 659_272


# --- Names ----------------------------------------------------------------------------------------


def test_torchvision_state_dict():
    assert facts("torchvision").shapes == {
        "features.0.weight": (64, 3, 11, 11),
        "features.0.bias": (64,),
        "features.3.weight": (192, 64, 5, 5),
        "features.3.bias": (192,),
        "features.6.weight": (384, 192, 3, 3),
        "features.6.bias": (384,),
        "features.8.weight": (256, 384, 3, 3),
        "features.8.bias": (256,),
        "features.10.weight": (256, 256, 3, 3),
        "features.10.bias": (256,),
        "classifier.1.weight": (4096, 9216),
        "classifier.1.bias": (4096,),
        "classifier.4.weight": (4096, 4096),
        "classifier.4.bias": (4096,),
        "classifier.6.weight": (1000, 4096),
        "classifier.6.bias": (1000,),
    }


def test_single_tower_state_dict():
    weights = {
        0: (96, 3, 11, 11),
        4: (256, 96, 5, 5),
        8: (384, 256, 3, 3),
        10: (384, 384, 3, 3),
        12: (256, 384, 3, 3),
        17: (4096, 9216),
        20: (4096, 4096),
        22: (1000, 4096),
    }
    expected = {}
    for index, shape in weights.items():
        expected[f"AlexNet_model.{index}.weight"] = shape
        expected[f"AlexNet_model.{index}.bias"] = shape[:1]
    assert facts("single-tower").shapes == expected


@pytest.mark.parametrize("variant", ["paper", "original", "half", "caffe", "caffenet", "slim"])
def test_readable_state_dict(variant):
    keys = [f"features.conv{i}" for i in range(1, 6)] + [f"classifier.fc{i}" for i in (6, 7, 8)]
    expected = [f"{key}.{kind}" for key in keys for kind in ("weight", "bias")]
    assert list(facts(variant).shapes) == expected


@pytest.mark.parametrize("variant", TOTALS)
def test_rows_have_the_same_names_in_every_variant(variant):
    convolutions = 6 if variant == "six-conv" else 5
    names = [f"conv{i}" for i in range(1, convolutions + 1)] + ["fc6", "fc7", "fc8"]
    assert list(facts(variant).initial) == names


def test_state_dict_of_a_torchvision_model_loads():
    torch = pytest.importorskip("torch")
    from torch import nn

    theirs = nn.Module()
    theirs.features = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 192, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    theirs.classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(1024, 4096), nn.ReLU(),
        nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 10),
    )  # fmt: skip
    theirs.eval()
    ours = alexnet("cifar", num_classes=10).eval()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    with torch.no_grad():
        expected = theirs.classifier(theirs.features(torch.from_numpy(x)).flatten(1)).numpy()
    with minidl.no_grad():
        found = ours(minidl.from_numpy(x)).numpy()
    # Sums of up to 4096 products, eight layers deep, relative to the largest output.
    tolerance = 4096**0.5 * 8 * np.finfo(np.float32).eps * np.abs(expected).max()
    assert np.abs(found - expected).max() < tolerance


# --- Printing -------------------------------------------------------------------------------------


def test_repr_reads_like_pytorchs():
    lines = facts("torchvision").text.splitlines()
    assert lines[0] == "AlexNet("
    assert lines[1] == "  (features): Sequential("
    assert lines[2] == "    (0): Conv2d(3, 64, kernel_size=(11, 11), stride=(4, 4), padding=(2, 2))"
    assert lines[3] == "    (1): ReLU(inplace=True)"
    assert "  (avgpool): AdaptiveAvgPool2d(output_size=(6, 6))" in lines
    assert lines[-2:] == ["  )", ")"]
    assert "(fc8): Linear(in_features=4096, out_features=1000, bias=True)" in facts("paper").text


# --- Initial values -------------------------------------------------------------------------------

ONES = {"conv2", "conv4", "conv5", "conv6", "fc6", "fc7"}


def check_normal(initial: SimpleNamespace, std: float) -> None:
    """Mean and std within 5 standard errors; a truncated normal would lack values above 3.5 std."""
    assert abs(initial.mean) < 5 * std / initial.size**0.5
    assert abs(initial.std - std) < 5 * std / (2 * initial.size) ** 0.5
    assert 3.5 * std < initial.largest < 7 * std


@pytest.mark.parametrize(
    "variant, stds, bias",
    [
        ("paper", {}, 1.0),
        ("original", {"conv3": 0.03, "conv4": 0.03, "conv5": 0.03}, 1.0),
        ("half", {"conv3": 0.03, "conv4": 0.03, "conv5": 0.03}, 1.0),
        ("six-conv", dict.fromkeys(("conv3", "conv4", "conv5", "conv6"), 0.03), 1.0),
        ("caffe", {"fc6": 0.005, "fc7": 0.005}, 0.1),
        ("caffenet", {"fc6": 0.005, "fc7": 0.005}, 1.0),
    ],
)
def test_gaussian_presets(variant, stds, bias):
    assert facts(variant).input_scale == "pixels"
    for name, initial in facts(variant).initial.items():
        check_normal(initial, stds.get(name, 0.01))
        assert initial.biases == [np.float32(bias if name in ONES else 0.0)], name


def test_slim_preset():
    assert facts("slim").input_scale == "pixels"
    shapes = facts("slim").shapes
    for name, initial in facts("slim").initial.items():
        assert initial.biases == [np.float32(0.0 if name == "fc8" else 0.1)]
        if name.startswith("conv"):
            outputs, inputs, kernel, _ = shapes[f"features.{name}.weight"]
            bound = (6 / (kernel**2 * (inputs + outputs))) ** 0.5
            assert 0.999 * bound < initial.largest <= bound * (1 + 1e-6)
        else:
            assert 0.0099 < initial.largest <= np.float32(0.01)


@pytest.mark.parametrize("variant", ["torchvision", "single-tower", "cifar"])
def test_torch_preset(variant):
    assert facts(variant).input_scale == "normalized"
    for initial in facts(variant).initial.values():
        bound = initial.fan_in**-0.5
        assert 0.999 * bound < initial.largest <= bound * (1 + 1e-6)
        assert np.abs(initial.biases).max() <= bound * (1 + 1e-6)
        assert np.std(initial.biases) > 0


@pytest.mark.parametrize(
    "init, own, conv1_rate",
    [("he", {}, 1), ("clear", {"conv1": 0.004, "conv2": 4 * (2 / (64 * 9)) ** 0.5}, 10)],
)
def test_presets_for_small_data_start_at_the_loss_of_guessing(init, own, conv1_rate):
    net = alexnet("cifar", num_classes=10, init=init)
    assert net.input_scale == "normalized" and net.conv1_rate == conv1_rate
    rows = net.named_rows()
    assert all(layer.bias.abs().max().item() == 0 for layer in rows.values())
    he = {f"conv{k}": (2 / (maps * 9)) ** 0.5 for k, maps in ((1, 3), (2, 64), (3, 192))}
    for name, std in {**he, "fc7": 0.01, "fc8": 0.001, **own}.items():
        weight = rows[name].weight.detach().numpy()
        assert abs(weight.std() - std) < 5 * std / (2 * weight.size) ** 0.5
    images = minidl.randn(8, *net.input_size)
    logits = net.eval()(images).detach().numpy().astype(np.float64)
    assert np.abs(logits).max() > 0
    labels = np.arange(8)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), labels]
    # |loss - ln 10| is at most twice the largest logit, which 0.001 in the last layer keeps small.
    assert abs(losses.mean() - math.log(10)) < 0.05


# --- Options --------------------------------------------------------------------------------------


def rows_of(net: AlexNet) -> dict[str, Module]:
    return net.named_rows()


def small(variant: str = "cifar", **options) -> AlexNet:
    return alexnet(variant, num_classes=10, **options)


def test_dropout_and_modes():
    kinds = {
        variant: facts(variant).text.count("PlainDropout(") for variant in ("paper", "torchvision")
    }
    assert kinds == {"paper": 2, "torchvision": 0}
    net = small(dropout=0.25)
    assert repr(net).count("Dropout(p=0.25") == 2
    assert net.training


def test_dropout_is_where_the_variant_has_it():
    assert [row.kind for row in facts("torchvision").summary.rows[15:19]] == [
        "Dropout", "Linear", "ReLU", "Dropout",
    ]  # fmt: skip


def test_activation():
    net = small(activation="tanh")
    assert "ReLU" not in repr(net) and repr(net).count("Tanh()") == 7
    made = []

    class Square(Module):
        def __init__(self):
            super().__init__()
            made.append(self)

        def forward(self, x):
            return x * x

    assert repr(small(activation=Square)).count("Square()") == 7
    assert len({id(module) for module in made}) == 7
    with pytest.raises(ArgumentError, match="'gelu'"):
        small(activation="gelu")


def test_groups():
    net = small(groups=2)
    assert [rows_of(net)[f"conv{i}"].groups for i in range(1, 6)] == [1, 2, 1, 2, 2]
    assert rows_of(net)["conv4"].weight.shape == (256, 192, 3, 3)


def test_rows_and_layers_can_be_left_out():
    full = small()
    net = small(without=["conv4", "fc7"])
    assert list(rows_of(net)) == ["conv1", "conv2", "conv3", "conv5", "fc6", "fc8"]
    assert rows_of(net)["conv5"].in_channels == 384
    assert net(minidl.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert len(small(without="pool5").features) == len(full.features) - 1
    with pytest.raises(ArgumentError, match="no layer 'norm1'"):
        small(without=["norm1"])


def test_ablations_of_the_papers_network():
    """One network with several changes, because each costs a second to build."""
    net = alexnet(
        "original",
        num_classes=10,
        overlap=False,
        groups=1,
        lrn_groups=1,
        input_mode="pad224",
        init="he",
        without=("norm1", "spatial2", "conv3", "fc6"),
    )
    names = [row.name.split(".")[-1] for row in summary(net).rows]
    assert "norm1" not in names and "spatial2" not in names and "norm2" in names
    shapes = {row.name: row.output_shape for row in summary(net).rows}
    assert shapes["features.pool1"] == (96, 27, 27)
    assert shapes["features.pool2"] == (256, 13, 13)
    assert shapes["features.pool5"] == (256, 6, 6)
    assert net.features.pool1.kernel_size in (2, (2, 2))
    assert net.features.norm2.groups == 1
    assert rows_of(net)["conv4"].weight.shape == (384, 256, 3, 3)
    assert rows_of(net)["conv1"].padding in (2, (2, 2))
    assert net.input_scale == "normalized"
    with minidl.no_grad():
        logits = net.eval()(minidl.randn(2, *net.input_size))
    assert 0 < logits.abs().max().item() < 0.1  # "he": the loss starts at ln(classes)


def test_unknown_arguments():
    for options, message in (
        ({"variant": "vgg"}, "'vgg'.*cuda_convnet"),
        ({"variant": "cifar", "init": "lucky"}, "init.*'lucky'"),
        ({"variant": "cifar", "input_mode": "crop227"}, r"input_mode.*\['cifar32'\]"),
        ({"variant": "slim", "input_mode": "pad224"}, r"input_mode.*\['valid224'\]"),
        ({"variant": "paper", "input_mode": "cifar32"}, "input_mode.*crop227"),
        ({"variant": "cifar", "num_classes": 0}, "num_classes"),
        ({"variant": "cifar", "width": 0}, "width"),
        ({"variant": "cifar", "width": math.nan}, "width"),
        ({"variant": "cifar", "lrn_groups": 2}, "lrn_groups.*no response normalization"),
    ):
        with pytest.raises(ArgumentError, match=message):
            alexnet(**options)


def test_width():
    net = alexnet("paper", 10, init="scaled", input_mode="crop67", width=0.25)
    rows = rows_of(net)
    outputs = [len(layer.weight) for layer in rows.values()]
    assert outputs == [24, 64, 96, 96, 64, 1024, 1024, 10]
    assert rows["conv2"].weight.shape == (64, 24 // 2, 5, 5)
    assert net(minidl.zeros(1, *net.input_size)).shape == (1, 10) and net.input_size[-1] == 67
    for name, layer in rows.items():  # He et al.'s, whatever the width
        weight = layer.weight.detach().numpy()
        std = 0.01 if name == "fc8" else math.sqrt(2 / weight[0].size)
        assert abs(weight.std() - std) < 5 * std / (2 * weight.size) ** 0.5
    # Towers need even numbers: 96, 256, 4096 times 0.115 are 11.04, 29.4, 471.04.
    odd = rows_of(alexnet("paper", 10, width=0.115, input_mode="crop67"))
    assert [len(odd[name].weight) for name in ("conv1", "conv2", "fc6", "fc8")] == [12, 30, 472, 10]


def test_any_number_of_images():
    net = small().eval()
    images = minidl.randn(3, 3, 32, 32)
    with minidl.no_grad():
        together = net(images).numpy()
        alone = np.concatenate([net(images[i : i + 1]).numpy() for i in range(3)])
    assert np.abs(together - alone).max() <= 64 * np.finfo(np.float32).eps * np.abs(alone).max()


@pytest.mark.parametrize("layer", ["conv2", "conv3", "conv4", "conv5"])
def test_pooling_behind_an_omitted_layer_can_stay(layer: str) -> None:
    with zeros():
        table = summary(alexnet("paper", 10, without=layer, keep_pooling=True))
    sizes = [row.output_shape[1:] for row in table.rows if row.kind == "MaxPool2d"]
    assert sizes == [(27, 27), (13, 13), (6, 6)]
    assert not any(row.name.endswith(layer) for row in table.rows)


def test_images_of_another_size_are_refused_by_the_network() -> None:
    net = alexnet("paper", num_classes=2, width=1 / 16, init="scaled")
    with pytest.raises(ShapeError, match=r"'paper' takes images of shape \(N, 3, 227, 227\), got"):
        net(minidl.zeros(1, 3, 224, 224))
