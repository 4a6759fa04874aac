"""All networks of this folder by the names of their variants."""

from __future__ import annotations

import os
from typing import Any

from ...errors import ArgumentError
from .alexnet import alexnet
from .cuda_convnet import VARIANTS as CONVNETS
from .cuda_convnet import cuda_convnet
from .cuda_convnet import plan as plan_of_convnet
from .lenet import lenet5
from .lenet import plan as plan_of_lenet
from .options import plan_of
from .rows import Plan, RowNet
from .variants import VARIANTS
from .variants import plan as plan_of_alexnet


def plans(variant: str | None = None, **options: Any) -> dict[str, Plan]:
    """Return the plans of all variants, or of one, with their usual number of classes.

    Parameters
    ----------
    variant : str, optional
    **options
        For one variant: of :func:`alexnet`, :func:`cuda_convnet` or :func:`lenet5`.

    Raises
    ------
    ArgumentError
        The variant is unknown.
    """
    found = {name: plan_of_alexnet(name) for name in VARIANTS}
    found |= {name: plan_of_convnet(name) for name in CONVNETS}
    found["lenet5"] = plan_of_lenet()
    if variant is None:
        return found
    if variant not in found:
        raise ArgumentError(f"variant: expected one of {list(found)}, got {variant!r}")
    if options:
        return {variant: plan_of(variant, options)}
    return {variant: found[variant]}


def make_network(variant: str, num_classes: int, **options: Any) -> RowNet:
    """Make any of the networks.

    Parameters
    ----------
    variant : str
        "paper", ..., "80sec", ... or "lenet5".
    num_classes : int
    **options
        For :func:`alexnet`, :func:`cuda_convnet` or :func:`lenet5`.

    Raises
    ------
    ArgumentError
        The variant is unknown.
    """
    if variant in VARIANTS:
        return alexnet(variant, num_classes, **options)
    if variant in CONVNETS:
        return cuda_convnet(variant, num_classes, **options)
    plans(variant)
    return lenet5(num_classes, **options)


def load_network(path: str | os.PathLike[str], variant: str | None = None) -> RowNet:
    """Make the network whose weights a file holds.

    Parameters
    ----------
    path : str or path-like
        A file in any layout that :mod:`minidl.vision.weights` describes, or a run's folder; or
        "80sec", "18pct" or "13pct", networks trained on CIFAR-10 that come with the library.
    variant : str, optional
        Default: the variant that the file names, or the only one that fits.

    Returns
    -------
    RowNet
        In evaluation mode, with as many classes as the file has. Its ``preprocessing`` says how
        pictures were prepared for these weights, if that is known.

    Raises
    ------
    CheckpointError
        The file is missing or damaged, fits no variant, or several.
    ArgumentError
        The variant is unknown.

    Examples
    --------
    >>> import os, tempfile, minidl
    >>> from minidl.vision.models import lenet5, load_network
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "net.safetensors")
    >>> minidl.save(lenet5(num_classes=3).state_dict(), path)
    >>> load_network(path).variant
    'lenet5'
    >>> folder.cleanup()
    """
    from ..weights.layouts import read_weights  # which needs this package's tables

    weights = read_weights(path, plans(variant))
    net = make_network(weights.variant, weights.num_classes, **weights.options)
    weights.fill(net)
    return net.eval()
