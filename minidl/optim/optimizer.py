"""The base of every optimizer: parameter groups, their state, and the step over all parameters.

An optimizer such as SGD adds

- :meth:`Optimizer._prepare`: the arrays and numbers of one parameter's update;
- :meth:`Optimizer._rule`: the update rule, as plain array code;
- ``_kernel``: the name of a kernel that applies the same rule to all parameters at once, in place
  and piece by piece (``minidl/kernels``). Without one, or under :class:`minidl.reference`, the
  plain rule is what runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import kernels
from ..autograd import describe, enable_grad
from ..device import Array, active, array_module, check_one_device, device_of
from ..errors import ArgumentError, CheckpointError, DTypeError, ShapeError
from ..kernels import cuda
from ..kernels.cuda import copy_to
from ..kernels.updates import Update
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..nn.module import Module

Group = dict[str, Any]


#: Options that tell kinds of optimizers apart; others may be added by schedulers or users.
_OF_A_KIND = {"momentum", "dampening", "nesterov", "betas", "amsgrad", "alpha", "centered", "rho",
              "lr_decay", "initial_accumulator_value"}  # fmt: skip

_AT_LEAST_0 = {"alpha", "eps", "initial_accumulator_value", "lr", "lr_decay", "momentum",
               "weight_decay"}  # fmt: skip


class Optimizer:
    """Base class of all optimizers.

    To write your own, override :meth:`step`, as below.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) pairs, or of dict
        What to optimize. Dicts are parameter groups: ``"params"`` and any of the options, which
        override `defaults` for this group.
    defaults : dict
        Options of groups that don't override them, such as ``{"lr": 0.01}``.

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
        Something that is not a Tensor; or a set, whose order varies between runs.

    Examples
    --------
    Plain gradient descent:

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

    #: Name of the module of kernels that applies the rule, if there is one.
    _kernel: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_rule" in cls.__dict__ and "_kernel" not in cls.__dict__:
            cls._kernel = ""  # an inherited kernel applies another rule

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
        """Add a group, for example the parameters of a layer that is no longer frozen.

        Parameters
        ----------
        param_group : dict
            ``"params"`` and any of the optimizer's options.

        Raises
        ------
        ArgumentError
            A parameter is already in a group, given twice, or not a leaf; only some have names.
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

        group = param_group  # the caller's dict itself, as in PyTorch
        group["params"] = params
        if names:
            group["param_names"] = names
        for option, default in self.defaults.items():
            group.setdefault(option, default)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool
            True (default): drop the gradients. False: keep their memory and fill it with 0.
        """
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param._grad = None  # here and below: faster than the property
                elif (grad := param.grad) is not None:
                    # create_graph=True leaves it on the tape; a view can't be detached in place
                    grad.requires_grad_(False) if grad.grad_fn is None else grad.detach_()
                    with active(device_of(grad.array)):
                        grad.array.fill(0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

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
        updates: dict[Any, list[Update]] = {}  # by module of kernels, None for the plain rule
        of_type, of_dtype, alike = None, None, []  # mostly the same for all parameters
        for group in self.param_groups:
            options = self._options(group)
            for index, param in enumerate(group["params"]):
                if param._grad is None:
                    continue
                array, grad = param.array, param._grad.array
                if grad.shape != array.shape:
                    raise ShapeError(
                        f"{type(self).__name__}.step: {describe(param)} (number {index} of its "
                        f"group) has a gradient of shape {tuple(grad.shape)}"
                    )
                kind, dtype = type(array), array.dtype
                if type(grad) is not kind:
                    check_one_device(f"{type(self).__name__}.step", param=array, grad=grad)
                if kind is not of_type or dtype is not of_dtype:
                    of_type, of_dtype = kind, dtype
                    kernel = kernels.of(self._kernel, array) if self._kernel else None
                    alike = updates.setdefault(kernel, [])
                alike.append(Update(array, grad, *self._prepare(param, options)))
                param.version[0] += 1
        for kernel, chosen in updates.items():
            if kernel is not None:
                kernel.step(chosen)
            else:
                for update in chosen:
                    self._apply_rule(update)

    def _apply_rule(self, update: Update) -> None:
        param, grad, state, numbers = update
        with active(device_of(param)), np.errstate(all="ignore"):
            new = self._rule(param, grad, state, *numbers)
            for array, value in zip((param, *state), new, strict=True):
                array[...] = value

    def _advance(self, param: Tensor, *keys: str) -> tuple[tuple[Array, ...], float]:
        """Count a step of `param`; return its arrays of state and the number of the step.

        Arrays that are not there yet begin as zeros.
        """
        state = self.state[param]
        if "step" not in state:
            state["step"] = Tensor(np.zeros((), np.float32))
        for key in keys:
            if state.get(key) is None:
                state[key] = Tensor(zeros_like(param.array))
        state["step"].array[...] += 1
        return tuple(state[key].array for key in keys), float(state["step"].array)

    # --- What an optimizer implements -------------------------------------------------------------

    def _options(self, group: Group) -> Any:
        """Return what :meth:`_prepare` gets of a group, once a step: the group, unless replaced."""
        return group

    def _prepare(self, param: Tensor, group: Group) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        """Return the arrays of `param`'s state, created the first time, and the rule's numbers."""
        raise NotImplementedError(f"{type(self).__name__} must implement step() or _prepare()")

    @staticmethod
    def _rule(w: Array, g: Array, state: tuple[Array, ...], *numbers: Any) -> tuple[Array, ...]:
        """Return the new parameter and its new state, arrays of one shape. Changes none of them."""
        raise NotImplementedError

    # --- Saving -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the options, in PyTorch's layout.

        Returns
        -------
        dict
            ``{"state": {index: {...}}, "param_groups": [{..., "params": [index, ...]}]}``.
            Parameters are identified by their position in the groups. Tensors are not copied.
        """
        params = [param for group in self.param_groups for param in group["params"]]
        numbers = {id(param): number for number, param in enumerate(params)}
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
            The groups, their sizes or the shapes don't match this optimizer's parameters, or the
            options are those of another kind of optimizer.
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
        strange = {name for group in saved_groups for name in group} & _OF_A_KIND - {*self.defaults}
        if strange:
            raise CheckpointError(
                f"{where}: the state is of another kind of optimizer, with the options "
                f"{', '.join(sorted(strange))}"
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
        """Return a copy of one entry of a saved state, with the device and layout of `param`."""
        if key == "step":  # stays on the CPU; an int in PyTorch before 1.12
            return Tensor(np.array(float(value), np.float32))
        if key not in self._state_arrays or value is None:
            return deepcopy(value)
        given = value.array if isinstance(value, Tensor) else np.asarray(value)
        source = copy_to(given, param.device)
        if source.shape != param.shape:
            raise CheckpointError(
                f"{where} has shape {source.shape}, expected {tuple(param.shape)}"
            )
        array = zeros_like(param.array)
        with active(param.device):
            array[...] = source
        return Tensor(array)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"{chr(10) * bool(index)}Parameter Group {index}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def param_groups(
    model: Module,
    lr: float,
    weight_decay: float = 0.0,
    bias_lr_multiplier: float = 2.0,
    bias_weight_decay: float = 0.0,
) -> list[Group]:
    """Return two parameter groups: weights, and biases with their own rate and decay.

    Parameters
    ----------
    model : Module
    lr : float
        Learning rate of the weights.
    weight_decay : float
        Weight decay of the weights. Default 0.
    bias_lr_multiplier : float
        Learning rate of the biases, as a multiple of `lr`. Default 2.
    bias_weight_decay : float
        Weight decay of the biases. Default 0.

    Returns
    -------
    list of dict
        Weights, then biases, without empty groups. A parameter is a bias if the last part of its
        name is ``bias``.

    Notes
    -----
    The paper's network was trained this way: cuda-convnet gave biases the rate 0.02, weights 0.01,
    and biases no decay; Caffe's AlexNet has ``lr_mult: 2, decay_mult: 0``. Schedulers multiply the
    rate of each group, so the ratio stays the same.

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


def checked(where: str, **options: Any) -> dict[str, Any]:
    """Return `options`, or raise an ArgumentError that names the first that is out of its range."""
    for name, value in options.items():
        if name in _AT_LEAST_0 and not _is_at_least_0(value):
            raise ArgumentError(f"{where}: {name} must be at least 0, got {value}")
    if options["differentiable"]:
        raise ArgumentError(f"{where}: a differentiable step is not supported")
    return options


def _is_at_least_0(value: Any) -> bool:
    try:
        return not isinstance(value, str) and float(value) >= 0.0  # NaN is not
    except (TypeError, ValueError):
        return False


def with_decay(w: Array, g: Array, weight_decay: float, maximize: float) -> Array:
    """Return the gradient to descend: of -L to maximize L, plus that of the decay's penalty."""
    if maximize:
        g = -g
    return g + weight_decay * w if weight_decay else g


def zeros_like(array: Array) -> Array:
    """Return zeros with the shape, dtype, device and memory layout of `array`."""
    with active(device_of(array)):
        zeros: Array = array_module(array).zeros_like(array)
    return zeros
