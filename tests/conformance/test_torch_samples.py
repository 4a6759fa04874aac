"""PyTorch's own test inputs for its operators give the same results and gradients in minidl.

The inputs come from ``torch.testing._internal.common_methods_invocations.op_db``: for every
operator, the arguments that PyTorch's developers chose to test.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

import minidl
import minidl.nn.functional as F

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # PyTorch's test suite needs it
_profile = settings.get_current_profile_name()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
settings.load_profile(_profile)  # PyTorch's test suite has set its own

#: PyTorch's operators that minidl has under the same name in the same module.
FUNCTIONS = [
    "abs", "add", "addcdiv", "addcmul", "addmm", "all", "allclose", "amax", "amin", "any", "argmax",
    "argmin", "argsort", "baddbmm", "bincount", "bitwise_and", "bitwise_or", "bitwise_xor", "bmm",
    "broadcast_to", "cat", "ceil", "chunk", "clamp", "clamp_max", "clamp_min", "clone", "cos",
    "count_nonzero", "cumprod", "cumsum", "diag", "diagonal", "div", "dot", "eq", "equal", "exp",
    "expm1", "eye", "flatten", "flip", "floor", "floor_divide", "fmod", "full_like", "gather", "ge",
    "gt", "index_add", "index_fill", "index_select", "isclose", "isfinite", "isin", "isinf",
    "isnan", "le", "lerp", "linspace", "log", "log10", "log1p", "log2", "log_softmax",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp", "lt", "masked_fill",
    "masked_select", "matmul", "maximum", "mean", "median", "meshgrid", "minimum", "mm", "movedim",
    "mul", "mv", "narrow", "ne", "neg", "nonzero", "norm", "ones_like", "outer", "permute", "pow",
    "prod", "reciprocal", "remainder", "repeat_interleave", "reshape", "roll", "round", "rsqrt",
    "scatter", "scatter_add", "select", "sigmoid", "sign", "sin", "softmax", "sort", "split",
    "sqrt", "square", "squeeze", "stack", "std", "std_mean", "sub", "sum", "t", "take_along_dim",
    "tanh", "tile", "topk", "trace", "transpose", "tril", "triu", "trunc", "unbind", "unflatten",
    "unique", "unsqueeze", "var", "var_mean", "hstack", "vstack", "zeros_like", "max", "min",
]  # fmt: skip
METHODS = [
    "T", "contiguous", "expand", "expand_as", "float", "double", "long", "half", "byte", "repeat",
    "view", "view_as",
]  # fmt: skip
LAYERS = [
    "adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "conv2d", "cross_entropy", "linear",
    "local_response_norm", "max_pool2d", "mse_loss", "nll_loss", "one_hot", "pad", "relu", "unfold",
]  # fmt: skip
OPERATORS = {
    "__getitem__": lambda x, index: x[index],
    "__radd__": lambda x, y: y + x,
    "__rsub__": lambda x, y: y - x,
    "__rmul__": lambda x, y: y * x,
    "__rdiv__": lambda x, y: y / x,
    "__rpow__": lambda x, y: y**x,
    "__rmod__": lambda x, y: y % x,
    "__rmatmul__": lambda x, y: y @ x,
    "einsum": lambda tensors, equation: minidl.einsum(equation, *tensors),
    "where": lambda x, condition, y: minidl.where(condition, x, y),
}


def ours(name: str) -> Callable[..., Any]:
    if name in OPERATORS:
        return OPERATORS[name]
    if name.startswith("nn.functional."):
        return getattr(F, name.rpartition(".")[2])  # type: ignore[no-any-return]
    if name in METHODS:
        if name == "T":
            return lambda x: x.T
        return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)
    return getattr(minidl, name)  # type: ignore[no-any-return]


NAMES = [*FUNCTIONS, *METHODS, *(f"nn.functional.{name}" for name in LAYERS), *OPERATORS]
INFOS = [info for info in op_db if info.name in NAMES]


def to_ours(value: Any) -> Any:
    """Turn PyTorch's arguments into minidl's."""
    if isinstance(value, torch.Tensor):
        array = value.detach().resolve_conj().numpy()
        return minidl.from_numpy(array).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return np.dtype(str(value).partition(".")[2])
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(to_ours, value))
    if isinstance(value, list):
        return list(map(to_ours, value))
    if isinstance(value, dict):
        return {key: to_ours(item) for key, item in value.items()}
    return value


def tensors_of(value: Any, kind: type) -> Iterator[Any]:
    """All tensors in arguments or results, in order."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_of(item, kind)
    elif isinstance(value, dict):
        yield from tensors_of(list(value.values()), kind)


def compare(mine: Any, theirs: Any, where: str) -> None:
    if isinstance(theirs, torch.Tensor):
        expected = theirs.detach().numpy()
        assert isinstance(mine, minidl.Tensor), f"{where}: {type(mine)}"
        assert mine.dtype == expected.dtype, f"{where}: {mine.dtype}, expected {expected.dtype}"
        assert mine.shape == expected.shape, f"{where}: {mine.shape}, expected {expected.shape}"
        if expected.dtype.kind != "f":
            np.testing.assert_array_equal(mine.array, expected, err_msg=where)
            return
        eps = float(np.finfo(expected.dtype).eps)
        finite = np.abs(expected[np.isfinite(expected)])
        np.testing.assert_allclose(
            mine.detach().array, expected, rtol=100 * eps, err_msg=where,
            atol=100 * eps * float(finite.max(initial=1.0)),
        )  # fmt: skip
    elif isinstance(theirs, (tuple, list)):
        assert len(mine) == len(theirs), where
        for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            compare(a, b, f"{where}[{i}]")
    else:
        assert mine == theirs, where


