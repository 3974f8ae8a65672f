"""What the workers of one host count together; a connection that is kept stays with one worker."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.site import SECRET, HostSite, Response, delivery, free_port

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
BOTS = "careless: plugin = careless; run = process; on_error = ignore\nchatty: plugin = chatty; login = bot@7d985af9-b222-482f-928b-acf1ac50fddf; answer_within = 3s"


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
    for turn in range(30):
        assert json.loads(lines[turn % 2].deliver("chatty", 7, 1 + turn, kind="bot").body)["text"]
    # a reply is told to the other worker a moment later, so one or two more than 30 may pass; each alone would allow 60
    for turn in range(30, 50):
        if lines[turn % 2].deliver("chatty", 7, 1 + turn, kind="bot").body == b"{}":
            break
    assert host.said("paused for task 7")["bot"] == "chatty"
    for line in lines:  # the other worker learns of it a moment later
        host.until(lambda line=line: line.deliver("chatty", 7, next(NUMBERS), kind="bot").body == b"{}")
    assert [line.status("chatty") for line in lines] == [200, 200]


TOKEN = "a token of the operator's, for tests"


class Scraped:
    """A host with two workers whose counts are read as Prometheus reads them."""

    def __init__(self, site) -> None:
        self.page = free_port()
        self.sent = 0
        options = f"processes = 2\nport = 0\noperator_port = {self.page}\noperator_token = {TOKEN}"
        self.host: HostSite = site(PLUGINS, BOTS, options)
        self.host.launch()
        self.host.said("all 2 workers serve")
        self.host.port = int(self.host.said("serves ")["message"].rpartition(":")[2])

    def counts(self) -> dict[tuple[str, ...], float]:
        """Every sample of a scrape, which is up to 5 s old; nothing while there is no worker 0."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.page}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {(sample.name, *sample.labels.values()): sample.value for sample in samples}

    def replied(self) -> float:
        return self.counts().get(("bothost_deliveries_total", "chatty", "replied"), 0)

    def deliver(self, times: int = 20) -> set[str]:
        """Deliveries on connections of their own, until all of them are counted; the workers that took them."""
        pids = {self.host.deliver("chatty", next(NUMBERS), 1).text for _ in range(times)}
        self.sent += times
        self.host.until(lambda: self.replied() == self.sent)
        return pids

    def pid(self, worker: int) -> int:
        """Of the newest process with this number."""
        said = [line["message"] for line in self.host.lines() if f"worker {worker} started" in line["message"]]
        return int(said[-1].rpartition(" ")[2])

    def restarts(self, worker: int) -> float:
        return self.counts().get(("bothost_process_restarts_total", str(worker)), 0)


@pytest.mark.full
def test_no_count_falls_when_workers_die_whichever_serves_the_page(site):
    scraped = Scraped(site)
    for worker in (1, 0, 0):
        scraped.host.until(lambda: len(scraped.deliver()) == 2)
        died = scraped.restarts(worker)
        os.kill(scraped.pid(worker), signal.SIGKILL)
        scraped.host.until(lambda worker=worker, died=died: scraped.restarts(worker) == died + 1)
        assert scraped.replied() == scraped.sent
    scraped.deliver()
    assert scraped.counts()["bothost_responses_total", "200"] == scraped.sent
    assert scraped.host.stop() == 0


@pytest.mark.full
def test_a_worker_that_is_late_counts_with_what_it_said_last(site):
    scraped = Scraped(site)
    scraped.host.until(lambda: len(scraped.deliver()) == 2)
    frozen = scraped.pid(1)
    os.kill(frozen, signal.SIGSTOP)
    try:
        lag = scraped.counts()["bothost_loop_lag_seconds_count", "0"]
        scraped.host.until(lambda: scraped.counts()["bothost_loop_lag_seconds_count", "0"] > lag)
        assert scraped.replied() == scraped.sent
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert scraped.host.stop() == 0
