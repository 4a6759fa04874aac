"""Tools that any training program needs; nothing here knows about pictures.

- :mod:`~minidl.training.run`: everything around the training loop, from first step to report
- :mod:`~minidl.training.state`: the contents of a checkpoint, and how a run resumes from it
- :mod:`~minidl.training.program`: the device, errors, and the exit status of a program
- :mod:`~minidl.training.signals`: stop at the end of a step when the user presses Ctrl-C
- :mod:`~minidl.training.settings`: settings, and those that a resumed run may change
- :mod:`~minidl.training.command_line`: the command lines of training programs
- :mod:`~minidl.training.folders`: the folders of runs
- :mod:`~minidl.training.log`: the history of a run, as JSON lines and for TensorBoard
- :mod:`~minidl.training.checkpoints`: the newest two checkpoints and the best, in rotation
- :mod:`~minidl.training.schedules`: learning rates over a whole run
- :mod:`~minidl.training.means`: running means of losses and accuracies
- :mod:`~minidl.training.progress`: progress bars; an epoch's shows the speed
- :mod:`~minidl.training.waiting`: time spent waiting for data
- :mod:`~minidl.training.watch`: NaN, infinity, and a loss that does not fall
- :mod:`~minidl.training.leniency`: files that a training can do without
- :mod:`~minidl.training.report`: ``report.md`` and ``report.json`` at the end
- :mod:`~minidl.training.machine`: the machine and the versions in use
"""

from . import (
    checkpoints, command_line, folders, leniency, log, machine, means, program, progress, report,
    run, schedules, settings, signals, state, waiting, watch,
)  # fmt: skip
from .checkpoints import Checkpoints
from .command_line import at_least
from .folders import latest_run, make_folder, new_run
from .leniency import Leniency
from .log import RunLog
from .machine import versions
from .means import RunningMeans
from .program import run_program, set_up_device
from .progress import Bar, Progress
from .run import Run, describe
from .settings import begin, resumed_settings
from .signals import Interrupted, Interruption, speak_to_nobody
from .state import RunState
from .waiting import Waiting
from .watch import FiniteCheck, FlatLoss, NotFiniteError

__all__ = [
    "Bar", "Checkpoints", "FiniteCheck", "FlatLoss", "Interrupted", "Interruption", "Leniency",
    "NotFiniteError", "Progress", "Run", "RunLog", "RunState", "RunningMeans", "Waiting",
    "at_least", "begin", "describe", "latest_run", "make_folder", "new_run", "resumed_settings",
    "run_program", "set_up_device", "speak_to_nobody", "versions",
]  # fmt: skip
