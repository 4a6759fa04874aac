"""ONNX's own test cases for its operators, run through minidl.

``NODES`` says how to write an ONNX operator with minidl. All test cases of these operators run,
except those for which :func:`why_not` gives a reason.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F

onnx = pytest.importorskip("onnx")
from onnx.backend.test.case import base  # noqa: E402
from onnx.backend.test.loader import load_model_tests  # noqa: E402
from onnx.reference.ops import op_pool_common  # noqa: E402

Tensor = minidl.Tensor


# --- Windows: ONNX pads each side separately, and has two kinds of "same" -------------------------


def window_pads(x: Tensor, kernel: list[int], a: dict[str, Any]) -> list[int]:
    """The padding of the last two axes in F.pad's form."""
    strides, dilations = a.get("strides", [1, 1]), a.get("dilations", [1, 1])
    mode = a.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0, 0, 0, 0]
    if mode == "NOTSET":
        top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
        return [left, right, top, bottom]
    pads = []
    for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        before = (total + (mode == "SAME_LOWER")) // 2
        pads = [before, total - before, *pads]
    return pads


def conv(x: Tensor, w: Tensor, b: Tensor | None = None, **a: Any) -> Tensor:
    pads = window_pads(x, list(w.shape[2:]), a)
    left, right, top, bottom = pads
    if left == right and top == bottom:
        padding: Any = (top, left)
    else:
        x, padding = F.pad(x, pads), 0
    stride, dilation = a.get("strides", 1), a.get("dilations", 1)
    return F.conv2d(x, w, b, stride, padding, dilation, a.get("group", 1))


def max_pool(x: Tensor, **a: Any) -> Any:
    kernel = a["kernel_shape"]
    left, right, top, bottom = window_pads(x, kernel, a)
    if left == right and top == bottom and max(left, top) <= min(kernel) // 2:
        padding: Any = (top, left)
    else:
        x, padding = F.pad(x, [left, right, top, bottom], value=-math.inf), 0
    return F.max_pool2d(
        x, kernel, a.get("strides", 1), padding, a.get("dilations", 1),
        bool(a.get("ceil_mode", 0)), return_indices=True,
    )  # fmt: skip


def average_pool(x: Tensor, **a: Any) -> Tensor:
    kernel = a["kernel_shape"]
    left, right, top, bottom = window_pads(x, kernel, a)
    include = bool(a.get("count_include_pad", 0))
    ceil, stride = bool(a.get("ceil_mode", 0)), a.get("strides", 1)
    if left == right and top == bottom and max(left, top) <= min(kernel) // 2:
        return F.avg_pool2d(x, kernel, stride, (top, left), ceil, include)
    # the mean inside the image is the mean of all, divided by the mean of an image of ones
    pads = [left, right, top, bottom]
    total = F.avg_pool2d(F.pad(x, pads), kernel, stride)
    return (
        total if include else total / F.avg_pool2d(F.pad(minidl.ones_like(x), pads), kernel, stride)
    )


def batch_norm(x: Any, scale: Any, b: Any, mean: Any, var: Any, **a: Any) -> Any:
    epsilon, training = a.get("epsilon", 1e-5), bool(a.get("training_mode", 0))
    if not training:
        return F.batch_norm(x, mean, var, scale, b, False, eps=epsilon)
    # ONNX's momentum is the weight of the old average, and its variance is divided by n
    y = F.batch_norm(x, None, None, scale, b, True, eps=epsilon)
    m, axes = a.get("momentum", 0.9), [d for d in range(x.ndim) if d != 1]
    return (
        y,
        mean * m + x.mean(axes) * (1 - m),
        var * m + x.var(axes, unbiased=False) * (1 - m),
    )


# --- Everything else ------------------------------------------------------------------------------


def dropout(x: Tensor, ratio: Any = None, training: Any = None, **a: Any) -> Any:
    return F.dropout(x, 0.5, training=False), minidl.ones_like(x, dtype=bool)


def gemm(a_: Tensor, b: Tensor, c: Any = None, **a: Any) -> Tensor:
    left = a_.T if a.get("transA") else a_
    right = b.T if a.get("transB") else b
    product = a.get("alpha", 1.0) * (left @ right)
    return product if c is None else product + a.get("beta", 1.0) * c


def pad(x: Tensor, pads: Tensor, value: Any = None, axes: Any = None, **a: Any) -> Tensor:
    amounts = pads.tolist()
    chosen = list(range(x.ndim)) if axes is None else [d % x.ndim for d in axes.tolist()]
    pairs = dict(
        zip(chosen, zip(amounts[: len(chosen)], amounts[len(chosen) :], strict=True), strict=True)
    )
    flat = [n for d in reversed(range(x.ndim)) for n in pairs.get(d, (0, 0))]
    mode = {"edge": "replicate", "wrap": "circular"}.get(
        a.get("mode", ""), a.get("mode", "constant")
    )
    return F.pad(x, flat, mode, 0 if value is None else value.item())


