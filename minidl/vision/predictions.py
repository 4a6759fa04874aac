"""What a network says of a set of pictures: probabilities, features, mistakes, ensembles."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from .. import checkpoint, distributed
from ..autograd import no_grad
from ..errors import ArgumentError, CheckpointError, ShapeError
from ..nn import Module
from ..nn.functional import softmax
from ..nn.module import in_evaluation
from ..tensor import Tensor
from .metrics import class_scores

__all__ = ["Predictions", "Recorder", "ensemble", "features", "search_weights"]


@dataclass(frozen=True)
class Predictions:
    """The probabilities of a set of pictures' classes, beside their labels.

    Attributes
    ----------
    probabilities : ndarray of float32, shape (N, classes)
    labels : ndarray of int64, shape (N,)
    classes : list of str, optional
        Their names.

    Examples
    --------
    >>> import numpy as np
    >>> found = Predictions(np.array([[0.9, 0.1], [0.8, 0.2]], np.float32), np.array([0, 1]))
    >>> found.error(), found.confusion().tolist(), found.mistakes().tolist()
    (50.0, [[1, 0], [1, 0]], [1])
    """

    probabilities: np.ndarray
    labels: np.ndarray
    classes: list[str] | None = None

    @property
    def answers(self) -> np.ndarray:
        """The most probable class of each picture; of equal ones, the first."""
        return np.asarray(self.probabilities.argmax(axis=1))

    def error(self, k: int = 1) -> float:
        """Return the top-k error in percent: the right class is not among the k most probable."""
        best = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return float(100 * (1 - (best == self.labels[:, None]).any(axis=1).mean()))

    def confusion(self) -> np.ndarray:
        """Return the number of pictures by right class (rows) and answer (columns)."""
        classes = self.probabilities.shape[1]
        pairs = self.labels * classes + self.answers
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def mistakes(self) -> np.ndarray:
        """Return the indices of wrongly classified pictures, the most confident ones first."""
        wrong = np.flatnonzero(self.answers != self.labels)
        confidence = self.probabilities[wrong].max(axis=1, initial=0)
        return wrong[np.argsort(-confidence, kind="stable")]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the predictions as a safetensors file, for :meth:`load`."""
        checkpoint.save(vars(self), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Predictions:
        """Load what :meth:`save` has saved.

        Raises
        ------
        CheckpointError
            The file can't be read, or holds no predictions.
        """
        state = checkpoint.load(path, map_location="cpu")
        try:
            probabilities, labels = map(np.asarray, (state["probabilities"], state["labels"]))
            found = cls(probabilities, labels, state.get("classes"))
            fits = found.probabilities.shape[:1] == found.labels.shape
        except (KeyError, TypeError, IndexError):
            fits = False
        if not fits or found.probabilities.ndim != 2:
            raise CheckpointError(f"{os.fspath(path)} holds no predictions (Predictions.save)")
        return found

    def fits(self, other: Predictions) -> bool:
        """Return whether `other` may be of the same pictures: their labels and classes are."""
        names = [each.classes for each in (self, other) if each.classes is not None]
        same = names[:1] == names[1:] or len(names) < 2
        shapes = self.probabilities.shape == other.probabilities.shape
        return same and shapes and np.array_equal(self.labels, other.labels)


class Recorder:
    """Collects scores and labels batch by batch; see ``record`` of ``metrics.evaluate``."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor]] = []

    def __call__(self, scores: Tensor, labels: Tensor) -> None:
        self._batches.append((softmax(scores, 1), labels))

    def predictions(self) -> Predictions:
        """Return everything recorded; on a GPU, this waits for it."""
        probabilities = np.concatenate([found.cpu().numpy() for found, _ in self._batches])
        labels = np.concatenate([labels.cpu().numpy() for _, labels in self._batches])
        return Predictions(probabilities, labels)

    def gather(self) -> None:
        """Bring the batches of all ranks, which share them, to rank 0; all ranks call this.

        Sample i of a batch comes from rank i modulo N.
        """
        own = [(scores.cpu().numpy(), labels.cpu().numpy()) for scores, labels in self._batches]
        if distributed.get_rank():
            distributed.gather_object(own)
            return
        every: list[Any] = [None] * distributed.get_world_size()
        distributed.gather_object(own, every)
        self._batches = [_interleaved(parts) for parts in zip_longest(*every)]


def _interleaved(parts: Sequence[tuple[np.ndarray, np.ndarray] | None]) -> tuple[Tensor, Tensor]:
    """Return a batch from the ranks' rows; in a short one, the last ranks have none."""
    kept = [part for part in parts if part is not None]
    joined = []
    for arrays in zip(*kept, strict=True):
        whole = np.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
        for rank, rows in enumerate(arrays):
            whole[rank :: len(parts)] = rows
        joined.append(Tensor(whole))
    return joined[0], joined[1]


def ensemble(
    members: Sequence[Predictions], weights: Sequence[float] | np.ndarray | None = None
) -> Predictions:
    """Average the probabilities of several networks, as the paper's ensembles do.

    Parameters
    ----------
    members : sequence of Predictions
        Of the same pictures in the same order.
    weights : sequence of float, optional
        One for each member, not negative; they are divided by their sum. Default: all equal.

    Raises
    ------
    ArgumentError
        There are no members, or the weights don't fit them.
    ShapeError
        The members differ in pictures or classes.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([0])
    >>> one = Predictions(np.array([[0.25, 0.75]], np.float32), labels)
    >>> two = Predictions(np.array([[0.75, 0.25]], np.float32), labels)
    >>> ensemble([one, two]).probabilities.tolist()
    [[0.5, 0.5]]
    """
    stack = _stacked(members)
    share = np.ones(len(members)) if weights is None else np.asarray(weights, np.float64)
    if share.shape != (len(members),) or not (share >= 0).all() or not 0 < share.sum() < np.inf:
        raise ArgumentError(f"ensemble: expected {len(members)} weights >= 0, got {weights}")
    mean = np.tensordot((share / share.sum()).astype(np.float32), stack, axes=1)
    return Predictions(mean, members[0].labels)


def search_weights(members: Sequence[Predictions], steps: int = 200) -> np.ndarray:
    """Search the weights with which an ensemble has the smallest log-loss.

    Parameters
    ----------
    members : sequence of Predictions
        Of validation pictures: weights that were searched on the pictures they are judged on are
        flattered.
    steps : int, default 200
        Number of steps of expectation maximization.

    Returns
    -------
    ndarray of float64, shape (members,)
        They sum to 1.

    Notes
    -----
    An average of probabilities is a mixture, and its log-likelihood is concave in the weights, so
    expectation maximization finds the best ones: each step sets a member's weight to its mean share
    of the mixture's probability of the right class.
    """
    stack = _stacked(members)
    right = stack[:, np.arange(stack.shape[1]), members[0].labels].astype(np.float64)  # (M, N)
    right = np.maximum(right, np.finfo(np.float32).tiny)
    weights = np.full(len(members), 1 / len(members))
    for _ in range(steps):
        share = weights[:, None] * right
        weights = (share / share.sum(axis=0)).mean(axis=1)
    return weights


def _stacked(members: Sequence[Predictions]) -> np.ndarray:
    """Return the members' probabilities, (M, N, classes)."""
    if not members:
        raise ArgumentError("an ensemble needs at least one member")
    for number, member in enumerate(members):
        if not member.fits(members[0]):
            raise ShapeError(
                f"member {number} of the ensemble has other pictures than member 0: expected "
                f"{members[0].probabilities.shape}, the same labels and classes, "
                f"got {member.probabilities.shape}"
            )
    return np.stack([member.probabilities for member in members])


@no_grad()
def features(model: Module, batches: Iterable[Sequence[Any]], layer: Module) -> np.ndarray:
    """Return what a layer of a network is given for each picture: its input, flattened.

    Parameters
    ----------
    model : Module
        It is in evaluation mode meanwhile.
    batches : iterable of (images, ...)
    layer : Module
        A layer in `model`; its input is recorded. AlexNet's last layer, for example, is given fc7's
        activations, in which the paper compares pictures.

    Returns
    -------
    ndarray of float32, shape (N, features)
    """
    found: list[np.ndarray] = []

    def note(_: Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0].flatten(1).float().cpu().numpy())

    device = next(model.parameters()).device
    with in_evaluation(model, layer.register_forward_pre_hook(note)):
        for images, *_ in batches:
            class_scores(model, images.to(device))
    return np.concatenate(found)
