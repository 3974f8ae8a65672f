"""A real host in a process of its own, with plugins that a test writes, and signed deliveries over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bothost.pyrus.signature import sign

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a secret for tests, not for bots"
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Response:
    """What a delivery was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return str(json.loads(self.body).get("text", ""))


class HostSite:
    """A folder with bots.ini and plugins, and the host that runs there."""

    def __init__(self, folder: Path, plugins: str, bots: str, host: str = "") -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.prefix: list[str] = []
        self.options: list[str] = []
        self.program = [sys.executable, "-m", "bothost"]
        self.write(plugins, bots, host)

    def write(self, plugins: str, bots: str, host: str = "") -> None:
        """Plugins are the functions and classes of `plugins`; `bots` is `name: key = value; key = value` by line."""
        (self.folder / "handlers.py").write_text(f"from bothost import *\n{plugins}")
        names = [line.split("(")[0].split(":")[0].split()[-1] for line in plugins.splitlines() if _defines(line)]
        info = self.folder / "handlers-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: handlers\nVersion: 1.0\n")
        points = "\n".join(f"{name} = handlers:{name}" for name in names)
        (info / "entry_points.txt").write_text(f"[bothost.plugins]\n{points}\n")
        given = {line.partition("=")[0].strip() for line in host.splitlines()}
        free = "".join(f"{key} = 0\n" for key in ("port", "operator_port") if key not in given)
        sections = [f"[host]\nlog = json\n{free}{host}"]
        for line in bots.strip().splitlines():
            name, _, keys = line.strip().partition(":")
            lines = [key.strip() for key in keys.replace("{folder}", str(self.folder)).split(";") if key.strip()]
            if not any(key.startswith("secret") for key in lines):
                lines.append(f"secret = {SECRET}")
            sections.append("\n".join([f"[bot:{name}]", *lines]))
        ini = self.folder / "bots.ini"
        ini.write_text("\n\n".join(sections) + "\n")
        ini.chmod(0o600)

    def start(self, env: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()) -> HostSite:
        """Start it and wait until it serves."""
        self.launch(env, pass_fds)
        line = self.said("serves ")
        if "127.0.0.1:" in line["message"]:
            self.port = int(line["message"].rpartition(":")[2])
        return self

    def launch(self, env: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()) -> None:
        """Start it."""
        self.log = self.folder / f"log-{next(_NUMBERS)}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *self.program, "serve", "--config", str(self.folder / "bots.ini"), *self.options],
                env=self.environment(env),
                pass_fds=pass_fds,
                stdout=log,
                stderr=log,
            )

    def environment(self, env: dict[str, str] | None = None) -> dict[str, str]:
        """Give the environment of a host that knows the plugins of the folder."""
        return {**os.environ, "PYTHONPATH": str(self.folder), "BOTHOST_LOOP": "asyncio", **(env or {})}

    def start_passed(self, held: socket.socket) -> None:
        """Start it with a listening socket as descriptor 3, as a service manager does."""
        descriptor = held.fileno()
        # LISTEN_PID names a process that exists only after the fork: the shell execs into it
        shell = f'exec 3<&{descriptor}; export LISTEN_PID=$$; exec "$@"'
        self.prefix = ["bash", "-c", shell, "bash"]
        self.start({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "public"}, (descriptor,))
        self.prefix = []

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; what is not JSON (a traceback) stands as a message."""
        found = []
        for line in self.log.read_text("utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"message": line, "level": "raw"})
        return found

    def said(self, part: str, seconds: float = 20.0) -> dict[str, Any]:
        """The first log line whose message holds `part`, waited for."""
        for _ in range(int(seconds / 0.01)):
            for line in self.lines():
                if part in line["message"]:
                    return line
            if self.process is not None and self.process.poll() is not None:
                break
            threading.Event().wait(0.01)
        raise AssertionError(f"never said {part!r}: {self.log.read_text('utf-8')}")

    def deliver(
        self, bot: str, task: int = 5, comment: int = 0, attempt: str = "1/3", timeout: float = 30, text: str = "hi"
    ) -> Response:
        """One signed delivery on a connection of its own."""
        body = delivery(task, comment, text)
        return self.post(bot, body, {"X-Pyrus-Sig": sign(body, SECRET), "X-Pyrus-Retry": attempt}, timeout)

    def post(self, bot: str, body: bytes, headers: dict[str, str], timeout: float = 30) -> Response:
        """These bytes with these headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", f"/{bot}", body, headers)
            answer = connection.getresponse()
            return Response(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def command(self, *arguments: str, code: int | None = 0) -> Any:
        """What `bothost … --json` prints about this host; a `code` of None allows any exit code."""
        command = [sys.executable, "-m", "bothost", *arguments, "--json", "--config", str(self.folder / "bots.ini")]
        env = {**os.environ, "PYTHONPATH": str(self.folder)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert code in (None, done.returncode), done.stdout + done.stderr
        return json.loads(done.stdout)

    def text(self, *arguments: str) -> str:
        """What `bothost …` prints about this host for a person."""
        command = [sys.executable, "-m", "bothost", *arguments, "--config", str(self.folder / "bots.ini")]
        env = {**os.environ, "PYTHONPATH": str(self.folder)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60).stdout

    def until(self, found: Any, seconds: float = 30.0) -> Any:
        """What `found` gives once that is true."""
        for _ in range(int(seconds / 0.05)):
            if value := found():
                return value
            threading.Event().wait(0.05)
        raise AssertionError(f"never came: {self.log.read_text('utf-8')}")

    def deliver_later(self, *arguments: Any, **keys: Any) -> Later:
        """A delivery in a thread of its own."""
        return Later(lambda: self.deliver(*arguments, **keys))

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 20.0) -> int:
        """Until it has ended; its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and wait."""
        self.tell()
        return self.wait()

    def end(self) -> None:
        """At the end of a test: whatever it takes."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wrote(self, name: str, seconds: float = 20.0) -> str:
        """What a plugin wrote into a file of the folder, waited for."""
        path = self.folder / name
        for _ in range(int(seconds / 0.01)):
            if path.exists() and path.read_text():
                return path.read_text()
            threading.Event().wait(0.01)
        raise AssertionError(f"{name} was never written: {self.log.read_text('utf-8')}")


class Later:
    """What a thread will have found out."""

    def __init__(self, work: Any) -> None:
        self._found: Any = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Any) -> None:
        try:
            self._found = work()
        except Exception as error:
            self._found = error

    def result(self, seconds: float = 30.0) -> Any:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "no answer came"
        return self._found


def delivery(task: int, comment: int = 0, text: str = "hi") -> bytes:
    """A small body; without a comment it is an event by its digest."""
    comments = [{"id": comment, "text": text, "author": {"id": 7, "type": "user"}}] if comment else []
    body = {"event": "comment", "access_token": "token-of-the-event", "task_id": task, "user_id": 99}
    body["task"] = {"id": task, "author": {"id": 7, "email": "a@example.com"}, "comments": comments}
    return json.dumps(body).encode()


def _defines(line: str) -> bool:
    return line.startswith(("def ", "async def ", "class "))


def free_socket() -> socket.socket:
    """A listening socket on loopback, as a service manager would hold it."""
    held = socket.create_server(("127.0.0.1", 0), backlog=1024)
    held.setblocking(False)
    return held


def free_port() -> int:
    """A port that was free a moment ago, below those that the kernel gives to the connections of other tests."""
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", random.randrange(16000, 32000))) as taken:
            return int(taken.getsockname()[1])
