"""Remarks that a data set makes while it fetches samples: :func:`note`; the loader keeps them.

A sample may be fetched in a worker process, whose memory nobody else sees. So a remark travels
with the batch, and ``DataLoader.notes`` holds the same remarks in the same order at any number of
workers: those of the batches that have come out, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["note"]

_collected: ContextVar[list[tuple[str, str]] | None] = ContextVar("collected_notes", default=None)


def note(kind: str, text: str) -> None:
    """Leave a remark about the sample that is being fetched, for whoever runs the loader.

    Parameters
    ----------
    kind : str
        What sort of remark: its key in ``DataLoader.notes``, such as ``"bad image"``.
    text : str
        The remark. The same remark of the same kind is kept once, however often it is made.

    Notes
    -----
    To be called in ``__getitem__``, in a transform or in ``collate_fn``, by the thread that the
    loader called. Outside a loader there is nobody to keep the remark, and it is dropped.

    Examples
    --------
    >>> from minidl.data import DataLoader, Dataset, note
    >>> class Numbers(Dataset):
    ...     def __getitem__(self, index):
    ...         if index % 2:
    ...             note("odd", f"number {index}")
    ...         return index
    ...     def __len__(self):
    ...         return 4
    >>> loader = DataLoader(Numbers(), batch_size=2)
    >>> for batch in loader:
    ...     print(batch.tolist(), loader.notes)
    [0, 1] {'odd': ['number 1']}
    [2, 3] {'odd': ['number 1', 'number 3']}
    """
    notes = _collected.get()
    if notes is not None:
        notes.append((kind, text))


@contextmanager
def collect_notes() -> Iterator[list[tuple[str, str]]]:
    """Gather what :func:`note` is given inside the block, in this thread, as (kind, text)."""
    notes: list[tuple[str, str]] = []
    token = _collected.set(notes)
    try:
        yield notes
    finally:
        _collected.reset(token)


def add_notes(notes: list[tuple[str, str]], to: dict[str, list[str]]) -> None:
    """Append those that are new."""
    for kind, text in notes:
        texts = to.setdefault(kind, [])
        if text not in texts:
            texts.append(text)
