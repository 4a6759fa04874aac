"""The former place of :mod:`minidl.training.watch`."""

from ..training.watch import *  # noqa: F403
