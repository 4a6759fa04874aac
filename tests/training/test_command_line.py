"""minidl.training.command_line: the options of training programs."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from minidl.training.command_line import at_least


@pytest.mark.parametrize("text", ["-1", "0.5", "nan", "inf", "many", ""])
def test_numbers_of_the_command_line(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"^expected a whole number of 0 or more, got '"):
        at_least(0)(text)
    if text != "0.5":
        with pytest.raises(ArgumentTypeError, match=r"^expected a number of 0.0 or more, got '"):
            at_least(0.0)(text)
