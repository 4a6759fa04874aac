"""minidl.vision.predictions: errors, confusion, mistakes, ensembles, features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import ArgumentError, CheckpointError, ShapeError
from minidl.vision.metrics import evaluate
from minidl.vision.predictions import Predictions, Recorder, ensemble, features, search_weights

CHANCES = np.array(
    [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]], np.float32
)
LABELS = np.array([0, 0, 2, 1])


def test_errors_confusion_and_mistakes() -> None:
    found = Predictions(CHANCES, LABELS)
    assert found.error() == 75.0 and found.error(2) == 50.0 and found.error(3) == 0.0
    assert found.confusion().tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert found.mistakes().tolist() == [2, 1, 3]  # with 0.8, 0.5 and 0.5
    assert Predictions(CHANCES[:1], LABELS[:1]).mistakes().tolist() == []


def test_recorded_predictions_agree_with_the_evaluation() -> None:
    model, recorder = nn.Identity(), Recorder()
    scores = minidl.randn(5, 6)
    batches = [(scores[:3], minidl.tensor([0, 1, 2])), (scores[3:], minidl.tensor([3, 4]))]
    means = evaluate(model, batches, record=recorder)
    found = recorder.predictions()
    assert 100 - found.error() == pytest.approx(means["top1"])
    assert 100 - found.error(5) == pytest.approx(means["top5"])
    right = found.probabilities[np.arange(5), found.labels]
    assert -np.log(right).mean() == pytest.approx(means["loss"], rel=1e-6)


def test_saved_and_loaded(tmp_path: Path) -> None:
    Predictions(CHANCES, LABELS).save(tmp_path / "run.safetensors")
    found = Predictions.load(tmp_path / "run.safetensors")
    np.testing.assert_array_equal(found.probabilities, CHANCES)
    np.testing.assert_array_equal(found.labels, LABELS)
    for number, state in enumerate(({"labels": LABELS}, [1, 2], {"probabilities": 3, "labels": 4})):
        minidl.save(state, tmp_path / f"{number}.safetensors")
        with pytest.raises(CheckpointError, match="holds no predictions"):
            Predictions.load(tmp_path / f"{number}.safetensors")


def make_members() -> list[Predictions]:
    """Three networks that are wrong about different pictures; the last one only guesses."""
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=400)
    members = []
    for sharpness in (3.0, 2.8, 0.0):
        logits = rng.normal(size=(400, 4)) + sharpness * np.eye(4)[labels] * (sharpness > 0)
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        members.append(Predictions(chances.astype(np.float32), labels))
    return members


def log_loss(found: Predictions) -> float:
    return float(-np.log(found.probabilities[np.arange(400), found.labels]).mean())


def test_an_ensemble_has_a_lower_error_than_its_members() -> None:
    members = make_members()[:2]
    assert ensemble(members).error() < min(member.error() for member in members)


def test_searched_weights_are_the_best() -> None:
    members = make_members()
    weights = search_weights(members)
    assert weights.sum() == pytest.approx(1.0) and weights[2] < 0.05 < weights[1] < weights[0]
    best = log_loss(ensemble(members, weights))
    for a in np.linspace(0, 1, 21):
        for b in np.linspace(0, 1 - a, 21):
            # 1e-6: the probabilities are float32
            assert best <= log_loss(ensemble(members, [a, b, max(1 - a - b, 0.0)])) + 1e-6


def test_wrong_members_and_weights() -> None:
    one = Predictions(CHANCES, LABELS)
    with pytest.raises(ArgumentError, match="at least one member"):
        ensemble([])
    with pytest.raises(ShapeError, match="member 1 of the ensemble has other pictures"):
        ensemble([one, Predictions(CHANCES, LABELS[::-1])])
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(ArgumentError, match="expected 2 weights"):
            ensemble([one, one], weights)


def test_features_are_the_input_of_a_layer(device: minidl.device) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).to(device)
    images = minidl.randn(5, 1, 4, 4, device=device)
    found = features(model, [(images[:3], 0), (images[3:], 0)], model[3])
    np.testing.assert_array_equal(found, model[:3](images).detach().cpu().numpy())
    assert not model[3]._forward_pre_hooks and model.training
