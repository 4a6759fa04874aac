"""``torch.cuda.amp``: the names of :mod:`minidl.amp`."""

from ..amp import GradScaler, autocast
from ..missing import attributes

__all__ = ["GradScaler", "autocast"]

__getattr__ = attributes(globals())
