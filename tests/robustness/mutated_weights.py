"""Damaged files of weights from elsewhere raise `CheckpointError`, or hold arrays that fit.

The files are PyTorch's, in both forms, TensorFlow's ``.npy`` and Caffe's ``.caffemodel``. Pickles
are also damaged inside an intact archive, and get instructions that call a function: it must never
be called. Each file is read, described as ``python -m minidl inspect`` does, and fitted to a
network. No file may raise another error, take a second, or take more memory than a small multiple
of its size.
"""

from __future__ import annotations

import io
import random
import time
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from damage import DAMAGE
from pickled_programs import Call, Global, Raw, emit, state_dict_file, zip_file
from weights_files import caffemodel_of, npy_of

from minidl.errors import CheckpointError
from minidl.vision.models.rows import CLASSES, Plan, Row, parameter_shapes
from minidl.vision.weights.convert import describe
from minidl.vision.weights.files import read
from minidl.vision.weights.layouts import recognize

TIMES = 25_000  # 5,000 of each kind
SHORT = 500

_SECONDS = 1.0
_CONSTANT = 16 << 20  # bytes of memory in addition to six times the file's size

_PLAN = Plan(
    (
        Row("conv1", 4, 3, "conv relu norm pool"),
        Row("conv2", 4, 3, "conv relu pool", groups=2),
        Row("fc3", 6, layers="linear relu"),
        Row("fc4", CLASSES + 3, layers="linear"),
    ),
    input_size=(3, 12, 12),
    norm={"size": 5},
)
_KINDS = {"zip": "torch", "program": "torch", "stream": "torch", "npy": "npy", "caffe": "caffe"}


def run(times: int, folder: Path, seed: int) -> str:
    shapes = parameter_shapes(_PLAN)
    canary, path = folder / "canary", folder / "damaged"
    attack = Raw(emit(Call(Global("os", "mkdir"), (str(canary),))))
    kinds = list(_KINDS)
    files = {kind: [_file(kind, seed + i) for i in range(2)] for kind in kinds}
    storages = {str(i): np.ones(s, np.float32) for i, s in enumerate(shapes.values())}
    counts: Counter[str] = Counter()
    slowest, most = 0.0, 0
    for number in range(times):
        rng, kind = random.Random(f"{seed} {number}"), kinds[number % len(kinds)]
        data, other = rng.sample(files[kind], 2)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            how = rng.choice((*DAMAGE, _attacked(attack)) if kind != "caffe" else DAMAGE)
            data = how(rng, data, other) or b"\0"
        if kind == "program":
            data = zip_file(Raw(data), storages)
        path.write_bytes(data)
        tracemalloc.start()
        start = time.perf_counter()
        try:
            content = read(path, _KINDS[kind])
            list(describe(content, "lenet5"))
            arrays = recognize(content, {"tiny": _PLAN}).arrays
        except CheckpointError:
            counts[f"{kind} refused"] += 1
        except Exception as error:
            raise AssertionError(f"number {number}, {kind}: {error!r}") from error
        else:
            counts[f"{kind} loaded"] += 1
            assert {name: array.shape for name, array in arrays.items()} == shapes
        slowest = max(slowest, time.perf_counter() - start)
        extra = tracemalloc.get_traced_memory()[1] - 6 * len(data)
        tracemalloc.stop()
        most = max(most, extra)
        assert extra < _CONSTANT, f"number {number}, {kind}: {extra} bytes too many"
        assert not canary.exists(), f"number {number}, {kind}: the file ran code"
    if times >= TIMES:
        assert slowest < _SECONDS, f"a damaged file took {slowest:.1f} s"
    found = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    return (
        f"{found}; slowest {1e3 * slowest:.0f} ms, at most {most / 1e6:.1f} MB more than six times "
        "the file's size"
    )


def _file(kind: str, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in parameter_shapes(_PLAN).items()
    }
    if kind == "npy":
        return npy_of(arrays, as_dicts=bool(seed % 2))
    if kind == "caffe":
        return caffemodel_of(arrays, old=bool(seed % 2))
    if kind == "program":
        with zipfile.ZipFile(io.BytesIO(state_dict_file(arrays, epoch=1))) as archive:
            return archive.read("archive/data.pkl")[2:-1]
    return state_dict_file(arrays, old=kind == "stream", epoch=1)


def _attacked(attack: Raw) -> Any:
    def insert_a_call(rng: random.Random, data: bytes, other: bytes) -> bytes:
        at = rng.choice((rng.randrange(len(data)), data.find(b"\x80\x02") + 2))
        return data[:at] + attack + data[at:]

    return insert_a_call
