"""The CPU's kernels, NumPy alone, and the engine below them.

The engine is three files: ``lanes`` (threads and BLAS), ``memory`` (blocks that are used again) and
``blocks`` (elementwise work and products). Kernels use it as ``cpu.parallel``, ``cpu.empty``, ...
"""

from .blocks import (
    BLOCK, INTEGERS, PANEL, SMALL, SMALL_PRODUCT, UNPACKED, apply_ufunc, blockwise, empty_like,
    keep_where, matmul, multiply_wide, panels_of, pieces_of, pieces_of_product, sum_rows,
)  # fmt: skip
from .lanes import (
    BANDS, LANES, PIECES, get_num_threads, multiplies_unpacked, parallel, set_num_threads,
    single_threaded_blas, split,
)  # fmt: skip
from .memory import empty, empty_image, release_memory, roomy, scratch

__all__ = [
    "BANDS", "BLOCK", "INTEGERS", "LANES", "PANEL", "PIECES", "SMALL", "SMALL_PRODUCT", "UNPACKED",
    "apply_ufunc", "blockwise", "empty", "empty_image", "empty_like", "get_num_threads",
    "keep_where", "matmul", "multiplies_unpacked", "multiply_wide", "panels_of", "parallel",
    "pieces_of", "pieces_of_product", "release_memory", "roomy", "scratch",
    "set_num_threads", "single_threaded_blas", "split", "sum_rows",
]  # fmt: skip
