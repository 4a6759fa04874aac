"""The layers' functions under one roof, as ``torch.nn.functional``; each has its own file."""

from ..ops import one_hot
from .activation import log_softmax, relu, sigmoid, softmax, tanh
from .conv import conv2d
from .dropout import dropout, plain_dropout
from .im2col import fold, unfold
from .linear import linear
from .local import locally_connected2d
from .loss import cross_entropy, mse_loss, nll_loss
from .normalization import batch_norm, local_response_norm, spatial_response_norm
from .padding import pad
from .pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d

__all__ = [
    "adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "conv2d", "cross_entropy", "dropout",
    "fold", "linear", "local_response_norm", "locally_connected2d", "log_softmax", "max_pool2d",
    "mse_loss", "nll_loss", "one_hot", "pad", "plain_dropout", "relu", "sigmoid", "softmax",
    "spatial_response_norm", "tanh", "unfold",
]  # fmt: skip
