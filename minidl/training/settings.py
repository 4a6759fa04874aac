"""The settings of a run, and those that may change when the run is resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import ArgumentError

__all__ = ["resumed_settings"]


def resumed_settings(
    saved: Mapping[str, Any], given: Mapping[str, Any], may_change: Collection[str]
) -> dict[str, Any]:
    """Return the settings of a run that is resumed.

    Parameters
    ----------
    saved : mapping of str to object
        The run's settings so far.
    given : mapping of str to object
        The settings that the user gives now.
    may_change : collection of str
        The names of settings that may differ.

    Raises
    ------
    ArgumentError
        If another setting differs: it would be another run.

    Examples
    --------
    >>> resumed_settings({"lr": 0.1, "workers": 2}, {"workers": 4}, {"workers"})
    {'lr': 0.1, 'workers': 4}
    """
    for name in given.keys() - set(may_change):
        if given[name] != saved.get(name):
            option = f"--{name.replace('_', '-')}"
            raise ArgumentError(f"{option}: the run has {saved.get(name)}, and must keep it")
    return {**saved, **given}
