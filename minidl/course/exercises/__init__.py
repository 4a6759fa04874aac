"""The exercises of all pages; ``pNN_name.py`` has those of page ``NN_name``."""

from __future__ import annotations

from importlib import import_module

from ...errors import ArgumentError
from ..judging import Exercise

__all__ = ["PAGES", "exercises"]

#: The pages and their titles, in order.
PAGES = {
    "01_gradcheck": "Is the gradient right? Differences",
    "02_tape": "The tape: in which order gradients flow",
    "03_linear": "The linear layer",
    "04_activations": "ReLU, tanh and the slope",
    "05_cross_entropy": "Softmax and cross-entropy",
    "06_im2col": "Windows as columns: im2col",
    "07_convolution": "Convolution, and its gradient",
    "08_pooling": "Max-pooling: where does a gradient go?",
    "09_response_norm": "Local response normalization",
    "10_dropout": "Dropout",
    "11_initialization": "Initial values, and the collapse",
    "12_step": "The step: momentum and decay",
    "13_speed": "Speed",
    "14_precision": "Precision",
    "15_data_and_gpu": "Pictures, randomness, and the GPU's view",
    "16_own_layer": "A layer of your own",
}


def exercises(page: str) -> tuple[Exercise, ...]:
    """Return a page's exercises.

    Parameters
    ----------
    page : str
        A key of ``PAGES``.

    Raises
    ------
    ArgumentError
        There is no such page.

    Examples
    --------
    >>> [exercise.name for exercise in exercises("08_pooling")][:2]
    ['maxpool', 'maxpool_backward']
    """
    if page not in PAGES:
        raise ArgumentError(f"page: expected one of {', '.join(PAGES)}, got {page!r}")
    try:
        module = import_module(f".p{page}", __name__)
    except ModuleNotFoundError:  # a page without exercises
        return ()
    return tuple(module.EXERCISES)
