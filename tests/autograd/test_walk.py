"""The walk back: what is added up, kept, freed and refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl import Tensor
from minidl.errors import ArgumentError, AutogradError, DTypeError, ShapeError


def leaf(*values: float, device: str) -> Tensor:
    return minidl.tensor(list(values), dtype=minidl.float64, device=device, requires_grad=True)


# --- Adding up ------------------------------------------------------------------------------------


def test_gradients_accumulate_over_uses_and_calls(device: str) -> None:
    x = leaf(2.0, 3.0, device=device)
    y = x * x + 3 * x
    y.sum().backward()
    assert x.grad.tolist() == [7.0, 9.0]
    (x * 2).sum().backward()
    assert x.grad.tolist() == [9.0, 11.0]
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_accumulation_is_in_place(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    x.sum().backward()
    first, count = x.grad, x.grad.version[0]
    x.sum().backward()
    assert x.grad is first and first.tolist() == [2.0, 2.0] and first.version[0] > count


def test_a_flat_buffer_under_all_gradients_fills(device: str) -> None:
    net = minidl.nn.Sequential(minidl.nn.Linear(3, 2), minidl.nn.Linear(2, 2)).to(device)
    parameters = list(net.parameters())
    flat, start = minidl.zeros(sum(p.numel() for p in parameters), device=device), 0
    for p in parameters:
        p.grad = flat[start : start + p.numel()].view(p.shape)
        start += p.numel()
    for _ in range(2):
        net(minidl.ones(4, 3, device=device)).sum().backward()
    seen = minidl.cat([p.grad.reshape(-1) for p in parameters])
    assert flat.tolist() == seen.tolist() and flat[-1].item() == 8


def test_accumulation_overwrites_no_gradient_that_is_shared(device: str) -> None:
    x, y = leaf(1.0, 2.0, device=device), leaf(3.0, 4.0, device=device)
    for _ in range(2):
        (x + y).sum().backward()  # Add hands one array to both
    assert x.grad.tolist() == y.grad.tolist() == [2.0, 2.0]
    seed = minidl.ones(2, dtype=minidl.float64, device=device)
    z = leaf(5.0, 6.0, device=device)
    for _ in range(2):
        (z + 0).backward(seed)
    assert z.grad.tolist() == [2.0, 2.0] and seed.tolist() == [1.0, 1.0]
    z.grad = minidl.ones(1, dtype=minidl.float64, device=device).expand(2)
    z.sum().backward()  # an expanded one can't be added to in place
    assert z.grad.tolist() == [2.0, 2.0]


def test_diamond_is_walked_once_per_node(device: str) -> None:
    calls = []

    class Count(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            calls.append(grad.copy())
            return grad

    x = leaf(1.0, device=device)
    shared = Count.apply(x)
    (shared * 2 + shared * shared).sum().backward()
    assert len(calls) == 1 and calls[0] == 4.0 and x.grad.item() == 4.0


@pytest.mark.parametrize(
    "build",
    [
        lambda a, b: a + b, lambda a, b: minidl.cat([a, b])[:3] + minidl.cat([a, b])[3:],
        lambda a, b: minidl.stack([a, b]).sum(0), lambda a, b: (a + b).view(3, 1).t(),
        lambda a, b: a.expand(2, 3) + b.expand(2, 3), lambda a, b: a.view(3) + b.view(3),
    ],
)  # fmt: skip
def test_gradients_share_no_memory(build: Any, device: str) -> None:
    a, b = leaf(1, 2, 3, device=device), leaf(4, 5, 6, device=device)
    out = build(a, b)
    seed = minidl.ones(*out.shape, dtype=minidl.float64, device=device)
    out.backward(seed)
    arrays = [a.grad.array, b.grad.array, seed.array, a.array, b.array, out.array]
    for i, first in enumerate(arrays):
        for second in arrays[i + 1 :]:
            assert not helpers.shares_memory(first, second)
    a.grad.add_(5)  # writable, and nobody else's
    assert b.grad.tolist() == [float(np.prod(out.shape) / 3)] * 3


def test_gradient_returned_and_kept_by_the_function_is_copied(device: str) -> None:
    kept = []

    class Keeps(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            dx = grad * 2
            kept.append(dx)
            return dx

    x = leaf(1, 2, device=device)
    Keeps.apply(x).sum().backward()
    x.grad.zero_()
    assert kept[0].tolist() == [2.0, 2.0]


def test_broadcast_gradient_of_sum_can_be_changed_in_place(device: str) -> None:
    x = minidl.ones(3, 4, requires_grad=True, device=device)
    x.sum().backward()
    x.grad[0, 0] = 7.0
    assert x.grad.array.sum() == 18.0


def test_gradient_has_the_dtype_of_its_leaf(device: str) -> None:
    x = minidl.ones(3, requires_grad=True, device=device)
    (x.double() * minidl.ones(3, dtype=minidl.float64, device=device)).sum().backward()
    assert x.grad.dtype == np.float32
    y = minidl.ones(3, requires_grad=True, device=device)
    (y * minidl.ones(3, dtype=minidl.float64, device=device)).sum().backward()
    assert y.grad.dtype == np.float32


# --- backward and grad ----------------------------------------------------------------------------


def test_backward_needs_a_gradient_for_more_than_one_element(device: str) -> None:
    x = leaf(1, 2, device=device)
    with pytest.raises(AutogradError, match="one element"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match="gradient"):
        (x * 2).backward(minidl.ones(3, device=device))
    (x * 2).backward(minidl.tensor([1.0, 10.0], device=device))
    assert x.grad.tolist() == [2.0, 20.0]


def test_backward_of_something_that_needs_none(device: str) -> None:
    with pytest.raises(AutogradError, match="does not require a gradient"):
        minidl.ones(1, device=device).backward()
    with pytest.raises(DTypeError, match="requires_grad"):
        minidl.tensor([1], requires_grad=True, device=device)


def test_backward_on_a_leaf_itself(device: str) -> None:
    x = leaf(3.0, device=device)
    x.backward()
    assert x.grad.tolist() == [1.0]


def test_backward_of_several_tensors_at_once(device: str) -> None:
    x = leaf(2.0, 3.0, device=device)
    y, z = x * x, x * 5
    of_y, of_z = minidl.ones(2, device=device), minidl.tensor([1.0, 0.0], device=device)
    minidl.autograd.backward([y, z], [of_y, of_z])
    assert x.grad.tolist() == [9.0, 6.0]
    with pytest.raises(ArgumentError, match="grad_tensors"):
        minidl.autograd.backward([x * 1, x * 2], [minidl.ones(2, device=device)])


def test_second_walk_needs_retain_graph(device: str) -> None:
    x = leaf(2.0, device=device)
    y = (x * x).exp()
    y.backward(retain_graph=True)
    once = x.grad.item()
    y.backward()
    assert x.grad.item() == pytest.approx(2 * once)
    with pytest.raises(AutogradError, match="retain_graph=True"):
        y.backward()


def test_shared_part_that_was_freed(device: str) -> None:
    x = leaf(2.0, device=device)
    shared = x * x
    shared.exp().sum().backward()
    with pytest.raises(AutogradError, match="freed already"):
        shared.sin().sum().backward()


def test_grad_leaves_grad_alone(device: str) -> None:
    x, y = leaf(2.0, device=device), leaf(5.0, device=device)
    z = x * y
    dx, dz = minidl.autograd.grad(z * z, (x, z), retain_graph=True)
    assert (dx.item(), dz.item()) == (100.0, 20.0)
    assert x.grad is None and y.grad is None
    (by_y,) = minidl.autograd.grad(z, y, grad_outputs=minidl.tensor([3.0], device=device))
    assert by_y.item() == 6.0


def test_grad_of_an_intermediate_is_not_overwritten(device: str) -> None:
    """ReLU's backward takes the memory of a gradient that nobody else holds."""
    x = leaf(-1.0, 2.0, -3.0, device=device)
    y = (x * 1).relu()
    dx, dy = minidl.autograd.grad((y * leaf(5.0, 6.0, 7.0, device=device)).sum(), (x, y))
    assert dy.tolist() == [5.0, 6.0, 7.0] and dx.tolist() == [0.0, 6.0, 0.0]


