"""What scripts ask of ``torch.distributed`` before they train in one process: no, it is not there.

Training on several machines or cards is out of scope; every other name says so.
"""

from __future__ import annotations

from .missing import attributes

__all__ = ["get_rank", "get_world_size", "is_available", "is_initialized"]


def is_available() -> bool:
    """Return False."""
    return False


def is_initialized() -> bool:
    """Return False."""
    return False


def get_rank() -> int:
    """Return 0, the number of the only process."""
    return 0


def get_world_size() -> int:
    """Return 1, the number of processes."""
    return 1


__getattr__ = attributes(globals())
