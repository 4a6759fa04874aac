"""minidl.training.settings: a resumed run keeps its settings."""

from __future__ import annotations

import pytest

from minidl.errors import ArgumentError
from minidl.training.settings import resumed_settings


def test_resumed_settings() -> None:
    saved = {"lr": 0.1, "workers": 2, "drops": None}
    found = resumed_settings(saved, {"lr": 0.1, "drops": [3]}, {"workers", "drops"})
    assert found == {"lr": 0.1, "workers": 2, "drops": [3]}
    with pytest.raises(ArgumentError, match=r"--batch-size: the run has 4, and must keep it"):
        resumed_settings({"batch_size": 4}, {"batch_size": 5}, {"workers"})