def test_grad_of_an_unused_input(device: str) -> None:
    x, y = leaf(2.0, device=device), leaf(5.0, device=device)
    with pytest.raises(AutogradError, match="not used"):
        minidl.autograd.grad(x * 2, y)
    assert minidl.autograd.grad(x * 2, (x, y), allow_unused=True)[1] is None
    with pytest.raises(AutogradError, match="does not require"):
        minidl.autograd.grad(x * 2, minidl.ones(1, device=device))


def test_grad_names_the_tensor(device: str) -> None:
    x, y = leaf(2.0, device=device), leaf(5.0, device=device)
    y.name = "encoder.weight"
    with pytest.raises(AutogradError, match=r"encoder\.weight"):
        minidl.autograd.grad(x * 2, y)


def test_retain_grad_of_an_intermediate(device: str) -> None:
    x = leaf(2.0, 3.0, device=device)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [12.0, 18.0] and not y.is_leaf
    z = (x * 1).relu()
    z.retain_grad()
    (z * -x).sum().backward()
    assert z.grad.tolist() == [-2.0, -3.0]


def test_a_retained_gradient_is_added_to_in_new_memory(device: str) -> None:
    x = leaf(2.0, 3.0, device=device)
    y = x * 3
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    first = y.grad
    z.backward()
    assert first.tolist() == [12.0, 18.0] and y.grad.tolist() == [24.0, 36.0]
    leafs = x.grad
    (x * 1).sum().backward()
    assert x.grad is leafs  # a leaf's is changed in place


