"""Remarks of a data set about the samples that it fetches: :func:`note`; the loader keeps them.

A sample may be fetched in a worker process, whose memory nobody else sees. So remarks travel with
the batch, and ``DataLoader.notes`` holds the same remarks in the same order for any number of
workers: those of the batches delivered so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["note"]

_collected: ContextVar[list[tuple[str, str]] | None] = ContextVar("collected_notes", default=None)


def note(kind: str, text: str) -> None:
    """Leave a remark about the sample being fetched, for the user of the loader.

    Parameters
    ----------
    kind : str
        Key of the remark in ``DataLoader.notes``, such as ``"bad image"``.
    text : str
        The remark. Repeated remarks of the same kind are kept once.

    Notes
    -----
    Call it in ``__getitem__``, in a transform or in ``collate_fn``, in the thread that the loader
    called. Outside a loader the remark is dropped.

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
    """Collect the remarks of :func:`note` inside the block, in this thread, as (kind, text)."""
    notes: list[tuple[str, str]] = []
    token = _collected.set(notes)
    try:
        yield notes
    finally:
        _collected.reset(token)


def add_notes(notes: list[tuple[str, str]], to: dict[str, list[str]]) -> None:
    """Append the remarks that are new."""
    for kind, text in notes:
        texts = to.setdefault(kind, [])
        if text not in texts:
            texts.append(text)
