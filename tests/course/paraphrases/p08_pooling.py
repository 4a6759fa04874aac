"""Other implementations of the mistakes on page 08_pooling."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _views(x, kernel, stride):
    """Return the windows (N, C, OH, OW, kernel²) and, for each output, the places of its window."""
    view = sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    return view.reshape(*view.shape[:4], -1)


def _places(x, kernel, stride, index):
    """Return the indices into x of a number in each window."""
    n, c, i, j = np.indices(index.shape)
    return n, c, i * stride + index // kernel, j * stride + index % kernel


def fancy_assignment(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    dx[_places(x, kernel, stride, _views(x, kernel, stride).argmax(-1))] = dy
    return dx


def fancy_plus(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    dx[_places(x, kernel, stride, _views(x, kernel, stride).argmax(-1))] += dy  # once per index
    return dx


def _loop(dy, x, kernel, stride, send):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dy.shape):
        top, left = i * stride, j * stride
        window = x[n, c, top : top + kernel, left : left + kernel]
        send(dx[n, c, top : top + kernel, left : left + kernel], window, dy[n, c, i, j])
    return dx


def _add_to_ties(dx, window, g):
    dx[window == window.max()] += g


def _set_ties(dx, window, g):
    dx[window == window.max()] = g


def _add_shared(dx, window, g):
    dx += np.where(window == window.max(), g, 0) / (window == window.max()).sum()


def _greater_or_equal(dx, window, g):
    best, place = -np.inf, (0, 0)
    for a, b in np.ndindex(window.shape):
        if window[a, b] >= best:
            best, place = window[a, b], (a, b)
    dx[place] += g


def _count(dx, window, g):
    dx[np.unravel_index(window.argmax(), window.shape)] += 1


def _mean_of_wins(dy, x, kernel, stride):
    places = _places(x, kernel, stride, _views(x, kernel, stride).argmax(-1))
    total, wins = np.zeros_like(x), np.zeros_like(x)
    np.add.at(total, places, dy)
    np.add.at(wins, places, 1)
    return np.divide(total, wins, out=total, where=wins > 0)


def _tile(dy, x, kernel, stride, factor):
    dx = np.zeros_like(x)
    height, width = dy.shape[2:]
    for a, b in np.ndindex(kernel, kernel):
        dx[:, :, a : a + height * stride : stride, b : b + width * stride : stride] += dy * factor
    return dx


def _tile_set(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for i, j in np.ndindex(dy.shape[2:]):
        top, left = i * stride, j * stride
        part = np.repeat(dy[:, :, i, j], kernel**2).reshape(*dy.shape[:2], kernel, kernel)
        dx[:, :, top : top + kernel, left : left + kernel] = part / kernel**2
    return dx


def _zero_padded(x, kernel, stride):
    height, width = ((side - kernel + stride - 1) // stride + 1 for side in x.shape[2:])
    need = (height - 1) * stride + kernel, (width - 1) * stride + kernel
    padded = np.full((*x.shape[:2], *need), -np.inf)
    padded[:, :, : x.shape[2], : x.shape[3]] = x
    return _views(padded, kernel, stride).max(-1)


PARAPHRASES = {
    "maxpool": {
        "starts from 0": [lambda x, k, s: np.maximum(_views(x, k, s).max(-1), 0)],
        "largest over channels": [
            lambda x, k, s: np.broadcast_to(
                _views(x, k, s).max((1, 4), keepdims=True)[..., 0], _views(x, k, s).shape[:4]
            )
        ],
        "largest over the batch": [
            lambda x, k, s: np.stack([_views(x, k, s).max(-1).max(0)] * len(x))
        ],
        "mean": [lambda x, k, s: _views(x, k, s).sum(-1) / k**2],
        "rounds up": [_zero_padded],
        "absolute values": [lambda x, k, s: _views(np.abs(x), k, s).max(-1)],
    },
    "maxpool_backward": {
        "overwrites": [fancy_assignment, fancy_plus],
        "all ties": [lambda *given: _loop(*given, _add_to_ties)],
        "all ties, overwrites": [lambda *given: _loop(*given, _set_ties)],
        "shares ties": [lambda *given: _loop(*given, _add_shared)],
        "last of ties": [lambda *given: _loop(*given, _greater_or_equal)],
        "ignores dy": [lambda *given: _loop(*given, _count)],
        "average": [lambda dy, x, k, s: _tile(dy, x, k, s, 1 / k / k)],
        "whole window": [lambda dy, x, k, s: _tile(dy, x, k, s, 1)],
        "mean of wins": [_mean_of_wins],
    },
    "avgpool_backward": {
        "not divided": [lambda dy, x, k, s: _tile(dy, x, k, s, 1)],
        "divided by the side": [lambda dy, x, k, s: _tile(dy / k, x, k, s, 1)],
        "divided by the stride": [lambda dy, x, k, s: _tile(dy, x, k, s, 1 / (s * s))],
        "overwrites": [_tile_set],
        "maximum": [lambda *given: _loop(*given, _add_to_ties)],
    },
}
