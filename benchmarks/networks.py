"""The networks as lists of layers, written with either library's ``nn``.

PyTorch's contenders are made from them; minidl's come from ``minidl.vision.models``. A test
compares the two, layer by layer.
"""

from __future__ import annotations

from typing import Any

#: Channels, height and width of an image.
IMAGE = {
    "paper": (3, 227, 227),
    "single-tower": (3, 224, 224),
    "torchvision": (3, 224, 224),
    "80sec": (3, 32, 32),
    "lenet5": (1, 28, 28),
}
CLASSES = {"paper": 1000, "single-tower": 1000, "torchvision": 1000, "80sec": 10, "lenet5": 10}


def _paper(nn: Any) -> list[Any]:
    return [
        nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(inplace=True),
        nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(inplace=True),
        nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(9216, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Linear(4096, 1000),
    ]  # fmt: skip


def _single_tower(nn: Any) -> list[Any]:
    return [
        nn.Conv2d(3, 96, 11, stride=4, padding=2), nn.ReLU(inplace=True),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(inplace=True),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(9216, 4096), nn.ReLU(inplace=True),
        nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
        nn.Linear(4096, 1000),
    ]  # fmt: skip


def _torchvision(nn: Any) -> list[Any]:
    return [
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d((6, 6)), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(9216, 4096), nn.ReLU(inplace=True),
        nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
        nn.Linear(4096, 1000),
    ]  # fmt: skip


def _80sec(nn: Any) -> list[Any]:
    return [
        nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(inplace=True), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(inplace=True), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(1024, 64), nn.ReLU(inplace=True),
        nn.Linear(64, 10),
    ]  # fmt: skip


def _lenet5(nn: Any) -> list[Any]:
    return [
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.Tanh(),
        nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, 10),
    ]  # fmt: skip


_LAYERS = {
    "paper": _paper,
    "single-tower": _single_tower,
    "torchvision": _torchvision,
    "80sec": _80sec,
    "lenet5": _lenet5,
}


def layers(nn: Any, variant: str) -> list[Any]:
    """Make the layers of a network with the constructors of `nn`."""
    return _LAYERS[variant](nn)


def sequence(nn: Any, variant: str) -> Any:
    """Make a network from the layers of `nn`, with PyTorch's initial values."""
    return nn.Sequential(*layers(nn, variant))


def own(variant: str) -> Any:
    """Make minidl's network of a name, with PyTorch's initial values."""
    from minidl.vision.models import lenet5
    from minidl.vision.models.networks import make_network

    return (
        lenet5() if variant == "lenet5" else make_network(variant, CLASSES[variant], init="torch")
    )


def network(lib: Any, contender: str, variant: str) -> Any:
    """Make a contender's network."""
    if contender == "minidl":
        return own(variant)
    model = sequence(lib.nn, variant)
    if "channels_last" in contender:
        model = model.to(memory_format=lib.channels_last)
    return lib.compile(model) if "compile" in contender else model


def arrays(variant: str, count: int) -> tuple[Any, Any]:
    """Return the same random images, channels-last, and labels for every contender."""
    import numpy as np

    channels, height, width = IMAGE[variant]
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((count, height, width, channels), dtype=np.float32)
    return pixels, rng.integers(0, CLASSES[variant], count)


def batch(lib: Any, contender: str, variant: str, count: int) -> tuple[Any, Any]:
    """Return images and labels as a library's tensors, in the contender's memory layout.

    PyTorch's layout is channels-first unless the contender is called channels_last; minidl's is
    channels-last, as from its loader.
    """
    pixels, classes = arrays(variant, count)
    labels = lib.from_numpy(classes)
    images = lib.from_numpy(pixels).permute(0, 3, 1, 2)
    if contender != "minidl" and "channels_last" not in contender:
        images = images.contiguous()
    return images, labels
