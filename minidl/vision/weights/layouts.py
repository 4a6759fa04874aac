"""Which array of a file belongs to which layer.

Inside minidl a network's parameters are called by its rows: "conv1.weight", ..., "fc8.bias", with
the shapes of its own layers. Each layout below brings a file to these names:

- *PyTorch's layouts*: the keys of a state dict are a variant's own (``features.conv1.weight``),
  numbered as in torchvision (``features.0.weight``), numbered through (``AlexNet_model.0.weight``,
  any name before the number), or the rows' names. ``module.`` (DataParallel), ``_orig_mod.``
  (compile) and what all keys begin with (Lightning's ``model.``) are dropped. A training checkpoint
  around the state dict is taken off.
- *TensorFlow's* (``bvlc_alexnet.npy``): {"conv1": [weight, bias], ...}. Kernels are (height, width,
  in, out); fully connected weights (in, out), and the rows of the first are in the order height,
  width, channel of its input maps.
- *Caffe's*: layers in order, with minidl's shapes up to ones in front.

A variant fits if all names and shapes do. Several may: the paper's net, Caffe's and others have the
same shapes. Files written by ``python -m minidl convert`` name theirs.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError, CheckpointError, DataError
from ...nn import Module
from ...tensor import Tensor
from ..models.options import plan_of_file
from ..models.presets import PRESETS
from ..models.rows import Plan, RowNet
from ..models.variants import VARIANTS
from ..statistics import PixelStatistics
from ..transforms.preprocessing import CAFFE, TORCHVISION, Preprocessing
from ..transforms.presets import alexnet_preprocessing
from .caffe_file import Net
from .files import Content, as_array, read
from .matching import LAYOUTS, from_keys, row_keys, shaped, why_not

__all__ = [
    "USUAL_PREPROCESSING", "Weights", "fitting", "read_weights", "recognize", "row_keys",
    "statistics_of",
]  # fmt: skip

_AROUND = ("state_dict", "model", "model_state_dict", "net", "weights", "params", "model_ema")
_DROPPED = {"module", "_orig_mod"}
_SCALES = ("pixels", "normalized")
_FACTS = ("format", "variant", "options", "preprocessing", "input_scale", "classes")
_TRAINED_WITH = {"torchvision": TORCHVISION, "single-tower": TORCHVISION}

#: How pictures were prepared for the weights in state dicts that say nothing.
USUAL_PREPROCESSING = {**_TRAINED_WITH, "caffe": CAFFE, "caffenet": CAFFE}


class Weights(NamedTuple):
    """A network's parameters by their rows, and the variant to which they belong.

    Attributes
    ----------
    variant : str
    arrays : dict of str to ndarray
    preprocessing : Preprocessing or None
        How pictures were prepared in training, if that is known.
    options : dict of str to object
        Further arguments of ``alexnet`` that made the network, such as "without".
    classes : list of str or None
        The classes' names, if they are known.
    input_scale : {"pixels", "normalized"} or None
        The network's, if it is known. Default: that of `preprocessing`.
    about : mapping of str to str
        What else the file says of the network.
    """

    variant: str
    arrays: dict[str, np.ndarray]
    preprocessing: Preprocessing | None
    options: dict[str, Any]
    classes: list[str] | None = None
    input_scale: str | None = None
    about: Mapping[str, str] = MappingProxyType({})

    @property
    def num_classes(self) -> int:
        """The number of outputs of the last layer."""
        return len(list(self.arrays.values())[-1])

    def fill(self, net: RowNet) -> None:
        """Copy the arrays into a network of the variant, and attach the preprocessing.

        Raises
        ------
        CheckpointError
            The network was changed and has other shapes.
        """
        for row, layer in net.named_rows().items():
            for kind in ("weight", "bias"):
                parameter, array = getattr(layer, kind), self.arrays.get(f"{row}.{kind}")
                if array is None or array.shape != tuple(parameter.shape):
                    found = "none" if array is None else f"shape {array.shape}"
                    raise CheckpointError(
                        f"the weights do not fit the network: {row}.{kind} has shape "
                        f"{tuple(parameter.shape)}, the file has {found}"
                    )
                parameter.detach().copy_(Tensor(np.ascontiguousarray(array)))
        net.preprocessing = self.preprocessing
        if self.input_scale is not None:
            net.input_scale = self.input_scale
        elif self.preprocessing is not None:
            net.input_scale = self.preprocessing.input_scale


def read_weights(
    path: str | os.PathLike[str], plans: Mapping[str, Plan], kind: str | None = None
) -> Weights:
    """Read a file of weights for one of several networks.

    Parameters
    ----------
    path : str or path-like
        A file, or a run's folder.
    plans : mapping of str to Plan
        The networks that may fit, by variant.
    kind : str, optional
        See :func:`~minidl.vision.weights.files.read`.

    Raises
    ------
    CheckpointError
        The file is missing or damaged, or holds no weights of these networks; or several fit.
    """
    return recognize(read(path, kind), plans)


def recognize(content: Content, plans: Mapping[str, Plan]) -> Weights:
    """Return the weights in what a file holds; see :func:`read_weights`."""
    found = fitting(content, plans)
    if not found:
        claimed, layouts, plans = _claims(content, plans)
        raise CheckpointError(f"{content.path!r}: {why_not(claimed.arrays, plans, layouts)}")
    if len(found) > 1:
        names = ", ".join(weights.variant for weights in found)
        raise CheckpointError(f"{content.path!r} fits several variants; name one: {names}")
    return found[0]


def fitting(content: Content, plans: Mapping[str, Plan]) -> list[Weights]:
    """Return the weights in what a file holds, once for each variant that fits.

    The number of classes may be any. If the file says which variant it is, that is the only one,
    unless it is not in `plans`.

    Raises
    ------
    CheckpointError
        What the file says of its weights is damaged.
    """
    claimed, layouts, plans = _claims(content, plans)
    # Where minidl wrote a state dict, the weights may be its own.
    elsewhere = content.kind != "minidl" and not claimed.variant
    usual = USUAL_PREPROCESSING if elsewhere else {} if claimed.input_scale else _TRAINED_WITH
    found = []
    for variant, plan in plans.items():
        for arrays in from_keys(claimed.arrays, variant, plan, layouts):
            fits = shaped(arrays, plan)
            if fits is not None:
                known = claimed.preprocessing or usual.get(variant)
                given = claimed.options if variant == claimed.variant else {}
                weights = claimed._replace(
                    variant=variant, arrays=fits, preprocessing=known, options=given
                )
                if weights.classes is not None and len(weights.classes) != weights.num_classes:
                    raise CheckpointError(
                        f"{content.path!r} is damaged: it names {len(weights.classes)} classes, "
                        f"and its network has {weights.num_classes}"
                    )
                found.append(weights)
                break
    return found


def _claims(
    content: Content, plans: Mapping[str, Plan]
) -> tuple[Weights, Sequence[str], Mapping[str, Plan]]:
    """Return what a file says of its weights, the layouts that may fit them, and the plans.

    The variant is "" if the file names none; otherwise it is the only plan, if it is among `plans`.
    """
    value, said = content.value, content.metadata.get("variant", "")
    options, preprocessing = _json(content, "options", {}), _preprocessing(content)
    classes, scale = _json(content, "classes"), content.metadata.get("input_scale")
    layouts: Sequence[str] = ("rows",)
    run = None
    if isinstance(value, Net):
        arrays, said, preprocessing = _from_caffe(value), _caffe_variant(value), CAFFE
    elif tensorflow := _from_tensorflow(value):
        arrays, said, preprocessing = tensorflow, "caffe", CAFFE
    else:
        arrays, layouts = _state_dict(value), LAYOUTS
        if isinstance(value, RowNet):
            name, scale = (vars(value).get(key) for key in ("variant", "input_scale"))
            said = name if isinstance(name, str) else ""
        known = value.get("options") if isinstance(value, dict) else None
        if isinstance(known, dict) and isinstance(known.get("variant"), str):
            run, said, options = known, known["variant"], _options_of_run(known)
            classes, scale = run.get("classes"), run.get("input_scale")
    classes = _names(content, classes)
    if not isinstance(options, dict):
        raise CheckpointError(f"{content.path!r} is damaged: options: expected a dict")
    if scale is not None and not (isinstance(scale, str) and scale in _SCALES):
        raise CheckpointError(f"{content.path!r} is damaged: input_scale: expected {_SCALES}")
    if said in plans:
        plans = {said: plans[said]}
        if options:
            try:
                plans = {said: plan_of_file(said, options)}
            except ArgumentError as error:
                reason = f"{content.path!r} names impossible options: {error}"
                raise CheckpointError(reason) from error
        if run is not None:
            preprocessing = _preprocessing_of_run(content, plans[said])
    about = {key: text for key, text in content.metadata.items() if key not in _FACTS}
    return Weights(said, arrays, preprocessing, options, classes, scale, about), layouts, plans


def _preprocessing(content: Content) -> Preprocessing | None:
    if "preprocessing" not in content.metadata:
        return None
    try:
        return Preprocessing.from_dict(_json(content, "preprocessing"))
    except ArgumentError as error:
        raise CheckpointError(f"{content.path!r} is damaged: {error}") from error


def _preprocessing_of_run(content: Content, plan: Plan) -> Preprocessing | None:
    """Return how a training run prepared pictures, which its initial values decided."""
    state: dict[str, Any] = content.value
    run = state["options"]
    try:
        if run.get("preprocessing"):
            return Preprocessing.from_dict(run["preprocessing"])
        if "pictures" not in state or run["variant"] not in VARIANTS:
            return None
        init = run.get("init") or VARIANTS[run["variant"]].init
        scale = PRESETS[init].input_scale if init != "torch" else "normalized"
        return alexnet_preprocessing(plan.input_size[-1], scale, statistics_of(state, content.path))
    except (ArgumentError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{content.path!r} is damaged: {error}") from error


def statistics_of(state: Any, path: str | os.PathLike[str]) -> PixelStatistics | None:
    """Return the statistics of a run's training pictures, if its checkpoint holds some.

    Parameters
    ----------
    state : object
        What the checkpoint holds.
    path : str or path-like
        Where it is, for the error.

    Raises
    ------
    CheckpointError
        The statistics are damaged.
    """
    pictures = state.get("pictures") if isinstance(state, dict) else None
    known = pictures.get("statistics") if isinstance(pictures, dict) else None
    try:
        return None if known is None else PixelStatistics.from_fields(known)
    except DataError as error:
        raise CheckpointError(f"{os.fspath(path)!r} is damaged: statistics: {error}") from error


def _names(content: Content, given: Any) -> list[str] | None:
    """Return the classes' names that a file holds."""
    if given is not None and not (
        isinstance(given, list) and all(isinstance(name, str) for name in given)
    ):
        raise CheckpointError(f"{content.path!r} is damaged: classes: expected a list of names")
    return given


