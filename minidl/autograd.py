"""Reverse-mode differentiation: :class:`Function`, the tape it writes, and the walk back.

Every differentiable operation is a :class:`Function`. ``Function.apply`` runs its ``forward`` on
arrays and, if a gradient will be asked for, leaves a :class:`Node` on the tape: which function,
what it saved, and for every argument the node (or leaf tensor) that the argument came from.

:func:`backward` walks the nodes from the latest to the earliest. With ``y = f(x)`` and a scalar
loss ``L``, a node turns ``dL/dy`` into ``dL/dx = (dy/dx)ᵀ · dL/dy``; gradients that reach the same
tensor on several ways are added. What a node saved is freed as soon as it has been used.
"""

from __future__ import annotations

import heapq
import itertools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .device import (
    Array,
    Device,
    Shape,
    active,
    array_module,
    check_one_device,
    device_of,
    gpu,
    module_for,
)  # fmt: skip
from .errors import ArgumentError, AutogradError, DeviceError, ShapeError
from .kernels import cuda
from .tensor import Tensor

if TYPE_CHECKING:
    from .gradcheck import gradcheck as gradcheck

Callback = TypeVar("Callback", bound=Callable[..., Any])


# --- Is the tape being written? -------------------------------------------------------------------


class _Mode(threading.local):
    enabled = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Return whether operations of this thread are being recorded."""
    return _mode.enabled


class set_grad_enabled:
    """Switch recording on or off, at once and as a context manager or decorator.

    Parameters
    ----------
    mode : bool
    """

    def __init__(self, mode: bool) -> None:
        self.before = _mode.enabled
        self.mode = _mode.enabled = bool(mode)

    def __enter__(self) -> None:
        _mode.enabled = self.mode

    def __exit__(self, *error: object) -> None:
        _mode.enabled = self.before


class _GradMode:
    """A context manager and decorator, usable again and again."""

    mode: bool

    def __init__(self) -> None:
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(_mode.enabled)
        _mode.enabled = self.mode

    def __exit__(self, *error: object) -> None:
        _mode.enabled = self.before.pop()

    def __call__(self, function: Callback) -> Callback:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


class no_grad(_GradMode):
    """Operations inside are not recorded: a context manager, and a decorator.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.ones(2, requires_grad=True)
    >>> with minidl.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    mode = False


class enable_grad(_GradMode):
    """Operations inside are recorded even within :class:`no_grad`."""

    mode = True


# --- The tape -------------------------------------------------------------------------------------

_sequence = itertools.count()


