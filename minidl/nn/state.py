"""The state of a module: its parameters and buffers by dotted name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..autograd import no_grad
from ..errors import CheckpointError
from ..tensor import as_tensor
from .moving import Moving
from .state_hooks import StateHooks


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
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


class State(Moving, StateHooks):
    """Saving and loading what a module holds."""

    _waits = False  # whether it is a lazy layer

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
        for hook in self._state_hooks("state_dict_pre"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in self._state_hooks("state_dict"):
            replaced = hook(self, destination, prefix, {})
            destination = destination if replaced is None else replaced
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Add what the module itself holds, without its child modules."""
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            if tensor is not None and name not in self._non_persistent_buffers:
                destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not State.get_extra_state:
            destination[f"{prefix}{_EXTRA}"] = self.get_extra_state()

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
        missing: list[str] = []
        unexpected: list[str] = []
        problems: list[str] = []
        state_dict = self._run_load_pre_hooks(state_dict, missing, unexpected, problems)
        own: dict[str, Any] = {}
        for path, module in self.named_modules(remove_duplicate=False):
            module._save_to_state_dict(own, f"{path}." if path else "", True)
        own = {name: value for name, value in own.items() if name.split(".")[-1] != _EXTRA}
        extra = {
            f"{path}.{_EXTRA}".lstrip("."): module
            for path, module in self.named_modules(remove_duplicate=False)
            if type(module).set_extra_state is not State.set_extra_state
        }
        optional = "num_batches_tracked"  # which PyTorch's files didn't have once
        expected = {**own, **extra}
        missing += [n for n in expected if n not in state_dict and not n.endswith(optional)]
        unexpected += [name for name in state_dict if name not in expected]
        new = {name: as_tensor(state_dict[name]) for name in own if name in state_dict}

        waiting = {  # parameters of lazy layers, which take the shape of what they are given
            id(tensor)
            for module in self.modules()
            if module._waits
            for tensor in (*module.parameters(False), *module.buffers(False))
            if tensor.shape == (0,)
        }

        problems += [
            f"size mismatch for {name}: copying a param with shape {list(value.shape)} from "
            f"checkpoint, the shape in current model is {list(own[name].shape)}."
            for name, value in new.items()
            if value.shape != own[name].shape and id(own[name]) not in waiting
        ]
        keys, hooks = IncompatibleKeys(missing, unexpected), self._load_post_hooks()
        if not hooks or problems:
            self._check_loaded(keys, strict, problems)

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
        for hook in hooks:
            hook(keys)
        self._check_loaded(keys, strict, [])
        return keys

    def _check_loaded(self, keys: IncompatibleKeys, strict: bool, problems: list[str]) -> None:
        if strict and keys.unexpected_keys:
            problems.insert(0, f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}.")
        if strict and keys.missing_keys:
            problems.insert(0, f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}.")
        if problems:
            raise StateDictError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(problems)
            )


_EXTRA = "_extra_state"


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
