"""What is seen of an event from outside: its connections, its runs, its comments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from tests.model.plans import EventPlan
    from tests.model.process import Process
    from tests.model.world import World

    from bothost.bots.registry import Bot
    from bothost.pipeline.delivery import Outcome


@dataclass
class Run:
    """One call of the handler."""

    life: Process
    began: float
    rerun: str
    ended: float = 0.0
    said: str = ""


@dataclass
class Seen:
    """What Pyrus and the plugin have seen of an event."""

    plan: EventPlan
    runs: list[Run] = field(default_factory=list)
    door_api: bool = False
    """Pyrus has read a 200 that promises the reply by the API."""
    replied: bool = False
    """Pyrus has read a 200 with the handler's own answer, or with nothing to say."""
    comments: list[str] = field(default_factory=list)


class Line:
    """One connection: a `Delivery` for the host. `read` gets what Pyrus reads, None where it reads nothing."""

    secret_index = 0
    trace = ""

    def __init__(self, world: World, bot: Bot, body: bytes, header: str, process: Process) -> None:
        self.bot = bot
        self.body = body
        self.attempt = header
        self.received = world.clock.monotonic()
        self.process = process
        self.gone = False
        self.lost = False
        self.read: asyncio.Future[Outcome | None] = world.clock.loop.create_future()

    def respond(self, outcome: Outcome) -> bool:
        if self.gone or self.process.dead:
            return False
        self.gone = True
        if not self.read.done():
            self.read.set_result(None if self.lost else outcome)
        return True

    def cut(self) -> None:
        self.gone = True
        if not self.read.done():
            self.read.set_result(None)
