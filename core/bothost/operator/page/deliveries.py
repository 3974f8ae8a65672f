"""The pages of the deliveries: find, read, retry, cancel, export, and follow the newest."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args
from urllib.parse import quote, urlencode

import msgspec
from tornado.web import HTTPError

from bothost.journal.entry import EntryFilter, Phase
from bothost.operator.page import charts, formatting
from bothost.operator.page.base import PageHandler
from bothost.operator.page.bots import newest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bothost.journal.entry import Entry, State

PAGE = 50
TAIL = 60
_OPEN: tuple[State, ...] = ("ready", "running")
_PHASES: tuple[Phase, ...] = get_args(Phase)
_SPANS = {"15m": 900.0, "1h": 3600.0, "24h": 86400.0, "7d": 604800.0}


class DeliveriesPage(PageHandler):
    """/deliveries"""

    async def get(self) -> None:
        """List them newest first, by bot, state, task and time."""
        want = self._filter()
        entries, away = await newest(self, want)
        more = ""
        if len(entries) == PAGE:
            last = entries[-1]
            more = self._link(before=f"{last.created!r},{last.id}")
        self.show(
            "deliveries.html",
            entries=entries,
            away=away,
            names=sorted(bot.config.name for bot in self.operations.every_bot()),
            chosen={name: self.query(name) for name in ("bot", "state", "task", "since", "before")},
            states=("open", *_PHASES),
            spans=tuple(_SPANS),
            more=more,
            filtered=any(self.query(name) for name in ("bot", "state", "task", "since", "before")),
        )

    head = get

    def _filter(self) -> EntryFilter:
        task = self.query("task").strip().lstrip("#")
        since, state = _SPANS.get(self.query("since")), self.query("state")
        return EntryFilter(
            bot=self.query("bot") or None,
            states=_OPEN if state == "open" else (),
            phase=next((phase for phase in _PHASES if phase == state), None),
            task=int(task) if task.isdecimal() and len(task) < 19 else None,
            since=self.operations.clock.now().timestamp() - since if since else None,
            before=_cursor(self.query("before")),
            limit=PAGE,
        )

    def _link(self, **changes: str) -> str:
        chosen = {name: self.query(name) for name in ("bot", "state", "task", "since")} | changes
        return "/deliveries?" + urlencode({name: value for name, value in chosen.items() if value})


class WaitingJson(PageHandler):
    """/waiting.json: what `bothost deliveries list` shows beside the journal."""

    by_script = True

    async def get(self) -> None:
        """Give the entries that wait in this host's memory."""
        self.set_header("Content-Type", "application/json")
        self.say(msgspec.json.encode(await self.operations.waiting()))

    head = get


class DeliveryPage(PageHandler):
    """/deliveries/KEY"""

    async def get(self, key: str) -> None:
        """Show request, reply and history."""
        entry, body = await self._found(key)
        request, cut = await self._laid_out(body)
        reply = (await self._laid_out(entry.answer))[0] if entry.answer not in (None, b"{}") else ""
        error = self.page_context.scrub(entry.error)
        now = self.operations.clock.now().timestamp()
        self.show(
            "delivery.html",
            entry=entry,
            body=body,
            request=request,
            cut=cut,
            reply=reply,
            error=formatting.first_line(error, entry.bot),
            trace=formatting.block(error.partition("\n")[2]),
            chart=charts.attempts(entry, now, self.language) if entry.kind == "hook" else "",
            may=_may(entry),
            link=link(entry),
        )

    head = get

    async def _found(self, key: str) -> tuple[Entry, bytes | None]:
        found = await self.operations.delivery(key)
        if found is None:
            raise HTTPError(404)
        return found

    async def _laid_out(self, body: bytes | None) -> tuple[str, bool]:
        if body is None:
            return "", False
        with self.operations.clock.real_io():
            return await asyncio.to_thread(formatting.json_html, body, self.page_context.scrub)


class RetryDelivery(PageHandler):
    """/deliveries/KEY/retry: a failed one again; /deliveries/KEY/again: an answered one, as a new entry."""

    async def change(self, *args: str) -> None:
        """Ask the journal, which knows whether that is allowed."""
        key, verb = args[0], args[1]

        async def step() -> str:
            return link(await self.operations.retry(key, again=verb == "again"))

        await self.act(step, "sent-again" if verb == "again" else "retried")


class CancelDelivery(PageHandler):
    """/deliveries/KEY/cancel"""

    async def change(self, *args: str) -> None:
        """End it."""

        async def step() -> str:
            return link(await self.operations.cancel(args[0]))

        await self.act(step, "cancelled")


class ExportBody(DeliveryPage):
    """/deliveries/KEY/body.json"""

    async def get(self, key: str) -> None:
        """Give the stored body as a file. Its token was never stored."""
        entry, body = await self._found(key)
        if body is None:
            raise HTTPError(404)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", entry.id)
        self.set_header("Content-Type", "application/json")
        self.set_header("Content-Disposition", f'attachment; filename="{name}.json"')
        self.say(self.page_context.scrub(body.decode("utf-8", "replace")))

    head = get


class LivePage(PageHandler):
    """/live"""

    async def get(self) -> None:
        """Show the newest entries. A script refreshes them; without one the page reloads itself."""
        entries, away = await self._tail()
        self.show("live.html", entries=entries, away=away, refused=self.page_context.tail.newest())

    head = get

    async def _tail(self) -> tuple[Sequence[Entry], str]:
        return await newest(self, EntryFilter(bot=self.query("bot") or None, limit=TAIL))


class LiveRowsFragment(LivePage):
    """/live/rows: the same rows alone, for the script."""

    by_script = True

    async def get(self) -> None:
        """Give the rows as a piece of html."""
        entries, away = await self._tail()
        self.show("live_rows.html", entries=entries, away=away, refused=self.page_context.tail.newest())


def link(entry: Entry) -> str:
    """Return the path of an entry's page."""
    return "/deliveries/" + quote(entry.id, safe="")


def _may(entry: Entry) -> dict[str, bool]:
    """Return the actions that the page offers. The journal decides whether they are allowed."""
    phase = formatting.phase(entry)
    return {
        "retry": phase == "failed",
        "again": phase in ("answered", "undelivered") and entry.kind != "timer",
        "cancel": phase in ("waiting", "held", "parked", "posting", "running"),
    }


def _cursor(text: str) -> tuple[float, str] | None:
    created, comma, key = text.partition(",")
    try:
        return (float(created), key) if comma and datetime.fromtimestamp(float(created), UTC) else None
    except (ValueError, OverflowError, OSError):
        return None
