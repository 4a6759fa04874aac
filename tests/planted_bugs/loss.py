"""Bugs to plant in losses: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "gpu: the gradient of the mean loss is that of the sum",
        "minidl.nn.loss:cuda.reaches",
        "return mean ? own / totals[1] : own;",
        "return own;",
        "tests/nn/test_loss.py::test_gradient_is_probability_minus_truth_over_n",
        "gpu",
    ),
    (
        "gpu: the loss subtracts 1 from the wrong class",
        "minidl.nn.loss:cuda.q_of",
        "T(c == label)",
        "T(c == label + 1)",
        "tests/nn/test_loss.py::test_cross_entropy",
        "gpu",
    ),
    (
        "loss: an ignored label counts",
        "minidl.nn.loss:_labels",
        "target != ignore_index",
        "target != -100",
        "tests/nn/test_loss.py::test_ignored_labels",
    ),
    (
        "loss: the mean divides by N, not by the weights",
        "minidl.nn.loss:CrossEntropyFunction.forward",
        "ctx.labels.total()",
        "len(flat)",
        "tests/nn/test_loss.py::test_ignored_labels_do_not_count_in_the_mean",
    ),
    (
        "loss: with smoothing, the mean divides by N, not by the weights",
        "minidl.nn.loss:_spread",
        "labels.total()",
        "n",
        "tests/nn/test_loss.py::test_cross_entropy",
    ),
    (
        "loss: the gradient is that of the labels as they are later",
        "minidl.nn.loss:_labels",
        "target.astype(np.intp)",
        "target",
        "tests/nn/test_loss.py::test_labels_may_change_after_the_forward",
    ),
    (
        "loss: a label that does not count and has probability 0 gives NaN",
        "minidl.nn.loss:_losses_of",
        "array_module(losses).where(labels.weights == 0, losses.dtype.type(0), losses)",
        "losses",
        "tests/nn/test_loss.py::test_what_does_not_count_may_be_impossible",
    ),
    (
        "loss: label smoothing spreads over the other classes only",
        "minidl.nn.loss:_spread",
        "x.dtype.type(smoothing / classes)",
        "x.dtype.type(smoothing / max(classes - 1, 1))",
        "tests/nn/test_loss.py::test_cross_entropy",
    ),
    (
        "loss: class probabilities are not smoothed",
        "minidl.nn.loss:_spread",
        "target.astype(x.dtype) * (1 - smoothing) + smoothing / classes",
        "target.astype(x.dtype)",
        "tests/nn/test_loss.py::test_cross_entropy",
    ),
    (
        "loss: the gradient of the mean is that of the sum",
        "minidl.nn.loss:_per_sample",
        "_number(divisor, grad.dtype)",
        "1",
        "tests/nn/test_loss.py::test_gradient_is_probability_minus_truth_over_n",
    ),
]
