"""The frame of a training program: the device, error messages, and the exit status."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import cuda
from ..device import Device
from ..errors import ArgumentError, CheckpointError, DataError, DeviceError
from ..kernels.cpu import set_num_threads
from .signals import Interruption
from .watch import NotFiniteError

__all__ = ["run_program", "set_up_device"]

#: Exit statuses, beside 0, Python's own 1, and 128 plus a signal's number.
WRONG_INPUT, BROKEN, UNSAVED = 2, 3, 4

#: Their description for ``--help``.
EXIT_STATUSES = """\
Exit status: 0 after the last epoch; 1 after an error of the program; 2 if an option, the data or a
checkpoint is wrong; 3 if a number became NaN or infinite, before it is saved (on a GPU when losses
are read, every 20 steps); 4 after the last epoch if its checkpoint could not be written; 130 after
Ctrl-C (SIGINT), 143 after SIGTERM, 129 after SIGHUP (a closed terminal): the step ends and is
saved. A second signal leaves at once."""


def set_up_device(settings: Mapping[str, Any]) -> Device:
    """Return the device to compute on, and set its threads and its precision.

    Parameters
    ----------
    settings : mapping of str to object
        "device": "auto" (a GPU if there is one), "cpu", "gpu" or "gpu:N"; "num_threads": None for
        all cores; "tf32": see :func:`minidl.cuda.allow_tf32`.

    Raises
    ------
    DeviceError
        If there is no such device.
    """
    if settings["num_threads"]:
        set_num_threads(settings["num_threads"])
    cuda.allow_tf32(settings["tf32"])
    name = settings["device"]
    if name == "auto":
        name = "gpu" if cuda.is_available() else "cpu"
    return Device(name)


def run_program(work: Callable[[Interruption], int], on_stop: str = "") -> int:
    """Do a program's work; turn errors and signals into a message and an exit status.

    Parameters
    ----------
    work : callable
        Returns an exit status. Its argument is an Interruption that does not wait yet: a training
        loop sets ``waits``.
    on_stop : str, optional
        The message after a signal that ends the program at once.

    Returns
    -------
    int
        The exit status; see ``EXIT_STATUSES``.

    Examples
    --------
    >>> run_program(lambda interruption: 0)
    0
    """
    with Interruption(waits=False) as interruption, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow: the loss shows it
        try:
            return work(interruption)
        except (ArgumentError, CheckpointError, DataError, DeviceError) as error:
            print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
            return WRONG_INPUT
        except NotFiniteError as error:
            print(f"{error}; nothing of it was saved: try a smaller --lr, or go on from the "
                  "checkpoint before with --resume and --lr-drop-at", file=sys.stderr)  # fmt: skip
            return BROKEN
        except KeyboardInterrupt:  # the second signal, or before the training began
            if on_stop:
                print(f"\n{on_stop}", file=sys.stderr)
            return interruption.status