def flatten(x: Tensor, axis: int = 1) -> Tensor:
    axis %= x.ndim + (axis >= 0)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def nll(x: Tensor, target: Tensor, weight: Any = None, **a: Any) -> Tensor:
    ignore = a.get("ignore_index", -100)
    return F.nll_loss(x, target, weight, ignore_index=ignore, reduction=a.get("reduction", "mean"))


def softmax_cross_entropy(x: Tensor, target: Tensor, weight: Any = None, **a: Any) -> Any:
    ignore = a.get("ignore_index", -100)
    reduction = a.get("reduction", "mean")
    loss = F.cross_entropy(x, target, weight, ignore_index=ignore, reduction=reduction)
    return loss, F.log_softmax(x, 1)


def reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    def node(x: Tensor, axes: Any = None, keepdims: int = 1, **a: Any) -> Tensor:
        dims = None if axes is None else axes.tolist() if isinstance(axes, Tensor) else list(axes)
        if not dims:
            if a.get("noop_with_empty_axes"):
                dims = []
                return function(x.unsqueeze(0), [0], False)  # type: ignore[no-any-return]
            dims = list(range(x.ndim))
        return function(x, dims, bool(keepdims))  # type: ignore[no-any-return]

    return node


def prod(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    for d in sorted((d % x.ndim for d in dims), reverse=True):
        x = x.prod(d, keepdim=keepdim)
    return x


def extreme(name: str) -> Callable[..., Tensor]:
    def function(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
        if x.dtype == bool:
            return getattr(minidl, "any" if name == "amax" else "all")(x, dims, keepdim)  # type: ignore[no-any-return]
        return getattr(minidl, name)(x, dims, keepdim)  # type: ignore[no-any-return]

    return function


def arg_extreme(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def node(x: Tensor, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        if not select_last_index:
            return function(x, axis, bool(keepdims))
        return x.size(axis) - 1 - function(x.flip(axis), axis, bool(keepdims))

    return node


def slices(x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    chosen = range(x.ndim) if axes is None else axes.tolist()
    strides = [1] * x.ndim if steps is None else steps.tolist()
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(
        starts.tolist(), ends.tolist(), chosen, strides, strict=False
    ):
        whole = range(x.size(axis))[start:end:step]
        stop: int | None = whole.stop if whole.stop >= 0 else None
        index[axis] = slice(whole.start, stop, step) if len(whole) else slice(0, 0)
    return x[tuple(index)]


def cumsum(x: Tensor, axis: Tensor, exclusive: int = 0, reverse: int = 0) -> Tensor:
    d = int(axis)
    y = x.flip(d) if reverse else x
    sums = y.cumsum(d).to(dtype=x.dtype)
    sums = sums - y if exclusive else sums
    return sums.flip(d) if reverse else sums


def one_hot(indices: Tensor, depth: Tensor, values: Tensor, axis: int = -1) -> Tensor:
    rows = F.one_hot(indices.long() % int(depth), int(depth)).bool()
    return minidl.where(rows, values[1], values[0]).movedim(-1, axis)


def clip(x: Tensor, low: Any = None, high: Any = None, **a: Any) -> Tensor:
    return x.clone() if low is None and high is None else minidl.clamp(x, low, high)


def div(a: Tensor, b: Tensor) -> Tensor:
    return minidl.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def reshape(x: Tensor, shape: Tensor, allowzero: int = 0) -> Tensor:
    lengths = shape.tolist()
    return x.reshape(*(n or (0 if allowzero else x.size(i)) for i, n in enumerate(lengths)))


def squeeze(x: Tensor, axes: Any = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(axes.tolist())


def unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    for d in sorted(d % (x.ndim + axes.numel()) for d in axes.tolist()):
        x = x.unsqueeze(d)
    return x


def split(x: Tensor, lengths: Any = None, axis: int = 0, num_outputs: int = 0) -> Any:
    if lengths is None:
        return x.split(-(-x.size(axis) // num_outputs), axis)
    return x.split(lengths.tolist(), axis)


def topk(x: Tensor, k: Tensor, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    return tuple(minidl.topk(x, int(k), axis, bool(largest)))


def trilu(x: Tensor, k: Any = None, upper: int = 1) -> Tensor:
    return (minidl.triu if upper else minidl.tril)(x, 0 if k is None else int(k))


def col2im(x: Tensor, size: Tensor, block: Tensor, **a: Any) -> Tensor:
    pads = a.get("pads", [0, 0, 0, 0])
    return F.fold(
        x, size.tolist(), block.tolist(), a.get("dilations", 1), pads[:2], a.get("strides", 1)
    )


def expand(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(shape.tolist())))


def gather_elements(x: Tensor, index: Tensor, axis: int = 0) -> Tensor:
    return minidl.gather(x, axis, minidl.where(index < 0, index + x.size(axis), index))


def scatter_elements(
    x: Tensor, index: Tensor, updates: Tensor, axis: int = 0, reduction: str = "none"
) -> Tensor:
    index = minidl.where(index < 0, index + x.size(axis), index)
    if reduction == "add":
        return minidl.scatter_add(x, axis, index, updates)
    return minidl.scatter(x, axis, index, updates)


def chain(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def node(first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return node


NODES: dict[str, Callable[..., Any]] = {
    "Abs": minidl.abs,
    "Add": minidl.add,
    "And": minidl.logical_and,
    "ArgMax": arg_extreme(minidl.argmax),
    "ArgMin": arg_extreme(minidl.argmin),
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "BitwiseAnd": minidl.ops.bitwise_and,
    "BitwiseNot": lambda x: ~x,
    "BitwiseOr": minidl.ops.bitwise_or,
    "BitwiseXor": minidl.ops.bitwise_xor,
    "Ceil": minidl.ceil,
    "Clip": clip,
    "Col2Im": col2im,
    "Concat": lambda *parts, axis: minidl.cat(parts, axis),
    "Conv": conv,
    "Cos": minidl.cos,
    "CumProd": lambda x, axis: x.cumprod(int(axis)).to(dtype=x.dtype),
    "CumSum": cumsum,
    "Div": div,
    "Dropout": dropout,
    "Einsum": lambda *tensors, equation: minidl.einsum(equation, *tensors),
    "Equal": minidl.eq,
    "Exp": minidl.exp,
    "Expand": expand,
    "Flatten": flatten,
    "Floor": minidl.floor,
    "Gather": lambda x, index, axis=0: x[(slice(None),) * (axis % x.ndim) + (index,)],
    "GatherElements": gather_elements,
    "Gemm": gemm,
    "GlobalAveragePool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "GlobalMaxPool": lambda x: F.max_pool2d(x, tuple(x.shape[2:])),
    "Greater": minidl.gt,
    "GreaterOrEqual": minidl.ge,
    "Identity": minidl.clone,
    "IsInf": lambda x: minidl.isinf(x),
    "IsNaN": minidl.isnan,
    "LRN": lambda x, size, alpha=1e-4, beta=0.75, bias=1.0: F.local_response_norm(
        x, size, alpha, beta, bias
    ),
    "Less": minidl.lt,
    "LessOrEqual": minidl.le,
    "Log": minidl.log,
    "LogSoftmax": lambda x, axis=-1: F.log_softmax(x, axis),
    "MatMul": minidl.matmul,
    "Max": chain(minidl.maximum),
    "MaxPool": max_pool,
    "Mean": lambda *xs: minidl.stack(xs).mean(0),
    "Min": chain(minidl.minimum),
    "Mod": lambda a, b, fmod=0: (minidl.fmod if fmod else minidl.remainder)(a, b),
    "Mul": minidl.mul,
    "Neg": minidl.neg,
    "NegativeLogLikelihoodLoss": nll,
    "NonZero": lambda x: minidl.nonzero(x).T,
    "Not": minidl.logical_not,
    "OneHot": one_hot,
    "Or": minidl.logical_or,
    "Pad": pad,
    "Pow": lambda a, b: minidl.pow(a, b).to(dtype=a.dtype),
    "Range": lambda start, limit, step: minidl.arange(
        start.item(), limit.item(), step.item(), dtype=start.dtype
    ),
    "Reciprocal": minidl.reciprocal,
    "ReduceL1": reduced(lambda x, dims, keepdim: x.norm(1, dims, keepdim)),
    "ReduceL2": reduced(lambda x, dims, keepdim: x.norm(2, dims, keepdim)),
    "ReduceLogSum": reduced(lambda x, dims, keepdim: x.sum(dims, keepdim).log()),
    "ReduceLogSumExp": reduced(minidl.logsumexp),
    "ReduceMax": reduced(extreme("amax")),
    "ReduceMean": reduced(minidl.mean),
    "ReduceMin": reduced(extreme("amin")),
    "ReduceProd": reduced(prod),
    "ReduceSum": reduced(minidl.sum),
    "ReduceSumSquare": reduced(lambda x, dims, keepdim: (x * x).sum(dims, keepdim)),
    "Relu": F.relu,
    "Reshape": reshape,
    "Round": minidl.round,
    "ScatterElements": scatter_elements,
    "Shape": lambda x, start=0, end=None: minidl.tensor(
        list(x.shape[start:end]), dtype=minidl.int64
    ),
    "Sigmoid": F.sigmoid,
    "Sign": minidl.sign,
    "Sin": minidl.sin,
    "Size": lambda x: minidl.tensor(x.numel()),
    "Slice": slices,
    "Softmax": lambda x, axis=-1: F.softmax(x, axis),
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy,
    "Split": split,
    "Sqrt": minidl.sqrt,
    "Squeeze": squeeze,
    "Sub": minidl.sub,
    "Sum": chain(minidl.add),
    "Tanh": F.tanh,
    "Tile": lambda x, repeats: minidl.tile(x, repeats.tolist()),
    "TopK": topk,
    "Transpose": lambda x, perm=None: x.permute(perm) if perm else x.T,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
    "Where": minidl.where,
    "Xor": minidl.logical_xor,
}

# At import, ONNX computes all cases of all operators and reads their sources: five seconds in each
# process that collects tests. The functions below leave out what doesn't run here.
_pool, _make_cases = op_pool_common.pool, base._Exporter.__init__


def _only_two_axes(padded: Any, shape: Any, *args: Any, **named: Any) -> Any:
    """Pool like ONNX's reference, but not three axes."""
    if len(shape) > 4:
        return np.zeros([*shape[:2], *args[2]], padded.dtype)
    return _pool(padded, shape, *args, **named)


def _only_our_operators(cls: Any, name: str, *rest: Any) -> None:
    """Make the cases of the class ``name``, called like its operator, if it is in NODES."""
    if name in NODES:
        _make_cases(cls, name, *rest)


op_pool_common.pool = _only_two_axes
base._Exporter.__init__ = _only_our_operators
base.process_snippet = lambda *args: ("", "")  # the source, for ONNX's documentation
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _all_cases = load_model_tests(kind="node")
CASES = []
for _case in _all_cases:
    if _case.model is None or len(_case.model.graph.node) != 1:
        continue
    if _case.model.graph.node[0].op_type in NODES and "expanded" not in _case.name:
        CASES.append(_case)


#: Operators whose outputs ONNX gives to only four digits.
FOUR_DIGITS = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}


def why_not(case: Any, attributes: dict[str, Any]) -> str | None:
    """Return why minidl can't run a case, or None."""
    node = case.model.graph.node[0]
    arrays = [array for inputs, outputs in case.data_sets for array in (*inputs, *outputs)]
    if any(not hasattr(array, "dtype") or array.dtype.kind not in "biuf" for array in arrays):
        return "sequences, strings and dtypes that NumPy does not have"
    if node.op_type in ("MaxPool", "AveragePool") and len(attributes["kernel_shape"]) != 2:
        return "pooling of one or three axes"
    if node.op_type == "Col2Im" and arrays[1].size != 2:
        return "fold of three axes"
    if node.op_type == "AveragePool" and "dilations" in attributes:
        return "avg_pool2d has no dilation, as PyTorch's"
    if attributes.get("storage_order"):
        return "indices of column-major images"
    if case.name.startswith("test_training_dropout") and "zero_ratio" not in case.name:
        return "another generator's random numbers"
    if node.op_type == "CumProd" and attributes:
        return "cumprod has no options, as PyTorch's"
    if node.op_type == "IsInf" and attributes:
        return "isinf finds both infinities, as PyTorch's"
    if attributes.get("reduction") in ("mul", "max", "min") and node.op_type == "ScatterElements":
        return "scatter with another reduction than add"
    if case.name == "test_onehot_out_of_range_indices":
        return "one_hot raises, as PyTorch's"
    if case.name in ("test_reduce_max_empty_set", "test_reduce_min_empty_set"):
        return "the largest of no elements is an error, as in PyTorch"
    return None


def test_every_operator_has_cases() -> None:
    assert {case.model.graph.node[0].op_type for case in CASES} == set(NODES)


def to_ours(value: Any) -> Any:
    return None if value is None else minidl.from_numpy(np.array(value))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_node(case: Any) -> None:
    node = case.model.graph.node[0]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
    if node.op_type == "Split" and len(node.input) == 1:
        attributes["num_outputs"] = len(node.output)
    reason = why_not(case, attributes)
    if reason:
        pytest.skip(reason)
    for inputs, expected in case.data_sets:
        given = iter(inputs)
        arguments = [to_ours(next(given)) if name else None for name in node.input]
        results = NODES[node.op_type](*arguments, **attributes)
        results = results if isinstance(results, tuple) else (results,)
        for result, right in zip(results, expected, strict=False):
            assert result.dtype == right.dtype and result.shape == right.shape
            rtol = 1e-3 if case.name in FOUR_DIGITS else 1e-5
            np.testing.assert_allclose(result.numpy(), right, rtol=rtol, atol=1e-6)
