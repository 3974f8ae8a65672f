"""Play the faults between Pyrus and a bot against a plugin.

Each fault has a fresh host, journal and fake Pyrus. A plugin must write as many comments as without the fault, and no run may
fail. `faults(MyPlugin, task(...), limit=5)` plays all faults; `@pytest.mark.parametrize("fault", faults)` makes each a test of
its own.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from bothost.testing.factories import comment, encode, task
from bothost.testing.fake_pyrus.faults import gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from bothost.testing.clock_control import ClockControl
    from bothost.testing.fake_pyrus import FakePyrus
    from bothost.testing.harness_bot import HarnessBot

SLOW_S = 70.0
"""The duration of a slow handler, longer than `answer_within` and than Pyrus waits."""
FAR = "10m"
"""The time by which every retry of a late reply that can succeed has succeeded."""


class FaultHost(Protocol):
    """A host for one fault, with its clock and its Pyrus: `Harness` is one."""

    clock: ClockControl
    pyrus: FakePyrus

    def __enter__(self) -> Self:
        """Make it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""

    def bot(self, plugin: Any, name: str = "bot", ini: Mapping[str, Any] | None = None, **settings: Any) -> HarnessBot:
        """Put a bot into service."""

    def restart(self, *, forget: bool = False) -> None:
        """Stop the host at once, and start it again."""


@dataclass(frozen=True, slots=True)
class FaultTrial:
    """A plugin with its settings, the delivery that is disturbed, and a function that makes a fresh world."""

    world: Callable[[], FaultHost]
    plugin: Any
    of: Mapping[str, Any] | bytes
    ini: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def bot(self, bothost: FaultHost) -> HarnessBot:
        """Return the plugin in service."""
        return bothost.bot(self.plugin, "bot", self.ini, **self.settings)

    def undisturbed(self) -> int:
        """Return the number of comments that the delivery leads to without a fault."""
        with self.world() as bothost:
            bot = self.bot(bothost)
            bot.deliver(self.of)
            bothost.clock.advance(FAR)
            refuse_failures(bot)
            return len(bothost.pyrus.written)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. To call it with a plugin plays it, and raises AssertionError if the plugin does not withstand it."""

    play: Callable[[FaultTrial], None] = field(repr=False)
    world: Callable[[], FaultHost] = field(repr=False)

    @property
    def __name__(self) -> str:
        """Return the name that pytest shows."""
        return self.play.__name__

    def __call__(
        self,
        plugin: Any,
        of: Mapping[str, Any] | bytes | None = None,
        ini: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        trial = FaultTrial(self.world, plugin, task() if of is None else of, ini or {}, settings)
        try:
            self.play(trial)
        except AssertionError as error:
            what = (self.play.__doc__ or "").strip()
            raise AssertionError(f"fault {self.__name__}: {error}\n({what})") from error

    def __str__(self) -> str:
        return self.__name__


class Faults:
    """All faults. Call them with a plugin, or iterate."""

    def __init__(self, world: Callable[[], FaultHost], plays: Iterable[Callable[[FaultTrial], None]]) -> None:
        self._all = tuple(Fault(play, world) for play in plays)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, fault: object) -> bool:
        return fault in self._all

    def __call__(
        self,
        plugin: Any,
        of: Mapping[str, Any] | bytes | None = None,
        ini: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """Play every fault against a plugin. Raises one AssertionError that names each fault which it does not withstand."""
        failed = []
        for fault in self:
            try:
                fault(plugin, of, ini, **settings)
            except AssertionError as error:
                failed.append(error)
        if failed:
            raise AssertionError("\n\n".join(str(error) for error in failed)) from failed[0]


@contextmanager
def expecting_as_many(trial: FaultTrial) -> Iterator[tuple[FaultHost, HarnessBot]]:
    """Yield a fresh world for a fault, and check at the end that there are as many comments as without it."""
    expected = trial.undisturbed()
    with trial.world() as bothost:
        bot = trial.bot(bothost)
        yield bothost, bot
        finish(bothost, expected)
        refuse_failures(bot)


def finish(bothost: FaultHost, expected: int) -> None:
    """Let everything end, and count the comments."""
    bothost.clock.advance(FAR)
    written = bothost.pyrus.written
    assert len(written) == expected, f"{len(written)} comments instead of {expected}: {written}"


def refuse_failures(bot: HarnessBot) -> None:
    """Raise AssertionError if a run has failed."""
    for run in bot.runner.runs:
        failure = run.ran.failure
        if failure is not None:
            raise AssertionError(f"the handler failed: {failure.text}") from failure.error


def duplicate(trial: FaultTrial) -> None:
    """Deliver the same request twice, as a proxy may do."""
    with expecting_as_many(trial) as (bothost, bot):
        bot.deliver(trial.of)
        bothost.clock.advance("2s")
        bot.deliver(trial.of)


def retry_while_running(trial: FaultTrial) -> None:
    """Cut the connection at 30 s, as a router does. Pyrus comes again while the handler still runs."""
    with expecting_as_many(trial) as (bothost, bot):
        bot.runner.delay_s = SLOW_S
        first = bot.begin(trial.of)
        bothost.clock.advance("30s")
        first.hang_up()
        bothost.clock.advance("31s")
        bot.redeliver()


def response_lost(trial: FaultTrial) -> None:
    """Lose the response. The next attempt gets the same answer."""
    with expecting_as_many(trial) as (bothost, bot):
        first = bot.begin(trial.of, hang_up=True)
        bothost.clock.advance("61s")
        assert not first.answered
        bot.redeliver()


def crash_and_rerun(trial: FaultTrial) -> None:
    """Kill the host after the handler ran, before its outcome was kept or read. The handler runs again, and is told so."""
    with expecting_as_many(trial) as (bothost, bot):
        bot.begin(trial.of, hang_up=True)
        bothost.restart(forget=True)
        bothost.clock.advance("61s")
        bot.redeliver()


def late(trial: FaultTrial) -> None:
    """Let the handler take 70 s, so that its reply is posted."""
    with expecting_as_many(trial) as (_, bot):
        bot.runner.delay_s = SLOW_S
        bot.deliver(trial.of)


def api_down(trial: FaultTrial) -> None:
    """Let Pyrus's API answer 503 for 100 s and the handler be slow. Pyrus comes again if it got no 2xx."""
    expected = trial.undisturbed()
    with trial.world() as bothost:
        bot = trial.bot(bothost)
        bot.runner.delay_s = SLOW_S
        bothost.pyrus.fail("*", gateway(503), times=1_000_000)
        answer = bot.deliver(trial.of)
        bothost.clock.advance("50s")
        bothost.pyrus.heal()
        for _ in range(2):
            if answer.status != 200:
                bothost.clock.advance("11s")
                answer = bot.redeliver()
        finish(bothost, expected)


