"""Other implementations of the mistakes on page 03_linear."""

import numpy as np


def _loops(x, weight, bias):
    y = np.zeros((len(x), len(weight)))
    for n, o in np.ndindex(y.shape):
        y[n, o] = sum(x[n, i] * weight[o, i] for i in range(x.shape[1])) + bias[n, o]
    return y


def _down(x, weight, bias):
    b = np.empty((len(x), len(weight)))
    try:
        b.T[:] = bias
    except ValueError:
        b[:] = bias
    return _loops(x, weight, b)


def _einsum(dx="no,oi->ni", dw="no,ni->oi", db="no->o"):
    def backward(dy, x, weight):
        return np.einsum(dx, dy, weight), np.einsum(dw, dy, x), np.einsum(db, dy)

    return backward


def _one_sample(dy, x, weight):
    dx, dw, _ = _einsum()(dy, x, weight)
    return dx, dw, dy[0, :].copy()


def _total(dy, x, weight):
    dx, dw, db = _einsum()(dy, x, weight)
    return dx, dw, db * 0 + db.sum()


def _divided(dw=1, db=1):
    def backward(dy, x, weight):
        grads = _einsum()(dy, x, weight)
        return grads[0], grads[1] / len(dy) ** dw, grads[2] / len(dy) ** db

    return backward


def _without_x(dy, x, weight):
    dx, dw, db = _einsum()(dy, x, weight)
    return dx, np.repeat(db[:, None], x.shape[1], 1), db


def _outer(dy, x, other):
    return np.array([np.outer(dy[n], x[other(n)]) for n in range(len(x))])


PARAPHRASES = {
    "linear": {
        "weight not transposed": [lambda x, w, b: np.einsum("ni,io->no", x, w) + b],
        "no bias": [lambda x, w, b: _loops(x, w, np.zeros((len(x), len(w))))],
        "bias subtracted": [lambda x, w, b: _loops(x, w, -np.array([b] * len(x)))],
        "bias by sample": [_down],
        "bias weighted": [lambda x, w, b: np.dot(x, w.T) + w.sum(1)],
    },
    "linear_backward": {
        "x's gradient by the transpose": [_einsum(dx="no,io->ni")],
        "weight's gradient transposed": [_einsum(dw="no,ni->io")],
        "bias of one sample": [_one_sample],
        "bias not summed": [_einsum(db="no->no")],
        "bias summed over everything": [_total],
        "bias is the mean": [_divided(dw=0)],
        "mean over the batch": [_divided()],
        "weight's gradient ignores x": [_without_x],
    },
    "weight_gradients": {
        "all samples get the sum": [
            lambda dy, x: np.broadcast_to(np.einsum("no,ni->oi", dy, x),
                                          (len(x), dy.shape[1], x.shape[1]))
        ],
        "the mean's share": [lambda dy, x: _outer(dy / len(dy), x, lambda n: n)],
        "transposed": [lambda dy, x: np.einsum("no,ni->nio", dy, x)],
        "products of different samples": [lambda dy, x: _outer(dy, x, lambda n: -1 - n)],
        "sum and not product": [
            lambda dy, x: np.stack([np.add.outer(a, b) for a, b in zip(dy, x, strict=True)])
        ],
    },
}  # fmt: skip
