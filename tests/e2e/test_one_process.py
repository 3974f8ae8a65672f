"""A bot with `per_host = one` on a host with two workers: one opens its plugin, the other hands on what it gets."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
from collections.abc import Iterator

import pytest
from tests.e2e.site import SECRET, HostSite, Response, delivery, free_port

from bothost.pyrus.signature import sign

PLUGINS = """
import asyncio, os, socket
class Rules(Settings):
    port: int
    key: Secret
class Alone(Plugin[Rules]):
    async def open(self):
        self.held = socket.create_server(("127.0.0.1", self.settings.port))
    async def close(self):
        self.held.close()
    async def handle(self, event):
        if event.comment.text == "slow":
            (self.folder / f"runs-{event.task_id}").write_text(event.rerun or "first")
            while not (self.folder / f"go-{event.task_id}").exists():
                await asyncio.sleep(0.02)
        return str(os.getpid())
    @hook("page", token("settings.key", query="key"), methods=("GET",))
    async def page(self, request):
        return {"pid": os.getpid(), "peer": request.peer, "q": request.query["q"]}
    @hook("paid", anyone, once=lambda request: request.json["id"])
    async def paid(self, request):
        (self.folder / f"paid-{request.json['id']}").write_text(str(os.getpid()))
async def where(event):
    return str(os.getpid())
"""
LOGIN = "login = bot@7d985af9-b222-482f-928b-acf1ac50fddf"
BOTS = f"""one: plugin = Alone; per_host = one; key = a-token-for-trials; port = PORT; {LOGIN}
where: plugin = where
later: plugin = where"""
OPTIONS = "processes = 2\noperator_port = PORT\noperator_token = a token of the operator's, for tests"
NUMBERS = itertools.count(1000)


class Line:
    """A connection that stays with one worker."""

    def __init__(self, host: HostSite) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
        got = self.deliver("where", next(NUMBERS))
        assert got.text, (got, host.log.read_text())
        self.pid = int(got.text)

    def deliver(self, bot: str, task: int, text: str = "hi", attempt: str = "1/3") -> Response:
        self.send(bot, task, text, attempt)
        return self.answer()

    def send(self, bot: str, task: int, text: str = "hi", attempt: str = "1/3") -> None:
        body = delivery(task, 1, text)
        headers = {"X-Pyrus-Sig": sign(body, SECRET), "X-Pyrus-Retry": attempt}
        self._connection.request("POST", f"/{bot}", body, headers)

    def call(self, method: str, target: str, body: bytes = b"") -> Response:
        self._connection.request(method, target, body)
        return self.answer()

    def answer(self) -> Response:
        answer = self._connection.getresponse()
        return Response(answer.status, dict(answer.getheaders()), answer.read())

    def close(self) -> None:
        self._connection.close()


def lines_to_both(host: HostSite, opened: contextlib.ExitStack) -> dict[int, Line]:
    """A line to each worker, by its process, once both listen."""
    return host.until(lambda: len(found := some_lines(host, opened)) == 2 and found)


def some_lines(host: HostSite, opened: contextlib.ExitStack) -> dict[int, Line]:
    found: dict[int, Line] = {}
    for _ in range(10):
        line = Line(host)
        opened.callback(line.close)
        found.setdefault(line.pid, line)
    return found


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """Closes what a test has opened."""
    with contextlib.ExitStack() as stack:
        yield stack


def two_workers(site) -> HostSite:
    host: HostSite = site(PLUGINS, BOTS.replace("PORT", str(free_port())), OPTIONS.replace("PORT", str(free_port())))
    host.launch()
    host.said("all 2 workers serve")
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    return host


@pytest.mark.full
def test_one_process_has_the_bot_and_another_takes_over_when_it_dies(site, opened):
    host = two_workers(site)
    lines = lines_to_both(host, opened)
    answers = {line.deliver("one", next(NUMBERS)).text for line in lines.values()}
    assert len(answers) == 1
    holder = int(answers.pop())
    inside = lines[holder]
    (outside,) = (line for pid, line in lines.items() if pid != holder)

    pages = [line.call("GET", "/one/page?key=a-token-for-trials&q=%D1%8F") for line in (inside, outside)]
    assert pages[0].body == pages[1].body == b'{"pid":%d,"peer":"127.0.0.1","q":"\xd1\x8f"}' % holder
    assert [outside.call("GET", f"/one/{path}").status for path in ("page?key=wrong", "nowhere")] == [403, 404]
    assert outside.call("POST", "/one/paid", b'{"id": "7"}').status == 202
    assert host.wrote("state/plugins/one/paid-7") == str(holder)

    # whoever has left reads nothing: its reply is kept as not delivered
    gone, folder = next(NUMBERS), host.folder / "state/plugins/one"
    leaver = lines_to_both(host, opened)[outside.pid]
    leaver.send("one", gone, "slow")
    host.wrote(f"state/plugins/one/runs-{gone}")
    leaver.close()
    assert outside.deliver("one", next(NUMBERS)).text == str(holder)
    (folder / f"go-{gone}").write_text("now")
    host.until(lambda: states(host, gone) == ["undelivered"])

    # the run that dies with its process is made again by the one that takes over, and its caller is answered
    slow = next(NUMBERS)
    outside.send("one", slow, "slow")
    assert host.wrote(f"state/plugins/one/runs-{slow}") == "first"
    os.kill(holder, signal.SIGKILL)
    (folder / f"go-{slow}").write_text("now")
    taker = outside.answer().text  # mostly the other worker, but the one that is started anew may be quicker
    assert taker != str(holder)
    assert host.wrote(f"state/plugins/one/runs-{slow}") == "crash"
    assert {line.deliver("one", next(NUMBERS)).text for line in lines_to_both(host, opened).values()} == {taker}
    assert [row["state"] for row in host.command("bots")] == ["active", "active", "active"]

    # a reload takes a bot from one of two processes that have it
    ini = host.folder / "bots.ini"
    ini.write_text(ini.read_text().replace("[bot:later]", "[bot:later]\nper_host = one"))
    lines = lines_to_both(host, opened)
    host.until(lambda: len({line.deliver("later", next(NUMBERS)).text for line in lines.values()}) == 1)
    assert host.stop() == 0
    assert not [line for line in host.lines() if line["level"] == "error" and "SIGKILL" not in line["message"]]


def states(host: HostSite, task: int) -> list[str]:
    """The states of a task's events."""
    return [row["state"] for row in host.command("deliveries", "list", "--task", str(task))]
