"""The fake Pyrus of the dev loop: its people and tasks, its deliveries to the bots, and a timeline of all that was sent."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bothost.background import BackgroundTasks
from bothost.testing.factories import task
from bothost.testing.fake_pyrus import ApiFault, FakePyrus, HandledRequest
from bothost.testing.fake_pyrus.faults import lose_answer, refuse_connection, slow
from bothost.testing.fake_pyrus.webhooks import READ_S, SimulatedRequest, WebhookRoute, Webhooks
from bothost.testing.people import numbering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.clock import Clock
    from bothost.testing.fake_pyrus.question import ApiQuestion
    from bothost.testing.fake_pyrus.webhooks import Send
    from bothost.testing.fake_pyrus.world import ApiAccount, Json

KEPT = 300
SHOWN = 20_000
PEOPLE = (
    ("Anna", "Gromova", "anna@example.com"),
    ("Boris", "Chief", "chief@example.com"),
    ("Vera", "Client", "vera@example.com"),
)
ALWAYS = 1_000_000
API_STATES: Mapping[str, ApiFault | None] = {
    "works": None,
    "slow": slow(5),
    "loses answers": lose_answer(),
    "away": refuse_connection(),
}


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One thing that happened: a delivery with its answer, a call of a bot, or a line of the log."""

    number: int
    at: str
    kind: Literal["delivery", "call", "log"]
    title: str
    result: str
    sent: str = ""
    received: str = ""
    good: bool = True


@dataclass(slots=True)
class DevBot:
    """One bot as Pyrus knows it: its account, and the way to its webhook."""

    name: str
    account: ApiAccount
    key: str
    send: Send
    attempts_s: tuple[float, ...] = (0.0, 5.0, 10.0)
    """The times of Pyrus's attempts. Its own are 0, 61 and 122 s, and nobody wants to wait so long here."""
    read_s: float = READ_S
    """The seconds for which Pyrus waits for an answer. A handler that stands at a breakpoint needs more."""


@dataclass(slots=True)
class SimulatedNetwork:
    """The state of the network between Pyrus and the bots, as the page sets it."""

    api: str = "works"
    responses_lost: bool = False


