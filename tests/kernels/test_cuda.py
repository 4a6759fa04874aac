"""The GPU engine: kernels and their arguments, cuBLAS's products, memory, machines without a GPU.

The operations' own tests cover the kernels' results, on every device.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl.errors import AutogradError, DeviceError
from minidl.kernels import cuda

SOURCE = cuda.Source(r"""
// y = factor * x + shift; one thread per number.
extern "C" __global__ void affine(const T* x, T* y, long long n, T factor, int shift, bool negate)
{
    FOR_EACH(i, n) y[i] = (negate ? -factor : factor) * x[i] + shift;
}

// Counts the threads that visit each number.
extern "C" __global__ void visits(int* count, long long n)
{
    FOR_EACH(i, n) count[i] += 1;
}

extern "C" __global__ void size_of_T(int* out) { *out = sizeof(T); }
""")


# --- Kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("n", [0, 1, 255, 256, 1000])
def test_launch(n: int, dtype: Any, gpu: str) -> None:
    a = helpers.values((n,), 0, dtype)
    x = minidl.tensor(a, device=gpu).array
    y = cuda.cupy().empty_like(x)
    for negate in (False, True):
        SOURCE.launch("affine", dtype, n, x, y, np.int64(n), 0.1, 3, negate)
        # a Python float becomes a T: 0.1 in float64 is another number than in float32
        factor = dtype.type(-0.1 if negate else 0.1)
        helpers.assert_close(cuda.to_host(y), factor.astype(float) * a + 3, scale=4.0)


@pytest.mark.parametrize("options", [{}, {"block": 32}, {"block": 64, "grid": 1}], ids=str)
def test_every_number_is_visited_once(options: dict[str, int], gpu: str) -> None:
    count = cuda.cupy().zeros(777, np.int32)
    SOURCE.launch("visits", np.float32, 777, count, np.int64(777), **options)
    assert (cuda.to_host(count) == 1).all()


def test_type_of_the_numbers(gpu: str) -> None:
    size = cuda.cupy().empty(1, np.int32)
    for dtype, expected in (("float32", 4), (np.float64, 8), (np.dtype("f4"), 4)):
        SOURCE.launch("size_of_T", dtype, 1, size)
        assert cuda.to_host(size) == expected


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "bool"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(DeviceError, match=f"float16, float32 and float64, not {dtype}"):
        SOURCE.source(dtype)


def test_source_knows_its_type_and_is_listed() -> None:
    assert "typedef double T;" in SOURCE.source(np.float64) and SOURCE in cuda.sources
    assert "typedef float T;" in SOURCE.source("float32") and "affine" in SOURCE.source("f4")


def test_wrong_arguments(gpu: str) -> None:
    x = minidl.ones(4, 6, device=gpu).array
    y = cuda.cupy().empty_like(x)
    rest = (np.int64(24), 1.0, 0, False)
    for strided in (x.T, x[:, ::2], x[:, :3], x[::-1]):
        with pytest.raises(DeviceError, match=r"strided array, of shape \(\d, \d\)"):
            SOURCE.launch("affine", np.float32, 24, strided, y, *rest)
    with pytest.raises(DeviceError, match=r"array of the host, of shape \(4, 6\).*\.to\(\)"):
        SOURCE.launch("affine", np.float32, 24, np.ones((4, 6), np.float32), y, *rest)
    for huge in (2**31, -(2**31) - 1):
        with pytest.raises(OverflowError):
            SOURCE.launch("affine", np.float32, 24, x, y, np.int64(24), 1.0, huge, False)


def test_a_kernel_is_compiled_once(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = cuda.Source(r'extern "C" __global__ void nothing(int n) { FOR_EACH(i, n) {} }')
    made = []
    module = cuda.cupy().RawModule

    def spy(**kwargs: Any) -> Any:
        made.append(kwargs)
        return module(**kwargs)

    monkeypatch.setattr(cuda.cupy(), "RawModule", spy)
    for dtype in (np.float32, np.float64, np.float32, "float64"):
        source.launch("nothing", dtype, 1, 1)
    assert len(made) == 2
    cuda.sources.remove(source)


def test_huge_arrays_get_wider_indices(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a number of an element, plus the threads that it is raised by, passes an int."""
    count = cuda.cupy().zeros(777, np.int32)
    source = cuda.Source(SOURCE.file)
    for largest, expected in ((777 + 1024, "int"), (777 + 1023, "long long")):
        monkeypatch.setattr(cuda.launch, "LARGEST_INT", largest)
        for threads in (777, 5):  # the array's size counts, too
            source._modules.clear()
            source.launch("visits", np.float32, threads, count, np.int64(777), grid=4)
            assert ("f", expected) in source._modules
    assert (cuda.to_host(count) == 4).all()
    cuda.sources.remove(source)


