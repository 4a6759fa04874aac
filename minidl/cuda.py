"""The GPU engine: the only file that imports CuPy, and that only when a GPU is asked for.

**Kernels.** Each operation's CUDA C stands in a :class:`Source` right below its NumPy twin. It is
compiled at first use, for the dtype at hand (``T`` in the source), and cached by CuPy.

**Memory.** The array behind an image activation is (C, N, H, W)-contiguous and is seen through a
transposed NCHW view (:func:`empty_image`): a convolution is then one 2-D product whose result is
the next layer's input as it stands. :func:`channel_major` gives a kernel that order.

**Products.** :func:`matmul` calls cuBLAS itself, since CuPy's ``matmul`` can neither add to its
result nor switch TF32 on and off.

**No waiting.** Nothing here makes the host wait for the GPU except what has to: :func:`to_host` and
:func:`synchronize`.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOW_TO_INSTALL = (
    "pip install 'cupy-cuda12x[ctk]' (or 'cupy-cuda13x[ctk]', after the driver's version)"
)


@cache
def cupy() -> ModuleType:
    """Import and return CuPy.

    Raises
    ------
    DeviceError
        CuPy is not installed or can't be loaded; the message says how to install it.
    """
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceError(
            f"the GPU needs CuPy, which can't be imported ({error}); install it with "
            f"{_HOW_TO_INSTALL}, or use device 'cpu'"
        ) from error


# --- Devices --------------------------------------------------------------------------------------


def device_count() -> int:
    """Return the number of GPUs that can be used: 0 without CuPy, a driver or a card."""
    try:
        return int(cupy().cuda.runtime.getDeviceCount())
    except Exception:  # CuPy's own error types can't be named without importing it
        return 0


def is_available() -> bool:
    """Return whether there is a GPU that minidl can use.

    Examples
    --------
    >>> import minidl
    >>> minidl.cuda.is_available() in (True, False)
    True
    """
    return device_count() > 0


def require(index: int) -> None:
    """Raise a `DeviceError` that says what is missing unless GPU number `index` can be used."""
    xp = cupy()
    try:
        count = int(xp.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise DeviceError(
            f"CuPy is installed, but no NVIDIA GPU answers ({error}); check `nvidia-smi` and the "
            "driver, or use device 'cpu'"
        ) from error
    if index >= count:
        raise DeviceError(f"device 'gpu:{index}' does not exist; this machine has {count} GPU(s)")


def synchronize() -> None:
    """Wait until the current GPU has finished all work given to it; nothing without a GPU."""
    if is_available():
        cupy().cuda.get_current_stream().synchronize()


def memory_stats() -> dict[str, int]:
    """Return how many bytes of the current GPU's memory arrays use and CuPy's pool holds.

    Returns
    -------
    dict
        ``used``: by arrays; ``pooled``: held by the pool, arrays included; ``free`` and ``total``:
        of the card. All 0 without a GPU.

    Examples
    --------
    >>> import minidl
    >>> sorted(minidl.cuda.memory_stats())
    ['free', 'pooled', 'total', 'used']
    """
    if not is_available():
        return dict.fromkeys(("used", "pooled", "free", "total"), 0)
    pool = cupy().get_default_memory_pool()
    free, total = cupy().cuda.runtime.memGetInfo()
    return {
        "used": int(pool.used_bytes()),
        "pooled": int(pool.total_bytes()),
        "free": int(free),
        "total": int(total),
    }


def to_host(array: Any) -> Any:
    """Return a NumPy copy of a CuPy array."""
    return cupy().asnumpy(array)


def to_device(array: Any, index: int) -> Any:
    """Return a copy of `array` on GPU number `index`."""
    with cupy().cuda.Device(index):
        return cupy().asarray(array)


# --- Kernels --------------------------------------------------------------------------------------

#: In front of every source. NVRTC knows no system headers and no INFINITY.
_HEADER = r"""
#define FOR_EACH(i, n) \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); \
         i += (long long)blockDim.x * gridDim.x)
