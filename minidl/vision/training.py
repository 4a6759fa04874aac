"""The former place of :mod:`minidl.training`, whose pages now hold what stood here."""

from ..training import *  # noqa: F403
from .bad_images import BadImages as BadImages
