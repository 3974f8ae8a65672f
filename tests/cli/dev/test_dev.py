"""`bothost dev` as an author uses it: a package, a browser's requests, and files that are saved under it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bothost.cli.dev.page import field_value, parse_fields
from bothost.cli.dev.source import DevSource

PLUGIN = """\
import asyncio
from bothost import Reply

async def kind(event):
    if "slow" in event.comment.text:
        await asyncio.sleep(2)
    return Reply.approve("{word} " + event.task.author.first_name) if event.waiting else "{word}"
"""


class DevLoop:
    """The command in a process of its own, and its page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        info = folder / "kind_bot-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kind-bot\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[bothost.plugins]\nkind = kind_bot:kind\n")
        self.save("Hello")
        ini = folder / "bots.ini"
        ini.write_text(
            "[host]\nport = 0\noperator_port = 0\n[bot:kind]\nplugin = kind\nsecret = a-key-for-trials-only\nanswer_within = 1s\n"
        )
        ini.chmod(0o600)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bothost", "dev", str(folder), "--page-port", str(self.port)],
                env={**os.environ, "PYTHONPATH": str(folder)}, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        self.until(lambda: "Pyrus is played at" in self.log.read_text())

    def save(self, word: str) -> None:
        (self.folder / "kind_bot.py").write_text(PLUGIN.replace("{word}", word))

    def ask(self, path: str, host: str = "", headers: dict[str, str] | None = None, **form: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Host": host or f"127.0.0.1:{self.port}", **(headers or {})}
        if form:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST" if form else "GET", path, urlencode(form) if form else None, sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers.get("Location", "") or text

    def until(self, is_so: Callable[[], bool], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def comments(self, task: str) -> list[str]:
        return re.findall(r"<p>([^<]*)</p>", self.ask(f"/timeline?task={task.rpartition('/')[2]}")[1])

    def author(self) -> str:
        return re.findall(r'<option value="(\d+)">Anna', self.ask("/")[1])[0]

    def comes_to_say(self, task: str, word: str) -> None:
        """Comment until the bot says this word: the file that says it was saved just before."""
        self.until(lambda: self.answer_to(task, "and now?") == word)

    def answer_to(self, task: str, text: str) -> str:
        before = len(self.comments(task))
        self.ask(f"{task}/comments", author=self.author(), text=text)
        self.until(lambda: len(self.comments(task)) > before + 1)
        return self.comments(task)[-1]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[DevLoop]:
    loop = DevLoop(tmp_path)
    yield loop
    if loop.process.poll() is None:
        loop.process.kill()
        loop.process.wait()


@pytest.mark.full
def test_an_author_writes_breaks_and_mends_a_bot(dev: DevLoop) -> None:
    _, task = dev.ask("/tasks", bot="kind", author=dev.author(), text="Please", form="5", fields="Amount = 12.50")
    dev.until(lambda: dev.comments(task) == ["Please", "Hello Anna"])
    shown = dev.ask(task)[1]
    assert "Amount" in shown
    assert "12.50" in shown
    traffic = dev.ask("/timeline")[1]
    assert "X-Pyrus-Sig: " in traffic
    assert "kind: attempt 1" in traffic

    dev.save("Salut")
    dev.comes_to_say(task, "Salut")

    (dev.folder / "kind_bot.py").write_text("def kind(event:\n")
    dev.until(lambda: "SyntaxError" in dev.ask("/timeline")[1])
    assert dev.answer_to(task, "still there?") == "Salut"

    dev.save("Ciao")
    dev.comes_to_say(task, "Ciao")
    dev.ask("/network", api="loses answers", lost="yes", back=task)
    said = dev.comments(task).count("Ciao")
    dev.ask(f"{task}/comments", author=dev.author(), text="slow")
    dev.until(lambda: "kind: attempt 2" in dev.ask("/timeline")[1])
    dev.ask("/network", api="works", back="/")
    dev.until(lambda: dev.comments(task).count("Ciao") == said + 1, 60)
    assert dev.stop() == 0


@pytest.mark.full
def test_another_site_can_neither_read_the_page_nor_post_to_it(dev: DevLoop) -> None:
    assert dev.ask("/", host="evil.example")[0] == 403
    wrong = {"Origin": "https://evil.example"}
    assert dev.ask("/network", headers=wrong, api="away")[0] == 403
    assert dev.ask("/network", api="away", back="https://evil.example/")[1] == "/"
    assert dev.ask("/tasks", bot="nobody", author="1")[0] == 400


def test_a_field_is_what_its_text_most_naturally_means() -> None:
    fields = parse_fields("Amount = 12.50\nCount=3\nFrom = 2026-03-02\nUrgent = yes\nWhy = a = b\n\nno mark")
    assert {name: str(value) for name, value in fields.items()} == {
        "Amount": "12.50", "Count": "3", "From": "2026-03-02", "Urgent": "True", "Why": "a = b",
    }  # fmt: skip
    assert field_value("2026-13-45") == "2026-13-45"


def test_a_saved_file_changes_the_digest_and_makes_its_bot_a_changed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "watched_bot"
    package.mkdir()
    (package / "__init__.py").write_text("")
    info = tmp_path / "watched_bot-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: watched-bot\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bothost.plugins]\nwatched = watched_bot:answer\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "bots.ini").write_text("[bot:watched]\nplugin = watched\nsecret = a-key-for-trials-only\n")
    source = DevSource(tmp_path / "bots.ini", "http://127.0.0.1:1/api/v4/")
    before = source.read()
    assert before.digest == source.digest(before)
    assert before.bots["watched"].run == "process"
    (package / "texts.json").write_text(json.dumps({"hello": "there"}))
    assert source.digest(before) != before.digest
    assert source.read().bots["watched"].differs(before.bots["watched"]) == ("settings_digest",)
    debugged = DevSource(tmp_path / "bots.ini", "http://127.0.0.1:1/api/v4/", debug=True).read().bots["watched"]
    assert (debugged.run, debugged.timeout_s) == ("auto", 86_400.0)
