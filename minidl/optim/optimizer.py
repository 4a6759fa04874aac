"""What every optimizer shares: parameter groups, their state, and the walk over memory.

An optimizer such as SGD says only

- :meth:`Optimizer._prepare`: which arrays one parameter's update needs, and with which numbers;
- :meth:`Optimizer._update`: the rule itself, on arrays of equal shape, with ``out=`` everywhere.

This file brings the rule to the data. A rule makes five to ten passes over parameter, gradient and
state. AlexNet has 61 million parameters: pass after pass over whole arrays would fetch every byte
from memory as often. So the arrays are cut into pieces of :data:`PIECE` elements that stay in a
core's cache from the first pass to the last; the pieces run on the threads of
:mod:`minidl.cpu`. How they are cut depends on the shapes alone.

A piece is a flat run of the *parameter's* memory, whatever the order of its axes there. State has
the parameter's order; a gradient in another order (a convolution's often is) is copied piece
by piece into the thread's scratch memory.

On a GPU one kernel applies the rule to all parameters in one launch (``_cuda``); a rule without a
kernel is applied to whole arrays, operation by operation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ..autograd import describe, enable_grad
from ..device import Array, Device, active, array_module, check_one_device, device_of
from ..errors import ArgumentError, CheckpointError, DTypeError, ShapeError
from ..kernels import cpu, cuda
from ..kernels.cuda import ManySource, copy_to
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..nn.module import Module

#: Elements updated at a time: in the cache, and enough to be worth a hand-over between threads.
PIECE = 1 << 17

#: Elements that a thread takes at a time. Fewer than these in all are updated without a hand-over.
TASK = 1 << 19

Group = dict[str, Any]


class Update(NamedTuple):
    """One parameter's update, or a piece of it."""

    param: Array  #: changed in place
    grad: Array  #: read only, of the same logical shape
    state: tuple[Array, ...]  #: changed in place, each of the same logical shape
    numbers: tuple[Any, ...]  #: the rate and the rule's other numbers


