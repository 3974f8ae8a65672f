"""The pages of the deliveries: find, read, retry, cancel, export, and follow the newest."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args
from urllib.parse import quote, urlencode

import msgspec
from tornado.web import HTTPError

from bothost.errors import JournalAway
from bothost.journal.entry import EntryFilter, Phase
from bothost.operator.anonymize import Anonymizer
from bothost.operator.bulk import Selection, obstacle, select
from bothost.operator.outlook import history_of, outlook_of
from bothost.operator.page import charts, formatting
from bothost.operator.page.base import PageHandler
from bothost.operator.page.bots import newest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bothost.journal.entry import Entry, State

PAGE = 50
MOST_SEARCHED = 20_000
"""The most entries that are searched for a text in their error."""
NARROW = ("bot", "state", "task", "since", "from", "to", "q")
TAIL = 60
_OPEN: tuple[State, ...] = ("ready", "running")
_PHASES: tuple[Phase, ...] = get_args(Phase)
_SPANS = {"15m": 900.0, "1h": 3600.0, "24h": 86400.0, "7d": 604800.0}


class DeliveriesPage(PageHandler):
    """/deliveries"""

    async def get(self) -> None:
        """List them newest first, by bot, state, task and time."""
        key = self.query("q").strip()
        if ":" in key and await self._is_id(key):
            self.redirect("/deliveries/" + quote(key, safe=""), status=303)
            return
        want = self.filter()
        entries, away = await self._matching(want, key)
        more = ""
        if len(entries) == PAGE:
            last = entries[-1]
            more = self._link(before=f"{last.created!r},{last.id}")
        self.show(
            "deliveries.html",
            entries=entries,
            away=away,
            names=sorted(bot.config.name for bot in self.operations.every_bot()),
            chosen={name: self.query(name) for name in (*NARROW, "before")},
            states=("open", *_PHASES),
            spans=tuple(_SPANS),
            more=more,
            filtered=any(self.query(name) for name in (*NARROW, "before")),
            ticks=bool(self.right and self.right.changes),
        )

    head = get

    async def _is_id(self, key: str) -> bool:
        try:
            return await self.operations.find(key) is not None
        except JournalAway:
            return False

    async def _matching(self, want: EntryFilter, text: str) -> tuple[Sequence[Entry], str]:
        """Return the newest entries that match, or why there are none while the journal is away."""
        if not text:
            return await newest(self, want)
        try:
            return await select(self.operations.deliveries, Selection(want, text), PAGE, MOST_SEARCHED), ""
        except JournalAway as error:
            return (), str(error) or "away"

    def filter(self) -> EntryFilter:
        """Return what the address or the form asks for."""
        return filter_of(self.query, self.operations.now(), before=_cursor(self.query("before")))

    def _link(self, **changes: str) -> str:
        chosen = {name: self.query(name) for name in NARROW} | changes
        return "/deliveries?" + urlencode({name: value for name, value in chosen.items() if value})


def filter_of(
    value: Callable[[str], str], now: float, *, before: tuple[float, str] | None = None, limit: int = PAGE
) -> EntryFilter:
    """Return the filter of an address or a form, whose fields `value` reads."""
    task, state = value("task").strip().lstrip("#"), value("state")
    since = _SPANS.get(value("since"))
    return EntryFilter(
        bot=value("bot") or None,
        states=_OPEN if state == "open" else (),
        phase=next((phase for phase in _PHASES if phase == state), None),
        task=int(task) if task.isdecimal() and len(task) < 19 else None,
        since=now - since if since else _day(value("from")),
        until=_day(value("to"), 1),
        before=before,
        limit=limit,
    )


def _day(text: str, more: int = 0) -> float | None:
    """Return the beginning of a day in UTC, `more` days later; None if the text is no date."""
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp() + more * 86400
    except ValueError:
        return None


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
        now = self.operations.now()
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
            obstacle=obstacle(entry, await self._without_login()),
            history=history_of(entry, error),
            outlook=outlook_of(entry, await self.operations.bot(entry.bot), now),
            link=link(entry),
        )

    head = get

    async def _without_login(self) -> frozenset[str]:
        try:
            return await self.operations.without_login()
        except JournalAway:
            return frozenset()

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
            return link(await self.operations.retry(key, self.who, again=verb == "again"))

        await self.act(step, "sent-again" if verb == "again" else "retried")


class CancelDelivery(PageHandler):
    """/deliveries/KEY/cancel"""

    async def change(self, *args: str) -> None:
        """End it."""

        async def step() -> str:
            return link(await self.operations.cancel(args[0], self.who))

        await self.act(step, "cancelled")


class ExportBody(DeliveryPage):
    """/deliveries/KEY/body.json"""

    async def get(self, key: str) -> None:
        """Give the stored body as a file, masked as `bothost deliveries export` masks it."""
        entry, body = await self._found(key)
        if body is None:
            raise HTTPError(404)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", entry.id)
        self.set_header("Content-Type", "application/json")
        self.set_header("Content-Disposition", f'attachment; filename="{name}.json"')
        with self.operations.clock.real_io():
            masked = await asyncio.to_thread(_masked, body)
        self.say(self.page_context.scrub(masked))

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


class RefusedPage(PageHandler):
    """/refused"""

    async def get(self) -> None:
        """Show the newest refusals."""
        self.show("refused.html", refused=self.page_context.tail.newest())

    head = get


def _masked(body: bytes) -> str:
    """Return a body without what identifies people; as it is if it is no JSON object."""
    try:
        masked = Anonymizer().body(body)
    except (ValueError, AttributeError, RecursionError):
        return body.decode("utf-8", "replace")
    return msgspec.json.format(msgspec.json.Encoder(decimal_format="number").encode(masked), indent=2).decode()


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
