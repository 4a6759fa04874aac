"""Bugs to plant in the GPU engine: devices, launches, copies: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: numbers reach the kernels in double precision",
        "minidl.kernels.cuda.launch:_argument",
        "dtype.type",
        "np.float64",
        "tests/nn/test_response_norm.py::TestLocalResponseNorm::test_layouts",
        "gpu",
    ),
    (
        "gpu: the optimizers work past the end of a parameter",
        "minidl/kernels/cuda/many.cuh:",
        "stop = min(i - threadIdx.x + (long long)CHUNK, (row).size); i < stop;",
        "stop = min(i - threadIdx.x + (long long)CHUNK, (row).size + 1); i < stop;",
        "tests/optim/test_sgd.py::test_every_combination_of_options",
        "gpu",
    ),
    (
        "gpu: a step does not wait for its batch",
        "minidl.kernels.cuda.transfer:Upload.receive",
        "cupy().cuda.get_current_stream().wait_event(self._copied)",
        "cupy().cuda.get_current_stream()",
        "tests/data/test_upload.py::test_a_batch_is_there_when_it_is_looked_at",
        "gpu-deferred",
    ),
    (
        "gpu: a batch arrives in memory that is still in use",
        "minidl.kernels.cuda.transfer:Upload.__init__",
        "stream.wait_event(xp.cuda.get_current_stream().record())",
        "",
        "tests/data/test_upload.py::test_batches_that_are_dropped_after_use",
        "gpu-deferred",
    ),
    (
        "gpu: a product of no terms is uninitialized",
        "minidl.kernels.cuda.blas:matmul",
        "out.fill(0)",
        "pass",
        "tests/ops/test_products.py::test_matmul",
        "gpu",
    ),
    (
        "gpu: plain functions compute on the first GPU",
        "minidl.device:on_its_device.wrapper",
        "with active(device_of(array)):\n    return function(*args, **kwargs)",
        "return function(*args, **kwargs)",
        "tests/test_device.py::test_the_gpu_of_a_tensor_is_made_current",
        "gpu",
    ),
    (
        "gpu: the first GPU's stream waits for the second's batch",
        "minidl.kernels.cuda.transfer:Upload.receive",
        "with cupy().cuda.Device(self._index):",
        "if True:",
        "tests/data/test_upload.py::test_the_stream_of_the_batchs_gpu_waits",
        "gpu",
    ),
    (
        "gpu: cuBLAS's out-of-memory error is not explained",
        "minidl.kernels.cuda.out_of_memory:",
        "('cudaErrorMemoryAllocation', 'CUDA_ERROR_OUT_OF_MEMORY', 'CUBLAS_STATUS_ALLOC_FAILED', "
        "'CUBLAS_STATUS_NOT_INITIALIZED')",
        "('cudaErrorMemoryAllocation', 'CUDA_ERROR_OUT_OF_MEMORY')",
        "tests/robustness/test_out_of_memory.py::test_a_card_filled_outside_the_pool",
        "gpu",
    ),
    (
        "gpu: synchronize does not wait for copies",
        "minidl.kernels.cuda.memory:synchronize",
        "cupy().cuda.runtime.deviceSynchronize",
        "cupy().cuda.get_current_stream().synchronize",
        "tests/data/test_upload.py::test_synchronize_waits_for_copies_as_well",
        "gpu",
    ),
    (
        "gpu: huge arrays get 32-bit indices",
        "minidl.kernels.cuda.launch:Source.launch",
        "largest + block * grid <= LARGEST_INT",
        "largest <= LARGEST_INT",
        "tests/kernels/test_cuda.py::test_huge_arrays_get_wider_indices",
        "gpu",
    ),
    (
        "gpu: conv's weight gradient is that of the first part of the windows",
        "minidl/kernels/cuda/conv.cu:unpack",
        "part < parts",
        "part < 1",
        "tests/nn/test_conv.py::test_weight_gradients_are_added_up_in_parts",
        "gpu",
    ),
    (
        "gpu: idle pinned memory is kept without end",
        "minidl.kernels.cuda.transfer:_reused",
        "len(_idle) > KEPT",
        "False",
        "tests/data/test_upload.py::test_pinned_memory_is_reused_and_bounded",
        "gpu",
    ),
]
