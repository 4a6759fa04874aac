"""Group normalization against explicit loops."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import operation
import pytest
import reference
from hypothesis import strategies as st
from operation import Case

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError


def group_norm(x: Any, weight: Any = None, bias: Any = None, **options: Any) -> Any:
    """The tensors first, as the standard tests want them."""
    return F.group_norm(x, weight=weight, bias=bias, **options)


TestGroupNorm = operation.standard_tests(
    group_norm,
    reference.group_norm,
    [
        Case((2, 6, 3, 4), (6,), (6,), num_groups=3),
        Case((2, 6, 3, 4), num_groups=2, eps=0.1),
        Case((3, 4, 5), (4,), num_groups=1),
        Case((3, 6), None, (6,), num_groups=2),
        Case((2, 4, 3, 2), (4,), (4,), num_groups=4),
    ],
    any_case=st.builds(
        lambda batch, groups, channels, size: Case(
            (batch, groups * channels, *size),
            *[(groups * channels,)] * 2,
            num_groups=groups,
            eps=0.1,  # so that two numbers that are nearly the same cost no digits
        ),
        st.integers(0, 3),
        st.integers(1, 3),
        st.integers(1, 3),
        st.lists(st.integers(2, 4), min_size=1, max_size=3),
    ),
    terms=40,
)


def test_groups_do_not_see_each_other(device: str) -> None:
    x = helpers.values((2, 6, 3, 3), 0)
    before = helpers.host(F.group_norm(minidl.tensor(x, device=device), 3))
    x[0, 2:4] = x[0, 2:4] * 10 + 5
    after = helpers.host(F.group_norm(minidl.tensor(x, device=device), 3))
    for image, channels in ((0, [0, 1, 4, 5]), (1, range(6))):
        np.testing.assert_array_equal(after[image, channels], before[image, channels])


def test_module(device: str) -> None:
    layer = nn.GroupNorm(2, 4).to(device)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert layer.weight.tolist() == [1] * 4 and layer.bias.tolist() == [0] * 4
    assert list(nn.GroupNorm(2, 4, bias=False).state_dict()) == ["weight"]
    assert not nn.GroupNorm(2, 4, affine=False).state_dict()
    x = helpers.values((3, 4, 5), 0, np.float32)
    helpers.assert_close(
        layer(minidl.tensor(x, device=device)), reference.group_norm(x, num_groups=2), 40
    )
    assert repr(layer) == "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"


def test_errors_name_the_argument() -> None:
    x, two = minidl.ones(2, 4, 3), minidl.ones(2)
    for match, call in {
        "floats": lambda: F.group_norm(x.long(), 2),
        "input": lambda: F.group_norm(two, 2),
        "num_groups": lambda: F.group_norm(x, 0),
        "num_groups=3": lambda: F.group_norm(x, 3),
        "weight": lambda: F.group_norm(x, 2, two),
        "bias": lambda: F.group_norm(x, 2, None, two),
        "bias is float64": lambda: F.group_norm(x, 2, None, minidl.ones(4).double()),
        "variance": lambda: F.group_norm(minidl.ones(1, 4), 4),
        "GroupNorm: 4 channels": lambda: nn.GroupNorm(3, 4),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


@pytest.mark.parametrize("shape", [(2, 6, 3, 4), (3, 6), (2, 6, 5)], ids=str)
def test_same_as_pytorch(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    arrays = [helpers.values(s, i) for i, s in enumerate([shape, (6,), (6,)])]
    ours = [helpers.leaf(a) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = F.group_norm(ours[0], 2, *ours[1:])
    right = torch.nn.functional.group_norm(theirs[0], 2, *theirs[1:])
    grad = helpers.values(shape, 5)
    out.backward(minidl.tensor(grad))
    right.backward(torch.tensor(grad))
    helpers.assert_close(out, right.detach().numpy(), 40)
    for mine, other in zip(ours, theirs, strict=True):
        helpers.assert_close(mine.grad, other.grad.numpy(), 80)


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(1, 2, affine=False), nn.InstanceNorm2d(2), nn.LayerNorm(4, 1e-5, False)]
)
def test_a_result_without_scale_and_shift_may_be_overwritten(norm: Any, device: str) -> None:
    x = helpers.leaf(helpers.values((2, 2, 3, 4), 0), device)
    assert minidl.gradcheck(lambda x: F.relu(norm(x), inplace=True), x)
    apart = minidl.autograd.grad(F.relu(norm(x)).square().sum(), x)[0]
    inside = minidl.autograd.grad(F.relu(norm(x), inplace=True).square().sum(), x)[0]
    np.testing.assert_array_equal(helpers.host(inside), helpers.host(apart))
