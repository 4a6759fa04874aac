"""The settings of a run: of a new one, and of one that is resumed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, CheckpointError
from .checkpoints import Checkpoints
from .folders import latest_run, new_run
from .parallel import check_same, first_rank_decides, join

__all__ = ["begin", "resumed_settings"]


def begin(
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    may_change: Collection[str],
    folder: str,
    evaluating: bool = False,
) -> tuple[dict[str, Any], Path | None, Any]:
    """Return the settings of a new run, or of the run that ``--resume`` asks for.

    Parameters
    ----------
    given : mapping of str to object
        The settings that the user gives. "resume" asks to resume a run, and names its folder or a
        checkpoint; None stands for the folder "output", or else for the latest run.
    defaults : mapping of str to object
        The settings that the user need not give.
    may_change : collection of str
        The names of settings that may differ in a resumed run.
    folder : str
        The default for "output"; see :func:`~minidl.training.new_run`.
    evaluating : bool, default False
        Load the best checkpoint, only to evaluate it: all settings may differ.

    Returns
    -------
    settings : dict
        With "output", the run's folder, and "command", the command line of this program after
        those of the run so far.
    path : Path or None
        The checkpoint's file; None for a new run.
    state : object
        The contents of the checkpoint, on the CPU; see :mod:`minidl.training.state`. None for a new
        run.

    Raises
    ------
    ArgumentError
        If "output" holds another run, or a setting differs that must not, from the run's or from
        other ranks'.
    CheckpointError
        If there is no checkpoint, or it is not one of a run.
    """
    given = dict(given)
    scheme = given.pop("parallel", None)
    join(scheme)
    words = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    words |= {"--parallel": scheme, "--evaluate": evaluating}
    check_same(words, "start all ranks with the same command line")
    everything = given, defaults, may_change, folder, evaluating
    settings, path, state = first_rank_decides(lambda: _begin(*everything))
    # A resumed run may have other ranks; to evaluate, each has the whole network.
    settings.pop("parallel", None)
    if scheme is not None:
        settings["parallel"] = "data" if evaluating else scheme
    return settings, path, state


def _begin(
    given: Mapping[str, Any], defaults: Mapping[str, Any], may_change: Collection[str],
    folder: str, evaluating: bool,
) -> tuple[dict[str, Any], Path | None, Any]:  # fmt: skip
    command, program = shlex.join(["python", *sys.argv]), Path(folder).name
    if not evaluating and "resume" not in given:
        new = {"output": new_run(given.get("output"), folder), "command": command}
        return {**defaults, **given, **new, "program": program}, None, None
    given = dict(given)
    wanted = given.pop("resume", None) or given.get("output")
    wanted = wanted or latest_run(Path(folder).parent, f"{Path(folder).name}*")
    path, state = Checkpoints.load(wanted, "best" if evaluating else "last", "cpu")
    own = isinstance(state, dict) and {"options", "versions"} <= set(state)
    if not own or (not evaluating and state["options"].get("program", program) != program):
        raise CheckpointError(f"{path} was not written by this program")
    if not evaluating and "optimizer" not in state:
        raise CheckpointError(
            f"{path} can be evaluated, but no run can resume from it: it was saved with "
            "--save-weights, without the optimizer's state"
        )
    saved = {**defaults, **state["options"], "output": str(path.parent)}
    settings = resumed_settings(saved, given, set(given) if evaluating else may_change)
    if not evaluating and os.path.realpath(settings["output"]) != os.path.realpath(path.parent):
        new_run(settings["output"])  # from here on, it goes its own way
    settings["command"] = "\n".join(filter(None, [settings.get("command"), command]))
    return settings, path, state


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
