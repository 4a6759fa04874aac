"""Bugs to plant in losses: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: the gradient of the mean loss is that of the sum",
        "minidl/kernels/cuda/losses.cuh:reaches",
        "return mean ? own / totals[1] : own;",
        "return own;",
        "tests/nn/test_cross_entropy.py::test_gradient_is_probability_minus_truth_over_n",
        "gpu",
    ),
    (
        "gpu: the loss subtracts 1 from the wrong class",
        "minidl/kernels/cuda/cross_entropy.cu:q_of",
        "T(c == label)",
        "T(c == label + 1)",
        "tests/nn/test_cross_entropy.py::test_cross_entropy",
        "gpu",
    ),
    (
        "loss: an ignored label is counted",
        "minidl.kernels.cpu.labels:labels_of",
        "target != ignore_index",
        "target != -100",
        "tests/nn/test_cross_entropy.py::test_ignored_labels",
    ),
    (
        "loss: the plain code counts an ignored label",
        "minidl.nn.cross_entropy:weights",
        "target != ignore_index",
        "target != -100",
        "tests/nn/test_cross_entropy.py::test_ignored_labels",
    ),
    (
        "loss: the mean divides by N, not by the weights",
        "minidl.kernels.cpu.labels:Labels.total",
        "self.weights.sum()",
        "len(self.classes)",
        "tests/nn/test_cross_entropy.py::test_ignored_labels_do_not_count_in_the_mean",
    ),
    (
        "loss: with smoothing, the mean divides by N, not by the weights",
        "minidl.nn.cross_entropy:weights",
        "(w * p).sum()",
        "p.sum()",
        "tests/nn/test_cross_entropy.py::test_cross_entropy",
    ),
    (
        "loss: the gradient reads labels changed since the forward",
        "minidl.kernels.cpu.labels:labels_of",
        "target.astype(np.intp)",
        "target",
        "tests/nn/test_cross_entropy.py::test_labels_may_change_after_the_forward",
    ),
    (
        "loss: an ignored label with probability 0 gives NaN",
        "minidl.kernels.cpu.labels:losses_of",
        "np.where(labels.weights == 0, losses.dtype.type(0), losses)",
        "losses",
        "tests/nn/test_cross_entropy.py::test_what_does_not_count_may_be_impossible",
    ),
    (
        "loss: label smoothing spreads over the other classes only",
        "minidl.nn.cross_entropy:weights",
        "smoothing / classes",
        "smoothing / max(classes - 1, 1)",
        "tests/nn/test_cross_entropy.py::test_cross_entropy",
    ),
    (
        "loss: the gradient of class probabilities lacks the smoothing",
        "minidl.nn.cross_entropy:target_backward",
        "1 - smoothing",
        "1",
        "tests/nn/test_cross_entropy.py::test_gradcheck_of_class_probabilities",
    ),
    (
        "loss: the gradient of the mean is that of the sum",
        "minidl.kernels.cpu.labels:gradient_of_losses",
        "flat / divisor",
        "flat",
        "tests/nn/test_cross_entropy.py::test_gradient_is_probability_minus_truth_over_n",
    ),
    (
        "loss: the gradient of a mean difference is that of the sum",
        "minidl.nn.reduction:gradient_of_losses",
        "grad / divisor",
        "grad",
        "tests/nn/test_regression_loss.py::TestSmoothL1Loss",
    ),
    (
        "loss: the gradient with respect to binary targets forgets pos_weight",
        "minidl.nn.binary_cross_entropy:logits_backward",
        "(c - 1) * softplus - x",
        "-x",
        "tests/nn/test_binary_cross_entropy.py::TestBCEWithLogits",
    ),
]
