"""Small networks in the layouts of other programs, for tests: PyTorch's, TensorFlow's, Caffe's."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from pickled_programs import Python2, npy_file, pickled_array

from minidl.vision.models.networks import plans
from minidl.vision.models.rows import parameter_shapes


def arrays_of(variant: str, classes: int = 7, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random parameters by rows, large enough to see every layer in the logits."""
    rng, arrays = np.random.default_rng(seed), {}
    plan = plans(variant)[variant]
    last = plan.rows[-1].name
    for name, shape in parameter_shapes(plan).items():
        if name.startswith(last):
            shape = (classes, *shape[1:])
        fan_in = int(np.prod(shape[1:])) or 1
        array = rng.normal(size=shape) * np.sqrt(2 / fan_in if len(shape) > 1 else 0.01)
        arrays[name] = array.astype(np.float32)
    return arrays


# --- TensorFlow's ---------------------------------------------------------------------------------


def npy_of(arrays: dict[str, np.ndarray], as_dicts: bool = False) -> bytes:
    """Return bvlc_alexnet.npy as Python 2 wrote it."""
    value: dict[Any, Any] = {}
    channels = 0
    for row in dict.fromkeys(name.split(".")[0] for name in arrays):
        weight, bias = arrays[f"{row}.weight"], arrays[f"{row}.bias"]
        if weight.ndim == 4:
            channels, weight = len(weight), weight.transpose(2, 3, 1, 0)
        else:
            if channels:  # rows in the order height, width, channel
                side = int(np.sqrt(weight.shape[1] // channels))
                maps = weight.reshape(-1, channels, side, side).transpose(0, 2, 3, 1)
                weight, channels = maps.reshape(len(weight), -1), 0
            weight = weight.T
        pair = [pickled_array(np.ascontiguousarray(array)) for array in (weight, bias)]
        value[Python2(row.encode())] = (
            {Python2(b"weights"): pair[0], Python2(b"biases"): pair[1]} if as_dicts else pair
        )
    return npy_file(value)


# --- Caffe's --------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    """Return a number, 7 bits a byte."""
    data = b""
    while number > 0x7F:
        data += bytes([number & 0x7F | 0x80])
        number >>= 7
    return data + bytes([number])


def field(number: int, value: int | str | bytes) -> bytes:
    """Return a field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def blob(array: np.ndarray, old: bool) -> bytes:
    """Return a BlobProto; the older form always has four axes."""
    data = field(5, np.ascontiguousarray(array).astype("<f4").tobytes())
    if old:
        sides = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(i + 1, side) for i, side in enumerate(sides)) + data
    return field(7, field(1, b"".join(map(varint, array.shape)))) + data


def caffemodel_of(
    arrays: dict[str, np.ndarray], order: str = "norm pool", old: bool = False, last: str = "fc8"
) -> bytes:
    """Return a .caffemodel; conv1 and conv2 are followed by `order`'s layers."""
    message = field(1, "AlexNet")

    def add(name: str, kind: str, code: int, blobs: list[np.ndarray]) -> bytes:
        if old:
            content = field(4, name) + field(5, code) + field(2, "bottom")
            content += b"".join(field(6, blob(array, old)) for array in blobs)
            return field(2, content)
        content = field(1, name) + field(2, kind) + field(3, "bottom")
        content += b"".join(field(7, blob(array, old)) for array in blobs)
        return field(100, content + varint(8 << 3 | 5) + struct.pack("<f", 1.0))

    message += add("data", "Data", 5, [])
    for row in dict.fromkeys(name.split(".")[0] for name in arrays):
        kind, code = ("Convolution", 4) if row.startswith("conv") else ("InnerProduct", 14)
        blobs = [arrays[f"{row}.weight"], arrays[f"{row}.bias"]]
        message += add(last if row == "fc8" else row, kind, code, blobs)
        message += add(f"relu_{row}", "ReLU", 18, [])
        if row in ("conv1", "conv2"):
            for word in order.split():
                kind, code = {"norm": ("LRN", 15), "pool": ("Pooling", 17)}[word]
                message += add(word, kind, code, [])
    return message
