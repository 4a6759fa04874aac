"""Random programs of views and changes in place: the same as PyTorch, where it is installed."""

from __future__ import annotations

import pytest
from in_place_programs import Writer, judge

torch = pytest.importorskip("torch")


@pytest.mark.filterwarnings("ignore:Use of .* on expanded tensors")
def test_programs_do_what_pytorch_does() -> None:
    refused = []
    for seed in range(1000, 1300):
        verdict, detail = judge(Writer(seed, wide=seed % 2 == 1), torch)
        assert not verdict.startswith("DIFFERS"), f"seed {seed}: {verdict}: {detail}"
        if verdict == "refused here alone":
            refused.append((seed, detail))
    assert len(refused) <= 3, refused
