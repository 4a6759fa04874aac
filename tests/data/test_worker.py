"""What runs inside a worker process: exceptions, signals, seeds, and an end with the parent."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loader_workers import Calls, at, output_of, run_program

import minidl
from minidl.data import DataLoader, default_collate
from minidl.errors import DataError
from minidl.kernels import cpu

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the data sets need fork")


def shared_names() -> set[str]:
    """Return the names in shared memory, without those of Open MPI's ranks in other tests."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("sm_segment")}


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("state", ["", "stopped", "locked"])
def test_workers_end_with_a_parent_that_is_killed(state: str) -> None:
    program = """
        import os, re, time
        from minidl.data import DataLoader, Dataset

        class Pids(Dataset):
            def __getitem__(self, index):
                if index >= 2 and STATE == "locked":
                    re.match(r"(a|aa)+$", "a" * 200 + "b")
                return os.getpid()
            def __len__(self):
                return 100

        STATE = %r
        batches = iter(DataLoader(Pids(), num_workers=2, timeout=60))
        print(next(batches).item(), next(batches).item(), flush=True)
        time.sleep(60)
    """
    names = shared_names()
    with run_program(program % state) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2 and all(alive(pid) for pid in pids)
        if state == "stopped":
            os.kill(pids[0], signal.SIGSTOP)
        process.kill()
    start = time.monotonic()
    while any(alive(pid) for pid in pids):
        assert time.monotonic() - start < 10
        time.sleep(0.01)
    assert shared_names() == names


def test_a_program_may_end_in_the_middle_of_an_epoch() -> None:
    program = """
        import os, signal, time
        from minidl.data import DataLoader, Dataset, pool

        class Pids(Dataset):
            def __getitem__(self, index):
                return os.getpid()
            def __len__(self):
                return 100

        pool._GRACE_SECONDS = 0.2
        loader = DataLoader(Pids(), num_workers=2, persistent_workers=True)
        batches = iter(loader)
        os.kill(next(batches).item(), signal.SIGSTOP)
        time.sleep(0.1)
    """
    assert output_of(program) == ""


class Particular(DataError):
    """An exception with more state than its message."""

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text)
        self.path = path


def test_an_exception_comes_out_whole_and_the_worker_lives_on() -> None:
    def fail() -> None:
        error = Particular("broken", "n01.jpg")
        error.add_note("look at the disk")
        raise error

    batches = DataLoader(at(1, fail), num_workers=1, persistent_workers=True)
    for _ in range(2):
        iterator = iter(batches)
        pid = next(iterator).item()
        with pytest.raises(Particular, match="broken") as caught:
            next(iterator)
        text = "".join(traceback.format_exception(caught.value))
        assert caught.value.path == "n01.jpg" and "look at the disk" in text
        assert "index 1 of the data set" in text
        assert "Traceback in worker 0" in text and "in fail" in text
        assert [batch.item() for batch in iterator] == [pid] * 4


def test_an_exception_that_cannot_travel_becomes_one_that_can() -> None:
    class Local(Exception):
        pass

    class Awkward(Exception):
        def __init__(self, path: str, line: int) -> None:
            super().__init__(f"{path}:{line}")

    for error in (Local("nowhere to be found"), Awkward("list.txt", 3)):

        def fail(error: Exception = error) -> None:
            raise error

        with pytest.raises(DataError, match=f"{type(error).__name__} in worker 0: {error}") as seen:
            list(DataLoader(at(0, fail), num_workers=1))
        text = "".join(traceback.format_exception(seen.value))
        assert "index 0 of the data set" in text and "in fail" in text


