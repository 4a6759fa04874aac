"""Other implementations of the mistakes on page 02_tape."""

import numpy as np


def _reached(graph, output):
    names, stack = [], [output]
    while stack:
        name = stack.pop()
        if name not in names:
            names.append(name)
            stack += [used for used, _ in graph.get(name, [])]
    return names


def _waiting(graph, output):
    """Yield names when all of their users have been yielded."""
    reached = _reached(graph, output)
    users = dict.fromkeys(reached, 0)
    for name in reached:
        for used, _ in graph.get(name, []):
            users[used] += 1
    ready = [output]
    while ready:
        name = ready.pop()
        yield name
        for used, _ in graph.get(name, []):
            users[used] -= 1
            if users[used] == 0:
                ready.append(used)


def _overwritten(graph, output):
    found = {output: 1.0}
    for name in _waiting(graph, output):
        for used, slope in graph.get(name, []):
            found[used] = found[name] * slope
    return found


def _recursive(graph, output):
    found = {}

    def visit(name):
        for used, slope in graph.get(name, []):
            found[used] = found.get(used, 0) + slope * found[name]
        seen = []
        for used, _ in graph.get(name, []):
            if used not in seen:
                seen.append(used)
                visit(used)

    found[output] = 1.0
    visit(output)
    return found


def _marked(graph, output):
    found, done = {output: 1.0}, set()

    def visit(name):
        done.add(name)
        for used, _ in graph.get(name, []):
            found.setdefault(used, 0.0)
        for used, slope in graph.get(name, []):
            found[used] += slope * found[name]
        for used, _ in graph.get(name, []):
            if used not in done:
                visit(used)

    visit(output)
    return found


def _queue(graph, output):
    found, queue, seen = {output: 1.0}, [output], {output}
    while queue:
        name = queue.pop(0)
        for used, slope in graph.get(name, []):
            found[used] = found.get(used, 0.0) + slope * found[name]
            if used not in seen:
                seen.add(used)
                queue.append(used)
    return found


def _as_listed(graph, output):
    found = dict.fromkeys(_reached(graph, output), 0.0)
    found[output] = 1.0
    for name, pairs in list(graph.items())[::-1]:
        if name in found:
            for used, slope in pairs:
                found[used] += slope * found[name]
    return found


def _as_a_set(graph, output):
    found = dict.fromkeys(_reached(graph, output), 0.0)
    found[output] = 1.0
    for name in _waiting(graph, output):
        for used, slope in set(graph.get(name, [])):
            found[used] += slope * found[name]
    return found


def _all(graph, output):
    found = {used: 0.0 for pairs in graph.values() for used, _ in pairs}
    found |= dict.fromkeys(graph, 0.0)
    found[output] = 1.0
    for name in _waiting(graph, output):
        for used, slope in graph.get(name, []):
            found[used] += slope * found[name]
    return found


def _lead(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient.sum(0)
    return gradient


def _ones(gradient, shape):
    for axis in range(-len(shape), 0):
        if shape[axis] == 1:
            gradient = gradient.sum(axis, keepdims=True)
    return gradient


def _left(gradient, shape):
    for axis, length in enumerate(shape):
        if length == 1:
            gradient = gradient.sum(axis, keepdims=True)
    while gradient.ndim > len(shape):
        gradient = gradient.sum(-1)
    return gradient


def _squeezed(gradient, shape):
    full = _ones(_lead(gradient, shape), shape)
    return full.reshape([n for n in shape if n != 1])


def _mean(gradient, shape):
    full = _ones(_lead(gradient, shape), shape)
    return full * full.size / gradient.size


def _one(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient[0]
    for axis, length in enumerate(shape):
        if length == 1:
            gradient = np.take(gradient, [0], axis)
    return gradient


def _fit(gradient, shape):
    return _ones(_lead(gradient, shape), shape)


PARAPHRASES = {
    "backward": {
        "overwrites": [_overwritten],
        "recursion without order": [_recursive],
        "each value once, on the first visit": [_marked],
        "breadth first": [_queue],
        "the dictionary's order": [_as_listed],
        "repeated inputs once": [_as_a_set],
        "values that were not needed": [_all],
    },
    "unbroadcast": {
        "returned as it is": [lambda gradient, shape: gradient + np.zeros(shape)],
        "leading axes only": [_lead],
        "axes of length 1 only": [_ones],
        "counted from the left": [_left],
        "axes dropped": [_squeezed],
        "mean": [_mean],
        "one copy": [_one],
    },
    "multiply_backward": {
        "own factor": [lambda dy, a, b: (_fit(a * dy, a.shape), _fit(b * dy, b.shape))],
        "ignores dy": [
            lambda dy, a, b: (
                _fit(np.ones(dy.shape) * b, a.shape),
                _fit(np.ones(dy.shape) * a, b.shape),
            )
        ],
        "rule of a sum": [lambda dy, a, b: [_fit(dy, a.shape), _fit(dy, b.shape)]],
        "not summed": [lambda dy, a, b: [np.multiply(b, dy), np.multiply(a, dy)]],
        "by division": [
            lambda dy, a, b: (_fit(dy * (a * b) / a, a.shape), _fit(dy * (a * b) / b, b.shape))
        ],
        "summed before multiplying": [
            lambda dy, a, b: (
                _fit(np.broadcast_to(b, dy.shape), a.shape) * _fit(dy, a.shape),
                _fit(np.broadcast_to(a, dy.shape), b.shape) * _fit(dy, b.shape),
            )
        ],
    },
}
