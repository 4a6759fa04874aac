"""Other implementations of the mistakes on page 07_convolution."""

import numpy as np


def _conv(x, weight, stride, padding, read=lambda a, b, k: (a, b), channel=lambda c: c, last=None):
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    kernel = weight.shape[2]
    high, wide = ((side - kernel) // stride + 1 for side in x.shape[2:])
    y = np.zeros((len(x), len(weight), high, wide))
    for c in range(last or x.shape[1]):
        for a, b in np.ndindex(kernel, kernel):
            w = weight[:, channel(c)][(slice(None), *read(a, b, kernel))]
            part = x[:, c, a : a + stride * high : stride, b : b + stride * wide : stride]
            y += w[:, None, None] * part[:, None, :high, :wide]
    return y


def _back(a, b, k):
    return k - 1 - a, k - 1 - b


def _crossed(a, b, k):
    return b, a


def _quarter(a, b, k):
    """Return where np.rot90 takes (a, b) from."""
    return b, k - 1 - a


def _assigned(columns, height, width, kernel, stride, order=1, mean=False):
    """Put windows into an image, the last or the first one to stay."""
    image = np.zeros((*columns.shape[:2], height, width))
    high, wide = columns.shape[4:]
    for i in list(range(high))[::order]:
        for j in list(range(wide))[::order]:
            for a, b in np.ndindex(kernel, kernel):
                image[:, :, i * stride + a, j * stride + b] = columns[:, :, a, b, i, j]
    return image


def _added(columns, height, width, kernel, stride, read=lambda a, b, k: (a, b), step=None):
    image = np.zeros((*columns.shape[:2], height, width))
    high, wide = columns.shape[4:]
    step = step or stride
    for a, b in np.ndindex(kernel, kernel):
        part = image[:, :, a : a + step * high : step, b : b + step * wide : step]
        part += columns[(slice(None), slice(None), *read(a, b, kernel))]
    return image


def _averaged(columns, height, width, kernel, stride):
    counts = _added(np.ones_like(columns), height, width, kernel, stride)
    image = _added(columns, height, width, kernel, stride)
    return np.divide(image, counts, out=np.zeros_like(image), where=counts > 0)


def _side_by_side(columns, height, width, kernel, stride):
    image = np.zeros((*columns.shape[:2], height, width))
    for i, j in np.ndindex(columns.shape[4:]):
        for a, b in np.ndindex(kernel, kernel):
            if i * kernel + a < height and j * kernel + b < width:
                image[:, :, i * kernel + a, j * kernel + b] = columns[:, :, a, b, i, j]
    return image


def _weight(dy, x, kernel, stride, read=lambda a, b, k: (a, b), step=None):
    dw = np.zeros((dy.shape[1], x.shape[1], kernel, kernel))
    step = step or stride
    for a, b in np.ndindex(kernel, kernel):
        seen = x[:, :, a : a + step * dy.shape[2] : step, b : b + step * dy.shape[3] : step]
        dw[(slice(None), slice(None), *read(a, b, kernel))] = np.tensordot(
            dy, seen, ((0, 2, 3), (0, 2, 3))
        )
    return dw


def _columns(dy, weight):
    return np.tensordot(weight, dy, (0, 1)).transpose(3, 0, 1, 2, 4, 5)


def _input(read=lambda a, b, k: (a, b), step=None):
    def backward(dy, weight, height, width, stride):
        columns = _columns(dy, weight)
        return _added(columns, height, width, weight.shape[2], stride, read, step)

    return backward


def _slid(dy, weight, height, width, stride):
    """Slide the kernel over dy with gaps, without reading it backwards."""
    n, o, high, wide = dy.shape
    k = weight.shape[2]
    wider = np.zeros((n, o, height + k - 1, width + k - 1))
    wider[:, :, k - 1 : k - 1 + stride * high : stride, k - 1 : k - 1 + stride * wide : stride] = dy
    return _conv(wider, weight.swapaxes(0, 1), 1, 0)


def _equal_channels(dy, weight, height, width, stride):
    dx = _input()(dy, weight, height, width, stride)
    return np.broadcast_to(dx.mean(1, keepdims=True), dx.shape)


def _pointwise(seen):
    """Return a convolution in which filter o sees the channels seen(o, channels, filters, g)."""

    def conv(x, weight, groups):
        y = [
            np.tensordot(x[:, seen(o, x.shape[1], len(weight), groups)], weight[o, :, 0, 0], (1, 0))
            for o in range(len(weight))
        ]
        return np.stack(y, 1)

    return conv


def _block(group, channels, groups):
    return list(range(group * channels // groups, (group + 1) * channels // groups))


def _sum_of_groups(x, weight, groups):
    folded = sum(np.split(x, groups, axis=1))
    return np.einsum("nchw,oc->nohw", folded, weight[:, :, 0, 0])


PARAPHRASES = {
    "conv": {
        "kernel turned by 180°": [lambda x, w, s, p: _conv(x, w, s, p, _back)],
        "kernel transposed": [lambda x, w, s, p: _conv(x, w, s, p, _crossed)],
        "one channel": [lambda x, w, s, p: _conv(x, w, s, p, last=1)],
        "one kernel for all channels": [
            lambda x, w, s, p: _conv(x, w, s, p, channel=lambda c: 0),
            lambda x, w, s, p: _conv(x.sum(1, keepdims=True), w, s, p),
        ],
        "padding lost": [lambda x, w, s, p: _conv(x, w, s, 0)],
        "stride lost": [lambda x, w, s, p: _conv(x, w, 1, p)],
        "mean": [lambda x, w, s, p: _conv(x, w / (w.shape[1] * w.shape[2] ** 2), s, p)],
    },
    "col2im": {
        "overwrites": [_assigned],
        "the first stays": [lambda *given: _assigned(*given, order=-1)],
        "mean": [_averaged],
        "kernel transposed": [lambda *given: _added(*given, read=_crossed)],
        "windows at every pixel": [lambda *given: _added(*given, step=1)],
        "windows side by side": [_side_by_side],
    },
    "conv_weight_backward": {
        "turned by 180°": [lambda *given: _weight(*given, read=_back)],
        "kernel transposed": [lambda *given: _weight(*given, read=_crossed)],
        "filters and channels exchanged": [
            lambda *given: np.moveaxis(_weight(*given), 0, 1),
        ],
        "one image": [lambda dy, x, k, s: _weight(dy[0][None], x[0][None], k, s)],
        "mean over the batch": [lambda dy, x, k, s: _weight(dy / len(dy), x, k, s)],
        "mean over the places": [
            lambda dy, x, k, s: _weight(dy / (len(x) * dy.shape[2] * dy.shape[3]), x, k, s)
        ],
        "stride lost": [lambda *given: _weight(*given, step=1)],
        "ignores dy": [lambda dy, x, k, s: _weight(dy * 0 + 1, x, k, s)],
    },
    "conv_input_backward": {
        "the kernel is turned once too often": [_input(_back), _slid],
        "kernel turned by 90°": [_input(_quarter)],
        "kernel transposed": [_input(_crossed)],
        "overwrites": [
            lambda dy, w, h, wide, s: _assigned(_columns(dy, w), h, wide, w.shape[2], s)
        ],
        "stride lost": [_input(step=1)],
        "one filter": [
            lambda dy, w, h, wide, s: _input()(dy[:, 0:1], w[0:1], h, wide, s)
        ],
        "channels alike": [_equal_channels],
    },
    "grouped_pointwise": {
        "channels dealt out in turn": [
            _pointwise(lambda o, c, f, g: slice(o * g // f, None, g))
        ],
        "filters dealt out in turn": [_pointwise(lambda o, c, f, g: _block(o % g, c, g))],
        "always the first group": [_pointwise(lambda o, c, f, g: slice(c // g))],
        "all groups": [_sum_of_groups],
        "groups in reverse": [
            _pointwise(lambda o, c, f, g: _block(g - 1 - o * g // f, c, g))
        ],
    },
}  # fmt: skip
