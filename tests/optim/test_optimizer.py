"""Features of all optimizers: groups, memory layouts, pieces, threads, saving."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, CheckpointError, DTypeError, ShapeError
from minidl.kernels.cpu import many as pieces
from minidl.kernels.cuda import many
from minidl.optim import SGD, Adam, AdamW, Optimizer, param_groups

MAKERS = {
    "sgd": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "damped": lambda params: SGD(
        params, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01, maximize=True
    ),
    "paper": lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, rate_in_velocity=True),
    "adam": lambda params: Adam(params, lr=0.1, weight_decay=0.01, amsgrad=True),
    "adamw": lambda params: AdamW(params, lr=0.1),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def parameter(array: Any, device: str = "cpu") -> Any:
    """Return a parameter with the memory layout of `array`."""
    return minidl.nn.Parameter(minidl.Tensor(array).to(device))


def values(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def in_layout(array: Any, layout: str) -> Any:
    """Return a copy of `array` in another memory layout."""
    if layout == "C":
        return array.copy()
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "channels-last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    if layout == "reversed":
        return array[::-1].copy()[::-1]
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


LAYOUTS = ["C", "F", "channels-last", "reversed", "sliced"]


@makers
@pytest.mark.parametrize("of_param", LAYOUTS)
@pytest.mark.parametrize("of_grad", LAYOUTS)
def test_any_memory_layout_gives_the_same_bits(
    make: Any, of_param: str, of_grad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 50)  # many pieces, the last ones short
    monkeypatch.setattr(pieces, "TASK", 100)
    shape = (7, 6, 5)
    plain, other = parameter(values(shape, 1)), parameter(in_layout(values(shape, 1), of_param))
    memory = other.array
    first, second = make([plain]), make([other])
    for seed in (2, 3):
        plain.grad = minidl.Tensor(values(shape, seed))
        gradient = in_layout(values(shape, seed), of_grad)
        other.grad = minidl.Tensor(gradient)
        first.step()
        second.step()
        np.testing.assert_array_equal(gradient, values(shape, seed))  # only read
    np.testing.assert_array_equal(other.array, plain.array)
    assert other.array is memory


@makers
@pytest.mark.parametrize("shape", [(), (0,), (1,), (1, 1), (0, 3), (9, 1), (1, 300), (300,)])
def test_any_shape_in_pieces(make: Any, shape: tuple[int, ...], monkeypatch: Any) -> None:
    whole, cut = parameter(np.asarray(values(shape, 1))), parameter(np.asarray(values(shape, 1)))
    whole.grad = minidl.Tensor(np.asarray(values(shape, 2)))
    cut.grad = minidl.Tensor(np.asarray(values(shape, 2)).T.copy().T)
    make([whole]).step()
    monkeypatch.setattr(pieces, "PIECE", 7)
    make([cut]).step()
    np.testing.assert_array_equal(whole.array, cut.array)
    if whole.array.size:
        assert not np.any(whole.array == values(shape, 1))


def test_a_strided_vector_of_gradients() -> None:
    w = parameter(values((10,), 1))
    w.grad = minidl.Tensor(values((20,), 2)[::2])
    SGD([w], lr=1.0).step()
    np.testing.assert_array_equal(w.array, values((10,), 1) - values((20,), 2)[::2])


@makers
def test_threads_do_not_change_a_bit(make: Any, threads: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(pieces, "PIECE", 64)
    monkeypatch.setattr(pieces, "TASK", 128)
    results = []
    for count in (1, 2, 3):
        minidl.set_num_threads(count)
        params = [parameter(values(shape, 1)) for shape in [(40, 30), (7,), (33, 3)]]
        optimizer = make(params)
        for seed in (2, 3):
            for param in params:
                param.grad = minidl.Tensor(values(param.shape, seed))
            optimizer.step()
        results.append([param.array for param in params])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_no_temporary_of_the_parameters_size(threads: None) -> None:
    import tracemalloc

    minidl.set_num_threads(1)  # else a thread may get its scratch while it is measured
    w = parameter(np.ones(1 << 20, np.float32))
    w.grad = minidl.Tensor(np.ones(1 << 20, np.float32))
    optimizer = SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1)
    optimizer.step()  # makes the state
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < w.array.nbytes / 4


@makers
def test_saving_in_the_middle_changes_no_bit(make: Any, device: str, tmp_path: Any) -> None:
    shapes = [(4, 3), (3,), ()]

    def start() -> list[Any]:
        return [parameter(np.asarray(values(shape, 1)), device) for shape in shapes]

    def train(params: list[Any], optimizer: Any, seeds: range) -> None:
        for seed in seeds:
            for param in params:
                param.grad = minidl.Tensor(np.asarray(values(param.shape, seed))).to(device)
            optimizer.step()

    whole = start()
    train(whole, make(whole), range(7))

    first = start()
    optimizer = make([{"params": first[:1]}, {"params": first[1:], "lr": 0.1}])
    train(first, optimizer, range(3))
    minidl.save({"params": first, "optimizer": optimizer.state_dict()}, tmp_path / "middle")
    saved = minidl.load(tmp_path / "middle")
    second = [minidl.nn.Parameter(param) for param in saved["params"]]
    optimizer = make([{"params": second[:1], "lr": 99.0}, {"params": second[1:]}])
    optimizer.load_state_dict(saved["optimizer"])
    train(second, optimizer, range(3, 7))
    for a, b in zip(whole, second, strict=True):
        np.testing.assert_array_equal(a.detach().cpu().numpy(), b.detach().cpu().numpy())


def test_the_layout_of_state_dict_is_pytorchs() -> None:
    a, b, c = (parameter(values((2,), seed)) for seed in range(3))
    optimizer = SGD([{"params": [a, b]}, {"params": [c], "lr": 0.5}], lr=0.1, momentum=0.9)
    b.grad = minidl.Tensor(values((2,), 4))
    optimizer.step()
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"}
    assert list(state["state"]) == [1]
    np.testing.assert_array_equal(state["state"][1]["momentum_buffer"].array, values((2,), 4))
    assert [group["params"] for group in state["param_groups"]] == [[0, 1], [2]]
    assert [group["lr"] for group in state["param_groups"]] == [0.1, 0.5]


def test_loading_copies_and_fits_layout_and_dtype() -> None:
    w = parameter(values((3, 4), 1))
    w.grad = minidl.Tensor(values((3, 4), 2))
    optimizer = SGD([w], momentum=0.9)
    optimizer.step()
    state = optimizer.state_dict()
    turned = minidl.nn.Parameter(minidl.Tensor(np.asfortranarray(values((3, 4), 1), np.float64)))
    other = SGD([turned])
    other.load_state_dict(state)
    buffer = other.state[turned]["momentum_buffer"].array
    assert buffer.dtype == np.float64
    assert buffer.flags.f_contiguous
    buffer += 1
    np.testing.assert_array_equal(state["state"][0]["momentum_buffer"].array, values((3, 4), 2))


def test_a_state_of_other_parameters_is_refused_and_nothing_changes() -> None:
    w = parameter(values((2, 3), 1))
    optimizer = SGD([w], lr=0.5, momentum=0.9)
    w.grad = minidl.Tensor(values((2, 3), 2))
    optimizer.step()
    good = optimizer.state_dict()
    buffer = minidl.Tensor(values((3, 2), 3))
    for bad, message in [
        ({**good, "param_groups": good["param_groups"] * 2}, "parameters"),
        ({**good, "param_groups": [{**good["param_groups"][0], "params": [0, 1]}]}, "parameters"),
        ({**good, "state": {0: {"momentum_buffer": buffer}}}, r"\(3, 2\), expected \(2, 3\)"),
        ({**good, "state": {5: {}}}, "no parameter 5"),
        ({}, "not an optimizer's"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            optimizer.load_state_dict(bad)
    assert optimizer.param_groups[0]["lr"] == 0.5
    np.testing.assert_array_equal(optimizer.state[w]["momentum_buffer"].array, values((2, 3), 2))


def test_an_option_of_a_group_overrides_the_default(device: str) -> None:
    a, b = (parameter(np.ones(1, np.float32), device) for _ in range(2))
    optimizer = SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.25)
    for param in (a, b):
        param.grad = minidl.tensor([1.0], device=device)
    optimizer.step()
    assert (a.item(), b.item()) == (0.75, 0.5)


def test_biases_move_twice_as_far_and_do_not_shrink(device: str) -> None:
    model = minidl.nn.Linear(2, 2).to(device)
    with minidl.no_grad():
        model.weight.fill_(1.0)
        model.bias.fill_(1.0)
    groups = param_groups(model, lr=0.25, weight_decay=0.5)
    optimizer = SGD(groups, momentum=0.5, rate_in_velocity=True)

    def step(gradient: float) -> None:
        for param in model.parameters():
            param.grad = minidl.full(param.shape, gradient, device=device)
        optimizer.step()

    step(0.0)
    assert model.weight.tolist() == [[0.875, 0.875]] * 2
    assert model.bias.tolist() == [1.0, 1.0]
    with minidl.no_grad():
        model.weight.fill_(0.0)
    optimizer.state.clear()
    step(1.0)
    assert model.weight.tolist() == [[-0.25, -0.25]] * 2
    assert model.bias.tolist() == [0.5, 0.5]


def test_param_groups_by_name() -> None:
    model = minidl.nn.Sequential(minidl.nn.Linear(2, 3), minidl.nn.Linear(3, 1, bias=False))
    weights, biases = param_groups(model, 0.1, 0.01, 3.0, 0.001)
    assert [id(p) for p in weights["params"]] == [id(model[0].weight), id(model[1].weight)]
    assert [id(p) for p in biases["params"]] == [id(model[0].bias)]
    assert (biases["lr"], biases["weight_decay"]) == (pytest.approx(0.3), 0.001)
    assert len(param_groups(model[1], 0.1)) == 1


def test_parameters_without_gradient_stay() -> None:
    a, b = parameter(values((2,), 1)), parameter(values((2,), 1))
    b.grad = minidl.Tensor(values((2,), 2))
    optimizer = Adam([a, b])
    optimizer.step()
    np.testing.assert_array_equal(a.array, values((2,), 1))
    assert not np.any(b.array == values((2,), 1))
    assert a not in optimizer.state


def test_zero_grad(device: str) -> None:
    w = parameter(values((2,), 1), device)
    optimizer = SGD([w])
    w.grad = minidl.ones(2, device=device)
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert w.grad is None
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is None


@pytest.mark.parametrize("of", ["optimizer", "module"])
def test_zero_grad_fills_gradients_that_are_views_of_one_buffer(of: str, device: str) -> None:
    layer = minidl.nn.Linear(2, 1).to(device)
    flat = minidl.zeros(3, device=device)
    layer.weight.grad, layer.bias.grad = flat[:2].view(1, 2), flat[2:]
    layer(minidl.ones(1, 2, device=device)).sum().backward()
    assert flat.tolist() == [1.0, 1.0, 1.0]
    clearing = layer if of == "module" else SGD(layer.parameters())
    clearing.zero_grad(set_to_none=False)
    assert flat.tolist() == [0.0, 0.0, 0.0]
    layer.bias.grad = minidl.ones(1, device=device, requires_grad=True)
    clearing.zero_grad(set_to_none=False)
    assert layer.bias.grad.tolist() == [0.0]
    assert not layer.bias.grad.requires_grad


def test_a_closure_records_and_its_loss_comes_back(device: str) -> None:
    w = parameter(np.ones(2, np.float32), device)
    optimizer = SGD([w], lr=0.25)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with minidl.no_grad():
        assert optimizer.step(closure).item() == 2.0
    assert w.tolist() == [0.5, 0.5]


def test_a_step_spoils_an_older_graph() -> None:
    w = parameter(np.ones(2, np.float32))
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    SGD([w], lr=0.25).step()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_named_parameters() -> None:
    model = minidl.nn.Linear(2, 2)
    optimizer = SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ArgumentError, match="names"):
        optimizer.add_param_group({"params": [parameter(values((1,), 1))]})
    with pytest.raises(ArgumentError, match="names"):
        SGD([("a", model.weight), model.bias])


def test_bad_parameters_are_refused() -> None:
    w = parameter(values((2,), 1))
    with pytest.raises(ArgumentError, match="empty"):
        SGD([])
    with pytest.raises(ArgumentError, match="more than once"):
        SGD([w, w])
    with pytest.raises(ArgumentError, match="more than once"):
        SGD([{"params": [w]}, {"params": [w]}])
    with pytest.raises(ArgumentError, match="non-leaf"):
        SGD([w * 2])
    with pytest.raises(ArgumentError, match="'params'"):
        SGD([{"lr": 0.1}])
    for bad in (w, {w}, [np.zeros(2)], [{"params": {w}}]):
        with pytest.raises(DTypeError):
            SGD(bad)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="dict"):
        SGD([w]).add_param_group([w])  # type: ignore[arg-type]


def test_a_gradient_of_another_shape_is_refused() -> None:
    w = parameter(values((3, 2), 1))
    w.grad = minidl.Tensor(values((3, 2), 1))
    w.data = minidl.Tensor(values((2, 3), 1))
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(3, 2\)"):
        SGD([w]).step()


def test_a_base_class_needs_a_rule() -> None:
    w = parameter(values((2,), 1))
    w.grad = minidl.Tensor(values((2,), 1))
    with pytest.raises(NotImplementedError, match="Optimizer"):
        Optimizer([w], {}).step()


def test_repr_lists_the_groups() -> None:
    text = repr(SGD([parameter(values((2,), 1))], lr=0.125))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n")
    assert "\n    lr: 0.125\n" in text
    assert text.endswith(")")


# --- The kernels ----------------------------------------------------------------------------------


def both_ways(
    make: Any, shapes: list[tuple[int, ...]], gpu: str, dtype: Any = np.float32, layout: str = "C"
) -> tuple[list[Any], list[Any]]:
    """Return parameters after three steps, on the CPU and on the GPU."""
    results = []
    for device in ("cpu", gpu):
        params = [
            minidl.nn.Parameter(
                helpers.leaf(in_layout(np.asarray(values(shape, 1), dtype), layout), device)
            )
            for shape in shapes
        ]
        optimizer = make(params)
        for seed in (2, 3, 4):
            for param in params:
                gradient = np.asarray(values(tuple(param.shape), seed), dtype)
                param.grad = minidl.tensor(gradient, device=device)
            optimizer.step()
        results.append([param.detach().cpu().numpy() for param in params])
    return results[0], results[1]


@makers
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_gpu_has_the_cpus_bits(make: Any, dtype: Any, gpu: str) -> None:
    chunk = many.CHUNK
    shapes = [(), (0,), (1,), (7, 6, 5), (chunk - 1,), (chunk,), (2, chunk + 1)]
    for ours, theirs in zip(*both_ways(make, shapes, gpu, dtype), strict=True):
        np.testing.assert_array_equal(theirs, ours)


@makers
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gpu_any_layout_has_the_cpus_bits(make: Any, layout: str, gpu: str) -> None:
    for ours, theirs in zip(*both_ways(make, [(7, 6, 5), (9, 4)], gpu, layout=layout), strict=True):
        np.testing.assert_array_equal(theirs, ours)


@makers
def test_gpu_more_parameters_than_a_table_holds(make: Any, gpu: str) -> None:
    shapes = [(1 + k % 5, 3) for k in range(150)]
    for ours, theirs in zip(*both_ways(make, shapes, gpu), strict=True):
        np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize("name", MAKERS)
def test_gpu_steps_in_one_launch_without_copies(name: str, gpu: str, simulator: Any) -> None:
    params = [parameter(np.asarray(values(shape, 1)), gpu) for shape in [(30, 700), (96,), ()] * 5]
    optimizer = MAKERS[name](params)
    for _ in range(2):  # the first one makes the state
        for param in params:
            param.grad = minidl.ones(param.shape, device=gpu)
        with simulator.count() as used:
            optimizer.step()
    assert dict(used.kernels) == {"adam" if "adam" in name else "sgd": 1}
    assert (used.launches, used.syncs, used.h2d, used.d2h, used.d2d) == (1, 0, 0, 0, 0)


def test_gpu_parameters_of_two_dtypes_and_one_without_a_kernel(gpu: str) -> None:
    results = []
    for device in ("cpu", gpu):
        dtypes = (np.float32, np.float64, np.float16)
        params = [parameter(values((5,), 1).astype(dtype), device) for dtype in dtypes]
        for param in params:
            param.grad = minidl.ones(5, dtype=param.dtype, device=device)
        SGD(params, lr=0.5, momentum=0.5, weight_decay=0.25).step()
        results.append([param.detach().cpu().numpy() for param in params])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_gpu_infinities_and_nan_as_on_the_cpu(gpu: str) -> None:
    start = np.array([1, np.inf, np.nan, 1, 1, 0], np.float32)
    gradient = np.array([np.inf, 1, 1, np.nan, -np.inf, 0], np.float32)
    for make in MAKERS.values():
        results = []
        for device in ("cpu", gpu):
            param = parameter(start.copy(), device)
            optimizer = make([param])
            for _ in range(2):
                param.grad = minidl.tensor(gradient, device=device)
                optimizer.step()
            results.append(param.detach().cpu().numpy())
        np.testing.assert_array_equal(results[1], results[0])


@makers
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernels_equal_the_plain_rule_bit_for_bit(make: Any, dtype: str, device: str) -> None:
    results = []
    for fast in (True, False):
        param = parameter(values((40, 3), 1).astype(dtype), device)
        optimizer = make([param])
        for seed in (2, 3, 4):
            param.grad = minidl.Tensor(values((40, 3), seed).astype(dtype)).to(device)
            if fast:
                optimizer.step()
            else:
                minidl.reference()(optimizer.step)()
        state = [value for value in optimizer.state[param].values() if value is not None]
        results.append([t.detach().cpu().numpy() for t in (param, *state)])
    for kernel, plain in zip(*results, strict=True):
        np.testing.assert_array_equal(kernel, plain)


@makers
def test_float16_is_updated_by_the_plain_rule(make: Any, device: str) -> None:
    half = parameter(values((5,), 1).astype(np.float16), device)
    single = parameter(values((5,), 1).astype(np.float16).astype(np.float32), device)
    for param in (half, single):
        param.grad = minidl.Tensor(values((5,), 2).astype(param.array.dtype)).to(device)
        make([param]).step()
    assert half.dtype == np.float16
    # A step of three or four roundings, each of half a unit of float16's 11 bits.
    np.testing.assert_allclose(
        half.detach().cpu().numpy(), single.detach().cpu().numpy(), rtol=0, atol=2e-3
    )


def test_a_rule_of_ones_own_does_not_get_an_inherited_kernel(device: str) -> None:
    class Doubled(SGD):
        @staticmethod
        def _rule(w: Any, g: Any, state: Any, *numbers: Any) -> Any:
            return (w - 2 * g,)

    w = parameter(np.ones(3, np.float32), device)
    w.grad = minidl.ones(3, device=device)
    Doubled([w], lr=0.5).step()
    assert w.tolist() == [-1.0] * 3


def test_a_group_is_the_dict_that_was_given() -> None:
    group: dict[str, Any] = {"params": minidl.nn.Parameter(minidl.zeros(1)), "lr": 0.5}
    optimizer = SGD([group], lr=0.1)
    assert optimizer.param_groups[0] is group and group["momentum"] == 0
    group["lr"] = 0.25
    assert optimizer.param_groups[0]["lr"] == 0.25 and type(group["params"]) is list


def test_another_kinds_state_is_refused() -> None:
    kinds = {"SGD": {}, "Adam": {}, "AdamW": {}, "RMSprop": {}, "Adagrad": {}, "Adadelta": {}}
    made = {name: getattr(minidl.optim, name)([minidl.nn.Parameter(minidl.ones(1))], 0.1)
            for name in kinds}  # fmt: skip
    for mine, optimizer in made.items():
        for other, source in made.items():
            if mine == other or {mine, other} == {"Adam", "AdamW"}:  # which have one state
                optimizer.load_state_dict(source.state_dict())
                continue
            with pytest.raises(CheckpointError, match=f"{mine}.*another kind of optimizer"):
                optimizer.load_state_dict(source.state_dict())
