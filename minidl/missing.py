"""Error messages for missing names: what is out of scope, or which names are similar."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

#: Kinds of things that minidl leaves out, and words that their names begin with.
OUT_OF_SCOPE = {
    "groups of ranks, sharded parameters and remote calls": (
        "new_group", "fsdp", "FullyShardedDataParallel", "rpc", "elastic.",
    ),
    "several GPUs in one process": ("data_parallel",),
    "recurrent layers": ("RNN", "LSTM", "GRU", "rnn", "pack_padded", "pad_packed", "pad_sequence"),
    "attention and transformers": (
        "Transformer", "MultiheadAttention", "scaled_dot_product_attention", "multi_head_attention",
    ),
    "sparse tensors": ("sparse", "Sparse", "to_sparse", "coalesce", "spmm", "EmbeddingBag"),
    "complex numbers": ("complex", "Complex", "cfloat", "cdouble", "chalf", "view_as_complex",
                        "view_as_real", "polar", "fft", "stft", "istft"),
    "forward-mode and functional derivatives": ("func", "vmap", "jvp", "jacrev", "jacfwd",
                                                "forward_ad"),
    "convolution in one or three dimensions": ("Conv1d", "Conv3d", "conv1d", "conv3d",
                                               "ConvTranspose1d", "ConvTranspose3d"),
    "pooling in one or three dimensions": ("MaxPool1d", "MaxPool3d", "AvgPool1d", "AvgPool3d",
                                           "max_pool1d", "max_pool3d", "avg_pool1d", "avg_pool3d"),
    "compilation and export": ("jit", "compile", "fx", "export", "quantization",
                               "quantize", "ao", "_dynamo"),
    "the bfloat16 dtype": ("bfloat16",),
    "devices other than CPUs and NVIDIA's GPUs": ("xpu", "mps", "mtia", "npu"),
    "writers for TensorBoard": ("tensorboard",),
    "downloads": ("hub.", "model_zoo", "load_state_dict_from_url"),
    "less common layers": (
        "AdaptiveMaxPool", "AdaptiveLogSoftmax", "AlphaDropout", "Bilinear.", "CELU",
        "ChannelShuffle", "CrossMapLRN2d", "FeatureAlphaDropout", "FractionalMaxPool", "GLU.",
        "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LPPool", "LogSigmoid", "MaxUnpool",
        "Mish", "PReLU", "ParameterDict", "RMSNorm", "RReLU", "ReLU6", "SELU", "Softmax2d",
        "Softshrink", "Softsign", "Tanhshrink", "Threshold", "CosineSimilarity", "PairwiseDistance",
        "adaptive_max_pool", "affine_grid", "alpha_dropout", "celu", "channel_shuffle",
        "grid_sample", "glu.", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish",
        "hardtanh", "lp_pool", "logsigmoid", "max_unpool", "mish", "prelu", "relu6", "rrelu",
        "selu", "softshrink", "softsign", "tanhshrink", "cosine_similarity", "pairwise_distance",
        "normalize.", "parametriz", "spectral_norm", "weight_norm",
    ),
    "less common losses": (
        "CTCLoss", "CosineEmbedding", "GaussianNLL", "HingeEmbedding", "HuberLoss", "KLDivLoss",
        "MarginRanking", "MultiLabel", "MultiMargin", "PoissonNLL", "SoftMargin", "Triplet",
        "ctc_loss", "cosine_embedding", "gaussian_nll", "hinge_embedding", "huber_loss", "kl_div",
        "margin_ranking", "multi_margin", "multilabel", "poisson_nll", "soft_margin",
        "triplet_margin",
    ),
    "less common optimizers": (
        "ASGD", "Adafactor", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam", "Rprop", "SparseAdam",
    ),
    "less common transforms": (
        "AugMix", "AutoAugment", "autoaugment", "v2.", "ElasticTransform", "GaussianBlur",
        "LinearTransformation", "RandAugment", "RandomAdjustSharpness", "RandomAutocontrast",
        "RandomEqualize", "RandomInvert", "RandomPerspective", "RandomPosterize", "RandomSolarize",
        "TrivialAugment",
    ),
    "operators for detection, and prototypes": ("ops.", "prototype."),
    "linear algebra beyond products": ("linalg", "svd", "inverse", "cholesky", "pinverse"),
    "networks other than AlexNet and LeNet": (
        "resnet", "ResNet", "vgg", "VGG", "densenet", "DenseNet", "inception", "Inception",
        "googlenet", "GoogLeNet", "mobilenet", "MobileNet", "squeezenet", "SqueezeNet",
        "shufflenet", "efficientnet", "EfficientNet", "mnasnet", "regnet", "convnext", "vit_",
        "swin_", "wide_resnet", "resnext", "detection", "segmentation", "video",
    ),
}  # fmt: skip


def sentence(module: str, name: str, names: Any) -> str:
    """Return the message for a name that `module` does not have.

    Parameters
    ----------
    module, name : str
    names : iterable of str
        The names that it has.
    """
    public = sorted(n for n in names if not n.startswith("_"))
    for kind, beginnings in OUT_OF_SCOPE.items():
        if f"{name}.".startswith(beginnings) or module.endswith(beginnings):
            there = f"; it has {', '.join(public)}" if "networks" in kind else ""
            return (
                f"{module} has no {name!r}: minidl does not support {kind}{there}; see 'A script "
                "from PyTorch' in its README"
            )
    from difflib import get_close_matches

    close = get_close_matches(name, public, 3)
    if close:
        return f"{module} has no {name!r}; did you mean {' or '.join(close)}?"
    hint = f"it has {', '.join(public)}" if len(public) < 40 else f"dir({module}) lists its names"
    return f"{module} has no {name!r}; {hint}"


class MissingAttribute(AttributeError):
    """An attribute that a Tensor does not have; the message is made when it is read."""

    def __str__(self) -> str:
        return sentence("Tensor", str(self.name), dir(self.obj))


def attributes(namespace: dict[str, Any], places: Mapping[str, str] = {}) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a module.

    Parameters
    ----------
    namespace : dict
        The module's ``globals()``.
    places : mapping of str to str, optional
        Names that are imported when they are first used, and the submodules that they stand in; a
        submodule stands in itself.

    Notes
    -----
    ``from module import name`` replaces an AttributeError by a message of Python's own, so that a
    missing name raises an ImportError there.
    """

    def __getattr__(name: str) -> Any:
        module = namespace["__name__"]
        if name in places:
            place = importlib.import_module(f"{module}.{places[name]}")
            value = namespace[name] = place if name == places[name] else getattr(place, name)
            return value
        if name.startswith("__"):  # Python asks for these itself
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        own = (
            n
            for n, v in namespace.items()
            if f"{getattr(v, '__module__', '')}.".startswith(f"{module}.")
        )
        text = sentence(module, name, namespace.get("__all__", own))
        if _is_from_import(sys._getframe(1)):
            raise ImportError(text, name=module)
        raise AttributeError(text)

    return __getattr__


def _is_from_import(frame: Any) -> bool:
    """Return whether a frame is in the middle of ``from module import name``."""
    from opcode import opmap

    return bool(frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"])


class MissingModules:
    """An entry of ``sys.meta_path``, the last, for the modules that minidl does not have."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Raise an ImportError that says what there is."""
        parent, _, last = name.rpartition(".")
        package, *below = parent.split(".")
        # minidl.kernels.of asks for modules that may be missing
        if package == __package__ and below[:1] != ["kernels"] and not last.startswith("_"):
            module = sys.modules[parent]
            text = sentence(parent, last, getattr(module, "__all__", dir(module)))
            raise ModuleNotFoundError(text, name=name)


sys.meta_path.append(MissingModules)