def test_wider_indices_give_the_same_bits(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def results() -> list[Any]:
        minidl.manual_seed(0)
        x = minidl.randn(2, 4, 9, 8).to(gpu).requires_grad_()
        w = minidl.randn(6, 2, 3, 3).to(gpu).requires_grad_()
        y = F.conv2d(x, w, padding=1, groups=2)
        y = F.dropout(F.local_response_norm(F.max_pool2d(y, 3, 2), 5))
        y = F.adaptive_avg_pool2d(F.avg_pool2d(y, 2, 1), 2)
        return [y, *minidl.autograd.grad((y * y).sum(), (x, w))]

    before = results()
    monkeypatch.setattr(cuda.launch, "LARGEST_INT", 0)
    assert all(minidl.equal(a, b) for a, b in zip(before, results(), strict=True))


# --- Memory ---------------------------------------------------------------------------------------


def test_memory_of_images(gpu: str) -> None:
    x = cuda.empty_image(2, 3, 4, 5, np.float32)
    assert x.shape == (2, 3, 4, 5) and x.dtype == np.float32
    assert x.transpose(1, 0, 2, 3).flags.c_contiguous
    assert cuda.empty_image(0, 3, 4, 5, np.float64).shape == (0, 3, 4, 5)


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_channel_major(layout: str, gpu: str) -> None:
    a = helpers.LAYOUTS[layout](helpers.values((2, 3, 4, 5), 0, np.float32))
    x = helpers.leaf(a, gpu).array
    turned = cuda.channel_major(x)
    assert turned.shape == (3, 2, 4, 5) and turned.flags.c_contiguous
    np.testing.assert_array_equal(cuda.to_host(turned), a.transpose(1, 0, 2, 3))


def test_channel_major_copies_only_other_layouts(gpu: str, simulator: ModuleType) -> None:
    image = cuda.empty_image(2, 3, 4, 5, np.float32)
    with simulator.count() as used:
        assert helpers.shares_memory(cuda.channel_major(image), image)
    assert used.launches == used.allocations == used.d2d == 0
    other = minidl.ones(2, 3, 4, 5, device=gpu).array
    assert not helpers.shares_memory(cuda.channel_major(other), other)


def test_memory_stats(gpu: str) -> None:
    pool = cuda.cupy().get_default_memory_pool()
    with cuda.cupy().cuda.using_allocator(pool.malloc):  # which the simulator does without
        before = cuda.memory_stats()
        x = minidl.zeros(1 << 20, device=gpu)
        after = cuda.memory_stats()
        assert after["used"] - before["used"] == x.numel() * 4
        assert 0 < after["used"] <= after["pooled"] and after["free"] <= after["total"]
        del x
        assert cuda.memory_stats()["used"] == before["used"]


def test_copies_to_and_from_the_host(gpu: str) -> None:
    a = helpers.values((3, 4), 0)
    there = cuda.to_device(a, 0)
    back = cuda.to_host(there)
    np.testing.assert_array_equal(back, a)
    assert type(back) is np.ndarray and not np.shares_memory(back, a)


# --- Products -------------------------------------------------------------------------------------


@pytest.fixture
def tf32() -> Iterator[Callable[[bool], None]]:
    """``allow_tf32``, restored afterwards."""
    before = cuda.is_tf32_allowed()
    yield cuda.allow_tf32
    cuda.allow_tf32(before)


def _on_gpu(array: np.ndarray, transposed: bool, padding: int) -> Any:
    """A copy on the GPU with `padding` numbers between its rows (or, transposed, its columns)."""
    array = array.T if transposed else array
    wide = cuda.cupy().full((array.shape[0], array.shape[1] + padding), np.nan, array.dtype)
    view = wide[:, : array.shape[1]]
    view[...] = cuda.to_device(np.ascontiguousarray(array), 0)
    return view.T if transposed else view


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("b_transposed", [False, True])
def test_matmul(a_transposed: bool, b_transposed: bool, padding: int, dtype: Any, gpu: str) -> None:
    for m, k, n in ((4, 5, 6), (1, 5, 6), (4, 1, 6), (4, 5, 1), (1, 1, 1), (0, 5, 6), (4, 0, 6),
                    (4, 5, 0), (1, 0, 1)):  # fmt: skip
        a, b = helpers.values((m, k), 0, dtype), helpers.values((k, n), 1, dtype)
        x, y = _on_gpu(a, a_transposed, padding), _on_gpu(b, b_transposed, padding)
        result = cuda.matmul(x, y)
        assert result.dtype == dtype and result.flags.c_contiguous
        expected = a.astype(float) @ b.astype(float)
        helpers.assert_close(cuda.to_host(result), expected, k)

        start = helpers.values((m, n), 2, dtype)
        for accumulate in (False, True):
            out = _on_gpu(start, False, padding)
            assert cuda.matmul(x, y, out, accumulate=accumulate) is out
            wanted = expected + start if accumulate else expected
            helpers.assert_close(cuda.to_host(out), wanted, k + 1)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_matmul_of_batches(dtype: Any, gpu: str, simulator: ModuleType) -> None:
    """Runs of the common dimension, as in a convolution's weight gradient."""
    a, b = helpers.values((4, 30), 0, dtype), helpers.values((5, 30), 1, dtype)
    x = _on_gpu(a, False, 3).reshape(4, 6, 5).transpose(1, 0, 2)
    y = cuda.to_device(b, 0).reshape(5, 6, 5).transpose(1, 2, 0)
    out = cuda.cupy().ones((6, 2, 4, 5), dtype)
    with simulator.count() as used:
        cuda.matmul(x, y, out[:, 1], accumulate=True)
    assert used.launches == 0 and [call[4] for call in used.cublas_calls] == [6]
    parts = a.reshape(4, 6, 5).transpose(1, 0, 2).astype(float) @ b.reshape(5, 6, 5).transpose(
        1, 2, 0
    )
    helpers.assert_close(cuda.to_host(out[:, 1]), parts + 1, 6)
    assert (cuda.to_host(out[:, 0]) == 1).all()
    helpers.assert_close(cuda.to_host(cuda.matmul(x, y)), parts, 5)


def test_matmul_does_not_read_what_it_overwrites(gpu: str) -> None:
    a, b = (minidl.ones(2, 2, device=gpu).array for _ in range(2))
    out = cuda.cupy().full((2, 2), np.nan, np.float32)
    assert cuda.to_host(cuda.matmul(a, b, out)).tolist() == [[2.0, 2.0]] * 2


def test_matmul_is_one_call_without_a_copy(gpu: str, simulator: ModuleType) -> None:
    a, b = minidl.ones(4, 6, device=gpu).array, minidl.ones(8, 6, device=gpu).array
    with simulator.count() as used:
        cuda.matmul(a, b.T)
        cuda.matmul(a.T, a)
        cuda.matmul(a[:, :2], b[:2])
    assert used.launches == used.d2d == used.syncs == used.h2d == used.d2h == 0
    assert [call[:4] for call in used.cublas_calls] == [
        ("gemmEx", 8, 4, 6), ("gemmEx", 6, 6, 4), ("gemmEx", 6, 4, 2),
    ]  # fmt: skip


def test_matmul_refuses_strides_that_blas_lacks(gpu: str) -> None:
    x = minidl.ones(6, 6, device=gpu).array
    with pytest.raises(DeviceError, match=r"shape \(3, 3\) has strides \(48, 8\)"):
        cuda.matmul(x[::2, ::2], x[:3])


def test_tf32(gpu: str, simulator: ModuleType, tf32: Callable[[bool], None]) -> None:
    """cuBLAS's compute types: 77 is COMPUTE_32F_FAST_TF32, 68 is COMPUTE_32F, 70 is 64F."""
    x = minidl.ones(2, 2, device=gpu)
    for allowed, number in ((False, 68), (True, 77), (False, 68)):
        tf32(allowed)
        assert cuda.is_tf32_allowed() is allowed
        with simulator.count() as used:
            _ = x @ x
        assert [call[-1] for call in used.cublas_calls] == [number]
    tf32(True)
    with simulator.count() as used:
        _ = x.double() @ x.double()
    assert [call[-1] for call in used.cublas_calls] == [70]


def test_tf32_is_off_by_default() -> None:
    assert not cuda.is_tf32_allowed()


# --- Devices --------------------------------------------------------------------------------------


def test_devices(gpu: str) -> None:
    count = cuda.device_count()
    assert cuda.is_available() and count >= 1
    for spec in (f"gpu:{count}", "gpu:77", "cuda:77"):
        match = rf"'gpu:\d+' does not exist; this machine has {count} GPU"
        with pytest.raises(DeviceError, match=match):
            minidl.device(spec)
        for make in (
            lambda: minidl.zeros(2, device=spec),  # noqa: B023
            lambda: minidl.tensor([1.0], device=spec),  # noqa: B023
            lambda: minidl.ones(2).to(spec),  # noqa: B023
            lambda: minidl.ones(2).cuda(77),
            lambda: minidl.nn.Linear(2, 2).to(spec),  # noqa: B023
            lambda: minidl.randn(2, device=spec),  # noqa: B023
        ):
            with pytest.raises(DeviceError, match="does not exist"):
                make()
    x = minidl.ones(2).cuda()
    assert x.device == minidl.device("gpu") == minidl.device("cuda:0") == minidl.device("gpu", 0)
    assert x.cuda(0) is x and x.gpu() is x and str(x.device) == "gpu:0" and x.cpu().cuda() is not x


#: Operations of two tensors on different devices: ``here`` is on the GPU, ``there`` on the CPU.
MIXED: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda here, there: here + there, "sub": lambda here, there: there - here,
    "mul": lambda here, there: here * there, "div": lambda here, there: here / there,
    "pow": lambda here, there: here**there, "floor_divide": lambda here, there: here // there,
    "remainder": lambda here, there: here % there, "matmul": lambda here, there: here @ there,
    "eq": lambda here, there: here == there, "lt": lambda here, there: there < here,
    "and": lambda here, there: (here > 0) & (there > 0),
    "logical_or": lambda here, there: minidl.logical_or(here, there),
    "maximum": lambda here, there: minidl.maximum(here, there),
    "where": lambda here, there: minidl.where(here > 0, here, there),
    "where condition": lambda here, there: minidl.where(there > 0, here, here),
    "masked_fill": lambda here, there: here.masked_fill(there > 0, 0.0),
    "clamp": lambda here, there: here.clamp(there), "lerp": lambda here, there: here.lerp(there, 1),
    "in place": lambda here, there: here.add_(there),
    "numpy": lambda here, there: here * there.numpy(),
    "cat": lambda here, there: minidl.cat([here, there]),
    "stack": lambda here, there: minidl.stack([here, there]),
    "einsum": lambda here, there: minidl.einsum("ij,jk->ik", here, there),
    "addmm": lambda here, there: minidl.addmm(here, here, there),
    "outer": lambda here, there: minidl.outer(here[0], there[0]),
    "equal": lambda here, there: minidl.equal(here, there),
    "allclose": lambda here, there: minidl.allclose(here, there),
    "isclose": lambda here, there: minidl.isclose(here, there),
    "isin": lambda here, there: minidl.isin(here, there),
    "index": lambda here, there: here[there.long()],
    "index with a GPU's": lambda here, there: there[here.long()],
    "mask": lambda here, there: here[there > 0],
    "assign": lambda here, there: here.__setitem__(0, there[0]),
    "assign at": lambda here, there: here.__setitem__(there.long(), 1.0),
    "gather": lambda here, there: here.gather(0, there.long()),
    "scatter": lambda here, there: here.scatter(0, there.long(), 1.0),
    "scatter from": lambda here, there: here.scatter(0, here.long(), there),
    "scatter_add": lambda here, there: here.scatter_add(0, here.long(), there),
    "index_select": lambda here, there: here.index_select(0, there[0].long()),
    "index_add": lambda here, there: here.index_add(0, there[0].long(), here),
    "index_fill": lambda here, there: here.index_fill(0, there[0].long(), 1.0),
    "take_along_dim": lambda here, there: here.take_along_dim(there.long(), 0),
    "masked_select": lambda here, there: here.masked_select(there > 0),
    "bincount": lambda here, there: here[0].long().bincount(there[0]),
    "backward": lambda here, there: (here.detach().requires_grad_() * 1).backward(there),
    "linear": lambda here, there: F.linear(here, there),
    "linear bias": lambda here, there: F.linear(here, here, there[0]),
    "conv2d": lambda here, there: F.conv2d(here[None, None], there[None, None]),
    "conv2d bias": lambda here, there: F.conv2d(here[None, None], here[None, None], there[0, :1]),
    "batch_norm": lambda here, there: F.batch_norm(here, there[0], there[1]),
    "cross_entropy": lambda here, there: F.cross_entropy(here, there[0].long()),
    "cross_entropy soft": lambda here, there: F.cross_entropy(here, there),
    "cross_entropy weight": lambda here, there: F.cross_entropy(
        here, here[0].long(), weight=there[0]
    ),
    "nll_loss": lambda here, there: F.nll_loss(here, there[0].long()),
    "mse_loss": lambda here, there: F.mse_loss(here, there),
    "module": lambda here, there: minidl.nn.Linear(2, 2)(here),
    "module on the GPU": lambda here, there: minidl.nn.Linear(2, 2).to(here.device)(there),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_mixed_devices(name: str, gpu: str) -> None:
    there = minidl.ones(2, 2)
    here = there.to(gpu)
    with pytest.raises(DeviceError, match=r"(on|is on|are on) (gpu:0|cpu)") as raised:
        MIXED[name](here, there)
    assert "cpu" in str(raised.value) and "gpu:0" in str(raised.value)
    assert ".to(" in str(raised.value), "what to do"


def test_optimizers_and_mixed_devices(gpu: str) -> None:
    for name in ("SGD", "Adam"):
        weight = minidl.nn.Parameter(minidl.ones(2, device=gpu))
        optimizer = getattr(minidl.optim, name)([weight], lr=0.1)
        with pytest.raises(AutogradError, match="expected one on gpu:0, got one on cpu"):
            weight.grad = minidl.ones(2)
        weight.grad = minidl.ones(2, device=gpu)
        weight.data = minidl.ones(2)
        with pytest.raises(DeviceError, match="cpu"):
            optimizer.step()


# --- Without CuPy ---------------------------------------------------------------------------------

_WITHOUT = """
import sys
sys.modules["cupy"] = None
import minidl
assert minidl.cuda.device_count() == 0 and not minidl.cuda.is_available()
assert set(minidl.cuda.memory_stats().values()) == {0}
minidl.cuda.synchronize()
for make in (
    lambda: minidl.device("gpu"), lambda: minidl.zeros(2, device="cuda"),
    lambda: minidl.ones(2).cuda(), lambda: minidl.nn.Linear(2, 2).to("gpu:1"),
    minidl.cuda.cupy,
):
    try:
        make()
    except minidl.errors.DeviceError as error:
        assert "pip install 'cupy-cuda12x[ctk]'" in str(error) and "'cpu'" in str(error), error
    else:
        raise AssertionError("no error")
x = minidl.nn.Linear(2, 2)(minidl.ones(1, 2)).sum()
x.backward()
assert "cupy" not in [name for name, module in sys.modules.items() if module is not None]
print("fine")
"""


def test_without_cupy() -> None:
    run = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True)
    assert run.stdout == "fine\n", run.stderr


