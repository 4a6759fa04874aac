"""The names of ``torch.utils.data``: those of :mod:`minidl.data`.

``minidl.utils.data.dataset``, ``.sampler`` and ``.dataloader`` can be imported, too.
"""

from __future__ import annotations

import sys

from .. import data as _data
from ..data import *
from ..missing import attributes

__all__ = list(_data.__all__)

dataset, sampler, dataloader = _data.dataset, _data.sampler, _data.loader
distributed = _data.distributed

for _name in ("dataset", "sampler", "dataloader", "distributed"):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name]

__getattr__ = attributes(globals())
