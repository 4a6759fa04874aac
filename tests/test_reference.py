"""The loops of reference.py against PyTorch, where it is installed.

PyTorch lacks the norm within a map and the unshared convolution. The norm's gradient is checked by
finite differences; the unshared convolution with equal weights must be a convolution.
"""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest
import reference


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


class Theirs:
    """PyTorch's function on leaf tensors, and their gradients for a random output gradient."""

    def __init__(self, function: Any, *arrays: Any, **options: Any) -> None:
        torch = pytest.importorskip("torch")
        leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
        out = function(torch.nn.functional)(*leaves, **options)
        self.grad = helpers.values(tuple(out.shape), 99)
        out.backward(torch.tensor(self.grad))
        self.out = out.detach().numpy()
        self.grads = [leaf.grad.numpy() for leaf in leaves]


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": (1, 0), "dilation": (1, 2), "groups": 2},
        {"padding": "same", "dilation": (1, 3), "groups": 2},
        {"padding": "valid", "groups": 2, "stride": (3, 1)},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_conv2d(options: dict[str, Any]) -> None:
    x, w, b = (helpers.values(s, i) for i, s in enumerate([(2, 6, 7, 8), (4, 3, 3, 2), (4,)]))
    theirs = Theirs(lambda f: f.conv2d, x, w, b, **options)
    close(reference.conv2d(x, w, b, **options), theirs.out)
    for mine, right in zip(
        reference.conv2d_backward(theirs.grad, x, w, **options), theirs.grads, strict=True
    ):
        close(mine, right)


def test_conv2d_in_ceil_mode_reads_zeros_beyond_the_edge() -> None:
    x, w = helpers.values((1, 2, 8, 9), 0), helpers.values((3, 2, 3, 3), 1)
    wide = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0)))  # 8 + 1: windows at 0, 3 and 6
    close(reference.conv2d(x, w, stride=3, ceil_mode=True), reference.conv2d(wide, w, stride=3))


def test_unfold_and_fold() -> None:
    x = helpers.values((2, 3, 7, 8), 0)
    options: dict[str, Any] = {
        "kernel_size": (3, 2),
        "dilation": (1, 2),
        "padding": (1, 2),
        "stride": (2, 1),
    }
    theirs = Theirs(lambda f: f.unfold, x, **options)
    close(reference.unfold(x, **options), theirs.out)
    close(reference.fold(theirs.grad, (7, 8), **options), theirs.grads[0])


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling(ceil_mode: bool) -> None:
    torch = pytest.importorskip("torch")
    x = np.round(helpers.values((2, 3, 7, 8), 0) * 3)
    options: dict[str, Any] = {"stride": (2, 3), "padding": 1, "ceil_mode": ceil_mode}
    theirs = Theirs(lambda f: f.max_pool2d, x, kernel_size=3, dilation=(2, 1), **options)
    _, right = torch.nn.functional.max_pool2d(
        torch.tensor(x), 3, dilation=(2, 1), return_indices=True, **options
    )
    out, indices = reference.max_pool2d(x, 3, dilation=(2, 1), **options)
    close(out, theirs.out)
    np.testing.assert_array_equal(indices, right.numpy())
    close(reference.max_pool2d_backward(theirs.grad, indices, x.shape), theirs.grads[0])
    for include in (False, True):
        for divisor in (None, 5):
            both = {**options, "count_include_pad": include, "divisor_override": divisor}
            theirs = Theirs(lambda f: f.avg_pool2d, x, kernel_size=3, **both)
            close(reference.avg_pool2d(x, 3, **both), theirs.out)
            close(reference.avg_pool2d_backward(theirs.grad, x.shape, 3, **both), theirs.grads[0])


@pytest.mark.parametrize("size", [(3, 5), (7, 8), (1, 1), (9, 2)])
def test_adaptive_pooling(size: tuple[int, int]) -> None:
    x = helpers.values((2, 3, 7, 8), 0)
    theirs = Theirs(lambda f: f.adaptive_avg_pool2d, x, output_size=size)
    close(reference.adaptive_avg_pool2d(x, size), theirs.out)
    close(reference.adaptive_avg_pool2d_backward(theirs.grad, x.shape), theirs.grads[0])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_local_response_norm(size: int) -> None:
    x = helpers.values((2, 6, 3, 2), 0)
    options = {"size": size, "alpha": 0.9, "beta": 0.75, "k": 2.0}
    theirs = Theirs(lambda f: f.local_response_norm, x, **options)
    close(reference.local_response_norm(x, **options), theirs.out)
    close(reference.local_response_norm_backward(theirs.grad, x, **options), theirs.grads[0])


@pytest.mark.parametrize("size", [2, 3, 4])
def test_spatial_response_norm_backward_against_differences(size: int) -> None:
    x, grad = helpers.values((1, 1, 4, 5), 0), helpers.values((1, 1, 4, 5), 1)
    options = {"size": size, "alpha": 0.9, "k": 2.0}
    found = reference.spatial_response_norm_backward(grad, x, **options)
    for index in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-6
        up, down = (reference.spatial_response_norm(x + d, **options) for d in (step, -step))
        assert abs(((up - down) * grad).sum() / 2e-6 - found[index]) < 1e-8


def test_locally_connected_with_equal_weights_is_a_convolution() -> None:
    x, kernel = helpers.values((2, 3, 5, 6), 0), helpers.values((4, 3, 3, 2), 1)
    weight = np.broadcast_to(kernel.reshape(1, 4, 18), (9, 4, 18))
    options: dict[str, Any] = {"stride": 2, "padding": (1, 0)}
    out = reference.locally_connected2d(x, weight, None, (3, 2), **options)
    close(out, reference.conv2d(x, kernel, **options))
    grad = helpers.values(out.shape, 2)
    dx, dw, _ = reference.locally_connected2d_backward(grad, x, weight, (3, 2), **options)
    right_x, right_w, _ = reference.conv2d_backward(grad, x, kernel, **options)
    close(dx, right_x)
    close(dw.sum(0).reshape(kernel.shape), right_w)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(training: bool) -> None:
    torch = pytest.importorskip("torch")
    x = helpers.values((3, 2, 4, 5), 0)
    vectors = [np.abs(helpers.values((2,), i)) for i in range(4)]
    theirs = [torch.tensor(v) for v in vectors]
    expected = torch.nn.functional.batch_norm(torch.tensor(x), *theirs, training, 0.3)
    out, mean, var = reference.batch_norm(x, *vectors, training, 0.3)
    close(out, expected.numpy())
    close(mean, theirs[0].numpy())
    close(var, theirs[1].numpy())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [-100, 2])
def test_cross_entropy(ignored: int, smoothing: float, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((4, 5, 3)), rng.integers(0, 5, (4, 3))
    targets = [labels]
    if ignored < 0:  # PyTorch refuses to ignore a class of probabilities
        targets.append(reference.softmax(rng.standard_normal((4, 5, 3)), 1))
    for target in targets:
        for weight in (None, rng.uniform(0.2, 1, 5)):
            leaf = torch.tensor(x, requires_grad=True)
            expected = torch.nn.functional.cross_entropy(
                leaf,
                torch.tensor(target),
                None if weight is None else torch.tensor(weight),
                ignore_index=ignored,
                reduction=reduction,
                label_smoothing=smoothing,
            )
            expected.sum().backward()
            loss, grad = reference.cross_entropy(x, target, weight, ignored, reduction, smoothing)
            close(loss, expected.detach().numpy())
            close(grad, leaf.grad.numpy())
