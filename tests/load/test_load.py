"""Thirty seconds of load over a hundred bots, each event accounted for; five minutes by hand (load.py)."""

from __future__ import annotations

import pytest
from tests.load.load import measured

pytestmark = [pytest.mark.full, pytest.mark.alone]


def test_under_load_every_event_is_answered_at_once_or_late_or_fails_by_its_own_fault():
    tally, figures = measured(30, 300)
    print(figures)
    assert tally.wrong == [], figures
    assert tally.sent > 8000, figures
    assert all(tally.outcomes[word] > 100 for word in ("answered at once", "answered late", "failed by its own fault"))
    assert sorted(tally.quick_s)[int(len(tally.quick_s) * 0.95)] < 1.0, figures
