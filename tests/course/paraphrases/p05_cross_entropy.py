"""Other implementations of the mistakes on page 05_cross_entropy."""

import numpy as np


def _rows(z, shift):
    """Return log-softmax row by row, with a shift."""
    with np.errstate(all="ignore"):
        return np.array([row - shift(row, z) - np.log(np.exp(row - shift(row, z)).sum())
                         for row in z])  # fmt: skip


def _log(z):
    return _rows(z, lambda row, z: row.max())


def _soft(z):
    return np.exp(_log(z))


def _half_shifted(z):
    e = np.exp(z - z.max(axis=1)[:, None])
    return z - np.log(np.sum(e, axis=1))[:, None]


def _counted(reduce):
    def loss(z, target):
        p = _log(z)
        with np.errstate(all="ignore"):
            return reduce([p[n, c] for n, c in enumerate(target)], z.shape[1])

    return loss


def _minus_one(z, target):
    dz = _soft(z)
    for n, c in enumerate(target):
        dz[n, c] -= 1
    return dz


def _true_only(z, target):
    full, dz = _minus_one(z, target), np.zeros_like(z)
    for n, c in enumerate(target):
        dz[n, c] = full[n, c] / len(z)
    return dz


def _pairs(z, target):
    dz = _soft(z)
    for n in range(len(z)):
        for c in set(target.tolist()):
            dz[n, c] -= 1
    return dz / len(z)


def _quotient(z):
    with np.errstate(all="ignore"):
        return np.exp(z) / np.exp(z).sum(1)[:, None]


def _inverse(z, target):
    dz = np.zeros_like(z)
    with np.errstate(all="ignore"):
        for n, c in enumerate(target):
            dz[n, c] = -1 / (len(z) * _soft(z)[n, c])
    return dz


PARAPHRASES = {
    "log_softmax": {
        "no shift": [lambda z: _rows(z, lambda row, z: 0)],
        "largest of the whole array": [lambda z: _rows(z, lambda row, z: np.max(z))],
        "0 in the maximum": [lambda z: _rows(z, lambda row, z: max(0, *row))],
        "mean taken away": [lambda z: _rows(z, lambda row, z: sum(row) / len(row))],
        "logarithm of a softmax": [lambda z: np.log(_soft(z))],
        "over the batch": [lambda z: _log(z.T).T],
        "over everything": [lambda z: _log(z.reshape(1, -1)).reshape(z.shape)],
        "softmax": [_soft],
        "shift not undone": [_half_shifted],
        "mean for sum": [
            lambda z: z - z.max(1)[:, None]
            - np.log(np.exp(z - z.max(1)[:, None]).mean(1))[:, None]
        ],
    },
    "cross_entropy": {
        "sum": [_counted(lambda p, c: -sum(p))],
        "divided by the classes, too": [_counted(lambda p, c: -np.mean(p) / c)],
        "sign": [_counted(lambda p, c: sum(p) / len(p))],
        "logarithm of a softmax": [
            _counted(lambda p, c: np.mean([-np.log(np.exp(value)) for value in p]))
        ],
        "saved by a small number": [
            _counted(lambda p, c: np.mean([-np.log(np.exp(value) + 1e-9) for value in p]))
        ],
        "all pairs": [
            lambda z, target: -np.mean([[_log(z)[n, c] for c in target] for n in range(len(z))])
        ],
        "the score alone": [
            lambda z, target: -sum(z[n, c] for n, c in enumerate(target)) / len(z)
        ],
        "probability": [_counted(lambda p, c: -np.exp(p).sum() / len(p))],
        "base 2": [_counted(lambda p, c: -sum(p) / len(p) * np.log2(np.e))],
    },
    "cross_entropy_backward": {
        "not divided": [_minus_one],
        "divided twice": [lambda z, target: _minus_one(z, target) / len(z) / len(target)],
        "divided by the classes": [lambda z, target: _minus_one(z, target) / np.prod(z.shape)],
        "sign": [lambda z, target: -_minus_one(z, target) / len(z)],
        "true class alone": [_true_only],
        "softmax alone": [lambda z, target: _soft(z) / len(target)],
        "all pairs": [_pairs],
        "no shift": [
            lambda z, target: (_quotient(z) - np.eye(z.shape[1])[target]) / z.shape[0]
        ],
        "gradient of the probabilities": [_inverse],
    },
}  # fmt: skip
