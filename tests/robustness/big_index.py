"""An index of all ImageNet pictures takes little memory in every process, and never grows.

The trial writes an archive in the official layout whose pictures are empty: it is all headers. Then
three processes open it. The first makes the index. The second reads it, goes over all pictures
twenty times and records its memory. The third does the same with two workers.
"""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TIMES, SHORT = 1_281_167, 5_000  # pictures
PASSES = 20
MOST = 150.0  # MB a process may have
GROWTH = 2.0  # MB by which the last passes may exceed the first: noise of allocators


def header(name: bytes, size: int) -> bytes:
    """A tar header of a regular file."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124:135] = b"%011o" % size
    block[156:157] = b"0"
    block[148:156] = b"%06o\0 " % (sum(block) + 8 * ord(" "))
    return bytes(block)


def write_archive(path: Path, pictures: int, seed: int) -> None:
    """Write a training archive with a thousand classes of empty pictures."""
    classes = min(1000, pictures)
    counts = np.full(classes, pictures // classes)
    counts[: pictures % classes] += 1
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        for number, count in enumerate(counts.tolist()):
            wnid = b"n%08d" % (1_000_000 + 7 * number)
            names = rng.permutation(40_000)[:count].tolist()
            file.write(header(wnid + b".tar", 512 * (count + 2)))
            file.writelines(header(b"%s_%d.JPEG" % (wnid, name), 0) for name in names)
            file.write(bytes(1024))
        file.write(bytes(1024))
    os.utime(path, ns=(10**18, 10**18))  # a file that has just changed gets no index


def run(times: int, folder: Path, seed: int) -> str:
    """Make an index of `times` pictures, and use it; see the module's docstring."""
    archive = folder / "ILSVRC2012_img_train.tar"
    write_archive(archive, times, seed)
    made = _apart("make", folder)
    assert made["pictures"] == times
    assert (folder / "minidl-train.index").is_file()
    used = _apart("use", folder)
    workers = _apart("workers", folder)
    assert used["pictures"] == workers["pictures"] == times
    assert used["labels"] == made["labels"] and used["names"] == made["names"]
    for name, found in (("a process", used), ("the parent", workers)):
        assert found["memory"][-1] <= MOST, f"{name} has {found['memory'][-1]:.0f} MB"
        growth = _growth(found["memory"])
        assert growth <= GROWTH, f"{name} grows by {growth:.1f} MB: {found['memory']}"
    assert workers["of_workers"], "no worker was seen"
    most, growth = (
        max(map(max, workers["of_workers"])),
        _growth([max(of_one) for of_one in workers["of_workers"]]),
    )
    assert most <= MOST, f"a worker has {most:.0f} MB"
    assert growth <= GROWTH, f"workers grow by {growth:.1f} MB: {workers['of_workers']}"
    size = (folder / "minidl-train.index").stat().st_size / 1e6
    return (
        f"{times:,} pictures: index of {size:.0f} MB made in {made['seconds']:.1f} s, read in "
        f"{used['seconds']:.2f} s; {used['memory'][-1]:.0f} MB per process, {most:.0f} MB per "
        f"worker; over {PASSES} passes {_growth(used['memory']):+.1f} MB and {growth:+.1f} MB"
    )


def _growth(memory: list[float]) -> float:
    """Return how much more memory the last quarter of the passes has than the second."""
    quarter = len(memory) // 4
    return min(memory[-quarter:]) - min(memory[quarter : 2 * quarter])


def _apart(task: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), task, str(folder)],
        cwd=ROOT, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# -------------------------------------------------------------------------------- the processes
def memory_of(pid: int | str) -> float:
    """Return a process's memory in MB; shared memory is divided among the sharers."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("\nPss:")[1].split()[0]) / 1000


def children() -> Iterator[int]:
    """Yield all descendants of this process."""
    todo = [os.getpid()]
    while todo:
        pid = todo.pop()
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            below = [int(word) for word in path.read_text().split()]
            todo += below
            yield from below


def _child(task: str, root: Path) -> dict[str, Any]:
    from minidl.data import DataLoader
    from minidl.vision.datasets import ImageNet

    start = time.perf_counter()
    pictures = ImageNet(root, transform=len, loader=operator.methodcaller("getvalue"))
    found: dict[str, Any] = {"seconds": time.perf_counter() - start, "pictures": len(pictures)}
    found["labels"] = int(np.dot(np.asarray(pictures.targets), np.arange(len(pictures)) % 1009))
    found["names"] = [pictures.samples[place][0] for place in (0, len(pictures) // 2, -1)]
    found["memory"] = []
    found["of_workers"] = []
    if task == "use":
        for _ in range(PASSES):
            assert sum(len(path) > 0 for path, _ in pictures.samples) == len(pictures)
            assert sum(1 for _ in pictures.targets) == len(pictures)
            found["memory"].append(memory_of("self"))
    elif task == "workers":
        chosen = range(0, len(pictures), max(10, len(pictures) // 20_000))
        loader = DataLoader(
            pictures, 256, sampler=_Only(chosen), num_workers=2, persistent_workers=True
        )
        for _ in range(PASSES):
            assert sum(len(labels) for _, labels in loader) == len(chosen)
            found["memory"].append(memory_of("self"))
            found["of_workers"].append([memory_of(pid) for pid in children()])
    return found


class _Only:
    """A sampler of some indices."""

    def __init__(self, indices: range) -> None:
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    print(json.dumps(_child(sys.argv[1], Path(sys.argv[2]))))
