"""The CPU engine: lanes, BLAS threads and memory, from several threads and after a fork."""

from __future__ import annotations

import gc
import itertools
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import helpers
import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl.errors import ArgumentError
from minidl.kernels import cpu

FLOAT = np.dtype(np.float32)


@pytest.fixture
def four_threads(threads: None) -> Iterator[None]:
    minidl.set_num_threads(4)
    yield


def blas_threads() -> list[int]:
    return [
        lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"
    ]


# --- The number of threads ------------------------------------------------------------------------


def test_number_of_threads(threads: None) -> None:
    minidl.set_num_threads(3)
    assert minidl.get_num_threads() == 3
    for bad in (0, -1, 1.5, "2"):
        with pytest.raises(ArgumentError, match="set_num_threads"):
            minidl.set_num_threads(bad)  # type: ignore[arg-type]
    assert minidl.get_num_threads() == 3


def step(dtype: Any) -> list[Any]:
    """A training step that uses every kind of parallel work."""
    x = minidl.tensor(helpers.values((19, 4, 40, 40), 0, dtype), requires_grad=True)
    w = minidl.tensor(helpers.values((16, 2, 3, 3), 1, dtype), requires_grad=True)
    v = minidl.tensor(helpers.values((10, 16 * 20 * 20), 2, dtype), requires_grad=True)
    y = F.relu(F.conv2d(x, w, padding=1, groups=2))
    y = F.max_pool2d(F.local_response_norm(y, 5, 0.1), 2)
    y = F.linear((y.exp() * 0.5).flatten(1), v)
    y.logsumexp(1).mean().backward()
    return [t.array for t in (y.detach(), x.grad, w.grad, v.grad)]


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_same_bits_at_any_number_of_threads(threads: None, dtype: Any) -> None:
    results = []
    for count in (1, 2, 3, 4):
        minidl.set_num_threads(count)
        results.append(step(dtype))
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            assert first.tobytes() == second.tobytes()


# --- parallel -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_piece_is_done_once(threads: None, count: int) -> None:
    minidl.set_num_threads(count)
    done: list[int] = []
    cpu.parallel(done.append, range(100))
    assert sorted(done) == list(range(100))
    cpu.parallel(done.append, [])
    assert len(done) == 100


@pytest.mark.skipif(cpu.lanes._own_core is None, reason="this system can't set a thread's affinity")
def test_helpers_avoid_the_callers_core(
    four_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_use = {0, 1, 2, 3}
    told: dict[int, set[int]] = {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: may_use)
    monkeypatch.setattr(os, "sched_setaffinity", told.__setitem__)
    monkeypatch.setattr(cpu.lanes, "_UNBALANCED", -1.0)  # the caller itself is not bound
    for core, others in ((1, {0, 2, 3}), (3, {0, 1, 2})):
        monkeypatch.setattr(cpu.lanes, "_own_core", lambda core=core: core)
        cpu.parallel(lambda _: None, range(8))
        helpers_ids = {helper.native_id for helper in cpu.lanes._threads.helpers}
        assert threading.get_native_id() not in helpers_ids
        assert told == dict.fromkeys(helpers_ids, others)
    told.clear()
    cpu.parallel(lambda _: None, range(8))  # nothing has changed
    may_use = {2}
    monkeypatch.setattr(cpu.lanes, "_own_core", lambda: 2)
    cpu.parallel(lambda _: None, range(8))  # with no other core
    assert not told


@pytest.mark.skipif(cpu.lanes._own_core is None, reason="this system can't set a thread's affinity")
def test_the_caller_stays_on_its_core_after_a_pause(
    four_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2})
    monkeypatch.setattr(os, "sched_setaffinity", lambda id, cores: id or told.append(cores))
    monkeypatch.setattr(cpu.lanes, "_own_core", lambda: 2)
    monkeypatch.setattr(cpu.lanes, "_PAUSE", -1.0)
    cpu.parallel(lambda _: None, range(8))
    with pytest.raises(KeyError):
        cpu.parallel({}.__getitem__, range(8))
    assert told == [{2}, {1, 2}] * 2
    monkeypatch.setattr(cpu.lanes, "_PAUSE", math.inf)
    cpu.lanes._threads.woken = -math.inf
    cpu.parallel(lambda _: None, range(8))  # long after a pause
    assert told == [{2}, {1, 2}] * 2


