"""The exercises of page 14_precision, solved without the library."""

import numpy as np


def stable_norm(x):
    largest = np.abs(x).max()
    return float(largest * np.sqrt(((x / largest) ** 2).sum())) if largest else 0.0


def variance(x):
    return float(((x - x.mean()) ** 2).mean())


def mean_of_halves(x):
    return float(x.astype(np.float64).mean())
