"""Tensor: creation, attributes, interchange, dtypes, copies, printing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl import Tensor
from minidl.errors import (
    ArgumentError,
    AutogradError,
    DeviceError,
    DTypeError,
    MinidlError,
    ShapeError,
)  # fmt: skip

# --- Creation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, "int64"), (1.5, "float32"), (True, "bool"), ([1, 2], "int64"), ([1, 2.5], "float32"),
        ([[True, False]], "bool"), ([], "float32"), (np.float64(2), "float64"),
        (np.zeros(2), "float64"), (np.zeros(2, np.float32), "float32"),
        ([np.float64(1)], "float64"),
        (np.arange(3, dtype=np.uint8), "uint8"), (range(3), "int64"),
    ],
)  # fmt: skip
def test_dtype_of_data(data: Any, dtype: str, device: str) -> None:
    x = minidl.tensor(data, device=device)
    assert x.dtype == dtype and x.tolist() == np.asarray(data).tolist()
    assert minidl.tensor(data, dtype=minidl.float16, device=device).dtype == np.float16
    torch = pytest.importorskip("torch")
    if not isinstance(data, np.generic):
        assert str(torch.tensor(data).dtype) == f"torch.{dtype}"


def test_tensor_copies_and_from_numpy_shares(device: str) -> None:
    a = np.zeros(3, np.float32)
    copied, shared, viewed = (
        minidl.tensor(a, device=device),
        minidl.from_numpy(a),
        minidl.as_tensor(a),
    )
    a[0] = 5
    assert copied[0] == 0 and shared[0] == 5 and viewed[0] == 5
    shared[1] = 7
    assert a[1] == 7
    x = minidl.tensor([1.0], device=device)
    assert minidl.as_tensor(x) is x
    again = minidl.tensor(x, device=device)
    again[0] = 3
    assert x.item() == 1.0


def test_lists_of_tensors(device: str) -> None:
    x = minidl.tensor(
        [minidl.tensor(1.0, device=device), minidl.tensor(2.0, device=device)], device=device
    )
    assert x.tolist() == [1.0, 2.0] and x.dtype == np.float32
    one = minidl.ones(1, 1, device=device)  # an element stands for its number
    assert minidl.tensor([one, 2.0], device=device).tolist() == [1.0, 2.0]
    assert minidl.tensor([[one], [one]], device=device).shape == (2, 1)
    assert minidl.tensor([minidl.ones(2, device=device)] * 2, device=device).shape == (2, 2)


@pytest.mark.parametrize("bad", ["text", [1, [2]], object(), None, [None], 1j])
def test_data_that_are_not_numbers(bad: Any, device: str) -> None:
    with pytest.raises(MinidlError):
        minidl.tensor(bad, device=device)


@pytest.mark.parametrize("bad", ["a", None])
def test_arrays_that_are_not_numbers(bad: Any) -> None:
    with pytest.raises(DTypeError, match="expected numbers"):
        minidl.as_tensor(np.array([bad]))


def test_from_numpy_requires_an_array() -> None:
    for bad in ([1.0], np.array(["a"]), 3):
        with pytest.raises(DTypeError, match="from_numpy"):
            minidl.from_numpy(bad)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="from_dlpack: expected an array, got list"):
        minidl.from_dlpack([1.0])


# --- Attributes and Python's protocols ------------------------------------------------------------


def test_shape_and_sizes(device: str) -> None:
    x = minidl.zeros(2, 3, 4, device=device)
    assert x.shape == (2, 3, 4) == x.size() and isinstance(x.shape, tuple)
    assert (x.size(1), x.size(-1), x.ndim, x.dim(), x.numel(), x.nelement()) == (3, 4, 3, 3, 24, 24)
    assert x.shape.numel() == 24 and repr(x.shape) == "Size([2, 3, 4])"
    assert x.stride() == (12, 4, 1) and x.transpose(0, 1).stride(0) == 4
    assert x.is_contiguous() and not x.transpose(0, 1).is_contiguous()
    assert x.transpose(0, 1).contiguous().is_contiguous() and x.contiguous() is x
    assert x.element_size() == 4 and x.is_floating_point() and not x.long().is_floating_point()
    assert x.T.shape == (4, 3, 2) and x.mT.shape == (2, 4, 3)
    assert minidl.tensor(3.0).mT.item() == 3


def test_len_iteration_and_truth(device: str) -> None:
    x = minidl.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    assert len(x) == 2 and [row.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    a, b = x
    assert b.tolist() == [3.0, 4.0] and 3.0 in x and 9.0 not in x
    assert bool(minidl.tensor([1], device=device)) and not minidl.tensor(0.0, device=device)
    with pytest.raises(ShapeError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError):
        len(minidl.tensor(1.0, device=device))
    with pytest.raises(TypeError):
        iter(minidl.tensor(1.0, device=device))
    assert list(minidl.zeros(0, 3, device=device)) == []


def test_gradient_flows_through_iteration(device: str) -> None:
    x = minidl.tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    for i, value in enumerate(x):
        (value * i).backward()
    assert x.grad.tolist() == [0.0, 1.0, 2.0]


def test_python_numbers(device: str) -> None:
    x = minidl.tensor([2.75], device=device)
    assert x.item() == 2.75 and float(x) == 2.75 and int(x) == 2 and f"{x[0]:.1f}" == "2.8"
    assert [10, 20, 30][minidl.tensor(1, device=device)] == 20 and list(
        range(minidl.tensor(2, device=device))
    ) == [0, 1]
    with pytest.raises(TypeError):
        [1][minidl.tensor(0.0, device=device)]
    for wrong in (minidl.zeros(2, device=device), minidl.zeros(0, device=device)):
        with pytest.raises(ShapeError, match="one element"):
            wrong.item()
    assert (
        type(minidl.tensor(3, device=device).item()) is int
        and type(minidl.tensor(True, device=device).item()) is bool
    )


def test_equality_with_anything(device: str) -> None:
    x = minidl.tensor([1.0, 2.0], device=device)
    assert (x == 1).tolist() == [True, False]
    assert (x != minidl.tensor([1.0, 3.0], device=device)).tolist() == [False, True]
    assert (x == None) is False and (x != "text") is True  # noqa: E711
    assert len({x, x, minidl.tensor([1.0], device=device)}) == 2


# --- Interchange with other libraries -------------------------------------------------------------


def test_numpy_shares_memory() -> None:
    x = minidl.zeros(3)
    x.numpy()[1] = 4
    assert x.tolist() == [0.0, 4.0, 0.0]
    y = minidl.ones(2, requires_grad=True)
    with pytest.raises(AutogradError, match="detach"):
        y.numpy()
    assert y.numpy(force=True).tolist() == [1.0, 1.0]
    assert np.asarray(x) is x.array and np.asarray(x, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x), x.array)
    assert np.sqrt(np.asarray(x)).tolist() == [0.0, 2.0, 0.0]


def test_dlpack_both_ways() -> None:
    x = minidl.arange(6).reshape(2, 3).float()
    a = np.from_dlpack(x)
    assert np.shares_memory(a, x.array)
    back = minidl.from_dlpack(x.array.T)
    assert back.shape == (3, 2) and np.shares_memory(back.array, x.array)
    assert np.shares_memory(minidl.from_dlpack(x).array, x.array)
    with pytest.raises(AutogradError, match="detach"):
        np.from_dlpack(minidl.ones(2, requires_grad=True))


def test_dlpack_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = minidl.arange(6).reshape(2, 3).float()
    theirs = torch.from_dlpack(x)
    theirs[0, 1] = 50
    assert x[0, 1] == 50
    ours = minidl.from_dlpack(theirs.t())
    ours[2, 1] = -1.0
    assert theirs[1, 2] == -1 and ours.shape == (3, 2)
    assert minidl.tensor(theirs).tolist() == theirs.tolist()


# --- dtypes ---------------------------------------------------------------------------------------

OTHERS: list[Any] = [
    2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2), minidl.tensor(2.5),
    minidl.tensor(2),
    minidl.tensor(2.5, dtype=minidl.float64), minidl.tensor([2.0], dtype=minidl.float64),
]  # fmt: skip


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("number", range(len(OTHERS)))
def test_dtype_rules_are_pytorchs(dtype: str, number: int) -> None:
    torch = pytest.importorskip("torch")
    other = OTHERS[number]
    if isinstance(other, Tensor):
        theirs: Any = torch.tensor(other.numpy())
    else:
        theirs = other.item() if isinstance(other, np.generic) else other
    x = minidl.ones(3, dtype=dtype)
    y = torch.ones(3, dtype=getattr(torch, dtype))
    for operation in (
        lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a / b, lambda a, b: b * a,
        lambda a, b: b / a, lambda a, b: (a + 1) ** b,
    ):  # fmt: skip
        try:
            expected = operation(y, theirs)
        except RuntimeError:
            continue
        result = operation(x, other)
        assert str(expected.dtype) == f"torch.{result.dtype}", (dtype, other)
        np.testing.assert_allclose(result.numpy(), expected.numpy(), rtol=1e-3)
    assert (x == other).dtype == bool


@pytest.mark.parametrize("number", [2, 2.5, np.float64(2.5), np.float32(2), np.int64(3), True])
def test_scalars_never_change_a_float(number: Any, device: str) -> None:
    for dtype in (minidl.float16, minidl.float32, minidl.float64):
        x = minidl.ones(3, dtype=dtype, requires_grad=True, device=device)
        differences = () if number is True else (x - number, number - x)
        for y in (x + number, number + x, x * number, number * x, *differences,
                  x / number, number / x, x**number, minidl.maximum(x, number), x.clamp(0, number),
                  minidl.where(x > 0, x, number), x.masked_fill(x > 0, number)):  # fmt: skip
            assert y.dtype == dtype
            y.sum().backward()
        assert x.grad.dtype == dtype


def test_array_with_tensor_reaches_tensor() -> None:
    a, x = (
        np.array([1.0, 2.0], np.float32),
        minidl.tensor([3.0, 4.0], requires_grad=True),
    )
    for result, expected in (
        (a * x, [3.0, 8.0]), (a + x, [4.0, 6.0]), (a - x, [-2.0, -2.0]), (a / x, [1 / 3, 0.5]),
        (x * a, [3.0, 8.0]), (a**x, [1.0, 16.0]), (a @ x, 11.0), (np.float32(2) * x, [6.0, 8.0]),
    ):  # fmt: skip
        assert isinstance(result, Tensor) and result.requires_grad and result.dtype == np.float32
        np.testing.assert_allclose(helpers.host(result), expected, rtol=1e-6)
    assert isinstance(a < x, Tensor) and (a == x).tolist() == [False, False]


def test_conversions(device: str) -> None:
    x = minidl.tensor([1.7, -2.0], device=device)
    names = ["half", "float", "double", "int", "long", "bool", "byte"]
    dtypes = ["float16", "float32", "float64", "int32", "int64", "bool", "uint8"]
    for name, dtype in zip(names, dtypes, strict=True):
        assert getattr(x.abs(), name)().dtype == dtype
    assert (
        x.float() is x and x.to(minidl.float64).dtype == np.float64 == x.type(minidl.float64).dtype
    )
    assert (
        x.to("cpu", minidl.int32).tolist() == [1, -2] and x.to(dtype="float16").dtype == "float16"
    )
    assert x.to(x.double()).dtype == np.float64 and x.to(minidl.float32, copy=True) is not x
    assert x.type_as(minidl.arange(2, device=device)).dtype == np.int64
    with pytest.raises(ArgumentError, match="to"):
        x.to(color="red")
    assert x.new_zeros(2, 2).dtype == x.dtype and x.long().new_ones(3).dtype == np.int64
    assert x.new_tensor([1, 2]).dtype == np.float32 and x.new_full((2,), 3).tolist() == [3.0, 3.0]


def test_gradient_through_conversions(device: str) -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True, device=device)
    (x.double() * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0] and x.grad.dtype == np.float32


# --- Copies ---------------------------------------------------------------------------------------


def test_deepcopy(device: str) -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True, device=device)
    x.name = "w"
    (x * x).sum().backward()
    y = copy.deepcopy([x, x])
    assert y[0] is y[1] and y[0].requires_grad and y[0].name == "w"
    assert y[0].grad.tolist() == x.grad.tolist()
    assert not helpers.shares_memory(y[0].array, x.array)
    assert not helpers.shares_memory(y[0].grad.array, x.grad.array)
    with pytest.raises(AutogradError, match="leaves"):
        copy.deepcopy(x * 2)
    parameter = minidl.nn.Parameter(minidl.ones(2, device=device))
    parameter.sum().backward()
    copied = copy.deepcopy(parameter)
    assert type(copied) is minidl.nn.Parameter and copied.grad is None
    assert parameter.grad.tolist() == [1.0, 1.0]


def test_clone_keeps_the_layout_and_the_tape(device: str) -> None:
    x = minidl.tensor(np.zeros((2, 3, 4)).transpose(2, 0, 1), requires_grad=True, device=device)
    y = x.clone()
    assert y.array.strides == x.array.copy(order="K").strides
    y.sum().backward()
    assert x.grad.shape == (4, 2, 3) and not helpers.shares_memory(x.array, y.array)


def test_data_is_outside_the_tape(device: str) -> None:
    x = minidl.ones(3, requires_grad=True, device=device)
    x.data.mul_(2)
    assert x.tolist() == [2.0, 2.0, 2.0] and not x.data.requires_grad
    x.data = minidl.zeros(2, device=device)
    assert x.tolist() == [0.0, 0.0] and x.requires_grad


def test_in_place_methods(device: str) -> None:
    x = minidl.tensor([1.0, -2.0, 4.0], device=device)
    same = (
        x.abs_()
        .sqrt_()
        .add_(1)
        .mul_(2)
        .sub_(minidl.ones(3, device=device), alpha=2)
        .div_(2)
        .pow_(2)
        .neg_()
    )
    assert same is x
    np.testing.assert_allclose(helpers.host(x), [-1.0, -2.0, -4.0], rtol=1e-6)
    x.copy_(np.array([1, 2, 3])).masked_fill_(x > 2, 9).clamp_(max=5).fill_(x[1])
    assert x.tolist() == [2.0, 2.0, 2.0] and x.zero_().tolist() == [0.0] * 3
    x += 3
    x **= 2
    x /= 2
    x -= 0.5
    x *= minidl.tensor([1.0, 0.0, 2.0], device=device)
    assert x is same and x.tolist() == [4.0, 0.0, 8.0]
    mask = minidl.tensor([True, False], device=device)
    mask |= minidl.tensor([False, False], device=device)
    mask &= minidl.tensor([True, True], device=device)
    assert mask.tolist() == [True, False]
    with pytest.raises(ShapeError, match="in place"):
        x.add_(minidl.ones(2, 3, device=device))


# --- A GPU's tensors ------------------------------------------------------------------------------


def test_to_a_gpu_and_back(device: str) -> None:
    a = helpers.values((3, 4), 0, np.float32)
    for x in (
        minidl.tensor(a, device=device), minidl.from_numpy(a).to(device),
        minidl.as_tensor(a, device=device), minidl.tensor(a.tolist(), device=device),
    ):  # fmt: skip
        assert x.device == minidl.device(device) and x.to(device) is x
        assert x.is_cuda == (device != "cpu")
        np.testing.assert_array_equal(x.cpu().numpy(), a)
        np.testing.assert_array_equal(x.numpy(force=True), a)
        assert x.tolist() == a.tolist() and x[1, 2].item() == float(a[1, 2])
        assert type(x[0, 0].item()) is float and x.clone().device == x.device


def test_gradients_travel_between_devices(device: str) -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    (x.to(device) * 3).sum().cpu().backward()
    assert x.grad.tolist() == [3.0, 3.0] and x.grad.device == x.device == minidl.device("cpu")
    y = minidl.tensor([1.0, 2.0], device=device, requires_grad=True)
    (y.cpu() * y.detach().cpu()).sum().backward()
    assert y.grad.tolist() == [1.0, 2.0] and y.grad.device == y.device


def test_numpy_on_a_gpu_says_what_to_do(gpu: str) -> None:
    x = minidl.ones(2, device=gpu)
    for use in (x.numpy, lambda: np.asarray(x), lambda: np.sqrt(np.array(x))):
        with pytest.raises(DeviceError, match=r"numpy\(\).*gpu:0.*\.cpu\(\)"):
            use()


def test_dlpack_on_a_gpu(gpu: str) -> None:
    x = minidl.arange(6, device=gpu).reshape(2, 3).float()
    theirs = minidl.cuda.cupy().from_dlpack(x)
    theirs[0, 1] = 50
    assert x[0, 1].item() == 50
    back = minidl.from_dlpack(theirs.T)
    assert back.shape == (3, 2) and helpers.shares_memory(back.array, x.array)
    assert back.device == x.device
    shared = minidl.as_tensor(theirs)  # any array with __cuda_array_interface__
    shared[1, 1] = -1.0
    assert x[1, 1].item() == -1.0 and minidl.tensor(theirs).tolist() == x.tolist()


def test_pickling(device: str) -> None:
    x = minidl.tensor([1.0, 2.0], device=device, requires_grad=True)
    x.name = "w"
    (x * x).sum().backward()
    y = pickle.loads(pickle.dumps(x))
    assert y.tolist() == [1.0, 2.0] and y.device == x.device and y.requires_grad and y.name == "w"
    assert y.grad.tolist() == [2.0, 4.0] and y.grad.device == x.device
    assert not helpers.shares_memory(y.array, x.array)


# --- Printing -------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
PRINTED = [
    np.float32(3.5), [1.0, 2.0], [[1.0, -2.0], [3.0, 4.0]], [1e-5, 1.0], [1e9, 1.0], [1e4, 0.5],
    [100000.0, 2.0], [0.0, 0.0], [1e-10], [[True, False]], [1, 2, 3], [[]], [],
    [np.nan, 1.0, np.inf],
    [np.nan, 1.5, -np.inf], np.zeros((0, 3), np.float32), RNG.standard_normal((1, 2, 2)),
    RNG.standard_normal((20, 60)).astype(np.float32), np.arange(2000), np.int32(3),
    RNG.standard_normal((1, 10)) / 20, RNG.standard_normal((2, 1, 1, 16)), np.zeros((0, 3)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(PRINTED)))
def test_prints_as_pytorch(number: int) -> None:
    torch = pytest.importorskip("torch")
    array = minidl.tensor(PRINTED[number]).numpy()
    expected = repr(torch.tensor(array)).replace("torch.", "minidl.")
    assert repr(minidl.tensor(array)) == expected == str(minidl.tensor(array))


@pytest.mark.parametrize(
    "options",
    [{"precision": 2}, {"precision": 0}, {"edgeitems": 1, "threshold": 3}, {"linewidth": 40},
     {"sci_mode": True, "precision": 1}, {"sci_mode": False}, {"profile": "short"}],
    ids=str,
)  # fmt: skip
def test_print_options_are_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    try:
        for library in (minidl, torch):
            library.set_printoptions(**options)
        for value in PRINTED:
            array = minidl.tensor(value).numpy()
            if array.size > 1000 and {"linewidth", "sci_mode"} & set(options):
                continue  # PyTorch counts the dots as three numbers
            expected = repr(torch.tensor(array)).replace("torch.", "minidl.")
            assert repr(minidl.tensor(array)) == expected
    finally:
        for library in (minidl, torch):
            library.set_printoptions(profile="default")


def test_print_options() -> None:
    with pytest.raises(ArgumentError, match="profile"):
        minidl.set_printoptions(profile="wide")
    minidl.set_printoptions(precision=2, sci_mode=True)
    assert repr(minidl.tensor([0.5])) == "tensor([5.00e-01])"
    minidl.set_printoptions(profile="default")
    assert repr(minidl.tensor([0.5])) == "tensor([0.5000])"


def test_printing_says_what_matters(device: str) -> None:
    x = minidl.tensor([1.0, 2.5], requires_grad=True, device=device)
    where = "" if device == "cpu" else f", device='{x.device}'"
    assert repr(x) == f"tensor([1.0000, 2.5000]{where}, requires_grad=True)"
    assert repr(x * 2) == f"tensor([2., 5.]{where}, grad_fn=<MulBackward0>)"
    assert repr(x.detach().double()) == f"tensor([1.0000, 2.5000], dtype=minidl.float64{where})"
    assert f"{minidl.tensor(1.5, device=device)}" == "1.5"
    if device == "cpu":  # a note that does not fit begins a line
        assert repr(minidl.zeros(18) * x[0]).endswith("0., 0.],\n       grad_fn=<MulBackward0>)")
    assert f"{minidl.tensor([1], device=device)}" == f"tensor([1]{where})"
    assert repr(minidl.tensor([True, True], device=device)) == f"tensor([True, True]{where})"
    assert repr(minidl.tensor([True, False], device=device)) == f"tensor([ True, False]{where})"


def test_names() -> None:
    assert minidl.float is minidl.float32 and minidl.long is minidl.int64
    assert minidl.Tensor is Tensor
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = minidl.no_such_name


# --- Defaults -------------------------------------------------------------------------------------


def test_the_default_dtype_is_that_of_python_floats_and_new_tensors() -> None:
    ints = minidl.tensor([1, 2])
    assert minidl.get_default_dtype() == minidl.float32
    minidl.set_default_dtype(minidl.float64)
    try:
        made = [
            minidl.tensor(1.5), minidl.as_tensor([1.5]), minidl.zeros(2), minidl.rand(2),
            minidl.randn(2), minidl.full((2,), 0.5), minidl.eye(2), minidl.linspace(0, 1, 3),
            minidl.arange(0.0, 1.0), minidl.nn.Linear(2, 2).weight, ints / 2, ints + 0.5,
            ints.exp(), minidl.nn.BatchNorm2d(2).running_mean,
        ]  # fmt: skip
        assert {tensor.dtype for tensor in made} == {np.dtype("float64")}
        assert minidl.tensor(np.float32(1)).dtype == minidl.float32
        assert (minidl.ones(2, dtype=minidl.float32) * 0.5).dtype == minidl.float32
    finally:
        minidl.set_default_dtype(minidl.float32)
    for bad in (minidl.int64, None, "decimal"):
        with pytest.raises(DTypeError, match="set_default_dtype"):
            minidl.set_default_dtype(bad)
    assert minidl.get_default_dtype() == minidl.float32


@pytest.mark.parametrize(
    "call",
    [
        lambda: minidl.can_cast("text", minidl.float32),
        lambda: minidl.promote_types(1, minidl.float32),
        lambda: minidl.promote_types(minidl.tensor(1), minidl.float32),
        lambda: minidl.finfo("text"),
        lambda: minidl.iinfo(3),
        lambda: minidl.tensor([1], dtype=3),
        lambda: minidl.zeros(2, dtype=complex),
        lambda: minidl.zeros(2).to(3.5),
        lambda: minidl.nn.Linear(1, 1).to(dtype=object),
    ],
)
def test_what_is_no_dtype_is_refused(call: Any) -> None:
    with pytest.raises(DTypeError, match="expected a dtype such as minidl.float32, got"):
        call()


def test_the_default_device_is_that_of_new_tensors(device: str) -> None:
    minidl.set_default_device(device)
    try:
        assert minidl.get_default_device() == minidl.device(device)
        made = [
            minidl.tensor([1.5]), minidl.as_tensor(2), minidl.zeros(2), minidl.randn(2),
            minidl.randperm(3), minidl.nn.Linear(2, 2).weight,
        ]  # fmt: skip
        assert {str(tensor.device) for tensor in made} == {str(minidl.device(device))}
        assert str(minidl.from_numpy(np.zeros(1)).device) == "cpu"
        assert str(minidl.zeros(1, device="cpu").device) == "cpu"
    finally:
        minidl.set_default_device(None)
