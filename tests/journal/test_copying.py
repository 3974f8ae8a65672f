"""A journal copied into another one, there and back, is the same; a copy that was cut off goes on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.journal.journals import BODY, JournalMaker, make_entry, parked

from bothost.clock import SystemClock
from bothost.errors import JournalAway, JournalError
from bothost.journal.copying import COPYING, copy, summed
from bothost.journal.owner_locks import HostLock
from bothost.journal.postgres.tables import PostgresTables
from bothost.journal.sqlite.tables import SqliteTables

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres_server import PostgresServer

LARGE = b'{"task_id": 8, "text": "' + b"x" * 9000 + b'"}'
MANY = 1203


async def fill(maker: JournalMaker) -> None:
    async with maker.open() as store:
        for number in range(MANY):
            store.note(parked(number, task=number), LARGE if number % 400 == 0 else BODY) if not maker.shared else None
        await store.save(parked(5000, task=5000), LARGE)
        await store.claim(make_entry(6000, task=6000), BODY)
        await store.control("login:refunds", "bot@x")
        await store.control("quarantine:refunds", "died")
        await store.wrote("refunds", 7, 70)


def tables(folder: Path) -> SqliteTables:
    made = SqliteTables(folder, SystemClock())
    made.open()
    return made


def test_a_copy_there_and_back_is_equal(tmp_path: Path) -> None:
    async def scene() -> None:
        await fill(JournalMaker(tmp_path / "a"))
        a, b, c = tables(tmp_path / "a"), tables(tmp_path / "b"), tables(tmp_path / "c")
        result = await copy(a, b, 5.0, lambda _done: None)
        assert result.entries == MANY + 2
        back = await copy(b, c, 6.0, lambda _done: None)
        assert back == result == await summed(c, 9.0)
        assert (await c.facts())["login:refunds"] == "bot@x"
        assert COPYING not in await c.facts()
        assert [row[:3] for row in await c.side("written")] == [("refunds", 7, 70)]
        for each in (a, b, c):
            each.close()
        async with JournalMaker(tmp_path / "c").open() as store:
            assert await store.body(parked(5000, task=5000).id) == LARGE
            row = await store.find(make_entry(6000, task=6000).id)
            assert row is not None
            assert (row.state, row.owner, row.rerun) == ("ready", "", "crash")

    asyncio.run(scene())


def test_a_copy_that_was_cut_off_goes_on_and_no_other_source_is_mixed_in(tmp_path: Path) -> None:
    async def scene() -> None:
        await fill(JournalMaker(tmp_path / "a"))
        a, b = tables(tmp_path / "a"), tables(tmp_path / "b")

        def cut(done: int) -> None:
            if done >= 1000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await copy(a, b, 5.0, cut)
        other = tables(tmp_path / "other")
        with pytest.raises(JournalError, match=r"is a copy of .*a that was cut off"):
            await copy(other, b, 5.0, lambda _done: None)
        seen: list[int] = []
        result = await copy(a, b, 5.0, seen.append)
        assert result.entries == MANY + 2
        assert seen[-1] < 500
        with pytest.raises(JournalError, match="holds events already"):
            await copy(other, b, 5.0, lambda _done: None)
        for each in (a, b, other):
            each.close()

    asyncio.run(scene())


def test_no_copy_is_made_of_a_journal_on_which_a_host_works(tmp_path: Path) -> None:
    async def scene() -> None:
        async with JournalMaker(tmp_path / "a").open():
            with pytest.raises(JournalAway, match=r"a host works on .*: stop it first; `bothost journal backup FILE`"):
                tables(tmp_path / "a")

    asyncio.run(scene())


@pytest.mark.full
def test_a_copy_to_postgresql_and_back_is_equal(tmp_path: Path, postgres: PostgresServer) -> None:
    async def scene() -> None:
        await fill(JournalMaker(tmp_path / "a"))
        a, back = tables(tmp_path / "a"), tables(tmp_path / "back")
        shared = PostgresTables(postgres.new_database(), SystemClock())
        await shared.open()
        there = await copy(a, shared, 5.0, lambda _done: None)
        assert await copy(shared, back, 6.0, lambda _done: None) == there
        await shared.close()
        a.close()
        back.close()

    asyncio.run(scene())


def bothost(folder: Path, *words: str, code: int = 0) -> Any:
    command = [sys.executable, "-m", "bothost", *words, "--config", str(folder / "bots.ini"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else {}


def test_a_backup_beside_a_host_is_restored(tmp_path: Path) -> None:
    (tmp_path / "bots.ini").write_text("[host]\n")
    (tmp_path / "bots.ini").chmod(0o600)
    maker = JournalMaker(tmp_path / "state")

    killed, running = tmp_path / ".bothost-backup-killed", tmp_path / ".bothost-backup-running"
    for left in (killed, running):
        left.mkdir()
        (left / "journal.db").touch()
    lock = HostLock(running, alone=True)
    lock.take()
    for left in (killed, running):
        os.utime(left, (0, 0))

    async def scene() -> Any:
        await fill(maker)
        async with maker.open() as store:
            await store.save(parked(7000, task=7000), BODY)
            return await asyncio.to_thread(bothost, tmp_path, "journal", "backup", str(tmp_path / "backup.db"))

    saved = asyncio.run(scene())
    assert saved["entries"] == MANY + 3
    lock.give_back()
    assert sorted(tmp_path.glob(".bothost-backup-*")) == [running], "what a killed backup left is removed"
    bothost(tmp_path, "journal", "restore", str(tmp_path / "backup.db"), code=1)
    (tmp_path / "state").rename(tmp_path / "old")
    restored = bothost(tmp_path, "journal", "restore", str(tmp_path / "backup.db"))
    assert restored == saved
    bothost(tmp_path, "journal", "copy", "old", str(tmp_path / "third"))
    # what cannot be copied or restored is named, with what would be right
    (tmp_path / "garbage").write_text("no journal")
    for words, code, said in (
        (("copy", "old", "old"), 2, "old and old are the same journal"),
        (("backup", str(tmp_path / "none" / "b.db")), 2, f"there is no folder {tmp_path}/none for the backup"),
        (("restore", str(tmp_path / "garbage")), 1, f"{tmp_path}/garbage holds no journal: file is not a database"),
    ):
        assert said in bothost(tmp_path, "journal", *words, code=code)["error"]
