"""The program beside a rank; ``tests/robustness/killed_ranks.py`` stops ranks at other moments."""

from __future__ import annotations

import ranks

PROGRAM = """
import os, signal
import minidl.distributed as dist

dist.init_process_group()
rank = dist.get_rank()
from mpi4py import MPI
dist.destroy_process_group()
MPI.Finalize()
if rank == 1:
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@ranks.needs_mpi
def test_a_rank_that_is_stopped_when_the_others_have_ended() -> None:
    result = ranks.run(2, "-c", PROGRAM, status=137, MINIDL_HANG_SECONDS="3")
    assert "rank 1 has been stopped for 1 seconds" in result.stderr
