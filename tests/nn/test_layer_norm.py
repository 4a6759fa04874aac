"""Layer normalization against explicit loops."""

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


def layer_norm(x: Any, weight: Any = None, bias: Any = None, **options: Any) -> Any:
    """The tensors first, as the standard tests want them."""
    return F.layer_norm(x, weight=weight, bias=bias, **options)


TestLayerNorm = operation.standard_tests(
    layer_norm,
    reference.layer_norm,
    [
        Case((3, 5), (5,), (5,), normalized_shape=5),
        Case((2, 3, 4, 2), (4, 2), (4, 2), normalized_shape=(4, 2)),
        Case((2, 3, 4), normalized_shape=[4], eps=0.1),
        Case((2, 3, 4), (4,), normalized_shape=4),
        Case((2, 3, 4), None, (3, 4), normalized_shape=(3, 4)),
    ],
    any_case=st.builds(
        lambda front, shape: Case((*front, *shape), shape, shape, normalized_shape=shape, eps=0.1),
        operation.shapes(most_axes=2),
        st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
    ),
    terms=40,
)


def test_module(device: str) -> None:
    layer = nn.LayerNorm((2, 3)).to(device)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert layer.weight.tolist() == [[1] * 3] * 2 and layer.bias.tolist() == [[0] * 3] * 2
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert not nn.LayerNorm(3, elementwise_affine=False).state_dict()
    x = helpers.values((4, 2, 3), 0, np.float32)
    right = reference.layer_norm(x, normalized_shape=(2, 3))
    helpers.assert_close(layer(minidl.tensor(x, device=device)), right, 40)
    text = "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias="
    assert repr(layer) == f"{text}True)"
    assert repr(nn.LayerNorm((2, 3), bias=False)) == f"{text}False)"


def test_errors_name_the_argument() -> None:
    x, two = minidl.ones(2, 3), minidl.ones(2)
    for match, call in {
        "floats": lambda: F.layer_norm(x.long(), 3),
        "input": lambda: F.layer_norm(x, 2),
        "input .* last axes": lambda: F.layer_norm(x, (2, 2, 3)),
        "normalized_shape": lambda: F.layer_norm(x, ()),
        "weight": lambda: F.layer_norm(x, 3, two),
        "bias": lambda: F.layer_norm(x, 3, None, two),
        "weight is float64": lambda: F.layer_norm(x, 3, minidl.ones(3).double()),
        "LayerNorm: normalized_shape": lambda: nn.LayerNorm(0),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 4, 5)], ids=str)
def test_same_as_pytorch(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    arrays = [helpers.values(s, i) for i, s in enumerate([(2, 4, 5), shape, shape])]
    ours = [helpers.leaf(a) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = F.layer_norm(ours[0], shape, *ours[1:])
    right = torch.nn.functional.layer_norm(theirs[0], shape, *theirs[1:])
    grad = helpers.values((2, 4, 5), 5)
    out.backward(minidl.tensor(grad))
    right.backward(torch.tensor(grad))
    helpers.assert_close(out, right.detach().numpy(), 40)
    for mine, other in zip(ours, theirs, strict=True):
        helpers.assert_close(mine.grad, other.grad.numpy(), 80)
