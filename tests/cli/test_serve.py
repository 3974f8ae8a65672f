"""`bothost demo` and `bothost serve` as a person runs them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tests.cli.conftest import Run
from tests.cli.test_send import Stranger
from tests.e2e.site import free_port

from bothost.clock import SystemClock
from bothost.journal import open_journal

ROOT = Path(__file__).parent.parent.parent
HELLO = {"text": "Hello, test@pyrus.com. This task approved by bot.", "approval_choice": "approved"}


@pytest.fixture
def demo_ini(tmp_path: Path) -> Path:
    """The bots.ini of this repository, on free ports."""
    text = (ROOT / "bots.ini").read_text()
    text = text.replace("port = 8080", f"port = {free_port()}\noperator_port = {free_port()}")
    (tmp_path / "bots.ini").write_text(text)
    return tmp_path / "bots.ini"


def test_the_demo_shows_the_reply_of_each_bot_and_where_it_listens(run: Run, demo_ini: Path) -> None:
    done = run("demo", "--once", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    replies = {row["bot"]: row["reply"] for row in told["deliveries"]}
    assert replies["autoreply"] == HELLO
    assert told["listens"][0].startswith("http://127.0.0.1:")
    assert told["page"].startswith("http://127.0.0.1:")


def test_the_demo_prints_a_table_for_people(run: Run, demo_ini: Path) -> None:
    done = run("demo", "--once")
    assert done.returncode == 0, done.stderr
    assert "autoreply" in done.stdout
    assert HELLO["text"] in done.stdout
    assert "listening on http://127.0.0.1:" in done.stdout


def test_the_demo_stays_on_this_machine_and_ignores_port(run: Run, demo_ini: Path) -> None:
    demo_ini.write_text(demo_ini.read_text().replace("address = 127.0.0.1", "address = 0.0.0.0"))
    told = json.loads(run("demo", "--once", "--json", PORT="1").stdout)
    assert told["listens"][0].startswith("http://127.0.0.1:")
    assert not told["listens"][0].endswith(":1")


def test_the_demo_finds_free_ports_where_the_configured_ones_are_taken(run: Run, demo_ini: Path) -> None:
    port = int(demo_ini.read_text().partition("port = ")[2].split()[0])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = run("demo", "--once", "--json")
    assert done.returncode == 0, done.stderr
    assert not json.loads(done.stdout)["listens"][0].endswith(f":{port}")


def test_a_bot_that_does_not_answer_makes_the_demo_exit_code_1(run: Run, demo_ini: Path) -> None:
    demo_ini.write_text(demo_ini.read_text() + "\n[bot:gone]\nplugin = no-such\nsecret = a-secret-of-sixteen-or-more\n")
    done = run("demo", "--once", "--json")
    assert done.returncode == 1
    rows = {row["bot"]: row for row in json.loads(done.stdout)["deliveries"]}
    assert rows["gone"]["status"] is None
    assert "not installed" in rows["gone"]["reply"]
    assert rows["autoreply"]["status"] == 200


PLUGINS = r"""
from bothost import Event, Plugin, Reply, Settings, on
class Rules(Settings):
    form: int
class OfSetting(Plugin[Rules]):
    def handle(self, event: Event) -> str:
        return f"form {event.task.form_id}"
class OfHandler(Plugin[Rules]):
    @on(form="settings.form")
    def only(self, event: Event) -> str:
        return f"form {event.task.form_id}: {event.task.text}"
class Closed(Plugin):
    def open(self) -> None:
        raise OSError("the door is locked")
def breaks(event: Event) -> str:
    raise ValueError("on purpose")
