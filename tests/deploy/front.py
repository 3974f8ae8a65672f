"""A web server in front, as docs/deploy has it: the file itself, with names, ports and certificate of the test put in."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.site import SECRET, Response

from bothost.pyrus.signature import sign

if TYPE_CHECKING:
    from collections.abc import Mapping

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
NAME = "bots.example.com"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for `bots.example.com` and localhost that a test made, and its key."""
    cert, key = folder / "fullchain.pem", folder / "privkey.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext",
         f"subjectAltName=DNS:{NAME},DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def filled(name: str, changes: Mapping[str, str]) -> str:
    """A file of docs/deploy with texts replaced, each of which must stand there."""
    text = (DEPLOY / name).read_text("utf-8")
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r} any more"
        text = text.replace(old, new)
    return text


class Front:
    """A running web server; `ca` is the certificate that its clients trust."""

    def __init__(self, command: list[str | Path], port: int, ca: Path, log: Path) -> None:
        self.port = port
        self.log = log
        self.context = ssl.create_default_context(cafile=str(ca))
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._wait()

    def _wait(self) -> None:
        ends = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < ends, self.log.read_text()
                time.sleep(0.02)  # a web server of somebody else's says nothing when it is ready
            else:
                return

    def connect(self, timeout: float = 30, sender: str = "127.0.0.1") -> http.client.HTTPSConnection:
        """A connection as Pyrus makes it: TLS with the certificate checked."""
        connection = http.client.HTTPSConnection(NAME, self.port, context=self.context, timeout=timeout)
        connection._create_connection = lambda address, *rest: socket.create_connection(  # type: ignore[attr-defined]
            ("127.0.0.1", address[1]), timeout, (sender, 0)
        )
        return connection

    def deliver(
        self, path: str, body: bytes, attempt: str = "1/3", timeout: float = 60, secret: str = SECRET
    ) -> Response:
        """One signed delivery on a connection of its own."""
        connection = self.connect(timeout)
        try:
            # a refusal may come while the body is still being sent: what was written before the connection ended is read
            with contextlib.suppress(ssl.SSLEOFError, BrokenPipeError, ConnectionResetError):
                connection.request("POST", path, body, {"X-Pyrus-Sig": sign(body, secret), "X-Pyrus-Retry": attempt})
            answer = connection.getresponse()
            return Response(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(10)


def event(task: int, size: int = 0) -> bytes:
    """A delivery of about this size."""
    comment = {"id": task * 10, "text": "x" * size, "author": {"id": 7, "type": "user"}}
    task_body = {"id": task, "author": {"id": 7, "email": "a@example.com"}, "comments": [comment]}
    return json.dumps({"event": "comment", "task_id": task, "user_id": 99, "task": task_body}).encode()
