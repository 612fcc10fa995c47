"""What-if by the same policy, over so many random histories that the gate has no time for them."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from tests.replay.test_what_if_same import FREQUENT, check_nothing_changes, check_range

HISTORIES = 10_000 * int(os.environ.get("OMNI_TORTURE") or 1)


@pytest.mark.torture
@pytest.mark.timeout(0)
def test_the_same_policy_changes_nothing_over_ten_thousand_histories() -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        seen += check_nothing_changes(seed)
        if seed % 10 == 0:
            check_range(seed)
    assert all(seen[each] > HISTORIES // 30 for each in FREQUENT), seen
