"""The folders of runs: a new one, the latest one, and a check that files can be written there."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from ..errors import ArgumentError, CheckpointError

__all__ = ["LOG_NAME", "latest_run", "make_folder", "new_run"]

#: The file that marks a folder as a run's: every run has a log from its first step on.
LOG_NAME = "log.jsonl"


def new_run(given: str | None, default: str = "run") -> str:
    """Return a folder for a new run, so that no older run is overwritten.

    Parameters
    ----------
    given : str, optional
        The folder that the user wants.
    default : str, default "run"
        Without `given`: the first of ``default``, ``default-2``, ``default-3``, ... that holds no
        run.

    Returns
    -------
    str
        The folder's path. The folder is not created.

    Raises
    ------
    ArgumentError
        If `given` holds a run.
    """
    names = (default if number == 1 else f"{default}-{number}" for number in count(1))
    if given is None:
        return next(name for name in names if not (Path(name) / LOG_NAME).exists())
    if (Path(given) / LOG_NAME).exists():
        advice = "it ended before its first checkpoint, or is under way: delete it"
        if any(Path(given).glob("*.safetensors")):
            advice = "resume it"
        raise ArgumentError(f"{given} holds a run already: {advice}, or name a new folder")
    return given


def make_folder(path: str) -> None:
    """Create a run's folder if it is missing, and check that files can be written there.

    Call it before the training, so that a mistake shows up at once and not after an epoch.

    Raises
    ------
    ArgumentError
        If the folder can't be created, or files can't be written in it.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"the folder {path} can't be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise ArgumentError(
            f"files can't be written in the folder {path}: name another one, or change its "
            "permissions"
        )


def latest_run(parent: str | os.PathLike[str], pattern: str) -> Path:
    """Return the folder of the run whose checkpoint is the newest.

    Parameters
    ----------
    parent : str or path
        The folder that holds the runs.
    pattern : str
        A glob pattern for the names of the runs' folders, such as ``"alexnet*"``.

    Raises
    ------
    CheckpointError
        If no such folder has a checkpoint.
    """
    names = ("last.safetensors", "previous.safetensors")
    found = [path for name in names for path in Path(parent).glob(f"{pattern}/{name}")]
    if not found:
        raise CheckpointError(
            f"there is no run to go on with: no {parent}/{pattern}/last.safetensors"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent
