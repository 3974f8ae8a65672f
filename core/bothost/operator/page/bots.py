"""The pages of the bots: all, one, pause and resume, a test delivery."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from tornado.web import HTTPError

from bothost.errors import BodyRefused, JournalAway
from bothost.journal.entry import EntryFilter
from bothost.operator.harm import failures_of, wrong_key
from bothost.operator.page import charts, formatting
from bothost.operator.page.base import PageHandler
from bothost.operator.trial_delivery import editable, send
from bothost.plugins.hook_methods import shown_hook
from bothost.telemetry.metrics.families import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bothost.journal.entry import Entry
    from bothost.operator.harm import BotView

PAGE_BOTS = 100


class BotsPage(PageHandler):
    """/"""

    async def get(self) -> None:
        """Show every bot with its state; `q` searches, `state` filters."""
        views = await self.operations.bots()
        words, state, now = (
            self.query("q").strip().lower(),
            self.query("state"),
            self.operations.clock.now().timestamp(),
        )
        with self.operations.clock.real_io():
            wanted = await asyncio.to_thread(_chosen, views, words.split(), state)
            totals = await asyncio.to_thread(_totals, views, now)
        tally = Counter(view.now.state for view in views)
        first = max(_number(self.query("from")), 0)
        self.show(
            "bots.html",
            views=wanted[first : first + PAGE_BOTS],
            without_bot=await self.operations.without_bot(),
            found=len(wanted),
            every=len(views),
            first=first,
            page_size=PAGE_BOTS,
            counts={word: tally[word] for word in STATES if word in tally},
            trouble=sum(view.in_trouble for view in views),
            state=state,
            words=self.query("q"),
            totals=totals,
            reading=self.operations.reading,
            spark=charts.sparkline,
            recent=recent,
            failures_of=failures_of,
            wrong_key=wrong_key,
        )

    head = get


class BotsJson(PageHandler):
    """/bots.json: what `bothost bots` shows."""

    by_script = True

    async def get(self) -> None:
        """Give each bot's state and figures."""
        views = await self.operations.bots()
        now = self.operations.clock.now().timestamp()
        self.set_header("Content-Type", "application/json")
        self.say(json.dumps([self._row(view, now) for view in views]))

    def _row(self, view: BotView, now: float) -> dict[str, Any]:
        return {
            "bot": view.name,
            "state": view.now.state,
            "reason": formatting.line(self.page_context.scrub(view.now.reason), view.name),
            "trace": self.page_context.scrub(view.now.trace),
            "since": formatting.iso(view.now.since) if view.now.since else None,
            "plugin": view.bot.config.plugin,
            "version": view.version,
            "path": view.bot.config.path,
            "secret": view.bot.config.fingerprint,
            "waiting": view.now.waiting,
            "running": view.now.running,
            "paused_tasks": sorted(view.paused_tasks),
            "deliveries_last_hour": recent(view, now)[0],
            "failed_runs_last_hour": failures_of(view, now),
            "unposted_replies": view.recent.unposted,
            "no_login": view.recent.no_login,
            "replies_tried_again": view.recent.tried_again,
            "last_error": formatting.line(self.page_context.scrub(view.recent.error), view.name),
            "wrong_signatures": view.refused,
            "wrong_signatures_last_hour": view.figures.refused_last_hour(now),
            "wrong_signatures_from": self._refused_from(view.name),
            "blocked_s": round(view.figures.blocked_s, 3),
            "kept": formatting.line(self.operations.kept.get(view.name, ""), view.name)
            if view.now.state == "active"
            else "",
        }

    def _refused_from(self, name: str) -> str:
        """Return where the bot's newest delivery with a wrong signature came from; "" if this process has seen none."""
        lines = (line for line in self.page_context.tail.newest() if line.bot == name)
        return next((line.peer for line in lines if line.word == "refused-signature"), "")

    head = get


