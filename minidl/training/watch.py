"""Watching a training: numbers that are no longer finite, and a loss that does not fall.

:class:`FiniteCheck` stops a training before broken weights are saved, and says where the first NaN
or infinity is. :class:`FlatLoss` notices a network that has not begun to learn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..device import Array, Device, active, array_module, device_of
from ..errors import MinidlError
from ..kernels import cpu
from ..kernels.cuda import copy_to
from ..nn import Module
from ..tensor import Tensor

__all__ = ["FiniteCheck", "FlatLoss", "NotFiniteError"]

#: Number of values that a thread adds up at a time.
_PIECE = 1 << 19


class NotFiniteError(MinidlError, ArithmeticError):
    """A batch, a loss, a gradient or a parameter holds NaN or infinity."""


class FiniteCheck:
    """Raises NotFiniteError when a training has reached NaN or infinity, and says where.

    Parameters
    ----------
    model : Module
        The network in training.

    Notes
    -----
    Both methods read values, which waits for a GPU. On the CPU call them in every step. On a GPU
    call them when the losses are read, and before a checkpoint is saved. The steps in between are
    covered: a parameter that is NaN or infinite stays so, whatever is added to it.

    A step of SGD or Adam carries a NaN or an infinity of the gradient, or of the optimizer's own
    state, into the parameter. So one sum over the parameters watches all three. It reads each value
    once, where the update has just read and written it five times: for the paper's network 244 MB
    and 61 million additions a step, 0.01 % of the 556 billion operations of a batch of 128
    pictures. Only if the sum is not finite is every value inspected, so that a sum that merely
    overflows raises no alarm.

    Examples
    --------
    >>> import minidl
    >>> model = minidl.nn.Sequential(minidl.nn.Linear(2, 2), minidl.nn.ReLU())
    >>> check = FiniteCheck(model)
    >>> images = minidl.tensor([[1.0, float("nan")]])
    >>> check.loss(model(images).sum(), images, step=7)
    Traceback (most recent call last):
    minidl.training.watch.NotFiniteError: the loss is nan in step 7: the batch has 1 nan
    """

    def __init__(self, model: Module) -> None:
        self.model = model
        self.traces = True  # whether to run the network once more to find where a NaN began
        self.summed = False  # whether gradients are sums over several ranks

    def loss(self, loss: Tensor | float, images: Tensor, step: int) -> None:
        """Check a loss, preferably before its gradients reach the parameters.

        Parameters
        ----------
        loss : Tensor without axes, or float
        images : Tensor
            The batch that the loss was computed from. If the loss is broken, the network runs on
            the batch once more to find the first layer whose output is not finite.
        step : int
            The step's number, for the message.

        Raises
        ------
        NotFiniteError
            If the loss is not finite. Names the batch, the parameter or the layer where it began.
        """
        value = float(loss)
        if not math.isfinite(value):
            origin = f": {self._origin(images)}" if self.traces else ""
            raise NotFiniteError(f"the loss is {value} in step {step}{origin}")

    def parameters(self, step: int) -> None:
        """Check the parameters after an update, and with them the gradients that it used.

        Parameters
        ----------
        step : int
            The step's number, for the message.

        Raises
        ------
        NotFiniteError
            If a parameter is not finite. Names the broken gradient nearest to the loss, or the
            parameter if all gradients are finite.
        """
        parameters = dict(self.model.named_parameters())
        if _sums_are_finite([parameter.array for parameter in parameters.values()]):
            return
        for name, parameter in reversed(parameters.items()):
            if parameter.grad is not None and (found := _describe(parameter.grad.array)):
                whose = ", the sum of all ranks'," if self.summed else ""
                raise NotFiniteError(f"the gradient of {name}{whose} has {found} in step {step}")
        for name, parameter in parameters.items():
            if found := _describe(parameter.array):
                raise NotFiniteError(
                    f"the parameter {name} has {found} after step {step}, whose gradients are "
                    "finite: the step was too large"
                )

    @no_grad()
    def _origin(self, images: Tensor) -> str:
        """Say where the first value that is not finite lies between the batch and the loss."""
        if found := _describe(images.array):
            return f"the batch has {found}"
        for name, parameter in self.model.named_parameters():
            if found := _describe(parameter.array):
                return f"the parameter {name} has {found}"
        first: list[str] = []
        names = {module: name for name, module in self.model.named_modules()}

        def look(module: Module, inputs: Any, output: Any) -> None:
            if not first and (found := _describe(output.array)):
                layer = f"{names[module]} ({type(module).__name__})".lstrip()
                first.append(f"the output of {layer} has {found}")

        layers = [module for module in names if not list(module.children())]
        hooks = [layer.register_forward_hook(look) for layer in layers]
        try:
            self.model(images)
        finally:
            for hook in hooks:
                hook.remove()
        return first[0] if first else "the output of every layer is finite"


def _sums_are_finite(arrays: Sequence[Array]) -> bool:
    """Return whether all sums are finite; if so, all values are."""
    if not isinstance(arrays[0], np.ndarray):
        xp = array_module(arrays[0])
        with active(device_of(arrays[0])):
            sums = xp.stack([array.sum() for array in arrays])
        return bool(np.isfinite(copy_to(sums, Device("cpu"))).all())
    pieces = [
        flat[start : start + _PIECE]
        for flat in (array.reshape(-1) for array in arrays)
        for start in range(0, flat.size, _PIECE)
    ]
    totals = np.zeros(len(pieces))

    def add(number: int) -> None:
        totals[number] = pieces[number].sum()

    cpu.parallel(add, range(len(pieces)))
    return bool(np.isfinite(totals).all())


def _describe(array: Array) -> str | None:
    """Count the values that are not finite, such as "3 nan and 1 inf"; None if there are none."""
    xp = array_module(array)
    if array.dtype.kind != "f":
        return None
    with active(device_of(array)):
        nan, inf = int(xp.isnan(array).sum()), int(xp.isinf(array).sum())
    kinds = [f"{count:,} {kind}" for count, kind in ((nan, "nan"), (inf, "inf")) if count]
    return " and ".join(kinds) or None


class FlatLoss:
    """Notices, once, that a classifier's loss has not left ln(classes), where every run begins.

    Parameters
    ----------
    classes : int
        Number of classes.

    Notes
    -----
    AlexNet may stay at ln(1000) = 6.908 for one or two thousand steps before it begins to learn.
    Networks whose initial values don't fit the scale of their inputs were seen to stay there for
    many thousands. So the verdict comes after 2000 steps, a fifth of an epoch of ImageNet. The mean
    over 500 steps averages out the noise of single batches. Within 1 % of ln(classes) (0.07 of
    6.908), nothing that matters has been learned.

    Examples
    --------
    >>> flat = FlatLoss(classes=1000)
    >>> flat.update([6.9] * 1999), flat.update([6.9]), flat.update([6.9] * 500)
    (False, True, False)
    """

    AFTER, WINDOW, TOLERANCE = 2000, 500, 0.01

    def __init__(self, classes: int) -> None:
        self.level = math.log(classes)
        self._steps, self._total, self._told = 0, 0.0, False

    @property
    def hint(self) -> str:
        """The message for the user, with what may help."""
        return (
            f"after {self._steps} steps the loss is still ln(classes) = {self.level:.3f}, as if "
            "nothing had been learned: initial values must fit the scale of the input (the paper's "
            "belong to pixels from 0 to 255 minus their mean), and biases of 1 may keep a network "
            "where it is; other initial values (such as he), another seed or another rate may help"
        )

    def update(self, losses: Iterable[float]) -> bool:
        """Record the losses of the next steps; return whether to show the hint now."""
        due = False
        for loss in losses:
            self._steps += 1
            self._total += loss
            if self._steps % self.WINDOW == 0:
                mean, self._total = self._total / self.WINDOW, 0.0
                flat = abs(mean - self.level) <= self.TOLERANCE * self.level
                due |= flat and self._steps >= self.AFTER and not self._told
                self._told |= due
        return due

    def state_dict(self) -> dict[str, Any]:
        """Return the record for a checkpoint."""
        return {"steps": self._steps, "total": self._total, "told": self._told}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self._steps, self._total = state_dict["steps"], state_dict["total"]
        self._told = state_dict["told"]
