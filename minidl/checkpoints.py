"""The former place of :mod:`minidl.training.checkpoints`."""

from .training.checkpoints import *  # noqa: F403
