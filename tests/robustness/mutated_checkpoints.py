"""Damaged checkpoints raise an error or load exactly as saved.

The trial truncates files to every length and applies random damage of many kinds. A file of
:func:`minidl.save` must raise `CheckpointError` or give exactly what was saved. Plain safetensors
files have no checksums, so they may give other values. In an .npz file, the arrays have checksums
but the directory has none, so each array must be one of those saved. No file may raise another
error, take a second, or take more memory than twice the file's size.
"""

from __future__ import annotations

import io
import json
import math
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from damage import DAMAGE

import minidl
from minidl.checkpoint import encode
from minidl.errors import CheckpointError
from minidl.formats import read_safetensors, write_safetensors

TIMES = 10_000
SHORT = 400

_SECONDS = 1.0
_CONSTANT = 16 << 20  # bytes of memory in addition to twice the file's size


def run(times: int, folder: Path, seed: int) -> str:
    files = _Files(folder, seed)
    for length in range(0, len(files.own[0]), max(1, TIMES // times)):
        files.check("cut off", "own", files.own[0][:length], allowed=())
    for number in range(times):
        rng = random.Random(f"{seed} {number}")
        kind = rng.choice(("own", "plain", "npz"))
        data, other = rng.sample(getattr(files, kind), 2)
        how = rng.choice([*DAMAGE, _edit_header] if kind != "npz" else DAMAGE)
        damaged = how(rng, data, other)
        allowed = files.same_as(kind, data, other, rewritten=how is _edit_header)
        files.check(f"number {number}, {how.__name__}", kind, damaged, allowed)
    if times >= TIMES:
        assert files.slowest < _SECONDS, f"a damaged file took {files.slowest:.1f} s"
    counts = ", ".join(f"{count} {what}" for what, count in sorted(files.counts.items()))
    return (
        f"{counts}; slowest {1e3 * files.slowest:.0f} ms, "
        f"at most {files.memory / 1e6:.1f} MB more than twice the file's size"
    )


# --- What is damaged ------------------------------------------------------------------------------


def _arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "weight": rng.normal(size=(8, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=8),
        "half": rng.normal(size=(2, 5)).astype(np.float16),
        "mask": rng.random(20) > 0.5,
        "counts": rng.integers(-9, 9, (3, 4)),
        "bytes": rng.integers(0, 256, 300).astype(np.uint8),
        "empty": np.zeros((0, 4), np.float32),
        "zeros": np.zeros((40, 40), np.float32),
    }


def _state(seed: int) -> Any:
    return {
        "model": {name: minidl.from_numpy(array) for name, array in _arrays(seed).items()},
        "optimizer": {"state": {0: {"step": 2**70}}, "groups": [{"lr": 0.1, "betas": (0.9, seed)}]},
        "random": np.arange(seed, seed + 100, dtype=np.uint64),
        "history": [{"loss": math.nan, "epoch": i, "note": "é\n"} for i in range(3)],
        "raw": b"\0\xff",
    }


def _npz(seed: int, savez: Callable[..., None]) -> bytes:
    file = io.BytesIO()
    savez(file, **_arrays(seed))
    return file.getvalue()


class _Files:
    """Intact files of each kind, a path for damaged ones, and counts of the results."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path = folder / "damaged"
        self.own = [b"".join(encode(_state(seed + i))) for i in range(2)]
        self.plain = [
            b"".join(write_safetensors(_arrays(seed + i), {"format": "pt"})) for i in range(2)
        ]
        self.npz = [_npz(seed, np.savez), _npz(seed + 1, np.savez_compressed)]
        self.npz_arrays = {
            array.tobytes() for i in range(2) for array in _arrays(seed + i).values()
        }
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.memory = 0

    def same_as(self, kind: str, *whole: bytes, rewritten: bool) -> tuple[bytes, ...]:
        """Return the encodings of all values that a damaged minidl file may give."""
        if kind != "own":
            return ()
        allowed = list(whole)
        if rewritten:  # without its metadata, it is a valid file of another program
            for data in whole:
                self.path.write_bytes(data)
                with open(self.path, "rb") as file:
                    arrays, _ = read_safetensors(file)
                tensors = {name: minidl.from_numpy(array) for name, array in arrays.items()}
                allowed.append(b"".join(encode(tensors)))
        return tuple(allowed)

    def check(self, what: str, kind: str, data: bytes, allowed: tuple[bytes, ...]) -> None:
        """Load a damaged file; raise AssertionError unless it is refused or loads correctly."""
        self.path.write_bytes(data)
        try:
            loaded = self._load(len(data))
        except CheckpointError:
            self.counts[f"{kind} refused"] += 1
            return
        except Exception as error:
            raise AssertionError(f"{what}, {kind}: {error!r}") from error
        self.counts[f"{kind} loaded"] += 1
        if kind == "own":
            assert b"".join(encode(loaded)) in allowed, f"{what}: a wrong value was loaded"
        elif kind == "npz":
            for array in loaded.values():
                assert array.tobytes() in self.npz_arrays, f"{what}: a wrong value was loaded"

    def _load(self, size: int) -> Any:
        tracemalloc.start()
        start = time.perf_counter()
        try:
            return minidl.load(self.path)
        finally:
            self.slowest = max(self.slowest, time.perf_counter() - start)
            extra = tracemalloc.get_traced_memory()[1] - 2 * size
            tracemalloc.stop()
            self.memory = max(self.memory, extra)
            assert extra < _CONSTANT, f"a file of {size} bytes took {extra} bytes too many"


# --- Damage that leaves the file a safetensors file ----------------------------------------------


def _edit_header(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Change one thing in the header of an otherwise valid safetensors file."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = _edit(rng, json.loads(data[8:end]))
    text = json.dumps(header, ensure_ascii=rng.random() < 0.5).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def _edit(rng: random.Random, node: Any) -> Any:
    if not isinstance(node, (dict, list)) or not node or rng.random() < 0.05:
        number = node if type(node) is int else 0
        choices = (number + 1, number - 1, number * 2, -number, 2**63, 10**30, 0.5, None, True)
        return rng.choice((*choices, "", "F32", "I32", "BF16", [], {}, [node], {"a": node}))
    if isinstance(node, list):
        at = rng.randrange(len(node))
        changed = [*node[:at], _edit(rng, node[at]), *node[at + 1 :]]
        return rng.choice((changed, changed, node[::-1], [*node, 1], node[:at]))
    key, second = rng.choice(list(node)), rng.choice(list(node))
    return rng.choice(
        (
            {**node, key: _edit(rng, node[key])},
            {**node, key: node[second], second: node[key]},
            {name: value for name, value in node.items() if name != key},
            {**node, f"{key}~": node[key]},
        )
    )