def is_empty(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.numel() == 0


#: Operator -> (samples that minidl refuses or treats differently, reason).
EXCLUDED: dict[str, tuple[Callable[[Any, tuple[Any, ...], dict[str, Any]], bool], str]] = {
    "addmm": (lambda x, args, kw: not x.is_floating_point() and "beta" in kw, "rounded weights"),
    "baddbmm": (lambda x, args, kw: not x.is_floating_point() and "beta" in kw, "rounded weights"),
    "contiguous": (lambda x, args, kw: "memory_format" in kw, "memory formats"),
    "cat": (
        lambda x, args, kw: x[0].requires_grad and x[0].shape == (0,) and x[1].ndim == 2,
        "what has no elements gets no gradient",
    ),
    "div": (
        lambda x, args, kw: x.requires_grad and kw.get("rounding_mode") == "floor",
        "no gradient where all of it is 0",
    ),
    "gather": (
        lambda x, args, kw: is_empty(args[1]) or x.ndim == 0,
        "an index of another number of axes",
    ),
    "linspace": (
        lambda x, args, kw: kw.get("dtype") == torch.int64 or isinstance(x, torch.Tensor)
        or isinstance(args[0], torch.Tensor),
        "how integers are rounded; ends that are tensors",
    ),
    "__rpow__": (
        lambda x, args, kw: not x.is_floating_point(), "integers to negative powers raise"
    ),
    "repeat_interleave": (lambda x, args, kw: "output_size" in kw, "a hint for GPUs"),
    "scatter": (lambda x, args, kw: "reduce" in kw or x.ndim == 0, "deprecated; no axes"),
    "topk": (lambda x, args, kw: not x.is_floating_point(), "PyTorch promises no order of ties"),
    "norm": (lambda x, args, kw: args[:1] in (("nuc",), (0,)), "singular values; counting"),
    "nn.functional.batch_norm": (lambda x, args, kw: x.ndim < 2, "no channels"),
    "nn.functional.avg_pool2d": (lambda x, args, kw: not x.is_floating_point(), "integers"),
    "nn.functional.max_pool2d": (lambda x, args, kw: not x.is_floating_point(), "integers"),
    "nn.functional.local_response_norm": (
        lambda x, args, kw: not x.is_floating_point(), "integers"
    ),
    "nn.functional.cross_entropy": (
        lambda x, args, kw: args[0].requires_grad, "gradients of class probabilities"
    ),
}  # fmt: skip
for _name in ("index_add", "index_fill", "index_select", "scatter_add"):
    EXCLUDED[_name] = (lambda x, args, kw: x.ndim == 0, "an index into a tensor without axes")
for _name in ("float", "double", "long", "half", "byte"):
    EXCLUDED[_name] = (lambda x, args, kw: "memory_format" in kw, "memory formats")


def is_excluded(name: str, sample: Any) -> bool:
    return name in EXCLUDED and EXCLUDED[name][0](sample.input, sample.args, sample.kwargs)


def check(info: Any, dtype: Any, with_gradients: bool) -> int:
    function = ours(info.name)
    count = 0
    for sample in info.sample_inputs("cpu", dtype, requires_grad=with_gradients):
        arguments = [sample.input, *sample.args]
        if is_excluded(info.name, sample):
            continue
        where = f"{info.name}{sample.summary()}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = info.op(*arguments, **sample.kwargs)
        my_arguments, my_kwargs = to_ours(arguments), to_ours(sample.kwargs)
        mine = function(*my_arguments, **my_kwargs)
        compare(mine, theirs, where)
        count += 1
        if not with_gradients:
            continue
        outputs = [t for t in tensors_of(theirs, torch.Tensor) if t.requires_grad]
        my_outputs = [t for t in tensors_of(mine, minidl.Tensor) if t.requires_grad]
        leaves = list(tensors_of([arguments, sample.kwargs], torch.Tensor))
        my_leaves = list(tensors_of([my_arguments, my_kwargs], minidl.Tensor))
        assert len(my_outputs) == len(outputs), f"{where}: outputs with gradients"
        if not outputs:
            continue
        rng = np.random.default_rng(count)
        seeds = [rng.uniform(-1, 1, tuple(t.shape)) for t in outputs]
        for leaf in leaves:  # samples share some of them
            leaf.grad = None
        torch.autograd.backward(outputs, [torch.tensor(s, dtype=dtype) for s in seeds])
        minidl.autograd.backward(my_outputs, [minidl.tensor(s) for s in seeds])
        for i, (a, b) in enumerate(zip(my_leaves, leaves, strict=True)):
            assert (a.grad is None) == (b.grad is None), f"{where}: gradient of tensor {i}"
            if b.grad is not None:
                compare(a.grad, b.grad, f"{where}: gradient of tensor {i}")
    return count


def infos(dtype: Any) -> list[Any]:
    return [pytest.param(info, id=name_of(info)) for info in INFOS if dtype in info.dtypes]


def name_of(info: Any) -> str:
    return f"{info.name}-{info.variant_test_name}".strip("-")


@pytest.mark.parametrize("info", infos(torch.float64))
def test_float64_with_gradients(info: Any) -> None:
    check(info, torch.float64, info.supports_autograd)


@pytest.mark.parametrize("info", infos(torch.float32))
def test_float32(info: Any) -> None:
    check(info, torch.float32, False)


@pytest.mark.parametrize("info", infos(torch.int64))
def test_int64(info: Any) -> None:
    check(info, torch.int64, False)


def test_every_operator_was_found() -> None:
    assert sorted({info.name for info in INFOS}) == sorted(NAMES)