"""


def test_the_demo_sends_a_task_of_the_bots_form_and_says_why_one_failed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(PLUGINS)
    info = tmp_path / "handlers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: handlers\nVersion: 1.0\n")
    points = "".join(f"{name} = handlers:{name}\n" for name in ("OfSetting", "OfHandler", "breaks", "Closed"))
    (info / "entry_points.txt").write_text(f"[bothost.plugins]\n{points}")
    bots = {"listed": "OfSetting\nforms = 5\nform = 6", "set": "OfSetting\nform = 6", "on": "OfHandler\nform = 7"}
    bots |= {"from": "OfHandler\nform = 8", "breaks": "breaks", "closed": "Closed"}
    sections = "".join(
        f"[bot:{name}]\nplugin = {keys}\nsecret = a-key-for-{name}-only-here\n" for name, keys in bots.items()
    )
    (tmp_path / "bots.ini").write_text(f"[host]\nport = 0\noperator_port = 0\n{sections}")
    recorded = {"event": "comment", "task": {"id": 3, "form_id": 8, "text": "recorded"}}
    (tmp_path / "recorded.json").write_text(json.dumps(recorded))
    done = run("demo", "--once", "--json", "--from", "from=recorded.json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stderr
    rows = {row["bot"]: row for row in json.loads(done.stdout)["deliveries"]}
    texts = {name: row["reply"].get("text") for name, row in rows.items()}
    assert texts == {
        "listed": "form 5",
        "set": "form 6",
        "on": "form 7: New task",
        "from": "form 8: recorded",
        "breaks": None,
        "closed": None,
    }
    assert rows["breaks"]["status"] == 500
    assert "breaks raised ValueError: on purpose" in rows["breaks"]["reason"]
    assert f"{tmp_path}/handlers.py:16" in rows["breaks"]["reason"]
    assert rows["closed"]["status"] == 503
    sends_a_task_of(run, "on", 7)
    sends_a_task_of(run, "set", 6)
    sends_a_task_of(run, "listed", 5)
    assert "OSError: the door is locked" in rows["closed"]["reason"]
    assert f"{tmp_path}/handlers.py:14" in rows["closed"]["reason"]


def sends_a_task_of(run: Run, bot: str, form: int) -> None:
    with Stranger() as server:
        server.timeout = 30
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = run("send", bot, "--url", server.url, PYTHONPATH=".")
        thread.join()
    assert done.returncode == 0, done.stderr
    assert json.loads(server.got[-1][2])["task"]["form_id"] == form


def test_serve_refuses_the_sample_secret_and_hurts_no_other_bot(serving: Serving) -> None:
    assert serving.send("autoreply").returncode == 1
    done = serving.send("mine", "--json")
    assert json.loads(done.stdout)["reply"] == HELLO
    assert "well-known sample" in serving.log()


class Serving:
    """A host in a process of its own."""

    def __init__(self, command: str, folder: Path, run: Run, port: int) -> None:
        self.port = port
        self._run = run
        self._log = (folder / "log").open("w+")
        cleared = {key: value for key, value in os.environ.items() if key not in ("PORT", "BOTHOST_ADDRESS")}
        self.process = subprocess.Popen([command, "serve"], cwd=folder, stdout=self._log, stderr=self._log, env=cleared)
        self.wait()

    def wait(self) -> None:
        """Wait for the host's own word that it serves: `/healthz` answers before the bots have begun to start."""
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            if "serves " in self.log():
                return
            time.sleep(0.02)
        raise AssertionError(self.log())

    def send(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self._run("send", *args)

    def log(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def serving(bothost_command: str, run: Run, tmp_path: Path) -> Iterator[Serving]:
    shutil.copy(ROOT / "bots.ini", tmp_path / "bots.ini")
    port = free_port()
    text = (tmp_path / "bots.ini").read_text().replace("port = 8080", f"port = {port}\noperator_port = {free_port()}")
    (tmp_path / "bots.ini").write_text(
        text + "\n[bot:mine]\nplugin = autoreply\nsecret = a-secret-of-sixteen-or-more\n"
    )
    made = Serving(bothost_command, tmp_path, run, port)
    yield made
    if made.process.poll() is None:
        made.stop()
    made._log.close()


def test_get_on_a_bots_path_is_405_with_allow(serving: Serving) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(f"http://127.0.0.1:{serving.port}/mine", timeout=5)
    assert refused.value.code == 405
    assert refused.value.headers["Allow"] == "POST"
    refused.value.close()


def test_send_tells_a_repeat_from_a_run(serving: Serving, tmp_path: Path) -> None:
    serving.send("mine", "--times", "2")
    body = {"task_id": 5, "task": {"id": 5, "author": {"email": "a@b.c"}, "comments": [{"id": 9}]}}
    (tmp_path / "body.json").write_text(json.dumps(body))
    assert json.loads(serving.send("mine", "body.json", "--json").stdout)["repeat"] is False
    assert json.loads(serving.send("mine", "body.json", "--json", "--attempt", "2/3").stdout)["repeat"] is True
    told = serving.send("mine", "body.json", "--attempt", "2/3").stdout
    assert re.search(r"repeat of \d\d:\d\d, not run again; `--fresh` gives it new ids", told)
    assert json.loads(serving.send("mine", "body.json", "--json", "--fresh").stdout)["repeat"] is False


def test_bots_shows_what_the_running_host_says(serving: Serving, run: Run) -> None:
    rows = {"mine": {"state": "starting"}}  # the host serves before a slow plugin has opened
    until = time.monotonic() + 30
    while rows["mine"]["state"] == "starting" and time.monotonic() < until:
        rows = {row["bot"]: row for row in json.loads(run("bots", "--json").stdout)}
    assert rows["mine"]["state"] == "active"
    assert rows["autoreply"]["state"] == "config error"
    run("pause", "mine", "--reason", "lunch")
    rows = {row["bot"]: row for row in json.loads(run("bots", "--json").stdout)}
    assert rows["mine"]["state"] == "paused"
    assert rows["mine"]["reason"] == "lunch"
    assert "a-secret-of" not in run("bots").stdout


def test_beside_a_host_without_a_page_bots_says_what_its_journal_says(
    bothost_command: str, run: Run, tmp_path: Path
) -> None:
    port = free_port()
    sections = "".join(
        f"[bot:{name}]\nplugin = autoreply\nsecret = a-secret-of-sixteen-or-more-{name}\nrun = {how}\n"
        for name, how in (("mine", "auto"), ("rests", "auto"), ("died", "process"))
    )
    ini = tmp_path / "bots.ini"
    ini.write_text(
        f"[host]\nport = {port}\noperator_port = 0\n{sections}[bot:lost]\nplugin = nowhere\nsecret = {'x' * 20}\n"
    )
    ini.chmod(0o600)

    def states() -> list[tuple[str, str]]:
        return [(row["bot"], row["state"]) for row in json.loads(run("bots", "--json").stdout)]

    assert states() == [("lost", "plugin error"), ("died", "ok"), ("mine", "ok"), ("rests", "ok")]
    serving = Serving(bothost_command, tmp_path, run, port)
    try:
        run("pause", "rests", "--reason", "lunch")
        run("pause", "mine", "--task", "7")
        asyncio.run(quarantine(tmp_path / "state", "died"))
        assert states() == [("died", "quarantined"), ("lost", "plugin error"), ("rests", "paused"), ("mine", "active")]
        table = run("bots").stdout
        assert "lunch; bothost resume rests" in table
        assert "bothost resume mine --task ID" in table
    finally:
        serving.stop()
        serving._log.close()


async def quarantine(state: Path, bot: str) -> None:
    """As a host notes it whose bot's process died three times."""
    store = open_journal("", state, SystemClock(), claims_first=False, readonly=True)
    await store.open()
    await store.control(f"quarantine:{bot}", "its process died 3 times within an hour")
    await store.close()


def test_the_log_names_the_page_and_a_bot_of_which_deliveries_are_signed_otherwise(serving: Serving, run: Run) -> None:
    assert serving.send("mine").returncode == 0
    serving.send("mine", "--secret", "another-secret-of-sixteen")
    assert "the operator's page is at http://127.0.0.1:" in serving.log()
    assert (
        "wrong signature of 1 of 2 in the last hour, from 127.0.0.1: is its secret the one in Pyrus?"
        in run("bots").stdout
    )
    rows = {row["check"]: row for row in json.loads(run("doctor", "--json").stdout)["checks"]}
    assert rows["bot mine"]["state"] == "warning"
    assert "wrong signature of 1 of 2" in rows["bot mine"]["text"]


def test_sigterm_ends_it_with_exit_code_0_and_leaves_a_journal_to_look_at(serving: Serving, run: Run) -> None:
    serving.send("mine")
    assert serving.stop() == 0
    rows = json.loads(run("deliveries", "--json").stdout)
    assert [row["state"] for row in rows] == ["answered"]


def test_no_log_line_holds_secret_token_or_body(serving: Serving) -> None:
    serving.send("mine")
    serving.send("mine", "--secret", "wrong-secret-of-sixteen-or-more")
    serving.stop()
    text = serving.log()
    assert '"outcome":"refused-signature"' in text or "refused-signature" in text
    for private in ("a-secret-of-sixteen-or-more", "sample-token", "test@pyrus.com", "New task"):
        assert private not in text
