"""`bothost dev` in a process of its own, with a package that a test writes."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

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

    def __init__(self, folder: Path, plugin: str = PLUGIN) -> None:
        self.folder = folder
        self.plugin = plugin
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
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        self.until(lambda: "Pyrus is played at" in self.log.read_text())

    def save(self, word: str) -> None:
        (self.folder / "kind_bot.py").write_text(self.plugin.replace("{word}", word))

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
