"""Events that no webhook brought, in real hosts beside a Pyrus on a socket: each is answered once, whatever dies meanwhile."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.e2e.playing import Playing
from tests.e2e.site import SECRET, HostSite
from tests.e2e.test_reload import ini, rewrite, until_reloaded

from bothost.testing import task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.full

FORM, BOT = 321, 8001
PLUGINS = """
async def act(event):
    return Reply.approve("yes") if event.waiting else Reply("seen")
"""


@pytest.fixture
def playing() -> Iterator[Playing]:
    made = Playing()
    made.bot("one", BOT)
    made.look(lambda: made.pyrus.add_form(FORM))
    yield made
    made.end()


def site(folder: Path, playing: Playing, keys: str, host: str = "") -> HostSite:
    folder.mkdir(exist_ok=True)
    keys = f"login = bot@one; api_url = {playing.url}; forms = {FORM}; {keys}"
    return HostSite(folder, PLUGINS, f"one: plugin = act; {keys}", host)


def approvals(playing: Playing, count: int) -> list[int]:
    """Tasks in which somebody has just asked the bot to decide."""
    row = {"person": {"id": BOT, "type": "bot"}, "approval_choice": "waiting"}
    made = [playing.task(**task(form_id=FORM, current_step=1, approvals=[[row]])) for _ in range(count)]
    for one in made:
        playing.say(one, "please")
    return made


def written(playing: Playing) -> Counter[int]:
    """Return how many comments of the bot each task has."""
    return playing.look(lambda: Counter(one.task_id for one in playing.pyrus.comments()))


def test_fifty_approvals_that_came_while_the_host_was_down_are_answered_once_although_it_dies_on_the_way(
    tmp_path: Path, playing: Playing
) -> None:
    host = site(tmp_path / "host", playing, "catch_up = no").start()
    try:
        (before,) = approvals(playing, 1)
        account = playing.look(lambda: playing.pyrus.add_bot("bot@one", SECRET, BOT))
        playing.deliver(playing.hooks(host, "one", account), before)
        host.tell(signal.SIGKILL)
        host.wait()
        site(tmp_path / "host", playing, "catch_up = forms")
        missed = approvals(playing, 50)
        host.start()
        host.until(lambda: len(written(playing)) > 10)
        host.tell(signal.SIGKILL)
        host.wait()
        host.start()
        host.until(lambda: set(written(playing)) >= {before, *missed}, 60)
        listed = host.command("deliveries", "list", "--kind", "missed", "--limit", "100")
        assert {row["task"] for row in listed} == set(missed)
        host.stop()
        assert written(playing) == Counter([before, *missed])
    finally:
        host.end()


def test_a_bot_that_a_reload_adds_polls_at_once(tmp_path: Path, playing: Playing) -> None:
    host = site(tmp_path / "host", playing, "receive = poll; poll_every = 5s")
    text = ini(host)
    begin = text.index("[bot:one]")
    rewrite(host, text[:begin] + text[begin:].replace("[bot:one]", "[bot:zero]\nenabled = no"))
    host.start()
    try:
        asked = approvals(playing, 2)
        rewrite(host, text)
        until_reloaded(host, 1)
        host.until(lambda: set(written(playing)) >= set(asked), 20)
        assert host.stop() == 0
    finally:
        host.end()


def test_two_hosts_on_postgresql_poll_as_one_and_one_does_after_the_others_death(
    tmp_path: Path, playing: Playing, postgres: PostgresServer
) -> None:
    keys, journal = "receive = poll; poll_every = 5s", f"journal = {postgres.new_database()}\n"
    hosts = [site(tmp_path / name, playing, keys, journal).start() for name in "ab"]
    try:
        first = approvals(playing, 10)
        hosts[0].until(lambda: set(written(playing)) >= set(first))
        hosts[0].tell(signal.SIGKILL)
        hosts[0].wait()
        second = approvals(playing, 10)
        hosts[1].until(lambda: set(written(playing)) >= {*first, *second}, 60)
        assert hosts[1].stop() == 0
        assert written(playing) == Counter([*first, *second])
    finally:
        for host in hosts:
            host.end()
