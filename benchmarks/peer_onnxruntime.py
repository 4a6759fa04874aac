"""Inference in ONNX Runtime, of the file that minidl exports."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import networks
from harness import Work


def make(script: str, variant: str, count: int) -> Work:
    """Return the work of ``inference``; ONNX Runtime does not train."""
    import numpy as np

    assert script == "inference"
    run = logits(networks.own(variant))
    pixels, _ = networks.arrays(variant, count)
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    return Work({"forward": lambda: run(images)})


def logits(model: Any) -> Any:
    """Return the function from images to logits."""
    import onnxruntime

    from minidl.vision.weights.onnx_export import export_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["BENCHMARK_THREADS"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.onnx")
        export_onnx(model, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images})[0]
