"""Since when a bot is in its state: kept in the journal as long as its process lives, and no longer than the bot does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.journal.journals import DAY, JournalMaker, until

from bothost.bots.lifecycle import BotLifecycle
from bothost.clock import SystemClock
from bothost.host.state_times import StateTimes

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.journal import Journal


class Turned(SystemClock):
    """A clock that is turned forward by hand."""

    shift = 0.0

    def boot(self) -> float:  # type: ignore[override]  # the real one is a C function
        return SystemClock.boot() + self.shift


async def no_bot(_bot: object) -> Any:
    raise AssertionError("no bot is opened here")


def test_times_that_do_not_change_are_kept_for_as_long_as_their_process_lives(tmp_path: Path) -> None:
    journal = JournalMaker(tmp_path / "state")
    journal.clock = clock = Turned()

    async def looked_and_written_until(kept: StateTimes, at: float) -> bool:
        kept.look()  # as each second: a look while the last write is just ending writes nothing
        return bool(await asyncio.to_thread(journal.sql, f"select 1 from value where expires > {at}"))

    async def work(store: Journal) -> None:
        lifecycle = BotLifecycle(no_bot, clock)
        lifecycle.restore_times({"one": ("active", 100.0)})
        kept = StateTimes(store, lifecycle, None)
        for _ in range(4):
            await until(lambda: looked_and_written_until(kept, store.now() + 29 * DAY))
            clock.shift += 20 * DAY
        after = BotLifecycle(no_bot, clock)
        await StateTimes(store, after, None).restore()
        assert after.times == {"one": ("active", 100.0)}

    journal.run(work)


def test_a_bot_that_was_removed_is_not_taken_for_one_of_its_name_that_comes_later() -> None:
    async def work() -> None:
        lifecycle = BotLifecycle(no_bot, SystemClock())
        lifecycle.restore_times({"one": ("active", 100.0), "paused one": ("paused", 50.0), "two": ("off", 7.0)})
        lifecycle.remove("one")
        assert lifecycle.times == {"two": ("off", 7.0)}

    asyncio.run(work())
