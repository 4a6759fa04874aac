"""The layers under the paths of PyTorch's files: ``nn.modules.conv.Conv2d``.

All layers are in this one module; ``modules.conv`` and its kind are other names of it.
"""

import sys
from itertools import repeat
from typing import Any

from ..missing import attributes
from . import pages
from .batch_norm import _BatchNorm as _BatchNorm
from .batch_norm import _NormBase as _NormBase
from .dropout import _Dropout as _Dropout
from .hooks import register_module_forward_hook as register_module_forward_hook
from .hooks import register_module_forward_pre_hook as register_module_forward_pre_hook
from .hooks import register_module_full_backward_hook as register_module_full_backward_hook
from .hooks import register_module_full_backward_pre_hook as register_module_full_backward_pre_hook
from .instance_norm import _InstanceNorm as _InstanceNorm
from .regression_loss import _Loss as _Loss

_DropoutNd = _Dropout
_ConvNd = (pages.Conv2d, pages.ConvTranspose2d)  # for isinstance()
_layers = {name: value for name, value in vars(pages).items() if isinstance(value, type)}
globals().update(_layers)

#: PyTorch's files.
_FILES = (
    "activation", "batchnorm", "container", "conv", "distance", "dropout", "flatten", "fold",
    "instancenorm", "lazy", "linear", "loss", "module", "normalization", "padding", "pixelshuffle",
    "pooling", "sparse", "upsampling", "utils",
)  # fmt: skip


def _ntuple(n: int) -> Any:
    """Return a function that makes a number n numbers, and a sequence a tuple."""
    return lambda x: tuple(x) if hasattr(x, "__iter__") else tuple(repeat(x, n))


_single, _pair, _triple = _ntuple(1), _ntuple(2), _ntuple(3)

__path__: list[str] = []  # for ``from minidl.nn.modules.conv import Conv2d``
for _name in _FILES:
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = sys.modules[__name__]

__all__ = sorted(_layers)
__getattr__ = attributes(globals())
