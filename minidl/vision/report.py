"""The former place of :mod:`minidl.training.report`."""

from ..training.report import *  # noqa: F403
