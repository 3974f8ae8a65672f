"""What stands in line in a host's memory, beside what the journal lists."""

from __future__ import annotations

import pytest
from tests.journal.journals import make_entry

from bothost.journal.entry import Filter
from bothost.operator.waiting import beside, fits

WAITS = make_entry(7, bot="refunds", task=70, created=500.0)
KEY = WAITS.id


@pytest.mark.parametrize(
    ("want", "asked_for"),
    [
        (Filter(), True),
        (Filter(bot="refunds", task=70, kind="hook", phase="waiting", states=("ready",)), True),
        (Filter(since=500.0, until=501.0, before=(500.0, KEY + "~")), True),
        (Filter(bot="another"), False),
        (Filter(task=71), False),
        (Filter(kind="timer"), False),
        (Filter(phase="held"), False),
        (Filter(states=("running",)), False),
        (Filter(since=500.5), False),
        (Filter(until=500.0), False),
        (Filter(before=(500.0, KEY)), False),
    ],
)
def test_what_waits_is_listed_as_the_journal_would_list_it(want: Filter, asked_for: bool) -> None:
    assert fits(WAITS, want) is asked_for
    assert beside([WAITS], [], want) == ([WAITS] if asked_for else [])


def test_both_stand_together_newest_first_an_entry_once_and_no_more_than_asked_for() -> None:
    older, newer = (make_entry(number, created=created) for number, created in ((1, 400.0), (2, 600.0)))
    stored = make_entry(7, bot="refunds", task=70, created=500.0, state="running", fence=1)
    assert beside([WAITS], [newer, older], Filter()) == [newer, WAITS, older]
    assert beside([WAITS], [newer, older], Filter(limit=2)) == [newer, WAITS]
    assert beside([WAITS], [newer, stored, older], Filter()) == [newer, stored, older]
