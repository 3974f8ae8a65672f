"""Runners of plugins made on the spot, and events for them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bothost.clock import SystemClock
from bothost.config import BotConfig
from bothost.config.secrets import SecretSources
from bothost.plugins.api import Tick
from bothost.plugins.discovery import DiscoveredPlugin
from bothost.plugins.event import RunContext
from bothost.plugins.loading import PluginResources, load
from bothost.pyrus.envelope import decode
from bothost.runners.local import LocalRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.runners import RunResult

TOKEN = "a-token-that-nobody-may-see"
BODY = {"access_token": TOKEN, "task_id": 5, "task": {"id": 5, "author": {"id": 1, "email": "a@b"}}}


class GaveUp:
    """Stands for `event.pyrus`, whose calls end with the run."""

    def __init__(self) -> None:
        self.why: list[str] = []

    def give_up(self, why: str) -> None:
        self.why.append(why)


@dataclass
class Bench:
    """A runner, what its runs are given, and how often the work of a run has ended."""

    runner: LocalRunner
    clock: Clock
    token: str = TOKEN
    ended: int = 0
    returned: bytes = b""
    pyrus: GaveUp = field(default_factory=GaveUp)

    def end(self, returned: bytes = b"{}") -> None:
        self.ended += 1
        self.returned = returned

    async def run(self, limit_s: float = 30.0, **body: Any) -> RunResult:
        """Run the handler once for an event."""
        deadline = self.clock.now() + timedelta(seconds=limit_s)
        context = RunContext("a:5:comment:1", "a", 1, "", deadline, self.clock, 7, self.pyrus)  # type: ignore[arg-type]
        return await self.runner.run(decode(json.dumps({**BODY, **body}).encode()), context, limit_s, self.end)

    async def tick(self, timer: str, limit_s: float = 30.0) -> RunResult:
        """Run a timer once."""
        return await self.runner.tick(timer, Tick(self.clock.now()), limit_s, self.end)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """`bench(function or class, run="auto", …)`: its runner; keys are those of the bot's section."""

    def made(target: Any, *, clock: Clock | None = None, **keys: Any) -> Bench:
        clock = clock or SystemClock()
        config = BotConfig(name="a", plugin="p", **keys)
        resources = PluginResources(clock, tmp_path / "a", None, SecretSources(tmp_path, {}))
        plugged = load(config, {"p": DiscoveredPlugin("p", lambda: target)}, resources)
        return Bench(LocalRunner(plugged, config, clock, lambda text: text.replace("hunter2", "•••")), clock)

    return made
