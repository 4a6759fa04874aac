"""Instance normalization against explicit loops, and its running statistics against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import operation
import pytest
import reference
from operation import Case

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError, ShapeError


def instance_norm(x: Any, weight: Any = None, bias: Any = None, **options: Any) -> Any:
    """The tensors first, as the standard tests want them."""
    return F.instance_norm(x, weight=weight, bias=bias, **options)


def loops(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return reference.group_norm(x, weight, bias, num_groups=x.shape[1], eps=eps)


TestInstanceNorm = operation.standard_tests(
    instance_norm,
    loops,
    [
        Case((2, 3, 3, 4), (3,), (3,)),
        Case((2, 3, 5), None, (3,), eps=0.1),
        Case((1, 2, 4, 3)),
    ],
    terms=60,
)

LAYERS = [
    ("InstanceNorm1d", (2, 3, 5)), ("InstanceNorm1d", (3, 5)), ("InstanceNorm2d", (2, 3, 4, 5)),
    ("InstanceNorm2d", (3, 4, 5)), ("InstanceNorm3d", (2, 3, 2, 2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"affine": True}, {"track_running_stats": True}], ids=str)
@pytest.mark.parametrize(("name", "shape"), LAYERS)
def test_layers_equal_torchs(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = (getattr(m.nn, name)(3, momentum=0.3, **options) for m in (minidl, torch))
    tolerance = 256 * np.finfo(np.float32).eps
    for step in range(3):
        x = np.random.default_rng(step).standard_normal(shape).astype(np.float32)
        a, b = minidl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        if step == 2:
            ours.eval()
            theirs.eval()
        found, expected = ours(a), theirs(b)
        (found**3).sum().backward()
        (expected**3).sum().backward()
        np.testing.assert_allclose(found.detach(), expected.detach(), tolerance, tolerance)
        np.testing.assert_allclose(a.grad, b.grad, 8 * tolerance, 8 * tolerance)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), tolerance, tolerance)


def test_what_does_not_fit_is_refused() -> None:
    for call in (
        lambda: F.instance_norm(minidl.zeros(2, 3, 1)),
        lambda: F.instance_norm(minidl.zeros(2, 3)),
        lambda: F.instance_norm(minidl.zeros(2, 3, 4), use_input_stats=False),
        lambda: nn.InstanceNorm2d(3, affine=True)(minidl.zeros(2, 4, 5, 5)),
        lambda: nn.InstanceNorm2d(3)(minidl.zeros(2, 3)),
    ):
        with pytest.raises(MinidlError):
            call()
    assert nn.InstanceNorm2d(3, affine=True, bias=False).bias is None


def test_a_plain_layer_takes_any_number_of_channels(device: str) -> None:
    x = minidl.randn(2, 3, 4, 4, device=device)
    with pytest.warns(UserWarning, match="3 channels instead of 2"):
        y = nn.InstanceNorm2d(2)(x)
    assert (y == nn.InstanceNorm2d(3)(x)).all()
    for options in {"affine": True}, {"track_running_stats": True}:
        with pytest.raises(ShapeError, match="expected input of shape"):
            nn.InstanceNorm2d(2, **options).to(device)(x)
