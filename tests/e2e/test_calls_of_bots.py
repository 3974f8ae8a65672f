"""Calls to Pyrus from real hosts, on the loop and from a process of the bot's own: names, accounts, large files."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.playing import Playing
from tests.e2e.site import SECRET, HostSite

from bothost.pyrus.signature import sign
from bothost.testing.fake_pyrus import faults

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.full

PERSONS = itertools.count(8001, 10)
FIELD = {
    "id": 2,
    "type": "multiple_choice",
    "name": "Status",
    "info": {"options": [{"choice_id": 8, "choice_value": "Open"}]},
}
LONG = bool(os.environ.get("BOTHOST_LONG"))
RUNS = 1000 if LONG else 100
LARGE = 300_000_000 if LONG else 100_000_000
"""1,000 runs and a file of 300 MB with BOTHOST_LONG=1."""
PLUGINS = """
import json, os, pathlib
async def names(event):
    return Reply("ok", field_updates={"Status": "Open"})
class Later(Plugin):
    async def handle(self, event):
        await self.jobs.add("say", after="0s", task=event.task_id)
    @job("say")
    async def say(self, job):
        return Reply("later", field_updates={"Status": "Open"})
class Speaker(Plugin):
    async def handle(self, event):
        await self.pyrus_as("finance").comment(event.task_id, "from finance")
        try:
            await self.pyrus_as("hr").profile()
        except NoLogin as error:
            return json.dumps({"error": str(error), "pid": os.getpid()})
class Carrier(Plugin):
    async def handle(self, event):
        path = await event.pyrus.download(int(event.comment.text), to=pathlib.Path(self.folder) / "large")
        sent = await event.pyrus.upload(path)
        return f"{os.getpid()} {path.stat().st_size} {sent.guid}"
"""


BOTS = """
names-loop: plugin = names; run = loop; {keys}
names-process: plugin = names; run = process; {keys}
away-loop: plugin = names; run = loop; {keys}
away-process: plugin = names; run = process; {keys}
later-loop: plugin = Later; run = loop; login = bot@later-loop; {keys}
later-process: plugin = Later; run = process; login = bot@later-process; {keys}
speaker: plugin = Speaker; run = process; accounts = finance; {keys}
carrier-loop: plugin = Carrier; run = loop; {keys}
carrier-process: plugin = Carrier; run = process; {keys}
"""
KEY = "the key of the account finance"


@dataclass
class Desk:
    """A host with all the bots, beside a Pyrus."""

    playing: Playing
    site: HostSite

    @property
    def host(self) -> int:
        assert self.site.process is not None
        return self.site.process.pid

    def caller(self, bot: str) -> Caller:
        return Caller(self.playing, self.site, bot)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    playing = Playing()
    playing.look(lambda: playing.pyrus.add_bot("bot@finance", KEY, 8009))
    keys = f"api_url = {playing.url}"
    host = f"[account:finance]\nlogin = bot@finance\nkey = {KEY}\n{keys}\n"
    bots = BOTS.replace("{keys}", f"{keys}; on_error = ignore")
    site = HostSite(tmp_path_factory.mktemp("host"), PLUGINS, bots, host).start()
    yield Desk(playing, site)
    status = site.stop()
    site.end()
    playing.end()
    assert status == 0


class Caller:
    """Delivers to one bot of a host on one connection, with tokens of its account."""

    def __init__(self, playing: Playing, site: HostSite, bot: str) -> None:
        account = playing.bot(bot, next(PERSONS))
        self._token = playing.look(lambda: playing.pyrus.world.issue_token(account))
        self._person = account.person["id"]
        self._bot = bot
        self._connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def deliver(self, task: int, form: int = 0, text: str = "hi") -> Any:
        comment = {"id": task, "text": text, "author": {"id": 7, "type": "user"}}
        shown = {"id": task, "form_id": form, "fields": [], "comments": [comment]}
        told = {
            "event": "comment",
            "access_token": self._token,
            "task_id": task,
            "user_id": self._person,
            "task": shown,
        }
        body = json.dumps(told).encode()
        self._connection.request("POST", f"/{self._bot}", body, {"X-Pyrus-Sig": sign(body, SECRET)})
        return json.loads(self._connection.getresponse().read())


def peak(pid: int) -> int:
    """Return the most memory that a process has had so far, in kB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text("ascii"))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize(("run", "form"), [("loop", 321), ("process", 322)])
