"""Endurance trials: ``python tests/robustness`` runs all of them, or those named.

    python tests/robustness                       every trial at its full length (hours)
    python tests/robustness killed_checkpoints    one of them
    python tests/robustness --times 5             a short form of each

Each trial is a module in this folder with ``TIMES``, its full length, and
``run(times, folder, seed)``, which returns a line of figures or raises AssertionError.
``tests/robustness/test_endurance.py`` runs the short forms.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent


def trials() -> dict[str, ModuleType]:
    """Return the trials by name."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        if not path.stem.startswith(("_", "test_")):
            spec = importlib.util.spec_from_file_location(f"endurance_{path.stem}", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            found[path.stem] = module
    return found


def main() -> int:
    """Run the trials that the command line names; return the exit status."""
    found = trials()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(found))
    parser.add_argument("--times", type=int, help="instead of each trial's full length")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    unknown = set(options.names) - set(found)
    if unknown:
        parser.error(f"no such trial: {', '.join(sorted(unknown))}")
    failed = 0
    for name in options.names or found:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"minidl-{name}-") as folder:
            try:
                times = options.times or found[name].TIMES
                line = found[name].run(times, Path(folder), options.seed)
            except AssertionError as error:
                failed += 1
                line = f"FAILED: {error}"
        print(f"{name}: {line} ({time.monotonic() - start:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    sys.exit(main())
