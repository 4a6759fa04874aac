"""gradcheck: right gradients pass, wrong ones fail and the message says where."""

from __future__ import annotations

import re
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.autograd import Function
from minidl.autograd.gradcheck import gradcheck
from minidl.autograd.judge import FULL_JACOBIAN_LIMIT
from minidl.errors import ArgumentError, DTypeError, GradcheckError


def leaf(*shape: int, seed: int = 0, device: str) -> minidl.Tensor:
    return helpers.leaf(helpers.values(shape, seed), device)


def cubes(backward: Any) -> Any:
    """A function x -> x³ whose backward is ``backward(x, grad)``."""

    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return backward(*ctx.saved_tensors, grad)

    return Cube.apply


class MatMul(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        a, b = ctx.saved_tensors
        return grad @ b.T, a.T @ grad


class TransposedMatMul(MatMul):
    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        a, b = ctx.saved_tensors
        return grad @ b, a.T @ grad  # right only for symmetric b


BIG = (FULL_JACOBIAN_LIMIT // 100 + 1, 10)  # more than the limit with the output as large


# ---- right gradients pass ----


@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (0, 3), BIG])
def test_right_function_passes(shape: tuple[int, ...], device: str) -> None:
    x = leaf(*shape, device=device)
    assert gradcheck(cubes(lambda x, g: 3 * x * x * g), (x,)) is True
    assert gradcheck(cubes(lambda x, g: 3 * x * x * g), x)  # a single input without its tuple


@pytest.mark.parametrize("fast_mode", [None, False, True])
def test_modes_agree(fast_mode: bool | None, device: str) -> None:
    a, b = leaf(3, 4, device=device), leaf(4, 5, seed=1, device=device)
    assert gradcheck(MatMul.apply, (a, b), fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="input 0"):
        gradcheck(TransposedMatMul.apply, (a, leaf(4, 4, device=device)), fast_mode=fast_mode)


def test_is_reachable_under_both_names() -> None:
    assert minidl.gradcheck is gradcheck
    assert minidl.autograd.gradcheck is gradcheck


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_every_memory_layout(layout: str, device: str) -> None:
    x = helpers.leaf(helpers.LAYOUTS[layout](helpers.values((2, 3, 4, 2), 0)), device=device)
    before = helpers.host(x).copy()
    assert gradcheck(lambda x: (x * x).sum((1, 2)), (x,))
    assert x.grad is None, "the user's tensor is not part of the check's tape"
    np.testing.assert_array_equal(helpers.host(x), before)


def test_other_arguments_are_handed_on(device: str) -> None:
    def pick(x: minidl.Tensor, index: minidl.Tensor, factor: float, name: str) -> minidl.Tensor:
        assert name == "as it is"
        return x[index] * factor

    index = minidl.tensor([2, 0, 2], device=device)
    assert gradcheck(pick, (leaf(4, device=device), index, 2.5, "as it is"))


def test_inputs_without_requires_grad_are_constants(device: str) -> None:
    constant = helpers.leaf(helpers.values((4, 4), 1), requires_grad=False, device=device)
    wrong_in_the_second = cubes(lambda x, g: 0 * g)
    assert gradcheck(lambda a, b: a @ wrong_in_the_second(b), (leaf(2, 4, device=device), constant))


def test_several_outputs(device: str) -> None:
    class Both(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x, 3 * x

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * first + 3 * second

    class WrongInSecond(Both):
        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * first + 4 * second

    assert gradcheck(Both.apply, (leaf(3, device=device),))
    assert gradcheck(lambda x: list(Both.apply(x)), (leaf(3, device=device),))
    with pytest.raises(GradcheckError, match="output 1"):
        gradcheck(WrongInSecond.apply, (leaf(3, device=device),))


def test_integer_output_is_left_out(device: str) -> None:
    class WithIndex(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            index = x.argmax(0)
            ctx.mark_non_differentiable(index)
            return 2 * x, index

        @staticmethod
        def backward(ctx: Any, grad: Any, of_index: Any) -> Any:
            return 2 * grad

    assert gradcheck(WithIndex.apply, (leaf(3, device=device),))


def test_an_unused_input_has_gradient_zero(device: str) -> None:
    assert gradcheck(lambda a, b: a * 2, (leaf(3, device=device), leaf(2, seed=1, device=device)))


# ---- wrong gradients fail, and the message says where ----


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), BIG])
def test_wrong_factor(shape: tuple[int, ...], device: str) -> None:
    func = cubes(lambda x, g: 2 * x * x * g)
    with pytest.raises(GradcheckError, match="input 0"):
        gradcheck(func, (leaf(*shape, device=device),))
    assert gradcheck(func, (leaf(*shape, device=device),), raise_exception=False) is False


@pytest.mark.parametrize(
    "forgets",
    [
        lambda g: (g[1:] == 0).all() and g[0].all(),  # as in y[0].sum()
        lambda g: (g[0] == 0).all() and g[1:].all(),
        lambda g: (g[:, 0] == 0).all() and g[:, 1:].all(),
        lambda g: (g != 0).sum() == 2,
        lambda g: (g != 0).sum() == g.size // 2,  # as behind a dropout
    ],
)
def test_gradients_with_zeros(forgets: Any, device: str) -> None:
    func = cubes(lambda x, g: 3 * x * x * g * (0.5 if forgets(g) else 1.0))
    with pytest.raises(GradcheckError, match="not linear in the gradient of the output"):
        gradcheck(func, (leaf(4, 3, device=device),))


