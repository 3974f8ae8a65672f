"""One host, a hundred bots, and five kinds of trouble at once: what the operator sees, and what the other bots notice."""

from __future__ import annotations

import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from tests.e2e.site import SECRET, HostSite, delivery, free_port

from bothost.pyrus.signature import sign

PLUGINS = r"""
import asyncio, ctypes, re, time
async def greet(event):
    return "hello"
async def segfaults(event):
    ctypes.string_at(0)
def spins(event):
    re.match("(a+)+b", "a" * 60)
async def blocks(event):
    time.sleep(0.6)
    return "slept"
class Rules(Settings):
    limit: int
class Strict(Plugin[Rules]):
    def handle(self, event): ...
async def chatty(event):
    return f"{event.bot} answers"
"""
TROUBLED = """
segfault: plugin = segfaults; run = process
spinner: plugin = spins; run = process; timeout = 1s
blocker: plugin = blocks
wrong: plugin = Strict; limit = many
anna: plugin = chatty
boris: plugin = chatty
"""
GOOD = [f"good{number:02}" for number in range(94)]


class Traffic:
    """Deliveries to the good bots, one every 20 ms, with how long each took."""

    def __init__(self, host: HostSite) -> None:
        self.took_ms: list[float] = []
        self.wrong: list[tuple[str, int, bytes]] = []
        self._host = host
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._host.port, timeout=30)
        number = 0
        while not self._stop.wait(0.02):
            number += 1
            bot = GOOD[number % len(GOOD)]
            body = delivery(10_000 + number, 1)
            began = time.monotonic()
            connection.request("POST", f"/{bot}", body, {"X-Pyrus-Sig": sign(body, SECRET), "X-Pyrus-Retry": "1/3"})
            answer = connection.getresponse()
            said = answer.read()
            self.took_ms.append((time.monotonic() - began) * 1000)
            if answer.status != 200 or json.loads(said) != {"text": "hello"}:
                self.wrong.append((bot, answer.status, said))
        connection.close()

    def end(self) -> dict[str, float]:
        """Stop; median, p95 and the worst, in ms."""
        self._stop.set()
        self._thread.join()
        cuts = statistics.quantiles(self.took_ms, n=20)
        return {"median": statistics.median(self.took_ms), "p95": cuts[18], "worst": max(self.took_ms)}


def talk(host: HostSite) -> int:
    """Two bots hear each other's comments in task 7 until one falls silent; how many comments they wrote."""
    for turn in range(100):
        body = delivery(7, 1 + turn).replace(b'"type": "user"', b'"type": "bot"')
        answer = host.post(
            ("anna", "boris")[turn % 2], body, {"X-Pyrus-Sig": sign(body, SECRET), "X-Pyrus-Retry": "1/3"}
        )
        if json.loads(answer.body) == {}:
            return turn
    raise AssertionError("they talk without end")


def printed(host: HostSite, *arguments: str) -> str:
    """What a command prints for a person."""
    command = [sys.executable, "-m", "bothost", *arguments, "--config", str(host.folder / "bots.ini")]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(host.folder), "PATH": "/usr/bin:/bin"},
    ).stdout


@pytest.mark.full
@pytest.mark.alone
def test_among_a_hundred_bots_those_in_trouble_are_named_and_the_others_do_not_notice(site):
    bots = TROUBLED + "\n".join(f"{name}: plugin = greet" for name in GOOD)
    host = site(PLUGINS, bots, f"operator_port = {free_port()}").start()
    calm = Traffic(host)
    time.sleep(3)
    idle = calm.end()

    traffic = Traffic(host)
    for task in (1, 2, 3):
        assert host.deliver("segfault", task=task, comment=1).status == 500
    spinning = [host.deliver_later("spinner", task=task, comment=1) for task in (1, 2, 3)]
    assert host.deliver("wrong", task=1, comment=1).status == 503
    comments = talk(host)
    assert 60 <= comments <= 62
    assert host.said("quarantined", 30)["bot"] == "segfault"
    assert "SIGSEGV" in host.said("its process died")["message"]
    assert [one.result(40).status for one in spinning].count(500) >= 1
    beside = traffic.end()
    for task in (1, 2):  # it holds the loop, so this is told of and not measured
        assert host.deliver("blocker", task=task, comment=1).text == "slept"
    assert re.search(
        r"blocks the event loop for \d+ ms at .*handlers.py:\d+ in blocks", host.said("blocks the")["message"]
    )

    rows: list[dict[str, Any]] = host.command("bots", code=1)
    state = {row["bot"]: row for row in rows}
    assert len(rows) == 100
    assert (state["segfault"]["state"], state["spinner"]["state"]) == ("quarantined", "quarantined")
    assert "SIGSEGV" in state["segfault"]["reason"]
    assert "did not end in time" in state["spinner"]["reason"]
    assert state["wrong"]["state"] == "config error"
    assert "limit" in state["wrong"]["reason"]
    assert all(state[name]["state"] == "active" for name in GOOD)
    assert [row["bot"] for row in rows[:3]] == ["segfault", "spinner", "wrong"], "those in trouble come first"
    assert [name for name in ("anna", "boris") if state[name]["paused_tasks"] == [7]]

    table = printed(host, "bots")
    assert re.search(r"segfault +quarantined .*20\d\d-.*SIGSEGV", table)
    assert re.search(r"(anna|boris) +active .*paused in task 7: bothost resume (anna|boris) --task ID", table)
    doctor = printed(host, "doctor")
    assert re.search(r"^BAD +bot segfault +quarantined since .*SIGSEGV.*bothost resume segfault", doctor, re.MULTILINE)
    assert re.search(r"^BAD +bot wrong +config error.*limit", doctor, re.MULTILINE)
    assert re.search(r"^ok +9\d other bots", doctor, re.MULTILINE)
    assert len(doctor.splitlines()) < 20
    print(doctor)
    print(
        f"beside the trouble: {len(traffic.took_ms)} deliveries, {beside}; idle {idle}; the circle ended after {comments}"
    )
    assert traffic.wrong == calm.wrong == []
    assert beside["p95"] < 5 * max(idle["p95"], 20.0)
    assert host.stop() == 0
