"""Bugs to plant in the CPU engine: threads and memory: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "threads: the caller does not wait for its helpers",
        "minidl.kernels.cpu.lanes:_Job.finish",
        "if helping:\n    self.alone.acquire()",
        "",
        "tests/kernels/test_cpu.py::test_the_caller_waits_for_its_helpers",
    ),
    (
        "threads: a helper's error is lost",
        "minidl.kernels.cpu.lanes:_Job.help",
        "self.error = self.error or error",
        "pass",
        "tests/kernels/test_cpu.py::test_exception_in_a_helper_thread_reaches_the_caller",
    ),
    (
        "threads: helpers may run on the caller's core",
        "minidl.kernels.cpu.lanes:_Threads._make_room",
        "os.sched_getaffinity(0) - {core}",
        "os.sched_getaffinity(0)",
        "tests/kernels/test_cpu.py::test_helpers_avoid_the_callers_core",
    ),
    (
        "threads: the caller stays bound to its core",
        "minidl.kernels.cpu.lanes:_Threads.free",
        "os.sched_setaffinity(0, _here.cores)",
        "pass",
        "tests/kernels/test_cpu.py::test_the_caller_stays_on_its_core_after_a_pause",
    ),
    (
        "memory: arrays begin within a cache line",
        "minidl.kernels.cpu.memory:_aligned",
        "-block.ctypes.data % _LINE",
        "16 - block.ctypes.data % 16",
        "tests/kernels/test_cpu.py::test_memory_begins_at_a_cache_line",
    ),
    (
        "threads: without permission to set affinity, nothing runs",
        "minidl.kernels.cpu.lanes:_Threads._make_room",
        "contextlib.suppress(OSError)",
        "contextlib.suppress(ValueError)",
        "tests/kernels/test_cpu.py::test_work_continues_without_permission_to_set_affinity",
    ),
    (
        "threads: a forked child waits for its parent's threads",
        "minidl.kernels.cpu.lanes:",
        "os.register_at_fork(after_in_child=_threads.forget)",
        "pass",
        "tests/kernels/test_cpu.py::test_child_of_a_fork_computes",
    ),
    (
        "memory: idle blocks are kept beside larger ones",
        "minidl.kernels.cpu.memory:_Pool.take",
        "min(room, self.used + self.SPARE)",
        "self.used + self.SPARE",
        "tests/kernels/test_cpu.py::"
        "test_idle_memory_and_used_memory_exceed_the_most_used_by_a_tenth_at_most",
    ),
    (
        "memory: the rest of a block is never joined with it again",
        "minidl.kernels.cpu.memory:_Pool._collect",
        "block.before in self.free",
        "False",
        "tests/kernels/test_cpu.py::"
        "test_the_rest_of_a_block_serves_other_arrays_and_is_joined_again",
    ),
    (
        "memory: a block is joined with a neighbor in use",
        "minidl.kernels.cpu.memory:_Pool._collect",
        "block.after in self.free",
        "block.after is not None",
        "tests/kernels/test_cpu.py::test_living_blocks_never_overlap",
    ),
    (
        "fork: the memory pool's lock stays locked",
        "minidl.kernels.cpu.memory:",
        "os.register_at_fork(after_in_child=_pool.after_fork)",
        "pass",
        "tests/data/test_worker.py::"
        "test_a_worker_computes_even_if_the_parent_was_in_the_middle_of_it",
    ),
]
