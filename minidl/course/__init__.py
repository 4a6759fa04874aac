"""The course: layers from the inside, with exercises and a judge.

The pages are in ``docs/course``. Their exercises come with the library:

    python -m minidl.course list                  (all exercises)
    python -m minidl.course start DIR             (a file to fill in for each page)
    python -m minidl.course check DIR/08_pooling.py
    pytest DIR                                    (the same verdicts, for a whole class)
"""

from .checking import check, start
from .exercises import PAGES, exercises
from .judging import Exercise, Mistake, Verdict, judge
from .explorable import explorable
from .showing import Markdown, agree, source, table

__all__ = [
    "PAGES", "Exercise", "Markdown", "Mistake", "Verdict", "agree", "check", "exercises",
    "explorable", "judge", "source", "start", "table",
]  # fmt: skip
