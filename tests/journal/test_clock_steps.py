"""The journal's time while a clock steps, or while two machines do not agree: nothing expires by it, nothing waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.journal.journals import BODY, DAY, QUICK, JournalMaker, answered, parked

from bothost.clock import SystemClock
from bothost.journal.data import AddJob, JournalData, ReadValue, WriteValue
from bothost.journal.postgres import clock_steps

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.journal import Journal

HOUR = 3600.0


class Turned(SystemClock):
    """Real time, but for a wall clock that a test sets."""

    ahead_s = 0.0

    def epoch(self) -> float:  # type: ignore[override]
        return SystemClock.epoch() + self.ahead_s


def planned(store: Journal, number: int = 1, **changes: object) -> object:
    """A parked event, due in ten seconds of the journal's time."""
    now = store.now()
    return parked(number, **{"task": number, "created": now, "seen_at": now, "due": now + 10.0, **changes})


@pytest.mark.parametrize("by_s", [-HOUR, -20.0, 300.0, 8 * DAY])
def test_a_step_moves_what_is_planned_and_expires_nothing(tmp_path: Path, by_s: float) -> None:
    maker = JournalMaker(tmp_path / "state")
    clock = maker.clock = Turned()

    async def work(store: Journal) -> None:
        ready, held = planned(store), planned(store, 2, door="response")
        ended = answered(planned(store, 3), delivered=True)
        for entry in (ready, held, ended):
            assert await store.save(entry, BODY)
        await store.retain({"refunds": DAY})
        await store.ask("a", WriteValue("kept", b"1", 60.0))
        clock.ahead_s = by_s
        assert await store.quiet() == [], "before the step was noticed"
        assert await store.follow_clock() == pytest.approx(by_s, abs=0.5)
        assert store.now() == pytest.approx(clock.epoch(), abs=0.5)
        assert await store.quiet() == []
        for entry in (ready, held, ended):
            row = await store.find(entry.id)
            for name in ("created", "seen_at", "due"):
                assert getattr(row, name) - getattr(entry, name) == pytest.approx(by_s, abs=0.5), name
        assert await store.follow_clock() == 0.0
        assert await store.ask("a", ReadValue("kept")) == b"1", "a plugin's value lasts as long as it was given"

    maker.run(work)


def test_a_write_that_was_decided_before_a_step_is_refused(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "state")
    clock = maker.clock = Turned()

    async def work(store: Journal) -> None:
        entry = planned(store)
        assert await store.save(entry, BODY)
        clock.ahead_s = HOUR
        await store.follow_clock()
        assert not await store.save(answered(entry)), "its times are those of the clock before"
        row = await store.find(entry.id)
        assert row is not None
        assert await store.save(answered(row))

    maker.run(work)


def test_processes_of_one_host_move_the_rows_once(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "state")
    clock = maker.clock = Turned()

    async def scene() -> None:
        async with maker.open() as one, maker.open() as two:
            entry = planned(one)
            await one.save(entry, BODY)
            clock.ahead_s = -HOUR
            assert await one.follow_clock() == pytest.approx(-HOUR, abs=0.5)
            assert await two.follow_clock() == pytest.approx(-HOUR, abs=0.5)
            row = await two.find(entry.id)
            assert row.due - entry.due == pytest.approx(-HOUR, abs=0.5)

    asyncio.run(scene())


@pytest.mark.parametrize("by_s", [-HOUR, 8 * DAY])
def test_a_step_while_no_host_runs_moves_what_is_planned(tmp_path: Path, by_s: float) -> None:
    maker = JournalMaker(tmp_path / "state")
    clock = maker.clock = Turned()
    kept = []

    async def before(store: Journal) -> None:
        kept.append(planned(store))
        await store.save(kept[0], BODY)

    async def after(store: Journal) -> None:
        row = await store.find(kept[0].id)
        assert row.due - kept[0].due == pytest.approx(by_s, abs=0.5)
        assert await store.quiet() == []

    maker.run(before)
    clock.ahead_s = by_s
    maker.run(after)


def test_after_a_boot_only_a_clock_that_is_behind_has_stepped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = JournalMaker(tmp_path / "state")
    clock = maker.clock = Turned()
    kept = []

    async def before(store: Journal) -> None:
        kept.append(planned(store))
        await store.save(kept[0], BODY)

    def boot(name: str, ahead_s: float) -> float:
        monkeypatch.setattr("bothost.journal.owner_locks.boot_id", lambda: name)
        clock.ahead_s = ahead_s
        row = maker.run(lambda store: store.find(kept[0].id))
        return float(row.due - kept[0].due)

    maker.run(before)
    assert boot("second", DAY) == pytest.approx(0.0, abs=0.1), "it was off for a day, for all we know"
    assert boot("third", -HOUR) == pytest.approx(-HOUR, abs=1.0)


@pytest.mark.full
@pytest.mark.parametrize("ahead_s", [-45.0, 45.0, DAY])
def test_the_databases_clock_decides_what_is_due_whatever_a_hosts_clock_says(
    postgres: object, tmp_path: Path, ahead_s: float
) -> None:
    maker = JournalMaker(tmp_path / "state", postgres.new_database())  # type: ignore[attr-defined]
    maker.clock = Turned()
    maker.clock.ahead_s = ahead_s

    async def work(store: Journal) -> None:
        assert store.now() == pytest.approx(SystemClock.epoch(), abs=2.0)
        now = store.now()
        await store.save(parked(1, created=now, due=now), BODY)
        assert [row.id for row in await store.due({"refunds": 1}, 1)] == [parked(1).id]
        data = JournalData(store, "refunds", maker.clock)
        job = await data.ask("", AddJob("remind", "", 9, b"1", maker.clock.epoch() - 0.1))
        assert [row.id for row in await store.due({"refunds": 1}, 1)] == [job], "a plugin counts by its host's clock"
        maker.clock.ahead_s = -ahead_s
        assert await store.follow_clock() == 0.0, "a host's own clock says nothing here"
        async with maker.open(readonly=True) as visitor:
            assert visitor.now() == pytest.approx(SystemClock.epoch(), abs=2.0)

    maker.run(work, QUICK)


@pytest.mark.full
@pytest.mark.parametrize("by_s", [-HOUR, 8 * DAY])
def test_a_step_of_the_databases_clock_moves_the_rows_once_for_all_hosts(
    postgres: object, tmp_path: Path, by_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = JournalMaker(tmp_path / "state", postgres.new_database())  # type: ignore[attr-defined]

    async def scene() -> None:
        async with maker.open() as one, maker.open(folder=tmp_path / "other") as two:
            entry = planned(one)
            await one.save(entry, BODY)
            stepped = clock_steps._TIME.replace("::double precision", f"::double precision + {by_s}")
            monkeypatch.setattr(clock_steps, "_TIME", stepped)
            for store in (one, two):
                assert await store.follow_clock() == pytest.approx(by_s, abs=0.5)
                assert await store.follow_clock() == 0.0
            row = await two.find(entry.id)
            assert row.due - entry.due == pytest.approx(by_s, abs=0.5)

    asyncio.run(scene())