def test_a_gradient_that_no_longer_fits_its_leaf(device: str) -> None:
    x = leaf(2.0, 3.0, device=device)
    x.sum().backward()
    x.data = minidl.ones(3, dtype=x.dtype, device=device)
    with pytest.raises(ShapeError, match=r"shape \(3,\) can't be added to a .grad of shape \(2,\)"):
        (x * 1).sum().backward()


# --- Threads --------------------------------------------------------------------------------------


def test_threads_walk_back_to_the_same_leaf(device: str) -> None:
    x = minidl.ones(1000, dtype=minidl.float64, requires_grad=True, device=device)
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for _ in range(50):
            (x * number).sum().backward()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, i) for i in range(1, 5)]:
            future.result()
    assert (helpers.host(x.grad) == 50 * 10).all()


def test_threads_with_networks_of_their_own(device: str) -> None:
    def work(seed: int) -> list[float]:
        rng = np.random.default_rng(seed)
        w = minidl.tensor(rng.standard_normal((8, 8)), requires_grad=True, device=device)
        x = minidl.tensor(rng.standard_normal((8, 8)), device=device)
        for _ in range(20):
            (x @ w).tanh().sum().backward()
        return w.grad.array.sum(axis=0).tolist()  # type: ignore[no-any-return]

    with ThreadPoolExecutor(4) as pool:
        together = [f.result() for f in [pool.submit(work, seed) for seed in range(8)]]
    assert together == [work(seed) for seed in range(8)]


def test_no_warnings_of_infinities(device: str) -> None:
    """Warnings are errors in this suite."""
    x = minidl.tensor([0.0, -1.0, np.inf], requires_grad=True, device=device)
    y = x.log() + x.sqrt() + 1 / x + x / x + (x - x) + x**-0.5 + x.exp() * x.exp()
    y.sum().backward()
    big = minidl.zeros(1 << 18, device=device)
    assert np.isinf(helpers.host(1 / big)).all() and np.isneginf(helpers.host(big.log())).all()
    helpers.assert_close(big.exp(), np.ones(1 << 18))


# --- Asked for some tensors -----------------------------------------------------------------------


def test_backward_into_some_inputs(device: str) -> None:
    x, y = leaf(2.0, device=device), leaf(5.0, device=device)
    h = x * y
    z = h * h + y
    z.backward(inputs=[y, h], retain_graph=True)
    assert x.grad is None and y.grad.item() == 41.0 and h.grad.item() == 20.0
    z.backward(inputs=h, retain_graph=True)
    assert y.grad.item() == 41.0 and h.grad.item() == 40.0
    minidl.autograd.backward([z], inputs=[x, x])
    assert x.grad.item() == 100.0 and y.grad.item() == 41.0
    assert h.grad.item() == 60.0  # retained since it was an input
    (x * 2).backward(inputs=[leaf(1.0, device=device)])  # not used: nothing happens
    for wrong in ([], [minidl.ones(1, device=device)]):
        with pytest.raises(AutogradError, match="empty|does not require"):
            (x * 2).backward(inputs=wrong)


