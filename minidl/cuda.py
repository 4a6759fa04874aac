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

import gc
import importlib
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from .errors import DeviceError

HOW_TO_INSTALL = (
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
            f"{HOW_TO_INSTALL}, or use device 'cpu'"
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
        cupy().cuda.runtime.deviceSynchronize()  # all streams: batches go up on one of their own


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
        try:
            return cupy().asarray(array)
        except (MemoryError, RuntimeError) as error:
            explain_out_of_memory(error, f"moving an array of shape {array.shape}")
            raise


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
    by_rows = columns == 1 or right == size
    if by_rows and (rows == 1 or down >= columns * size):
        return 0, max(down // size if rows > 1 else columns, columns)
    by_columns = rows == 1 or down == size
    if by_columns and (columns == 1 or right >= rows * size):
        return 1, max(right // size if columns > 1 else rows, rows)
    raise DeviceError(f"matmul: a matrix of shape {matrix.shape} has strides {matrix.strides}")


# --- Out of memory --------------------------------------------------------------------------------


class OutOfMemoryError(DeviceError):
    """The GPU's memory is full; the message says for which layer, and which batch would fit.

    ``Function.apply`` and the walk back make it of CuPy's error (:func:`explain_out_of_memory`).
    Every module that it leaves on its way up adds what it knows (:meth:`leaves`).
    """

    def __init__(self, what: str, asked: int, batch: int = 0) -> None:
        super().__init__(what)
        self.what, self.asked, self.batch = what, asked, batch
        self.path, self.module = "", None  # the innermost module's, the outermost so far
        # A program may have set a pool of its own.
        pool = getattr(cupy().cuda.get_allocator(), "__self__", None)
        if not isinstance(pool, cupy().cuda.MemoryPool):
            pool = cupy().get_default_memory_pool()
        self.used, self.pooled = int(pool.used_bytes()), int(pool.total_bytes())
        free = int(cupy().cuda.runtime.memGetInfo()[0])
        self.limit = min(self.pooled + free, int(pool.get_limit()) or self.pooled + free)
        self.fixed = self._fixed()

    def _fixed(self) -> int:
        """Return how many bytes do not grow with the batch: of parameters, gradients, momenta.

        They are the blocks of memory of which no array has an axis as long as the batch.
        """
        sizes: dict[int, int] = {}
        growing: set[int] = set()
        for item in gc.get_objects():
            if isinstance(item, cupy().ndarray):
                block = item.data.mem
                sizes[block.ptr] = block.size
                if self.batch in item.shape:
                    growing.add(block.ptr)
        return min(sum(sizes[block] for block in sizes.keys() - growing), self.used)

    def leaves(self, module: Any, inputs: tuple[Any, ...]) -> None:
        """Note that the error leaves the ``forward`` of `module`, which was called with `inputs`.

        A module does not know its own name, but its parent does.
        """
        kind = type(module).__name__
        if self.module is None:
            self.what = f"layer {{}}({kind}), {self.what}"
        else:
            names = [name for name, child in module._modules.items() if child is self.module]
            self.path = ".".join(filter(None, [*names[:1], self.path]))
        self.module = module
        # Before a network's first layer the batch is as long as its pictures are many.
        shape: tuple[int, ...] = getattr(inputs[0], "shape", ()) if inputs else ()
        if len(shape) > 1 and int(shape[0]) != self.batch:
            self.batch = int(shape[0])
            self.fixed = self._fixed()

    def __str__(self) -> str:
        what = self.what.replace("{}", f"{self.path!r} " if self.path else "", 1)
        text = (
            f"the GPU's memory is full: {what} asked for "
            f"{_size(self.asked) if self.asked else 'more'}, while arrays use "
            f"{_size(self.used)} and CuPy's pool holds {_size(self.pooled)} of the "
            f"{_size(self.limit)} that it can have"
        )
        if self.batch < 1:
            return text
        # What the pool holds, since memory that lies in pieces between arrays is of no use.
        each = max(self.pooled + self.asked - self.fixed, 1) / self.batch
        fits = min(int((self.limit - self.fixed) / each), self.batch - 1)
        advice = (
            f"a batch of at most {fits} would fit" if fits > 0 else "no smaller batch would fit"
        )
        return (
            f"{text}; instead of {self.batch} pictures {advice}, going by the {_size(each)} that "
            f"each of them takes up to here, beside {_size(self.fixed)} of parameters, gradients "
            "and the like"
        )


#: What CUDA says when it allocates beside CuPy's pool: arrays without a pool, kernels that are
#: loaded, cuBLAS's workspace. Of how many bytes it does not say.
_NO_MEMORY = (
    "cudaErrorMemoryAllocation",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def explain_out_of_memory(
    error: Exception, what: str, shape: tuple[int, ...] = (), node: Any = None
) -> None:
    """Raise an :class:`OutOfMemoryError` if `error` is CuPy's; else do nothing.

    Parameters
    ----------
    error : Exception
    what : str
        Who asked for memory.
    shape : tuple of int
        Of the batch that was being worked on, if it was one.
    node : Node, optional
        Of the tape, in the walk back: leads to the name of a parameter, hence of a layer.
    """
    kind = type(error)
    if not kind.__module__.startswith("cupy"):
        return  # NumPy's, for instance
    if kind.__name__ == "OutOfMemoryError":
        asked = int(getattr(error, "_size", 0))
    elif any(word in str(error) for word in _NO_MEMORY):
        asked = 0
    else:
        return
    batch = int(shape[0]) if len(shape) > 1 else 0
    raise OutOfMemoryError(_layer_of(node) + what, asked, batch) from error


def _layer_of(node: Any) -> str:
    """Return the layer of a node, by the parameter that it, or a node before it, has used."""
    word = "layer"
    while node is not None:
        following = None
        for target, index in filter(None, node.edges or ()):
            if index >= 0:
                following = following or target
            elif target.name:
                return f"{word} {target.name.rpartition('.')[0] or target.name!r}, "
        node, word = following, "after layer"
    return ""


def _size(count: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("KiB", "MiB"):
        count /= 1024
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count / 1024:.3g} GiB"


# --- Batches --------------------------------------------------------------------------------------


def pinned(size: int) -> np.ndarray:
    """Return a block of `size` bytes of the host that a GPU can read while both work on.

    Ordinary memory may be moved by the system, so that a copy from it goes through the driver's own
    buffer and the host waits. The block comes from CuPy's pool, and goes back with its last view.
    """
    memory = cupy().cuda.alloc_pinned_memory(max(size, 1))
    return np.frombuffer(memory, np.uint8, size)


def pinned_block(array: np.ndarray) -> np.ndarray | None:
    """Return the block of :func:`pinned` that `array` is a view of, or None."""
    block = array.base
    memory = getattr(getattr(block, "base", None), "obj", None)
    return block if isinstance(memory, cupy().cuda.PinnedMemoryPointer) else None


@cache
def _copy_stream(index: int) -> Any:
    """Return the stream of GPU number `index` that batches go up on."""
    with cupy().cuda.Device(index):
        return cupy().cuda.Stream(non_blocking=True)  # else the null stream would wait for it


class Upload:
    """A pinned block on its way to a GPU, on a stream beside the one that computes.

    The device's memory is new at every upload, from the pool of the stream that computes. What that
    pool hands out may have been dropped by work that is still queued there, so the copy waits for
    all that was queued before it; what is queued later runs beside it.

    Parameters
    ----------
    block : ndarray of uint8
        From :func:`pinned`. Nobody may write to it before :meth:`wait` has returned.
    index : int
        The GPU's number.
    """

    def __init__(self, block: np.ndarray, index: int) -> None:
        xp, stream = cupy(), _copy_stream(index)
        self.block, self._index = block, index
        with xp.cuda.Device(index):
            try:
                self._array = xp.empty(block.shape, block.dtype)
            except (MemoryError, RuntimeError) as error:
                explain_out_of_memory(error, "a batch on its way up")
                raise
            self._copied = xp.cuda.Event(block=True, disable_timing=True)
            stream.wait_event(xp.cuda.get_current_stream().record())
            self._array.data.copy_from_host_async(block.ctypes.data, block.nbytes, stream)
            self._copied.record(stream)

    def receive(self) -> None:
        """Let what is queued from now on, on the GPU's current stream, find the block's bytes."""
        with cupy().cuda.Device(self._index):  # every GPU has a current stream of its own
            cupy().cuda.get_current_stream().wait_event(self._copied)

    def twin(self, view: np.ndarray) -> Any:
        """Return the device's copy of a view of the block."""
        offset = view.ctypes.data - self.block.ctypes.data
        return cupy().ndarray(view.shape, view.dtype, self._array.data + offset, view.strides)

    def wait(self) -> None:
        """Wait until the block has been read; usually it has been long ago, and this is a look."""
        if not self._copied.done:
            self._copied.synchronize()
