"""A contender's process: reads questions from standard input, one JSON object per line.

``{"script": ..., "contender": ..., "options": ..., "warm_up": ...}`` prepares work (the answer:
its facts), and ``{"repeat": ...}`` does it (the answer: the seconds of each phase). An exception is
answered with its traceback. The end of the input ends the process.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
from typing import Any

from harness import Work


def main() -> None:
    # Output printed by libraries must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work: Work | None = None
    for line in sys.stdin:
        question: dict[str, Any] = json.loads(line)
        answer: dict[str, Any]
        try:
            if "script" in question:
                work = None  # frees its memory before the next work allocates
                gc.collect()
                script = importlib.import_module(question["script"])
                work = script.make(question["contender"], **question["options"])
                if question["warm_up"]:
                    work.time(question["warm_up"])
                answer = work.facts
            else:
                assert work is not None
                answer = work.time(question["repeat"])
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