class BotPage(PageHandler):
    """/bots/NAME"""

    async def get(self, name: str) -> None:
        """Show its state, charts, settings and deliveries."""
        view = await self._view(name)
        entries, away = await newest(self, EntryFilter(bot=name, limit=20))
        now = self.operations.clock.now().timestamp()
        self.show(
            "bot.html",
            view=view,
            entries=entries,
            away=away,
            one_bot=True,
            chart_counts=charts.counts(view.figures.minutes, now, self.language),
            chart_durations=charts.durations(view.figures.minutes, now, self.language),
            host_keys=_host_keys(view),
            settings=_settings(view),
            timers=getattr(view.bot.plugged, "timers", ()),
            hooks=_hooks(view),
            problems=self.operations.reading.broken.get(name, ()),
            kept=self.operations.kept.get(name, ""),
            recent=recent,
            fine=fine,
            in_all=await self._running_in_all(view),
        )

    head = get

    async def _running_in_all(self, view: BotView) -> int:
        """Return how many runs all hosts have under way, for a bot whose runs are counted together."""
        most = view.bot.config.concurrency
        runs, _ = await newest(self, EntryFilter(bot=view.name, phase="running", limit=most)) if most else ((), "")
        return max(len(runs), view.now.running)

    async def _view(self, name: str) -> BotView:
        view = await self.operations.bot(name)
        if view is None:
            raise HTTPError(404)
        return view


class PauseBot(PageHandler):
    """/bots/NAME/pause"""

    async def change(self, *args: str) -> None:
        """Pause it with the reason in the form."""
        name = args[0]
        if self.operations.bot_named(name) is None:
            raise HTTPError(404)
        reason = formatting.text(self.form("reason").strip()[:200]) or "paused by the operator"

        async def step() -> str:
            await self.operations.pause(name, reason)
            return f"/bots/{name}"

        await self.act(step, "paused")


class RestartBot(PageHandler):
    """/bots/NAME/restart"""

    async def change(self, *args: str) -> None:
        """Restart it on every process, and wait until that is done."""
        name = args[0]
        if self.operations.bot_named(name) is None:
            raise HTTPError(404)

        async def step() -> str:
            await self.operations.restart(name, self.who)
            return f"/bots/{name}"

        await self.act(step, "restarted")


class ResumeBot(PageHandler):
    """/bots/NAME/resume"""

    async def change(self, *args: str) -> None:
        """Resume it, or one of its tasks."""
        name, task = args[0], self.form("task")
        only = int(task) if task.isdecimal() else None

        async def step() -> str:
            await self.operations.resume(name, only)
            return f"/bots/{name}"

        await self.act(step, "resumed")


class RunTimer(PageHandler):
    """/bots/NAME/tick.json, for `bothost tick`"""

    async def change(self, *args: str) -> None:
        """Run the timer that the form names, due at its `at`, and give what became of it."""
        bot = self.operations.bot_named(args[0])
        if bot is None:
            raise HTTPError(404)
        try:
            due = datetime.fromisoformat(self.form("at"))
        except ValueError:
            raise HTTPError(400) from None
        report = await self.operations.tick(bot, self.form("timer"), due, self.page_context.scrub)
        self.set_header("Content-Type", "application/json")
        self.say(msgspec.json.encode(report))


class SendTestDelivery(PageHandler):
    """/bots/NAME/test"""

    most_bytes = 4 << 20

    def get(self, name: str) -> None:
        """Show the sample, to be edited."""
        bot = self.operations.bot_named(name)
        if bot is None:
            raise HTTPError(404)
        self.show("test.html", bot=bot, text=editable(bot, self.operations.clock), sent=None, refused="", reply="")

    async def change(self, *args: str) -> None:
        """Send it and show the answer."""
        bot = self.operations.bot_named(args[0])
        if bot is None:
            raise HTTPError(404)
        text = self.form("body")
        values: dict[str, Any] = {"sent": None, "refused": "", "reply": ""}
        try:
            sent = await send(bot, text, self.operations.receive, self.operations.clock)
        except BodyRefused as error:
            values["refused"] = str(error)
            self.set_status(422)
        else:
            values["sent"] = sent
            values["reply"] = formatting.json_html(sent.body, self.page_context.scrub)[0]
        self.show("test.html", bot=bot, text=text, **values)

    head = get