def test_without_a_driver(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setattr(cuda.cupy().cuda.runtime, "getDeviceCount", refuse)
    assert cuda.device_count() == 0 and not cuda.is_available()
    with pytest.raises(DeviceError, match=r"no NVIDIA GPU responds \(.*no CUDA.*nvidia-smi"):
        minidl.device("gpu")


def test_importing_imports_no_cupy() -> None:
    program = "import sys, minidl; print('cupy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr


# --- What a card needs ----------------------------------------------------------------------------


@pytest.mark.parametrize("images", [128, 96, 50, 4])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_of_columns_begin_at_multiples_of_16_bytes(dtype: Any, images: int, gpu: str) -> None:
    from minidl.kernels.cuda.conv import Columns
    from minidl.nn.arguments import conv_geometry

    for size, kernel, padding, channels in ((27, 5, 2, 96), (13, 3, 1, 384), (57, 3, 1, 96)):
        geometry = conv_geometry("conv2d", (size, size), (kernel, kernel), 1, padding, 1, False)
        columns = Columns((channels, images, size, size), dtype, geometry, 2)
        parts = columns.chunks()
        assert parts[0].start == 0 and parts[-1].stop == images
        for part in parts[:-1]:  # the last one ends where the images do
            assert (part.stop - part.start) * size * size * np.dtype(dtype).itemsize % 16 == 0


def test_a_card_that_cannot_compute(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidl.device import probe

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU")

    probe.cache_clear()
    try:
        with monkeypatch.context() as patched:
            patched.setattr(cuda.cupy(), "RawKernel", broken)
            assert not minidl.cuda.is_available() and minidl.cuda.device_count() > 0
            with pytest.raises(DeviceError, match=r"cannot compute: .*NO_BINARY.*newer driver"):
                minidl.device("gpu")
    finally:
        probe.cache_clear()
    assert minidl.cuda.is_available() and minidl.device("gpu")
