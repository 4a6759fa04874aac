"""The list of planted bugs fits the sources: see tests/mutations.py, which plants them."""

from __future__ import annotations

import mutations
import pytest


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda m: m.name)
def test_planted_bug_fits_the_source(mutation: mutations.Mutation) -> None:
    source = (mutations.ROOT / mutation.file).read_text(encoding="utf-8")
    assert source.count(mutation.old) == 1, "replace exactly one place; update the list"
    assert mutation.old != mutation.new
    for test in mutation.tests:
        file, _, name = test.partition("::")
        text = (mutations.ROOT / file).read_text(encoding="utf-8")
        assert f"def {name.partition('[')[0]}(" in text, f"there is no test {test}"


def test_names_are_unique() -> None:
    names = [mutation.name for mutation in mutations.MUTATIONS]
    assert len(names) == len(set(names))
