"""Processes that die, freeze, or share a journal: with real processes, real signals, real files."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import TYPE_CHECKING

import pytest
from tests.journal.journals import BODY, PATIENT, answered, parked, until
from tests.journal.processes import line_of, process

from bothost.errors import JournalAway
from bothost.journal.entry import EntryFilter, JournalTiming

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal


async def freeze(child: subprocess.Popen[str], store: Journal) -> None:
    """Stop a process, but not in the middle of a commit: there it would hold everybody up."""
    while True:
        child.send_signal(signal.SIGSTOP)
        try:
            await store.control("frozen", "yes")
        except JournalAway:
            child.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.05)
        else:
            return


def kills(journal: JournalMaker, count: int, seed: int) -> None:
    """Kill writers at odd moments; whatever they said was acknowledged must be there, whole."""
    odd = random.Random(seed)
    said: list[str] = []
    for number in range(count):
        with process(journal, "acknowledge", number + 1) as child:
            assert child.stdout is not None
            said += [line_of(child, "acknowledged")[0] for _ in range(odd.randrange(1, 400))]
            child.kill()
            rest = child.stdout.read()
            said += [line.split()[1] for line in rest.splitlines(keepends=True) if line.endswith("\n")]

    async def work(store: Journal) -> None:
        for key in said:
            entry = await store.find(key)
            assert entry is not None, f"{key} was acknowledged and is lost (seed {seed})"
            body = await store.body(key)
            assert body in (BODY, b"x" * 9000), f"the body of {key} is torn (seed {seed})"

    journal.run(work)
    if not journal.shared:
        assert journal.sql("pragma integrity_check") == [("ok",)]


def test_what_was_acknowledged_survives_a_kill(journal: JournalMaker) -> None:
    kills(journal, 5, seed=random.randrange(1 << 30))


@pytest.mark.full
def test_what_was_acknowledged_survives_twenty_five_kills(journal: JournalMaker) -> None:
    kills(journal, 25, seed=random.randrange(1 << 30))


def test_a_dead_process_is_noticed_by_its_lock_long_before_its_lease_ends(journal: JournalMaker) -> None:
    async def scene() -> None:
        async with journal.open(JournalTiming(lease_s=600.0, beat_s=0.1)) as store:
            with process(journal, "hold") as child:
                (owner,) = line_of(child, "holding")
                assert await store.reap() == []
                child.kill()
                child.wait()
                reaped = {row.entry.task: row for row in await until(store.reap, 5)}
            late, posting, held = (reaped[task].entry for task in (1, 2, 3))
            assert all(row.dead for row in reaped.values())
            assert (late.state, late.door, late.rerun, late.deaths) == ("ready", "api", "crash", 1)
            assert (posting.state, posting.answer, posting.deaths) == ("ready", b'{"text":"x"}', 0)
            assert 4 < posting.due - posting.updated < 6, "a POST had begun: it may still be on its way"
            assert (held.state, held.door, held.rerun, held.deaths) == ("ready", "response", "crash", 1)
            assert held.due == held.seen_at + 240
            assert [row.task for row in await store.due({"refunds": 9}, 9)] == [1]
            assert owner not in os.listdir(journal.folder / "owners")
            assert await store.reap() == []

    asyncio.run(scene())


def test_a_process_on_another_machine_is_reaped_when_its_lease_is_over(journal: JournalMaker, tmp_path: Path) -> None:
    if not journal.shared:
        return  # an embedded journal has one machine

    async def scene() -> None:
        async with journal.open() as store:
            with process(journal, "hold", own=str(tmp_path / "elsewhere")) as child:
                line_of(child, "holding")
                child.kill()
                child.wait()
                assert await store.reap() == []
                reaped = {row.entry.task: row for row in await until(store.reap, 5)}
            assert not any(row.dead for row in reaped.values())
            posting = reaped[2].entry
            assert 29 < posting.due - posting.updated < 31

    asyncio.run(scene())


def test_a_frozen_process_that_wakes_records_nothing(journal: JournalMaker) -> None:
    async def scene() -> None:
        async with journal.open() as store:
            with process(journal, "wake_up") as child:
                line_of(child, "holding")
                await freeze(child, store)
                (reaped,) = await until(store.reap, 10)
                assert (reaped.dead, reaped.entry.state) == (False, "ready")
                (mine,) = await until(lambda: store.due({"refunds": 1}, 1))
                assert (mine.fence, mine.owner) == (2, store.owner)
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
                child.send_signal(signal.SIGCONT)
                assert line_of(child, "alive") in (["False"], ["True"])
                assert line_of(child, "saved") == ["False"]
            assert await store.find(mine.id) == mine
            assert await store.save(answered(mine))

    asyncio.run(scene())


def test_a_third_death_ends_an_event(journal: JournalMaker) -> None:
    async def scene() -> None:
        async with journal.open() as store:
            await store.save(parked(7, task=77, due=1.0), BODY)
            for deaths in (1, 2, 3):
                with process(journal, "run_forever") as child:
                    assert line_of(child, "claimed") == ["refunds:77:comment:7"]
                    child.kill()
                    child.wait()
                    await until(store.reap, 5)
                entry = await store.find("refunds:77:comment:7")
                assert entry is not None
                assert entry.deaths == deaths
            assert (entry.state, entry.error) == ("failed", "killed its process 3 times")
            assert await store.due({"refunds": 9}, 9) == []

    asyncio.run(scene())


def test_three_processes_run_two_hundred_ticks_once_each(journal: JournalMaker) -> None:
    async def prepare(_: Journal) -> None:
        """The journal is made."""

    journal.run(prepare)
    with (
        process(journal, "tick", 200) as one,
        process(journal, "tick", 200) as two,
        process(journal, "tick", 200) as three,
    ):
        said = [line for child in (one, two, three) for line in child.communicate(timeout=120)[0].splitlines()]
    ran = [line.split()[1] for line in said]

    async def rest(store: Journal) -> list[str]:
        return [row.id for row in await store.due({"refunds": 300}, 300)]

    assert sorted(ran + journal.run(rest)) == sorted(f"timer:refunds:remind:{when}" for when in range(200))


def test_two_processes_share_the_work_and_a_kill_repeats_only_what_was_in_flight(journal: JournalMaker) -> None:
    count = 600

    async def scene() -> tuple[list[str], set[str]]:
        async with journal.open(PATIENT) as store:
            with process(journal, "work_off") as one, process(journal, "work_off") as two:
                for number in range(count):
                    await store.save(parked(number, task=number % 50), BODY)
                    if number == count // 2:
                        one.kill()

                async def is_empty() -> bool:
                    assert two.poll() is None, two.communicate()[1]
                    await store.reap()
                    return not await store.list(EntryFilter(states=("ready", "running"), limit=1))

                await until(is_empty, 30)
                two.kill()
                said = [line.split()[1:] for child in (one, two) for line in child.communicate()[0].splitlines()]
            again = {key for key, fence in said if int(fence) > 1}
            return [key for key, _ in said], again

    ran, again = asyncio.run(scene())
    assert set(ran) == {parked(number, task=number % 50).id for number in range(count)}
    assert len(ran) - len(set(ran)) <= len(again) <= 20
