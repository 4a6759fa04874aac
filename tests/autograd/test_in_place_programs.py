"""Random programs of views and changes in place against their replay without either."""

from __future__ import annotations

from collections import Counter

import pytest
from in_place_programs import Writer, judge


@pytest.mark.parametrize("first", range(0, 400, 40))
def test_programs_equal_their_replay(first: int) -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(first, first + 40):
        verdict, detail = judge(Writer(seed, wide=seed % 2 == 1))
        assert not verdict.startswith("DIFFERS"), f"seed {seed}: {verdict}: {detail}"
        verdicts[verdict] += 1
    assert verdicts["right"] >= 20, verdicts  # PyTorch refuses about a fifth as well


def test_a_result_of_transposed_operands_is_laid_out_like_them() -> None:
    assert judge(Writer(777991)) == ("right", "")
