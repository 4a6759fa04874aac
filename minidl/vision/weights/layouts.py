"""Which array of a file belongs to which layer.

Inside minidl a network's parameters are called by its rows: "conv1.weight", ..., "fc8.bias", with
the shapes of its own layers. Each layout below brings a file to these names:

- *PyTorch's layouts*: the keys of a state dict are a variant's own (``features.conv1.weight``),
  numbered as in torchvision (``features.0.weight``), numbered through (``AlexNet_model.0.weight``,
  any name before the number), or the rows' names. ``module.`` (DataParallel) and
  ``_orig_mod.`` (compile) are dropped. A training checkpoint around the state dict is taken off.
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
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError, CheckpointError, DataError
from ...tensor import Tensor
from ..models.cuda_convnet import VARIANTS as CONVNETS
from ..models.cuda_convnet import plan as plan_of_convnet
from ..models.presets import PRESETS
from ..models.rows import Plan, RowNet, parameter_shapes, skeleton
from ..models.variants import VARIANTS, named, numbered, one_sequential
from ..models.variants import plan as plan_of_alexnet
from ..statistics import PixelStatistics
from ..transforms.preprocessing import CAFFE, TORCHVISION, Preprocessing
from ..transforms.presets import alexnet_preprocessing
from .caffe_file import Net
from .files import Content, as_array, read

_AROUND = ("state_dict", "model", "model_state_dict", "net", "weights")
_DROPPED = {"module", "_orig_mod"}
_TRAINED_WITH = {"torchvision": TORCHVISION, "single-tower": TORCHVISION}


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
    """

    variant: str
    arrays: dict[str, np.ndarray]
    preprocessing: Preprocessing | None
    options: dict[str, Any]
    classes: list[str] | None = None

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
        if self.preprocessing is not None:
            net.input_scale = "normalized" if self.preprocessing.white == 1 else "pixels"


def row_keys(variant: str, plan: Plan, layout: str) -> dict[str, str]:
    """Return the keys of a state dict by rows: {"conv1.weight": "features.0.weight", ...}.

    Parameters
    ----------
    variant : str
    plan : Plan
    layout : {"minidl", "torchvision", "sequential", "rows"}
        The variant's own keys; numbered in ``features`` and ``classifier``; numbered through, with
        nothing before the numbers; or the rows themselves.
    """
    stages, weighted = skeleton(plan)
    own = VARIANTS[variant].layout if variant in VARIANTS else named
    if layout == "rows":
        return {name: name for name in parameter_shapes(plan)}
    arrange = {"minidl": own, "torchvision": numbered, "sequential": one_sequential}[layout]
    places = {id(layer): row for row, layer in weighted.items()}
    keys = {}
    for child, module in arrange(stages).items():
        for path, layer in module.named_modules():
            if id(layer) in places:
                prefix = "" if layout == "sequential" else f"{child}."
                for kind in ("weight", "bias"):
                    keys[f"{places[id(layer)]}.{kind}"] = f"{prefix}{path}.{kind}"
    return keys


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
        raise CheckpointError(f"{content.path!r}: {_why_not(content, plans)}")
    if len(found) > 1:
        names = ", ".join(weights.variant for weights in found)
        raise CheckpointError(f"{content.path!r} fits several variants; name one: {names}")
    return found[0]


