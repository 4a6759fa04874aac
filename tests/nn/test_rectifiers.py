"""LeakyReLU, ELU, SiLU and Softplus against their definitions, number by number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import helpers
import numpy as np
import operation
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import AutogradError, DTypeError

SHAPES = operation.st.builds(operation.Case, operation.shapes())


def values(shape: tuple[int, ...], seed: int, dtype: Any) -> Any:
    return np.asarray(helpers.values(shape, seed) * 4, dtype)


def standard_tests(
    function: Callable[..., Any],
    definition: Callable[..., float],
    modules: list[tuple[Any, dict[str, Any]]],
    *options: dict[str, Any],
) -> type:
    return operation.standard_tests(
        function,
        lambda x, **options: np.vectorize(lambda v: definition(v, **options), otypes=[float])(x),
        [operation.Case((3, 4, 5, 2)), *(operation.Case((2, 3), **o) for o in options)],
        any_case=SHAPES,
        examples=30,
        values=values,
        modules=modules,
        torch=function.__name__,
    )


def leaky_relu(x: float, negative_slope: float = 0.01) -> float:
    return x if x > 0 else negative_slope * x


def elu(x: float, alpha: float = 1.0) -> float:
    return x if x > 0 else alpha * math.expm1(x)


def softplus(x: float, beta: float = 1.0, threshold: float = 20.0) -> float:
    return x if beta * x > threshold else math.log1p(math.exp(beta * x)) / beta


TestLeakyReLU = standard_tests(
    F.leaky_relu,
    leaky_relu,
    [(nn.LeakyReLU(), {}), (nn.LeakyReLU(0.2), {"negative_slope": 0.2})],
    {"negative_slope": 0.2},
    {"negative_slope": -0.5},
)
TestELU = standard_tests(
    F.elu, elu, [(nn.ELU(), {}), (nn.ELU(0.5), {"alpha": 0.5})], {"alpha": 0.5}, {"alpha": -2.0}
)
TestSiLU = standard_tests(F.silu, lambda x: x / (1 + math.exp(-x)), [(nn.SiLU(), {})])
TestSoftplus = standard_tests(
    F.softplus,
    softplus,
    [(nn.Softplus(), {}), (nn.Softplus(2, 3), {"beta": 2, "threshold": 3})],
    {"beta": 3.0},
    {"beta": 2.0, "threshold": 3.0},
)

FUNCTIONS = [F.leaky_relu, F.elu, F.silu, F.softplus]
IN_PLACE = FUNCTIONS[:3]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_large_and_tiny_numbers(function: Any, dtype: Any, device: str) -> None:
    """Nothing overflows on the way, and what is far below 0 keeps its relative precision."""
    x = np.array([-6e4, -1000, -8, -6e-5, 0, 6e-5, 1000, 6e4], dtype)
    leaf = helpers.leaf(x, device)
    with np.errstate(over="raise", invalid="raise"):
        out = function(leaf)
        out.sum().backward()
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(x.astype(float), requires_grad=True)
    right = getattr(torch.nn.functional, function.__name__)(theirs)
    right.sum().backward()
    eps = np.finfo(dtype).eps
    tiny = 4 * np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(helpers.host(out), right.detach().numpy(), 8 * eps, tiny)
    np.testing.assert_allclose(helpers.host(leaf.grad), theirs.grad.numpy(), 8 * eps, tiny)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nan_stays(function: Any, device: str) -> None:
    out = helpers.host(function(minidl.tensor([math.nan, 1.0], device=device)))
    assert np.isnan(out).tolist() == [True, False]


@pytest.mark.parametrize("function", IN_PLACE)
@pytest.mark.parametrize("layout", [name for name in helpers.LAYOUTS if name != "expanded"])
def test_inplace_overwrites_any_layout(layout: str, function: Any, device: str) -> None:
    x = helpers.values((4, 5, 6, 3), 0, np.float32)
    expected = helpers.host(function(minidl.tensor(x, device=device)))
    tensor = helpers.leaf(helpers.LAYOUTS[layout](x.copy()), device, requires_grad=False)
    memory = tensor.array
    assert function(tensor, inplace=True).array is memory
    np.testing.assert_array_equal(helpers.host(tensor), expected)


@pytest.mark.parametrize("function", IN_PLACE)
def test_inplace_after_an_operation_has_the_right_gradient(function: Any, device: str) -> None:
    x = helpers.leaf(helpers.values((4, 5), 0), device)
    assert minidl.gradcheck(lambda x: function(x + 0.25, inplace=True) * 2, (x,))


@pytest.mark.parametrize("module", [nn.LeakyReLU, nn.ELU, nn.SiLU])
def test_inplace_modules(module: Any) -> None:
    x = minidl.tensor([-1.0, 2.0])
    assert module(inplace=True)(x).array is x.array
    with pytest.raises(AutogradError, match="leaf"):
        module(inplace=True)(minidl.zeros(2, requires_grad=True))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_integers_are_refused(function: Any) -> None:
    with pytest.raises(DTypeError, match=f"{function.__name__}: expected floats"):
        function(minidl.tensor([1, 2]))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.LeakyReLU(0.2, inplace=True), "LeakyReLU(negative_slope=0.2, inplace=True)"),
        (nn.ELU(), "ELU(alpha=1.0)"),
        (nn.SiLU(inplace=True), "SiLU(inplace=True)"),
        (nn.Softplus(), "Softplus(beta=1.0, threshold=20.0)"),
    ],
    ids=["LeakyReLU", "ELU", "SiLU", "Softplus"],
)
def test_repr_is_that_of_pytorch(module: nn.Module, text: str) -> None:
    assert repr(module) == text
