"""Other implementations of the mistakes on page 10_dropout."""

import numpy as np


def _loop(x, u, p, training, keep, factor, at_test=lambda value, p: value):
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        if not training:
            y[index] = at_test(x[index], p)
        else:
            y[index] = x[index] * factor if keep(u[index], p) else 0.0
    return y


def _masked(x, u, p, factor):
    y = x.copy()
    y[u < p] = 0
    return y * factor


def _rows(x, u, p, training):
    return (
        np.stack([row / (1 - p) if v[0] >= p else 0 * row for row, v in zip(x, u, strict=True)])
        if training
        else x
    )


def _new_mask(dy, x, u, p):
    mask = np.random.default_rng(0).random(dy.shape) >= p
    return np.where(mask, dy, 0) / (1 - p)


def _from_output(dy, x, u, p):
    y = _masked(x, u, p, 1 / (1 - p))
    dx = dy / (1 - p)
    dx[y == 0] = 0
    return dx


def kept(u, p):
    return u >= p


def dropped(u, p):
    return u < p


PARAPHRASES = {
    "dropout": {
        "scaled by 1 / p": [lambda x, u, p, t: _loop(x, u, p, t, kept, 1 / p if p else 1)],
        "drops at u = p, too": [
            lambda x, u, p, t: np.where(u <= p, 0.0, x / (1 - p)) if t else x.copy()
        ],
        "not scaled": [lambda x, u, p, t: _masked(x, u, p, 1) if t else x],
        "form of 2012": [lambda x, u, p, t: _masked(x, u, p, 1) if t else x - p * x],
        "keeps with probability p": [lambda x, u, p, t: _loop(x, u, p, t, dropped, 1 / (1 - p))],
        "keeps and scales with p": [lambda x, u, p, t: _loop(x, u, p, t, dropped, 1 / (p or 1))],
        "drops at test": [lambda x, u, p, t: _masked(x, u, p, 1 / (1 - p))],
        "scaled at test, too": [
            lambda x, u, p, t: _loop(x, u, p, t, kept, 1 / (1 - p), lambda v, p: v - v * p)
        ],
        "scaled by 1 - p": [lambda x, u, p, t: _masked(x, u, p, 1 - p) if t else x],
        "one number for a row": [_rows],
    },
    "dropout_backward": {
        "no mask": [lambda dy, x, u, p: dy * (1 / (1 - p))],
        "no scale": [lambda dy, x, u, p: _masked(dy, u, p, 1)],
        "a new mask": [_new_mask],
        "mask from the output": [_from_output],
        "kept and dropped exchanged": [
            lambda dy, x, u, p: dy / (1 - p) - _masked(dy, u, p, 1 / (1 - p))
        ],
        "scaled by 1 / p": [lambda dy, x, u, p: _masked(dy, u, p, 1 / p)],
        "times x": [lambda dy, x, u, p: _masked(dy * x, u, p, 1 / (1 - p))],
    },
    "plain_to_inverted": {
        "divides": [lambda w, b, p: (w * (1 / (1 - p)), b)],
        "bias, too": [lambda w, b, p: (w - p * w, b - p * b)],
        "times p": [lambda w, b, p: (p * w, b + 0)],
        "nothing": [lambda w, b, p: (w.copy(), b.copy())],
    },
}
