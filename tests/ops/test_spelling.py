"""What is no Tensor gets an error that says so, from every function, method and layer."""

from __future__ import annotations

import contextlib
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import DTypeError, MinidlError
from minidl.ops import FUNCTIONS

X = np.ones((2, 3, 8, 8), np.float32)
NO_TENSORS = {"ndarray": X, "list": X.tolist(), "str": "abc", "None": None}

#: These expect something else first.
OTHERS = {
    "arange", "can_cast", "empty", "eye", "full", "linspace", "normal", "ones", "promote_types",
    "rand", "randint", "randn", "randperm", "zeros",
}  # fmt: skip

#: Arguments of functions and layers that can't be left out.
NUMBERS = {
    "embedding_dim": 2, "in_channels": 3, "in_features": 8, "input_size": (8, 8),
    "normalized_shape": 8, "num_channels": 3, "num_embeddings": 3, "num_features": 3,
    "num_groups": 3, "pad": (1, 1), "padding": 1, "shape": (1, 1), "unflattened_size": (1, 3),
    "value": 0.0,
}  # fmt: skip


def arguments(function: Any, first: Any = None) -> list[Any]:
    """Arguments for a call: `first`, Tensors, numbers."""
    found: list[Any] = []
    for p in inspect.signature(function).parameters.values():
        if p.default is not p.empty or p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD):
            continue
        tensor = "Tensor" in str(p.annotation)
        if first is not None and not found:
            found.append(first)
        elif p.kind is not p.VAR_POSITIONAL:
            found.append(minidl.tensor(X) if tensor else NUMBERS.get(p.name, 1))
    return found


def check(call: Callable[..., Any], *args: Any) -> None:
    """Any of our errors will do, and so does a result: binary operations take numbers."""
    with contextlib.suppress(MinidlError):
        call(*args)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", NO_TENSORS)
def test_every_function(kind: str) -> None:
    functions = {name: getattr(nn.functional, name) for name in nn.functional.__all__}
    for name, function in {**FUNCTIONS, **functions}.items():
        if name in OTHERS or not inspect.isfunction(function):
            continue
        args = arguments(function, X)
        args[0] = "i,j" if name == "einsum" else NO_TENSORS[kind]
        check(function, *args)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", NO_TENSORS)
def test_every_method_of_several_tensors(kind: str) -> None:
    for name in dir(minidl.Tensor):
        method = getattr(minidl.Tensor, name)
        if name.startswith("__") or not inspect.isfunction(method):
            continue
        parameters = list(inspect.signature(method).parameters.values())[1:]
        if any(p.default is p.empty and "Tensor" in str(p.annotation) for p in parameters):
            args = arguments(method, minidl.ones(3, 3))[1:]
            bad = [NO_TENSORS[kind] if isinstance(a, minidl.Tensor) else a for a in args]
            check(method, minidl.ones(3, 3), *bad)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", NO_TENSORS)
def test_every_layer_and_loss(kind: str) -> None:
    for name in nn.pages.__all__:
        layer = getattr(nn, name)
        if not issubclass(layer, nn.Module) or name in ("Module", "ModuleDict", "ModuleList"):
            continue
        if name == "ParameterList" or name.startswith("Lazy"):
            continue
        module = layer(*arguments(layer))
        count = len(arguments(module.forward))
        for place in range(count):
            args: list[Any] = [minidl.tensor(X)] * count
            args[place] = NO_TENSORS[kind]
            check(module, *args)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: minidl.matmul([[1.0]], minidl.ones(1, 1)),
            "matmul: input must be a Tensor, got list",
        ),
        (lambda: nn.functional.max_pool2d(X, 2), "max_pool2d: input must be a Tensor, got ndarray"),
        (lambda: minidl.stack([minidl.ones(2), [1.0, 2.0]]), "stack: expected Tensors, got list"),
        (lambda: minidl.meshgrid([1.0, 2.0]), "meshgrid: tensors must be Tensors, got float"),
        (lambda: minidl.ones(2, 2).mm([[1.0]]), "mm: .* must be a Tensor, got list"),
        (lambda: nn.MSELoss()([1.0], minidl.ones(1)), "MSELoss: input must be a Tensor, got list"),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())(X), "Conv2d: input must be a Ten"),
        (lambda: nn.Conv2d(3, 2, 1)(None), "Conv2d: input must be a Tensor, got NoneType"),
    ],
)
def test_the_message_names_the_argument(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DTypeError, match=message) as raised:
        call()
    assert isinstance(raised.value, TypeError)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        nn.functional.max_pool2d(minidl.tensor(X))

    class Wrong(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.shapes

    with pytest.raises(AttributeError, match="shapes"):
        Wrong()(X)


@pytest.mark.parametrize("function", [nn.functional.relu, minidl.matmul, minidl.softmax])
def test_functions_can_be_sent_to_another_process(function: Any) -> None:
    assert pickle.loads(pickle.dumps(function)) is not None
