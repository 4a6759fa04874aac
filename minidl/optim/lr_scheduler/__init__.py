"""Learning-rate schedules: rules that set ``group["lr"]`` of an optimizer's parameter groups.

Call ``scheduler.step()`` after an epoch's (or a step's) ``optimizer.step()`` calls. The numbers are
PyTorch's to the last bit: most schedules compute a rate from the previous one, so several
schedulers on one optimizer multiply, and a rate that was changed by hand stays changed.
"""

from ...missing import attributes
from .base import LRScheduler
from .cycles import CyclicLR, OneCycleLR
from .functions import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau
from .sequential import SequentialLR

__all__ = [
    "ConstantLR", "CosineAnnealingLR", "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR",
    "LinearLR", "MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip

__getattr__ = attributes(globals())