async def newest(handler: PageHandler, want: EntryFilter) -> tuple[Sequence[Entry], str]:
    """Return entries of the journal, or why there are none: the rest of the page must work while the journal is away."""
    try:
        return await handler.operations.deliveries(want), ""
    except JournalAway as error:
        return (), str(error) or "away"


def recent(view: BotView, now: float) -> tuple[int, int]:
    """Return the numbers of deliveries and failed runs of the last hour."""
    return view.figures.last_hour(now)


def _chosen(views: Sequence[BotView], words: Sequence[str], state: str) -> list[BotView]:
    """Return the bots in this state (or in trouble) whose name, plugin or reason contain all words."""

    def fits(view: BotView) -> bool:
        if state and view.now.state != state and not (state == "trouble" and view.in_trouble):
            return False
        text = f"{view.name} {view.bot.config.plugin} {view.now.reason}".lower() if words else ""
        return all(word in text for word in words)

    return [view for view in views if fits(view)]


def _totals(views: Sequence[BotView], now: float) -> dict[str, int]:
    return {
        "deliveries": sum(recent(view, now)[0] for view in views),
        "failures": sum(failures_of(view, now) for view in views),
        "waiting": sum(view.now.waiting + view.entries.get("ready", 0) for view in views),
        "running": sum(view.now.running for view in views),
        "failed": sum(view.entries.get("failed", 0) for view in views),
    }


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def fine(view: BotView) -> bool:
    """Return whether it can be sent a test delivery."""
    return bool(view.bot.config.secrets)


def _host_keys(view: BotView) -> list[tuple[str, str]]:
    """Return the host's keys of the section with their present values."""
    config = view.bot.config
    rows: list[tuple[str, str]] = [
        ("plugin", config.plugin),
        ("path", config.path),
        ("secret", " + ".join(f"<{one}>" for one in config.fingerprints)),
        ("login", view.bot.login or config.login),
        ("api_url", config.api_url),
        ("run", config.run),
        ("concurrency", str(config.concurrency or "")),
        ("concurrency_each", str(config.permits)),
        ("order", config.order),
        ("answer_within", f"{config.answer_within_s:g} s"),
        ("late", config.late),
        ("timeout", f"{config.timeout_s:g} s"),
        ("on_error", config.on_error),
        ("error_text", config.error_text),
        ("error_choice", config.error_choice),
        ("own_comments", config.own_comments),
        ("overlap", "yes" if config.overlap else "no"),
        ("per_host", config.per_host),
        ("forms", ", ".join(map(str, sorted(config.forms)))),
        ("max_body", formatting.size(config.max_body_bytes)),
        ("keep", f"{config.keep_s / 86400:g} d"),
        ("memory", formatting.size(config.memory_bytes) if config.memory_bytes else ""),
    ]
    return [(key, formatting.block(value)) for key, value in rows if value]


def _settings(view: BotView) -> list[tuple[str, str]]:
    """Return the plugin's settings. No value is shown without the plugin, because only it knows which are secret."""
    plugged = view.bot.plugged
    loaded = getattr(plugged, "settings", None)
    if loaded is None:
        return [(key, "…") for key in view.bot.config.settings]
    return [(key, formatting.block(repr(getattr(loaded, key, "…")))) for key in _names(loaded)]


def _names(settings: object) -> Sequence[str]:
    return tuple(getattr(settings, "__struct_fields__", ()))


def _hooks(view: BotView) -> list[dict[str, str]]:
    """Return the bot's hooks with what was answered to each since the host started."""
    plugged = view.bot.plugged
    found = []
    for spec in plugged.hooks if plugged is not None else ():
        told = {
            word.partition(" ")[2]: n for word, n in view.figures.hooks.items() if word.split(" ")[0] == spec.rule.name
        }
        counts = ", ".join(f"{word} {n}" for word, n in sorted(told.items())) or "–"
        found.append({**shown_hook(view.bot.config.path, spec.rule), "counts": counts})
    return found
