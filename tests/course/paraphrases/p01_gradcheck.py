"""Other implementations of the mistakes on page 01_gradcheck."""

import numpy as np


def _columns(f, x, eps, above, below, width):
    """Return the Jacobian from two points for each unit vector."""
    x = np.asarray(x, float)
    steps = np.eye(x.size).reshape(x.size, *x.shape) * eps
    return np.array(
        [(f(x + above * e).ravel() - f(x + below * e).ravel()) / (width * eps) for e in steps]
    ).T


def _drifting(f, x, eps):
    flat, columns = np.array(x, float).ravel(), []
    for j in range(flat.size):
        flat[j] += eps
        above = f(flat.reshape(x.shape).copy())
        flat[j] -= 2 * eps
        columns.append((above - f(flat.reshape(x.shape).copy())).ravel() / (2 * eps))
    return np.array(columns).T


def _same_dtype(f, x, eps):
    jacobian = np.zeros((f(x).size, x.size))
    for j in range(x.size):
        up, down = np.array(x), np.array(x)
        up.flat[j] = up.flat[j] + eps
        down.flat[j] = down.flat[j] - eps
        jacobian[:, j] = (f(up).ravel() - f(down).ravel()) / (eps * 2)
    return jacobian


def _together(f, x, eps):
    slope = (f(x + eps) - f(x - eps)) / (eps + eps)
    return np.outer(slope.ravel(), np.ones(x.size))


def _single(f, x, eps):
    def g(a):
        return np.float32(f(np.float32(a)))

    return _columns(g, x, eps, 1, -1, 2)


def _with_warnings_off(divide):
    def error(a, b):
        with np.errstate(all="ignore"):
            return divide(a, b)

    return error


def _loss(forward, x, dy):
    return float((dy * forward(x)).sum())


def _slopes(forward, x, dy, eps):
    unit = np.eye(x.size)
    return np.array(
        [(_loss(forward, x + eps * e, dy) - _loss(forward, x - eps * e, dy)) / 2 / eps
         for e in unit]
    )  # fmt: skip


def _sum_probe(forward, backward, x, dy, eps, tolerance):
    dy = dy * 0 + 1
    return np.max(abs(backward(dy, x) - _slopes(forward, x, dy, eps))) <= tolerance


def _first(forward, backward, x, dy, eps, tolerance):
    return bool(np.isclose(backward(dy, x)[0], _slopes(forward, x, dy, eps)[0], 0, tolerance))


def _total(forward, backward, x, dy, eps, tolerance):
    return bool(np.isclose(backward(dy, x).sum(), _slopes(forward, x, dy, eps).sum(), 0, tolerance))


def _average(forward, backward, x, dy, eps, tolerance):
    error = 0.0
    for a, b in zip(backward(dy, x), _slopes(forward, x, dy, eps), strict=True):
        error += abs(a - b)
    return error / x.size <= tolerance


def _signed(forward, backward, x, dy, eps, tolerance):
    return bool((backward(dy, x) - _slopes(forward, x, dy, eps)).max() <= tolerance)


def _close(forward, backward, x, dy, eps, tolerance):
    slopes = _slopes(forward, x, dy, eps)
    return np.allclose(backward(dy, x), slopes, rtol=tolerance, atol=tolerance)


def _forward_difference(forward, backward, x, dy, eps, tolerance):
    here, slopes = _loss(forward, x, dy), np.empty(x.shape)
    for i in np.ndindex(x.shape):
        moved = x.copy()
        moved[i] += eps
        slopes[i] = (_loss(forward, moved, dy) - here) / eps
    return np.max(np.abs(slopes - backward(dy, x))) <= tolerance


def _all_together(forward, backward, x, dy, eps, tolerance):
    up, down = forward(x + eps), forward(x - eps)
    return bool((np.abs((up - down) / (2 * eps) * dy - backward(dy, x)) <= tolerance).all())


def _blind(forward, backward, x, dy, eps, tolerance):
    for a, b in zip(backward(dy, x), _slopes(forward, x, dy, eps), strict=True):
        if abs(a - b) > tolerance:
            return False
    return True


PARAPHRASES = {
    "numerical_jacobian": {
        "one-sided": [
            lambda f, x, eps: _columns(f, x, eps, 1, 0, 1),
        ],
        "divided by eps": [lambda f, x, eps: _columns(f, x, eps, 1, -1, 1)],
        "not restored": [_drifting],
        "transposed": [lambda f, x, eps: _columns(f, x, eps, 1, -1, 2).T],
        "all inputs at once": [_together],
        "keeps integers": [_same_dtype],
        "float32": [_single],
    },
    "relative_error": {
        "absolute": [lambda a, b: max(abs(x - y) for x, y in zip(a.flat, b.flat, strict=True))],
        "mean": [lambda a, b: (abs(a - b) / np.maximum(abs(a) + abs(b), 1e-300)).sum() / a.size],
        "0 / 0": [_with_warnings_off(lambda a, b: (abs(a - b) / (abs(a) + abs(b))).max())],
        "no absolute value": [
            lambda a, b: ((a - b) / np.maximum(abs(a) + abs(b), 1e-300)).max(),
        ],
        "signs cancel below": [
            _with_warnings_off(lambda a, b: np.nanmax(abs((a - b) / (a + b)))),
        ],
        "of the norms": [lambda a, b: abs(a - b).max() / np.max(abs(a) + abs(b))],
    },
    "backward_is_right": {
        "a loss that is the sum": [_sum_probe],
        "first entry only": [_first],
        "sum of the errors": [_total],
        "mean error": [_average],
        "no absolute value": [_signed],
        "NaN passes": [_blind],
        "relative": [_close],
        "one-sided": [_forward_difference],
        "one number for one": [_all_together],
    },
}
