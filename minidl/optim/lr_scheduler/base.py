"""The base of all schedules: :class:`LRScheduler`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ...errors import ArgumentError, CheckpointError, DTypeError
from ..optimizer import Optimizer

#: Entries of PyTorch's scheduler state that mean nothing here.
_PYTORCH_ONLY = {"_get_lr_called_within_step", "_is_initial", "verbose", "mode_worse"}


class LRScheduler:
    """Base class: a schedule over epochs 0, 1, 2, ... (or whatever else ``step()`` counts).

    To write your own schedule, implement :meth:`get_lr`.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        The last epoch that is done. Default -1: start, and the groups' rates become their
        ``"initial_lr"``. Otherwise the groups must already have an ``"initial_lr"``.

    Raises
    ------
    DTypeError
        `optimizer` is not an Optimizer.
    ArgumentError
        `last_epoch` is not -1 and a group has no ``"initial_lr"``.

    Examples
    --------
    >>> import minidl
    >>> from minidl.optim.lr_scheduler import LRScheduler
    >>> class Harmonic(LRScheduler):
    ...     def get_lr(self):
    ...         return [base / (1 + self.last_epoch) for base in self.base_lrs]
    >>> optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))], lr=1.0)
    >>> scheduler = Harmonic(optimizer)
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    #: Attributes that are not part of the state.
    _unsaved: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = checked(optimizer)
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"{type(self).__name__}: last_epoch={last_epoch} continues a schedule, but "
                    f"parameter group {index} has no 'initial_lr': load the optimizer's state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._start()

    def _start(self) -> None:
        self._step_count = 0
        self._advance(None, initial=True)

    def get_last_lr(self) -> list[float]:
        """Return the rates that the last step set, one for each parameter group."""
        return self._last_lr

    def get_lr(self) -> list[float]:
        """Compute the rates of epoch ``self.last_epoch``. Called by :meth:`step`; don't call it.

        Returns
        -------
        list of float
            One for each parameter group.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement get_lr()")

    def _first_lr(self) -> list[float]:
        """Compute the rates at the schedule's start."""
        return self.get_lr()

    def _lr_at_epoch(self) -> list[float]:
        """Compute the rates of epoch ``self.last_epoch`` from the initial ones alone."""
        return self.get_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch and set its rates.

        Parameters
        ----------
        epoch : int, optional
            Jump to this epoch instead.
        """
        self._advance(epoch)

    def _advance(self, epoch: int | None, initial: bool = False) -> None:
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            self._set(self._first_lr() if initial else self.get_lr())
        else:
            self.last_epoch = epoch
            self._set(self._lr_at_epoch())

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer, as numbers, strings, lists and dicts."""
        return {
            key: deepcopy(value) for key, value in vars(self).items() if key not in self._unsaved
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned. Load the optimizer's state as well.

        Parameters
        ----------
        state_dict : dict
            minidl's or PyTorch's.

        Raises
        ------
        CheckpointError
            It is the state of another kind of schedule.
        """
        own = {key for key in vars(self) if key not in self._unsaved}
        given = set(state_dict) - _PYTORCH_ONLY
        if own != given:
            raise CheckpointError(
                f"{type(self).__name__}.load_state_dict: the state is another schedule's: missing "
                f"{sorted(own - given)}, unexpected {sorted(given - own)}"
            )
        vars(self).update({key: deepcopy(state_dict[key]) for key in own})

    def _load_with(self, name: str, what: str, state_dict: dict[str, Any]) -> list[Any]:
        """Load a state with a list for the attribute `name`, one of as many; return the list."""
        rest, expected = dict(state_dict), len(getattr(self, name))
        saved: list[Any] = rest.pop(name, [])
        if len(saved) != expected:
            raise CheckpointError(
                f"{type(self).__name__}.load_state_dict: the state has {len(saved)} {what}, "
                f"expected {expected}"
            )
        LRScheduler.load_state_dict(self, rest)
        return saved


_LRScheduler = LRScheduler  # PyTorch's former name


def checked(optimizer: Optimizer) -> Optimizer:
    """Return `optimizer`, or raise a DTypeError if it is none."""
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(f"expected an Optimizer, got {type(optimizer).__name__}")
    return optimizer