class Node:
    """One operation on the tape; the ``ctx`` that a :class:`Function` is given.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For every argument of ``forward``, whether its gradient will be used.
    saved_tensors : tuple of arrays
        What ``save_for_backward`` was given.
    may_overwrite : tuple of bool
        In ``backward``, for every gradient, whether nobody else holds it, so that its memory may
        take the result.
    """

    # Of every node until it is set: what a node does not need takes no time to make.
    sequence = 0
    edges: Sequence[tuple[Any, int] | None] | None = None
    retained: dict[int, Any] | None = None
    may_overwrite: tuple[bool, ...] = ()
    _saved: tuple[Any, ...] | None = ()
    # version counter, its value at the forward, number in _saved, what it was, name
    _guards: Sequence[tuple[list[int], int, int, str, str | None]] = ()
    _without_grad: tuple[Any, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _materialize = True

    def __init__(self, function: type[Function], needs_input_grad: tuple[bool, ...]) -> None:
        self.function = function
        self.needs_input_grad = needs_input_grad
        self.outputs: list[tuple[Any, Any, Any]] = []  # shape, dtype and device of each output

    if TYPE_CHECKING:  # a forward may leave on its ctx whatever its backward needs

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep `arrays` (or None) for the backward; changing them in place becomes an error."""
        self._saved = arrays

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arrays that ``save_for_backward`` was given.

        Raises
        ------
        AutogradError
            They have been freed, or one was changed in place since; the message names it.
        """
        if self._saved is None:
            raise AutogradError(
                f"{self.function.__name__}: the tape was walked and freed already; pass "
                "retain_graph=True to the first backward() to walk it twice"
            )
        for version, before, number, what, name in self._guards:
            if version[0] != before:
                raise AutogradError(
                    f"{self.function.__name__}'s backward needs {what}, "
                    f"{_describe(self._saved[number], name)}, but it was changed in place after "
                    f"the forward: it is at version {version[0]}, and version {before} was "
                    "expected; use the out-of-place form of the change, or clone() the tensor first"
                )
        return self._saved

    def mark_non_differentiable(self, *arrays: Any) -> None:
        """Say that these outputs have no gradient (indices, for instance)."""
        self._without_grad = arrays

    def set_materialize_grads(self, value: bool) -> None:
        """Say whether ``backward`` gets zeros (the default) or None for unused outputs."""
        self._materialize = value

    def mark_dirty(self, *arrays: Any) -> None:
        """Say that ``forward`` changed these arguments in place and returns them."""
        self._dirty = arrays

    def wrap(self, output: Array, arg: Tensor) -> Tensor:
        """Return `output`, which is the array of `arg`, as a tensor: `arg` if it was changed."""
        if any(output is array for array in self._dirty):
            arg.version[0] += 1
            return arg
        result = Tensor(output)  # forward returned its argument: one memory, one version
        result.version = arg.version
        return result

    def record(self, edges: Sequence[tuple[Any, int] | None], results: Sequence[Tensor]) -> None:
        """Put the operation on the tape: `edges` is where its arguments' gradients go."""
        self.edges = edges
        self.sequence = next(_sequence)
        without = [id(array) for array in self._without_grad]
        for index, result in enumerate(results):
            array = result.array
            self.outputs.append((array.shape, array.dtype, device_of(array)))
            if array.dtype.kind == "f" and id(array) not in without:
                result._requires_grad = True
                result.node = self
                result.output_index = index

    def guard(self, owners: dict[int, Tensor], results: Sequence[Tensor]) -> None:
        """Note the versions of saved arrays that are arguments or results.

        `owners` has the arguments by the ``id`` of their arrays.
        """
        guards = []
        for number, array in enumerate(self._saved or ()):
            tensor, what = owners.get(id(array)), "its argument"
            for result in results if tensor is None else ():
                if result.array is array:
                    tensor, what = result, "its own result"
            if tensor is not None:
                version = tensor.version
                guards.append((version, version[0], number, what, tensor.name))
        self._guards = guards

    def keep_copy(self, array: Array) -> None:
        """Save a copy of `array`, which is going to be overwritten, if it was saved."""
        saved = list(self._saved or ())
        for number, item in enumerate(saved):
            if item is array:
                saved[number] = array.copy(order="K")
                self._guards = [guard for guard in self._guards if guard[2] != number]
        self._saved = tuple(saved)

    def __repr__(self) -> str:
        return f"<{self.function.__name__}Backward>"


#: What ``forward`` and ``backward`` of a :class:`Function` are given.
Context = Node


def _describe(array: Array, name: str | None) -> str:
    named = f" {name!r}" if name else ""
    return f"the {array.dtype} tensor{named} of shape {tuple(array.shape)}"


def describe(tensor: Tensor) -> str:
    """Return a few words that identify `tensor` to a user."""
    return _describe(tensor.array, tensor.name)


class Function:
    """A differentiable operation: subclass it and write ``forward`` and ``backward``.

    Both are static methods on arrays (NumPy or CuPy, never Tensors). ``forward(ctx, *args)`` gets
    an array for every Tensor and everything else as it is, and returns an array or a tuple of
    arrays. ``backward(ctx, *grads)`` gets the gradient of every output and returns the gradient of
    every argument, None for those that have none. A gradient must not be changed in place, unless
    ``ctx.may_overwrite`` says that nobody else holds it.

    Examples
    --------
    >>> import numpy as np
    >>> import minidl
    >>> class Square(minidl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * grad
    >>> x = minidl.tensor([1.0, 3.0], requires_grad=True)
    >>> Square.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 6.])
    """

    #: Whether the result shares the memory of the first argument.
    is_view = False

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Compute the result from arrays."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Compute the arguments' gradients from the results' gradients."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run the operation on Tensors and record it.

        Parameters
        ----------
        *args
            Tensors and anything else, by position.

        Returns
        -------
        Tensor or tuple of Tensor

        Raises
        ------
        DeviceError
            The Tensors are on different devices.
        """
        arrays: list[Any] = []
        edges: list[tuple[Any, int] | None] = []
        owners: dict[int, Tensor] = {}  # the tensors by the id of their arrays
        place = None  # of the tensors so far: the number of their GPU, -1 for the CPU
        for arg in args:
            if not isinstance(arg, Tensor):
                arrays.append(arg)
                edges.append(None)
                continue
            array = arg.array
            here = -1 if isinstance(array, np.ndarray) else array.data.device_id
            if here != place:
                if place is not None:
                    raise DeviceError(_mixed_devices(cls.__name__, args))
                place = here
            arrays.append(array)
            edges.append(_edge(arg) if arg._requires_grad else None)
            owners.setdefault(id(array), arg)
        needs = tuple([edge is not None for edge in edges])
        node = Node(cls, needs)
        with np.errstate(all="ignore"):  # 1/0 is inf and inf - inf is NaN, as IEEE says
            try:
                if place is None or place < 0:
                    outputs = cls.forward(node, *arrays)
                else:
                    with active(gpu(place)):
                        outputs = cls.forward(node, *arrays)
            except (MemoryError, RuntimeError) as error:
                cuda.explain_out_of_memory(error, cls.__name__)
                raise

        results = []
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            owner = owners.get(id(output))
            result = Tensor(output) if owner is None else node.wrap(output, owner)
            if cls.is_view:
                result.version = args[0].version
            results.append(result)
        if _mode.enabled and True in needs:
            node.record(edges, results)
            if node._saved:
                node.guard(owners, results)
        return tuple(results) if isinstance(outputs, tuple) else results[0]


def _edge(tensor: Tensor) -> tuple[Any, int]:
    """Where the gradient of `tensor` goes: its node and output number, or the leaf and -1."""
    return (tensor, -1) if tensor.node is None else (tensor.node, tensor.output_index)


def _mixed_devices(name: str, args: Sequence[Any]) -> str:
    where = ", ".join(
        f"argument {i} on {arg.device}" for i, arg in enumerate(args) if isinstance(arg, Tensor)
    )
    return f"{name}: all tensors must be on one device, got {where}; move them with .to(device)"


# --- The walk back --------------------------------------------------------------------------------


def _seed_gradient(tensor: Tensor, gradient: Any) -> Array:
    """Return the gradient that the walk starts with at `tensor`."""
    if gradient is None:
        if tensor.array.size != 1:
            raise AutogradError(
                f"backward() without a gradient needs a tensor of one element, got shape "
                f"{tuple(tensor.shape)}; reduce it first (loss.mean()) or pass gradient="
            )
        with active(device_of(tensor.array)):
            ones: Array = array_module(tensor.array).ones(tensor.array.shape, tensor.array.dtype)
        return ones
    array = gradient.array if isinstance(gradient, Tensor) else gradient
    check_one_device("backward()", tensor=tensor.array, gradient=array)
    if array.shape != tensor.array.shape:
        raise ShapeError(
            f"gradient: expected the shape of the tensor, {tuple(tensor.shape)}, "
            f"got {tuple(array.shape)}"
        )
    return array.astype(tensor.array.dtype, copy=False)


def _zeros(shape: Shape, dtype: np.dtype, where: Device) -> Array:
    """Return the gradient of an output that nothing was computed from."""
    with active(where):
        zeros: Array = module_for(where).zeros(shape, dtype)
    return zeros


def _references(array: Any) -> tuple[int, int]:
    """Return the counts of references to `array` and to the array whose memory it shows."""
    base = array.base
    if base is None or not hasattr(base, "dtype"):  # memory of its own, or another object's
        return sys.getrefcount(array), 0
    return sys.getrefcount(array), sys.getrefcount(base)


def _references_of_ours() -> tuple[int, int]:
    """Return :func:`_references` of a view that a variable and a list hold, as in the walk.

    Measured, because it differs between versions of Python.
    """
    arrays = [np.zeros(2)[:1]]
    gradient = arrays[0]
    return _references(gradient)


_OURS_ALONE = _references_of_ours()


def _is_ours_alone(counts: tuple[int, int], strides: Shape) -> bool:
    """Return whether nobody but the walk holds an array, given its :func:`_references`.

    One that repeats an element (stride 0) can't be changed in place and does not count as such.
    """
    return counts[0] <= _OURS_ALONE[0] and counts[1] <= _OURS_ALONE[1] and 0 not in strides


_accumulating = threading.Lock()  # several threads may walk back to the same leaf
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_accumulating.acquire,
        after_in_parent=_accumulating.release,
        after_in_child=_accumulating.release,
    )


def _accumulate(leaf: Tensor, gradient: Array, owned: bool) -> None:
    """Add `gradient` to ``leaf.grad``."""
    with _accumulating:
        if leaf.grad is None and owned and gradient.dtype == leaf.array.dtype:
            leaf.grad = Tensor(gradient)
            return
        with active(device_of(leaf.array)):
            if leaf.grad is None:
                leaf.grad = Tensor(gradient.astype(leaf.array.dtype, order="C"))  # a copy
            else:
                gradient = gradient.astype(leaf.array.dtype, copy=False)
                leaf.grad = Tensor(leaf.grad.array + gradient)


def _added(before: Array | None, gradient: Array) -> Array:
    """Return the sum of what reached a tensor before, if anything, and a gradient."""
    if before is None:
        return gradient
    with active(device_of(gradient)):
        total: Array = before + gradient
    return total


@np.errstate(all="ignore")
def _walk(
    roots: Sequence[Tensor],
    seeds: Sequence[Array],
    retain_graph: bool,
    wanted: dict[tuple[int, int], int] | None,
) -> list[Array | None]:
    """Walk the tape back from `roots`.

    With `wanted` None, gradients are added to the leaves' ``.grad``; otherwise `wanted` maps
    ``(id of node or leaf, output number)`` to a place in the returned list.
    """
    found: list[Array | None] = [None] * (len(wanted) if wanted is not None else 0)
    pending: dict[Node, list[Array | None]] = {}
    heap: list[tuple[int, int, Node]] = []

    def deliver(target: Any, index: int, gradient: Array) -> None:
        waiting = pending.get(target)
        if waiting is None:
            waiting = pending[target] = [None] * len(target.outputs)
            heapq.heappush(heap, (-target.sequence, id(target), target))
        dtype = target.outputs[index][1]
        if gradient.dtype != dtype:  # the operation had promoted its argument
            with active(device_of(gradient)):
                gradient = gradient.astype(dtype)
        waiting[index] = _added(waiting[index], gradient)

    def collect(key: tuple[int, int], gradient: Array) -> None:
        place = wanted.get(key) if wanted is not None else None
        if place is not None:
            found[place] = _added(found[place], gradient)

    def to_leaf(leaf: Tensor, gradient: Array, owned: bool) -> None:
        if wanted is None:
            _accumulate(leaf, gradient, owned)
        else:
            collect((id(leaf), -1), gradient)

    for root, seed in zip(roots, seeds, strict=True):
        if root.node is None:
            to_leaf(root, seed, False)
        else:
            deliver(root.node, root.output_index, seed)

    while heap:
        node = heapq.heappop(heap)[2]
        grads = pending.pop(node)
        if node.edges is None:
            raise AutogradError(
                f"{node.function.__name__}: the tape was walked and freed already; pass "
                "retain_graph=True to the first backward() to walk it twice"
            )
        alone = []
        for index in range(len(grads)):  # enumerate() would hold each gradient once more
            gradient = grads[index]
            if gradient is None:
                alone.append(False)
                if node._materialize:
                    grads[index] = _zeros(*node.outputs[index])
                continue
            alone.append(_is_ours_alone(_references(gradient), gradient.strides))
            if wanted is not None:
                collect((id(node), index), gradient)
            if node.retained is not None and index in node.retained:
                tensor = node.retained[index]()
                if tensor is not None:
                    _accumulate(tensor, gradient, False)
        gradient = None
        node.may_overwrite = tuple(alone)
        try:
            with active(node.outputs[0][2]):
                results = node.function.backward(node, *grads)
        except (MemoryError, RuntimeError) as error:
            name, shape = node.function.__name__, node.outputs[0][0]
            cuda.explain_out_of_memory(error, f"{name}.backward", shape, node)
            raise
        del grads
        edges = node.edges
        arrays = list(results) if isinstance(results, tuple) else [results]
        del results
        if len(arrays) != len(edges):
            raise AutogradError(
                f"{node.function.__name__}.backward returned {len(arrays)} gradients; expected "
                f"one for each of the {len(edges)} arguments of forward"
            )
        if not retain_graph:
            node._saved = None
            node._guards = ()
            node.edges = None
        for position, edge in enumerate(edges):
            gradient = arrays[position]
            if edge is None or gradient is None:
                continue
            if isinstance(gradient, Tensor) or not hasattr(gradient, "dtype"):
                raise AutogradError(
                    f"{node.function.__name__}.backward returned a {type(gradient).__name__} for "
                    f"argument {position}; expected an array"
                )
            target, index = edge
            shape = target.array.shape if index < 0 else target.outputs[index][0]
            if gradient.shape != shape:
                raise ShapeError(
                    f"{node.function.__name__}.backward returned a gradient of shape "
                    f"{tuple(gradient.shape)} for argument {position}, whose shape is "
                    f"{tuple(shape)}"
                )
            if index < 0:
                owned = _is_ours_alone(_references(gradient), gradient.strides)
                to_leaf(target, gradient, owned)
            else:
                arrays[position] = None
                deliver(target, index, gradient)
            del gradient
    return found


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add to every leaf's ``.grad`` the gradient of `tensors`.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
    grad_tensors : Tensor or sequence of Tensor, optional
        The gradient of the loss by each of `tensors`. Default: 1, for tensors of one element.
    retain_graph : bool
        Keep the tape for another walk. Default False: it is freed while it is walked.
    create_graph : bool
        Not supported: gradients are arrays, not recorded operations.

    Raises
    ------
    AutogradError
        No tensor requires a gradient, the tape was freed, or something was changed in place.
    """
    if create_graph:
        raise AutogradError(
            "create_graph=True is not supported: minidl's backward works on arrays and leaves no "
            "tape of its own"
        )
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if isinstance(grad_tensors, (list, tuple)):
        given = list(grad_tensors)
    else:
        given = [grad_tensors] * len(roots)
    if len(given) != len(roots):
        raise ArgumentError(f"grad_tensors: expected {len(roots)} tensors, got {len(given)}")
    for root in roots:
        if not root.requires_grad:
            raise AutogradError(
                f"backward(): {describe(root)} does not require a gradient and was not made from "
                "a tensor that does"
            )
    seeds = [_seed_gradient(root, g) for root, g in zip(roots, given, strict=True)]
    _walk(roots, seeds, retain_graph, None)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradient of `outputs` by each of `inputs`, leaving ``.grad`` alone.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
    grad_outputs : Tensor or sequence of Tensor, optional
        As `grad_tensors` of :func:`backward`.
    retain_graph : bool
        Keep the tape for another walk. Default False.
    create_graph : bool
        Not supported.
    allow_unused : bool
        Return None for an input that `outputs` does not depend on, instead of raising.

    Returns
    -------
    tuple of Tensor or None

    Raises
    ------
    AutogradError
        An input is not used, does not require a gradient, or see :func:`backward`.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor(3.0, requires_grad=True)
    >>> minidl.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    if create_graph:
        raise AutogradError("create_graph=True is not supported; see minidl.autograd.backward")
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    sources = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if isinstance(grad_outputs, (list, tuple)):
        given = list(grad_outputs)
    else:
        given = [grad_outputs] * len(roots)
    if len(given) != len(roots):
        raise ArgumentError(f"grad_outputs: expected {len(roots)} tensors, got {len(given)}")
    for tensor in (*roots, *sources):
        if not tensor.requires_grad:
            raise AutogradError(f"grad(): {describe(tensor)} does not require a gradient")
    wanted: dict[tuple[int, int], int] = {}
    places = []
    for source in sources:
        target, index = _edge(source)
        places.append(wanted.setdefault((id(target), index), len(wanted)))
    seeds = [_seed_gradient(root, g) for root, g in zip(roots, given, strict=True)]
    found = _walk(roots, seeds, retain_graph, wanted)
    for source, place in zip(sources, places, strict=True):
        if found[place] is None and not allow_unused:
            raise AutogradError(
                f"grad(): {describe(source)} was not used to compute the outputs; pass "
                "allow_unused=True to get None for it"
            )
    arrays = [found[place] for place in places]
    return tuple(None if array is None else Tensor(array).clone() for array in arrays)


def __getattr__(name: str) -> Any:
    if name == "gradcheck":  # PyTorch's place for it
        from .gradcheck import gradcheck

        return gradcheck
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
