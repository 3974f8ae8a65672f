"""What the workers of one host count together; a connection that is kept stays with one worker."""

from __future__ import annotations

import http.client
import itertools
import json

import pytest
from tests.e2e.site import SECRET, HostSite, Response, delivery

from bothost.pyrus.signature import sign

PLUGINS = """
import os
async def careless(event):
    if event.comment.text == "exits":
        os._exit(3)
    return str(os.getppid())
async def chatty(event):
    return str(os.getpid())
"""
BOTS = "careless: plugin = careless; run = process; on_error = ignore\nchatty: plugin = chatty; answer_within = 3s"


NUMBERS = itertools.count(1000)


class Line:
    """A connection to one worker."""

    def __init__(self, host: HostSite) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)

    def deliver(self, bot: str, task: int, comment: int, text: str = "hi", kind: str = "user") -> Response:
        body = delivery(task, comment, text).replace(b'"type": "user"', f'"type": "{kind}"'.encode())
        self._connection.request("POST", f"/{bot}", body, {"X-Pyrus-Sig": sign(body, SECRET), "X-Pyrus-Retry": "1/3"})
        answer = self._connection.getresponse()
        return Response(answer.status, dict(answer.getheaders()), answer.read())

    def status(self, bot: str) -> int:
        """Of an event that nobody has seen."""
        return self.deliver(bot, next(NUMBERS), 1).status

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def two(site):
    """A host with two workers, and a line to each."""
    host = site(PLUGINS, BOTS, "processes = 2")
    host.launch()
    host.said("all 2 workers serve")
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    found: dict[str, Line] = {}
    lines = []
    while len(found) < 2:
        lines.append(Line(host))
        worker = lines[-1].deliver("chatty", next(NUMBERS), 1).text
        found.setdefault(worker, lines[-1])
    yield host, list(found.values())
    for line in lines:
        line.close()
    assert host.stop() == 0


def test_a_bot_whose_processes_die_three_times_over_all_workers_is_quarantined_in_each(two):
    host, lines = two
    workers = {line.deliver("careless", 1 + number, 1).text for number, line in enumerate(lines)}
    assert len(workers) == 2
    for turn in range(3):
        assert lines[turn % 2].deliver("careless", 10 + turn, 1, "exits").body == b"{}"
    assert "3 times within an hour" in host.said("quarantined")["message"]
    host.until(lambda: all(line.status("careless") == 503 for line in lines))
    assert all(line.status("chatty") == 200 for line in lines)
    host.command("resume", "careless")
    host.until(lambda: all(line.status("careless") == 200 for line in lines))


def test_thirty_replies_to_bots_over_all_workers_pause_the_task_in_each(two):
    host, lines = two
    for turn in range(31):
        assert json.loads(lines[turn % 2].deliver("chatty", 7, 1 + turn, kind="bot").body)["text"]
    assert host.said("paused for task 7")["bot"] == "chatty"
    assert [line.deliver("chatty", 7, next(NUMBERS), kind="bot").body for line in lines] == [b"{}", b"{}"]
    assert [line.status("chatty") for line in lines] == [200, 200]
