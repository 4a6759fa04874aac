"""Other implementations of the mistakes on page 14_precision."""

import math

import numpy as np


def _by(scale, x):
    with np.errstate(all="ignore"):
        return np.linalg.norm((x / scale).ravel())


PARAPHRASES = {
    "stable_norm": {
        "squares at once": [lambda x: math.sqrt(sum(float(v) * float(v) for v in x.flat))],
        "0 / 0": [lambda x: max(abs(x.ravel())) * _by(max(abs(x.ravel())), x)],
        "largest without its sign": [
            lambda x: max(x.ravel()) * _by(max(x.ravel()), x) if max(x.ravel()) else 0.0
        ],
        "not scaled back": [lambda x: _by(abs(x).max(), x) if np.count_nonzero(x) else 0.0],
        "sum of absolute values": [lambda x: sum(abs(v) for v in x.flat)],
        "a fixed factor": [lambda x: float(np.sqrt(np.sum(np.square(x * 1e-100)))) * 1e100],
    },
    "variance": {
        "mean of squares less square of mean": [
            lambda x: sum(v * v for v in x) / len(x) - (sum(x) / len(x)) ** 2
        ],
        "N - 1": [lambda x: x.var(ddof=1)],
        "standard deviation": [lambda x: x.std()],
        "mean square": [lambda x: np.dot(x, x) / len(x)],
        "absolute distances": [lambda x: sum(abs(x - x.mean())) / len(x)],
        "in float32": [lambda x: float(np.var(x.astype("f4")))],
    },
    "mean_of_halves": {
        "one by one in float16": [lambda x: float(np.cumsum(x)[-1]) / len(x)],
        "sum in float16": [lambda x: np.float64(np.add.reduce(x)) / len(x)],
        "answer in float16": [lambda x: np.float16(x.astype(np.float32).sum() / len(x))],
        "divided first, in float16": [
            lambda x: math.fsum(float(v / np.float16(len(x))) for v in x)
        ],
        "divided by a length in float16": [
            lambda x: math.fsum(x) / float(np.asarray(len(x), x.dtype))
        ],
        "sum": [lambda x: math.fsum(x)],
    },
}
