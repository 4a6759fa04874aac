"""Caffe's ``.caffemodel``: the few messages of its protobuf format that hold weights.

A message is a sequence of fields; a field is a key, number·8 + type, and a value: a varint (type
0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5). Messages in messages and arrays of
numbers are bytes. The fields that are read here:

================  ==================================================================================
NetParameter      1 name, 2 layers (V1LayerParameter), 100 layer (LayerParameter)
V1LayerParameter  4 name, 5 type (a number), 6 blobs
LayerParameter    1 name, 2 type (a string), 7 blobs
BlobProto         1 to 4 num, channels, height, width (before 2014); 7 shape; 5 data, 8 double_data
BlobShape         1 dim
================  ==================================================================================

Source: BVLC/caffe, src/caffe/proto/caffe.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ...errors import CheckpointError

_MAX_FIELDS = 200_000
_MAX_AXES = 32  # Caffe's limit
_TYPES = {4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling"}  # of V1LayerParameter


class Layer(NamedTuple):
    """A layer, and its weights in Caffe's shapes."""

    name: str
    type: str
    blobs: list[np.ndarray]


class Net(NamedTuple):
    """A network: its name, and its layers in order."""

    name: str
    layers: list[Layer]


class _Reader:
    """Reads fields, of a limited number in all."""

    def __init__(self) -> None:
        self.left = _MAX_FIELDS

    def fields(self, data: memoryview) -> Iterator[tuple[int, Any]]:
        """Yield the numbers and values of a message's fields: int, or memoryview."""
        at = 0
        while at < len(data):
            self.left -= 1
            if self.left < 0:
                raise CheckpointError(f"it has more than {_MAX_FIELDS:,} fields")
            key, at = _varint(data, at)
            kind = key & 7
            if kind == 0:
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            if kind not in (1, 2, 5):
                raise CheckpointError("it is damaged, or not a .caffemodel")
            length, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if at + length > len(data):
                raise CheckpointError("it is damaged, cut off or not a .caffemodel")
            yield key >> 3, data[at : at + length]
            at += length

    def net(self, data: memoryview) -> Net:
        net = Net("", [])
        for number, value in self.fields(data):
            if number == 1:
                net = net._replace(name=_text(value))
            elif number in (2, 100):
                net.layers.append(self.layer(value, old=number == 2))
        return net

    def layer(self, data: Any, old: bool) -> Layer:
        layer = Layer("", "", [])
        name, kind, blobs = (4, 5, 6) if old else (1, 2, 7)
        for number, value in self.fields(_bytes(data)):
            if number == name:
                layer = layer._replace(name=_text(value))
            elif number == kind:
                shown = _TYPES.get(value, str(value)) if isinstance(value, int) else _text(value)
                layer = layer._replace(type=shown)
            elif number == blobs:
                layer.blobs.append(self.blob(_bytes(value)))
        return layer

    def blob(self, data: memoryview) -> np.ndarray:
        old_shape, shape = [1, 1, 1, 1], None
        pieces = [np.zeros(0, "<f4")]
        for number, value in self.fields(data):
            if number in (1, 2, 3, 4):
                old_shape[number - 1] = int(value)
            elif number == 7:
                shape = self.shape(_bytes(value))
            elif number in (5, 8):
                pieces.append(np.frombuffer(_bytes(value), "<f4" if number == 5 else "<f8"))
        array = pieces[-1] if len(pieces) == 2 else np.concatenate(pieces)
        sides = old_shape if shape is None else shape
        if len(sides) > _MAX_AXES or math.prod(sides) != array.size:
            raise CheckpointError(f"it is damaged: {array.size} numbers for shape {sides}")
        return array.reshape(sides)

    def shape(self, data: memoryview) -> list[int]:
        sides: list[int] = []
        for number, value in self.fields(data):
            if number == 1 and isinstance(value, int):
                sides.append(value)
            elif number == 1:  # packed
                at = 0
                while at < len(value) and len(sides) <= _MAX_AXES:
                    side, at = _varint(value, at)
                    sides.append(side)
        return sides


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a number, 7 bits a byte with the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at] if at < len(data) else 0x80
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise CheckpointError("it is damaged, cut off or not a .caffemodel")


def _bytes(value: Any) -> memoryview:
    if not isinstance(value, memoryview):
        raise CheckpointError("it is damaged, or not a .caffemodel")
    return value


def _text(value: Any) -> str:
    return bytes(_bytes(value)).decode("utf-8", "replace")


def read_caffe(data: bytes) -> Net:
    """Return the network in a ``.caffemodel``; the arrays share the memory of `data`.

    Raises
    ------
    CheckpointError, ValueError
        It is damaged, cut off or something else.
    """
    net = _Reader().net(memoryview(data))
    if not any(layer.blobs for layer in net.layers):
        raise CheckpointError("it is no .caffemodel, or one without weights")
    return net
