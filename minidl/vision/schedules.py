"""The former place of :mod:`minidl.training.schedules`."""

from ..training.schedules import *  # noqa: F403
