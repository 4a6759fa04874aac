"""Every test of the loader must leave nothing behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def descriptors() -> list[str]:
    """Return the pipes, sockets and memory that this process holds open for workers (Linux)."""
    folder, found = Path("/proc/self/fd"), []
    for entry in folder.iterdir() if folder.exists() else ():
        try:
            found.append(os.readlink(entry))
        except OSError:
            continue  # the listing's own
    return sorted(name for name in found if name.startswith(("pipe:", "socket:", "/memfd:")))


@pytest.fixture(autouse=True)
def nothing_left_of_workers() -> Iterator[None]:
    before = descriptors()
    yield
    if multiprocessing.active_children() or set(descriptors()) - set(before):
        gc.collect()  # takes its time: only if something may wait for it
    assert multiprocessing.active_children() == []
    assert set(descriptors()) <= set(before)
