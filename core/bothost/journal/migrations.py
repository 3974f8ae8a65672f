"""Define the journal's schema as named steps. The journal itself keeps the names of the steps that were applied.

Add a new column to `entry.py` too, and a boolean one to `rows.py`. A step that was released is frozen, because
tests/data/journals holds a journal as each step left it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bothost.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterable

Dialect = Literal["sqlite", "postgres"]

_WORDS: dict[Dialect, dict[str, str]] = {
    "sqlite": {"REAL": "real", "INT": "integer", "BIG": "integer", "BYTES": "blob", "BOOL": "integer", "KEY": "text", "SCHEMA": ""},
    "postgres": {
        "REAL": "double precision", "INT": "integer", "BIG": "bigint", "BYTES": "bytea", "BOOL": "boolean",
        "KEY": 'text collate "C"', "SCHEMA": "bothost.",
    },
}  # fmt: skip

PARKED = "state = 'ready' and door = 'api' and answer is null"
POSTING = "state = 'ready' and door = 'api' and answer is not null"
ON_ITS_WAY = "state in ('ready', 'running') and door = 'api' and answer is not null"
HOLDS_TURN = "state = 'running' and (answer is null or tries = 0)"
"""The condition of an entry that holds its turn: until its run has ended and, if it is late, its first POST was tried."""
OWNED = "state = 'running' and owner <> ''"
"""It names the state although an owner implies it, so that a planner does not take this index to look for a turn."""
SUSPECT = "state = 'running' and deaths > 0 and rerun = 'crash' and answer is null"
"""The condition of a run whose host died during an earlier one. Each owner runs at most one of them at a time."""
KEPT = "state not in ('ready', 'running') and (body is not null or body_at is not null or answer is not null)"
"""The condition of ended entries whose body or answer is still there; `keep` limits how long."""
QUIET: dict[Dialect, str] = {
    "sqlite": "door = 'response' and (state = 'ready' or (state = 'answered' and delivered = 0))",
    "postgres": "door = 'response' and (state = 'ready' or (state = 'answered' and not delivered))",
}
"""The condition, by dialect, of entries that wait for Pyrus's next attempt: held, or answered to nobody."""

_DELIVERY = """
create table {SCHEMA}delivery (
    id {KEY} primary key not null, bot {KEY} not null, kind text not null, state text not null, door text not null,
    task {BIG} not null, turn {KEY}, comment {BIG} not null, step {INT} not null, due {REAL} not null,
    fence {BIG} not null, owner text not null, tries {INT} not null, seen {INT} not null, seen_at {REAL} not null,
    runs {INT} not null, deaths {INT} not null, rerun text not null, cancel {BOOL} not null, delivered {BOOL} not null,
    status {INT} not null, answer {BYTES}, failed {BOOL} not null, error text not null, post_begun {REAL} not null,
    posted {BIG} not null, version text not null, trace text not null, ms {REAL} not null, created {REAL} not null,
    updated {REAL} not null, limit_s {REAL} not null,
    until {REAL} not null, body {BYTES}, body_at text
)
"""

OLDER = "the journal is older than this version; start the host first, which brings it up to date"
"""The error of a visitor, which never changes the schema under a running host."""


def _indexes(dialect: Dialect) -> tuple[str, ...]:
    indexes = (
        "create index d_created on delivery (created, id)",
        "create index d_bot on delivery (bot, created)",
        "create index d_open on delivery (state, created, bot) where state <> 'answered'",
        f"create unique index d_turn on delivery (bot, turn) where {HOLDS_TURN}",
        "create index d_running on delivery (owner) where state = 'running'",
        f"create index d_ready on delivery (bot, due) where {PARKED}",
        f"create index d_line on delivery (bot, turn, created) where {PARKED}",
        f"create index d_post on delivery (due) where {POSTING}",
        f"create index d_posts on delivery (bot, task, created) where {ON_ITS_WAY}",
        f"create index d_kept on delivery (bot, created) where {KEPT}",
        "create index d_bodies on delivery (body_at) where body_at is not null",
        f"create index d_quiet on delivery (due) where {QUIET[dialect]}",
    )
    return _in_schema(dialect, indexes)


def _quicker_indexes(dialect: Dialect) -> tuple[str, ...]:
    indexes = (
        f"create index d_running on delivery (owner) where {OWNED}",
        f"create index d_suspect on delivery (owner) where {SUSPECT}",
        f"create index d_parked on delivery (bot, created) where {PARKED}",
    )
    return (f"drop index {_WORDS[dialect]['SCHEMA']}d_running", *_in_schema(dialect, indexes))


def _in_schema(dialect: Dialect, indexes: tuple[str, ...]) -> tuple[str, ...]:
    schema = _WORDS[dialect]["SCHEMA"]
    return tuple(index.replace(" on delivery ", f" on {schema}delivery ") for index in indexes)


_OWNER = "create table {SCHEMA}owner (id text primary key not null, boot text not null, lease {REAL} not null)"
_CONTROL = "create table {SCHEMA}control (name text primary key not null, value text not null)"
_WRITTEN = """
create table {SCHEMA}written (
    bot {KEY} not null, task {BIG} not null, comment {BIG} not null, at {REAL} not null, primary key (bot, task, comment)
)
"""
_VALUE = """
create table {SCHEMA}value (
    space {KEY} not null, name {KEY} not null, value {BYTES} not null, expires {REAL} not null, primary key (space, name)
)
"""
_GATE = "create table {SCHEMA}gate (name text primary key not null, tokens {REAL} not null, at {REAL} not null)"


def steps(dialect: Dialect) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return all steps in order, each as its name and statements. A released step never changes; a change is a new step."""
    words = _WORDS[dialect]
    delivery = _DELIVERY.format(**words)
    if dialect == "postgres":
        delivery = delivery.rstrip() + " with (fillfactor = 70)"
    return (
        ("0001 deliveries", (delivery, *_indexes(dialect))),
        ("0002 owners, controls and gates", (_OWNER.format(**words), _CONTROL.format(**words), _GATE.format(**words))),
        ("0003 indexes of owners, suspects and lines", _quicker_indexes(dialect)),
        (
            "0004 comments of handlers",
            (_WRITTEN.format(**words), "create index w_at on {SCHEMA}written (at)".format(**words)),
        ),
        (
            "0005 revisions of deliveries",
            ("alter table {SCHEMA}delivery add column revision {BIG} not null default 1".format(**words),),
        ),
        (
            "0006 values of plugins",
            (
                _VALUE.format(**words),
                "create index v_expires on {SCHEMA}value (expires) where expires > 0".format(**words),
            ),
        ),
        ("0007 histories of deliveries", ("alter table {SCHEMA}delivery add column history {BYTES}".format(**words),)),
    )


def applied_table(dialect: Dialect) -> str:
    """Return the statement that makes the table for the names of the applied steps."""
    schema = _WORDS[dialect]["SCHEMA"]
    return f"create table if not exists {schema}migration (name text primary key not null, applied text not null)"


def missing(dialect: Dialect, applied: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the steps that a journal still needs. Raises JournalError if it has steps that this version does not know."""
    known = steps(dialect)
    have = set(applied)
    unknown = sorted(have - {name for name, _ in known})
    if unknown:
        raise JournalError(
            f"the journal was written by a newer bothost (step {unknown[-1]!r}); install that version or newer"
        )
    return [step for step in known if step[0] not in have]
