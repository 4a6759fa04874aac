"""Collating: structures, dtypes, memory order, and messages that name the sample and the field."""

from __future__ import annotations

from collections import OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.data import default_collate, default_convert
from minidl.errors import DataError

Pair = namedtuple("Pair", "image label")


def test_arrays_and_tensors_are_stacked(device: str) -> None:
    rows = [np.full((2, 3), i, np.float32) for i in range(4)]
    for batch in (
        default_collate(rows),
        default_collate([minidl.from_numpy(row).to(device) for row in rows]),
    ):
        assert batch.dtype == np.float32
        np.testing.assert_array_equal(batch.cpu().numpy(), np.stack(rows))


@pytest.mark.parametrize(
    ("samples", "dtype"),
    [
        ([1, 2], np.int64),
        ([1.5, 2.0], np.float64),
        ([1.5, 2], np.float64),
        ([True, False], np.bool_),
        ([np.float32(1), np.float32(2)], np.float32),
        ([np.uint8(1), np.uint8(2)], np.uint8),
    ],
)
def test_numbers(samples: list[object], dtype: type) -> None:
    batch = default_collate(samples)
    assert batch.dtype == dtype
    assert tuple(batch.shape) == (2,)
    assert batch.tolist() == samples


def test_channels_last_pictures_make_a_channels_last_batch() -> None:
    pictures = [np.arange(24, dtype=np.float32).reshape(2, 4, 3).transpose(2, 0, 1) for _ in "ab"]
    batch = default_collate(pictures).numpy()
    assert batch.shape == (2, 3, 2, 4)
    assert batch.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(batch[1], pictures[1])


def test_structures() -> None:
    samples = [({"a": 1, "b": "x"}, [1.0, 2]), ({"a": 3, "b": "y"}, [5.0, 6])]
    fields, numbers = default_collate(samples)
    assert fields["a"].tolist() == [1, 3]
    assert fields["b"] == ["x", "y"]
    assert [n.tolist() for n in numbers] == [[1.0, 5.0], [2, 6]]
    assert default_collate([(1, "x"), (2, "y")])[1] == ("x", "y")
    pair = default_collate([Pair(1, 2), Pair(3, 4)])
    assert type(pair) is Pair
    assert pair.label.tolist() == [2, 4]
    assert default_collate(list(np.array(["x", "y"]))) == ["x", "y"]


class Half(tuple):
    """A tuple that isn't a named one."""


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        (OrderedDict(a=1), OrderedDict),
        (defaultdict(list, a=1), defaultdict),
        (UserDict(a=1), UserDict),
        (MappingProxyType({"a": 1}), MappingProxyType),
        (UserList([1, 2]), UserList),
        (deque([1, 2]), deque),
        (range(2), list),  # can't hold tensors
        (Half((1, 2)), list),
    ],
)
def test_the_type_of_a_container(sample: Any, kind: type) -> None:
    for batch in (default_collate([sample, sample]), default_convert(sample)):
        assert type(batch) is kind
        assert len(batch) == len(sample)
    batch = default_collate([sample, sample])
    first = "a" if hasattr(sample, "keys") else 0
    assert batch[first].tolist() == [sample[first]] * 2


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "empty"),
        ([np.zeros(2), np.zeros(3)], r"sample 1 .*\(3,\).*first has \(2,\)"),
        ([np.zeros(2), np.zeros(2, np.float32)], "float32"),
        ([(1, np.zeros(2)), (1, np.zeros(3))], r"sample\[1\]: sample 1"),
        ([(1, 2), (1,)], "1 elements"),
        ([{"a": 1}, {"b": 1}], r"keys \['b'\]"),
        ([1, "x"], "is a str"),
        ([None, None], "NoneType, which can't be batched"),
        ([{"k": object()}], r"sample\['k'\] is a object"),
        ([Path()], r"sample is a pathlib\.PosixPath"),
        ([np.array(["x"])], "only numbers"),
    ],
)
def test_what_does_not_fit_is_named(samples: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        default_collate(samples)


def test_what_can_never_be_batched_is_a_type_error() -> None:
    for sample in (None, {1}, np.array([object()]), np.array(["x"])):
        with pytest.raises(TypeError):
            default_collate([sample])


def test_pictures_of_pillow_are_refused_with_advice() -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (2, 2))
    with pytest.raises(DataError, match=r"ToTensor\(\)"):
        default_collate([(image, 1)])


def test_convert_keeps_the_structure() -> None:
    image, name, pair = default_convert((np.zeros(3), "cat", Pair(np.ones(1), None)))
    assert isinstance(image, minidl.Tensor)
    assert name == "cat"
    assert type(pair) is Pair
    assert pair.image.tolist() == [1.0]
    assert pair.label is None
