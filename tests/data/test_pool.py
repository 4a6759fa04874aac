"""Worker processes, seen from the consumer: failures, memory, ways to start, a clean end."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from loader_workers import Calls, at, output_of, run_program

from minidl.data import DataLoader, loader, pool, transport
from minidl.errors import ArgumentError, DataError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the data sets need fork")


def spin() -> None:
    while True:
        pass


def hold_the_lock_of_python() -> None:
    re.match(r"(a|aa)+$", "a" * 200 + "b")


def close_the_pipe() -> None:
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # the listing's own
        if name.startswith("socket:"):
            os.close(descriptor)
    time.sleep(60)


def kill_myself(number: int) -> Callable[[], None]:
    def call() -> None:
        faulthandler.disable()  # pytest's would write much about a crash
        os.kill(os.getpid(), number)

    return call


def until_error(batches: Any) -> tuple[list[Any], DataError]:
    """Return the batches, and the error that ends them."""
    found: list[Any] = []
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        found.extend(batches)
    assert time.monotonic() - start < 15
    return found, caught.value


@pytest.mark.parametrize(
    ("end", "words", "persistent"),
    [
        (kill_myself(signal.SIGKILL), "was killed by SIGKILL at index 3 .*memory", False),
        (kill_myself(signal.SIGKILL), "was killed by SIGKILL at index 3 .*memory", True),
        (kill_myself(signal.SIGTERM), "was killed by SIGTERM at index 3", False),
        (kill_myself(signal.SIGSEGV), "was killed by SIGSEGV at index 3", True),
        (lambda: os._exit(7), "ended with exit code 7 at index 3", False),
        (kill_myself(signal.SIGSTOP), "has done nothing for .* at index 3 .*timeout=", False),
        (kill_myself(signal.SIGSTOP), "has done nothing for .* at index 3 .*timeout=", True),
        (lambda: time.sleep(60), "has done nothing for .* at index 3 .*timeout=", True),
        (spin, "has done nothing for .* at index 3 .*timeout=", False),
        (hold_the_lock_of_python, "has done nothing for .* at index 3 .*timeout=", True),
        (close_the_pipe, "closed its pipe at index 3", False),
    ],
    ids=[
        "killed", "killed-persistent", "terminated", "crashed", "ended",
        "stopped", "stopped-persistent", "sleeps", "spins", "locked", "closed",
    ],
)  # fmt: skip
def test_a_lost_worker_is_named_and_the_loader_goes_on(
    end: Callable[[], None], words: str, persistent: bool
) -> None:
    data = at(3, end)
    batches = DataLoader(data, num_workers=2, timeout=1, persistent_workers=persistent)
    found, error = until_error(iterator := iter(batches))
    pids = [batch.item() for batch in found]
    assert len(pids) <= 3
    assert re.search(rf"worker 1 \(pid \d+\) {words}", str(error)), error
    assert pids[1:2] == [int(re.findall(r"pid (\d+)", str(error))[0])][: len(pids[1:2])]
    assert multiprocessing.active_children() == []
    for _ in range(2):  # and not like the end of the epoch
        with pytest.raises(DataError, match="worker 1"):
            next(iterator)
    data.call = lambda index: index
    assert [batch.item() for batch in batches] == list(range(6))


def test_a_worker_killed_from_outside_while_it_is_idle() -> None:
    batches = DataLoader(at(-1, spin), num_workers=2, persistent_workers=True)
    pids = [batch.item() for batch in batches]
    os.kill(pids[1], signal.SIGKILL)
    _, error = until_error(batches)
    assert re.search(rf"worker 1 \(pid {pids[1]}\) was killed by SIGKILL", str(error))
    assert len(list(batches)) == 6


def test_without_a_timeout_there_is_a_limit_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loader.SILENCE <= 8
    monkeypatch.setattr(loader, "SILENCE", 0.3)
    _, error = until_error(DataLoader(at(0, spin), num_workers=1))
    assert "has done nothing for 0.3" in str(error)


def test_a_worker_that_hangs_elsewhere_than_in_a_sample() -> None:
    def begin(number: int) -> None:
        time.sleep(60)

    _, error = until_error(
        DataLoader(at(-1, spin), num_workers=1, timeout=0.3, worker_init_fn=begin)
    )
    assert "worker_init_fn" in str(error)

    def collate(samples: Any) -> None:
        time.sleep(60)

    _, error = until_error(
        DataLoader(at(-1, spin), 3, num_workers=1, timeout=0.3, collate_fn=collate)
    )
    assert "while making a batch of 3 samples, the last of index 2" in str(error)


def test_slow_batches_of_quick_samples_are_no_hang() -> None:
    slow = Calls(lambda index: time.sleep(0.25) or index)
    assert len(list(DataLoader(slow, 6, num_workers=1, timeout=1))) == 1


def test_ctrl_c_ends_the_workers() -> None:
    batches = DataLoader(at(1, lambda: time.sleep(60)), num_workers=2, persistent_workers=True)
    iterator = iter(batches)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        list(iterator)
    timer.join()
    assert multiprocessing.active_children() == []
    with pytest.raises(DataError, match="ended"):
        next(iterator)


def test_ctrl_c_between_two_batches_does_not_lose_one() -> None:
    class Interrupted(list[int]):
        def __iter__(self) -> Any:
            yield from range(4)
            raise KeyboardInterrupt

    batches = iter(DataLoader(range(9), sampler=Interrupted(), num_workers=1, prefetch_factor=3))
    assert next(batches).item() == 0
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    with pytest.raises(DataError, match="ended"):  # neither number 2 nor the epoch's end
        next(batches)


def test_a_program_that_was_stopped_does_not_take_that_for_a_hang() -> None:
    program = """
        import multiprocessing, time
        from minidl.data import DataLoader, Dataset

        class Slow(Dataset):
            def __getitem__(self, index):
                time.sleep(0.1)
                return index
            def __len__(self):
                return 8

        batches = iter(DataLoader(Slow(), 4, num_workers=1, timeout=1))
        print(multiprocessing.active_children()[0].pid, flush=True)
        print(len(list(batches)))
    """
    with run_program(program) as process:
        assert process.stdout is not None
        both = [process.pid, int(process.stdout.readline())]
        time.sleep(0.3)
        for pid in both:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5)
        for pid in both:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.2)  # in which the parent finds a worker that has done nothing
        assert process.stdout.read() == "2\n"
    assert process.returncode == 0


def test_a_process_that_begins_while_another_thread_closes_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parent's closed descriptor numbers may be those of the worker's own slots by now."""
    close, half, enough = os.close, threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        close(descriptor)
        if threading.current_thread() is thread:
            half.set()
            enough.wait()

    first = iter(DataLoader(range(4), num_workers=1))
    thread = threading.Thread(target=first._workers.stop)  # type: ignore[attr-defined]
    monkeypatch.setattr(transport, "os", SimpleNamespace(**{**vars(os), "close": slow}))
    thread.start()
    half.wait()
    try:
        assert [batch.item() for batch in DataLoader(range(4), num_workers=1)] == [0, 1, 2, 3]
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_batches_that_are_kept_stay_as_they_are(ahead: int) -> None:
    loader = DataLoader(
        Calls(lambda index: np.full((3, 50), index), 40),
        2,
        num_workers=2,
        prefetch_factor=ahead,
        persistent_workers=True,
    )
    kept: list[Any] = []
    for epoch in range(3):
        for number, batch in enumerate(loader):
            batch += 100 * epoch  # it is the caller's
            if epoch == 2 or number % 3 < 2:
                kept.append((2 * number + 100 * epoch, batch[1] if number % 2 else batch))
    del loader, batch
    gc.collect()
    for value, batch in kept:
        rows = batch.numpy() if batch.ndim == 3 else batch.numpy()[None] - 1
        assert (rows[0] == value).all(), value
    assert len(kept) == 14 + 14 + 20


