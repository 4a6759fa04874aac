"""A program beside a rank that names a stopped rank while no rank can look: :func:`watch`.

In ``MPI_Init`` and ``MPI_Finalize`` all ranks wait for each other, deep in C, where no thread of
Python runs. So this program watches from outside, and reads from Linux which ranks of its machine
are stopped. It kills one that stays so; then the launcher ends all.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

__all__ = ["RANKS", "Guard", "watch"]

#: Seconds between two looks.
PAUSE = 0.5

#: Variables in which launchers tell a process its rank.
RANKS = "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"

#: Variable in which Open MPI says how many ranks the machine has.
_COUNT = "OMPI_COMM_WORLD_LOCAL_SIZE"


class Guard:
    """Runs this program from :meth:`start` to :meth:`stop`, or to the end of the process.

    Parameters
    ----------
    limit : float
        Seconds that a rank may be stopped.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._pid = self._pipe = 0

    def start(self) -> None:
        """Begin to watch; does nothing without Linux's ``/proc``."""
        if self._pid or not Path("/proc/self/stat").exists() or not sys.executable:
            return
        end, self._pipe = os.pipe()  # a process that ends closes its pipes
        name = Path(sys.argv[0]).name or "python"
        words = [sys.executable, "-I", "-S", __file__, str(self._limit), name]
        self._pid = os.posix_spawn(
            sys.executable, words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, end, 0)]
        )
        os.close(end)

    def stop(self) -> None:
        """End the program."""
        if self._pid:
            os.close(self._pipe)
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def watch(limit: float, name: str) -> None:
    """Look at this machine's ranks until the parent ends; kill one that alone stays stopped.

    The others go on, or have ended. If all are stopped, someone has stopped the job.

    Parameters
    ----------
    limit : float
        Seconds that a rank may be stopped.
    name : str
        The program's, for the message.
    """
    parent = os.getppid()
    count = int(os.environ.get(_COUNT, 0)) or len(_ranks_beside(parent))
    looks: dict[int, int] = {}  # in which a process was found stopped, one after another
    while not select.select([0], [], [], PAUSE)[0]:
        ranks = _ranks_beside(parent)
        stopped = {pid for pid in ranks if _state(pid) == "T"}
        looks = {pid: looks.get(pid, 0) + 1 for pid in stopped}
        lost = [pid for pid in stopped if looks[pid] * PAUSE >= limit]
        able = [pid for pid in ranks if pid not in stopped]
        speaker = min(able or ranks, key=lambda pid: ranks[pid], default=0)  # for all
        if lost and (able or len(ranks) < count) and parent == speaker:
            print(
                f"\n{name}: rank {ranks[lost[0]]} has been stopped for {limit:.0f} seconds while "
                f"all start or end; it is killed, and all ranks end", file=sys.stderr, flush=True,
            )  # fmt: skip
            os.kill(lost[0], signal.SIGKILL)
            return


def _ranks_beside(process: int) -> dict[int, int]:
    """Return the ranks of the processes that have the same parent, by their number."""
    found = {}
    try:
        launcher = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
        lists = [path.read_text() for path in Path(f"/proc/{launcher}/task").glob("*/children")]
    except OSError:
        return {}
    for pid in map(int, " ".join(lists).split()):
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        known = dict(variable.split(b"=", 1) for variable in variables if b"=" in variable)
        ranks = [int(known[name]) for name in map(str.encode, RANKS) if name in known]
        if ranks:
            found[pid] = ranks[0]
    return found


def _state(process: int) -> str:
    """Return the letter of a process's state: T, if a signal has stopped it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


if __name__ == "__main__":
    watch(float(sys.argv[1]), sys.argv[2])
