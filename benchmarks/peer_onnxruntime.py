"""Inference in ONNX Runtime, of the file that minidl exports."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import networks
from harness import Work


def make(script: str, variant: str, count: int) -> Work:
    """Return the work of ``inference`` or ``layers``; ONNX Runtime does not train."""
    import numpy as np

    model = networks.own(variant)
    pixels, _ = networks.arrays(variant, count)
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    if script == "layers":
        return _Profiled(model, images)
    assert script == "inference"
    run = logits(model)
    return Work({"forward": lambda: run(images)})


def logits(model: Any) -> Any:
    """Return the function from images to logits."""
    session = _session(model)
    return lambda images: session.run(["logits"], {"images": images})[0]


def _session(model: Any, profile: str | None = None) -> Any:
    """Load a network; `profile` is where the files with its profile begin."""
    import onnxruntime

    from minidl.vision.weights.onnx_export import export_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["BENCHMARK_THREADS"])
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, profile
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.onnx")
        export_onnx(model, path)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class _Profiled(Work):
    """A network whose layers ONNX Runtime times itself."""

    def __init__(self, model: Any, images: Any) -> None:
        super().__init__({})
        self.model, self.images = model, images

    def time(self, repeat: int) -> dict[str, float]:
        """Return the median seconds of each layer, by its name in ``layers``."""
        with tempfile.TemporaryDirectory() as folder:
            session = _session(self.model, os.path.join(folder, "profile"))
            for _ in range(repeat + 2):
                session.run(["logits"], {"images": self.images})
            events = json.loads(Path(session.end_profiling()).read_text())
        nodes: dict[str, list[float]] = {}
        kinds: dict[str, str] = {}
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
                nodes.setdefault(event["name"], []).append(1e-6 * event["dur"])
                kinds[event["name"]] = event["args"]["op_name"]
        seconds: dict[str, float] = {}
        number = 0
        for node, durations in nodes.items():  # in the order of their work
            name = _KINDS.get(kinds[node], "other")
            number += name in ("conv", "fc")
            unit = name if name in ("reorder", "other") else f"{name}{number}"
            seconds[unit] = seconds.get(unit, 0) + statistics.median(durations[2:])
        return seconds


#: What ``layers`` calls ONNX Runtime's operators.
_KINDS = {
    "Conv": "conv", "FusedConv": "conv", "Gemm": "fc", "FusedGemm": "fc", "LRN": "norm",
    "MaxPool": "pool", "AveragePool": "pool", "ReorderInput": "reorder", "ReorderOutput": "reorder",
}  # fmt: skip
