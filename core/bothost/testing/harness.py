"""Define `Harness`, which a plugin's test uses: a whole host in memory, with a virtual clock, a real journal and a fake Pyrus."""

from __future__ import annotations

import gc
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bothost.plugins.explained import explained_methods
from bothost.testing import checks
from bothost.testing.clock_control import ClockControl
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fault_matrix import ALL, Faults
from bothost.testing.harness_bot import HarnessBot
from bothost.testing.harness_state import HarnessState, turn, turning
from bothost.testing.host import BareHost, HarnessSection, modules_of
from bothost.testing.people import BOT_ID, me, numbering
from bothost.testing.recording import LogBook
from bothost.testing.sent_deliveries import SentDeliveries
from bothost.testing.virtual_time.clock import VirtualClock
from bothost.testing.virtual_time.loop import VirtualLoop
from bothost.testing.virtual_time.sleep import VirtualSleep

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from bothost.plugins.api import Plugin
    from bothost.testing.fake_pyrus import WrittenComment


@explained_methods
class Harness:
    """A host for one test: `with Harness() as bothost:`, or the fixture `bothost`.

    `clock` moves only as far as it is told or a delivery needs. `pyrus` is the fake Pyrus: its tasks, its script of
    failures, and every comment that was written. Not to be used inside a running event loop.
    """

    __slots__ = ("__weakref__", "_bots", "_sleep", "_stack", "_state", "clock", "pyrus")
    clock: ClockControl
    pyrus: FakePyrus

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bots: dict[str, HarnessBot] = {}

    def __enter__(self) -> Self:
        VirtualLoop.refuse_nesting()  # before we make a loop, which would have to be closed
        time = VirtualClock()
        with ExitStack() as stack:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="bothost-test-", ignore_cleanup_errors=True)
            )
            stack.callback(time.loop.close)
            book = stack.enter_context(LogBook())
            self._sleep = stack.enter_context(VirtualSleep(time.loop))
            numbering.restart()
            numbering.now = time.now
            self.pyrus = FakePyrus(time)
            self.pyrus.world.strict = False
            host = turn(time, BareHost.started(time, Path(folder), self.pyrus.transport()))
            self._state = HarnessState(time, SentDeliveries(self.pyrus), book, host)
            self.clock = ClockControl(time, self._look)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._state.turn(self._state.host.stop())
                with turning():
                    self._let_go()
                    # the young generations, because a coroutine that nobody awaited is as young as the test
                    gc.collect(1)
                faults = self._state.book.faults()
                assert not faults, "bothost itself failed, please report it:\n" + "\n".join(faults)
                self._look_for_the_untold()
            elif issubclass(kind, Exception):
                with suppress(
                    AssertionError
                ):  # the test has failed already, and its journal must be closed all the same
                    self._state.turn(self._state.host.stop())

    def _look_for_the_untold(self) -> None:
        """Raise AssertionError for a call that the fake does not know and a reply that Pyrus would refuse, if not raised yet."""
        unknown = self.pyrus.unknown
        assert not unknown, (
            f"the fake Pyrus does not know {', '.join(dict.fromkeys(unknown))}: script the answer with "
            f"bothost.pyrus.answer({unknown[0]!r}, value)"
        )
        refused = [why for bot in self._bots.values() for why in bot.refused]
        assert not refused, "\n".join(refused)

    def _let_go(self) -> None:
        """Drop the frames of handlers that failed, so that a call which nobody awaited in them is reported by this test."""
        for under_test in self._bots.values():
            for run in under_test.runner.runs:
                error = run.ran.failure.error if run.ran.failure is not None else None
                if error is not None:
                    traceback.clear_frames(error.__traceback__)

    def bot(
        self,
        plugin: type[Plugin[Any]] | Callable[..., Any] | str,
        name: str = "bot",
        ini: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> HarnessBot:
        """Put a bot into service: a function, a class, or an installed entry point's name.

        `settings` are the plugin's, as Python values or as bots.ini has them; `ini` are the section's other keys
        (`ini={"late": "retry"}`). Raises ConfigError or PluginError if `bothost check` would say so.

        Example: `bothost.bot(LeaveBot, form=321, ini={"late": "retry"})`
        """
        checks.text("name", name)
        if not isinstance(ini, Mapping | None):
            checks.wrong("ini", ini, 'a dict such as {"late": "retry"}')
        assert name not in self._bots, f"there is a bot {name!r} already: give this one another name="
        number = len(self._bots)
        person = me() | {"id": BOT_ID + number}
        if number:
            person["email"] = f"bot@{number:08x}-5a55-4d0e-9a9b-6f2f7d0a1c55"
        origin = (plugin, HarnessSection(name, person["email"], ini or {}, settings))
        self.pyrus.add_bot(person["email"], origin[1].secret, person["id"])
        for login in origin[1].accounts.values():
            self.pyrus.add_bot(login, origin[1].secret)
        bot, runner = self._state.turn(self._state.host.add(*origin))
        self._sleep.exchange(modules_of(bot))
        made = self._bots[name] = HarnessBot(self._state, (bot, runner), origin, person)
        return made

    @property
    def real_limit(self) -> float:
        """Return the real seconds that work in threads may take before the test fails and names the line.

        Example: `bothost.real_limit = 30`
        """
        return self._state.time.loop.real_limit_s

    @real_limit.setter
    def real_limit(self, seconds: float) -> None:
        self._state.time.loop.real_limit_s = checks.duration("real_limit", seconds)

    @property
    def io_grace(self) -> float:
        """Return the real seconds to wait for a handler's own sockets on the loop before the clock jumps.

        Example: `bothost.io_grace = 1.0`
        """
        return self._state.time.loop.io_grace_s

    @io_grace.setter
    def io_grace(self, seconds: float) -> None:
        self._state.time.loop.io_grace_s = checks.duration("io_grace", seconds)

    @property
    def faults(self) -> Faults:
        """Return the fault matrix. `bothost.faults(MyPlugin, task(...), limit=5)` plays all faults, each in a fresh world.

        Example: `bothost.faults(LeaveBot, task(), form=321)`
        """
        return faults

    def restart(self, *, forget: bool = False) -> None:
        """Stop the host at once, and start it again on the same journal, or with `forget` as if the journal had been lost.

        Example: `bothost.restart()`
        """
        state = self._state
        state.turn(state.host.stop())
        folder = state.host.folder if not forget else Path(tempfile.mkdtemp(dir=state.host.folder))
        state.host = state.turn(BareHost.started(state.time, folder, self.pyrus.transport()))
        for under_test in self._bots.values():
            bot, runner = state.turn(state.host.add(*under_test.origin))
            runner.runs = under_test.runner.runs
            under_test.bot, under_test.runner = bot, runner

    async def _look(self) -> None:
        await self._state.host.look()

    def assert_one_comment(self, task: Mapping[str, Any] | int | None = None) -> WrittenComment:
        """Return the only comment that bots wrote, on one task or on all, by a response or by the API.

        Raises AssertionError if there is not exactly one.

        Example: `assert bothost.assert_one_comment().text == "Paid."`
        """
        return self.pyrus.assert_one_comment(task["id"] if isinstance(task, Mapping) else task)


faults = Faults(Harness, ALL)
"""All faults, each played in a harness of its own."""