def test_a_forked_process_keeps_the_batches_that_it_has() -> None:
    first = iter(DataLoader(Calls(lambda index: np.full(1000, index), 60), 2, num_workers=1))
    batches = [next(first)]

    def later(index: int) -> Any:
        time.sleep(0.01)
        return batches[0].array[0, :3].copy()

    second = iter(DataLoader(Calls(later, 20), 1, num_workers=1))
    next(second)
    batches.clear()  # the second's worker has its own list
    assert [rows[0, 0].item() for rows in first] == list(range(2, 60, 2))
    assert all(row.tolist() == [[0, 0, 0]] for row in second)


def test_what_a_worker_changes_of_another_loaders_batch_stays_its_own() -> None:
    rows = next(iter(DataLoader(Calls(lambda index: np.full(1000, index)), 6, num_workers=1)))

    def doubled(index: int) -> Any:
        row = rows[index].array
        row *= 2
        return row

    def read() -> Any:
        return next(iter(DataLoader(Calls(doubled), 6, num_workers=1)))[:, 0].tolist()

    for _ in range(2):
        assert read() == [0, 2, 4, 6, 8, 10]
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_large_and_growing_batches() -> None:
    sizes = [[0], list(range(300)), [1, 2], list(range(100_000))]
    for files in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool, "HAS_ANONYMOUS_FILES", files and pool.HAS_ANONYMOUS_FILES)
            found = [
                batch.tolist()
                for batch in DataLoader(range(100_000), batch_sampler=sizes, num_workers=1)
            ]
        assert found == sizes


