"""Module and the containers: registration, walking, state, hooks, moves, printing."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import ArgumentError, CheckpointError, DTypeError
from minidl.nn import (
    Identity,
    Module,
    ModuleDict,
    ModuleList,
    Parameter,
    ParameterList,
    Sequential,
)
from minidl.nn.state import StateDictError


class Affine(Module):
    """x * weight + bias, element by element: a layer that depends on nothing but Module."""

    def __init__(self, size: int = 2, bias: bool = True) -> None:
        super().__init__()
        self.size = size
        self.weight = Parameter(minidl.tensor([2.0] * size))
        if bias:
            self.bias = Parameter(minidl.tensor([1.0] * size))
        else:
            self.register_parameter("bias", None)
        self.register_buffer("calls", minidl.tensor([0]))
        self.register_buffer("scratch", minidl.tensor([0.5]), persistent=False)

    def forward(self, x, offset=0.0):
        y = x * self.weight + offset
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        return f"size={self.size}, bias={self.bias is not None}"


class Net(Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = Sequential(Affine(), Identity(), Affine(bias=False))
        self.head = Affine(3)

    def forward(self, x):
        return self.body(x)


# --- Registration ---------------------------------------------------------------------------------


def test_assignment_registers_by_kind_and_order():
    net = Net()
    assert [name for name, _ in net.named_children()] == ["body", "head"]
    assert [name for name, _ in net.named_parameters()] == [
        "body.0.weight",
        "body.0.bias",
        "body.2.weight",
        "head.weight",
        "head.bias",
    ]
    assert [name for name, _ in net.named_buffers()] == [
        f"{path}.{name}" for path in ("body.0", "body.2", "head") for name in ("calls", "scratch")
    ]
    assert [name for name, _ in net.named_modules()] == [
        "", "body", "body.0", "body.1", "body.2", "head",
    ]  # fmt: skip
    assert list(net.modules())[1] is net.body


def test_plain_attributes_and_plain_tensors_are_not_registered():
    layer = Affine()
    layer.note = "hello"
    layer.table = minidl.tensor([1.0])
    assert layer.note == "hello"
    assert "table" not in dict(layer.named_buffers())
    assert "table" not in layer.state_dict()


def test_a_name_moves_between_the_registries():
    layer = Affine()
    layer.weight = Identity()  # a module in a parameter's place
    assert "weight" not in dict(layer.named_parameters())
    assert dict(layer.named_children())["weight"] is layer.weight
    layer.weight = Parameter(minidl.tensor([5.0]))
    assert list(layer.named_children()) == []
    assert layer.weight.tolist() == [5.0]
    layer.note = 1
    layer.note = Parameter(minidl.tensor([7.0]))  # a parameter in a plain attribute's place
    assert "note" not in layer.__dict__
    assert dict(layer.named_parameters())["note"].tolist() == [7.0]


def test_replacing_keeps_the_order():
    layer = Affine()
    layer.weight = Parameter(minidl.tensor([0.0, 0.0]))
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def test_none_empties_a_place_and_keeps_it():
    layer = Affine()
    layer.bias = None
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    layer.bias = Parameter(minidl.tensor([1.0, 1.0]))
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    layer.calls = None
    assert [name for name, _ in layer.named_buffers()] == ["scratch"]


def test_a_buffer_stays_a_buffer_when_assigned(device):
    layer = Affine().to(device)
    layer.calls = minidl.tensor([3], device=device)
    layer.scratch = minidl.tensor([1.0], device=device)
    assert dict(layer.named_buffers())["calls"].tolist() == [3]
    assert "calls" in layer.state_dict() and "scratch" not in layer.state_dict()


@pytest.mark.parametrize("name", ["weight", "bias", "calls", "scratch", "child", "note"])
def test_delattr(name):
    layer = Affine()
    layer.child = Identity()
    layer.note = 1
    delattr(layer, name)
    assert not hasattr(layer, name)
    with pytest.raises(AttributeError):
        delattr(layer, name)


def test_wrong_assignments():
    layer = Affine()
    layer.child = Identity()
    with pytest.raises(TypeError, match="'weight'.*Parameter or None"):
        layer.weight = np.zeros(2)
    with pytest.raises(TypeError, match="'calls'.*Tensor or None"):
        layer.calls = 3
    with pytest.raises(TypeError, match="not a Module"):
        layer.child = 3
    with pytest.raises(TypeError, match="Parameter or None"):
        layer.register_parameter("other", minidl.tensor([1.0]))
    with pytest.raises(KeyError, match="empty or contain"):
        layer.register_buffer("a.b", minidl.tensor([1.0]))
    with pytest.raises(KeyError, match="empty or contain"):
        layer.add_module("", Identity())
    with pytest.raises(KeyError, match="'forward' already exists"):
        layer.add_module("forward", Identity())
    with pytest.raises(TypeError, match="must be a str"):
        layer.add_module(3, Identity())


def test_forgotten_super_init_is_explained():
    class Forgetful(Module):
        def __init__(self):
            self.layer = Identity()

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Forgetful()


def test_missing_attribute():
    with pytest.raises(AttributeError, match="'Affine' object has no attribute 'wieght'"):
        _ = Affine().wieght


def test_forward_must_be_defined():
    with pytest.raises(NotImplementedError, match="forward"):
        Module()(1)


def test_dir_lists_registered_names():
    names = dir(Net())
    assert {"body", "head", "forward", "training"} <= set(names)
    assert "0" not in dir(Sequential(Identity()))


# --- Parameters -----------------------------------------------------------------------------------


def test_parameter_shares_memory_and_prints(device):
    tensor = minidl.tensor([1.0, 2.0], device=device)
    parameter = Parameter(tensor)
    tensor.zero_()
    assert parameter.tolist() == [0.0, 0.0]
    assert parameter.requires_grad and parameter.is_leaf
    assert not Parameter(tensor, requires_grad=False).requires_grad
    assert repr(parameter).startswith("Parameter containing:\ntensor(")


def test_shared_parameters_and_modules_come_once():
    net = Module()
    net.first = Affine()
    net.second = Affine()
    net.second.weight = net.first.weight
    net.again = net.first
    assert [name for name, _ in net.named_parameters()] == [
        "first.weight",
        "first.bias",
        "second.bias",
    ]
    assert len(list(net.parameters())) == 3
    assert [name for name, _ in net.named_children()] == ["first", "second"]
    every = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    assert every == [f"{m}.{p}" for m in ("first", "second", "again") for p in ("weight", "bias")]
    assert "again.weight" in net.state_dict()  # as in PyTorch: all names, for loading


def test_equal_parameters_are_not_shared():
    net = Sequential(Affine(), Affine())
    assert len(list(net.parameters())) == 4


def test_prefix_and_recurse():
    net = Net()
    assert [n for n, _ in net.head.named_parameters(prefix="x")] == ["x.weight", "x.bias"]
    assert list(net.named_parameters(recurse=False)) == []
    assert list(net.parameters(recurse=False)) == []


def test_parameters_know_their_longest_name():
    net = Net()
    assert net.head.weight.name == "weight"
    list(net.parameters())
    assert net.head.weight.name == "head.weight"
    list(net.head.parameters())
    assert net.head.weight.name == "head.weight"


def test_get_by_dotted_name():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("body.2") is net.body[2]
    assert net.get_parameter("body.0.weight") is net.body[0].weight
    assert net.get_buffer("head.calls") is net.head.calls
    for get, name in (
        (net.get_submodule, "body.7"),
        (net.get_parameter, "body.2.bias"),
        (net.get_parameter, "head.calls"),
        (net.get_buffer, "head.weight"),
    ):
        with pytest.raises(AttributeError, match=name.rpartition(".")[2]):
            get(name)


# --- Modes ----------------------------------------------------------------------------------------


def test_train_and_eval_reach_every_module():
    net = Net()
    assert all(module.training for module in net.modules())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.body.train()
    assert not net.training and net.body[0].training
    with pytest.raises(ArgumentError, match="mode"):
        net.train("yes")


def test_a_module_may_keep_itself_in_evaluation():
    class Frozen(Identity):
        def train(self, mode=True):
            return super().train(False)

    net = Sequential(Sequential(Frozen(), Identity()))
    net.train()
    assert not net[0][0].training and net[0][1].training


def test_requires_grad_freezes():
    net = Net()
    net.body.requires_grad_(False)
    assert [n for n, p in net.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]


def test_zero_grad(device):
    layer = Affine().to(device)
    layer(minidl.tensor([1.0, 3.0], device=device)).sum().backward()
    assert layer.weight.grad.tolist() == [1.0, 3.0]
    gradient = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad is gradient
    assert layer.weight.grad.tolist() == [0.0, 0.0]
    layer.zero_grad()
    assert layer.weight.grad is None
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad is None


def test_apply_visits_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen == ["Affine", "Identity", "Affine", "Sequential", "Affine", "Net"]


# --- Device and dtype -----------------------------------------------------------------------------


def test_to_dtype_converts_floats_in_place(device):
    layer = Affine().to(device)
    weight, calls = layer.weight, layer.calls
    layer(minidl.tensor([1.0, 3.0], device=device)).sum().backward()
    assert layer.double() is layer
    assert layer.weight is weight and weight.dtype == minidl.float64
    assert weight.requires_grad and weight.is_leaf
    assert weight.grad.dtype == minidl.float64 and weight.grad.tolist() == [1.0, 3.0]
    assert layer.scratch.dtype == minidl.float64
    assert layer.calls is calls and calls.dtype == minidl.int64
    assert layer.half().weight.dtype == minidl.float16
    assert layer.float().weight.dtype == minidl.float32


@pytest.mark.parametrize(
    "arguments, keywords",
    [
        (("cpu",), {}),
        ((minidl.device("cpu"), minidl.float64), {}),
        ((minidl.float64,), {}),
        ((np.float64,), {}),
        ((minidl.tensor(np.zeros(1)),), {}),
        ((), {"dtype": minidl.float64}),
        ((), {"device": "cpu", "dtype": minidl.float64, "non_blocking": True}),
    ],
)
def test_to_takes_all_forms(arguments, keywords):
    layer = Affine().to(*arguments, **keywords)
    expected = minidl.float32 if arguments == ("cpu",) else minidl.float64
    assert layer.weight.dtype == expected
    assert layer.weight.device == minidl.device("cpu")


def test_type_converts_everything():
    norm = nn.BatchNorm2d(2).type(minidl.DoubleTensor)
    assert {t.dtype for t in norm.state_dict().values()} == {minidl.float64}
    assert nn.Linear(2, 2).type("torch.HalfTensor").weight.dtype == minidl.float16


def test_unflatten():
    layer = nn.Unflatten(1, (2, -1))
    assert layer(minidl.zeros(3, 8)).shape == (3, 2, 4)
    assert repr(layer) == "Unflatten(dim=1, unflattened_size=(2, -1))"


def test_to_refuses_what_it_does_not_know():
    with pytest.raises(DTypeError, match="int64"):
        Affine().to(minidl.int64)
    with pytest.raises(DTypeError, match="1.5"):
        Affine().to(1.5)


def test_to_device(device):
    layer = Affine().to(device)
    assert all(t.device == minidl.device(device) for t in (*layer.parameters(), *layer.buffers()))
    assert layer(minidl.tensor([1.0, 3.0], device=device)).cpu().tolist() == [3.0, 7.0]
    assert layer.cpu().weight.device == minidl.device("cpu")


# --- State ----------------------------------------------------------------------------------------


def test_state_dict_shares_memory_and_is_detached(device):
    net = Net().to(device)
    state = net.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state) == [
        "body.0.weight",
        "body.0.bias",
        "body.0.calls",
        "body.2.weight",
        "body.2.calls",
        "head.weight",
        "head.bias",
        "head.calls",
    ]
    assert not any(tensor.requires_grad for tensor in state.values())
    state["head.bias"].fill_(9.0)
    assert net.head.bias.tolist() == [9.0] * 3
    assert net.state_dict(keep_vars=True)["head.bias"] is net.head.bias
    assert list(net.head.state_dict(prefix="x.")) == ["x.weight", "x.bias", "x.calls"]


def test_load_state_dict_copies(device):
    source, target = Net().to(device), Net().to(device)
    source.head.weight.data.fill_(4.0)
    source.body[0].calls.fill_(17)
    weight = target.head.weight
    result = target.load_state_dict(source.state_dict())
    assert str(result) == "<All keys matched successfully>"
    assert target.head.weight is weight and weight.tolist() == [4.0] * 3
    assert target.body[0].calls.tolist() == [17]
    source.head.weight.data.fill_(5.0)
    assert weight.tolist() == [4.0] * 3


def test_load_state_dict_takes_arrays_and_converts(device):
    layer = Affine().to(device)
    layer.load_state_dict(
        {"weight": np.array([3.0, 4.0]), "bias": minidl.tensor([1, 2]), "calls": np.array([5])}
    )
    assert layer.weight.tolist() == [3.0, 4.0] and layer.weight.dtype == minidl.float32
    assert layer.bias.tolist() == [1.0, 2.0]


def test_load_state_dict_lists_every_problem_and_changes_nothing(device):
    layer = Affine().to(device)
    state = {
        "weight": minidl.tensor([9.0, 9.0]),
        "bias": minidl.zeros(3),
        "gain": minidl.zeros(1),
    }
    with pytest.raises(StateDictError) as caught:
        layer.load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Affine:\n"
        '\tMissing key(s) in state_dict: "calls".\n'
        '\tUnexpected key(s) in state_dict: "gain".\n'
        "\tsize mismatch for bias: copying a param with shape [3] from checkpoint, the shape in "
        "current model is [2]."
    )
    assert isinstance(caught.value, (CheckpointError, RuntimeError))
    assert layer.weight.tolist() == [2.0, 2.0]


def test_load_state_dict_not_strict(device):
    layer = Affine().to(device)
    result = layer.load_state_dict(
        {"weight": minidl.tensor([9.0, 9.0]), "gain": minidl.zeros(1)}, strict=False
    )
    assert result.missing_keys == ["bias", "calls"]
    assert result.unexpected_keys == ["gain"]
    assert "gain" in repr(result)
    assert layer.weight.tolist() == [9.0, 9.0]
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        layer.load_state_dict({"weight": minidl.zeros(2, 1)}, strict=False)


def test_load_state_dict_assign_takes_the_arrays_over(device):
    layer = Affine().to(device)
    weight = layer.weight
    state = {key: value.to(minidl.float64) for key, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)
    assert layer.weight is weight and weight.requires_grad
    assert weight.dtype == minidl.float64
    state["weight"].fill_(8.0)
    assert weight.tolist() == [8.0, 8.0]


def test_load_state_dict_wants_a_mapping():
    with pytest.raises(TypeError, match="dict-like"):
        Affine().load_state_dict([("weight", 1)])


def test_deepcopy_is_independent(device):
    net = Net().to(device)
    twin = copy.deepcopy(net)
    twin.head.weight.data.fill_(0.0)
    assert net.head.weight.tolist() == [2.0] * 3
    assert isinstance(twin.head.weight, Parameter)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in net.named_parameters()]


# --- Hooks ----------------------------------------------------------------------------------------


def test_hooks_change_input_and_output(device):
    layer = Affine().to(device)
    x = minidl.tensor([1.0, 1.0], device=device)
    before = layer.register_forward_pre_hook(lambda module, args: args[0] * 10.0)
    after = layer.register_forward_hook(lambda module, args, output: output + args[0])
    assert layer(x).tolist() == [31.0, 31.0]  # 2·10 + 1, plus the changed input
    before.remove()
    assert layer(x).tolist() == [4.0, 4.0]
    after.remove()
    after.remove()
    assert layer(x).tolist() == [3.0, 3.0]


def test_hooks_run_in_order_and_prepend():
    layer, order = Affine(), []
    layer.register_forward_hook(lambda *_: order.append("b"))
    layer.register_forward_hook(lambda *_: order.append("c"))
    first = layer.register_forward_hook(lambda *_: order.append("a"), prepend=True)
    layer(minidl.tensor([1.0, 1.0]))
    first.remove()
    layer(minidl.tensor([1.0, 1.0]))
    assert order == ["a", "b", "c", "b", "c"]


def test_hooks_with_kwargs():
    layer = Affine()
    layer.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {"offset": kwargs["offset"] * 2}), with_kwargs=True
    )
    seen = []
    layer.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(kwargs), with_kwargs=True
    )
    assert layer(minidl.tensor([0.0, 0.0]), offset=3.0).tolist() == [7.0, 7.0]
    assert seen == [{"offset": 6.0}]
    layer.register_forward_pre_hook(lambda module, args, kwargs: 5, with_kwargs=True)
    with pytest.raises(ArgumentError, match="args, kwargs"):
        layer(minidl.tensor([0.0, 0.0]), offset=3.0)


def test_always_call_hook_runs_after_an_error():
    layer, seen = Affine(), []
    layer.register_forward_hook(lambda *_: seen.append("usual"))
    layer.register_forward_hook(lambda *_: seen.append("always"), always_call=True)
    with pytest.raises(TypeError):
        layer(minidl.tensor([0.0, 0.0]), nonsense=1)
    assert seen == ["always"]


def test_handle_as_context_manager_and_hook_that_removes_itself():
    layer, seen = Affine(), []
    x = minidl.tensor([1.0, 1.0])
    with layer.register_forward_pre_hook(lambda *_: seen.append("in")):
        layer(x)
    layer(x)
    assert seen == ["in"]
    handle = layer.register_forward_hook(lambda *_: handle.remove())
    layer(x)
    assert not layer._forward_hooks


# --- Printing -------------------------------------------------------------------------------------


def test_repr():
    assert repr(Net()) == (
        "Net(\n"
        "  (body): Sequential(\n"
        "    (0): Affine(size=2, bias=True)\n"
        "    (1): Identity()\n"
        "    (2): Affine(size=2, bias=False)\n"
        "  )\n"
        "  (head): Affine(size=3, bias=True)\n"
        ")"
    )


def test_repr_of_extra_lines_and_children():
    class Both(Sequential):
        def extra_repr(self):
            return "first\nsecond"

    assert repr(Both(Identity())) == "Both(\n  first\n  second\n  (0): Identity()\n)"
    assert repr(Both()) == "Both(\n  first\n  second\n)"
    assert repr(Sequential()) == "Sequential()"


def test_repr_of_a_list_folds_equal_neighbors():
    modules = ModuleList([Affine(), Affine(), Identity(), Sequential(Identity()), Affine()])
    assert repr(modules) == (
        "ModuleList(\n"
        "  (0-1): 2 x Affine(size=2, bias=True)\n"
        "  (2): Identity()\n"
        "  (3): Sequential(\n"
        "    (0): Identity()\n"
        "  )\n"
        "  (4): Affine(size=2, bias=True)\n"
        ")"
    )
    assert repr(ModuleList()) == "ModuleList()"


def test_repr_equals_pytorch():
    torch = pytest.importorskip("torch")

    def build(nn):
        inner = nn.Sequential(OrderedDict([("a", nn.Identity()), ("b", nn.Sequential())]))
        net = nn.Module()
        net.inner = inner
        net.many = nn.ModuleList(
            [nn.Identity(), nn.Identity(), nn.Sequential(nn.Identity()), nn.Identity()]
        )
        net.named = nn.ModuleDict({"x": nn.Identity()})
        net.gone = None
        return net

    import minidl.nn as ours

    assert repr(build(ours)) == repr(build(torch.nn))


# --- Containers -----------------------------------------------------------------------------------


def names(container: Module) -> list[str]:
    return [name for name, _ in container.named_children()]


def test_sequential_chains(device):
    net = Sequential(Affine(), Affine()).to(device)
    assert net(minidl.tensor([1.0, 2.0], device=device)).tolist() == [7.0, 11.0]
    assert Sequential()(5) == 5


def test_sequential_indexing_and_slicing():
    a, b, c = Affine(), Identity(), Affine()
    net = Sequential(OrderedDict([("a", a), ("b", b), ("c", c)]))
    assert len(net) == 3 and list(net) == [a, b, c]
    assert net[0] is a and net[-1] is c and net.b is b and net[np.int64(1)] is b
    part = net[1:]
    assert isinstance(part, Sequential) and names(part) == ["b", "c"] and part[1] is c
    for index in (3, -4):
        with pytest.raises(IndexError, match="out of range"):
            net[index]
    d = Identity()
    net[1] = d
    assert net.b is d and names(net) == ["a", "b", "c"]


def test_sequential_changes():
    a, b, c, d = Affine(), Identity(), Affine(), Identity()
    net = Sequential(a, b)
    assert net.append(c) is net and net[2] is c
    assert net.insert(1, d) is net and list(net) == [a, d, b, c]
    assert names(net) == ["0", "1", "2", "3"]
    assert net.pop(0) is a and list(net) == [d, b, c]
    del net[-1]
    assert list(net) == [d, b]
    assert list(net.extend([a, c])) == [d, b, a, c]
    del net[1:3]
    assert list(net) == [d, c] and names(net) == ["0", "1"]
    assert list(net + Sequential(a)) == [d, c, a]
    with pytest.raises(IndexError):
        net.insert(9, a)
    with pytest.raises(TypeError):
        net + [a]  # noqa: RUF005  (the operator is what is tested)
    with pytest.raises(TypeError):
        Sequential(3)


def test_module_list():
    a, b, c = Affine(), Identity(), Affine()
    modules = ModuleList([a])
    modules += [b]
    modules.insert(0, c)
    assert list(modules) == [c, a, b] and len(modules) == 3
    assert a in modules and Affine() not in modules
    assert isinstance(modules[:2], ModuleList) and list(modules[:2]) == [c, a]
    modules[0] = b
    assert modules[0] is b and modules.pop() is b
    assert list(modules + [c]) == [b, a, c]  # noqa: RUF005  (the operator is what is tested)
    assert list(modules.extend(modules)) == [b, a, b, a]
    with pytest.raises(NotImplementedError):
        modules(1)


def test_module_dict():
    a, b = Affine(), Identity()
    modules = ModuleDict({"a": a})
    modules["b"] = b
    modules.update([("c", b)])
    assert list(modules) == ["a", "b", "c"] and len(modules) == 3
    assert list(modules.keys()) == ["a", "b", "c"]
    assert list(modules.values()) == [a, b, b]
    assert dict(modules.items())["a"] is a and "z" not in modules
    assert [name for name, _ in modules.named_parameters()] == ["a.weight", "a.bias"]
    assert modules.pop("c") is b
    del modules["b"]
    assert list(ModuleDict(modules)) == ["a"]
    modules.clear()
    assert len(modules) == 0
    with pytest.raises(KeyError, match="already exists"):
        modules["keys"] = a


def test_parameter_list(device):
    values = ParameterList(
        [minidl.zeros(2, device=device), Parameter(minidl.ones(1, device=device))]
    )
    values.append(minidl.zeros(3, device=device))
    assert len(values) == 3 and values[1].tolist() == [1.0]
    assert all(isinstance(value, Parameter) for value in values)
    assert [name for name, _ in values.named_parameters()] == ["0", "1", "2"]
    values[0] = minidl.ones(4, device=device)
    assert values[0].shape == (4,) and isinstance(values[0], Parameter)
    assert "(2): Parameter containing: [float32 of size 3]" in repr(values)


def test_sequential_repeats_its_modules() -> None:
    net = minidl.nn.Sequential(minidl.nn.Linear(2, 2), minidl.nn.ReLU())
    for twice in (net * 2, 2 * net):
        assert list(twice) == list(net) * 2
    same = net
    same *= 3
    assert same is net and len(net) == 6 and net[4] is net[0]
    with pytest.raises(ValueError, match="once at least"):
        net * 0
    with pytest.raises(TypeError):
        net * 1.5


def test_parameters_without_values_and_lists_that_grow() -> None:
    assert minidl.nn.Parameter().shape == (0,) and minidl.nn.Parameter().requires_grad
    parameters = minidl.nn.ParameterList()
    parameters += [minidl.ones(2)]
    assert len(parameters) == 1 and isinstance(parameters[0], minidl.nn.Parameter)
    assert isinstance(parameters[:1], minidl.nn.ParameterList)
    with pytest.raises(TypeError, match="append"):
        parameters += minidl.ones(2, 2)
    assert parameters[:1][0] is parameters[0]


def test_buffers_by_assignment() -> None:
    module = nn.Module()
    module.mean = nn.Buffer(minidl.zeros(2))
    module.seen = nn.Buffer(minidl.ones(3), persistent=False)
    assert dict(module.named_buffers()).keys() == {"mean", "seen"}
    assert list(module.state_dict()) == ["mean"] and not list(module.parameters())
    module.mean = minidl.ones(2)  # stays a buffer
    assert module.state_dict()["mean"].tolist() == [1, 1]
    module.mean = nn.Parameter(minidl.zeros(2))
    assert list(module._buffers) == ["seen"]


def test_extra_state_is_saved_and_loaded() -> None:
    class Counts(nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.count = count

        def get_extra_state(self) -> dict[str, int]:
            return {"count": self.count}

        def set_extra_state(self, state: dict[str, int]) -> None:
            self.count = state["count"]

    def make(count: int) -> nn.Module:
        return nn.Sequential(nn.Linear(1, 1), Counts(count), nn.Sequential(Counts(count + 1)))

    first, second = make(5), make(0)
    state = first.state_dict()
    assert list(state)[2:] == ["1._extra_state", "2.0._extra_state"]
    second.load_state_dict(state)
    assert (second[1].count, second[2][0].count) == (5, 6)
    del state["2.0._extra_state"]
    with pytest.raises(RuntimeError, match=r'Missing key.* "2\.0\._extra_state"'):
        make(0).load_state_dict(state)
    alone = Counts(3)
    alone.load_state_dict({"_extra_state": {"count": 4}})
    assert alone.count == 4
    with pytest.raises(RuntimeError, match=r'Unexpected key.* "_extra_state"'):
        nn.Linear(1, 1).load_state_dict({**nn.Linear(1, 1).state_dict(), "_extra_state": 1})


def test_extra_state_is_expected_by_who_takes_it() -> None:
    class Takes(nn.Module):
        def set_extra_state(self, state: Any) -> None:
            pass

    class Gives(nn.Module):
        def get_extra_state(self) -> int:
            return 1

    with pytest.raises(RuntimeError, match="Missing key"):
        Takes().load_state_dict(Takes().state_dict())
    with pytest.raises(RuntimeError, match="Unexpected key"):
        Gives().load_state_dict(Gives().state_dict())
    Gives().load_state_dict(Gives().state_dict(), strict=False)
    shared = Gives()
    both = nn.Sequential(shared, shared)
    assert list(both.state_dict()) == ["0._extra_state", "1._extra_state"]


def test_memory_formats_are_accepted() -> None:
    layer = nn.Conv2d(3, 4, 3).to(memory_format=minidl.channels_last)
    x = minidl.randn(2, 3, 5, 5)
    moved = x.contiguous(memory_format=minidl.channels_last)
    assert minidl.equal(moved, x) and moved.permute(0, 2, 3, 1).is_contiguous()
    assert minidl.equal(layer(moved), layer(x))


@pytest.mark.parametrize("value", [np.ones((2, 3), np.float32), [[1.0, 2.0, 3.0]]])
def test_arrays_and_lists_are_no_tensors(value: Any) -> None:
    for layer in (
        nn.Linear(3, 2), nn.BatchNorm1d(3), nn.Flatten(), nn.Softmax(1), nn.LayerNorm(3),
        nn.Conv2d(3, 2, 1), nn.Sequential(nn.Linear(3, 2)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="must be a Tensor, got (ndarray|list)"):
            layer(value)
    with pytest.raises(TypeError, match="target must be a Tensor"):
        nn.functional.cross_entropy(minidl.zeros(2, 3), value)
    with pytest.raises(TypeError, match="weight must be a Tensor"):
        nn.functional.linear(minidl.zeros(2, 3), value)
