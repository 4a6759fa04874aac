"""The frame of a training program: the device, error messages, and the exit status."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import cuda
from ..device import Device
from ..distributed import world
from ..errors import ArgumentError, CheckpointError, DataError, DeviceError, DistributedError
from ..kernels.cpu import set_num_threads
from .parallel import cores_of_rank
from .signals import Interruption
from .watch import NotFiniteError

__all__ = ["run_program", "set_up_device"]

#: Exit statuses, beside 0, Python's own 1, and 128 plus a signal's number.
WRONG_INPUT, BROKEN, UNSAVED = 2, 3, 4

#: Their description for ``--help``.
EXIT_STATUSES = """\
Exit status: 0 after the last epoch; 1 after an error of the program; 2 if an option, the data or a
checkpoint is wrong; 3 if a number became NaN or infinite, before it is saved (on a GPU when losses
are read, every 20 steps); 4 after the last epoch if its checkpoint could not be written; 5 if one
of several ranks is dead or hangs; 130 after Ctrl-C (SIGINT), 143 after SIGTERM, 129 after SIGHUP (a
closed terminal): the step ends and is saved. A second signal leaves at once."""


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
    if threads := settings["num_threads"] or cores_of_rank():
        set_num_threads(threads)
    cuda.allow_tf32(settings["tf32"])
    name = settings["device"]
    if name == "auto":
        name = "gpu" if cuda.device_count() else "cpu"  # a card that can't compute is an error
    if name in ("gpu", "cuda") and world.current().size > 1:
        name = f"gpu:{world.current().local_rank() % cuda.device_count()}"
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
        except (ArgumentError, CheckpointError, DataError, DeviceError, DistributedError) as error:
            return _end(str(error), WRONG_INPUT, f"{Path(sys.argv[0]).name}: ")
        except NotFiniteError as error:
            return _end(f"{error}; nothing of it was saved: try a smaller --lr, or go on from the "
                        "checkpoint before with --resume and --lr-drop-at", BROKEN)  # fmt: skip
        except KeyboardInterrupt:  # the second signal, or before the training began
            return _end(on_stop, interruption.status, "\n", signaled=True)


def _end(sentence: str, status: int, before: str = "", signaled: bool = False) -> int:
    """Print why the program ends; end the other ranks, which would wait for this one."""
    world.end(sentence or "stopped", status, signaled)
    if sentence:
        print(f"{before}{sentence}", file=sys.stderr)
    return status
