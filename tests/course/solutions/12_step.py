"""The exercises of page 12_step, solved without the library."""

import numpy as np


def sgd_torch(w, grads, rates, momentum, decay):
    velocity = np.zeros_like(w)
    for gradient, rate in zip(grads, rates, strict=True):
        velocity = momentum * velocity + gradient + decay * w
        w = w - rate * velocity
    return w


def sgd_paper(w, grads, rates, momentum, decay):
    velocity = np.zeros_like(w)
    for gradient, rate in zip(grads, rates, strict=True):
        velocity = momentum * velocity - decay * rate * w - rate * gradient
        w = w + velocity
    return w


def drops(errors, rate, patience):
    rates, lowest, waiting = [], np.inf, 0
    for error in errors:
        rates.append(rate)
        waiting = 0 if error < lowest else waiting + 1
        lowest = min(lowest, error)
        if waiting == patience:
            rate, waiting = rate / 10, 0
    return rates
