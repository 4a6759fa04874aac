"""Optimizers and learning-rate schedules: PyTorch's names, and the paper's update rule."""

from ..missing import attributes
from . import lr_scheduler, swa_utils
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .optimizer import Optimizer, param_groups
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler",
    "param_groups", "swa_utils",
]  # fmt: skip

__getattr__ = attributes(globals())