def test_the_form_is_fetched_once_for_many_runs(desk: Desk, run: str, form: int) -> None:
    pyrus = desk.playing.pyrus
    desk.playing.look(lambda: pyrus.add_form(form, [FIELD]))
    with desk.caller(f"names-{run}") as caller:
        for task in range(1, RUNS + 1):
            assert caller.deliver(task, form)["field_updates"] == [{"id": 2, "value": {"choice_ids": [8]}}]
    assert desk.playing.look(lambda: pyrus.titles(f"forms/{form}")) == [f"GET forms/{form}"]


@pytest.mark.parametrize(("run", "form"), [("loop", 331), ("process", 332)])
def test_a_job_names_fields_that_its_task_does_not_show(desk: Desk, run: str, form: int) -> None:
    pyrus = desk.playing.pyrus
    desk.playing.look(lambda: pyrus.add_form(form, [FIELD]))
    task = desk.playing.task(form_id=form)
    with desk.caller(f"later-{run}") as caller:
        assert caller.deliver(task, form) == {}
    (wrote,) = desk.site.until(lambda: desk.playing.look(lambda: pyrus.comments(task)))
    assert wrote.text == "later"
    assert wrote.comment["field_updates"][0]["value"]["choice_ids"] == [8]


@pytest.mark.parametrize("run", ["loop", "process"])
def test_a_form_that_cannot_be_read_is_a_failure_that_says_why(desk: Desk, run: str) -> None:
    with desk.caller(f"away-{run}") as caller:
        assert caller.deliver(1, form=400) == {}
        desk.playing.look(lambda: desk.playing.pyrus.fail("GET forms/401", faults.gateway(500), times=99))
        assert caller.deliver(2, form=401) == {}
    listed = desk.site.command("deliveries", "list", "--bot", f"away-{run}")
    errors = {row["task"]: row["error"] for row in listed if row["state"] == "failed"}
    assert "the task has no field 'Status'" in errors[1]
    assert "access_denied_form" in errors[1]
    assert "500" in errors[2]


def test_a_bot_in_a_process_of_its_own_calls_as_an_account_whose_key_it_never_has(desk: Desk) -> None:
    task = desk.playing.task()
    with desk.caller("speaker") as caller:
        told = json.loads(caller.deliver(task)["text"])
    assert "no account 'hr'; its key accounts names finance" in told["error"]
    wrote = desk.playing.look(lambda: desk.playing.pyrus.comments(task))[0]
    assert (wrote.text, wrote.person_id) == ("from finance", 8009)
    assert holds(desk.host, KEY)
    assert not holds(told["pid"], KEY)
    assert KEY not in desk.site.log.read_text("utf-8")


def holds(pid: int, text: str) -> bool:
    """Return True if a process has a text in memory that it may write."""
    for line in Path(f"/proc/{pid}/maps").read_text("utf-8").splitlines():
        span, rights, *_ = line.split()
        begin, end = (int(one, 16) for one in span.split("-"))
        if "rw" in rights and "[v" not in line:
            with Path(f"/proc/{pid}/mem").open("rb") as memory:
                memory.seek(begin)
                if text.encode() in memory.read(end - begin):
                    return True
    return False


@pytest.mark.parametrize("run", ["loop", "process"])
def test_a_large_file_goes_down_and_up_in_little_memory(desk: Desk, run: str) -> None:
    pyrus = desk.playing.pyrus
    small, large = desk.playing.look(lambda: [pyrus.add_file("file", size) for size in (10, LARGE)])
    with desk.caller(f"carrier-{run}") as caller:
        pids = {desk.host, int(caller.deliver(1, text=str(small))["text"].split()[0])}
        before = {pid: peak(pid) for pid in pids}
        _, size, guid = caller.deliver(2, text=str(large))["text"].split()
        grown = [peak(pid) - before[pid] for pid in pids]
    print(run, LARGE, "bytes, kB of memory more:", grown)
    assert int(size) == desk.playing.look(lambda: pyrus.world.files[guid].size) == LARGE
    assert max(grown) < 40_000
