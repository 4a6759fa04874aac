"""nn.init: fans, gains, and the distributions that the functions fill with."""

from __future__ import annotations

import inspect
import math

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, ShapeError
from minidl.nn import init
from minidl.nn.module import Parameter

SHAPE = (40, 50, 3, 3)  # fan_in 450, fan_out 360, 18,000 values


def check_moments(values: np.ndarray, mean: float, std: float, kurtosis: float) -> None:
    """Compare mean and std within 5 standard errors, which depend on the number of values.

    The variance of a sample's std is about std²·(kurtosis - 1) / 4n: kurtosis is 3 for a normal
    and 1.8 for a uniform distribution.
    """
    n = values.size
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(n)
    assert abs(values.std() - std) < 5 * std * math.sqrt((kurtosis - 1) / (4 * n))


def test_fans():
    fans = init._calculate_fan_in_and_fan_out
    assert fans(minidl.zeros(*SHAPE)) == (450, 360)
    assert fans(minidl.zeros(7, 5)) == (5, 7)
    assert fans(minidl.zeros(256, 48, 5, 5)) == (1200, 6400)  # AlexNet's grouped conv2
    with pytest.raises(ShapeError, match="fewer than 2"):
        fans(minidl.zeros(5))


@pytest.mark.parametrize(
    "name, parameter, gain",
    [
        ("linear", None, 1.0),
        ("conv2d", None, 1.0),
        ("sigmoid", None, 1.0),
        ("tanh", None, 5 / 3),
        ("relu", None, 2**0.5),
        ("selu", None, 0.75),
        ("leaky_relu", None, (2 / 1.0001) ** 0.5),
        ("leaky_relu", 0.5, (2 / 1.25) ** 0.5),
    ],
)
def test_gain(name, parameter, gain):
    assert init.calculate_gain(name, parameter) == pytest.approx(gain, rel=1e-15)


def test_gain_errors():
    with pytest.raises(ArgumentError, match="'swish'"):
        init.calculate_gain("swish")
    with pytest.raises(ArgumentError, match="number"):
        init.calculate_gain("leaky_relu", "steep")


FAN_IN, FAN_OUT = 450, 360
NORMAL = [
    (lambda w, **k: init.normal_(w, 0.5, 2.0, **k), 0.5, 2.0),
    (lambda w, **k: init.xavier_normal_(w, 2.0, **k), 0.0, 2 * (2 / (FAN_IN + FAN_OUT)) ** 0.5),
    (init.kaiming_normal_, 0.0, (2 / FAN_IN) ** 0.5),
    (lambda w, **k: init.kaiming_normal_(w, mode="fan_out", **k), 0.0, (2 / FAN_OUT) ** 0.5),
    (
        lambda w, **k: init.kaiming_normal_(w, nonlinearity="tanh", **k),
        0.0,
        5 / 3 / FAN_IN**0.5,
    ),
]
UNIFORM = [
    (init.uniform_, 0.0, 1.0),
    (lambda w, **k: init.uniform_(w, -3.0, 1.0, **k), -3.0, 1.0),
    (init.xavier_uniform_, -((6 / (FAN_IN + FAN_OUT)) ** 0.5), (6 / (FAN_IN + FAN_OUT)) ** 0.5),
    # The call with which PyTorch's layers start: ±1/√fan_in.
    (lambda w, **k: init.kaiming_uniform_(w, a=5**0.5, **k), -(FAN_IN**-0.5), FAN_IN**-0.5),
]


@pytest.mark.parametrize("fill, mean, std", NORMAL)
def test_normal_distributions(fill, mean, std, device):
    weight = Parameter(minidl.zeros(*SHAPE, device=device))
    assert fill(weight) is weight
    assert weight.requires_grad and weight.is_leaf
    check_moments(weight.detach().cpu().numpy(), mean, std, kurtosis=3.0)


@pytest.mark.parametrize("fill, low, high", UNIFORM)
def test_uniform_distributions(fill, low, high, device):
    weight = Parameter(minidl.zeros(*SHAPE, device=device))
    assert fill(weight) is weight
    values = weight.detach().cpu().numpy()
    edge = np.finfo(np.float32).eps * max(abs(low), abs(high))
    assert low - edge <= values.min() and values.max() <= high + edge
    check_moments(values, (low + high) / 2, (high - low) / 12**0.5, kurtosis=1.8)


@pytest.mark.parametrize("fill", [fill for fill, *_ in (*NORMAL, *UNIFORM)])
def test_generators_decide_the_values(fill, device):
    on_the_cpu = fill(minidl.zeros(*SHAPE), generator=minidl.Generator().manual_seed(3)).numpy()

    def draw(generator=None):
        return helpers.host(fill(minidl.zeros(*SHAPE, device=device), generator=generator))

    first = draw(minidl.Generator().manual_seed(3))
    assert np.array_equal(first, on_the_cpu)
    assert np.array_equal(first, draw(minidl.Generator().manual_seed(3)))
    assert not np.array_equal(first, draw(minidl.Generator().manual_seed(4)))
    minidl.manual_seed(3)
    assert np.array_equal(first, draw())