def test_only_what_leads_to_the_input_is_visited_and_freed(device: str) -> None:
    visited = []

    class Note(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, name: str) -> Any:
            ctx.name = name
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            visited.append(ctx.name)
            return grad, None

    x = leaf(2.0, 3.0, device=device)
    side = Note.apply(x, "side")
    y = Note.apply(x, "below") * 3
    z = Note.apply((y * y + side).sum(), "above")
    (dy,) = minidl.autograd.grad(z, y)
    assert dy.tolist() == [12.0, 18.0] and visited == ["above"]
    (y + side).sum().backward()  # neither was freed
    assert x.grad.tolist() == [4.0, 4.0] and sorted(visited) == ["above", "below", "side"]


def test_grad_beyond_a_part_that_was_freed(device: str) -> None:
    x, w = leaf(2.0, device=device), leaf(3.0, device=device)
    shared = w.exp()
    shared.sum().backward()
    assert minidl.autograd.grad((shared * x).sum(), x)[0].item() == pytest.approx(np.exp(3.0))
    with pytest.raises(AutogradError, match="freed already"):
        minidl.autograd.grad((shared * x).sum(), w)
    h = x * x
    h.sum().backward()
    assert minidl.autograd.grad((h * h).sum(), h)[0].item() == 8.0  # h's own node isn't needed


def test_grad_of_one_input_twice_and_of_the_output_itself(device: str) -> None:
    x = leaf(2.0, device=device)
    y = x * 3
    assert [g.item() for g in minidl.autograd.grad(y, (x, x, y), retain_graph=True)] == [3, 3, 1]
    assert minidl.autograd.grad(x, x)[0].item() == 1.0
    first, second = minidl.autograd.grad(y, (x, x))
    assert not helpers.shares_memory(first.array, second.array)


def test_grad_of_several_outputs(device: str) -> None:
    x = leaf(2.0, device=device)
    y, z = x * 3, x * x
    (dx,) = minidl.autograd.grad([y, z, x], [x])
    assert dx.item() == 8.0


def test_grad_fills_in_zeros(device: str) -> None:
    x, y = leaf(2.0, device=device), leaf(5.0, 6.0, device=device)
    assert minidl.autograd.grad(x * 2, (x, y), materialize_grads=True)[1].tolist() == [0.0, 0.0]
    with pytest.raises(ArgumentError, match="allow_unused"):
        minidl.autograd.grad(x * 2, y, allow_unused=False, materialize_grads=True)
    with pytest.raises(AutogradError, match="empty"):
        minidl.autograd.grad(x * 2, [])


def test_grad_has_the_dtype_of_its_input(device: str) -> None:
    x = minidl.ones(3, requires_grad=True, device=device)
    for y in (x * minidl.ones(3, dtype=minidl.float64, device=device), x.double()):
        assert minidl.autograd.grad(y.sum(), x)[0].dtype == np.float32


def test_hooks_run_before_a_gradient_is_collected(device: str) -> None:
    x, seen = leaf(2.0, device=device), []
    y = x * 3
    x.register_hook(lambda grad: grad * 5)
    y.register_hook(lambda grad: grad * 10)
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf))
    dx, dy = minidl.autograd.grad(y, (x, y))
    assert dx.item() == 150.0 and dy.item() == 10.0 and not seen and x.grad is None


@pytest.mark.parametrize("hooked", [False, True])
def test_a_leaf_switched_off_after_the_forward_gets_no_gradient(hooked: bool) -> None:
    x, w = minidl.ones(2, requires_grad=True), minidl.ones(2, requires_grad=True)
    if hooked:
        x.register_post_accumulate_grad_hook(lambda leaf: pytest.fail("nothing is accumulated"))
    y = (x * w).sum()
    x.requires_grad_(False)
    y.backward()
    assert x.grad is None
    assert w.grad.tolist() == [1.0, 1.0]


def test_a_seed_that_is_no_tensor_is_refused() -> None:
    x = minidl.ones(2, requires_grad=True)
    with pytest.raises(DTypeError, match="expected a Tensor or None, got a float"):
        minidl.autograd.grad((x * 2).sum(), x, 1.0)