class DevPyrus(FakePyrus):
    """A fake Pyrus whose traffic is kept to be looked at."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.world.strict = False
        # the host keeps its journal from one run to the next, so no id may come again
        numbering.restart(above=int(clock.epoch()) * 1000)
        numbering.now = clock.now
        self.timeline: deque[TimelineItem] = deque(maxlen=KEPT)
        self.network = SimulatedNetwork()
        self.bots: dict[str, DevBot] = {}
        self._tasks = BackgroundTasks()
        for first, last, email in PEOPLE:
            self.add_person(first_name=first, last_name=last, email=email, type="user")

    def people(self) -> list[Json]:
        """List everybody who can write: the people, no bots."""
        return [one for one in self.world.persons.values() if one.get("type") == "user"]

    def admit(self, bot: DevBot) -> None:
        """Let Pyrus know a bot."""
        self.bots[bot.name] = bot

    def set_api(self, state: str) -> None:
        """Make the API slow, absent or good again. Raises KeyError for another state."""
        fault = API_STATES[state]
        self.heal()
        if fault is not None:
            self.fail("*", fault, times=ALWAYS)
        self.network.api = state

    def begin_task(
        self, bot: DevBot, author: Json, text: str, form_id: int | None, fields: Mapping[str | int, Any]
    ) -> Json:
        """Create a task as a person, and deliver it. In a form task the bot is asked to approve the first step."""
        made = task(form_id, step=1 if form_id else None, fields=fields or None, author=author, text=text)
        person = bot.account.person
        for given in (made.get("approvals", []), made["comments"][0].get("approvals_added", [])):
            for row in given:
                for one in row:
                    one["person"] = person
        made["participants"] = [] if form_id else [person]
        added = self.world.add_task(made)
        self.deliver(bot, added["id"])
        return added

    def comment_as(self, task_id: int, author: Json, request: Json) -> None:
        """Write a comment as a person, and deliver it to the bots that the task concerns."""
        self.say(task_id, person=author, **request)
        for bot in self.bots.values():
            if bot.account.person["id"] in concerned(self.task(task_id)):
                self.deliver(bot, task_id)

    def deliver(self, bot: DevBot, task_id: int) -> None:
        """Begin to deliver what is new in a task, with Pyrus's attempts."""
        lost = frozenset({1}) if self.network.responses_lost else frozenset()
        route = WebhookRoute(times=bot.attempts_s, lost=lost, read_s=bot.read_s)

        async def send(hook: SimulatedRequest) -> tuple[int, bytes]:
            return await self._sent(bot, hook, lost)

        self._tasks.spawn(self._delivered(Webhooks(self, bot.account, bot.key, send, route), task_id))

    async def close(self) -> None:
        """Give up deliveries that are under way."""
        await self._tasks.stop()

    async def handle(self, asked: ApiQuestion) -> HandledRequest:
        """See `FakePyrus.handle`; keeps what was asked and answered."""
        handled = await super().handle(asked)
        shown = readable(handled.body)
        result = str(handled.status) if handled.ending == "answered" else f"connection {handled.ending}"
        good = handled.ending == "answered" and handled.status < 400
        self._note("call", asked.title, result, sent=readable(asked.body), received=shown, good=good)
        return handled

    def note_log(self, record: logging.LogRecord) -> None:
        """Keep a warning or an error of the host, because it tells why a reply is missing."""
        trace = str(getattr(record, "traceback", ""))
        bot = str(getattr(record, "bot", ""))
        self._note(
            "log",
            f"[bot:{bot}]" if bot else "host",
            record.getMessage(),
            received=trace,
            good=record.levelno < logging.WARNING,
        )

    async def _delivered(self, webhooks: Webhooks, task_id: int) -> None:
        await webhooks.deliver(task_id)

    async def _sent(self, bot: DevBot, hook: SimulatedRequest, lost: frozenset[int]) -> tuple[int, bytes]:
        head = "\n".join(f"{name}: {value}" for name, value in hook.headers.items())
        sent = f"{head}\n\n{hook.body.decode()}"
        title = f"{bot.name}: attempt {hook.attempt}"
        began = asyncio.get_running_loop().time()
        try:
            status, body = await bot.send(hook)
        except OSError as error:
            self._note("delivery", title, f"no answer: {error}", sent=sent, good=False)
            raise
        took = f" after {asyncio.get_running_loop().time() - began:.1f} s"
        said = "with a comment" if status == 200 and body.strip() not in (b"", b"{}") else "without a comment"
        result = f"{status}{took}, {said}" + (", and the answer is lost" if hook.attempt in lost else "")
        self._note("delivery", title, result, sent=sent, received=body.decode("utf-8", "replace"), good=status == 200)
        return status, body

    def _note(self, kind: Literal["delivery", "call", "log"], title: str, result: str, **more: Any) -> None:
        number = self.timeline[-1].number + 1 if self.timeline else 1
        self.timeline.append(TimelineItem(number, f"{self.clock.now():%H:%M:%S}", kind, title, result, **more))


def readable(body: bytes) -> str:
    """Return JSON with a line for each value, and anything else as it is, up to a length that a page can show."""
    with suppress(msgspec.DecodeError):
        body = msgspec.json.format(body, indent=2)
    return body[:SHOWN].decode("utf-8", "replace")


class TimelineLog(logging.Handler):
    """Hands the host's warnings and errors to the timeline."""

    def __init__(self, pyrus: DevPyrus) -> None:
        super().__init__(logging.WARNING)
        self._pyrus = pyrus

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self._pyrus.note_log(record)


def concerned(task: Json) -> set[int]:
    """Return the ids of those whom a task's changes are sent to: approvers, participants, subscribers, the responsible."""
    rows: list[Any] = [one.get("person") for step in task.get("approvals", []) for one in step]
    rows += task.get("participants", [])
    rows += [one.get("person") for one in task.get("subscribers", [])]
    rows.append(task.get("responsible"))
    return {one["id"] for one in rows if isinstance(one, dict) and "id" in one}