def _json(content: Content, key: str, default: Any = None) -> Any:
    try:
        return json.loads(content.metadata[key]) if key in content.metadata else default
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{content.path!r} is damaged: {key}: {error}") from error


def _options_of_run(run: dict[str, Any]) -> Any:
    """Return the arguments of ``alexnet`` that a run's settings hold, if not the defaults."""
    options, dropout = run.get("network"), run.get("dropout", 0.5)
    options = {} if options is None else options
    without = run["variant"] not in VARIANTS  # a network without dropout
    if isinstance(dropout, (int, float)) and (without or dropout == 0.5):
        return options
    return {**options, "dropout": dropout} if isinstance(options, dict) else options


def _state_dict(value: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict or Module, alone or in a checkpoint."""
    for _ in range(4):  # not for ever: a checkpoint may hold itself
        if isinstance(value, dict):
            inside = (value.get(key) for key in _AROUND)
            value = next((item for item in inside if isinstance(item, (dict, Module))), value)
    value = value.state_dict() if isinstance(value, Module) else value
    arrays: dict[str, np.ndarray] = {}
    for key, item in value.items() if isinstance(value, dict) else ():
        array = as_array(item)
        if isinstance(key, str) and array is not None:
            arrays[".".join(part for part in key.split(".") if part not in _DROPPED)] = array
    return arrays


def _from_tensorflow(value: Any) -> dict[str, np.ndarray] | None:
    """Return the arrays of {"conv1": [weight, bias]}, or None for anything else."""
    if not isinstance(value, dict) or not value:
        return None
    arrays: dict[str, np.ndarray] = {}
    channels: int | None = None
    for row, pair in value.items():
        row = row.decode("latin-1") if isinstance(row, bytes) else row
        pair = list(pair.values()) if isinstance(pair, dict) else pair
        given = [as_array(item) for item in pair] if isinstance(pair, (list, tuple)) else []
        by_rank = {array.ndim: array for array in given if array is not None}
        weight = by_rank.get(4, by_rank.get(2))
        if not isinstance(row, str) or len(given) != 2 or weight is None or 1 not in by_rank:
            return None
        arrays[f"{row}.weight"], arrays[f"{row}.bias"] = weight, by_rank[1]
    for name in sorted(name for name in arrays if name.endswith(".weight")):
        array = arrays[name]
        if array.ndim == 4:
            arrays[name], channels = array.transpose(3, 2, 0, 1), array.shape[3]
        else:
            side = math.isqrt(len(array) // channels) if channels else 0
            if channels and 0 < side**2 * channels == len(array):  # (height, width, channel)
                maps = array.reshape(side, side, channels, -1).transpose(2, 0, 1, 3)
                array = maps.reshape(array.shape)
            arrays[name], channels = array.T, None
    return arrays


def _from_caffe(net: Net) -> dict[str, np.ndarray]:
    """Return the arrays of Caffe's layers as "conv1.weight", ..., "fc8.bias", in order."""
    weighted = [layer for layer in net.layers if layer.blobs]
    arrays = {}
    for number, layer in enumerate(weighted, 1):
        kind = "fc" if layer.type == "InnerProduct" else "conv"
        for blob, name in zip(layer.blobs, ("weight", "bias"), strict=False):
            axes = 1 if name == "bias" else 2 if kind == "fc" else 4
            if math.prod(blob.shape[:-axes]) == 1:
                blob = blob.reshape(blob.shape[-axes:])
            arrays[f"{kind}{number}.{name}"] = blob
    return arrays


def _caffe_variant(net: Net) -> str:
    order = [layer.type for layer in net.layers if layer.type in ("LRN", "Pooling")]
    return "caffenet" if order[:1] == ["Pooling"] else "caffe"