def test_error_of_one_percent_is_found(device: str) -> None:
    with pytest.raises(GradcheckError):
        gradcheck(cubes(lambda x, g: 3.03 * x * x * g), (leaf(5, device=device),))


def one_entry_forgotten(index: tuple[int, ...]) -> Any:
    def backward(x: Any, grad: Any) -> Any:
        result = 3 * x * x * grad
        result[index] = 0
        return result

    return cubes(backward)


@pytest.mark.parametrize("index", [(0, 0), (1, 2), (2, 3)])
def test_message_names_the_one_wrong_entry(index: tuple[int, int], device: str) -> None:
    x = leaf(3, 4, device=device)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(one_entry_forgotten(index), (x,))
    message = str(caught.value)
    assert "output 0" in message and "input 0 (shape (3, 4))" in message
    assert f"at input index {index}, output index {index}" in message
    value = 3 * helpers.host(x)[index] ** 2
    numerical, analytical, difference = (
        float(found)
        for found in re.search(
            r"numerical (\S+), analytical (\S+), difference (\S+) ", message
        ).groups()
    )
    assert analytical == 0
    np.testing.assert_allclose([numerical, difference], value, rtol=1e-2)
    assert "1 of 144 entries differ" in message


@pytest.mark.parametrize("index", [(0, 0), (77, 7), (BIG[0] - 1, BIG[1] - 1)])
def test_one_wrong_entry_among_many_is_found_by_halving(
    index: tuple[int, int], device: str
) -> None:
    with pytest.raises(GradcheckError, match=re.escape(f"ends at input index {index}: numerical")):
        gradcheck(one_entry_forgotten(index), (leaf(*BIG, device=device),))


def test_message_uses_the_name_of_the_tensor(device: str) -> None:
    x = leaf(2, device=device)
    x.name = "pixels"
    with pytest.raises(GradcheckError, match=re.escape("input 0 ('pixels')")):
        gradcheck(cubes(lambda x, g: g), (x,))


def test_second_input_wrong(device: str) -> None:
    class Wrong(MatMul):
        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            a, b = ctx.saved_tensors
            return grad @ b.T, -(a.T @ grad)

    with pytest.raises(GradcheckError, match="input 1"):
        gradcheck(Wrong.apply, (leaf(3, 4, device=device), leaf(4, 5, device=device)))


@pytest.mark.parametrize("shape", [(3,), BIG])
def test_nan_is_wrong(shape: tuple[int, ...], device: str) -> None:
    with pytest.raises(GradcheckError):
        gradcheck(cubes(lambda x, g: g * np.nan), (leaf(*shape, device=device),))


def test_missing_gradient_is_wrong(device: str) -> None:
    with pytest.raises(GradcheckError, match="analytical 0"):
        gradcheck(cubes(lambda x, g: None), (leaf(3, device=device),))


# ---- backward passes that misbehave ----


def test_wrong_shape(device: str) -> None:
    with pytest.raises(GradcheckError, match="shape"):
        gradcheck(cubes(lambda x, g: (3 * x * x * g)[None]), (leaf(3, device=device),))


def test_wrong_dtype(device: str) -> None:
    with pytest.raises(GradcheckError, match="dtype float32, expected .* float64"):
        gradcheck(cubes(lambda x, g: (3 * x * x * g).astype(np.float32)), (leaf(3, device=device),))


def test_backward_that_changes_its_argument(device: str) -> None:
    def backward(x: Any, grad: Any) -> Any:
        grad *= 3 * x * x
        return grad

    with pytest.raises(GradcheckError, match="changed the gradient of output 0 in place"):
        gradcheck(cubes(backward), (leaf(3, device=device),))


def test_backward_that_changes_the_input(device: str) -> None:
    def backward(x: Any, grad: Any) -> Any:
        x *= x
        return 3 * x * grad

    with pytest.raises(GradcheckError, match="changed input 0 in place"):
        gradcheck(cubes(backward), (leaf(3, device=device),))


def test_backward_that_consumes_what_it_saved(device: str) -> None:
    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.slope = 3 * x * x
            return x * x * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            ctx.slope *= grad
            return ctx.slope.copy()

    with pytest.raises(GradcheckError, match="differs between two backward passes"):
        gradcheck(Cube.apply, (leaf(3, device=device),))


def test_random_backward(device: str) -> None:
    rng = np.random.default_rng(0)
    noisy = cubes(lambda x, g: 3 * x * x * g * (1 + 1e-12 * rng.standard_normal()))
    with pytest.raises(GradcheckError, match="not deterministic"):
        gradcheck(noisy, (leaf(3, device=device),))
    assert gradcheck(noisy, (leaf(3, device=device),), nondet_tol=1e-9)


