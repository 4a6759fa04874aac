"""Which code runs: a kernel or a page's plain code, and ``minidl.reference``."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import kernels, nn
from minidl.nn import functional as F
from minidl.vision.models import alexnet


def gradients(model: nn.Module, images: minidl.Tensor, labels: minidl.Tensor) -> dict[str, Any]:
    """The logits, the loss and all gradients of one step, by name."""
    minidl.manual_seed(5)  # dropout's masks
    model.zero_grad()
    logits = model(images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    named = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"logits": logits, "loss": loss, **named}


def assert_same_step(model: nn.Module, images: minidl.Tensor, labels: minidl.Tensor) -> None:
    """Use float64: in float32, rounding changes a few near ties of ReLU and pools."""
    model, images = model.double(), images.double()
    fast = gradients(model, images, labels)
    with minidl.reference():
        plain = gradients(model, images, labels)
    for name, tensor in plain.items():
        expected = tensor.numpy(force=True)
        # Sums of some ten thousand products, added in a different order.
        np.testing.assert_allclose(
            fast[name].numpy(force=True), expected, atol=1e-11 * np.abs(expected).max(), rtol=0,
            err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("variant", ["original"])
def test_a_step_of_alexnet(variant: str) -> None:
    model = alexnet(variant, num_classes=10, init="he")
    images = minidl.randn(1, *model.input_size)
    assert_same_step(model, images, minidl.tensor([3]))


@minidl.no_grad()
@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_logits_of_alexnet(variant: str) -> None:
    model = alexnet(variant, num_classes=10, init="he").eval()
    images = minidl.randn(2, *model.input_size)
    fast = model(images).numpy()
    with minidl.reference():
        plain = model(images).numpy()
    np.testing.assert_allclose(fast, plain, rtol=0, atol=1e-5 * np.abs(plain).max())


def test_a_step_of_a_small_net(device: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.LocalResponseNorm(5, alpha=1.0),
        nn.MaxPool2d(3, 2), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(), nn.AvgPool2d(2),
        nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Dropout(),
        nn.Linear(16, 4),
    ).to(device)  # fmt: skip
    images = minidl.randn(6, 3, 19, 19).to(device)
    assert_same_step(model, images, minidl.tensor([0, 1, 2, 3, 0, 1]).to(device))


def test_the_choice_of_a_kernel() -> None:
    numbers = np.zeros(2, np.float32)
    assert kernels.of("relu", numbers).__name__ == "minidl.kernels.cpu.relu"
    assert kernels.of("relu", numbers.astype(np.float64)) is not None
    assert kernels.of("relu", numbers.astype(np.float16)) is None
    assert kernels.of("relu", numbers.astype(np.int64)) is None
    assert kernels.of("sigmoid", numbers) is None  # none pays off on the CPU


def test_both_sides_have_the_same_functions() -> None:
    """A page calls either device's functions by the same names and keywords."""
    import importlib
    import inspect
    from pathlib import Path

    root = Path(kernels.__file__).parent
    engine = {"__init__", "blocks", "lanes", "memory", "elementwise", "epilogue"}
    names = {path.stem for path in (root / "cpu").glob("*.py")}
    names &= {path.stem for path in (root / "cuda").glob("*.py")}
    assert len(names - engine) >= 4
    for name in sorted(names - engine):
        sides = [
            importlib.import_module(f"minidl.kernels.{side}.{name}") for side in ("cpu", "cuda")
        ]
        for function in ("forward", "backward"):
            if all(hasattr(side, function) for side in sides):
                cpu, cuda = (inspect.signature(getattr(side, function)) for side in sides)
                assert list(cpu.parameters) == list(cuda.parameters), (name, function)


def test_reference_is_a_context_and_a_decorator_for_one_thread() -> None:
    assert not kernels.is_reference()
    with minidl.reference(), minidl.reference():
        assert kernels.is_reference()
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(kernels.is_reference()))
        thread.start()
        thread.join()
        assert seen == [False]
    assert not kernels.is_reference()

    @minidl.reference()
    def inside() -> bool:
        """A docstring that stays."""
        return kernels.is_reference()

    assert inside() and inside.__doc__ == "A docstring that stays."
    with pytest.raises(ZeroDivisionError), minidl.reference():
        raise ZeroDivisionError
    assert not kernels.is_reference()


def test_the_forward_decides_the_code_of_the_backward(device: str) -> None:
    """The backward matches its forward, inside or outside the context."""
    x = minidl.randn(2, 6, 3, 3).to(device).requires_grad_()
    with minidl.reference():
        plain = F.local_response_norm(x, 5, alpha=1.0).square().sum()
    fast = F.local_response_norm(x, 5, alpha=1.0).square().sum()
    (a,) = minidl.autograd.grad(plain, x)
    with minidl.reference():
        (b,) = minidl.autograd.grad(fast, x)
    np.testing.assert_allclose(a.numpy(force=True), b.numpy(force=True), rtol=1e-5, atol=1e-6)
