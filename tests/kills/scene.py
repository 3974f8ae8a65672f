"""One event, one bot, a real host that can be killed, and a Pyrus that delivers attempt by attempt."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.playing import Playing
from tests.e2e.site import SECRET, HostSite, Later

from bothost.clock import SystemClock
from bothost.journal import open_journal
from bothost.journal.entry import Entry, EntryFilter
from bothost.testing.fake_pyrus.webhooks import WebhookRoute

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.testing.fake_pyrus.webhooks import AttemptResult, SimulatedRequest, Webhooks

LOGIN = "bot@scene.example"
PLUGINS = """
import asyncio, pathlib
HERE = pathlib.Path(__file__).parent
async def act(event):
    with (HERE / f"runs-{event.task_id}").open("a") as file:
        file.write(f"{event.rerun or 'first'}\\n")
    while not (HERE / f"go-{event.task_id}").exists():
        await asyncio.sleep(0.02)
    if (HERE / "fails").exists():
        raise RuntimeError("on purpose")
    return f"reply to {event.task_id}"
"""


@dataclass
class Scene:
    """What the test turns: `attempt`, `let_go`, `kill`; what it sees: `row`, `runs`, `comments`."""

    site: HostSite
    playing: Playing
    journal: str

    @classmethod
    def made(cls, folder: Path, journal: str, playing: Playing | None = None, **keys: object) -> Scene:
        """A host in a folder of its own; `keys` stand in the bot's section of bots.ini."""
        playing = playing or Playing()
        lines = {
            "plugin": "act",
            "login": LOGIN,
            "api_url": playing.url,
            "answer_within": "1s",
            "concurrency": 1,
            **keys,
        }
        bots = "one: " + "; ".join(f"{name} = {value}" for name, value in lines.items())
        folder.mkdir(exist_ok=True)
        return cls(HostSite(folder, PLUGINS, bots, f"journal = {journal}\n" if journal else ""), playing, journal)

    def task(self) -> int:
        """A task in which somebody has just said something."""
        task = self.playing.task()
        self.playing.say(task, "please")
        return task

    def attempt(self, task: int, number: int = 1, *, lost: bool = False) -> Later:
        """Pyrus's attempt of this number; it is under way when this returns, and gives a `AttemptResult`. `lost`: Pyrus hears nothing."""
        before = frozenset(range(1, number))
        route = WebhookRoute(times=(0.0,) * number, dropped=before, lost=frozenset([number] if lost else []))
        hooks = self._hooks(route)
        return Later(lambda: self.playing.deliver(hooks, task)[-1])

    def hang_up(self, task: int) -> None:
        """A first attempt whose sender goes away before the answer."""
        hooks = self._hooks(WebhookRoute())
        hook: SimulatedRequest = self.playing.look(
            lambda: hooks.hook(self.playing.pyrus.task(task), "comment", "a-token-of-nobody", 1)
        )
        with suppress(TimeoutError):
            self.site.post("one", hook.body, dict(hook.headers), timeout=0.4)

    def _hooks(self, route: WebhookRoute) -> Webhooks:
        pyrus = self.playing.pyrus
        account = self.playing.look(lambda: pyrus.world.account_of(LOGIN) or pyrus.add_bot(LOGIN, SECRET, 99))
        return self.playing.hooks(self.site, "one", account, route)

    def let_go(self, task: int) -> None:
        """The handler of this task comes to its end."""
        (self.site.folder / f"go-{task}").touch()

    def runs(self, task: int) -> list[str]:
        """Why each run of a task's event began."""
        path = self.site.folder / f"runs-{task}"
        return path.read_text().split() if path.exists() else []

    def comments(self, task: int) -> list[str]:
        """The doors by which the bot's comments came."""
        wrote = self.playing.look(lambda: self.playing.pyrus.comments(task))
        assert all(one.text == f"reply to {task}" for one in wrote)
        return [one.door for one in wrote]

    def row(self, task: int) -> Entry | None:
        """The event's entry as the journal has it."""

        async def find() -> Entry | None:
            store = open_journal(
                self.journal, self.site.folder / "state", SystemClock(), claims_first=True, readonly=True
            )
            await store.open()
            try:
                return next(iter(await store.list(EntryFilter(task=task))), None)
            finally:
                await store.close()

        return asyncio.run(find())

    def until_row(self, task: int, seconds: float = 30.0, **values: object) -> Entry:
        """The entry once these fields have these values."""

        def found() -> Entry | None:
            row = self.row(task)
            return row if row and all(getattr(row, name) == value for name, value in values.items()) else None

        return self.site.until(found, seconds)

    def until_runs(self, task: int, count: int, seconds: float = 30.0) -> None:
        """So many runs have begun."""
        self.site.until(lambda: len(self.runs(task)) >= count, seconds)

    def until_comment(self, task: int) -> None:
        """The bot has written something."""
        self.site.until(lambda: self.comments(task), 60.0)

    def kill(self) -> None:
        """kill -9."""
        self.site.tell(signal.SIGKILL)
        self.site.wait()

    def kill_and_start(self) -> None:
        """kill -9, and the next life."""
        self.kill()
        self.site.start()

    def end(self) -> None:
        """Everything is over."""
        self.site.end()
        self.playing.end()


def status_and_body(reached: AttemptResult) -> tuple[int, bytes]:
    """What Pyrus read."""
    return reached.status, reached.body
