"""The options that training programs share, for :mod:`argparse`.

A program adds the groups that it needs to the parser of :func:`make_parser`, between groups of its
own. Options that the user does not give are absent from the result, so that
:func:`minidl.training.begin` can tell them from those that are given: ``DEFAULTS`` holds their
values in a new run, ``MAY_CHANGE`` the names of those that may differ in a resumed run.
"""

from __future__ import annotations

import math
import re
import textwrap
from argparse import (
    SUPPRESS,
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NoReturn

from ..distributed import world
from .parallel import SCHEMES
from .program import EXIT_STATUSES
from .schedules import SCHEDULES

__all__ = [
    "DEFAULTS",
    "MAY_CHANGE",
    "Layout",
    "add_device_options",
    "add_optimization_options",
    "add_run_options",
    "at_least",
    "make_parser",
    "table_of_recipes",
]  # fmt: skip

#: Settings of a new run, for options of this page that neither the user nor a recipe gives.
DEFAULTS: dict[str, Any] = {"seed": 0, "device": "auto", "tf32": False, "amp": False,
    "num_threads": None, "lr_drop_at": None, "save_minutes": 15.0,
    "save_weights": False}  # fmt: skip
#: Settings that may differ when a run is resumed; any other difference would make another run.
MAY_CHANGE = {
    "device", "num_threads", "epochs", "lr_drop_at", "output", "save_minutes", "save_weights",
}  # fmt: skip


def at_least(least: float) -> Callable[[str], float]:
    """Return a type for argparse: finite numbers of at least `least`; integers if it is an int.

    Examples
    --------
    >>> at_least(1)("12"), at_least(0.0)("12")
    (12, 12.0)
    """

    def read(text: str) -> float:
        try:
            number = type(least)(text)
        except ValueError:
            number = math.nan
        if not least <= number < math.inf:
            kind = "a whole number" if isinstance(least, int) else "a number"
            raise ArgumentTypeError(f"expected {kind} of {least} or more, got {text!r}")
        return number

    return read


def make_parser(description: str | None, epilog: str = "") -> ArgumentParser:
    """Return a parser that shows its texts as they are, and leaves out what is not given.

    Parameters
    ----------
    description, epilog : str
        The first and the last text of ``--help``. The exit statuses stand before the epilog.
    """
    return _Parser(
        description=description,
        epilog=f"{EXIT_STATUSES}\n\n{epilog}",
        formatter_class=Layout,
        argument_default=SUPPRESS,
    )


class _Parser(ArgumentParser):
    """A parser that complains once, not once a rank."""

    def error(self, message: str) -> NoReturn:
        """Print a complaint and end the program."""
        world.let_rank_0_speak()
        super().error(message)


class Layout(RawDescriptionHelpFormatter):
    """A formatter for argparse that keeps the lines of examples and fits them into the width."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = re.split(r"\n{2,}", text.strip("\n"))
        return "\n\n".join(_fit(paragraph, width, indent) for paragraph in paragraphs)


def _fit(paragraph: str, width: int, indent: str) -> str:
    """Return a paragraph in lines of the width; indented lines stay lines of their own."""
    lines = paragraph.split("\n")
    if not any(line.startswith(" ") for line in lines):
        return textwrap.fill(paragraph, width, initial_indent=indent, subsequent_indent=indent)
    fitting = []
    for line in lines:
        start = line[: len(line) - len(line.lstrip())]
        parts = re.split(r" {2,}", line.strip()) if len(line) > width else [line[len(start) :]]
        for number, part in enumerate(parts):  # a command, and the remark beside it
            first = start + "    " * (number > 0)
            options: Any = {"break_long_words": False, "break_on_hyphens": False}
            fitting.append(textwrap.fill(
                part, width, initial_indent=first, subsequent_indent=start + "    ", **options
            ))  # fmt: skip
    return "\n".join(fitting)


def table_of_recipes(recipes: Mapping[str, Any]) -> str:
    """Return a table of recipes for ``--help``, one column each.

    Parameters
    ----------
    recipes : mapping of str to dataclass instance
    """
    columns = {name: asdict(recipe) for name, recipe in recipes.items()}
    lines = [f"{'recipe':14}" + "".join(f"{name:>10}" for name in columns)]
    for key in next(iter(columns.values())):
        lines.append(f"{key:14}" + "".join(f"{recipe[key]!s:>10}" for recipe in columns.values()))
    return "\n".join(f"  {line}" for line in lines)


def add_optimization_options(parser: ArgumentParser) -> Callable[..., Any]:
    """Add ``--epochs``, ``--batch-size``, ``--lr``, ``--schedule`` and the like.

    Returns
    -------
    callable
        Adds a further option to the group.
    """
    add = parser.add_argument_group("training (default: the recipe's)").add_argument
    add("--epochs", type=at_least(1), metavar="N")
    add("--batch-size", type=at_least(1), metavar="N")
    add("--lr", type=at_least(0.0), metavar="RATE", help="of weights; biases have twice this rate")
    add("--schedule", choices=SCHEDULES, metavar="NAME", help="constant; cosine; step: a tenth "
        "after each third; paper: a tenth at 25, 55 and 84%% of the run; original: like paper, "
        "with conv1 frozen in two steps and the color noise ended at 73%%, as in the published "
        "run; plateau: a tenth when top-1 has not risen for 4 epochs")  # fmt: skip
    add("--lr-drop-at", type=at_least(0.0), nargs="+", metavar="EPOCH", help="instead of the "
        "schedule, from the first epoch on: divide the rate by 10 each time that this number of "
        "epochs is done; may be given with --resume")  # fmt: skip
    add("--weight-decay", type=at_least(0.0), metavar="FACTOR", help="of weights; biases have none")
    add("--seed", type=at_least(0), metavar="N", help="decides everything random (default: 0)")
    return add


def add_device_options(add: Callable[..., Any], default: str = "auto") -> None:
    """Add ``--device``, ``--tf32`` and ``--num-threads``; see ``set_up_device``.

    Parameters
    ----------
    add : callable
        The ``add_argument`` of a parser or of a group.
    default : str, default "auto"
        The device, for the help; setting it is up to the program.
    """
    add("--device", help=f"auto, cpu, gpu or gpu:N (default: {default})")
    add("--tf32", action=BooleanOptionalAction, help="let a GPU round the factors of products to "
        "10 bits: faster, less exact")  # fmt: skip
    add("--num-threads", type=at_least(1), metavar="N", help="to compute with (default: all cores)")


def add_run_options(
    parser: ArgumentParser, folder: str, parallel: bool = False
) -> Callable[..., Any]:
    """Add ``--device``, ``--output``, ``--save-minutes``, ``--resume``, ``--evaluate`` and others.

    Parameters
    ----------
    parser : ArgumentParser
    folder : str
        The default for ``--output``; see :func:`~minidl.training.new_run`.
    parallel : bool
        Add ``--parallel``. Default False.

    Returns
    -------
    callable
        Adds a further option to the group.
    """
    add = parser.add_argument_group("run").add_argument
    add_device_options(add)
    add("--amp", action=BooleanOptionalAction, help="mixed precision: let a GPU compute in "
        "float16 what has weights, and scale the loss")  # fmt: skip
    if parallel:
        add("--parallel", choices=SCHEMES, help="compute on the processes that mpirun -n N starts; "
            "data: each has an Nth of every batch; towers: half of the kernels, as on the paper's "
            "two GPUs; hybrid: an Nth of the batch, then of the units")  # fmt: skip
    add("--output", metavar="DIR", help=f"(default: {folder}, then {folder}-2, ...)")
    add("--save-minutes", type=at_least(0.0), metavar="M", help="save at this interval, and after "
        "each epoch: last.safetensors, previous.safetensors, best.safetensors "
        "(default: 15)")  # fmt: skip
    add("--save-weights", action=BooleanOptionalAction, help="best.safetensors is for prediction "
        "and evaluation alone: without the optimizer's state it has half the size")  # fmt: skip
    add("--resume", nargs="?", const=None, metavar="PATH", help="go on from a checkpoint or an "
        "output folder (default: --output, or else the latest run)")  # fmt: skip
    add("--evaluate", action="store_true", help="only evaluate the checkpoint or run of --resume")
    return add
