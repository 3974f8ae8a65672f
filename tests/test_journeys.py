"""docs/design.md tells five journeys through the code, stage by stage; each is made here, and meets those stages in that order."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.site import HostSite

import bothost as package
from bothost import Reply
from bothost.testing import Harness, task

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from bothost import Event

ROOT = Path(__file__).parent.parent
CORE = Path(package.__file__).parent
TRACED = ROOT / "tests" / "programs" / "traced.py"
DESIGN = (ROOT / "docs" / "design.md").read_text("utf-8")


def stages(journey: str) -> list[str]:
    """The stages of one journey as `file:function`, in the order in which the page tells them."""
    _, _, chapter = DESIGN.partition(f"\n### {journey}\n")
    chapter = re.split(r"\n#{2,3} ", chapter)[0]
    return [f"{path}:{name}" for path, name in re.findall(r"^\d+\. `([\w/]+\.py)` `([\w.]+)`", chapter, re.MULTILINE)]


def calls_of(work: Callable[[], object]) -> list[str]:
    """Every call of a function of bothost in this thread while `work` is done."""
    calls: list[str] = []
    core = f"{CORE}/"

    def note(frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(core):
            calls.append(f"{frame.f_code.co_filename[len(core) :]}:{frame.f_code.co_qualname}")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def assert_met(journey: str, calls: list[str]) -> None:
    told = stages(journey)
    assert len(told) > 3, f"docs/design.md tells no journey {journey!r}"
    rest = iter(calls)
    missing = next((stage for stage in told if stage not in rest), "")
    assert not missing, f"{journey}: {missing} is not met, or not after the stages told before it"


def test_a_delivery(bothost: Harness) -> None:
    async def hello(_event: Event) -> Reply:
        return Reply("Hello")

    bot = bothost.bot(hello)
    assert_met("Delivery", calls_of(lambda: bot.deliver(task())))


def test_a_late_reply(bothost: Harness) -> None:
    async def slow(_event: Event) -> Reply:
        import asyncio

        await asyncio.sleep(70)
        return Reply("Hello")

    bot = bothost.bot(slow)

    def work() -> None:
        bot.deliver(task())
        bothost.clock.advance("1m")

    assert_met("Late reply", calls_of(work))
    bothost.assert_one_comment()


def test_a_retry_by_hand(bothost: Harness) -> None:
    outcomes: list[Any] = [ValueError("no"), Reply("by hand")]

    async def handler(_event: Event) -> Reply:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    bot = bothost.bot(handler, ini={"on_error": "ignore"})
    bot.deliver(task())
    host = bothost._state.host
    journal = host.journal
    (row,) = bothost._state.turn(journal.recent(0.0))

    def work() -> None:
        bothost._state.turn(journal.retry(row.id))
        bothost.clock.advance("1m")

    assert_met("Retry by hand", calls_of(work))
    bothost.assert_one_comment()


@pytest.fixture
def site(tmp_path: Path) -> HostSite:
    return HostSite(tmp_path, "async def hello(event): return Reply('Hello')", "hello: plugin = hello")


def test_a_reload(site: HostSite, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    site.program = [sys.executable, str(TRACED), str(calls)]
    site.start()
    try:
        assert site.deliver("hello").text == "Hello"  # it is in service, so that the reload replaces it
        before = len(calls.read_text().splitlines())
        site.write("async def hello(event): return Reply('Hello')", "hello: plugin = hello; timeout = 5m")
        assert site.process is not None
        site.process.send_signal(signal.SIGHUP)
        site.said("reloaded: ")
        assert_met("Reload", calls.read_text().splitlines()[before:])
    finally:
        site.stop()


def test_a_send(site: HostSite, tmp_path: Path) -> None:
    site.start()
    try:
        calls = tmp_path / "calls"
        command = [sys.executable, str(TRACED), str(calls), "send", "hello", "--config", str(tmp_path / "bots.ini")]
        told = subprocess.run(
            [*command, "--url", f"http://127.0.0.1:{site.port}/hello"], capture_output=True, text=True, check=False
        )
        assert "Hello" in told.stdout, told.stdout + told.stderr
        assert_met("Send", calls.read_text().splitlines())
    finally:
        site.stop()
