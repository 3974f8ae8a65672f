"""The schema goes forward by named steps, each applied once, on journals of every age."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.store.journals import BODY, make_entry

from bothost.errors import StoreError
from bothost.store.migrations import applied_table, missing, steps
from bothost.store.rows import FIELDS

if TYPE_CHECKING:
    from tests.store.journals import Journal

    from bothost.store import Store


async def nothing(_: Store) -> None:
    """Only open and close."""


def names(journal: Journal) -> list[str]:
    return [name for (name,) in journal.sql("select name from {s}migration order by name")]


def test_a_new_journal_has_every_step_once(journal: Journal) -> None:
    journal.run(nothing)
    journal.run(nothing)
    assert names(journal) == [name for name, _ in steps("sqlite")] == [name for name, _ in steps("postgres")]


def test_a_journal_of_the_first_version_keeps_its_deliveries(journal: Journal) -> None:
    journal.run(nothing)

    async def put(store: Store) -> None:
        await store.save(make_entry(state="answered", delivered=True, answer=b"{}"), BODY)

    journal.run(put)
    first, _ = steps("sqlite")[0]
    later = ("owner", "control", "gate")
    journal.sql(*(f"drop table {{s}}{table}" for table in later), f"delete from {{s}}migration where name <> '{first}'")
    assert names(journal) == [first]

    async def look(store: Store) -> None:
        assert await store.body(make_entry().id) == BODY
        await store.control("pause:refunds", "x")

    journal.run(look)
    assert names(journal) == [name for name, _ in steps("sqlite")]


def test_a_step_that_fails_leaves_nothing_of_itself(journal: Journal) -> None:
    journal.run(nothing)
    first, _ = steps("sqlite")[0]
    journal.sql(
        "drop table {s}owner",
        "drop table {s}gate",
        f"delete from {{s}}migration where name <> '{first}'",
    )
    with pytest.raises(StoreError):
        journal.run(nothing)  # the table `control` is still there
    assert names(journal) == [first]
    journal.sql("drop table {s}control")
    journal.run(nothing)
    assert names(journal) == [name for name, _ in steps("sqlite")]


def test_many_open_a_new_journal_at_once(journal: Journal) -> None:
    async def scene() -> None:
        stores = [journal.make() for _ in range(6)]
        await asyncio.gather(*(store.open() for store in stores))
        await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(scene())
    assert len(names(journal)) == len(steps("sqlite"))


def test_a_journal_of_a_newer_version_is_refused(journal: Journal) -> None:
    journal.run(nothing)
    journal.sql("insert into {s}migration (name, applied) values ('9999 from tomorrow', 'x')")
    with pytest.raises(StoreError, match="newer bothost"):
        journal.run(nothing)


def test_every_field_of_an_entry_has_its_column() -> None:
    for dialect in ("sqlite", "postgres"):
        _, statements = steps(dialect)[0]
        columns = [part.split()[0] for part in statements[0].partition("(")[2].split(",")]
        assert columns[: len(FIELDS)] == list(FIELDS)
        assert "migration" in applied_table(dialect)
        assert missing(dialect, [name for name, _ in steps(dialect)]) == []
