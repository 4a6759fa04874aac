"""Compiling and starting kernels. A :class:`Source` is a ``.cu`` file beside its Python.

The file is read and compiled at the first launch, for the dtype at hand (``T`` in the source), and
cached by CuPy. Nothing here makes the host wait for the GPU.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...device import cupy
from ...errors import DeviceError

#: In front of every source. NVRTC knows no system headers and no INFINITY.
_HEADER = r"""
#ifdef __CUDACC_RTC__
struct half {  // NVRTC has none without CUDA's headers; other compilers bring their own
    unsigned short bits;
    half() = default;
    __device__ half(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
    __device__ operator float() const
    {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
    }
};
#endif
#define FOR_EACH(i, n) \
    for (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < (n); \
         i += (Index)blockDim.x * gridDim.x)
"""

#: The types of numbers in memory and of arithmetic.
_C_TYPES = {"f": ("float", "float"), "d": ("double", "double"), "e": ("half", "float")}

_FLOAT32 = np.dtype(np.float32)

#: Largest number that an int can hold.
LARGEST_INT = (1 << 31) - 1

#: The sources of all files that have been imported, for the tests that compile every one.
sources: list[Source] = []


def arithmetic(dtype: Any) -> np.dtype:
    """Return the dtype in which a kernel computes with numbers of `dtype`: ``A`` beside ``T``."""
    dtype = np.dtype(dtype)
    return _FLOAT32 if dtype.char == "e" else dtype


class Source:
    """The CUDA C source of some kernels, compiled at their first call.

    In the source ``T`` is the type of the numbers in memory, float or double, or half if the kernel
    computes in ``A``, which is float then and otherwise ``T``. ``FOR_EACH(i, n)`` runs over
    0 ... n - 1 with all threads of the grid; i is an ``Index``: an int, which divides several times
    as fast as a long long, unless an array of the launch is too large for it. Kernels are
    ``extern "C" __global__``.

    Parameters
    ----------
    file : str
        Name of a ``.cu`` file in this folder, read at first use. Its ``#include "name.cuh"`` lines
        are replaced by those files of this folder. Or the source text itself.
    before : str
        Source text to put in front.
    """

    def __init__(self, file: str, before: str = "") -> None:
        self.file, self.before = file, before
        self._modules: dict[Any, Any] = {}  # by dtype, index; functions by name, too, and GPU
        sources.append(self)

    def source(self, dtype: Any, index: str = "int") -> str:
        """Return what the compiler gets for numbers of `dtype` and an ``Index`` of type `index`.

        Raises
        ------
        DeviceError
            The dtype is none of float16, float32 and float64.
        """
        names = _C_TYPES.get(np.dtype(dtype).char)
        if names is None:
            raise DeviceError(f"GPU kernels compute with float16, float32 and float64, not {dtype}")
        types = {"T": names[0], "A": names[1], "Index": index}
        return _HEADER + "".join(f"typedef {types[t]} {t};\n" for t in types) + self.code

    @cached_property
    def code(self) -> str:
        """The source text, with included files in their places."""
        text = f'#include "{self.file}"' if self.file.endswith(".cu") else self.file
        return self.before + _with_includes(text)

    def launch(
        self,
        name: str,
        dtype: Any,
        threads: int,
        *args: Any,
        block: int = 256,
        grid: int | None = None,
        shared: int = 0,
    ) -> None:
        """Start a kernel on the current stream.

        Parameters
        ----------
        name : str
        dtype : dtype
            What ``T`` is.
        threads : int
            How many elements there are to work on; the grid follows from it.
        *args
            Arrays of the device, which must be C-contiguous, and numbers: an int becomes an
            ``int``, a float an ``A``, a bool a ``bool``; a NumPy scalar keeps its type.
        block : int
            Threads of a block. Default 256.
        grid : int, optional
            Blocks, where `threads` does not decide it.
        shared : int
            Bytes of dynamic shared memory of a block. Default 0.
        """
        if threads == 0:
            return
        dtype, xp = np.dtype(dtype), cupy()
        if grid is None:
            # Several rounds of a thread cost nothing; the limit keeps huge arrays in range.
            grid = min(-(-threads // block), 1 << 20)
        # FOR_EACH adds the grid's threads to the last element's number before it stops.
        largest = max([threads, *[arg.size for arg in args if hasattr(arg, "size")]])
        index = "int" if largest + block * grid <= LARGEST_INT else "long long"
        key = name, dtype.char, index, xp.cuda.runtime.getDevice()
        function = self._modules.get(key)
        if function is None:
            module = self._modules.get((dtype.char, index))
            if module is None:
                module = xp.RawModule(code=self.source(dtype, index), options=("-std=c++14",))
                self._modules[dtype.char, index] = module
            function = self._modules[key] = module.get_function(name)
        real = arithmetic(dtype)
        arguments = tuple([_argument(value, real) for value in args])
        function((grid,), (block,), arguments, shared_mem=shared)


def _read(name: str) -> str:
    """Return the text of a file of this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _with_includes(text: str) -> str:
    """Return CUDA C with the files of this folder that it includes in their places."""
    include = re.compile(r'^#include "([\w.]+)"$', re.MULTILINE)
    return include.sub(lambda found: _with_includes(_read(found[1])), text)


def _argument(value: Any, dtype: np.dtype) -> Any:
    """Return what CuPy hands to the kernel for one argument; `dtype` is that of arithmetic."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int32(value)  # an OverflowError beyond: such a kernel must take np.int64
    if isinstance(value, float):
        return dtype.type(value)
    if isinstance(value, np.ndarray):
        raise DeviceError(
            f"a kernel was given an array of the host, of shape {value.shape}; move it with .to()"
        )
    if hasattr(value, "flags") and not value.flags.c_contiguous:
        raise DeviceError(f"a kernel was given a strided array, of shape {value.shape}")
    return value
