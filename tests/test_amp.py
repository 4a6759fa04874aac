"""Mixed precision: autocast and GradScaler."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import amp, nn
from minidl.autograd.modes import mode
from minidl.errors import ArgumentError, AutogradError

HALF = 2.0**-11  # what rounding to float16 changes, relative to the number


def on(device: str, *shape: int) -> Any:
    return minidl.randn(*shape).to(device)


# --- On a CPU -------------------------------------------------------------------------------------


def test_on_a_cpu_autocast_does_nothing_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amp, "_told", set())
    x = minidl.ones(2, 2)
    with pytest.warns(UserWarning, match="does nothing on a CPU") as told:
        for _ in range(2):
            with amp.autocast("cpu"):
                assert (x @ x).dtype == minidl.float32
    assert len(told) == 1


def test_a_cpus_tensors_are_left_alone(gpu: str) -> None:
    x = minidl.ones(2, 2)
    with amp.autocast("cuda"):
        assert (x @ x).dtype == minidl.float32
        with pytest.raises(minidl.errors.DTypeError):
            x @ x.half()


@pytest.mark.parametrize("bad", [{"device_type": "tpu"}, {"device_type": True}])
def test_arguments_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="autocast"):
        amp.autocast(**bad)


# --- The lists ------------------------------------------------------------------------------------

IN_HALF = {
    "matmul": lambda x: x @ x,
    "mm": lambda x: minidl.mm(x, x),
    "bmm": lambda x: minidl.bmm(x[None], x[None]),
    "einsum": lambda x: minidl.einsum("ij,jk->ik", x, x),
    "linear": lambda x: F.linear(x, x, x[0]),
    "conv2d": lambda x: F.conv2d(x[None, None], x[None, None], padding=1),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x[None, None], x[None, None]),
}
IN_FLOAT = {
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "log1p": lambda x: x.log1p(),
    "cosh": lambda x: x.cosh(),
    "pow": lambda x: x**3,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: x.rsqrt(),
    "sum": lambda x: x.sum(),
    "prod": lambda x: x.prod(),
    "cumsum": lambda x: x.cumsum(0),
    "norm": lambda x: x.norm(),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "softplus": F.softplus,
    "layer_norm": lambda x: F.layer_norm(x, (4,), minidl.ones(4).to(x.device)),
    "group_norm": lambda x: F.group_norm(x, 2),
    "mse_loss": lambda x: F.mse_loss(x, x.float()),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, x),
    "cross_entropy": lambda x: F.cross_entropy(
        x, minidl.arange(4).to(x.device), weight=minidl.ones(4).to(x.device)
    ),
    "nll_loss": lambda x: F.nll_loss(x, minidl.arange(4).to(x.device)),
    "bce_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, x),
}
AS_IT_IS = {
    "relu": F.relu,
    "mul": lambda x: x * 2,
    "div": lambda x: x / 2,
    "sqrt": lambda x: x.sqrt(),
    "mean": lambda x: x.mean(),
    "max_pool2d": lambda x: F.max_pool2d(x[None, None], 2),
    "dropout": F.dropout,
    "local_response_norm": lambda x: F.local_response_norm(x[None, :, :, None], 5),
    "leaky_relu": F.leaky_relu,
    "cat": lambda x: minidl.cat([x, x]),
}


@pytest.mark.parametrize("name", IN_HALF)
def test_products_are_half(name: str, gpu: str) -> None:
    x = on(gpu, 4, 4).abs() + 0.5
    expected = IN_HALF[name](x)
    for given in (x, x.half()):
        with amp.autocast("cuda"):
            y = IN_HALF[name](given)
        assert y.dtype == minidl.float16 and expected.dtype == minidl.float32
        assert minidl.allclose(y.float(), expected, rtol=20 * HALF)


@pytest.mark.parametrize("name", IN_FLOAT)
def test_what_needs_the_range_is_float32(name: str, gpu: str) -> None:
    x = (on(gpu, 4, 4).abs() + 0.5).half()
    with amp.autocast("cuda"):
        y = IN_FLOAT[name](x)
    assert y.dtype == minidl.float32
    assert minidl.allclose(y, IN_FLOAT[name](x.float()), rtol=4 * HALF)


@pytest.mark.parametrize("name", AS_IT_IS)
def test_all_others_are_as_they_are(name: str, gpu: str) -> None:
    x = on(gpu, 4, 4).abs()
    with amp.autocast("cuda"):
        assert AS_IT_IS[name](x).dtype == minidl.float32
        assert AS_IT_IS[name](x.half()).dtype == minidl.float16
        assert (x + x.half()).dtype == minidl.float32  # the widest
    assert (x.double() @ x.double()).dtype == minidl.float64


def test_double_stays_double(gpu: str) -> None:
    x = on(gpu, 4, 4).double()
    with amp.autocast("cuda"):
        assert (x @ x).dtype == minidl.float64 and x.exp().dtype == minidl.float64


def test_cross_entropy_of_probabilities_is_refused(gpu: str) -> None:
    x = minidl.full((2,), 0.5).to(gpu)
    with amp.autocast("cuda"), pytest.raises(ArgumentError, match="with_logits"):
        F.binary_cross_entropy(x, x)


# --- The context ----------------------------------------------------------------------------------


def test_contexts_nest_and_end_with_an_error(gpu: str) -> None:
    x = on(gpu, 2, 2)
    with pytest.raises(ZeroDivisionError), amp.autocast("cuda"):
        assert amp.is_autocast_enabled()
        with minidl.autocast("gpu", enabled=False):
            assert (x @ x).dtype == minidl.float32 and not minidl.is_autocast_enabled()
        with minidl.cuda.amp.autocast():
            assert (x @ x).dtype == minidl.float16
        assert (x @ x).dtype == minidl.float16
        raise ZeroDivisionError
    assert (x @ x).dtype == minidl.float32 and mode.autocast is None


def test_it_decorates(gpu: str) -> None:
    @amp.autocast("cuda")
    def product(x: Any) -> Any:
        return x @ x

    assert product(on(gpu, 2, 2)).dtype == minidl.float16 and mode.autocast is None


def test_threads_have_their_own(gpu: str) -> None:
    seen = []
    with amp.autocast("cuda"):
        thread = threading.Thread(target=lambda: seen.append(amp.is_autocast_enabled()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_a_parameter_is_cast_once_until_it_changes(gpu: str, simulator: Any) -> None:
    w, x = on(gpu, 3, 3).requires_grad_(), on(gpu, 3, 3).half()
    with amp.autocast("cuda"), simulator.count() as used:
        first, second = F.linear(x, w), F.linear(x, w)
    assert used.kernels["narrow"] == 1 and minidl.equal(first, second)
    with amp.autocast("cuda", cache_enabled=False), simulator.count() as used:
        F.linear(x, w), F.linear(x, w)
    assert used.kernels["narrow"] == 2
    with amp.autocast("cuda"):
        F.linear(x, w)
        with minidl.no_grad():
            w.zero_()
        assert not F.linear(x, w).any()


def test_only_float16(gpu: str) -> None:
    with pytest.raises(ArgumentError, match="float16"):
        amp.autocast("cuda", minidl.float64)


# --- Gradients ------------------------------------------------------------------------------------


def test_gradients_of_gradients(gpu: str) -> None:
    w, v = on(gpu, 3, 3).requires_grad_(), on(gpu, 3, 3)

    def twice(enabled: bool) -> Any:
        with amp.autocast("cuda", enabled=enabled):
            z = F.linear(v, w)
            loss = (z * z * z).sum()
        (first,) = minidl.autograd.grad(loss, w, create_graph=True)
        (second,) = minidl.autograd.grad((first * first).sum(), w)
        return second

    exact = twice(False)
    assert (twice(True) - exact).abs().max() < 20 * HALF * exact.abs().max()


def test_sums_over_many_rows_are_added_up_in_float32(gpu: str) -> None:
    """In float16, 4096 ones and more are 2048; a bias has a gradient for each row."""
    layer = nn.Linear(4, 4).to(gpu)
    with amp.autocast("cuda"):
        y = layer(minidl.ones(70_000, 4, device=gpu))
    y.backward(minidl.ones_like(y))
    assert layer.bias.grad.tolist() == [70_000] * 4
    assert layer.weight.grad.dtype == minidl.float32 and layer.weight.grad.max() == 70_000


def net_and_batch(gpu: str, smooth: bool = False) -> Any:
    """The layers of AlexNet on pictures of 35 pixels; or smooth ones in place of ReLU and pools."""
    minidl.manual_seed(0)
    activation = nn.Tanh if smooth else nn.ReLU
    pool = nn.AvgPool2d if smooth else nn.MaxPool2d
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2), activation(), nn.LocalResponseNorm(5), pool(3, 2),
        nn.Conv2d(8, 16, 3, padding=1, groups=2), activation(), nn.LocalResponseNorm(3),
        nn.Conv2d(16, 16, 3, padding=1), activation(), pool(3, 2), nn.Flatten(),
        nn.Linear(144, 32), activation(), nn.Dropout(), nn.Linear(32, 10),
    ).to(gpu)  # fmt: skip
    return net, on(gpu, 6, 3, 35, 35), minidl.arange(6).to(gpu)


@pytest.mark.parametrize("smooth", [True, False])
def test_loss_and_gradients_are_float32s_within_rounding(gpu: str, smooth: bool) -> None:
    net, images, labels = net_and_batch(gpu, smooth)
    found = []
    for enabled in (False, True):
        minidl.manual_seed(1)  # dropout's
        net.zero_grad()
        with amp.autocast("cuda", enabled=enabled):
            logits = net(images)
            loss = F.cross_entropy(logits, labels)
        assert loss.dtype == minidl.float32
        assert logits.dtype == (minidl.float16 if enabled else minidl.float32)
        scaler = amp.GradScaler("cuda", enabled=enabled)
        scaler.scale(loss).backward()
        scaler.unscale_(minidl.optim.SGD(net.parameters(), lr=1.0))
        found.append([loss.item(), *[p.grad.cpu() for p in net.parameters()]])
    exact, mixed = found
    # Ten layers round their results, and as many their gradients.
    bound = 2 * 10 * HALF
    assert abs(mixed[0] - exact[0]) < bound * exact[0]
    if not smooth:
        # Of the numbers that decide about a gradient's way, by their sign or as a maximum, some are
        # so close that rounding decides: a share f of lost terms changes the norm by about √f.
        bound **= 0.5
    for ours, theirs in zip(mixed[1:], exact[1:], strict=True):
        assert ours.dtype == minidl.float32
        assert (ours - theirs).norm() < bound * theirs.norm()


# --- The scaler -----------------------------------------------------------------------------------


def one_weight(device: str, gradient: float = 1.0) -> Any:
    w = minidl.tensor([1.0], device=device, requires_grad=True)
    return w, minidl.optim.SGD([w], lr=0.25), minidl.tensor([gradient], device=device)


def test_overflow_skips_the_step_and_the_scale_falls_and_rises(device: str) -> None:
    w, optimizer, factor = one_weight(device)
    scaler = amp.GradScaler(device, init_scale=8.0, growth_interval=2)
    scales, weights = [], []
    for gradient in (1.0, np.inf, 1.0, 1.0, np.nan, 1.0):
        optimizer.zero_grad()
        scaler.scale((w * factor * gradient).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
        weights.append(w.item())
    assert scales == [8, 4, 4, 8, 4, 4]  # what PyTorch's has
    assert weights == [0.75, 0.75, 0.5, 0.25, 0.25, 0]


def test_a_gradient_too_large_for_float16_is_found(gpu: str) -> None:
    w, optimizer, _ = one_weight(gpu)
    scaler = amp.GradScaler("cuda")
    with amp.autocast("cuda"):
        y = (F.linear(minidl.ones(1, 1, device=gpu), w[:, None]) * 4).float().sum()
    scaler.scale(y).backward()  # 65536 · 4
    assert scaler.step(optimizer) is None and w.item() == 1
    scaler.update()
    assert scaler.get_scale() == 32768


def test_small_gradients_survive(gpu: str) -> None:
    for scaled in (False, True):
        w, optimizer, _ = one_weight(gpu)
        scaler = amp.GradScaler("cuda", enabled=scaled)
        with amp.autocast("cuda"):
            y = F.linear(minidl.ones(1, 1, device=gpu), w[:, None])
        scaler.scale((y.float() * 2.0**-26).sum()).backward()
        scaler.unscale_(optimizer)
        assert w.grad.item() == (2.0**-26 if scaled else 0)


def test_gradients_of_any_layout_are_unscaled(device: str) -> None:
    w = minidl.ones(2, 6, device=device, requires_grad=True)
    w.grad = minidl.full((2, 12), 8.0, device=device)[:, ::2]
    scaler = amp.GradScaler(device, init_scale=8.0)
    scaler.unscale_(minidl.optim.SGD([w], lr=1.0))
    assert (w.grad == 1).all()


def test_one_wait_a_step(gpu: str, simulator: Any) -> None:
    net, images, labels = net_and_batch(gpu)
    optimizer, scaler = minidl.optim.SGD(net.parameters(), lr=0.1), amp.GradScaler("cuda")
    for _ in range(2):
        with simulator.count() as used:
            with amp.autocast("cuda"):
                loss = F.cross_entropy(net(images), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert used.d2h == 1 and used.kernels["unscale"] == 1 and used.h2d == 0


def test_calls_in_the_wrong_order(device: str) -> None:
    w, optimizer, _ = one_weight(device)
    scaler = amp.GradScaler(device)
    for call in (scaler.update, lambda: scaler.step(optimizer)):
        with pytest.raises(AutogradError, match="gradient"):
            call()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(AutogradError, match="already"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    for call in (scaler.step, scaler.unscale_):
        with pytest.raises(AutogradError, match=r"already|after step"):
            call(optimizer)
    scaler.update()
    w.grad = None
    half = minidl.ones(1, device=device, dtype=minidl.float16).requires_grad_()
    half.grad = minidl.ones_like(half)
    with pytest.raises(ArgumentError, match="float16"):
        scaler.unscale_(minidl.optim.SGD([half], lr=1.0))
    with pytest.raises(ArgumentError, match="closures"):
        scaler.step(optimizer, closure=lambda: None)
    for wrong in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}):
        with pytest.raises(ArgumentError, match="factor"):
            amp.GradScaler(device, **wrong)


def test_state(device: str) -> None:
    scaler = amp.GradScaler(device, init_scale=8.0, growth_interval=7)
    state = scaler.state_dict()
    assert state == {"scale": 8, "growth_factor": 2, "backoff_factor": 0.5, "growth_interval": 7,
                     "_growth_tracker": 0}  # fmt: skip
    other = amp.GradScaler(device)
    other.load_state_dict(state)
    assert other.state_dict() == state
    with pytest.raises(ArgumentError, match="switched off"):
        other.load_state_dict(amp.GradScaler(device, enabled=False).state_dict())
    assert amp.GradScaler(device, enabled=False).get_scale() == 1
    scaler.update(3.0)
    assert scaler.get_scale() == 3


def test_several_outputs_are_scaled(device: str) -> None:
    scaler = amp.GradScaler(device, init_scale=4.0)
    one, two = scaler.scale([minidl.ones(1, device=device), minidl.ones((), device=device)])
    assert one.item() == two.item() == 4
    half = scaler.scale(minidl.ones((), device=device, dtype=minidl.float16))
    assert half.dtype == minidl.float32  # where the scaled loss fits


def test_without_a_gpu_the_scaler_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amp, "_told", set())
    monkeypatch.setattr(amp, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="no GPU"):
        assert not amp.GradScaler().is_enabled()
