"""Elementwise rules on many arrays at once, such as an optimizer's step on all parameters.

A rule makes five to ten passes over parameter, gradient and state. AlexNet has 61 million
parameters: passes over whole arrays would fetch every byte from memory each time. So the arrays
are cut into pieces of :data:`PIECE` elements, which stay in a core's cache from the first pass to
the last, and the pieces run on all threads. The cuts depend on the shapes alone.

A piece is a flat run of the *parameter's* memory, whatever the order of its axes there. State has
the parameter's order. A gradient in another order (a convolution's often is) is copied piece by
piece into the thread's scratch memory. A small parameter is one piece as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...device import Array
from ..updates import Update
from .lanes import parallel
from .memory import scratch

#: Elements updated at a time: they fit in the cache, yet outweigh the cost of starting a piece.
PIECE = 1 << 17

#: Elements that a thread takes at a time. Below this total, the calling thread does everything.
TASK = 1 << 19


@np.errstate(all="ignore")  # infinity and NaN are results, as IEEE 754 defines them
def update(rule: Callable[..., None], updates: Sequence[Update]) -> None:
    """Apply a rule to every parameter, in place.

    Parameters
    ----------
    rule : callable
        ``rule(param, grad, state, numbers)`` changes `param` and `state`, arrays of one shape, and
        leaves `grad` alone. It must be elementwise, so that every cut gives the same bits.
    updates : sequence of Update
    """
    copies: list[tuple[Array, Array]] = []
    task: list[Update] = []
    tasks, filled = [task], 0
    for whole in updates:
        small = whole.param.size <= PIECE and whole.param.ndim
        for piece in (whole,) if small else _pieces(whole, copies):
            if filled >= TASK:
                task, filled = [], 0
                tasks.append(task)
            task.append(piece)
            filled += piece.param.size

    def run(task: list[Update]) -> None:
        for param, grad, state, numbers in task:
            if grad.shape != param.shape:  # in another order than the parameter
                other, grad = grad, scratch("optim.grad", param.shape, param.dtype)
                np.copyto(grad.reshape(other.shape), other, casting="same_kind")
            rule(param, grad, state, numbers)

    if len(tasks) == 1:
        run(tasks[0])  # without BLAS
    else:
        parallel(run, tasks)
    for array, copy in copies:
        array[...] = copy.reshape(array.shape)


def _pieces(update: Update, copies: list[tuple[Array, Array]]) -> Iterator[Update]:
    """Cut an update into runs of the parameter's memory.

    An array to be changed that is not one run of memory is replaced by a copy; `copies` gets the
    pair, to be written back at the end.
    """
    param, grad, state, numbers = update
    if not param.flags.c_contiguous:
        strides = param.strides
        order = sorted(range(param.ndim), key=lambda axis: -abs(strides[axis]))
        param, grad = param.transpose(order), grad.transpose(order)
        state = tuple(array.transpose(order) for array in state)

    def run_of(array: Array) -> Array:
        if array.flags.c_contiguous:
            return array.reshape(-1)
        copy = np.ascontiguousarray(array).reshape(-1)
        copies.append((array, copy))
        return copy

    length = len(param) if param.ndim else 1
    flat_param = run_of(param)
    flat_state = tuple([run_of(array) for array in state])
    if grad.flags.c_contiguous:
        grad, step, width = grad.reshape(-1), PIECE, 1
        length = flat_param.size
    else:  # whole rows, to be copied; a vector gets a second axis, which tells it from a run
        grad = grad[:, None] if grad.ndim == 1 else grad
        width = flat_param.size // length
        step = max(1, PIECE // width)
    if length <= step:
        if length:
            yield Update(flat_param, grad, flat_state, numbers)
        return
    for start in range(0, length, step):
        cut = slice(start * width, (start + step) * width)
        yield Update(
            flat_param[cut],
            grad[start : start + step],
            tuple([array[cut] for array in flat_state]),
            numbers,
        )
