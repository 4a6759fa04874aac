"""The GPU's kernels, CUDA C in ``.cu`` files beside the code that launches them, and their engine.

The engine is ``launch`` (compiling and starting), ``many`` (many arrays in one launch), ``memory``
(layouts and copies), ``transfer`` (batches on their way up), ``blas`` (products) and
``out_of_memory``. Nothing here makes the host wait for the GPU but ``to_host`` and ``synchronize``.
"""

from ...device import HOW_TO_INSTALL, cupy, device_count, is_available, require
from .blas import allow_tf32, is_tf32_allowed, matmul
from .launch import Source, sources
from .many import ManySource
from .memory import (
    aligned, channel_major, copy_to, empty_image, is_dense, memory_stats, synchronize, to_device,
    to_host,
)  # fmt: skip
from .out_of_memory import OutOfMemoryError, explain_out_of_memory
from .transfer import Upload, pinned, pinned_block

__all__ = [
    "HOW_TO_INSTALL", "ManySource", "OutOfMemoryError", "Source", "Upload", "aligned", "allow_tf32",
    "channel_major", "copy_to", "cupy", "device_count", "empty_image", "explain_out_of_memory",
    "is_available", "is_dense", "is_tf32_allowed", "matmul", "memory_stats", "pinned",
    "pinned_block", "require", "sources", "synchronize", "to_device", "to_host",
]  # fmt: skip
