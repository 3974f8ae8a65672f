"""The schema goes forward by named steps, each applied once, on journals of every age."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import asyncpg
import pytest
from tests.journal import released
from tests.journal.journals import JournalMaker, until

from bothost.errors import JournalAway, JournalError
from bothost.journal.entry import EntryFilter
from bothost.journal.migrations import applied_table, missing, steps
from bothost.journal.rows import FIELDS
from bothost.journal.sqlite.connection import LOCK, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.journal import Journal
    from bothost.journal.migrations import Dialect


async def nothing(_: Journal) -> None:
    """Only open and close."""


def names(journal: JournalMaker) -> list[str]:
    return [name for (name,) in journal.sql("select name from {s}migration order by name")]


def test_a_new_journal_has_every_step_once(journal: JournalMaker) -> None:
    journal.run(nothing)
    journal.run(nothing)
    assert names(journal) == [name for name, _ in steps("sqlite")] == [name for name, _ in steps("postgres")]


STEPS = range(1, len(steps("sqlite")) + 1)


def older(journal: JournalMaker, step: int) -> Journal:
    """The journal as a release left it, whose newest step was this one."""
    text = released.path_of(dialect_of(journal), step).read_text("utf-8")
    if journal.shared:
        asyncio.run(execute(journal.url, text))
        return journal
    journal.folder.mkdir(mode=0o700)
    connection = sqlite3.connect(path_of(journal.folder))
    connection.executescript(text)
    connection.close()
    (journal.folder / LOCK).touch(0o600)
    return journal


async def execute(url: str, text: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(text)
    await connection.close()


def dialect_of(journal: JournalMaker) -> Dialect:
    return "postgres" if journal.shared else "sqlite"


def shape(journal: JournalMaker) -> list[tuple[str, str]]:
    """All tables and indexes, as they were made."""
    if journal.shared:
        columns = (
            "select table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, collation_name) "
            "from information_schema.columns where table_schema = 'bothost'"
        )
        return journal.sql(
            f"{columns} union all select indexname, indexdef from pg_indexes where schemaname = 'bothost' order by 1"
        )
    return journal.sql("select name, sql from sqlite_schema where sql is not null order by name")


def test_every_released_step_has_its_journal_and_is_never_changed() -> None:
    dialects: tuple[Dialect, Dialect] = ("sqlite", "postgres")
    for dialect in dialects:
        for step in STEPS:
            kept = released.path_of(dialect, step).read_text("utf-8")
            assert kept.startswith(released.schema_of(dialect, step)), (
                f"{dialect}: a journal in the field has step {step} as {released.FOLDER} keeps it; add a step instead"
            )


@pytest.mark.parametrize("step", STEPS)
def test_a_journal_of_each_older_schema_becomes_todays_and_keeps_what_it_holds(
    journal: JournalMaker, step: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    older(journal, step)

    async def read(store: Journal) -> None:
        for what, entry in released.entries().items():
            assert await store.find(entry.id) == entry, what
            assert await store.body(entry.id) == released.BODY, what
        assert len(await store.list(EntryFilter())) == len(released.entries())
        await store.control("pause:refunds", "x")
        assert await store.gate("account", 1, 10.0, 10.0) == 0.0

    journal.run(read)
    url = request.getfixturevalue("postgres").new_database() if journal.shared else ""
    fresh = JournalMaker(tmp_path / "fresh", url)
    fresh.run(nothing)
    assert shape(journal) == shape(fresh)
    assert names(journal) == names(fresh) == [name for name, _ in steps("sqlite")]


@pytest.mark.parametrize("step", STEPS)
def test_what_was_under_way_in_an_older_journal_goes_on(journal: JournalMaker, step: int) -> None:
    older(journal, step)
    was = released.entries()

    async def go_on(store: Journal) -> None:
        (cut,) = [one.entry for one in await until(store.reap)]
        assert (cut.id, cut.state, cut.rerun, cut.deaths) == (was["cut"].id, "ready", "crash", 1)
        taken = {entry.id for entry in await store.due({"refunds": 8}, 8)}
        assert {was["parked"].id, was["posting"].id, was["cut"].id} <= taken
        word, known = await store.claim(was["answered"], b"{}")
        assert (word, known.answer) == ("known", was["answered"].answer)
        held = await store.take(was["held"].id, seen=2, seen_at=released.MADE_AT + 61)
        assert held is not None
        assert (held.state, held.fence) == ("running", was["held"].fence + 1)
        again = await store.retry(was["failed"].id)
        assert (again.state, again.rerun) == ("ready", "manual")

    journal.run(go_on)


def test_a_journal_whose_host_was_killed_before_its_first_step_is_made_whole(journal: JournalMaker) -> None:
    begun = applied_table(dialect_of(journal))
    if journal.shared:
        journal.sql("create schema bothost", begun)
    else:
        journal.folder.mkdir(mode=0o700)
        journal.sql(begun)
    journal.run(nothing)
    assert names(journal) == [name for name, _ in steps("sqlite")]


def test_a_visitor_changes_no_schema_under_a_running_host(journal: JournalMaker) -> None:
    older(journal, 1)

    async def visit() -> None:
        with pytest.raises(JournalAway, match="older than this version; start the host first"):
            async with journal.open(readonly=True):
                raise AssertionError("opened")

    asyncio.run(visit())
    assert names(journal) == [steps("sqlite")[0][0]]


def test_a_visitor_leaves_a_journal_without_any_step_to_the_host(embedded: JournalMaker) -> None:
    embedded.folder.mkdir(mode=0o700)
    embedded.sql("pragma user_version = 1")
    (embedded.folder / "journal.lock").touch()

    async def visit() -> None:
        with pytest.raises(JournalAway, match="start the host first"):
            async with embedded.open(readonly=True):
                raise AssertionError("opened")

    asyncio.run(visit())
    assert embedded.sql("select name from sqlite_schema") == []


def test_a_step_that_fails_leaves_nothing_of_itself(journal: JournalMaker) -> None:
    journal.run(nothing)
    every = [name for name, _ in steps("sqlite")]
    second = every[1]
    journal.sql("drop table {s}owner", "drop table {s}gate", f"delete from {{s}}migration where name = '{second}'")
    with pytest.raises(JournalError):
        journal.run(nothing)  # the table `control` is still there
    assert names(journal) == [name for name in every if name != second]
    journal.sql("drop table {s}control")
    journal.run(nothing)
    assert names(journal) == every


def test_many_open_a_new_journal_at_once(journal: JournalMaker) -> None:
    async def scene() -> None:
        stores = [journal.make() for _ in range(6)]
        await asyncio.gather(*(store.open() for store in stores))
        await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(scene())
    assert len(names(journal)) == len(steps("sqlite"))


def test_a_journal_of_a_newer_version_is_refused(journal: JournalMaker) -> None:
    journal.run(nothing)
    journal.sql("insert into {s}migration (name, applied) values ('9999 from tomorrow', 'x')")
    for readonly in (False, True):
        with pytest.raises(
            JournalError, match=r"newer bothost .step '9999 from tomorrow'.; install that version or newer"
        ):
            asyncio.run(journal.make(readonly=readonly).open())


def test_every_field_of_an_entry_has_its_column() -> None:
    for dialect in ("sqlite", "postgres"):
        _, statements = steps(dialect)[0]
        columns = [part.split()[0] for part in statements[0].partition("(")[2].split(",")]
        added = [
            line.split("add column ")[1].split()[0]
            for _, more in steps(dialect)
            for line in more
            if "add column" in line
        ]
        assert set(FIELDS) <= {*columns, *added}
        assert "migration" in applied_table(dialect)
        assert missing(dialect, [name for name, _ in steps(dialect)]) == []
