"""Values of plugins in the journal: read, written, added to and listed, by several processes at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bothost.clock import SystemClock
from bothost.errors import StoreError
from bothost.journal.data import JournalData, ReadOnlyData, ReadValue
from bothost.journal.values import added, decode, encode
from bothost.plugins.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal

VALUES = [
    None,
    True,
    -1,
    2**70,
    1.5,
    "Привет\x00\ud800",
    [1, [2, {"a": None}]],
    {"$": "decimal", "v": "1"},
    {"$": {"$": 1}},
    Decimal("10.50"),
    datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
    datetime(2026, 3, 1, 12, 30, 0, 5),
    date(2026, 3, 1),
    b"\x00\xff",
    {"deep": [Decimal(1), {"at": date(2026, 1, 1)}]},
]


def with_store(journal: JournalMaker, work: Callable[[Store, Journal], Awaitable[Any]]) -> Any:
    async def inside(opened: Journal) -> Any:
        return await work(Store(JournalData(opened, "refunds", SystemClock()), SystemClock()), opened)

    return journal.run(inside)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_its_type(value: Any) -> None:
    back = decode(encode(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1}, "a set cannot be stored"),
        ({1: 2}, "the key 1"),
        (float("nan"), "cannot be stored"),
        ("a" * 300_000, "the most is 262144"),
        (object(), "an object"),
    ],
    ids=["set", "key", "nan", "size", "object"],
)
def test_what_cannot_be_stored_is_an_error_that_says_so(value: Any, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        encode(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(StoreError, match="deeper"):
        encode(loop)


def test_only_numbers_are_added() -> None:
    assert added(encode(Decimal("0.1")), encode(Decimal("0.2"))) == encode(Decimal("0.3"))
    for have, plus in (("a", 1), (True, 1), (1, [1])):
        with pytest.raises(StoreError, match="numbers"):
            added(encode(have), encode(plus))
    with pytest.raises(StoreError, match="cannot be added"):
        added(encode(Decimal(1)), encode(1.5))


def test_a_value_is_set_read_and_deleted(journal: JournalMaker) -> None:
    async def work(store: Store, opened: Journal) -> None:
        assert await store.get("a") is None
        assert await store.get("a", 7) == 7
        await store.set("a", {"sum": Decimal("1.5")})
        assert await store.get("a") == {"sum": Decimal("1.5")}
        assert await Store(JournalData(opened, "other", SystemClock()), SystemClock()).get("a") is None
        assert await store.setdefault("a", 1) == {"sum": Decimal("1.5")}
        assert await store.setdefault("b", 1) == 1
        assert await store.add("b", 2) == 3
        assert await store.add("new") == 1
        assert await store.delete("a") is True
        assert await store.delete("a") is False

    with_store(journal, work)


@pytest.mark.parametrize("key", ["", "a" * 201, 7, "a\x00", "\ud800"], ids=["empty", "long", "number", "zero", "half"])
def test_a_key_that_no_journal_holds_is_refused(embedded: JournalMaker, key: Any) -> None:
    async def work(store: Store, _opened: Journal) -> None:
        for asked in (store.get(key), store.set(key, 1), store.add(key), store.delete(key), store.update(key, str)):
            with pytest.raises(StoreError, match="key of the store"):
                await asked

    with_store(embedded, work)


def test_values_expire_and_are_cleaned_away(journal: JournalMaker) -> None:
    async def work(store: Store, opened: Journal) -> None:
        await store.set("a", 1, expires="7d")
        await store.set("b", 1)
        shift = "update {s}value set expires = expires - 8 * 86400 where expires > 0"
        await asyncio.to_thread(journal.sql, shift)
        assert await store.get("a") is None
        assert await store.setdefault("a", 2) == 2
        await store.set("c", 1, expires="7d")
        await asyncio.to_thread(journal.sql, shift)
        assert [key async for key, _ in store.items()] == ["a", "b"]
        await opened.retain({})
        rows = await asyncio.to_thread(journal.sql, "select name from {s}value order by name")
        assert rows == [("a",), ("b",)]
        for wrong in ("7x", "-1d", 5, "0s"):
            with pytest.raises(StoreError, match="expires"):
                await store.set("a", 1, expires=wrong)  # type: ignore[arg-type]

    with_store(journal, work)


def test_an_update_keeps_the_expiry_and_a_set_ends_it(journal: JournalMaker) -> None:
    def expires() -> float:
        return float(journal.sql("select expires from {s}value where name = 'a'")[0][0])

    async def work(store: Store, _opened: Journal) -> None:
        await store.set("a", 1, expires="1h")
        first = await asyncio.to_thread(expires)
        assert await store.update("a", lambda value: value + 1) == 2
        assert await store.add("a", 1) == 3
        assert await asyncio.to_thread(expires) == first
        await store.set("a", 1)
        assert await asyncio.to_thread(expires) == 0

    with_store(journal, work)


def test_items_come_in_order_with_their_prefix_over_many_pages(journal: JournalMaker) -> None:
    async def work(store: Store, _opened: Journal) -> None:
        keys = [f"task:{number:04}" for number in range(450)] + ["task", "task;", "Ж", "Жук", "_", "%"]
        for key in keys:
            await store.set(key, key)
        assert [key async for key, _ in store.items()] == sorted(keys)
        for prefix in ("task:", "Ж", "_", "%", "none"):
            found = [item async for item in store.items(prefix)]
            assert found == [(key, key) for key in sorted(keys) if key.startswith(prefix)]

    with_store(journal, work)


def test_an_update_is_made_again_where_another_was_quicker(journal: JournalMaker) -> None:
    async def work(store: Store, _opened: Journal) -> None:
        await asyncio.gather(*(store.update("n", lambda value: value + 1, 0) for _ in range(20)))
        assert await store.get("n") == 20
        with pytest.raises(StoreError, match="plain function"):
            await store.update("n", lambda _value: asyncio.sleep(0))

    with_store(journal, work)


def test_a_rehearsal_reads_and_writes_nothing(embedded: JournalMaker) -> None:
    async def work(store: Store, opened: Journal) -> None:
        await store.set("n", 1)
        rehearsed = Store(ReadOnlyData(JournalData(opened, "refunds", SystemClock())), SystemClock())
        assert await rehearsed.get("n") == 1
        assert await rehearsed.add("n", 5) == 6
        await rehearsed.set("n", 9)
        assert await rehearsed.update("n", lambda value: value + 1) == 2
        assert await opened.ask("refunds", ReadValue("n")) == b"1"

    with_store(embedded, work)


PROGRAM = """
import asyncio, sys
from pathlib import Path
from bothost.clock import SystemClock
from bothost.journal import open_journal
from bothost.journal.data import JournalData
from bothost.plugins.store import Store

async def main(url, folder, times):
    clock = SystemClock()
    journal = open_journal(url, Path(folder), clock, claims_first=True)
    await journal.open()
    store = Store(JournalData(journal, "refunds", clock), clock)
    for _ in range(times):
        await store.add("added")
        await store.update("updated", lambda value: value + 1, 0)
    await journal.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_eight_processes_on_two_hosts_lose_no_addition(journal: JournalMaker) -> None:
    """1,000 times each with BOTHOST_LONG=1; two hosts where the journal can be shared."""
    times = 1000 if os.environ.get("BOTHOST_LONG") else 15
    folders = [str(journal.folder), str(journal.folder.with_name("other")) if journal.shared else str(journal.folder)]
    journal.run(_nothing)
    programs = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, journal.url, folders[number % 2], str(times)])
        for number in range(8)
    ]
    assert [program.wait(600) for program in programs] == [0] * 8

    async def work(store: Store, _opened: Journal) -> None:
        assert await store.get("added") == 8 * times
        assert await store.get("updated") == 8 * times

    with_store(journal, work)


async def _nothing(_opened: Journal) -> None:
    """Only make the journal."""
