"""The pages for many events at once: the plan of a retry or cancel, and its progress."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

import msgspec
from tornado.web import HTTPError

from bothost.journal.status import phase
from bothost.operator.bulk import RATE_PER_S, BulkPlan, Selection, make_plan, select
from bothost.operator.page.base import PageHandler
from bothost.operator.page.deliveries import NARROW, PAGE, filter_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.journal.entry import Entry
    from bothost.operator.bulk import Verb

_OPEN = ("ready", "running")


class PlanPage(PageHandler):
    """/bulk"""

    most_fields = PAGE + 50

    async def change(self, *_args: str) -> None:
        """Show what would be done; with `confirmed`, do it."""
        verb = self.form("verb")
        if verb not in ("retry", "cancel"):
            raise HTTPError(400)
        plan = await self._plan(cast("Verb", verb))
        if self.form("confirmed") and plan.entries:
            number = self.page_context.bulk.start(plan, self._act(plan.verb), self.operations.clock)
            await self.act(lambda: _at(f"/bulk/{number}"), f"{plan.verb} of {len(plan.entries)} events")
            return
        fields = [(name, self.form(name)) for name in (*NARROW, "verb", "all", "anyway") if self.form(name)]
        fields += [("key", key) for key in self.forms("key")]
        bots = Counter(entry.bot for entry in plan.entries)
        self.show("bulk.html", plan=plan, fields=fields, bots=bots, rate=RATE_PER_S, progress=None)

    async def _plan(self, verb: Verb) -> BulkPlan:
        entries = await self._all_that_match(verb) if self.form("all") else await self._ticked()
        logins, now = await self.operations.without_login(), self.operations.now()
        known = {entry.bot for entry in entries if self.operations.bot_named(entry.bot) is not None}
        return make_plan(entries, verb, logins, known=known, now=now, anyway=bool(self.form("anyway")))

    async def _ticked(self) -> list[Entry]:
        found = [await self.operations.delivery(key) for key in self.forms("key")[:PAGE]]
        return [one[0] for one in found if one is not None]

    async def _all_that_match(self, verb: Verb) -> list[Entry]:
        want = filter_of(self.form, self.operations.now())
        if want.phase is None and not want.states:
            want = msgspec.structs.replace(want, states=("failed",) if verb == "retry" else _OPEN)
        return await select(self.operations.deliveries, Selection(want, self.form("q").strip()))

    def _act(self, verb: Verb) -> Callable[[Entry], Awaitable[None]]:
        operations, who = self.operations, f"{self.who}, in bulk"

        async def act(entry: Entry) -> None:
            if verb == "cancel":
                await operations.cancel(entry.id, who)
            else:
                await operations.retry(entry.id, who, revision=entry.revision)

        return act


class ProgressPage(PageHandler):
    """/bulk/NUMBER"""

    async def get(self, number: str) -> None:
        """Show how far it is, and how the events stand."""
        job = self.page_context.bulk.find(int(number))
        if job is None:
            raise HTTPError(404)
        plan, progress = job
        outcomes: Counter[tuple[str, str]] = Counter()
        for key in progress.taken:
            if (entry := await self.operations.find(key)) is not None:
                state = phase(entry)
                why = entry.error.partition("\n")[0].removeprefix(f"[bot:{entry.bot}] ") if state == "failed" else ""
                outcomes[state, why] += 1
        for why in progress.refused.values():
            outcomes["refused", why] += 1
        self.show("bulk.html", plan=plan, fields=[], bots={}, rate=RATE_PER_S, progress=progress, outcomes=outcomes)

    head = get


async def _at(where: str) -> str:
    return where