@pytest.mark.parametrize("files", [True, False])
def test_both_sides_never_wait_for_each_other_to_read(files: bool) -> None:
    """Send more than a pipe holds: many lines or, without files, orders and batches."""
    program = """
        import resource
        from minidl.data import DataLoader, pool

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        files, size, slots = %r
        pool.HAS_ANONYMOUS_FILES &= files
        loader = DataLoader(range(3000 * size), size, num_workers=1, prefetch_factor=slots)
        print(sum(len(batch) for batch, _ in zip(loader, range(3000 if files else 6))))
    """
    case = (True, 1, 900) if files else (False, 50_000, 2)
    expected = 3000 if files else 6 * 50_000
    assert output_of(program % (case,)) == f"{expected}\n"


def test_a_worker_cannot_have_workers() -> None:
    inner = DataLoader(range(3), num_workers=1)
    with pytest.raises(ArgumentError, match="num_workers=1 in minidl-loader-0"):
        list(DataLoader(at(0, lambda: list(inner)), num_workers=1))


def test_a_forked_process_leaves_its_parents_workers_alone() -> None:
    program = """
        import multiprocessing, os
        from minidl.data import DataLoader, Dataset

        class Parents(Dataset):
            def __getitem__(self, index):
                return os.getppid()
            def __len__(self):
                return 4

        loader = DataLoader(Parents(), num_workers=2, persistent_workers=True)
        batches = iter(loader)
        assert next(batches).item() == os.getpid()

        def look(batches):
            print([batch.item() == os.getpid() for batch in batches], flush=True)

        child = multiprocessing.get_context("fork").Process(target=look, args=(loader,))
        child.start()
        child.join()
        look(batches)
    """
    assert output_of(program).splitlines() == [str([True] * 4), str([True] * 3)]


def test_by_spawn() -> None:
    """With spawn everything is pickled; the message names the part that can't be."""
    program = """
        import multiprocessing, minidl
        from minidl.data import DataLoader, TensorDataset

        class Local:
            def __reduce__(self):
                raise TypeError("no way")
            def __getitem__(self, index):
                return index
            def __len__(self):
                return 1

        if __name__ == "__main__":
            data = TensorDataset(minidl.arange(12).reshape(6, 2), minidl.arange(6))
            minidl.manual_seed(1)
            alone = [[part.tolist() for part in batch] for batch in DataLoader(data, 2, True)]
            workers = DataLoader(
                data, 2, True, num_workers=1, multiprocessing_context="spawn",
                persistent_workers=True,
            )
            minidl.manual_seed(1)
            assert [[part.tolist() for part in batch] for batch in workers] == alone
            assert len(list(workers)) == 3
            spawn = multiprocessing.get_context("spawn")
            for arguments in (
                {"dataset": Local()},
                {"dataset": data, "collate_fn": lambda samples: samples},
                {"dataset": data, "worker_init_fn": lambda number: None},
            ):
                try:
                    iter(DataLoader(num_workers=1, multiprocessing_context=spawn, **arguments))
                except minidl.errors.ArgumentError as error:
                    print(str(error).split("(")[0])
    """
    assert output_of(program).splitlines() == [
        "DataLoader: dataset can't be pickled ",
        "DataLoader: collate_fn can't be pickled ",
        "DataLoader: worker_init_fn can't be pickled ",
    ]


def test_by_a_fork_server() -> None:
    program = """
        from minidl.data import DataLoader
        if __name__ == "__main__":
            batches = DataLoader(range(4), num_workers=2, multiprocessing_context="forkserver")
            print([batch.item() for batch in batches])
    """
    assert output_of(program) == "[0, 1, 2, 3]\n"


def test_a_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing.context import ForkProcess

    start = ForkProcess._Popen

    def refuse(process: Any) -> Any:
        if process.name.endswith("1"):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(process)

    monkeypatch.setattr(ForkProcess, "_Popen", staticmethod(refuse))
    with pytest.raises(DataError, match="worker 1 of num_workers=2 can't be started") as caught:
        iter(DataLoader(range(3), num_workers=2))
    assert caught.value.__traceback__ is not None and multiprocessing.active_children() == []


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_paths_do_not_grow_in_the_workers() -> None:
    """Reference counts of a list of strings would make every worker copy its pages."""
    from minidl.vision.datasets.index import Samples

    count = 40_000
    names = [
        f"class{i % 100:03d}/a picture whose name is rather long {i:09d}.jpg" for i in range(count)
    ]
    samples = Samples(
        "/folder",
        np.frombuffer("".join(names).encode(), np.uint8),
        np.cumsum([len(name) for name in names]),
        np.zeros(count, np.int64),
    )
    del names

    def own_memory(_: Any) -> int:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))

    data = Calls(lambda index: len(samples[index][0]), count)
    loader = DataLoader(data, 2000, num_workers=1, persistent_workers=True, collate_fn=own_memory)
    passes = [list(loader) for _ in range(3)]  # KiB after every batch
    assert max(passes[-1]) - passes[0][1] < 2000
