"""Run the tests that take a device on the simulated GPU, three times, as many at once as fit.

``python tests/on_simulated_gpu.py`` runs ``pytest --device=gpu-simulated`` three times: as it is,
with the threads of every kernel in random orders (which finds races and missing barriers), and with
streams that put work off as long as CUDA allows (which finds missing waits). Arguments go to
pytest: ``python tests/on_simulated_gpu.py tests/nn -k conv``.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: What is added to the environment.
MODES: dict[str, dict[str, str]] = {
    "gpu": {},
    "gpu-shuffled": {"CUPY_ON_CPU_ORDER": "shuffled"},  # threads in random orders
    "gpu-deferred": {"CUPY_ON_CPU_ASYNCHRONOUS": "1"},  # streams that wait as long as they may
}


def run(mode: str, arguments: list[str]) -> int:
    """Run pytest in one mode, and print what it printed when it is over."""
    command = [sys.executable, "-m", "pytest", "-q", "--device=gpu-simulated"]
    if mode == list(MODES)[1]:
        # So that two runs at once, with no compiled kernels yet, don't compile the same ones.
        command.append("--backwards")
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    start = time.monotonic()
    result = subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, **one_thread, **MODES[mode]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    print(f"==== {mode}, simulated, {seconds:.0f} s ====\n{result.stdout}", flush=True)
    return result.returncode


def main(arguments: list[str]) -> int:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("the simulated GPU needs Linux on x86-64: its tests were NOT run")
        return 0
    from cupy_on_cpu import SimulatorError
    from cupy_on_cpu.simulator import check_environment

    try:
        check_environment()
    except SimulatorError as error:
        print(f"the simulated GPU can't be had: {error}", file=sys.stderr)
        return 1
    print("running the tests on the simulated GPU in three modes, some minutes ...", flush=True)
    with ThreadPoolExecutor(min(len(MODES), len(os.sched_getaffinity(0)))) as pool:
        codes = list(pool.map(lambda mode: run(mode, arguments), MODES))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
