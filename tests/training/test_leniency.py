"""minidl.training.leniency: failing to write a dispensable file is only a warning."""

from __future__ import annotations

import pytest

from minidl.training.leniency import Leniency


def test_leniency_warns_once_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    leniency = Leniency()
    for what in ("figures", "figures", "report"):
        with leniency.writing(what):
            raise OSError("no room")
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line] == [
        f"warning: {what} can't be written (no room); the training goes on"
        for what in ("figures", "report")
    ]
    with pytest.raises(ZeroDivisionError), leniency.writing("figures"):
        raise ZeroDivisionError
