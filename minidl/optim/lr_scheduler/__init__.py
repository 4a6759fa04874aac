"""Learning-rate schedules: rules that set ``group["lr"]`` of an optimizer's parameter groups.

Call ``scheduler.step()`` after an epoch's (or a step's) ``optimizer.step()`` calls. The numbers are
PyTorch's to the last bit: most schedules compute a rate from the previous one, so several
schedulers on one optimizer multiply, and a rate that was changed by hand stays changed.
"""

from ...missing import attributes
from .base import LRScheduler, _LRScheduler
from .cycles import CyclicLR, OneCycleLR
from .functions import (
    ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, ExponentialLR, LambdaLR, LinearLR,
    MultiplicativeLR, MultiStepLR, PolynomialLR, StepLR,
)  # fmt: skip
from .plateau import ReduceLROnPlateau
from .sequential import ChainedScheduler, SequentialLR

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip

__getattr__ = attributes(globals())
