"""Looking into a network: the activations of each layer for a picture, saliency, Grad-CAM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ... import nn
from ...autograd import enable_grad, no_grad
from ...errors import ShapeError
from ...nn import Module
from ...nn.module import in_evaluation
from ...tensor import Tensor, tensor
from .canvas import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["activations", "grad_cam", "plot_activations", "plot_saliency", "saliency"]


def activations(model: Module, images: Tensor) -> dict[str, Tensor]:
    """Return the output of every layer for a batch of images.

    Parameters
    ----------
    model : Module
        It is in evaluation mode meanwhile. A hook on each layer keeps layers from being fused, so
        the output of a convolution is its own and not that of the ReLU after it.
    images : Tensor, shape (N, C, H, W)

    Returns
    -------
    dict of str to Tensor
        By the layers' names, in the order in which they ran.

    Examples
    --------
    >>> import minidl
    >>> net = minidl.nn.Sequential(minidl.nn.Conv2d(3, 4, 3), minidl.nn.ReLU(inplace=True))
    >>> {name: tuple(out.shape) for name, out in activations(net, minidl.ones(1, 3, 8, 8)).items()}
    {'0': (1, 4, 6, 6), '1': (1, 4, 6, 6)}
    """
    found: dict[str, Tensor] = {}
    leaves = {n: m for n, m in model.named_modules() if not any(True for _ in m.children())}
    handles = [
        layer.register_forward_hook(
            lambda _, __, output, name=name: found.__setitem__(name, output.detach().clone())
        )
        for name, layer in leaves.items()
    ]
    with in_evaluation(model, *handles), no_grad():
        model(images)
    return found


def plot_activations(model: Module, image: Tensor, maps: int = 12) -> Figure:
    """Draw the strongest maps of each convolution, after its ReLU, and the units of the others.

    Parameters
    ----------
    model : Module
        Such as an AlexNet.
    image : Tensor, shape (1, C, H, W)
    maps : int, default 12
        Number of maps of each layer, those with the largest activations. Each has its own scale.

    Returns
    -------
    matplotlib.figure.Figure
    """
    outputs = activations(model, image)
    kinds = {name: type(layer) for name, layer in model.named_modules()}
    weighted = (nn.Conv2d, nn.LocallyConnected2d, nn.Linear)
    order = [name for name in outputs if not issubclass(kinds[name], nn.Dropout | nn.Flatten)]
    drawn: list[tuple[str, np.ndarray]] = []
    rows: Iterator[str] = iter(getattr(model, "named_rows", dict)())
    for place, name in enumerate(order):
        if not issubclass(kinds[name], weighted):
            continue
        after = order[place + 1] if place + 1 < len(order) else name
        shown = after if issubclass(kinds[after], nn.ReLU | nn.Tanh) else name
        drawn.append((next(rows, name), outputs[shown][0].float().cpu().numpy()))
    sheet = Sheet(0.7 + maps, 1.15 * len(drawn))
    for row, (name, values) in enumerate(drawn):
        y = 1.15 * row
        sheet.text(0.35, y + 0.62, name, fontsize=10)
        if values.ndim == 3 and values.shape[1] > 1:
            best = np.argsort(-values.max(axis=(1, 2)), kind="stable")[:maps]
            for column, channel in enumerate(best):
                sheet.picture(0.72 + column, y + 0.2, 0.9, values[channel])
                sheet.text(0.72 + column + 0.45, y + 0.11, f"{channel}", fontsize=7)
            continue
        units = values.ravel()
        low, high = min(0.0, float(units.min())), max(0.0, float(units.max())) or 1.0
        x = 0.72 + (np.arange(units.size) + 0.5) * (maps - 0.1) / units.size
        base, tops = (y + 1.1 - 0.9 * (value - low) / (high - low) for value in (0.0, units))
        width = max(0.5, min(8.0, 300 / units.size))
        sheet.axes.vlines(x, base, tops, linewidth=width, color="#2c7fb8")
        sheet.text(0.72, y + 0.11, f"{units.size} units", ha="left", fontsize=7)
    return sheet.done()


def saliency(model: Module, image: Tensor, label: int) -> np.ndarray:
    """Return how much each pixel of an image could change a class's score.

    Parameters
    ----------
    model : Module
    image : Tensor, shape (1, C, H, W)
    label : int
        The class.

    Returns
    -------
    ndarray, shape (H, W)
        The largest absolute gradient among the pixel's channels.

    Notes
    -----
    Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks (2013), section 3.
    """
    wanted = image.detach().clone().requires_grad_()
    _backward(model, wanted, label)
    return np.abs(_numpy(wanted.grad)[0]).max(axis=0)


def grad_cam(model: Module, image: Tensor, label: int) -> np.ndarray:
    """Return where the last convolution's maps, after their ReLU, speak for a class.

    Parameters
    ----------
    model : Module
        With at least one convolution.
    image : Tensor, shape (1, C, H, W)
    label : int
        The class.

    Returns
    -------
    ndarray, shape (h, w)
        0 or more, as large as the last convolution's maps: the maps' sum, each weighted by the mean
        gradient of the class's score over the map; negative sums count as 0.

    Raises
    ------
    ShapeError
        The network has no convolution whose maps are larger than one pixel.

    Notes
    -----
    Selvaraju et al.: Grad-CAM (2017), equations 1 and 2.
    """
    kept: list[Tensor] = []
    kinds = (nn.Conv2d, nn.LocallyConnected2d, nn.ReLU, nn.Tanh)

    def keep(_: Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if output.ndim != 4 or output.shape[-1] == 1:
            return None
        output.retain_grad()
        kept.append(output)
        return output * 1.0  # a ReLU in place behind it must not change what is kept

    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    with in_evaluation(model, *handles):
        _backward(model, image.detach().clone().requires_grad_(), label)
    if not kept:
        raise ShapeError(f"grad_cam: {type(model).__name__} has no convolution with maps")
    maps, gradient = _numpy(kept[-1])[0], _numpy(kept[-1].grad)[0]
    weights = gradient.mean(axis=(1, 2))
    return np.maximum(np.tensordot(weights, maps, axes=1), 0)


def _backward(model: Module, image: Tensor, label: int) -> None:
    """Differentiate a class's score, and leave the parameters' gradients as they were."""
    learned = [p for p in model.parameters() if p.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        with in_evaluation(model), enable_grad():
            model(image)[0, label].backward()
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)


def _numpy(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    return np.asarray(tensor.detach().cpu().numpy())


def plot_saliency(
    model: Module, picture: np.ndarray, image: Tensor, label: int, name: str
) -> Figure:
    """Draw a picture, its saliency map, and its Grad-CAM map laid over it.

    Parameters
    ----------
    model : Module
    picture : ndarray of uint8, shape (H, W, 3)
        The picture as people see it.
    image : Tensor, shape (1, C, H, W)
        The same picture as the network's input.
    label : int
        The class whose score is explained.
    name : str
        The class's name.

    Returns
    -------
    matplotlib.figure.Figure
    """
    pixels, cam = saliency(model, image, label), grad_cam(model, image, label)
    larger = tensor(cam[None, None].astype(np.float32))
    overlay = nn.functional.interpolate(
        larger, size=picture.shape[:2], mode="bilinear", align_corners=False
    ).numpy()[0, 0]
    titles = ("the picture", f"saliency for “{name}”", f"Grad-CAM for “{name}”")
    sheet = Sheet(9.9, 3.6)
    for number, (title, shown) in enumerate(zip(titles, (picture, pixels, picture), strict=True)):
        sheet.text(3.3 * number + 1.65, 0.18, title, fontsize=10)
        sheet.picture(3.3 * number + 0.1, 0.35, 3.1, shown)
    sheet.axes.imshow(
        overlay, extent=(6.7, 9.8, 3.45, 0.35), aspect="auto", cmap="inferno", alpha=0.55
    )
    return sheet.done()
