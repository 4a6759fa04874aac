"""The command-line options of programs that train on pictures.

See :mod:`minidl.training.command_line` for the options that do not concern pictures.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from ..training.command_line import at_least

__all__ = ["DEFAULTS", "MAY_CHANGE", "add_picture_options", "suit_older_run"]

#: Settings of a new run, for options that the user does not give.
DEFAULTS: dict[str, Any] = {"data": None, "synthetic": False, "workers": 2, "limit_batches": None,
    "on_bad_image": "error", "bad_image_budget": None, "exif": None, "shared_offset": None,
    "augment": True,
    "ten_crop": False, "report": True}  # fmt: skip
#: Settings that may differ when a run is resumed.
MAY_CHANGE = {"data", "workers", "on_bad_image", "bad_image_budget", "ten_crop", "report"}


def add_picture_options(parser: ArgumentParser) -> None:
    """Add ``--data``, ``--workers``, ``--on-bad-image`` and the like.

    Their values are for :func:`~minidl.vision.datasets.opening.open_folder` and
    :class:`~minidl.vision.batches.PictureBatches`.
    """
    group = parser.add_argument_group("data")
    add = group.add_mutually_exclusive_group().add_argument
    add("--data", type=os.path.abspath, metavar="DIR", help="holds train/<class>/*.jpg and "
        "val/..., or <class>/*.jpg (a tenth is held out), or ImageNet's archives, or what "
        "prepare_imagenet.py made (default: Shapes)")  # fmt: skip
    add("--synthetic", action="store_true", help="noise instead of pictures: to measure speed")
    add = group.add_argument
    add("--workers", type=at_least(0), metavar="N",
        help="processes that prepare pictures (default: 2)")  # fmt: skip
    add("--limit-batches", type=at_least(1), metavar="N", help="end epochs after N (default: all)")
    add("--on-bad-image", choices=["error", "skip"], help="a picture that can't be read ends the "
        "run (default), or another takes its place and bad-images.txt names it")  # fmt: skip
    add("--bad-image-budget", type=at_least(0), metavar="N", help="skip at most this many "
        "(default: a thousandth of the pictures, but at least 10)")  # fmt: skip
    add("--exif", action=BooleanOptionalAction, help="turn pictures as their EXIF data say "
        "(default: all but ImageNet's)")  # fmt: skip
    add("--shared-offset", type=at_least(1), metavar="N", help="crop and mirror N neighbors alike: "
        "32 in the original program (default: each by itself)")  # fmt: skip
    add("--augment", action=BooleanOptionalAction, help="random crops and mirrored pictures "
        "(default), or the central crop of each")  # fmt: skip
    add("--report", action=BooleanOptionalAction, help="after each epoch, write report.html, the "
        "page of all figures (default), or only filters.png and curves.png")  # fmt: skip


def suit_older_run(
    settings: dict[str, Any], given: dict[str, Any], state: dict[str, Any] | None
) -> None:
    """Keep `settings` as a resumed run had them, even if it is older than an option.

    Parameters
    ----------
    settings : dict
        Changed in place: runs older than ``--exif`` left pictures as they were stored.
    given : dict
        The options on the command line, which come first.
    state : dict or None
        The checkpoint of the resumed run.
    """
    if state is not None and "exif" not in {**state["options"], **given}:
        settings["exif"] = False
