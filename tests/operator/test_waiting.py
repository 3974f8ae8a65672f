"""What stands in line in a host's memory, beside what the journal lists."""

from __future__ import annotations

import pytest
from tests.journal.journals import make_entry

from bothost.journal.entry import EntryFilter
from bothost.operator.waiting import beside, fits

WAITS = make_entry(7, bot="refunds", task=70, created=500.0)
KEY = WAITS.id


@pytest.mark.parametrize(
    ("want", "asked_for"),
    [
        (EntryFilter(), True),
        (EntryFilter(bot="refunds", task=70, kind="hook", phase="waiting", states=("ready",)), True),
        (EntryFilter(since=500.0, until=501.0, before=(500.0, KEY + "~")), True),
        (EntryFilter(bot="another"), False),
        (EntryFilter(task=71), False),
        (EntryFilter(kind="timer"), False),
        (EntryFilter(phase="held"), False),
        (EntryFilter(states=("running",)), False),
        (EntryFilter(since=500.5), False),
        (EntryFilter(until=500.0), False),
        (EntryFilter(before=(500.0, KEY)), False),
    ],
)
def test_what_waits_is_listed_as_the_journal_would_list_it(want: EntryFilter, asked_for: bool) -> None:
    assert fits(WAITS, want) is asked_for
    assert beside([WAITS], [], want) == ([WAITS] if asked_for else [])


def test_both_stand_together_newest_first_an_entry_once_and_no_more_than_asked_for() -> None:
    older, newer = (make_entry(number, created=created) for number, created in ((1, 400.0), (2, 600.0)))
    stored = make_entry(7, bot="refunds", task=70, created=500.0, state="running", fence=1)
    assert beside([WAITS], [newer, older], EntryFilter()) == [newer, WAITS, older]
    assert beside([WAITS], [newer, older], EntryFilter(limit=2)) == [newer, WAITS]
    assert beside([WAITS], [newer, stored, older], EntryFilter()) == [newer, stored, older]
