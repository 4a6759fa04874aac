"""Remarks about samples: the same for any number of workers."""

from __future__ import annotations

from typing import Any

import pytest

from minidl.data import DataLoader, Dataset, note


class Remarkable(Dataset):
    def __getitem__(self, index: int) -> int:
        if index % 3 == 0:
            note("third", f"number {index}")
            note("third", f"number {index}")
        note("all", f"number {index % 4}")
        if index == 10:
            note("last", "words")
            raise OSError("broken")
        return index

    def __len__(self) -> int:
        return 13


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("persistent", [False, True])
def test_notes_come_with_their_batches_once_and_in_order(workers: int, persistent: bool) -> None:
    loader = DataLoader(
        Remarkable(), 2, num_workers=workers, persistent_workers=persistent and workers > 0
    )
    assert loader.notes == {}
    for _ in range(2):
        batches = iter(loader)
        next(batches)
        assert list(loader.notes)[:2] == ["third", "all"]
        assert loader.notes["third"][:1] == ["number 0"]
        for _ in range(4):
            next(batches)
        with pytest.raises(OSError, match="broken"):
            next(batches)
        assert loader.notes == {
            "third": ["number 0", "number 3", "number 6", "number 9"],
            "all": ["number 0", "number 1", "number 2", "number 3"],
            "last": ["words"],
        }
        next(batches)
        assert loader.notes["third"][-1] == "number 12"
        loader.notes["third"].remove("number 12")


def test_only_the_batches_that_have_come_out_count() -> None:
    loader: Any = DataLoader(Remarkable(), 1, num_workers=2, prefetch_factor=4)
    next(iter(loader))
    assert loader.notes == {"third": ["number 0"], "all": ["number 0"]}


def test_outside_a_loader_a_note_goes_nowhere() -> None:
    note("nobody", "listens")
    assert Remarkable()[1] == 1
