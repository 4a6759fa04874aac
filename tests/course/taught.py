"""Planted bugs in what the course teaches, by page: ``python tests/mutations.py --course``."""

from __future__ import annotations

#: By page, the names of bugs in ``tests/planted_bugs`` that its judge or the page must notice. Left
#: out is what no page speaks of: several runs of a thread, GPUs, fused layers, other layers.
TAUGHT = {
    "01_gradcheck": [
        "gradcheck: compares with half a difference",
    ],
    "02_tape": [
        "autograd: the walk takes the earliest node first",
        "ops: a gradient is not summed over broadcast axes of length 1",
    ],
    "03_linear": [
        "linear: the bias gradient is the mean over the batch",
        "plain code: the bias of a linear layer sees the first sample alone",
    ],
    "04_activations": [
        "relu: the gradient passes where the output is 0",
        "plain code: ReLU passes the gradient where its output is 0",
        "plain code: tanh's slope lacks the square",
    ],
    "05_cross_entropy": [
        "softmax: the maximum is not subtracted first",
        "loss: the gradient of the mean is that of the sum",
        "loss: an ignored label is counted",
        "loss: the plain code counts an ignored label",
        "loss: the mean divides by N, not by the weights",
        "loss: with smoothing, the mean divides by N, not by the weights",
        "loss: the gradient of class probabilities lacks the smoothing",
        "loss: the gradient of a mean difference is that of the sum",
        "plain code: cross-entropy's gradient lacks the truth",
    ],
    "06_im2col": [
        "col2im: overwrites instead of adding",
    ],
    "07_convolution": [
        "conv: the bias gradient is not summed over the batch",
        "conv: the bias is added to the first window only",
        "conv: groups swapped",
        "conv: the kernel is not flipped in the input's gradient",
        "conv: the buffer's border keeps old numbers",
        "conv: the weight's gradient omits a lane",
        "conv: padding in the columns of few windows keeps old numbers",
        "conv: few windows see the first group's channels",
        "conv: a band of rows reads from the image's top",
        "im2col: windows at the wrong dilation",
        "plain code: the weights' gradient of a convolution forgets the groups' order",
    ],
    "08_pooling": [
        "pool: overlapping windows overwrite each other's gradient",
        "pool: a tie goes to every maximum",
        "pool: a tie goes to the last maximum",
        "pool: pixels that no window covers are uninitialized",
        "pool: gradients of the padding reach the image",
        "pool: padding is 0",
        "pool: the columns' phases are mixed up",
        "pool: a later row's place is that of the first row",
        "pool: the window is one row short",
        "pool: NaN gets the place of the first number",
        "pool: an entry of minus infinity counts as padding",
        "pool: the overhang of ceil_mode counts in the average",
        "pool: the plain code's padding counts as an entry of minus infinity",
        "pool: the plain code loses NaN's place",
        "pool: the plain average counts padding always",
        "plain code: max-pooling hands on gradients of 1",
    ],
    "09_response_norm": [
        "lrn: the cross term of the gradient is dropped",
        "lrn: the window misses its last channel",
        "lrn: a window of even size is mirrored",
        "lrn: the backward's window is not mirrored",
        "lrn: alpha is not divided by the size",
        "lrn: the plain code's gradient does not mirror the window",
        "plain code: LRN's gradient has no cross term",
    ],
    "10_dropout": [
        "dropout: the backward uses another mask",
        "dropout: kept with probability p",
        "dropout: every block of the mask equals the first",
        "dropout: the plain code reads the high half of a word first",
        "plain code: dropout's gradient is not scaled",
    ],
    "12_step": [
        "sgd: the momentum has the wrong sign",
        "sgd: the paper's weight decay forgets the rate",
    ],
    "13_speed": [
        "winograd: the input's gradient uses unflipped kernels",
        "winograd: one axis reads windows of the wrong stride",
    ],
}

#: One for most pages: every run of the tests plants them, and asks the judge alone.
IN_EVERY_RUN = [
    "linear: the bias gradient is the mean over the batch",
    "relu: the gradient passes where the output is 0",
    "loss: the gradient of the mean is that of the sum",
    "col2im: overwrites instead of adding",
    "conv: the kernel is not flipped in the input's gradient",
    "pool: overlapping windows overwrite each other's gradient",
    "pool: a tie goes to every maximum",
    "lrn: the cross term of the gradient is dropped",
    "lrn: the backward's window is not mirrored",
    "sgd: the paper's weight decay forgets the rate",
]