def test_work_continues_without_permission_to_set_affinity(
    four_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    done: list[int] = []
    cpu.parallel(done.append, range(8))
    assert sorted(done) == list(range(8))


def test_exception_reaches_the_caller_and_the_pool_survives(four_threads: None) -> None:
    def task(piece: int) -> None:
        if piece == 7:
            raise KeyError("piece 7")

    for _ in range(3):
        with pytest.raises(KeyError, match="piece 7"):
            cpu.parallel(task, range(20))
    done: list[int] = []
    cpu.parallel(done.append, range(20))
    assert len(done) == 20


def test_exception_in_a_helper_thread_reaches_the_caller(four_threads: None) -> None:
    caller = threading.get_ident()
    both = threading.Barrier(2)

    def task(piece: int) -> None:
        both.wait(timeout=60)  # one piece is the caller's, the other a helper's
        if threading.get_ident() != caller:
            raise ValueError("from a helper")

    with pytest.raises(ValueError, match="from a helper"):
        cpu.parallel(task, range(2))


def test_the_caller_waits_for_its_helpers(four_threads: None) -> None:
    caller = threading.get_ident()
    both = threading.Barrier(2)
    done: list[int] = []

    def task(piece: int) -> None:
        both.wait(timeout=60)
        if threading.get_ident() != caller:
            time.sleep(0.05)
        done.append(piece)

    cpu.parallel(task, range(2))
    assert sorted(done) == [0, 1]


def test_a_helper_that_comes_too_late_does_nothing() -> None:
    done: list[int] = []
    job = cpu.lanes._Job(done.append, range(3))
    job.drain()
    job.finish()
    job.help()
    assert done == [0, 1, 2] and job.task is None and job.error is None


def test_nested_parallel_runs_in_its_lane(four_threads: None) -> None:
    inner_threads: dict[int, set[int]] = {}

    def outer(piece: int) -> None:
        seen = inner_threads.setdefault(piece, set())
        cpu.parallel(lambda i: seen.add(threading.get_ident()), range(5))

    cpu.parallel(outer, range(8))
    assert len(inner_threads) == 8 and all(len(seen) == 1 for seen in inner_threads.values())


def test_split_depends_on_the_count_alone() -> None:
    for count in (0, 1, 5, 8, 9, 100):
        pieces = cpu.split(count)
        assert [i for piece in pieces for i in range(count)[piece]] == list(range(count))
        lengths = {piece.stop - piece.start for piece in pieces}
        assert len(pieces) <= cpu.PIECES and (not lengths or max(lengths) - min(lengths) <= 1)


# --- BLAS -----------------------------------------------------------------------------------------


def test_blas_has_one_thread_inside_and_the_callers_number_afterwards(four_threads: None) -> None:
    if not blas_threads():
        pytest.skip("threadpoolctl knows no BLAS here")
    with threadpoolctl.threadpool_limits(2, "blas"):
        before = blas_threads()
        inside: list[list[int]] = []
        cpu.parallel(lambda i: inside.append(blas_threads()), range(4))
        assert all(set(counts) == {1} for counts in inside)
        assert blas_threads() == before
        with pytest.raises(KeyError):
            cpu.parallel({}.__getitem__, range(4))
        assert blas_threads() == before
        cpu.matmul(np.ones((300, 300), FLOAT), np.ones((300, 300), FLOAT))
        assert blas_threads() == before


def test_blas_threads_come_back_after_several_users(four_threads: None) -> None:
    before = blas_threads()
    a = helpers.values((400, 400), 0, np.float32)
    with ThreadPoolExecutor(4) as pool:
        results = [f.result() for f in [pool.submit(cpu.matmul, a, a) for _ in range(16)]]
    assert blas_threads() == before
    for result in results:
        np.testing.assert_array_equal(result, results[0])


# --- Several user threads, and forks --------------------------------------------------------------


def test_several_user_threads_at_once(four_threads: None) -> None:
    expected = step(np.float32)
    with ThreadPoolExecutor(3) as pool:
        together = [f.result() for f in [pool.submit(step, np.float32) for _ in range(4)]]
    for results in together:
        for first, second in zip(expected, results, strict=True):
            assert first.tobytes() == second.tobytes()


FORK = """
import os, sys, threading
import minidl
from minidl.kernels import cpu
minidl.set_num_threads(3)

def work():
    both = threading.Barrier(2)
    cpu.parallel(lambda piece: both.wait(timeout=20), range(2))  # a thread does help
    x = minidl.ones(1 << 19, requires_grad=True)
    y = (x * 2).exp().sum() + (minidl.ones(400, 400) @ minidl.ones(400, 400)).sum()
    y.backward()
    return y.item() + x.grad.sum().item()

expected = work()  # the pool's threads exist now, and the child will not have them
for _ in range(3):
    child = os.fork()
    if child == 0:
        ok = work() == expected
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    if status: sys.exit("the child failed")
sys.exit(0 if work() == expected else "the parent failed")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_child_of_a_fork_computes() -> None:
    program = [sys.executable, "-W", "ignore", "-c", FORK]
    result = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_multiprocessing_child_computes() -> None:
    program = """
import multiprocessing, minidl
def work(n):
    return (minidl.ones(300, 300) @ minidl.ones(300, 300) / 100).exp().log().sum().item() * n
if __name__ == "__main__":
    expected = [work(n) for n in range(4)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(work, range(4)) == expected
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


# --- Memory ---------------------------------------------------------------------------------------


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_freed_memory_is_reused() -> None:
    cpu.release_memory()
    gc.disable()
    try:
        first = cpu.empty((1 << 19,), FLOAT)
        where = address(first)
        view = first[5:].reshape(-1)
        del first
        other = cpu.empty((1 << 19,), FLOAT)
        assert address(other) != where  # a view still holds the block
        del view
        again = cpu.empty((1 << 18,), np.dtype(np.float64))  # the same number of bytes
        assert address(again) == where
    finally:
        gc.enable()


def test_memory_is_not_shared_between_living_arrays() -> None:
    arrays = [cpu.empty((1 << 18,), FLOAT) for _ in range(5)]
    for number, array in enumerate(arrays):
        array.fill(number)
    assert [set(a.tolist()) for a in arrays] == [{float(n)} for n in range(5)]


def test_released_memory_returns_to_the_system() -> None:
    pool = cpu.memory._pool
    cpu.release_memory()
    idle = pool.idle  # beside living arrays
    array = cpu.empty((idle // 4 + (1 << 20),), FLOAT)
    del array
    pool._collect()
    assert pool.idle >= idle + (1 << 22)
    cpu.release_memory()
    assert pool.idle == idle


def test_small_and_empty_arrays() -> None:
    assert cpu.empty((0, 5), FLOAT).shape == (0, 5)
    assert cpu.empty((3,), FLOAT).flags.owndata
    assert cpu.empty_image(2, 3, 4, 5, FLOAT).shape == (2, 3, 4, 5)
    assert cpu.empty_image(2, 3, 4, 5, FLOAT).transpose(0, 2, 3, 1).flags.c_contiguous


def test_memory_begins_at_a_cache_line() -> None:
    assert address(cpu.empty((1 << 19,), FLOAT)) % 64 == 0
    assert address(cpu.scratch("aligned", (1 << 19,), FLOAT)) % 64 == 0


def test_scratch_belongs_to_its_thread() -> None:
    here = cpu.scratch("test", (10,), FLOAT)
    assert address(cpu.scratch("test", (4, 2), FLOAT)) == address(here)
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(lambda: cpu.scratch("test", (10,), FLOAT)).result()
    assert not np.shares_memory(here, there)
    assert cpu.scratch("test", (1000,), np.dtype(np.float64)).shape == (1000,)


# --- Shared work ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed", "sliced"])
def test_apply_ufunc_in_lanes(four_threads: None, layout: str) -> None:
    a = helpers.LAYOUTS[layout](helpers.values((9, 16, 40, 40), 0, np.float32))
    b = helpers.values((9, 16, 40, 40), 1, np.float32)
    assert a.size > cpu.SMALL
    np.testing.assert_array_equal(cpu.apply_ufunc(np.add, a, b), a + b)
    np.testing.assert_array_equal(cpu.apply_ufunc(np.multiply, a, 3.0), a * np.float32(3))
    np.testing.assert_array_equal(cpu.apply_ufunc(np.multiply, a, b[0]), a * b[0])
    less = cpu.apply_ufunc(np.less, a, b)
    assert less.dtype == bool
    np.testing.assert_array_equal(less, a < b)
    result = cpu.apply_ufunc(np.exp, a)
    order = np.argsort([-s for s in a.strides], kind="stable")
    assert result.transpose(order).flags.c_contiguous  # the layout is kept


@pytest.mark.parametrize(
    "shape", [(700, 500, 300), (3, 5, 7), (0, 4, 5), (4, 0, 5), (5000, 1, 900)]
)
def test_matmul(four_threads: None, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b = helpers.values((m, k), 0, np.float32), helpers.values((k, n), 1, np.float32)
    for left, right in ((a, b), (np.asfortranarray(a), b), (a, np.asfortranarray(b))):
        helpers.assert_close(cpu.matmul(left, right), a.astype(float) @ b.astype(float), max(k, 1))
    out = np.empty((m, n), FLOAT)
    assert cpu.matmul(a, b, out) is out


@pytest.mark.parametrize(
    "layouts", [("contiguous",) * 2, ("channels_last",) * 2, ("contiguous", "sliced")]
)
def test_blockwise_covers_everything_once(four_threads: None, layouts: tuple[str, str]) -> None:
    a = helpers.LAYOUTS[layouts[0]](helpers.values((5, 6, 80, 90), 0, np.float32))
    b = helpers.LAYOUTS[layouts[1]](np.zeros_like(a))

    def add(a: Any, b: Any) -> None:
        b += a

    cpu.blockwise(add, a, b)
    np.testing.assert_array_equal(a, b)


def test_no_warnings_inside_lanes(four_threads: None) -> None:
    x = np.zeros(1 << 18, np.float32)
    with np.errstate(all="ignore"):
        assert np.isneginf(cpu.apply_ufunc(np.log, x)).all()
        assert np.isnan(cpu.apply_ufunc(np.divide, x, x)).all()


# --- Idle memory ----------------------------------------------------------------------------------


def small_pool(**limits: int) -> Any:
    pool = cpu.memory._Pool()
    vars(pool).update(limits)
    return pool


def sizes(pool: Any) -> list[int]:
    pool._collect()
    assert pool.idle == sum(block.size for block in pool.free)
    return [block.size for block in pool.free]


def test_idle_memory_is_bounded_when_sizes_vary() -> None:
    pool = small_pool(SPARE=10_240)
    for size in range(1024, 4096, 64):
        pool.give_back(pool.take(size))
    assert sum(sizes(pool)) <= 10_240 + 2 * 4096  # in use when the pool was trimmed
    assert pool.used == 0


def test_idle_memory_and_used_memory_exceed_the_most_used_by_a_tenth_at_most() -> None:
    pool = small_pool(LEAST=0)
    for block in [pool.take(1024) for _ in range(3)]:
        pool.give_back(block)
    assert sizes(pool) == [1024] * 3
    larger = pool.take(2112)  # no block suffices: 1,267 bytes may remain idle
    assert (sizes(pool), pool.used) == ([1024], 2112)
    pool.give_back(larger)
    pool.LEAST = 6400
    pool.take(2176)
    assert (sizes(pool), pool.used) == ([1024, 2112], 2176)  # small programs keep their blocks


def test_the_memory_used_longest_ago_is_dropped_first() -> None:
    pool = small_pool(SPARE=2560)
    first, second = pool.take(1024), pool.take(1088)
    pool.give_back(second)
    pool.give_back(first)
    pool.give_back(pool.take(1088))  # used again, which makes 1024 the oldest
    pool.give_back(pool.take(1152))
    assert sizes(pool)[-2:] == [1088, 1152]
    pool.trim(2500)
    assert sizes(pool) == [1088, 1152]


def test_the_rest_of_a_block_serves_other_arrays_and_is_joined_again() -> None:
    pool = small_pool(REST=64)
    pool.give_back(pool.take(4096))
    first, second, third = pool.take(1000), pool.take(2048), pool.take(1000)
    assert [(b.start, b.size) for b in (first, second, third)] == [
        (0, 1024), (1024, 2048), (3072, 1024),
    ]  # fmt: skip
    assert all(block.memory is first.memory for block in (second, third))
    assert sizes(pool) == []
    pool.give_back(second)
    assert sizes(pool) == [2048]
    pool.trim(0)
    assert sizes(pool) == [2048]  # part of memory in use
    pool.give_back(first)
    assert sizes(pool) == [3072]
    pool.give_back(third)
    assert (sizes(pool), pool.used) == ([4096], 0)
    pool.trim(0)
    assert sizes(pool) == []


def test_the_smallest_block_that_suffices_is_taken_and_a_small_rest_stays_with_it() -> None:
    pool = small_pool(REST=1024)
    for block in [pool.take(8192), pool.take(2048), pool.take(4096)]:
        pool.give_back(block)
    block = pool.take(1984)
    assert (block.size, sizes(pool)) == (2048, [8192, 4096])


@settings(max_examples=200)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_living_blocks_never_overlap(lengths: list[int], random: Any) -> None:
    pool, living = small_pool(REST=64, LEAST=0, SPARE=4096), []
    for length in lengths:
        living.append(block := pool.take(64 * length))
        assert block.size >= 64 * length
        for _ in range(random.randrange(3)):
            if living:
                pool.give_back(living.pop(random.randrange(len(living))))
    taken = sorted((id(b.memory), b.start, b.size) for b in living)
    for (memory, start, size), after in itertools.pairwise(taken):
        assert memory != after[0] or start + size <= after[1]
    assert pool.used - sum(b.size for b in pool.returned) == sum(b.size for b in living)
    for block in living:
        pool.give_back(block)
    pool.trim(0)
    assert (pool.used, pool.idle, sizes(pool)) == (0, 0, [])
