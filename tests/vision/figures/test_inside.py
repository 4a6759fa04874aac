"""minidl.vision.figures.inside: activations, saliency and Grad-CAM against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import ShapeError
from minidl.vision.figures import activations, grad_cam, plot_activations, plot_saliency, saliency
from minidl.vision.models import alexnet


@pytest.fixture
def model() -> nn.Sequential:
    minidl.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)
    )


def test_activations_are_each_layers_own(model: nn.Sequential) -> None:
    image = minidl.randn(1, 3, 8, 8)
    found = activations(model, image)
    conv = minidl.nn.functional.conv2d(image, model[0].weight, model[0].bias)
    assert (conv < 0).any()
    np.testing.assert_allclose(found["0"].numpy(), conv.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["1"].numpy(), np.maximum(found["0"].numpy(), 0))
    assert list(found) == ["0", "1", "2", "3", "4"] and model.training


def test_saliency_is_the_gradient_of_the_score(model: nn.Sequential) -> None:
    image = minidl.randn(1, 3, 8, 8, dtype=minidl.float64)
    model.double()
    found, step = saliency(model, image, 1), 1e-6
    slopes = np.zeros(image.shape[1:])
    for place in np.ndindex(*slopes.shape):
        moved = image.clone()
        moved[(0, *place)] += step
        with minidl.no_grad():
            slopes[place] = (model(moved)[0, 1] - model(image)[0, 1]).item() / step
    np.testing.assert_allclose(found, np.abs(slopes).max(axis=0), atol=1e-6)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_grad_cam_is_its_definition(model: nn.Sequential) -> None:
    image = minidl.randn(1, 3, 8, 8)
    maps = model[:2](image).detach().requires_grad_()
    model[2:](maps)[0, 0].backward()
    assert maps.grad is not None
    weights = maps.grad.numpy()[0].mean(axis=(1, 2))
    expected = np.maximum(np.tensordot(weights, maps.detach().numpy()[0], 1), 0)
    found = grad_cam(model, image, 0)
    assert expected.any()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(ShapeError, match="no convolution"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), minidl.randn(1, 3, 1, 1), 0)


def test_drawn() -> None:
    pytest.importorskip("matplotlib")
    net = alexnet("cifar", num_classes=4)
    image, picture = minidl.randn(1, *net.input_size), np.zeros((32, 32, 3), np.uint8)
    said = [text.get_text() for text in plot_activations(net, image, maps=3).axes[0].texts]
    assert [text for text in said if text in net.named_rows()] == list(net.named_rows())
    assert said.count("4096 units") == 2 and said[-1] == "4 units"
    shown = plot_saliency(net, picture, image, 2, "cat").axes[0]
    titles = [text.get_text() for text in shown.texts]
    assert titles == ["the picture", "saliency for “cat”", "Grad-CAM for “cat”"]
    assert len(shown.images) == 4
