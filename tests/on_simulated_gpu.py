"""Run the tests that take a device on the simulated GPU, with one process per core.

    python tests/on_simulated_gpu.py                       runs the tests of minidl's own kernels
                                                           and of the main program
    python tests/on_simulated_gpu.py --mode gpu            runs all tests, each launch at once
    python tests/on_simulated_gpu.py --mode gpu-shuffled   runs each kernel's threads in random
                                                           orders: finds races, missing barriers
    python tests/on_simulated_gpu.py --mode gpu-deferred   delays the work of streams as long as
                                                           CUDA allows: finds missing waits
    python tests/on_simulated_gpu.py --mode all            runs all modes in turn

Other arguments go to pytest: ``python tests/on_simulated_gpu.py tests/nn -k conv``.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Environment variables for each mode.
MODES: dict[str, dict[str, str]] = {
    "gpu": {},
    "gpu-shuffled": {"CUPY_ON_CPU_ORDER": "shuffled"},
    "gpu-deferred": {"CUPY_ON_CPU_ASYNCHRONOUS": "1"},
}


def run(mode: str, arguments: list[str]) -> int:
    """Run pytest in one mode."""
    print(f"==== {mode}, simulated ====", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "--device=gpu-simulated", "-n", "auto"]
    environment = {**os.environ, **MODES[mode]}
    return subprocess.run([*command, *arguments], cwd=ROOT, env=environment, check=False).returncode


def why_not() -> str | None:
    """Return why this machine can't simulate a GPU, or None if it can."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "it needs Linux on x86-64"
    from cupy_on_cpu import SimulatorError, compiler

    try:
        compiler.compiler()
        compiler.python_headers()
    except SimulatorError as error:
        return str(error)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=[*MODES, "all"], action="append")
    options, arguments = parser.parse_known_args()
    if reason := why_not():
        print(f"the tests on the simulated GPU are skipped: {reason}")
        return 0
    if options.mode is None:
        return run("gpu", ["--short", *arguments])
    chosen = options.mode
    codes = [run(mode, arguments) for mode in MODES if mode in chosen or "all" in chosen]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
