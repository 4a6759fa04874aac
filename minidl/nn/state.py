"""The state of a module: its device and dtype, and its parameters and buffers by dotted name."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self, overload

import numpy as np

from ..autograd import no_grad
from ..conversion import as_dtype
from ..device import Device
from ..errors import ArgumentError, CheckpointError, DTypeError
from ..tensor import Tensor, as_tensor
from .tree import Tree


class StateDictError(CheckpointError):
    """A state dict does not fit the module; also the ``RuntimeError`` that PyTorch raises here."""


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` returns: the keys that did not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


class State(Tree):
    """Moving, saving and loading what a module holds."""

    _waits = False  # whether it is a lazy layer

    # --- Device and dtype -------------------------------------------------------------------------

    @overload
    def to(self, device: Device | str, dtype: Any = ..., non_blocking: bool = ...) -> Self: ...
    @overload
    def to(self, dtype: np.dtype[Any], non_blocking: bool = ...) -> Self: ...
    @overload
    def to(self, tensor: Tensor, non_blocking: bool = ...) -> Self: ...
    @overload
    def to(
        self, *, device: Any = ..., dtype: Any = ..., non_blocking: bool = ...,
        memory_format: Any = ...,
    ) -> Self: ...  # fmt: skip
    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move all parameters and buffers to a device, change their floating-point type, or both.

        Called as ``to(device)``, ``to(dtype)``, ``to(device, dtype)`` or ``to(tensor)`` (that
        tensor's device and dtype). It changes the module itself and returns it. Integer buffers
        move but keep their dtype.

        Parameters
        ----------
        device : Device or str, optional
            Such as ``"cpu"`` or ``"gpu:0"``.
        dtype : dtype, optional
            A floating-point type such as ``minidl.float64``.
        non_blocking : bool, default False
            Accepted as in PyTorch; the order of the work is kept either way.
        memory_format : optional
            Accepted as in PyTorch; kernels choose the order in memory themselves.

        Raises
        ------
        DTypeError
            If ``dtype`` is not a floating-point type.
        """
        device, dtype = _parse_to(*args, **kwargs)
        if dtype is not None and dtype.kind != "f":
            raise DTypeError(f"Module.to: dtype must be a floating-point type, but it is {dtype}")

        def convert(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.dtype.kind == "f" else None)

        return self._convert(convert)

    def _convert(self, convert: Callable[[Tensor], Tensor]) -> Self:
        """Replace the data of every parameter, gradient and buffer, keeping the Tensor objects.

        Keeping the objects means that an optimizer made before the move goes on working.
        """
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            gradient = tensor.grad
            tensor.data = convert(tensor.detach()).data
            if gradient is not None:
                tensor.grad = convert(gradient.detach())
        return self

    def cpu(self) -> Self:
        """Move the module to main memory."""
        return self.to("cpu")

    def cuda(self, device: Device | int | str | None = None) -> Self:
        """Move the module to a GPU: ``None`` is the current one, an int its number."""
        if device is None or isinstance(device, int):
            device = "gpu" if device is None else f"gpu:{device}"
        return self.to(device)

    def float(self) -> Self:
        """Turn all floating-point parameters and buffers into float32."""
        return self.to(np.dtype("float32"))

    def double(self) -> Self:
        """Turn all floating-point parameters and buffers into float64."""
        return self.to(np.dtype("float64"))

    def half(self) -> Self:
        """Turn all floating-point parameters and buffers into float16."""
        return self.to(np.dtype("float16"))

    # --- Saving and loading -----------------------------------------------------------------------

    def state_dict(
        self,
        *,
        destination: OrderedDict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> OrderedDict[str, Any]:
        """Return all parameters and persistent buffers by dotted name.

        Parameters
        ----------
        destination : OrderedDict, optional
            Filled and returned, instead of a new one.
        prefix : str, default ""
            Put before every key.
        keep_vars : bool, default False
            Return the parameters themselves, not tensors detached from the tape.

        Returns
        -------
        OrderedDict of str to Tensor
            The tensors share the module's memory: copy them before the next training step if
            they are to stay what they are.
        """
        destination = OrderedDict() if destination is None else destination
        for name, parameter in self._parameters.items():
            if parameter is not None:
                destination[prefix + name] = parameter if keep_vars else parameter.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if _has_extra(self):
            destination[f"{prefix}{_EXTRA}"] = self.get_extra_state()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        return destination

    def get_extra_state(self) -> Any:
        """Return what the module saves beside parameters and buffers; a subclass defines this.

        It becomes the entry ``_extra_state`` of ``state_dict``, anything that :func:`minidl.save`
        takes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take over what :meth:`get_extra_state` returned; a subclass defines both."""
        raise NotImplementedError(f"{type(self).__name__} must define set_extra_state")

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of ``state_dict`` into the parameters and buffers of the same names.

        Everything is checked before anything is copied, so that a state dict that does not fit
        leaves the module as it was.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
            As ``state_dict()`` returns it. Values are converted to the module's dtype and device.
        strict : bool, default True
            Whether missing and unexpected keys are errors. Wrong shapes always are.
        assign : bool, default False
            Take over the given arrays, with their dtype and device, instead of copying.

        Returns
        -------
        IncompatibleKeys
            With the lists ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        StateDictError
            Listing every missing key, unexpected key and wrong shape.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict).__name__}."
            )
        own = self.state_dict(keep_vars=True)
        optional = "num_batches_tracked"  # which PyTorch's files didn't have once
        missing = [n for n in own if n not in state_dict and not n.endswith(optional)]
        unexpected = [name for name in state_dict if name not in own]
        extra = {
            f"{path}.{_EXTRA}".lstrip("."): module
            for path, module in self.named_modules()
            if _has_extra(module)
        }
        new = {
            name: as_tensor(state_dict[name])
            for name in own
            if name in state_dict and name not in extra
        }

        waiting = {  # parameters of lazy layers, which take the shape of what they are given
            id(tensor)
            for module in self.modules()
            if module._waits
            for tensor in (*module.parameters(False), *module.buffers(False))
            if tensor.shape == (0,)
        }

        problems: list[str] = []
        if strict and unexpected:
            problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
        if strict and missing:
            problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
        problems += [
            f"size mismatch for {name}: copying a param with shape {list(value.shape)} from "
            f"checkpoint, the shape in current model is {list(own[name].shape)}."
            for name, value in new.items()
            if value.shape != own[name].shape and id(own[name]) not in waiting
        ]
        if problems:
            raise StateDictError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(problems)
            )

        with no_grad():
            for name, value in new.items():
                if assign:
                    own[name].data = value.data
                elif id(own[name]) in waiting:
                    own[name].data = value.to(own[name].device, own[name].dtype).clone()
                else:
                    own[name].copy_(value)
        for name, module in extra.items():
            if name in state_dict:
                module.set_extra_state(state_dict[name])
        return IncompatibleKeys(missing, unexpected)


_EXTRA = "_extra_state"


def _has_extra(module: Any) -> bool:
    return type(module).get_extra_state is not State.get_extra_state


def _parse_to(
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    tensor: Tensor | None = None,
    non_blocking: bool = False,
    memory_format: Any = None,
) -> tuple[Any, np.dtype[Any] | None]:
    """Sort the arguments of ``Module.to`` into ``(device, dtype)``."""
    for argument in args:
        if isinstance(argument, Tensor):
            tensor = argument
        elif isinstance(argument, bool) or argument is None:
            continue  # non_blocking, or a device that was left open
        elif isinstance(argument, (np.dtype, type)):
            dtype = argument
        elif isinstance(argument, (str, Device)):
            device = argument
        else:
            raise ArgumentError(
                f"Module.to: expected a device, a dtype or a tensor, but got {argument!r}"
            )
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    return device, None if dtype is None else as_dtype("Module.to", dtype)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
