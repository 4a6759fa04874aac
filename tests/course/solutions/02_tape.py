"""The exercises of page 02_tape, solved without the library."""


def backward(graph, output):
    order, seen = [], set()

    def visit(value):
        if value not in seen:
            seen.add(value)
            for origin, _ in graph.get(value, ()):
                visit(origin)
            order.append(value)

    visit(output)
    sums = dict.fromkeys(order, 0.0)
    sums[output] = 1.0
    for value in reversed(order):
        for origin, slope in graph.get(value, ()):
            sums[origin] += sums[value] * slope
    return sums


def unbroadcast(gradient, shape):
    gradient = gradient.sum(tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(axis for axis, length in enumerate(shape) if length == 1)
    return gradient.sum(repeated, keepdims=True)


def multiply_backward(dy, a, b):
    return unbroadcast(dy * b, a.shape), unbroadcast(dy * a, b.shape)
