"""The counts behind the predictions for a GPU equal those of an executed step."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import minidl
from minidl import nn
from minidl.kernels import cuda

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the scripts importable by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize(("variant", "count"), [("paper", 1), ("80sec", 3)])
def test_the_record_is_what_the_simulator_counts(gpu: str, variant: str, count: int) -> None:
    import gpu_model

    recorded, done = (gpu_model.record(variant, count, execute) for execute in (False, True))
    assert recorded.launches == done.launches
    assert [layer[1:] for layer in recorded.layers.values()] == [
        layer[1:] for layer in done.layers.values()
    ]
    products = [launch for launch in done.launches if launch.product]
    assert done.counted["products"] == len(products) > 0
    assert done.counted["launches"] == len(done.launches) - len(products)
    assert "the same as the record, layer by layer" in gpu_model.agreement(recorded, done)
    done.launches.append(done.launches[0])
    with pytest.raises(SystemExit, match="does not agree"):
        gpu_model.agreement(recorded, done)


def test_a_step_neither_copies_nor_waits(gpu: str) -> None:
    import gpu_model

    counted = gpu_model.record("80sec", 2, execute=True).counted
    names = ("copies from the host", "copies to the host", "waits")
    assert {name: counted[name] for name in names} == dict.fromkeys(names, 0)


def test_the_papers_step_meets_the_targets_that_can_be_counted(gpu: str) -> None:
    import gpu_model

    step = gpu_model.record("paper", 128)
    least = sum(gpu_model.floor(step).values())
    size = sum(gpu_model.moved(launch, step) for launch in step.launches)
    assert len(step.launches) <= gpu_model.AIMS["launches"]
    assert least <= size * 1.001 and size <= gpu_model.AIMS["traffic"] * least
    flop = sum(launch.product.flop for launch in step.launches if launch.product)
    # 529 GFLOP, plus the bias's rows and the padding to a multiple of four.
    assert 529e9 < flop < 1.005 * 529e9
    lines = gpu_model.layers_table(step, gpu_model.floor(step)).splitlines()
    # a header, loss and layers (without relu and flatten) twice, flatten's copy, update, sum
    assert len(lines) == 2 + 2 * (1 + 15) + 1 + 1 + 1


def test_mixed_precision_moves_less(gpu: str) -> None:
    import gpu_model

    steps = [gpu_model.record("paper", 128, amp=amp) for amp in (False, True)]
    full, half = (sum(gpu_model.moved(launch, step) for launch in step.launches) for step in steps)
    assert half <= 0.6 * full and len(steps[1].launches) <= gpu_model.AIMS["launches"]
    assert {item.product.compute for item in steps[1].launches if item.product} == {"FP16"}
    assert steps[1].counted["waits"] == steps[1].counted["copies to the host"] == 1


def test_the_mixed_record_is_what_the_simulator_counts(gpu: str) -> None:
    import gpu_model

    recorded, done = (gpu_model.record("80sec", 3, execute, amp=True) for execute in (False, True))
    assert recorded.launches == done.launches


def test_products_are_recorded_with_cublas_sizes(gpu: str) -> None:
    import gpu_record

    simulator = gpu_record.simulate()
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).to(gpu)
    x = minidl.zeros(4, 5, device=gpu)
    recorder = gpu_record.Recorder()
    with recorder.recording(model), simulator.count() as used:
        model(x).sum().backward()
    products = [launch.product for launch in recorder.launches if launch.product]
    # cuBLAS is column-major, so m and n are swapped.
    assert [(p.n, p.m, p.k) for p in products] == [call[1:4] for call in used.cublas_calls]
    assert {p.compute for p in products} == {"FP32"}
    first = next(launch for launch in recorder.launches if launch.product)
    assert (first.layer, first.phase) == ("0", "forward")
    result = 4 * 4 * 7
    assert first.written == result
    assert first.read == 4 * (4 * 5 + 5 * 7)
    backward = Counter(x.layer for x in recorder.launches if x.product and x.phase == "backward")
    assert backward == {"0": 1, "2": 2}


def test_recording_leaves_no_trace(gpu: str) -> None:
    import gpu_record

    model = nn.Linear(3, 2).to(gpu)

    def state() -> tuple[Any, ...]:
        passes = dict(minidl.nn.fusion.PAIRS)
        call = nn.Module.__call__
        return (
            cuda.Source.launch,
            minidl.autograd.function.Context,
            cuda.cupy().RawModule,
            call,
            passes,
        )

    before = state()
    backwards = [
        kind.__dict__.get("backward") for kind in minidl.autograd.Function.__subclasses__()
    ]
    with (
        pytest.raises(ZeroDivisionError),
        gpu_record.Recorder(execute=False).recording(model),
    ):
        model(minidl.zeros(1, 3, device=gpu))
        raise ZeroDivisionError
    assert before == state()
    assert backwards == [
        kind.__dict__.get("backward") for kind in minidl.autograd.Function.__subclasses__()
    ]


def test_columns_of_some_images_read_their_part_of_the_input(
    gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu_record

    from minidl.kernels.cuda import conv

    monkeypatch.setattr(conv, "COLUMN_BYTES", 1)  # one image at a time
    layer = nn.Conv2d(2, 4, 3, padding=1).to(gpu)
    x = minidl.zeros(5, 2, 8, 8, device=gpu, requires_grad=True)
    recorder = gpu_record.Recorder()
    with recorder.recording(layer):
        layer(x).sum().backward()
    forward = [x for x in recorder.launches if x.kernel == "im2col" and x.phase == "forward"]
    assert len(forward) == 5
    assert sum(launch.read or 0 for launch in forward) == 4 * x.numel()
    back = [launch for launch in recorder.launches if launch.kernel == "col2im"]
    assert sum(launch.written or 0 for launch in back) == 4 * x.numel()


def test_parameters_of_a_kernel() -> None:
    import gpu_record

    code = """
    extern "C" __global__ void __launch_bounds__(256) f(
        const T* x,  // read, not written
        T* __restrict__ y, int n) {}
    extern "C" __global__ void ff(T* z) {}
    """
    assert gpu_record.parameters(code, "f") == [("x", True), ("y", False), ("n", False)]
    assert gpu_record.parameters(code, "ff") == [("z", False)]
    assert gpu_record.parameters(code, "g") == []


def test_time_of_products_by_hand() -> None:
    import gpu_model
    from gpu_record import Product

    card = gpu_model.Card("", 100, 1e12, 8e12, 16e12, 1e12, 0.5, 0.5, 0.5)
    # 100 tiles of 256 x 128: one full round at the full rates.
    full = Product(2560, 1280, 4096, "FP32", False)
    assert math.isclose(gpu_model.product_seconds(full, card, False), full.flop / 0.5e12)
    # 101 tiles: a second round for the last one. Other tiles or parts lose less than that.
    more = gpu_model.product_seconds(Product(2560, 1281, 4096, "FP32", False), card, False)
    assert 1.02 * full.flop / 0.5e12 < more < 2 * full.flop / 0.5e12
    # A product by a vector: its matrix passes through memory once.
    thin = Product(1, 4096, 4096, "FP32", False)
    moved = 4 * (4096 + 4096 * 4096 + 4096)
    assert gpu_model.product_seconds(thin, card, True) >= moved / 0.5e12


def test_floor_by_hand() -> None:
    import gpu_model

    layers = {
        "conv1": (nn.Conv2d(2, 4, 3), (5, 2, 8, 8), (5, 4, 6, 6)),
        "conv2": (nn.Conv2d(4, 4, 3, groups=2), (5, 4, 6, 6), (5, 4, 4, 4)),
        "pool": (nn.MaxPool2d(2), (5, 4, 4, 4), (5, 4, 2, 2)),
        "fc": (nn.Linear(16, 3), (5, 16), (5, 3)),
    }
    floor = gpu_model.floor(gpu_model.Step(5, [], layers, 10, 0, {}))
    columns, x, y, weights = 5 * 36 * 9 * 2, 5 * 128, 5 * 144, 2 * 4 * 9 + 4
    assert floor["conv1", "forward"] == 4 * (x + 2 * columns + weights + y)
    assert floor["conv1", "backward"] == floor["conv1", "forward"]  # no gradient of the pictures
    columns, x, y, weights = 5 * 16 * 9 * 4, 5 * 144, 5 * 64, 2 * 4 * 9 + 4
    assert floor["conv2", "backward"] == 2 * 4 * (x + 2 * columns + weights + y)
    assert floor["pool", "forward"] == 4 * (5 * 64 + 5 * 16) + 5 * 16
    assert floor["fc", "backward"] == 2 * 4 * (5 * 16 + 16 * 3 + 3 + 5 * 3)
    assert floor["update", "update"] == 200


def test_a_step_is_measured_and_predicted_layer_by_layer(gpu: str) -> None:
    command = [sys.executable, str(BENCHMARKS / "train_step.py"), "--device", "gpu-simulated"]
    result = subprocess.run([*command, "--smoke"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "The measured times mean nothing." in result.stdout
    rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line.startswith("|")]
    layers = {(row[0].strip(), row[1].strip()): row[2:] for row in rows if len(row) == 6}
    for key in (("conv1", "forward"), ("conv1", "backward"), ("update", "update"), ("sum", "")):
        measured, predicted = float(layers[key][1]), float(layers[key][2])
        assert measured > 0 and predicted > 0
    from gpu_step import card_of

    assert card_of("NVIDIA A100-SXM4-80GB") is not None and card_of("Tesla T4") is None