def test_trunc_normal(device):
    weight = init.trunc_normal_(minidl.zeros(200, 100, device=device), std=0.005, a=-0.01, b=0.01)
    values = helpers.host(weight)
    limit = np.float32(0.01)
    assert -limit <= values.min() and values.max() <= limit
    # A normal distribution cut off at ±2 standard deviations: 1 - 2·2·φ(2) / (Φ(2) - Φ(-2)).
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    variance = 1 - 4 * density / math.erf(math.sqrt(2))
    check_moments(values, 0.0, 0.005 * math.sqrt(variance), kurtosis=3.0)
    wide = minidl.zeros(1000, device=device)
    lopsided = helpers.host(init.trunc_normal_(wide, mean=1.0, std=2.0, a=0.0, b=1.5))
    assert lopsided.min() >= 0.0 and lopsided.max() <= 1.5
    with pytest.raises(ArgumentError, match="too little"):
        init.trunc_normal_(minidl.zeros(3, device=device), mean=0.0, std=1.0, a=5.0, b=6.0)
    with pytest.raises(ArgumentError, match="too little"):
        init.trunc_normal_(minidl.zeros(3, device=device), a=1.0, b=-1.0)


def test_constants(device):
    assert init.constant_(Parameter(minidl.zeros(2, device=device)), 0.5).tolist() == [0.5, 0.5]
    assert init.ones_(minidl.zeros(2, device=device)).tolist() == [1.0, 1.0]
    assert init.zeros_(minidl.ones(2, device=device)).tolist() == [0.0, 0.0]


def test_eye(device):
    assert init.eye_(minidl.zeros(2, 3, device=device)).tolist() == [
        [1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0],
    ]
    with pytest.raises(ShapeError, match="matrix"):
        init.eye_(minidl.zeros(2, 3, 4, device=device))


def test_dirac(device):
    weight = helpers.host(init.dirac_(minidl.ones(5, 2, 3, 4, device=device), groups=1))
    expected = np.zeros((5, 2, 3, 4))
    expected[0, 0, 1, 2] = expected[1, 1, 1, 2] = 1.0
    assert np.array_equal(weight, expected)
    grouped = helpers.host(init.dirac_(minidl.ones(4, 2, 3, device=device), groups=2))
    assert [tuple(index) for index in np.argwhere(grouped)] == [
        (0, 0, 1), (1, 1, 1), (2, 0, 1), (3, 1, 1),
    ]  # fmt: skip
    with pytest.raises(ShapeError, match="3, 4 or 5"):
        init.dirac_(minidl.zeros(2, 2, device=device))
    with pytest.raises(ArgumentError, match="groups=2"):
        init.dirac_(minidl.zeros(3, 2, 3, 3, device=device), groups=2)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (4, 2, 3, 3)])
def test_orthogonal(shape, device):
    weight = helpers.host(init.orthogonal_(minidl.zeros(*shape, device=device).double(), gain=3.0))
    matrix = weight.reshape(shape[0], -1) / 3.0
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    error = np.abs(small - np.eye(len(small))).max()
    assert error < 10 * matrix.size * np.finfo(np.float64).eps
    with pytest.raises(ShapeError):
        init.orthogonal_(minidl.zeros(4, device=device))


def test_sparse(device):
    weight = helpers.host(init.sparse_(minidl.zeros(50, 20, device=device), sparsity=0.25, std=0.1))
    assert ((weight == 0).sum(axis=0) == 13).all()  # ceil(0.25 · 50) in every column
    check_moments(weight[weight != 0], 0.0, 0.1, kurtosis=3.0)
    with pytest.raises(ShapeError, match="matrix"):
        init.sparse_(minidl.zeros(3, device=device), 0.5)


def test_mode_must_be_known(device):
    with pytest.raises(ArgumentError, match="'fan_sideways'"):
        init.kaiming_normal_(minidl.zeros(2, 2, device=device), mode="fan_sideways")


def test_signatures_equal_pytorch():
    torch = pytest.importorskip("torch")
    names = [name for name in vars(init) if name.endswith("_") and not name.startswith("_")]
    assert len(names) >= 14
    for name in [*names, "calculate_gain"]:
        ours = inspect.signature(getattr(init, name)).parameters
        theirs = inspect.signature(getattr(torch.nn.init, name)).parameters
        assert list(ours) == list(theirs), name
        assert [p.default for p in ours.values()] == [p.default for p in theirs.values()], name


def test_deprecated_names_are_the_same_functions():
    for name in ("uniform", "normal", "constant", "xavier_normal", "kaiming_uniform", "orthogonal"):
        assert getattr(init, name) is getattr(init, f"{name}_")
