"""Journals as each released step left them: plain SQL in tests/data/journals, one file for each step and store.

A new step gets its files by `python -m tests.journal.released`, which writes those that are missing and touches no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.journal.journals import answered, make_entry

from bothost.journal.migrations import applied_table, steps
from bothost.journal.rows import COLUMNS, values_of

if TYPE_CHECKING:
    from bothost.journal.entry import Entry
    from bothost.journal.migrations import Dialect

FOLDER = Path(__file__).parents[1] / "data" / "journals"
MADE_AT = 1_700_000_000.0
"""Of the entries: long ago for a journal of today, so that what was parked then is due."""
BODY = '{"task_id": 7, "text": "Привет"}'.encode()
DEAD_OWNER = "a-host-that-was-killed"


def path_of(dialect: Dialect, step: int) -> Path:
    """The file of a journal that has this many steps."""
    return FOLDER / f"{dialect}-{step:04}.sql"


def entries() -> dict[str, Entry]:
    """One for each state, by what it is."""
    then = {"seen_at": MADE_AT, "created": MADE_AT, "updated": MADE_AT}
    ready = {"state": "ready", "door": "api", "due": MADE_AT}
    made = {
        "answered": answered(make_entry(1, turn=None), answer=b'{"text":"\\u0434\\u0430"}', status=200, version="1.0"),
        "undelivered": make_entry(2, state="answered", answer=b'{"text":"yes"}', task=8, turn="8"),
        "held": make_entry(3, state="ready", rerun="error", runs=1, fence=1, task=9, turn="9"),
        "parked": make_entry(4, task=10, turn="10", **ready),
        "posting": make_entry(5, task=11, turn="11", answer=b'{"text":"late"}', fence=1, **ready),
        "cut": make_entry(6, task=12, turn="12", state="running", door="api", owner=DEAD_OWNER, fence=1, runs=1),
        "failed": make_entry(7, task=13, turn="13", state="failed", door="api", error="ValueError: no\nline", runs=3),
        "cancelled": make_entry(8, task=14, turn="14", state="cancelled", cancel=True),
    }
    return {name: _at(entry, then) for name, entry in made.items()}


def _at(entry: Entry, then: dict[str, float]) -> Entry:
    for field, value in then.items():
        setattr(entry, field, value)
    entry.revision = 1
    return entry


def schema_of(dialect: Dialect, step: int) -> str:
    """The statements of the first steps, as they are now."""
    schema = "bothost." if dialect == "postgres" else ""
    lines = ["create schema bothost", applied_table(dialect)]
    for name, statements in steps(dialect)[:step]:
        lines += [statement.strip() for statement in statements]
        lines.append(f"insert into {schema}migration (name, applied) values ('{name}', '2023-11-14T22:13:20+00:00')")
    return ";\n".join(lines[dialect == "sqlite" :]) + ";\n"


def _rows(dialect: Dialect) -> str:
    table = "bothost.delivery" if dialect == "postgres" else "delivery"
    lines = []
    for entry in entries().values():
        values = ", ".join(_literal(dialect, value) for value in (*values_of(entry), 0.0, BODY))
        lines.append(f"insert into {table} ({COLUMNS}, until, body) values ({values});\n")
    return "".join(lines)


def _literal(dialect: Dialect, value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool) and dialect == "postgres":
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'" if dialect == "postgres" else f"X'{value.hex()}'"
    return str(int(value)) if isinstance(value, bool) else repr(value) if not isinstance(value, str) else _quoted(value)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    dialects: tuple[Dialect, Dialect] = ("sqlite", "postgres")
    for dialect in dialects:
        for step in range(1, len(steps(dialect)) + 1):
            path = path_of(dialect, step)
            if not path.exists():
                path.write_text(schema_of(dialect, step) + "\n" + _rows(dialect), "utf-8")
                print(path)


if __name__ == "__main__":
    main()