"""

_C_TYPES = {"f": "float", "d": "double"}

#: The sources of all files that have been imported, for the tests that compile every one.
sources: list[Source] = []


class Source:
    """The CUDA C source of some kernels, compiled at their first call.

    In the source ``T`` is the type of the numbers, float or double, and ``FOR_EACH(i, n)`` runs
    over 0 ... n - 1 with all threads of the grid. Kernels are ``extern "C" __global__``.

    Parameters
    ----------
    code : str
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self._modules: dict[str, Any] = {}
        sources.append(self)

    def source(self, dtype: Any) -> str:
        """Return what the compiler gets for numbers of `dtype`.

        Raises
        ------
        DeviceError
            The dtype is neither float32 nor float64.
        """
        name = _C_TYPES.get(np.dtype(dtype).char)
        if name is None:
            raise DeviceError(f"GPU kernels compute with float32 and float64, not {dtype}")
        return f"typedef {name} T;\n{_HEADER}{self.code}"

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
            ``int``, a float a ``T``, a bool a ``bool``; a NumPy scalar keeps its type.
        block : int
            Threads of a block. Default 256.
        grid : int, optional
            Blocks, where `threads` does not decide it.
        shared : int
            Bytes of dynamic shared memory of a block. Default 0.
        """
        if threads == 0:
            return
        dtype = np.dtype(dtype)
        module = self._modules.get(dtype.char)
        if module is None:
            module = cupy().RawModule(code=self.source(dtype), options=("-std=c++14",))
            self._modules[dtype.char] = module
        if grid is None:
            # Several rounds of a thread cost nothing; the limit keeps huge arrays in range.
            grid = min(-(-threads // block), 1 << 20)
        arguments = tuple([_argument(value, dtype) for value in args])
        module.get_function(name)((grid,), (block,), arguments, shared_mem=shared)


def _argument(value: Any, dtype: np.dtype) -> Any:
    """Return what CuPy hands to the kernel for one argument."""
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


# --- Memory ---------------------------------------------------------------------------------------


def empty_image(n: int, c: int, h: int, w: int, dtype: Any) -> Any:
    """Return an uninitialised activation: NCHW in shape, (C, N, H, W) in memory."""
    return cupy().empty((c, n, h, w), dtype).transpose(1, 0, 2, 3)


def channel_major(x: Any) -> Any:
    """Return images (N, C, H, W) as a C-contiguous (C, N, H, W), copying only if they are not."""
    turned = x.transpose(1, 0, 2, 3)
    return turned if turned.flags.c_contiguous else cupy().ascontiguousarray(turned)


# --- Products -------------------------------------------------------------------------------------

_tf32 = False


def allow_tf32(allowed: bool) -> None:
    """Choose whether products of float32 matrices may round their factors to TF32.

    TF32 has 10 bits of mantissa instead of 23, and is several times as fast from Ampere on.
    Default: off, as on the CPU.
    """
    global _tf32
    _tf32 = bool(allowed)


def is_tf32_allowed() -> bool:
    """Return what :func:`allow_tf32` chose."""
    return _tf32


def matmul(a: Any, b: Any, out: Any = None, *, accumulate: bool = False) -> Any:
    """Return the 2-D product ``a @ b``, with one call of cuBLAS and no copy of an operand.

    Parameters
    ----------
    a : array, shape (M, K)
    b : array, shape (K, N)
        Either may be the transpose of a matrix in memory order. Rows may be further apart than
        they are long.
    out : array, shape (M, N), optional
        Its rows likewise. Default: new memory.
    accumulate : bool
        Add to `out` instead of overwriting it. Default False.
    """
    xp = cupy()
    (m, k), n = a.shape, b.shape[1]
    if out is None:
        out = xp.empty((m, n), a.dtype)
    if 0 in (m, n):
        return out
    if k == 0:
        if not accumulate:
            out.fill(0)
        return out
    from cupy_backends.cuda.libs import cublas

    # cuBLAS counts along columns: outᵀ = bᵀ·aᵀ, and a matrix in our order is its own transpose.
    (b_op, b_lead), (a_op, a_lead) = _layout(b), _layout(a)
    out_op, out_lead = _layout(out)
    assert out_op == cublas.CUBLAS_OP_N, "the result's rows must be contiguous"
    double = a.dtype == np.float64
    real = 1 if double else 0  # CUDA_R_64F, CUDA_R_32F
    if double:
        compute = cublas.CUBLAS_COMPUTE_64F
    else:
        compute = cublas.CUBLAS_COMPUTE_32F_FAST_TF32 if _tf32 else cublas.CUBLAS_COMPUTE_32F
    one = np.ones(1, a.dtype)
    beta = np.full(1, accumulate, a.dtype)
    handle = xp.cuda.get_cublas_handle()
    cublas.gemmEx(
        handle, b_op, a_op, n, m, k, one.ctypes.data, b.data.ptr, real, b_lead, a.data.ptr, real,
        a_lead, beta.ctypes.data, out.data.ptr, real, out_lead, compute,
        cublas.CUBLAS_GEMM_DEFAULT,
    )  # fmt: skip
    return out


def _layout(matrix: Any) -> tuple[int, int]:
    """Return a matrix' operation in cuBLAS's order (0: as it is, 1: transposed) and its pitch."""
    size = matrix.itemsize
    (rows, columns), (down, right) = matrix.shape, matrix.strides
    if right == size or columns == 1:
        return 0, max(down // size if rows > 1 else columns, columns)
    if down == size or rows == 1:
        return 1, max(right // size, rows)
    raise DeviceError(f"matmul: a matrix of shape {matrix.shape} has strides {matrix.strides}")
