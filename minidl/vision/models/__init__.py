"""Networks for images: AlexNet in all its variants, and related small networks.

- ``alexnet(variant)``: the network as described in the paper and as in the original program, the
  versions of Caffe, torchvision and TF-slim, the paper's control networks, and one for 32×32
  images.
- ``cuda_convnet(variant)``: the paper's CIFAR-10 networks.
- ``lenet5()``: the older network that AlexNet is usually compared with.

``print(summary(net))``, with ``minidl.nn.summary``, shows any of them layer by layer.
"""

from __future__ import annotations

from ... import missing
from .alexnet import AlexNet, alexnet
from .cuda_convnet import CudaConvnet, ScaledTanh, cuda_convnet
from .lenet import LeNet, lenet5
from .networks import load_network
from .pretrained import AlexNet_Weights
from .torchvision import get_model, list_models

__all__ = [
    "AlexNet", "AlexNet_Weights", "CudaConvnet", "LeNet", "ScaledTanh", "alexnet",
    "cuda_convnet", "get_model", "lenet5", "list_models", "load_network",
]  # fmt: skip

__getattr__ = missing.attributes(globals())
