"""Find the events of a bot that is not in bots.ini any more, and the statements that give them to another bot."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from bothost.journal import Journal
    from bothost.journal.entry import State

log = logging.getLogger("bothost.journal")

MOVED = "bot = {old} and state <> 'running' and kind <> 'timer' and id >= {old} || ':' and id < {old} || ';'"
"""The condition of the entries that move: all but runs under way and ticks.

`;` follows `:` in the alphabet, so the range holds the keys that begin with the bot's name and a colon.
"""
NEW_KEY = "{new} || substr(id, length({old}) + 1)"


def move_statements(schema: str, old: str, new: str) -> tuple[str, str]:
    """Return the statements that move deliveries and handlers' comments. `old` and `new` are the marks of the two names."""
    moved, key = MOVED.format(old=old), NEW_KEY.format(old=old, new=new)
    free = f"not exists (select 1 from {schema}delivery taken where taken.id = {new} || substr(moved.id, length({old}) + 1))"
    deliveries = f"update {schema}delivery as moved set bot = {new}, id = {key}, revision = revision + 1 where {moved} and {free}"
    written = (
        f"insert into {schema}written (bot, task, comment, at) select {new}, task, comment, at from {schema}written "
        f"where bot = {old} on conflict do nothing"
    )
    return deliveries, written


def without_bot(counts: Mapping[tuple[str, State], int], names: Container[str]) -> dict[str, int]:
    """Return the number of open events of each bot that is not in bots.ini."""
    found: dict[str, int] = {}
    for (name, state), count in sorted(counts.items()):
        if state in ("ready", "running") and name not in names:
            found[name] = found.get(name, 0) + count
    return found


def said_of_no_bot(name: str, count: int) -> str:
    """Return a message that says what is wrong with open events without a bot, and what to do about them."""
    events = "1 open event waits" if count == 1 else f"{count} open events wait"
    return (
        f"{events} for the bot {name!r}, which is not in bots.ini: put its section back, or give them to another bot by "
        f"bothost deliveries move --from {name} --to NEW"
    )


class MissingBots:
    """Logs after a start and a reload the open events of no bot, because those of a renamed bot would wait unnoticed."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._looked_for: Container[str] = ()

    async def look(self, bots: Container[str]) -> None:
        """Look once for each registry; `bots` is its mapping of names. Raises JournalAway."""
        if bots is self._looked_for:
            return
        for name, count in without_bot(await self._journal.counts(), bots).items():
            log.warning("%s", said_of_no_bot(name, count), extra={"bot": name})
        self._looked_for = bots
