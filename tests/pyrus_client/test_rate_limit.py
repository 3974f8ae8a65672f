"""The account's rate limit: shared by hosts, handlers, poster and sections; a tenth is the poster's; headers correct it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bothost.errors import RateLimited
from bothost.journal.sqlite.journal import SqliteJournal
from bothost.pyrus.rest import requests
from bothost.pyrus.rest.requests import RateHeaders
from bothost.pyrus_client.client import CallingBot, CallObserver, PyrusClient
from bothost.pyrus_client.rate_limit import RateLimits
from bothost.pyrus_client.session import PyrusSession, SessionTerms
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path


def drain(bench: Any, gates: RateLimits, count: int, *, late: bool = False) -> int:
    """How many of so many calls may go at once."""

    async def all_of_them() -> int:
        gone = 0
        for _ in range(count):
            try:
                await gates.enter("a", bench.clock.monotonic(), late=late)
            except RateLimited:
                break
            gone += 1
        return gone

    return int(bench.clock.run(all_of_them()))


def test_handlers_may_use_nine_tenths_and_late_replies_the_rest(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    assert drain(bench, gates, 6000) == 4500
    assert drain(bench, gates, 6000, late=True) == 500


def test_late_replies_use_what_handlers_leave_first(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    assert drain(bench, gates, 6000, late=True) == 5000


def test_several_processes_share_one_limit(bench: Any) -> None:
    first, second = RateLimits(bench.clock, bench.shared), RateLimits(bench.clock, bench.shared)
    assert drain(bench, first, 2000) + drain(bench, second, 6000) == 4500


def test_the_journal_is_not_asked_for_every_call(bench: Any) -> None:
    drain(bench, RateLimits(bench.clock, bench.shared), 1000)
    assert len(bench.shared.asked) == 200


def test_a_handler_waits_for_its_turn_if_its_deadline_allows(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    drain(bench, gates, 6000)
    before = bench.clock.monotonic()
    bench.clock.run(gates.enter("a", bench.clock.monotonic() + 60, late=False))
    assert 0 < bench.clock.monotonic() - before < 1


def test_a_handler_that_would_wait_beyond_its_deadline_is_told_at_once(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    bench.clock.run(gates.shut("a", 120))
    before = bench.clock.monotonic()
    with pytest.raises(RateLimited) as caught:
        bench.clock.run(gates.enter("a", bench.clock.monotonic() + 119, late=False))
    assert bench.clock.monotonic() == before
    assert caught.value.retry_after_s == pytest.approx(120)


def test_another_account_is_not_kept_waiting(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    bench.clock.run(gates.shut("a", 120))
    before = bench.clock.monotonic()
    bench.clock.run(gates.enter("b", None, late=False))
    assert bench.clock.monotonic() == before


def test_headers_that_say_little_is_left_stop_handlers_and_not_the_poster(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    bench.clock.run(gates.correct("a", RateHeaders(5000, 500, 90)))
    with pytest.raises(RateLimited):
        bench.clock.run(gates.enter("a", bench.clock.monotonic(), late=False))
    bench.clock.run(gates.enter("a", None, late=True))
    before = bench.clock.monotonic()
    bench.clock.run(gates.enter("a", None, late=False))
    assert bench.clock.monotonic() - before == pytest.approx(90, abs=1)


def test_headers_that_say_nothing_is_left_stop_everybody_until_the_reset(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    bench.clock.run(gates.correct("a", RateHeaders(5000, 0, 90)))
    for late in (False, True):
        with pytest.raises(RateLimited):
            bench.clock.run(gates.enter("a", bench.clock.monotonic(), late=late))


def test_another_process_learns_of_the_stop_from_the_journal(bench: Any) -> None:
    bench.clock.run(RateLimits(bench.clock, bench.shared).shut("a", 90))
    other = RateLimits(bench.clock, bench.shared)
    with pytest.raises(RateLimited):
        bench.clock.run(other.enter("a", bench.clock.monotonic() + 89, late=False))


@pytest.mark.parametrize("limit", [1, 50, 50_000, 10**9, 10**14])
def test_a_stop_lasts_as_long_whatever_limit_the_headers_name_and_whoever_reads_it(bench: Any, limit: int) -> None:
    """A process that starts anew knows nothing of the limit: it waits as long as Pyrus said, and not by its own pace."""
    bench.clock.run(RateLimits(bench.clock, bench.shared).correct("a", RateHeaders(limit, 0, 60)))
    again = RateLimits(bench.clock, bench.shared)
    for late in (False, True):
        with pytest.raises(RateLimited) as caught:
            bench.clock.run(again.enter("a", bench.clock.monotonic(), late=late))
        assert caught.value.retry_after_s == pytest.approx(60, abs=3)
    bench.clock.advance(64)
    for late in (False, True):
        bench.clock.run(again.enter("a", bench.clock.monotonic(), late=late))


@pytest.mark.parametrize("limit", [10**7, 10**12])
def test_a_limit_beyond_belief_is_not_believed(bench: Any, limit: int) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    bench.clock.run(gates.correct("a", RateHeaders(limit, limit, 600)))
    bench.clock.run(gates.shut("a", 10**6))
    bench.clock.advance(901)
    bench.clock.run(gates.enter("a", None, late=False))


def test_a_lower_limit_is_learnt_from_the_headers(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    bench.clock.run(gates.correct("a", RateHeaders(100, 80, 600)))
    assert drain(bench, gates, 200) == 70


def test_after_the_window_has_ended_the_headers_open_it_again(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    bench.clock.run(gates.correct("a", RateHeaders(5000, 10, 60)))
    bench.clock.run(gates.enter("a", None, late=False))
    bench.clock.run(gates.correct("a", RateHeaders(5000, 4999, 600)))
    assert drain(bench, gates, 6000) == 4499


def test_the_journal_is_written_once_for_each_tenth(bench: Any) -> None:
    gates = RateLimits(bench.clock, bench.shared)
    for left in range(4999, 600, -1):
        bench.clock.run(gates.correct("a", RateHeaders(5000, left, 500)))
    assert len(bench.shared.resets) <= 10


def test_with_the_journal_away_calls_go_on_and_pyruss_429_still_counts(bench: Any) -> None:
    bench.shared.away = True
    gates = RateLimits(bench.clock, bench.shared)
    bench.clock.run(gates.enter("a", None, late=False))
    bench.clock.run(gates.shut("a", 30))
    with pytest.raises(RateLimited):
        bench.clock.run(gates.enter("a", bench.clock.monotonic(), late=False))


def test_a_flood_over_two_hosts_on_one_journal_never_meets_a_429(tmp_path: Path) -> None:
    clock = VirtualClock()
    pyrus = FakePyrus(clock)
    pyrus.limit = 200
    bot = pyrus.add_bot("bot@one", "key-of-the-bot-0001", 900100)
    pyrus.add_task(id=5)
    statuses: list[int] = []

    async def flood() -> None:
        store = SqliteJournal(tmp_path, clock, claims_first=False)
        await store.open()
        try:
            hosts = [
                PyrusClient(clock, store, pyrus.transport(), CallObserver(lambda _, status: statuses.append(status)))
                for _ in "ab"
            ]
            lines = [
                PyrusSession(host, CallingBot("one", login="bot@one"), SessionTerms(pyrus.world.issue_token(bot)))
                for host in hosts
                for _ in "xyz"
            ]
            await asyncio.gather(*(line.send(requests.task(5)) for line in lines for _ in range(100)))
        finally:
            await store.close()

    clock.run(flood())
    clock.loop.close()
    assert statuses.count(200) == 600
    assert statuses.count(429) <= 2
