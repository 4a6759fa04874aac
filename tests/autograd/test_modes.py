"""Recording or not: no_grad and its relatives."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import helpers
import pytest

import minidl
from minidl import Tensor
from minidl.errors import AutogradError


def leaf(*values: float, device: str) -> Tensor:
    return minidl.tensor(list(values), dtype=minidl.float64, device=device, requires_grad=True)


def test_modes_nest_and_come_back_after_errors(device: str) -> None:
    x = leaf(1.0, device=device)
    assert minidl.is_grad_enabled()
    with minidl.no_grad():
        assert not (x * 2).requires_grad
        with minidl.enable_grad():
            assert (x * 2).requires_grad
        assert not minidl.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), minidl.no_grad():
        _ = 1 / 0
    assert minidl.is_grad_enabled()
    guard = minidl.no_grad()
    with guard, guard:
        pass
    assert minidl.is_grad_enabled()


def test_modes_decorate(device: str) -> None:
    @minidl.no_grad()
    def evaluate(x: Tensor) -> Tensor:
        """Say something."""
        return x * 2 if x.sum() < 100 else evaluate(x / 2)

    assert not evaluate(leaf(500.0, device=device)).requires_grad
    assert evaluate.__name__ == "evaluate" and evaluate.__doc__ == "Say something."
    assert minidl.is_grad_enabled()


def test_set_grad_enabled() -> None:
    with minidl.set_grad_enabled(False):
        assert not minidl.is_grad_enabled()
    assert minidl.is_grad_enabled()
    minidl.set_grad_enabled(False)
    assert not minidl.is_grad_enabled()
    minidl.set_grad_enabled(True)


def test_mode_belongs_to_the_thread() -> None:
    with minidl.no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(minidl.is_grad_enabled).result()


def test_nothing_is_recorded_for_tensors_without_gradient(device: str) -> None:
    y = minidl.ones(3, device=device) * 2
    assert y.grad_fn is None and y.is_leaf and not y.requires_grad
    x = leaf(1.0, device=device)
    assert (x * 2).grad_fn is not None and "Mul" in repr((x * 2).grad_fn)


def test_detach_shares_memory_but_not_the_tape(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    d = x.detach()
    assert not d.requires_grad and helpers.shares_memory(d.array, x.array)
    ((x * 3).detach() * x).sum().backward()
    assert x.grad.tolist() == [3.0, 6.0]
    y = x * 2
    y.detach_()
    assert y.is_leaf and not y.requires_grad


def test_requires_grad_of_a_result_can_not_be_unset(device: str) -> None:
    with pytest.raises(AutogradError, match="detach"):
        (leaf(1.0, device=device) * 2).requires_grad = False


def test_modes_decorate_without_parentheses(device: str) -> None:
    @minidl.no_grad
    def evaluate(x: Tensor) -> Tensor:
        return x * 2

    class Model:
        @minidl.enable_grad
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    def marked() -> None:
        pass

    marked.mark = "kept"  # type: ignore[attr-defined]
    assert minidl.no_grad(marked).mark == "kept"
    x = leaf(1.0, device=device)
    assert not evaluate(x).requires_grad and evaluate.__name__ == "evaluate"
    with minidl.no_grad():
        assert Model().forward(x).requires_grad


def test_set_grad_enabled_decorates() -> None:
    @minidl.set_grad_enabled(False)
    def evaluate() -> bool:
        return minidl.is_grad_enabled()

    assert minidl.is_grad_enabled() and not evaluate() and minidl.is_grad_enabled()


def test_decorated_generator_runs_in_the_mode_and_its_user_does_not() -> None:
    seen = []

    @minidl.no_grad()
    def numbers() -> Generator[Any, Any, str]:
        try:
            received = yield minidl.is_grad_enabled()
            with minidl.enable_grad():
                yield received, minidl.is_grad_enabled()
            yield minidl.is_grad_enabled()
        except ValueError:
            yield "caught", minidl.is_grad_enabled()
        finally:
            seen.append(minidl.is_grad_enabled())
        return "end"

    generator = numbers()
    assert next(generator) is False and minidl.is_grad_enabled()
    assert generator.send("sent") == ("sent", True) and minidl.is_grad_enabled()
    assert next(generator) is False and minidl.is_grad_enabled()
    assert generator.throw(ValueError()) == ("caught", False)
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "end"
    other = numbers()
    next(other)
    other.close()
    assert seen == [False, False] and minidl.is_grad_enabled()


def test_decorated_class_warns() -> None:
    with pytest.warns(FutureWarning, match="__init__"):

        @minidl.no_grad()
        class Model:
            def __init__(self) -> None:
                self.recorded = minidl.is_grad_enabled()

    assert Model().recorded is False


# --- Inference mode -------------------------------------------------------------------------------


def test_inference_mode_marks_what_is_made_inside(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    with minidl.inference_mode():
        assert minidl.is_inference_mode_enabled() and not minidl.is_grad_enabled()
        y, made, view = x * 2, minidl.ones(2, device=device), x.detach()
        y.add_(1)
        with minidl.enable_grad():
            assert (x * 2).is_inference() and not (x * 2).requires_grad
    assert not minidl.is_inference_mode_enabled() and minidl.is_grad_enabled()
    assert y.is_inference() and made.is_inference() and y[0].is_inference()
    assert not any(t.is_inference() for t in (x, view, y * 2, y.clone()))
    assert not y.requires_grad and minidl.is_inference(y)


def test_inference_tensors_are_not_recorded(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    with minidl.inference_mode():
        y = minidl.ones(2, dtype=minidl.float64, device=device)
    (x + y).sum().backward()  # needs no values
    assert x.grad.tolist() == [1.0, 1.0]
    with pytest.raises(AutogradError, match="Inference tensors cannot be saved for backward"):
        x * y
    (x * y.clone()).sum().backward()
    with pytest.raises(AutogradError, match="Inference"), minidl.no_grad():
        y.add_(1)
    with pytest.raises(AutogradError, match="Inference"):
        y[0] = 3
    assert y.tolist() == [1.0, 1.0]
    with pytest.raises(AutogradError, match="inference"):
        y.requires_grad_()


def test_normal_tensors_stay_normal_in_inference_mode(device: str) -> None:
    x = leaf(1.0, device=device)
    y = x * 2
    z = y * y
    with minidl.inference_mode():
        y.add_(1)
    assert not y.is_inference()
    with pytest.raises(AutogradError, match="changed in place"):
        z.backward()
    layer = minidl.nn.BatchNorm1d(2)
    with minidl.inference_mode():
        layer(minidl.ones(4, 2))
    assert not any(buffer.is_inference() for buffer in layer.buffers())
    layer(minidl.ones(4, 2))


def test_inference_mode_decorates_and_can_be_left(device: str) -> None:
    @minidl.inference_mode
    def evaluate(x: Tensor) -> Tensor:
        return x * 2

    @minidl.inference_mode(mode=False)
    def train(x: Tensor) -> Tensor:
        return x * 2

    x = leaf(1.0, device=device)
    assert evaluate(x).is_inference()
    with minidl.inference_mode():
        assert train(x).requires_grad and not train(x).is_inference()
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(minidl.is_inference_mode_enabled).result()
    assert not minidl.is_inference_mode_enabled()


# --- Anomalies ------------------------------------------------------------------------------------


def test_detect_anomaly_names_the_operation(device: str) -> None:
    x = leaf(0.0, 1.0, device=device)
    with (
        minidl.autograd.detect_anomaly(),
        pytest.raises(AutogradError, match="'SqrtBackward0' returned nan values in its 0th"),
    ):
        (x.sqrt() * 0).sum().backward()
    assert not minidl.is_anomaly_enabled()
    with minidl.autograd.detect_anomaly():
        x.sqrt().sum().backward()  # infinity is no NaN
    with minidl.autograd.detect_anomaly(check_nan=False):
        (x.sqrt() * 0).sum().backward()
    with minidl.autograd.set_detect_anomaly(True):
        with minidl.autograd.set_detect_anomaly(False):
            assert not minidl.is_anomaly_enabled()
        assert minidl.is_anomaly_enabled()
    assert not minidl.is_anomaly_enabled()
