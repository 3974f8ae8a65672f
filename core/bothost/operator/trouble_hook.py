"""`on_trouble`: tell an entry point or a command once when a bot gets into trouble, and once when it is well again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.errors import JournalAway
from bothost.journal.data import WriteValue, every_value
from bothost.operator.failure_hook import LIMIT_S
from bothost.text import said

if TYPE_CHECKING:
    from bothost.journal import Journal
    from bothost.operator.failure_hook import FailureHook
    from bothost.operator.harm import BotView
    from bothost.operator.service import Operations

log = logging.getLogger("bothost.on_trouble")

GROUP = "bothost.on_trouble"
SPACE = ":trouble"
"""The space of the journal's values that holds what was told: bot → host → `ToldTrouble`."""
AGAIN_S = 60.0
"""How often a host notes that a trouble goes on …"""
FORGOTTEN_S = 180.0
"""… and how long others count one of which it says nothing more."""
LOOK_S = 2.0
KINDS = ("quarantined", "stuck", "plugin error")
REPLIES = "late replies fail"


class ToldTrouble(msgspec.Struct, frozen=True, array_like=True):
    """The trouble of a bot on one host, and when that host last saw it (the journal's time)."""

    trouble: str
    at: float


class TroubleWatch:
    """Compares the bots with what was told of them. The journal keeps that for each host, so that a restart tells nothing twice,
    and hosts that share a journal tell of a bot once: when its trouble begins on one of them, and when it has ended on all."""

    def __init__(self, hook: FailureHook, operations: Operations, journal: Journal, place: str) -> None:
        """`place` names this host, also after a restart."""
        self._hook = hook
        self._operations = operations
        self._journal = journal
        self._place = place

    async def run(self) -> None:
        """Look every two seconds."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except JournalAway:
                continue

    async def look(self) -> None:
        """Tell of every bot whose trouble has begun or ended since the last look."""
        told = dict(await every_value(self._journal, SPACE))
        for view in await self._operations.bots():
            await self._compare(view, told.get(view.name))

    async def _compare(self, view: BotView, raw: bytes | None) -> None:
        trouble, now = trouble_of(view), self._journal.now()
        places = msgspec.msgpack.decode(raw, type=dict[str, ToldTrouble]) if raw else {}
        mine = places.get(self._place)
        others = {place: told for place, told in places.items() if place != self._place and now - told.at < FORGOTTEN_S}
        if trouble:
            if mine is not None and mine.trouble == trouble and now - mine.at < AGAIN_S:
                return
            known = {told.trouble for told in (mine, *others.values()) if told is not None}
            noted = await self._note(view.name, raw, {**others, self._place: ToldTrouble(trouble, now)})
            if noted and trouble not in known:
                await self._tell(view, trouble, back=False)
        elif view.now.state == "active" and places and (mine is not None or not others):
            before = (mine or next(iter(places.values()))).trouble
            if await self._note(view.name, raw, others) and not others:
                await self._tell(view, before, back=True)

    async def _note(self, bot: str, raw: bytes | None, places: dict[str, ToldTrouble]) -> bool:
        """Write what was told. Returns False where another host wrote meanwhile: the next look decides anew."""
        value = msgspec.msgpack.encode(places) if places else None
        return bool(await self._journal.ask(SPACE, WriteValue(bot, value, checked=True, expected=raw)))

    async def _tell(self, view: BotView, trouble: str, *, back: bool) -> None:
        # what is told was noted first, because a hook that fails each time must not be called every two seconds
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._hook.tell(described(view, trouble, back=back))
        except TimeoutError:
            log.warning("on_trouble took longer than %.0f s", LIMIT_S, extra={"bot": view.name})
        except Exception as error:  # noqa: BLE001 - around a plugin: a broken hook must not hurt the host
            log.warning("on_trouble could not be told of %s: %s", trouble, said(error), extra={"bot": view.name})


def trouble_of(view: BotView) -> str:
    """Return the trouble that a bot is in: its state, or that its late replies fail; "" if there is none."""
    if view.now.state in KINDS:
        return view.now.state
    return REPLIES if view.now.state == "active" and view.recent.unposted else ""


def described(view: BotView, trouble: str, *, back: bool) -> dict[str, Any]:
    """Return what the hook gets."""
    return {
        "bot": view.name,
        "trouble": trouble,
        "back": back,
        "since": view.now.since,
        "reason": view.now.reason or (f"{view.recent.unposted} replies not posted within the hour" if not back else ""),
    }
