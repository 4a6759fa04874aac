"""minidl.training.command_line: the options of training programs."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import dataclass

import pytest

from minidl.training import command_line
from minidl.training.command_line import at_least
from minidl.vision import picture_options


@pytest.mark.parametrize("text", ["-1", "0.5", "nan", "inf", "many", ""])
def test_numbers_of_the_command_line(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"^expected a whole number of 0 or more, got '"):
        at_least(0)(text)
    if text != "0.5":
        with pytest.raises(ArgumentTypeError, match=r"^expected a number of 0.0 or more, got '"):
            at_least(0.0)(text)


def test_omitted_options_are_absent() -> None:
    parser = command_line.make_parser("A program.", "The end.")
    command_line.add_optimization_options(parser)
    command_line.add_run_options(parser, "runs/net")
    assert vars(parser.parse_args([])) == {}
    given = vars(parser.parse_args("--lr-drop-at 3 5.5 --no-tf32 --resume --seed 1".split()))
    assert given == {"lr_drop_at": [3.0, 5.5], "tf32": False, "resume": None, "seed": 1}
    text = parser.format_help()
    assert "Exit status: 0 after the last epoch" in text and text.endswith("\n\nThe end.\n")
    assert "runs/net-2" in text


def test_every_default_and_every_change_belongs_to_an_option() -> None:
    parser = command_line.make_parser("")
    picture_options.add_picture_options(parser)
    command_line.add_optimization_options(parser)
    add = command_line.add_run_options(parser, "runs/net")
    add("--ten-crop", action="store_true")
    options = {action.dest for action in parser._actions}
    for page in (command_line, picture_options):
        assert options >= set(page.DEFAULTS) | page.MAY_CHANGE


def test_table_of_recipes() -> None:
    @dataclass
    class Recipe:
        lr: float = 0.1
        init: str | None = None

    table = command_line.table_of_recipes({"small": Recipe(), "large": Recipe(0.5, "he")})
    assert [line.split() for line in table.splitlines()] == [
        ["recipe", "small", "large"], ["lr", "0.1", "0.5"], ["init", "None", "he"],
    ]  # fmt: skip


def test_the_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = "One sentence after another. " * 9
    parser = command_line.make_parser(
        f"{long}\n\n    python examples/program.py --with options {' ' * 30}(a remark)\n", long
    )
    picture_options.add_picture_options(parser)
    command_line.add_optimization_options(parser)
    command_line.add_run_options(parser, "runs/x")
    lines = parser.format_help().split("\n")
    assert max(map(len, lines)) <= 80
    assert "    python examples/program.py --with options" in lines
    assert "        (a remark)" in lines
