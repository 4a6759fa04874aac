"""The exercises of page 05_cross_entropy, solved without the library."""

import numpy as np


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def cross_entropy(z, target):
    return -log_softmax(z)[np.arange(len(z)), target].mean()


def cross_entropy_backward(z, target):
    truth = np.eye(z.shape[1])[target]
    return (np.exp(log_softmax(z)) - truth) / len(z)
