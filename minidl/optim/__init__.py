"""Optimizers and learning-rate schedules: PyTorch's names, and the paper's update rule."""

from . import lr_scheduler
from .adam import Adam, AdamW
from .optimizer import Optimizer, param_groups
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler", "param_groups"]