def test_random_forward(device: str) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="not deterministic: its output 0 differs"):
        gradcheck(lambda x: x * rng.standard_normal(), (leaf(3, device=device),))


# ---- arguments ----


def test_float32_warns(device: str) -> None:
    x = helpers.leaf(helpers.values((3,), 0, np.float32), device=device)
    with pytest.warns(UserWarning, match="input 0 requires a gradient and has dtype float32"):
        gradcheck(cubes(lambda x, g: 3 * x * x * g), (x,), eps=1e-2, atol=1e-2, rtol=1e-2)


def test_nothing_to_check(device: str) -> None:
    x = helpers.leaf(helpers.values((3,), 0), requires_grad=False, device=device)
    with pytest.raises(ArgumentError, match="requires_grad=True"):
        gradcheck(lambda x: x * 2, (x,))
    with pytest.raises(ArgumentError, match="requires_grad=True"):
        gradcheck(lambda x: x * 2, (x,), raise_exception=False)


def test_output_that_left_the_tape(device: str) -> None:
    with pytest.raises(GradcheckError, match="no output of func requires a gradient"):
        gradcheck(lambda x: (x * 2).detach(), (leaf(3, device=device),))


def test_bad_eps(device: str) -> None:
    with pytest.raises(ArgumentError, match="eps"):
        gradcheck(lambda x: x * 2, (leaf(3, device=device),), eps=0)


def test_result_that_is_no_tensor(device: str) -> None:
    with pytest.raises(DTypeError, match="result 1 is of type float"):
        gradcheck(lambda x: (x * 2, 1.0), (leaf(3, device=device),))


# ---- modules ----


class Scale(nn.Module):
    """y = factor·(x − shift), with a gradient of `shift` that may be wrong."""

    def __init__(self, right: bool) -> None:
        super().__init__()
        self.factor = nn.Parameter(minidl.tensor([2.0, 3.0]))
        self.shift = nn.Parameter(minidl.tensor([0.5, -1.0]))
        self.right = right

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        shift = self.shift if self.right else self.shift * 0 + self.shift.detach()
        return self.factor * (x - shift)


def test_module_in_float32_is_checked_in_float64(device: str) -> None:
    module = Scale(right=True).to(device)
    x = helpers.leaf(helpers.values((3, 2), 0, np.float32), device=device)
    before = {name: helpers.host(value).copy() for name, value in module.named_parameters()}
    assert gradcheck(module, (x,))
    for name, parameter in module.named_parameters():
        assert parameter.dtype == np.float32
        assert parameter.grad is None
        np.testing.assert_array_equal(helpers.host(parameter), before[name])
    assert x.dtype == np.float32 and x.grad is None


def test_message_names_the_parameter(device: str) -> None:
    net = nn.Sequential(Scale(right=True).to(device), Scale(right=False).to(device))
    with pytest.raises(GradcheckError, match=re.escape("parameter '1.shift' (shape (2,))")):
        gradcheck(net, (leaf(3, 2, device=device),))


def test_frozen_parameters_are_left_out(device: str) -> None:
    module = Scale(right=False).to(device)
    module.shift.requires_grad = False
    assert gradcheck(module, (leaf(3, 2, device=device),))


def test_module_with_inputs_that_need_no_gradient(device: str) -> None:
    x = helpers.leaf(helpers.values((3, 2), 0), requires_grad=False, device=device)
    assert gradcheck(Scale(right=True).to(device), (x,))
    with pytest.raises(GradcheckError, match="shift"):
        gradcheck(Scale(right=False).to(device), (x,))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_keeps_its_mode_and_its_buffers(training: bool, device: str) -> None:
    module = nn.BatchNorm2d(2).to(device).train(training)
    module.running_mean.fill_(0.25)
    module.running_var.fill_(2.0)
    before = {name: helpers.host(value).copy() for name, value in module.named_buffers()}
    assert gradcheck(module, (leaf(3, 2, 2, 2, device=device),))
    assert module.training is training
    for name, buffer in module.named_buffers():
        np.testing.assert_array_equal(helpers.host(buffer), before[name])


def test_a_whole_small_network_with_its_loss(device: str) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(2, 4, 3, stride=2, ceil_mode=True),
                nn.ReLU(),
                nn.LocalResponseNorm(3, alpha=1.0, k=2.0, groups=2),
                nn.MaxPool2d(3, 2),
                nn.Conv2d(4, 4, 3, padding=1, groups=2),
                nn.Tanh(),
                nn.Flatten(),
                nn.Linear(16, 3),
            )

        def forward(self, x: minidl.Tensor, labels: minidl.Tensor) -> minidl.Tensor:
            return nn.functional.cross_entropy(self.features(x), labels)

    arguments = (leaf(2, 2, 10, 10, device=device), minidl.tensor([0, 2], device=device))
    for fast_mode in (False, True):
        assert gradcheck(Network().to(device), arguments, fast_mode=fast_mode)


def test_dropout_in_training_is_refused_with_advice(device: str) -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)).to(device)
    with pytest.raises(GradcheckError, match=re.escape("eval()")):
        gradcheck(net, (leaf(4, 8, device=device),))
    assert gradcheck(net.eval(), (leaf(4, 8, device=device),))
