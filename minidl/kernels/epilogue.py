"""Epilogues: an activation that a kernel applies to its numbers while they are in the cache.

An activation is cheap to compute but expensive to load. A kernel that applies the next layer's
activation to its result, while the numbers are in the cache, saves a pass over memory. So kernels
take ``epilogue=``, one of :data:`EPILOGUES` or None, and say where they apply it: the convolution,
the linear layer and the pool to their result; the response norm, which follows the activation, to
its input (there it is called ``prologue``). Only ``nn/fusion.py`` decides when this happens.

``cpu/epilogue.py`` and ``cuda/epilogue.py`` define ``apply`` and ``gradient``.
"""

from typing import Literal, TypeAlias

Epilogue: TypeAlias = Literal["relu"] | None

#: The number by which CUDA C knows each epilogue (``cuda/epilogue.cuh``).
EPILOGUES: dict[Epilogue, int] = {None: 0, "relu": 1}
