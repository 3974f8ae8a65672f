"""`doctor` looks at the real things: a host's port, a journal in use, a Pyrus on loopback, a certificate."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bothost.cli.doctor import certificate_days, of_clock
from bothost.clock import SystemClock
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer

SECRET = "a secret for the doctor's tests"


@pytest.fixture
def pyrus() -> Iterator[FakeServer]:
    """A fake Pyrus on a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    ready: list[FakeServer] = []
    up = threading.Event()

    async def start() -> None:
        ready.append(FakeServer(FakePyrus(SystemClock())))
        up.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        starting = loop.create_task(start())
        loop.run_forever()
        assert starting.done()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert up.wait(10)
    yield ready[0]
    asyncio.run_coroutine_threadsafe(ready[0].refuse(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def examined(folder: Path, text: str) -> tuple[int, dict[str, dict[str, Any]]]:
    ini = folder / "bots.ini"
    ini.write_text(text)
    ini.chmod(0o600)
    command = [sys.executable, "-m", "bothost", "doctor", "--json", "--config", str(ini)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PORT": ""})
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


def test_a_login_that_is_let_in_is_well_and_the_clocks_are_compared(tmp_path: Path, pyrus: FakeServer) -> None:
    pyrus.pyrus.add_bot("bot@doctor", SECRET)
    code, found = examined(
        tmp_path,
        f"[host]\nport = 9\n[bot:one]\nplugin = autoreply\nsecret = {SECRET}\nlogin = bot@doctor\napi_url = {pyrus.base_url}\n",
    )
    assert found["login of one"]["state"] == "ok"
    assert found["configuration"]["state"] == "ok"
    assert "beside Pyrus's" in found["clock"]["found"] or "compared with nobody" in found["clock"]["found"]
    assert code == 0


def test_a_login_that_is_refused_is_a_problem_that_says_what_to_look_at(tmp_path: Path, pyrus: FakeServer) -> None:
    code, found = examined(
        tmp_path,
        f"[bot:one]\nplugin = autoreply\nsecret = {SECRET}\nlogin = bot@nobody\napi_url = {pyrus.base_url}\n",
    )
    assert found["login of one"]["state"] == "problem"
    assert "login, secret and api_url" in found["login of one"]["do"]
    assert SECRET not in json.dumps(found)
    assert code == 1


def test_a_bot_without_a_login_is_warned_of(tmp_path: Path) -> None:
    code, found = examined(tmp_path, f"[bot:one]\nplugin = autoreply\nsecret = {SECRET}\n")
    assert found["login of one"]["state"] == "warning"
    assert found["journal"]["state"] == "warning"
    assert found["listener"]["state"] == "warning"
    assert code == 0


def test_a_plugin_that_is_not_installed_is_a_problem(tmp_path: Path) -> None:
    code, found = examined(tmp_path, f"[bot:one]\nplugin = autorply\nsecret = {SECRET}\n")
    assert "autoreply" in found["plugin of one"]["found"]
    assert code == 1


def test_a_certificate_that_chains_to_nobody_is_a_problem(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    ports: list[int] = []
    up, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        up.set()
        await asyncio.to_thread(stop.wait)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        text = f"[host]\npublic_url = https://localhost:{ports[0]}/\n[bot:one]\nplugin = autoreply\nsecret = {SECRET}\n"
        code, found = examined(tmp_path, text)
        with pytest.raises(ssl.SSLCertVerificationError):
            certificate_days("localhost", ports[0])
    finally:
        stop.set()
        thread.join()
    assert found["public URL"]["state"] == "problem"
    assert "chain to a public CA" in found["public URL"]["do"]
    assert code == 1


def test_a_clock_that_is_off_is_a_problem() -> None:
    assert of_clock([90.0, 91.0]).state == "problem"
    assert of_clock([-0.4]).state == "ok"
    assert of_clock([]).state == "ok"
