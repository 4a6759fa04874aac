"""GPUs, as a user sees them: what there is, how full it is, and TF32.

The kernels are in :mod:`minidl.kernels.cuda`.
"""

from .kernels.cuda import (
    HOW_TO_INSTALL,
    OutOfMemoryError,
    allow_tf32,
    cupy,
    device_count,
    is_available,
    is_tf32_allowed,
    memory_stats,
    synchronize,
)  # fmt: skip

__all__ = [
    "HOW_TO_INSTALL", "OutOfMemoryError", "allow_tf32", "cupy", "device_count", "is_available",
    "is_tf32_allowed", "memory_stats", "synchronize",
]  # fmt: skip
