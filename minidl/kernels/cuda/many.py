"""Kernels that work on many arrays in one launch, such as all parameters of a net.

A step of an optimizer changes all parameters of a net: AlexNet has 16, from 96 numbers to 37
million. Their addresses, sizes and numbers (the learning rate, ...) are a table that travels *by
value* among the kernel's arguments, of which a launch takes 4 KB: nothing is copied to the GPU
beforehand. A block works on :data:`CHUNK` elements of one array, so that large and small arrays
keep all blocks equally busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .launch import Source

#: Elements that a block works on.
CHUNK = 1 << 14

_THREADS = 256

#: What the table may take of the 4 KB of a kernel's arguments.
_TABLE_BYTES = 4096 - 128

_MANY = r"""
struct Table { Row rows[%(capacity)d]; int count, first; };  // first: the number of block 0

// The row that a block works on.
__device__ inline const Row& row_of(const Table& table, int block)
{
    int k = 0;
    while (k + 1 < table.count && block >= table.rows[k + 1].first) k++;
    return table.rows[k];
}

// The elements of a row that are a block's.
#define FOR_EACH_OF_CHUNK(i, row, block) \
    for (long long i = ((block) - (row).first) * %(chunk)dLL + threadIdx.x, \
         stop = min(i - threadIdx.x + %(chunk)dLL, (row).size); i < stop; i += blockDim.x)

// A product that is rounded before something is added to it, as on the CPU: a·b + c is otherwise
// one operation. So both devices get the same bits.
__device__ inline float times(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double times(double a, double b) { return __dmul_rn(a, b); }
"""


class ManySource:
    """The CUDA C source of kernels that work on many arrays in one launch.

    In the source a ``Row`` has the members that are named here and ``long long size``; a kernel's
    first parameter is a ``Table``. A block finds its number, ``blockIdx.x + table.first``, its row,
    ``row_of(table, block)``, and its elements, ``FOR_EACH_OF_CHUNK(i, row, block)``.
    ``times(a, b)`` is a product that is never fused with a sum.

    Parameters
    ----------
    code : str
    arrays : sequence of str
        The members of type ``T*``. All arrays of a row have one size.
    numbers : sequence of str
        Members of type ``T``.
    flags : sequence of str
        Members of type ``int``.
    """

    def __init__(
        self,
        code: str,
        arrays: Sequence[str],
        numbers: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        self.arrays, self.numbers, self.flags = arrays, numbers, flags
        self.capacity = _TABLE_BYTES // self._row(np.dtype(np.float64)).itemsize
        members = [f"T* {name};" for name in arrays] + ["long long size;"]
        members += [f"T {name};" for name in numbers]
        members += [f"int {name};" for name in [*flags, "first"]]
        many = _MANY % {"capacity": self.capacity, "chunk": CHUNK}
        self.source = Source(f"struct Row {{ {' '.join(members)} }};\n{many}{code}")

    def _row(self, dtype: np.dtype) -> np.dtype:
        """Return NumPy's twin of the struct."""
        members: list[tuple[str, Any]] = [(name, np.uint64) for name in self.arrays]
        members += [("size", np.int64), *((name, dtype) for name in self.numbers)]
        members += [(name, np.int32) for name in [*self.flags, "first"]]
        return np.dtype(members, align=True)

    @staticmethod
    def blocks(sizes: Sequence[int]) -> int:
        """Return how many blocks work on arrays of these sizes."""
        return sum(-(-size // CHUNK) for size in sizes)

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
            What the kernel gets after the table.
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