class Optimizer:
    """Base class of all optimizers.

    To write one of your own, either implement ``_prepare`` and ``_update`` (see the module's first
    lines), or override :meth:`step`, as below.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) pairs, or of dict
        What to optimize. Dicts are parameter groups: ``"params"`` and any of the options, which
        override `defaults` for this group.
    defaults : dict
        Options of groups that don't say otherwise, such as ``{"lr": 0.01}``.

    Attributes
    ----------
    param_groups : list of dict
        The groups; change ``group["lr"]`` freely between steps.
    state : dict
        Parameter to its dict of state, such as ``{"momentum_buffer": Tensor}``.

    Raises
    ------
    ArgumentError
        No parameters, a parameter given twice, or not a leaf.
    DTypeError
        Something that is not a Tensor, or a set, whose order would change from run to run.

    Examples
    --------
    An optimizer of one's own, by overriding `step`:

    >>> import minidl
    >>> class Descent(minidl.optim.Optimizer):
    ...     def __init__(self, params, lr):
    ...         super().__init__(params, {"lr": lr})
    ...
    ...     @minidl.no_grad()
    ...     def step(self, closure=None):
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 p.sub_(p.grad, alpha=group["lr"])
    >>> w = minidl.nn.Parameter(minidl.tensor([1.0, -2.0]))
    >>> (w * w).sum().backward()
    >>> Descent([w], lr=0.25).step()
    >>> w.tolist()
    [0.5, -1.0]
    """

    #: Names in `state` of arrays with the parameter's shape.
    _state_arrays: tuple[str, ...] = ()

    #: How many scratch arrays of a piece's size the rule wants.
    _scratch: int = 2

    #: The rule as a kernel, on rows of the parameter, its gradient and its state; and its name.
    _cuda: ClassVar[ManySource | None] = None
    _kernel: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_update" in cls.__dict__ and "_cuda" not in cls.__dict__:
            cls._cuda = None  # a kernel that was inherited is another rule's

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, (Tensor, set)):
            raise DTypeError(
                f"{type(self).__name__}: params must be an ordered iterable of parameters or of "
                f"dicts, got a {type(params).__name__}"
            )
        groups = list(params)
        if not groups:
            raise ArgumentError(f"{type(self).__name__}: got an empty list of parameters")
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, such as a layer that is no longer frozen.

        Parameters
        ----------
        param_group : dict
            ``"params"`` and any of the optimizer's options.

        Raises
        ------
        ArgumentError
            A parameter is in a group already, given twice, or not a leaf; names are mixed.
        DTypeError
            `param_group` is not a dict, or something in ``"params"`` is not a Tensor.
        """
        where = type(self).__name__
        if not isinstance(param_group, dict):
            raise DTypeError(
                f"{where}: a parameter group must be a dict, got {type(param_group).__name__}"
            )
        if "params" not in param_group:
            raise ArgumentError(f"{where}: the parameter group has no 'params'")
        given = param_group["params"]
        if isinstance(given, set):
            raise DTypeError(f"{where}: 'params' is a set, whose order varies; use a list")
        entries = [given] if isinstance(given, Tensor) else list(given)
        names = [entry[0] for entry in entries if isinstance(entry, tuple)]
        params = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
        if names and len(names) != len(params):
            raise ArgumentError(f"{where}: only some of the group's parameters have names")
        if any(("param_names" in group) != bool(names) for group in self.param_groups):
            raise ArgumentError(f"{where}: either all parameter groups have names or none has")

        known = {id(param) for group in self.param_groups for param in group["params"]}
        for index, param in enumerate(params):
            if not isinstance(param, Tensor):
                raise DTypeError(
                    f"{where}: parameters must be Tensors, got {type(param).__name__} at {index}"
                )
            if not param.is_leaf:
                raise ArgumentError(
                    f"{where}: can't optimize parameter {index}: it is the result of an operation "
                    "(a non-leaf Tensor)"
                )
            if id(param) in known:
                raise ArgumentError(
                    f"{where}: parameter {index} of shape {tuple(param.shape)} appears more than "
                    "once"
                )
            known.add(id(param))

        group = {**param_group, "params": params}
        if names:
            group["param_names"] = names
        for option, default in self.defaults.items():
            group.setdefault(option, default)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool
            Drop the gradients (default); otherwise keep their memory and fill it with 0.
        """
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    with active(device_of(param.grad.array)):
                        param.grad.array.fill(0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient, in place.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients again and returns the loss.

        Returns
        -------
        loss
            What `closure` returned, or None.

        Raises
        ------
        ShapeError
            A gradient's shape differs from its parameter's.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        try:
            self._update_all()
        except (MemoryError, RuntimeError) as error:
            cuda.explain_out_of_memory(error, f"{type(self).__name__}.step")
            raise
        return loss

    def _update_all(self) -> None:
        on_cpu: list[Update] = []
        on_gpu: list[Update] = []
        for group in self.param_groups:
            for index, param in enumerate(group["params"]):
                if param.grad is None:
                    continue
                array, grad = param.array, param.grad.array
                if grad.shape != array.shape:
                    raise ShapeError(
                        f"{type(self).__name__}.step: {describe(param)} (number {index} of its "
                        f"group) has a gradient of shape {tuple(grad.shape)}"
                    )
                if type(grad) is not type(array):
                    check_one_device(f"{type(self).__name__}.step", param=array, grad=grad)
                update = self._prepare(param, group)
                param.version[0] += 1
                (on_cpu if isinstance(update.param, np.ndarray) else on_gpu).append(update)
        if on_cpu:
            self._update_cpu(on_cpu)
        if on_gpu:
            self._update_cuda(on_gpu)

    # --- What an optimizer implements -------------------------------------------------------------

    def _prepare(self, param: Tensor, group: Group) -> Update:
        """Return the update of `param`, whose gradient is there; make its state at first."""
        raise NotImplementedError(f"{type(self).__name__} must implement step() or _prepare()")

    @staticmethod
    def _update(
        xp: ModuleType,
        param: Array,
        grad: Array,
        state: tuple[Array, ...],
        numbers: tuple[Any, ...],
        scratch: Array,
    ) -> None:
        """Apply the rule to arrays of one shape; ``scratch`` has one more axis in front.

        `grad` is not to be changed. The rule is elementwise, so that any cut gives the same bits.
        """
        raise NotImplementedError

    # --- Bringing the rule to the data ------------------------------------------------------------

    def _update_cpu(self, updates: list[Update]) -> None:
        copies: list[tuple[Array, Array]] = []
        tasks: list[list[Update]] = [[]]
        filled = 0
        for update in updates:
            for piece in _pieces(update, copies):
                if filled >= TASK:
                    tasks.append([])
                    filled = 0
                tasks[-1].append(piece)
                filled += piece.param.size

        def run(task: list[Update]) -> None:
            for param, grad, state, numbers in task:
                if grad.shape != param.shape:  # in another order than the parameter
                    other, grad = grad, cpu.scratch("optim.grad", param.shape, param.dtype)
                    np.copyto(grad.reshape(other.shape), other, casting="same_kind")
                scratch = cpu.scratch("optim", (self._scratch, *param.shape), param.dtype)
                self._update(np, param, grad, state, numbers, scratch)

        with np.errstate(all="ignore"):  # infinity and NaN are results, as IEEE says
            if len(tasks) == 1:
                run(tasks[0])  # without BLAS
            else:
                cpu.parallel(run, tasks)
        for array, copy in copies:
            array[...] = copy.reshape(array.shape)

    def _update_cuda(self, updates: list[Update]) -> None:
        """Apply the rule to all parameters of a device and a dtype in one launch."""
        rows: dict[tuple[Device, np.dtype], list[Any]] = {}
        copies: list[tuple[Array, Array]] = []
        for update in updates:
            param, grad, state, numbers = update
            device = device_of(param)
            with active(device):
                if self._cuda is None or param.dtype.char not in "fd":
                    xp = array_module(param)
                    scratch = xp.empty((self._scratch, *param.shape), param.dtype)
                    self._update(xp, param, grad, state, numbers, scratch)
                    continue
                arrays: list[Array | None] = list(_runs_cuda(update, copies))
            arrays += [None] * (len(self._cuda.arrays) - len(arrays))
            row = arrays, self._numbers_cuda(numbers)
            rows.setdefault((device, param.dtype), []).append(row)
        for (device, dtype), alike in rows.items():
            assert self._cuda is not None
            with active(device):
                self._cuda.launch(self._kernel, dtype, alike)
        for array, copy in copies:
            with active(device_of(array)):
                array[...] = copy

    @staticmethod
    def _numbers_cuda(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return an update's numbers as the kernel wants them: all ``numbers``, then ``flags``."""
        return numbers

    # --- Saving -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the options, in PyTorch's layout.

        Returns
        -------
        dict
            ``{"state": {index: {...}}, "param_groups": [{..., "params": [index, ...]}]}``.
            Parameters are known by their position in the groups. Tensors are not copied.
        """
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for param in group["params"]:
                numbers[id(param)] = len(numbers)
        return {
            "state": {numbers[id(param)]: state for param, state in self.state.items()},
            "param_groups": [
                {**group, "params": [numbers[id(param)] for param in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned. Copies; changes nothing if it fails.

        Parameters
        ----------
        state_dict : dict
            minidl's, or PyTorch's with its tensors converted.

        Raises
        ------
        CheckpointError
            The groups, their sizes or the shapes belong to another set of parameters.
        """
        where = f"{type(self).__name__}.load_state_dict"
        try:
            saved_state = dict(state_dict["state"])
            saved_groups = [dict(group) for group in state_dict["param_groups"]]
            saved_numbers = [number for group in saved_groups for number in group["params"]]
            saved_sizes = [len(group["params"]) for group in saved_groups]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where}: not an optimizer's state_dict ({error!r})") from error
        sizes = [len(group["params"]) for group in self.param_groups]
        if saved_sizes != sizes:
            raise CheckpointError(
                f"{where}: the groups hold {saved_sizes} parameters, expected {sizes}"
            )
        params = [param for group in self.param_groups for param in group["params"]]
        by_number = dict(zip(saved_numbers, params, strict=True))

        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, entries in saved_state.items():
            if number not in by_number:
                raise CheckpointError(f"{where}: there is no parameter {number!r} for its state")
            param = by_number[number]
            state[param] = {
                key: self._loaded(f"{where}: {key} of parameter {number}", param, key, value)
                for key, value in entries.items()
            }
        groups = []
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            merged = {**self.defaults, **deepcopy(saved), "params": group["params"]}
            if "param_names" in group:
                merged.setdefault("param_names", group["param_names"])
            groups.append(merged)
        self.state, self.param_groups = state, groups

    def _loaded(self, where: str, param: Tensor, key: str, value: Any) -> Any:
        """Return a copy of one entry of a saved state, where and as `param` wants it."""
        if key == "step":  # a number that stays on the CPU; PyTorch before 1.12 kept an int
            return Tensor(np.array(float(value), np.float32))
        if key not in self._state_arrays or value is None:
            return deepcopy(value)
        given = value.array if isinstance(value, Tensor) else np.asarray(value)
        source = copy_to(given, param.device)
        if source.shape != param.shape:
            raise CheckpointError(
                f"{where} has shape {source.shape}, expected {tuple(param.shape)}"
            )
        array = _zeros_like(param.array)
        with active(param.device):
            array[...] = source
        return Tensor(array)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def param_groups(
    model: Module,
    lr: float,
    weight_decay: float = 0.0,
    bias_lr_multiplier: float = 2.0,
    bias_weight_decay: float = 0.0,
) -> list[Group]:
    """Return two parameter groups: weights, and biases with a rate and a decay of their own.

    Parameters
    ----------
    model : Module
        Whose parameters.
    lr : float
        The weights' learning rate.
    weight_decay : float
        The weights' decay. Default 0.
    bias_lr_multiplier : float
        How many times `lr` is the biases' rate. Default 2.
    bias_weight_decay : float
        The biases' decay. Default 0.

    Returns
    -------
    list of dict
        Weights, then biases; a group without parameters is left out. A parameter is a bias when
        the last part of its name is ``bias``.

    Notes
    -----
    The paper's network was trained so: cuda-convnet gave biases the rate 0.02 beside 0.01 and no
    decay, and Caffe's AlexNet says ``lr_mult: 2, decay_mult: 0``. Schedulers multiply the rate of
    each group, so the ratio stays.

    Examples
    --------
    >>> import minidl
    >>> model = minidl.nn.Linear(3, 2)
    >>> groups = minidl.optim.param_groups(model, lr=0.01, weight_decay=5e-4)
    >>> [(group["lr"], group["weight_decay"]) for group in groups]
    [(0.01, 0.0005), (0.02, 0.0)]
    >>> optimizer = minidl.optim.SGD(groups, momentum=0.9, rate_in_velocity=True)
    """
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for name, param in model.named_parameters():
        (biases if name.rpartition(".")[2] == "bias" else weights).append(param)
    groups: list[Group] = [
        {"params": weights, "lr": lr, "weight_decay": weight_decay},
        {"params": biases, "lr": lr * bias_lr_multiplier, "weight_decay": bias_weight_decay},
    ]
    return [group for group in groups if group["params"]]


def check_options(where: str, **options: float) -> None:
    """Raise ArgumentError naming the first of `options` that is not a number of at least 0."""
    for name, value in options.items():
        if not float(value) >= 0.0:  # NaN fails too
            raise ArgumentError(f"{where}: {name} must be at least 0, got {value}")


def _zeros_like(array: Array) -> Array:
    """Return zeros with the shape, dtype, device and order in memory of `array`."""
    with active(device_of(array)):
        zeros: Array = array_module(array).zeros_like(array)
    return zeros


def _runs_cuda(update: Update, copies: list[tuple[Array, Array]]) -> Iterator[Array]:
    """Return parameter, gradient and state as runs of memory, all in the parameter's order.

    An array to be changed that is not one run is replaced by a copy; `copies` gets the pair.
    """
    param, grad, state, _ = update
    xp = cuda.cupy()
    order = sorted(range(param.ndim), key=lambda axis: -abs(param.strides[axis]))
    for array in (param, grad, *state):
        turned = array.transpose(order)
        if turned.dtype != param.dtype or not turned.flags.c_contiguous:
            turned = xp.array(turned, param.dtype, order="C")
            if array is not grad:
                copies.append((array.transpose(order), turned))
        yield turned


def _pieces(update: Update, copies: list[tuple[Array, Array]]) -> Iterator[Update]:
    """Cut an update into runs of the parameter's memory; a small one stays as it is.

    An array to be changed that is not one run of memory is replaced by a copy; `copies` gets the
    pair, to be written back at the end.
    """
    param, grad, state, numbers = update
    alike = all(array.flags.c_contiguous for array in (param, grad, *state))
    if alike and param.ndim and param.size <= PIECE:
        yield update
        return
    if not param.flags.c_contiguous:
        strides = param.strides
        order = sorted(range(param.ndim), key=lambda axis: -abs(strides[axis]))
        param, grad = param.transpose(order), grad.transpose(order)
        state = tuple(array.transpose(order) for array in state)

    def run_of(array: Array) -> Array:
        if array.flags.c_contiguous:
            return array.reshape(-1)
        copy = np.ascontiguousarray(array).reshape(-1)
        copies.append((array, copy))
        return copy

    length = len(param) if param.ndim else 1
    flat_param = run_of(param)
    flat_state = tuple([run_of(array) for array in state])
    if grad.flags.c_contiguous:
        grad, step, width = grad.reshape(-1), PIECE, 1
        length = flat_param.size
    else:  # whole rows, to be copied; a vector keeps a second axis to be told from a run
        grad = grad[:, None] if grad.ndim == 1 else grad
        width = flat_param.size // length
        step = max(1, PIECE // width)
    if length <= step:
        if length:
            yield Update(flat_param, grad, flat_state, numbers)
        return
    for start in range(0, length, step):
        cut = slice(start * width, (start + step) * width)
        yield Update(
            flat_param[cut],
            grad[start : start + step],
            tuple([array[cut] for array in flat_state]),
            numbers,
        )
