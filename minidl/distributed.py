"""``torch.distributed`` for scripts that check for it before training in one process: unavailable.

Training on several machines or cards is out of scope; every other name raises an error.
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