def unknown_future(trial: FaultTrial) -> None:
    """Send kinds, field types, persons, choices and keys that are not known yet, and numbers in the place of texts."""
    with trial.world() as bothost:
        bot = trial.bot(bothost)
        answer = bot.deliver(from_the_future(bot.as_body(trial.of)))
        bothost.clock.advance(FAR)
        refuse_failures(bot)
        assert answer.status == 200, f"answered {answer.status}"


def empty_body(trial: FaultTrial) -> None:
    """Send only a task's id, without fields, comments and author."""
    with trial.world() as bothost:
        bot = trial.bot(bothost)
        answer = bot.deliver(encode({"task_id": 310_011, "task": {"id": 310_011}}))
        bothost.clock.advance(FAR)
        refuse_failures(bot)
        assert answer.status == 200, f"answered {answer.status}"


def huge_body(trial: FaultTrial) -> None:
    """Send two thousand comments before the newest one, about 2 MB."""
    with expecting_as_many(trial) as (_, bot):
        sent = json.loads(bot.as_body(trial.of))
        of = sent.setdefault("task", {"id": sent.get("task_id")})
        first = min((item["id"] for item in of.get("comments") or ()), default=10_000)
        older = [comment("word " * 200, id=first - 2000 + number) for number in range(2000)]
        of["comments"] = older + (of.get("comments") or [])
        bot.deliver(encode(sent))


def from_the_future(sent: bytes) -> bytes:
    """Return the same delivery as a later version of Pyrus might send it."""
    delivery = json.loads(sent)
    of = delivery.setdefault("task", {"id": delivery.get("task_id")})
    delivery |= {"event": "task_teleported", "actor": {"id": "x"}, "schema": 9}
    of |= {"mood": "glad", "due": 17, "responsible": ["somebody"], "is_closed": "no"}
    of["author"] = {**(of.get("author") or {}), "type": "android", "first_name": 5, "email": None}
    fields = of.get("fields") if isinstance(of.get("fields"), list) else []
    of["fields"] = [
        *fields,
        {"id": 9001, "type": "hologram", "name": "?", "value": {"x": [1, None]}},
        {"id": "9002"},
        7,
    ]
    of["approvals"] = [*(of.get("approvals") or []), [{"person": 5, "approval_choice": "perhaps"}], None]
    newest = comment(
        "?", action="teleported", approval_choice="perhaps", channel={"type": "dream"}, author={"id": "none"}
    )
    of["comments"] = [*(of.get("comments") or []), newest, "not a comment"]
    return encode(delivery)


ALL = (
    duplicate,
    retry_while_running,
    response_lost,
    crash_and_rerun,
    late,
    api_down,
    unknown_future,
    empty_body,
    huge_body,
)
