"""Weights in every layout fill the right layers of the right variant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pickled_programs import npy_file, state_dict_file
from PIL import Image
from small_networks import small_networks
from weights_files import arrays_of, caffemodel_of, npy_of

import minidl
from minidl import nn
from minidl.errors import ArgumentError, CheckpointError
from minidl.formats import write_safetensors
from minidl.vision.models import alexnet, load_network
from minidl.vision.models.networks import make_network, plans
from minidl.vision.models.rows import RowNet, parameter_shapes
from minidl.vision.statistics import PixelSums
from minidl.vision.transforms.preprocessing import CAFFE, TORCHVISION
from minidl.vision.transforms.presets import alexnet_evaluation
from minidl.vision.weights.convert import convert, save_weights
from minidl.vision.weights.layouts import row_keys, statistics_of


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    with small_networks():
        yield


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else b"".join(content))
    return path


def keyed(variant: str, layout: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    keys = row_keys(variant, plans(variant)[variant], layout)
    return {keys[row]: array for row, array in arrays.items()}


def assert_filled(net: RowNet, arrays: dict[str, np.ndarray]) -> None:
    assert len(arrays) == 2 * len(net.named_rows())
    for row, layer in net.named_rows().items():
        for kind in ("weight", "bias"):
            found = getattr(layer, kind).detach().numpy()
            assert found.tobytes() == np.ascontiguousarray(arrays[f"{row}.{kind}"]).tobytes()


@pytest.mark.parametrize("variant", [*plans()])
def test_shapes_and_keys_are_the_networks_own(variant: str) -> None:
    net = make_network(variant, 7)
    own = {
        f"{row}.{kind}": getattr(layer, kind)
        for row, layer in net.named_rows().items()
        for kind in ("weight", "bias")
    }
    shapes = parameter_shapes(plans(variant)[variant])
    assert list(shapes) == list(own)
    last = [*net.named_rows()][-1]
    for name, shape in shapes.items():
        assert tuple(own[name].shape)[name.startswith(last) :] == shape[name.startswith(last) :]
    named = dict(net.named_parameters())
    for name, key in row_keys(variant, plans(variant)[variant], "minidl").items():
        assert named[key] is own[name]


def test_torchvisions_keys_are_those_of_torchvision() -> None:
    keys = row_keys("torchvision", plans()["torchvision"], "torchvision")
    numbers = {key.rsplit(".", 1)[0] for key in keys.values()}
    assert numbers == {f"features.{i}" for i in (0, 3, 6, 8, 10)} | {
        f"classifier.{i}" for i in (1, 4, 6)
    }
    numbers = {
        key.split(".")[0]
        for key in row_keys("single-tower", plans()["single-tower"], "sequential").values()
    }
    assert numbers == {"0", "4", "8", "10", "12", "17", "20", "22"}


LAYOUTS = [
    ("torchvision", "torchvision", ""),
    ("torchvision", "rows", ""),
    ("single-tower", "minidl", ""),  # AlexNet_model.0.weight
    ("single-tower", "sequential", ""),
    ("single-tower", "sequential", "net."),
    ("cifar", "torchvision", ""),
    ("80sec", "minidl", ""),
    ("half", "torchvision", ""),
]


@pytest.mark.parametrize(("variant", "layout", "prefix"), LAYOUTS)
@pytest.mark.parametrize("kind", [".safetensors", ".npz", ".pth", "old.pth"])
def test_state_dicts(variant: str, layout: str, prefix: str, kind: str, tmp_path: Path) -> None:
    arrays = arrays_of(variant)
    state = {prefix + key: array for key, array in keyed(variant, layout, arrays).items()}
    path = tmp_path / f"x{kind}"
    if kind == ".safetensors":
        write(tmp_path, path.name, write_safetensors(state, {"format": "pt"}))
    elif kind == ".npz":
        np.savez(path, **state)  # type: ignore[arg-type]
    else:
        write(tmp_path, path.name, state_dict_file(state, old=kind == "old.pth"))
    net = load_network(path)
    assert net.variant == variant and not net.training
    assert_filled(net, arrays)
    expected = TORCHVISION if variant in ("torchvision", "single-tower") else None
    assert net.preprocessing == expected


@pytest.mark.parametrize(
    "wrap",
    [
        lambda key: f"module.{key}",
        lambda key: f"_orig_mod.{key}",
        lambda key: key.replace("features.", "features.module."),  # PyTorch's ImageNet example
    ],
)
def test_checkpoints_of_pytorchs_programs(wrap: Any, tmp_path: Path) -> None:
    arrays = arrays_of("torchvision")
    state = {wrap(key): array for key, array in keyed("torchvision", "torchvision", arrays).items()}
    content = state_dict_file(state, epoch=3, arch="alexnet", best_acc1=0.5)
    net = alexnet(weights=write(tmp_path, "model_best.pth", content), num_classes=7)
    assert net.variant == "torchvision" and net.training
    assert_filled(net, arrays)


@pytest.mark.parametrize("as_dicts", [False, True])
def test_bvlc_alexnet_npy(as_dicts: bool, tmp_path: Path) -> None:
    arrays = arrays_of("caffe")
    path = write(tmp_path, "bvlc_alexnet.npy", npy_of(arrays, as_dicts))
    net = alexnet(weights=path, num_classes=7)
    assert net.variant == "caffe" and net.preprocessing == CAFFE and net.input_scale == "pixels"
    assert_filled(net, arrays)
    # Python agrees about the handwritten file.
    known = np.load(path, encoding="bytes", allow_pickle=True).item()
    assert known[b"conv2"][b"weights" if as_dicts else 0].shape == (5, 5, 48, 256)
    assert known[b"fc6"][b"weights" if as_dicts else 0].shape == (9216, 64)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("order", "variant"), [("norm pool", "caffe"), ("pool norm", "caffenet")])
def test_caffemodels(old: bool, order: str, variant: str, tmp_path: Path) -> None:
    arrays = arrays_of(variant)
    content = caffemodel_of(arrays, order, old, last="fc8_flickr")
    net = load_network(write(tmp_path, "x.caffemodel", content))
    assert net.variant == variant and net.preprocessing == CAFFE
    assert_filled(net, arrays)


def test_a_variant_may_be_named(tmp_path: Path) -> None:
    arrays = arrays_of("paper")
    path = tmp_path / "x"
    minidl.save({"model": keyed("paper", "minidl", arrays)}, path)
    with pytest.raises(CheckpointError, match="name one: paper, original, caffe, caffenet"):
        load_network(path)
    for variant in ("paper", "original", "caffe"):
        assert load_network(path, variant).variant == variant
        for net in alexnet(variant, 7, weights=path), alexnet(variant, weights=path):
            assert net.variant == variant
            assert_filled(net, arrays)
    with pytest.raises(CheckpointError, match="do not fit torchvision"):
        load_network(path, "torchvision")
    with pytest.raises(CheckpointError, match=r"fc8.weight has shape \(1000, 64\), .* \(7, 64\)"):
        alexnet("paper", 1000, weights=path)


def test_a_runs_folder(tmp_path: Path) -> None:
    from minidl.training import Checkpoints

    arrays = arrays_of("six-conv")
    model = {k: minidl.from_numpy(a) for k, a in keyed("six-conv", "minidl", arrays).items()}
    Checkpoints(tmp_path).save({"model": model, "options": {"variant": "six-conv"}}, best=True)
    net = alexnet(weights=tmp_path, num_classes=7)
    assert net.variant == "six-conv"
    assert_filled(net, arrays)


def test_a_run_may_have_changed_the_network(tmp_path: Path) -> None:
    from minidl.training import Checkpoints

    changes = {"without": ["norm1", "conv4"], "overlap": False, "groups": 1, "activation": "tanh"}
    made = alexnet("paper", 7, dropout=0.25, **changes)  # type: ignore[arg-type]
    settings = {"variant": "paper", "dropout": 0.25, "network": changes}
    (tmp_path / "run").mkdir()
    Checkpoints(tmp_path / "run").save({"model": made.state_dict(), "options": settings}, best=True)
    images = minidl.randn(2, 3, 227, 227)
    expected = made.eval()(images)
    path = tmp_path / "x.safetensors"
    convert(tmp_path / "run", path)
    convert(path, tmp_path / "minidl", target_kind="minidl")
    for source in (tmp_path / "run", path, tmp_path / "minidl"):
        assert minidl.equal(load_network(source)(images), expected)
        assert minidl.equal(alexnet(weights=source, num_classes=7).eval()(images), expected)


@pytest.mark.parametrize(
    "options",
    [
        '{"without": ["conv9"]}',
        '{"x": 1}',
        "[]",
        "{",
        '{"groups": "a"}',
        '{"input_mode": "x"}',
        '{"without": 3}',
        '{"activation": 3}',
        '{"width": "a"}',
        '{"width": NaN}',
        '{"width": 1e999}',
        '{"num_classes": 7}',
        '{"dropout": null}',
        '{"dropout": "abc"}',
        '{"without": [1, "a"]}',
        '{"lrn_groups": "x"}',
        '{"lrn_groups": 7}',
    ],
)
def test_impossible_options_are_refused(options: str, tmp_path: Path) -> None:
    state = keyed("paper", "minidl", arrays_of("paper"))
    metadata = {"variant": "paper", "options": options}
    path = write(tmp_path, "x.safetensors", write_safetensors(state, metadata))
    with pytest.raises(CheckpointError, match=r"x\.safetensors'"):
        load_network(path)


def test_half_precision_widens(tmp_path: Path) -> None:
    arrays = {n: a.astype(np.float16) for n, a in arrays_of("80sec").items()}
    state = keyed("80sec", "minidl", arrays)
    net = load_network(write(tmp_path, "x.safetensors", write_safetensors(state, {})))
    assert_filled(net, {name: array.astype(np.float32) for name, array in arrays.items()})


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("features.0.bias"),
        lambda state: state.update({"more": np.zeros(1, np.float32)}),
        lambda state: state.update({"features.0.weight": np.zeros((64, 3, 11, 10), np.float32)}),
        lambda state: state.update({"features.0.bias": np.zeros(64, np.int64)}),
        lambda state: state.update({"classifier.6.bias": np.zeros(6, np.float32)}),
        lambda state: state.update({"classifier.6.bias": np.zeros((), np.float32)}),
    ],
)
def test_what_does_not_fit_is_refused(change: Any, tmp_path: Path) -> None:
    state = keyed("torchvision", "torchvision", arrays_of("torchvision"))
    change(state)
    path = write(tmp_path, "x.pth", state_dict_file(state))
    with pytest.raises(CheckpointError, match=r"x\.pth': its .* arrays .* do not fit"):
        load_network(path)


@pytest.mark.parametrize(
    "value", [[], {}, 3, {"conv1": []}, {"conv1": [1, 2]}, {"conv1": "ab"}, {3: 4}]
)
def test_files_without_weights(value: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_network(write(tmp_path, "x.npy", npy_file(value)))


def test_a_checkpoint_that_holds_itself(tmp_path: Path) -> None:
    from pickled_programs import Raw, zip_file

    content = zip_file(Raw(b"}q\x00X\x05\x00\x00\x00modelh\x00s"), {})
    with pytest.raises(CheckpointError, match="a value in itself"):
        load_network(write(tmp_path, "x.pth", content))


def save_run(folder: Path, statistics: Any = None, **options: Any) -> tuple[RowNet, Path]:
    """Save what a training program saves of a network with untrained weights."""
    run = {"variant": "paper", "dropout": 0.5, "classes": [*"abcde"], **options}
    net = alexnet("paper", 5, init=options.get("init"))
    pictures = {"pictures": [9, 1], "statistics": statistics and asdict(statistics)}
    state = {"model": net.state_dict(), "options": run, "pictures": pictures}
    minidl.save(state, folder / "last.safetensors")
    return net, folder / "last.safetensors"


@pytest.mark.parametrize("init", ["clear", "torch", "caffe", None])
def test_initial_values_of_a_run_say_how_its_pictures_were_prepared(
    tmp_path: Path, init: str | None
) -> None:
    net, path = save_run(tmp_path, init=init)
    found = load_network(path)
    assert found.input_scale == net.input_scale and found.preprocessing is not None
    noise = np.random.default_rng(0).integers(256, size=(300, 280, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    expected = alexnet_evaluation(227, net.input_scale)(picture).numpy()
    given = found.preprocessing.transforms()(picture).numpy()
    np.testing.assert_allclose(given, expected, atol=1e-6 * abs(expected).max())
    for kind in ("safetensors", "minidl"):  # it goes along
        convert(path, tmp_path / "out", target_kind=kind)
        assert load_network(tmp_path / "out").preprocessing == found.preprocessing


def test_a_run_brings_its_own_colors(tmp_path: Path) -> None:
    sums = PixelSums(height=4, width=4)
    sums.add(np.random.default_rng(0).integers(256, size=(4, 4, 3), dtype=np.uint8))
    colors = sums.statistics()
    known = load_network(save_run(tmp_path, colors, init="he")[1]).preprocessing
    assert known is not None and known.mean == tuple(colors.mean) and known.std == tuple(colors.std)
    known = load_network(save_run(tmp_path, colors, init="paper")[1]).preprocessing
    assert known is not None and known.mean == tuple(255 * colors.mean) and known.std == (1, 1, 1)


def test_damaged_statistics_of_a_run_are_refused(tmp_path: Path) -> None:
    sums = PixelSums(height=4, width=4)
    sums.add(np.zeros((4, 4, 3), np.uint8))
    known = replace(sums.statistics(), mean=np.full(3, np.nan))
    with pytest.raises(CheckpointError, match="last.safetensors' is damaged: statistics: mean: "):
        load_network(save_run(tmp_path, known, init="he")[1])
    for damaged in (7, {}, [1, 2]):
        with pytest.raises(CheckpointError, match="damaged: statistics: expected the fields"):
            statistics_of({"pictures": {"statistics": damaged}}, "x")


@pytest.mark.parametrize("pictures", [None, 3, [1], {}, {"statistics": None}])
def test_a_file_without_statistics(pictures: object) -> None:
    assert statistics_of({"pictures": pictures}, "x") is None
    assert statistics_of(pictures, "x") is None


def test_a_run_at_another_size_says_so(tmp_path: Path) -> None:
    network = {"input_mode": "crop67", "width": 0.5}
    net = alexnet("paper", 5, init="scaled", **network)  # type: ignore[arg-type]
    run = {"variant": "paper", "dropout": 0.5, "init": "scaled", "network": network}
    state = {"model": net.state_dict(), "options": run, "pictures": {"statistics": None}}
    minidl.save(state, tmp_path / "x.safetensors")
    found = load_network(tmp_path / "x.safetensors")
    assert found.input_size == (3, 67, 67) and found.input_scale == "normalized"
    assert found.preprocessing is not None
    assert (found.preprocessing.crop, found.preprocessing.resize) == (67, 80)


def test_a_fine_tuned_run_keeps_the_preprocessing_of_its_first_weights(tmp_path: Path) -> None:
    _, path = save_run(tmp_path, init="he", preprocessing=CAFFE.to_dict())
    assert load_network(path).preprocessing == CAFFE
    for damaged in ({"crop": 0}, 7):
        _, path = save_run(tmp_path, init="he", preprocessing=damaged)
        with pytest.raises(CheckpointError, match="preprocessing"):
            load_network(path)


OPTIONS: list[dict[str, Any]] = [
    {"dropout": np.zeros(3)},
    {"network": np.zeros(3)},
    {"network": {3: 4}},
    {"network": {"num_classes": 10}},
    {"input_scale": np.zeros(3)},
    {"input_scale": "bytes"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("variant", ["80sec", "torchvision"])
def test_impossible_settings_of_a_run_are_refused(
    variant: str, options: Any, tmp_path: Path
) -> None:
    state = keyed(variant, "minidl", arrays_of(variant))
    content = state_dict_file(state, options={"variant": variant, **options})
    with pytest.raises(CheckpointError, match=r"x\.pth' (is damaged|names impossible options)"):
        load_network(write(tmp_path, "x.pth", content))


def test_a_network_without_dropout_takes_a_run_that_names_one(tmp_path: Path) -> None:
    arrays = arrays_of("80sec")
    model = {k: minidl.from_numpy(a) for k, a in keyed("80sec", "minidl", arrays).items()}
    minidl.save({"model": model, "options": {"variant": "80sec", "dropout": 0.0}}, tmp_path / "x")
    assert_filled(load_network(tmp_path / "x"), arrays)


@pytest.mark.parametrize("names", [["a"], [*"abcdefgh"]])
def test_names_of_other_classes_are_refused(names: list[str], tmp_path: Path) -> None:
    state = keyed("80sec", "minidl", arrays_of("80sec"))
    content = write_safetensors(state, {"variant": "80sec", "classes": json.dumps(names)})
    with pytest.raises(CheckpointError, match=r"x' is damaged: it names . classes, .* has 7"):
        load_network(write(tmp_path, "x", content))


def test_state_dicts_of_caffes_networks_bring_caffes_preprocessing(tmp_path: Path) -> None:
    arrays = arrays_of("caffe")
    state = keyed("caffe", "torchvision", arrays)
    path = write(tmp_path, "x.pth", state_dict_file(state))
    for variant in ("caffe", "caffenet"):
        assert load_network(path, variant).preprocessing == CAFFE
    assert load_network(path, "paper").preprocessing is None
    made = alexnet("caffe", 7)
    minidl.save(made.state_dict(), tmp_path / "own")  # by minidl: perhaps its own training
    save_weights(made, tmp_path / "named")
    for name in ("own", "named"):
        assert load_network(tmp_path / name, "caffe").preprocessing is None


def test_options_of_a_file_give_way_to_those_that_are_named(tmp_path: Path) -> None:
    made = {"lrn_groups": 2, "dropout": 0.25, "width": 0.5, "input_mode": "crop67"}
    path = tmp_path / "x"
    save_weights(alexnet("paper", 7, **made), path, options=made)  # type: ignore[arg-type]
    for given, dropout, towers in (
        ({}, 0.25, 2),
        ({"dropout": 0.5}, 0.5, 2),
        ({"activation": "tanh"}, 0.25, 2),
        ({"lrn_groups": 1}, 0.25, 1),
    ):
        for names in ((), ("paper",)):
            net = alexnet(*names, weights=path, **given)  # type: ignore[arg-type]
            assert net.classifier.drop6.p == dropout
            assert net.features.norm1.groups == towers and net.input_size == (3, 67, 67)
            assert isinstance(net.features[1], nn.Tanh if "activation" in given else nn.ReLU)
    with pytest.raises(CheckpointError, match="do not fit the network"):
        alexnet("paper", weights=path, width=0.25)


def test_options_that_a_file_does_not_name_help_to_find_the_variant(tmp_path: Path) -> None:
    options: Any = {"width": 0.5, "without": iter(["norm1"])}
    made = alexnet("torchvision", 7, width=0.5)
    minidl.save(made.state_dict(), tmp_path / "x")
    assert_filled(alexnet(weights=tmp_path / "x", width=0.5), keyed_arrays(made))
    with pytest.raises(ArgumentError, match="without: there is no layer 'norm1'"):
        alexnet("torchvision", weights=tmp_path / "x", **options)
    minidl.save(alexnet("torchvision", 7).state_dict(), tmp_path / "x")
    with pytest.raises(ArgumentError, match="lrn_groups: 'torchvision' has no response"):
        alexnet(weights=tmp_path / "x", lrn_groups=2)


def keyed_arrays(net: RowNet) -> dict[str, np.ndarray]:
    return {
        f"{row}.{kind}": getattr(layer, kind).detach().numpy()
        for row, layer in net.named_rows().items()
        for kind in ("weight", "bias")
    }
