"""A training loop as in the examples: the same results on every device, no waiting for a GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from helpers import asynchronous
from PIL import Image

import minidl
from minidl import nn
from minidl.data import DataLoader, Dataset, DeviceBatches
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD, param_groups
from minidl.optim.lr_scheduler import LambdaLR
from minidl.vision.metrics import RunningMeans, accuracy, evaluate
from minidl.vision.transforms.presets import alexnet_finish, alexnet_training

SIZE, BATCH, STEPS = 21, 6, 8  # the last batch is smaller


class Noise(Dataset):
    """Pictures with a bright corner, labeled by the corner."""

    def __init__(self) -> None:
        self.transform = alexnet_training(SIZE, "normalized", jitter=True, raw=True)

    def __getitem__(self, index: int) -> Any:
        pixels = np.random.default_rng(index).integers(0, 200, (24 + index % 3, 24, 3), np.uint8)
        pixels[:12, :, index % 3] += 50
        return self.transform(Image.fromarray(pixels)), index % 3

    def __len__(self) -> int:
        return BATCH * STEPS - 2


class Training:
    """A small network with every kind of layer that AlexNet has."""

    def __init__(self, device: str) -> None:
        minidl.manual_seed(3)
        self.model = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2, padding=1), nn.ReLU(), nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, 2), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 4 * 4, 16), nn.ReLU(), nn.Linear(16, 3),
        ).to(device)  # fmt: skip
        groups = param_groups(self.model, 0.05, 5e-4, bias_lr_multiplier=2)
        self.optimizer = SGD(groups, momentum=0.9, rate_in_velocity=True)
        self.scheduler = LambdaLR(self.optimizer, lambda step: math.cos(step / STEPS))
        self.means = RunningMeans()
        self.device = device

    def steps(self, start: int = 0) -> Iterator[int]:
        """Train for an epoch, or the rest of one; yield after each step."""
        loader = DataLoader(Noise(), BATCH, shuffle=True, num_workers=1, pin_memory=True)
        batches = DeviceBatches(loader.iterate(start), self.device, alexnet_finish("normalized"))
        for step, (images, labels) in enumerate(batches, start=start + 1):
            logits = self.model(images)
            loss = cross_entropy(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.means.update(loss, *accuracy(logits, labels, (1, 2)), weight=len(labels))
            yield step

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler,
                "means": self.means}  # fmt: skip

    def weights(self) -> dict[str, np.ndarray]:
        return {name: p.detach().cpu().numpy().copy() for name, p in self.model.named_parameters()}


def test_the_weights_after_an_epoch_are_those_of_the_cpu(device: str) -> None:
    theirs = Training("cpu")
    before = theirs.weights()
    assert list(theirs.steps()) == list(range(1, STEPS + 1))
    ours = Training(device)
    assert list(ours.steps()) == list(range(1, STEPS + 1))
    for name, expected in theirs.weights().items():
        found = ours.weights()[name]
        assert np.abs(expected - before[name]).max() > 1e-3  # it has learned something
        # Sums in a different order change the last digit of every number, STEPS times.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    found_rows, expected_rows = ours.means.read(), theirs.means.read()
    np.testing.assert_allclose(found_rows, expected_rows, rtol=1e-4)
    assert len(found_rows) == STEPS and ours.means.weight == len(Noise())


def test_a_step_copies_the_batch_and_waits_for_nothing(simulator: ModuleType, gpu: str) -> None:
    training = Training(gpu)
    steps = training.steps()
    for _ in range(3):  # compiles kernels and creates the optimizer's state
        next(steps)
    for _ in range(STEPS - 4):  # the last step has no batch to upload
        with asynchronous(simulator, False), simulator.count() as used:
            next(steps)
        assert (used.h2d, used.d2h, used.h2h, used.syncs) == (1, 0, 0, 0), dict(used.kernels)
    with simulator.count() as used:
        assert len(training.means.read()) == STEPS - 1
    assert (used.d2h, used.launches) == (1, 0)


def test_evaluation_waits_at_its_end(simulator: ModuleType, gpu: str) -> None:
    training = Training(gpu)
    finish = alexnet_finish("normalized")
    loader = DataLoader(Noise(), BATCH)
    evaluate(training.model, DeviceBatches(loader, gpu, finish))
    with asynchronous(simulator, False), simulator.count() as used:
        evaluate(training.model, DeviceBatches(loader, gpu, finish))
    assert (used.h2d, used.d2h) == (STEPS, 1)
    assert used.syncs <= 1


def test_a_resumed_epoch_ends_with_the_same_bits(device: str, tmp_path: Path) -> None:
    whole = Training(device)
    assert list(whole.steps())[-1] == STEPS
    first = Training(device)
    for step in first.steps():
        if step == 4:
            break
    state = {name: part.state_dict() for name, part in first.parts().items()}
    minidl.save({**state, "rng": minidl.get_rng_state()}, tmp_path / "last.safetensors")

    second = Training(device)
    minidl.manual_seed(99)
    state = minidl.load(tmp_path / "last.safetensors", map_location="cpu")
    for name, part in second.parts().items():
        part.load_state_dict(state[name])
    minidl.set_rng_state(state["rng"])
    assert list(second.steps(start=4)) == [5, 6, 7, 8]
    for name, expected in whole.weights().items():
        np.testing.assert_array_equal(second.weights()[name], expected)
    whole.means.read()
    second.means.read()
    assert second.means.values() == whole.means.values()
