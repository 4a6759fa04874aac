"""Forward hooks of every module. Those of one module: ``test_module.py``."""

from __future__ import annotations

from typing import Any

import pytest

import minidl
from minidl import Tensor, nn


def test_hooks_of_every_module_run_before_its_own() -> None:
    seen: list[Any] = []
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net[0].register_forward_hook(lambda module, args, output: seen.append("own"))
    net[0].register_forward_pre_hook(lambda module, args: seen.append("own before"))

    def note(what: str) -> Any:
        return lambda module, *rest: seen.append((what, type(module).__name__))

    with (
        nn.register_module_forward_pre_hook(note("before")),
        nn.register_module_forward_hook(note("after")),
    ):
        net(minidl.ones(1, 2))
    assert seen == [
        ("before", "Sequential"), ("before", "Linear"), "own before", ("after", "Linear"), "own",
        ("before", "ReLU"), ("after", "ReLU"), ("after", "Sequential"),
    ]  # fmt: skip
    net(minidl.ones(1, 2))
    assert seen[8:] == ["own before", "own"]


def test_hooks_of_every_module_replace_arguments_and_outputs() -> None:
    layer = nn.Identity()
    with nn.register_module_forward_hook(lambda module, args, output: output * 10):
        assert layer(minidl.ones(1)).item() == 10.0
    with nn.register_module_forward_pre_hook(lambda module, args: (args[0] * 5,)):
        assert layer(minidl.ones(1)).item() == 5.0
    assert layer(minidl.ones(1)).item() == 1.0


def test_keywords_and_errors() -> None:
    seen: list[Any] = []

    class Scale(nn.Module):
        def forward(self, x: Tensor, factor: int = 1) -> Tensor:
            if factor == 0:
                raise ZeroDivisionError
            return x * factor

    with nn.register_module_forward_hook(
        lambda module, args, kwargs, output: seen.append((kwargs, output is None)),
        with_kwargs=True,
        always_call=True,
    ):
        Scale()(minidl.ones(1), factor=3)
        with pytest.raises(ZeroDivisionError):
            Scale()(minidl.ones(1), factor=0)
    assert seen == [({"factor": 3}, False), ({"factor": 0}, True)]


@pytest.mark.parametrize(
    "register",
    [
        lambda layer: layer.register_full_backward_hook(lambda *args: None),
        lambda layer: layer.register_full_backward_pre_hook(lambda *args: None),
        lambda layer: nn.register_module_forward_hook(lambda *args: None),
        lambda layer: nn.register_module_full_backward_hook(lambda *args: None),
    ],
)
def test_nothing_is_fused_where_hooks_would_see_it(register: Any) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert list(net.fused_pairs())
    with register(net[0]):
        assert not list(net.fused_pairs())
    with register(net[1]):
        assert not list(net.fused_pairs())


def test_hooks_that_are_always_called_run_after_an_error_of_another() -> None:
    module, called = nn.Linear(2, 2), []

    def fails(*_: object) -> None:
        called.append("first")
        raise ValueError("a hook's own")

    def refuses(*_: object) -> None:
        raise KeyError("the first error")

    module.register_forward_hook(lambda *_: called.append("second"), always_call=True)
    module.register_forward_hook(fails, prepend=True, always_call=True)
    module.register_forward_pre_hook(refuses)
    with pytest.raises(KeyError), pytest.warns(UserWarning, match="a hook's own"):
        module(minidl.ones(1, 2))
    assert called == ["first", "second"]