def fitting(content: Content, plans: Mapping[str, Plan]) -> list[Weights]:
    """Return the weights in what a file holds, once for each variant that fits.

    The number of classes may be any. If the file says which variant it is, that is the only one,
    unless it is not in `plans`.
    """
    value, said, options = content.value, content.metadata.get("variant"), {}
    preprocessing, classes, of_run = _preprocessing(content), None, False
    if "classes" in content.metadata:
        classes = _names(content, _json(content, "classes"))
    if isinstance(value, Net):
        rows, said, preprocessing = _from_caffe(value), _caffe_variant(value), CAFFE
    elif tensorflow := _from_tensorflow(value):
        rows, said, preprocessing = tensorflow, "caffe", CAFFE
    else:
        rows, run = None, value.get("options") if isinstance(value, dict) else None
        value = _state_dict(value)
        if isinstance(run, dict) and isinstance(run.get("variant"), str):
            said, options = run["variant"], _options_of_run(run)
            classes, of_run = _names(content, run.get("classes")), True
        elif "options" in content.metadata:
            options = _json(content, "options")
            if not isinstance(options, dict):
                raise CheckpointError(f"{content.path!r} is damaged: options: {options!r}")
    if options and said in plans and (said in VARIANTS or said in CONVNETS):
        try:
            made = (plan_of_alexnet if said in VARIANTS else plan_of_convnet)(said, **options)
            parameter_shapes(made)
            plans = {**plans, said: made}
        except (ArgumentError, ArithmeticError, AttributeError, TypeError) as error:
            raise CheckpointError(f"{content.path!r} names impossible options: {error}") from error
    if of_run and said is not None and said in plans:
        preprocessing = _preprocessing_of_run(content, plans[said])
    found = []
    for variant in plans if said is None or said not in plans else (said,):
        candidates = [rows] if rows else _from_keys(value, variant, plans[variant])
        for arrays in candidates:
            fits = _shaped(arrays, plans[variant])
            if fits is not None:
                known = preprocessing or _TRAINED_WITH.get(variant)
                given = options if variant == said else {}
                found.append(Weights(variant, fits, known, given, classes))
                break
    return found


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


def _json(content: Content, key: str) -> Any:
    try:
        return json.loads(content.metadata[key])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{content.path!r} is damaged: {key}: {error}") from error


def _options_of_run(run: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``alexnet`` that a run's settings hold, if not the defaults."""
    network = run.get("network") or {}
    options = dict(network) if isinstance(network, dict) else {}
    if run.get("dropout", 0.5) != 0.5:
        options["dropout"] = run["dropout"]
    return options


def _state_dict(value: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict, alone or in a checkpoint."""
    arrays: dict[str, np.ndarray] = {}
    if not isinstance(value, dict):
        return arrays
    for _ in range(4):  # not for ever: a checkpoint may hold itself
        value = next((value[key] for key in _AROUND if isinstance(value.get(key), dict)), value)
    for key, item in value.items():
        array = as_array(item)
        if isinstance(key, str) and array is not None:
            arrays[".".join(part for part in key.split(".") if part not in _DROPPED)] = array
    return arrays


def _from_keys(
    arrays: dict[str, np.ndarray], variant: str, plan: Plan
) -> Iterable[dict[str, np.ndarray]]:
    """Yield the arrays under the names of rows, for each layout whose keys these are."""
    through = {".".join(key.split(".")[-2:]): array for key, array in arrays.items()}
    for layout in ("minidl", "torchvision", "sequential", "rows"):
        names = row_keys(variant, plan, layout)
        given = through if layout == "sequential" else arrays
        if len(given) == len(arrays) and set(names.values()) == set(given):
            yield {name: given[key] for name, key in names.items()}


def _from_tensorflow(value: Any) -> dict[str, np.ndarray] | None:
    """Return the arrays of {"conv1": [weight, bias]}, or None for anything else."""
    if not isinstance(value, dict) or not value:
        return None
    arrays: dict[str, np.ndarray] = {}
    channels = None
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
            if channels and side**2 * channels == len(array):  # (height, width, channel) in front
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


def _shaped(arrays: dict[str, np.ndarray], plan: Plan) -> dict[str, np.ndarray] | None:
    """Return the arrays in the rows' order if they fit the plan, with any number of classes."""
    last = f"{plan.rows[-1].name}.bias"
    if last not in arrays or arrays[last].ndim != 1 or not arrays[last].size:
        return None
    rows = (*plan.rows[:-1], plan.rows[-1]._replace(outputs=len(arrays[last])))
    shapes = parameter_shapes(replace(plan, rows=rows))
    if {name: array.shape for name, array in arrays.items()} != shapes:
        return None
    floats = all(array.dtype.kind == "f" for array in arrays.values())
    return {name: arrays[name] for name in shapes} if floats else None


def _why_not(content: Content, plans: Mapping[str, Plan]) -> str:
    """Return why no variant fits, in a sentence."""
    if isinstance(content.value, Net):
        arrays = _from_caffe(content.value)
    else:
        arrays = _from_tensorflow(content.value) or _state_dict(content.value)
    if not arrays:
        return "it holds no weights of a network, by name"
    first = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:3])
    return f"its {len(arrays)} arrays ({first}, ...) do not fit {', '.join(plans)}"
