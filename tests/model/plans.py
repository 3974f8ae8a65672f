"""What happens in one world of the model: drawn from a seed before it begins, or at the moment it is needed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from random import Random

Said = Literal["reply", "nothing", "raise"]


@dataclass(frozen=True)
class Odds:
    """How often something goes wrong; each a probability for one attempt, call, write or event."""

    lost_response: float = 0.10
    hung_up: float = 0.06
    doubled: float = 0.08
    unnumbered: float = 0.05
    without_comment: float = 0.08
    api_trouble: float = 0.25
    crash_at_write: float = 0.004
    crash_at_note: float = 0.004
    crash_at_call: float = 0.01
    drain: float = 0.25
    """Of all ends of a process, those that are stops."""
    away: float = 0.004
    """The journal goes away at a write …"""
    slow: float = 0.01
    """… or takes long for it …"""
    unheard: float = 0.0
    """… or takes it, and its caller never hears of that …"""
    ghost: float = 0.0
    """… or takes it only after its caller has given up, in between whatever is written meanwhile."""


@dataclass(frozen=True)
class BotPlan:
    """One bot's section, and how its handler is."""

    name: str
    user_id: int
    ini: dict[str, Any]
    slow: float = 0.3
    """Share of its events whose handler takes more than some seconds."""
    fails: float = 0.1


BOTS = (
    BotPlan("plain", 91, {}),
    BotPlan("routed", 92, {"answer_within": "25s", "error_text": "Sorry.", "concurrency": 2}, slow=0.4),
    BotPlan("patient", 93, {"late": "retry", "order": "none", "timeout": "5m"}, slow=0.4),
    BotPlan(
        "curt", 94, {"on_error": "reply", "error_text": "Sorry.", "concurrency": 1, "keep": "0"}, slow=0.1, fails=0.3
    ),
    BotPlan("mute", 95, {"on_error": "ignore", "timeout": "40s"}, fails=0.3),
)


@dataclass
class EventPlan:
    """One event: when it happens, and how each run of its handler goes."""

    number: int
    bot: BotPlan
    task: int
    comment: int
    at_s: float
    third_at_s: float
    router_s: float
    """When the router in front of the host cuts a connection."""
    runs: list[tuple[float, Said]] = field(default_factory=list)
    """Seconds and outcome of each run; the last one for all further."""

    @property
    def name(self) -> str:
        """Stands in its replies, so that each comment tells whose it is."""
        return f"e{self.number}"

    def run(self, index: int) -> tuple[float, Said]:
        return self.runs[min(index, len(self.runs) - 1)]

    def token(self, attempt: int) -> str:
        """Of this bot, and another one in each delivery."""
        return f"a-token-as-long-as-those-of-pyrus-{self.bot.name}-{self.name}-{attempt}"

    def body(self, attempt: int) -> bytes:
        """As Pyrus sends it at this attempt: with another token."""
        task: dict[str, Any] = {"id": self.task, "text": self.name, "comments": []}
        if self.comment:
            task["comments"].append({"id": self.comment, "text": self.name, "author": {"id": 7, "type": "user"}})
        body = {"event": "comment", "access_token": self.token(attempt), "task_id": self.task}
        return json.dumps({**body, "user_id": self.bot.user_id, "task": task}).encode()


def draw_events(rng: Random, count: int, odds: Odds) -> list[EventPlan]:
    """Events over some minutes; about a third have tasks in common."""
    span_s = count * 4.0
    events = []
    for number in range(count):
        bot = rng.choice(BOTS)
        task = 1000 + (rng.randrange(count // 6 + 1) if rng.random() < 0.35 else 1000 + number)
        comment = 0 if rng.random() < odds.without_comment else 1_000_000 + number * 10
        third = rng.choice([122.0, 183.0])
        router = rng.choice([30.0, 60.0])
        plan = EventPlan(number, bot, task, comment, rng.uniform(0, span_s), third, router)
        plan.runs = [draw_run(rng, bot) for _ in range(3)]
        events.append(plan)
    # within a task a later comment has a higher id
    by_time = sorted(event.at_s for event in events)
    for event, at_s in zip(events, by_time, strict=True):
        event.at_s = at_s
    return events


def draw_run(rng: Random, bot: BotPlan) -> tuple[float, Said]:
    """Mostly quick."""
    seconds = rng.uniform(0, 0.2)
    if rng.random() < bot.slow:
        seconds = rng.choice([rng.uniform(1, 24), rng.uniform(20, 62), rng.uniform(50, 130), rng.uniform(100, 280)])
    said: Said = "raise" if rng.random() < bot.fails else "nothing" if rng.random() < 0.1 else "reply"
    return seconds, said