def test_an_exception_without_a_message_is_not_the_workers_end() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise ValueError("nothing to say")

    def fail() -> None:
        raise Silent

    batches = iter(DataLoader(at(0, fail), num_workers=1))
    with pytest.raises(DataError, match=r"Silent in worker 0: \(it has no message"):
        next(batches)
    assert next(batches).item() > 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [(SystemExit(3), DataError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_even_what_would_end_a_process_comes_out(
    error: BaseException, kind: type[BaseException]
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(kind):
        list(DataLoader(at(0, fail), num_workers=1))


def test_a_batch_that_cannot_be_pickled() -> None:
    unsendable = DataLoader(
        Calls(lambda index: index), num_workers=1, collate_fn=lambda samples: lambda: samples
    )
    with pytest.raises(DataError, match="can't send its batch"):
        list(unsendable)


def test_pictures_of_pillow_travel() -> None:
    from PIL import Image

    red = Calls(lambda index: Image.new("RGB", (2, 3), (255, 0, index)), 2)
    for number, picture in enumerate(DataLoader(red, batch_size=None, num_workers=1)):
        assert picture.size == (2, 3) and picture.getpixel((1, 1)) == (255, 0, number)


def test_signals_threads_and_seeds_of_a_worker() -> None:
    import random

    def look(index: int) -> dict[str, Any]:
        return {
            "int": int(signal.getsignal(signal.SIGINT) == signal.SIG_IGN),
            "term": int(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL),
            "masked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "threads": minidl.get_num_threads(),
            "random": random.random(),
            "numpy": float(np.random.random()),
            "minidl": minidl.rand(1).item(),
        }

    handlers = {  # a program in the background may have been started with Ctrl-C ignored
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)
    }
    wakeup = signal.set_wakeup_fd(-1)
    try:
        seen = list(DataLoader(Calls(look, 4), num_workers=2))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    for one in seen:
        found = [one[key].item() for key in ("int", "term", "masked", "threads")]
        assert found == [1, 1, 0, 1]
    for key in ("random", "numpy", "minidl"):
        assert len({one[key].item() for one in seen}) == 4


def test_a_worker_computes_even_if_the_parent_was_in_the_middle_of_it() -> None:
    a = np.ones((600, 600), np.float32)
    expected = cpu.matmul(a, a)  # the parent has a pool of threads
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with cpu.memory._pool.lock, cpu.lanes._threads.lock, cpu.single_threaded_blas.lock:
            held.set()
            enough.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    batches = DataLoader(Calls(lambda index: cpu.matmul(a, a)[0, 0], 2), num_workers=1, timeout=5)
    try:
        assert [batch.item() for batch in batches] == [expected[0, 0]] * 2
    finally:
        enough.set()
        thread.join()


def test_a_worker_holds_nothing_of_the_others() -> None:
    def held(index: int) -> list[str]:
        """Return the open descriptors; a mapping has its own one for the same file."""
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        there = [link for link in links if os.path.exists(link) or os.path.islink(link)]
        return sorted({f"{os.readlink(link)} {os.stat(link).st_ino}" for link in there})

    if not Path("/proc/self/fd").exists():
        pytest.skip("looks into /proc")
    others = held(0)  # what other tests have left open in this process
    first = DataLoader(Calls(lambda index: index), num_workers=2, persistent_workers=True)
    list(first)
    batches = DataLoader(Calls(held, 3), batch_size=None, num_workers=3, prefetch_factor=1)
    for names in batches:
        # its slots (one order, two batches lent), and the numbers
        assert sum("memfd:minidl" in name for name in names) == 4
        assert sum(name.startswith("socket:") for name in set(names) - set(others)) == 1
    del first
    gc.collect()


def test_what_a_transform_collates_may_be_kept() -> None:
    memory: dict[int, Any] = {}

    def crops(index: int) -> Any:
        """Remember the crops of the first picture, and return them again for others."""
        return memory.setdefault(
            index % 5, default_collate([np.full(4, index + i) for i in (0, 1)])
        )

    loader = DataLoader(Calls(crops, 80), 4, num_workers=1)
    rows = [row[0, 0].item() for batch in loader for row in batch]
    assert rows == [index % 5 for index in range(80)]


def test_the_memory_of_a_sample_serves_the_next() -> None:
    resource = pytest.importorskip("resource")
    ctypes = pytest.importorskip("ctypes")
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("is about glibc")

    def faults(index: int) -> int:
        parts = [np.ones(100_000) for _ in range(5)]  # 196 pages each
        del parts
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

    counts = [batch.item() for batch in DataLoader(Calls(faults, 30), num_workers=1)]
    assert counts[-1] - counts[9] < 20 * 196  # decoding all again would be five times as many
