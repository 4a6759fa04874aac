"""Kernels that work on many arrays in one launch, such as all parameters of a net.

An optimizer's step changes all parameters: AlexNet has 16, from 96 numbers to 37 million. Their
addresses, sizes and numbers (the learning rate, ...) form a table that travels *by value* in the
kernel's arguments, which hold 4 KB: nothing is copied to the GPU beforehand. A block works on
:data:`CHUNK` elements of one array, so large and small arrays keep all blocks equally busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...device import Array, Device, active, cupy, device_of
from ..updates import Update
from .launch import Source

#: Elements that a block works on.
CHUNK = 1 << 14

_THREADS = 256

#: The part of a kernel's 4 KB of arguments that the table may fill.
_TABLE_BYTES = 4096 - 128


class ManySource:
    """The CUDA C source of kernels that work on many arrays in one launch.

    The source includes ``many.cuh``. In it, a ``Row`` has the members that are named here and
    ``long long size``; a kernel's first parameter is a ``Table``. A block finds its number,
    ``blockIdx.x + table.first``, its row, ``row_of(table, block)``, and its elements,
    ``FOR_EACH_OF_CHUNK(i, row, block)``. ``times(a, b)`` is a product that is never fused with a
    sum.

    Parameters
    ----------
    file : str
        Name of a ``.cu`` file in this folder, or the source text; see :class:`Source`.
    arrays : sequence of str
        Members of type ``T*``. All arrays of a row have one size.
    numbers : sequence of str
        Members of type ``T``.
    flags : sequence of str
        Members of type ``int``.
    """

    def __init__(
        self,
        file: str,
        arrays: Sequence[str],
        numbers: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        self.arrays, self.numbers, self.flags = arrays, numbers, flags
        self.capacity = _TABLE_BYTES // self._row(np.dtype(np.float64)).itemsize
        members = [f"T* {name};" for name in arrays] + ["long long size;"]
        members += [f"T {name};" for name in numbers]
        members += [f"int {name};" for name in [*flags, "first"]]
        self.source = Source(
            file,
            f"#define CAPACITY {self.capacity}\n#define CHUNK {CHUNK}\n"
            f"struct Row {{ {' '.join(members)} }};\n",
        )

    def _row(self, dtype: np.dtype) -> np.dtype:
        """Return NumPy's twin of the struct."""
        members: list[tuple[str, Any]] = [(name, np.uint64) for name in self.arrays]
        members += [("size", np.int64), *((name, dtype) for name in self.numbers)]
        members += [(name, np.int32) for name in [*self.flags, "first"]]
        return np.dtype(members, align=True)

    @staticmethod
    def blocks(sizes: Sequence[int]) -> int:
        """Return the number of blocks that work on arrays of these sizes."""
        return sum(-(-size // CHUNK) for size in sizes)

    def update(
        self, name: str, updates: Sequence[Update], members: Callable[[tuple[Any, ...]], Any]
    ) -> None:
        """Apply a rule to every parameter, in place: one launch for each device and dtype.

        Parameters
        ----------
        name : str
            The kernel. Its row starts with the parameter, its gradient and its state.
        updates : sequence of Update
        members : callable
            From an update's numbers to the row's ``numbers``, then ``flags``.
        """
        rows: dict[tuple[Device, np.dtype], list[Any]] = {}
        copies: list[tuple[Array, Array]] = []
        for update in updates:
            device = device_of(update.param)
            with active(device):
                arrays: list[Array | None] = [*_runs(update, copies)]
            arrays += [None] * (len(self.arrays) - len(arrays))
            row = arrays, members(update.numbers)
            rows.setdefault((device, update.param.dtype), []).append(row)
        for (device, dtype), alike in rows.items():
            with active(device):
                self.launch(name, dtype, alike)
        for array, copy in copies:
            with active(device_of(array)):
                array[...] = copy

    def launch(
        self,
        name: str,
        dtype: Any,
        rows: Sequence[tuple[Sequence[Any], tuple[Any, ...]]],
        *args: Any,
    ) -> None:
        """Start a kernel: once for every ``self.capacity`` rows.

        Parameters
        ----------
        name : str
        dtype : dtype
            What ``T`` is.
        rows : sequence of (arrays, values)
            The contiguous arrays of a row, or None for a null pointer, and its numbers and flags.
        *args
            The kernel's arguments after the table.
        """
        dtype = np.dtype(dtype)
        table_type = np.dtype(
            [
                ("rows", self._row(dtype), (self.capacity,)),
                ("count", np.int32),
                ("first", np.int32),
            ],
            align=True,
        )
        rows = [row for row in rows if row[0][0].size]
        block = 0
        for start in range(0, len(rows), self.capacity):
            table = np.zeros((), table_type)
            entries, first = table["rows"], block
            table["first"] = first
            table["count"] = len(rows[start : start + self.capacity])
            for k, (arrays, values) in enumerate(rows[start : start + self.capacity]):
                size = arrays[0].size
                pointers = [0 if array is None else array.data.ptr for array in arrays]
                entries[k] = (*pointers, size, *values, block)
                block += -(-size // CHUNK)
            self.source.launch(name, dtype, 1, table[()], *args, grid=block - first, block=_THREADS)


def _runs(update: Update, copies: list[tuple[Array, Array]]) -> list[Array]:
    """Return parameter, gradient and state as runs of memory, all in the parameter's order.

    An array to be changed that is not one run is replaced by a copy; `copies` gets the pair.
    """
    param, grad, state, _ = update
    order = sorted(range(param.ndim), key=lambda axis: -abs(param.strides[axis]))
    runs = []
    for array in (param, grad, *state):
        turned = array.transpose(order)
        if turned.dtype != param.dtype or not turned.flags.c_contiguous:
            turned = cupy().array(turned, param.dtype, order="C")
            if array is not grad:
                copies.append((array.transpose(order), turned))
        runs.append(turned)
    return runs
