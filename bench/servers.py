"""The servers that are measured, each started on a core of its own: bothost in its variants, and its peers.

Peers run in `bench/.venv-peers`, which is made from the package index when it is not there. Each answers the same approval.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bodies import FIXTURES, SMALL
from bench.cores import pinned
from bench.journals import fill
from bench.senders import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "bench" / ".venv-peers"
REQUIREMENTS = ROOT / "bench" / "peers" / "requirements.txt"


@dataclass(slots=True)
class Server:
    """A server under measurement: its process, port, how its deliveries are signed, over how many bots they go."""

    pid: int
    port: int
    speaks: bool = True
    scheme: str = "pyrus"
    bots: int = 1
    beside: int = 0
    """The database's process, where there is one."""
    ready_s: float = 0.0
    """From its start to its first answer."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A line of the table: its title, its start, and the bodies with which it is measured."""

    title: str
    start: Callable[[Path], AbstractContextManager[Server]]
    sizes: tuple[str, ...] = tuple(FIXTURES)


@contextlib.contextmanager
def part(_folder: Path, *, module: str, speaks: bool) -> Iterator[Server]:
    """Run the bare Tornado server, or our listener alone."""
    with _running([sys.executable, "-m", module, f"{SECRET}-0"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Server(process.pid, int(process.stdout.readline()), speaks=speaks)


@contextlib.contextmanager
def host(folder: Path, *, bots: int = 1, keys: str = "", entries: int = 0, beside: int = 0) -> Iterator[Server]:
    """Run bothost as it is installed, with so many bots of the plugin autoreply, and so many entries in its journal."""
    with tempfile.TemporaryDirectory(dir=folder) as home, (Path(home) / "log").open("w") as log:
        port, operator_port = free_port(), free_port()
        ini = Path(home) / "bots.ini"
        sections = "\n".join(f"[bot:b{n}]\nplugin = autoreply\nsecret = {SECRET}-{n}\n" for n in range(bots))
        ini.write_text(f"[host]\nport = {port}\noperator_port = {operator_port}\nlog = json\n{keys}\n{sections}")
        ini.chmod(0o600)
        if entries:
            fill(Path(home) / "state", entries)
        began = time.perf_counter()
        command = [sys.executable, "-m", "bothost", "serve", "--config", str(ini)]
        with _running(command, stdout=log, stderr=log) as process:
            _wait(port, process, "/healthz")
            yield Server(process.pid, port, bots=bots, beside=beside, ready_s=time.perf_counter() - began)


@contextlib.contextmanager
def on_postgres(folder: Path) -> Iterator[Server]:
    """Run bothost with its journal in a PostgreSQL server of its own, which runs on the senders' core."""
    from tests.postgres_server import PostgresServer

    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    database = PostgresServer(fsync=True)
    database.start()
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        with host(folder, keys=f"journal = {database.new_database()}", beside=database.pid) as server:
            yield server
    finally:
        database.close()


@contextlib.contextmanager
def peer(_folder: Path, *, command: str, scheme: str = "pyrus") -> Iterator[Server]:
    """Run a peer; `{port}` in its command becomes a free port."""
    make_venv()
    port = free_port()
    program, *rest = command.format(port=port).split()
    environment = {**os.environ, "BENCH_SECRET": f"{SECRET}-0", "PATH": f"{PEERS / 'bin'}:{os.environ['PATH']}"}
    with _running([str(PEERS / "bin" / program), *rest], env=environment, folder=ROOT / "bench" / "peers") as process:
        _wait(port, process, "/")
        yield Server(process.pid, port, scheme=scheme)


SERVERS = {
    "floor": Kind("bare Tornado, neither verifies nor decodes", partial(part, module="bench.floor", speaks=False)),
    "listener": Kind("bothost's listener alone", partial(part, module="bench.listener", speaks=True)),
    "bothost": Kind("**bothost**", host),
    "bothost-keep-0": Kind("**bothost**, `keep = 0`", partial(host, keys="[bot]\nkeep = 0")),
    "bothost-processes": Kind("**bothost**, `processes = 2`", partial(host, keys="processes = 2")),
    "bothost-postgres": Kind("**bothost** on PostgreSQL", on_postgres),
    "aiopyrus": Kind("aiopyrus", partial(peer, command="python -m aiopyrus_app {port}")),
    "flask": Kind(
        "the help page's Flask app, its check called, gunicorn",
        partial(peer, command="gunicorn --bind 127.0.0.1:{port} --workers 1 flask_app:app"),
    ),
    "fastapi": Kind(
        "FastAPI on uvicorn, uvloop, httptools",
        partial(
            peer,
            command="uvicorn --port {port} --loop uvloop --http httptools --no-access-log --log-level warning "
            "--no-proxy-headers --no-server-header --no-date-header --lifespan off fastapi_app:app",
        ),
    ),
    "slack-bolt": Kind(
        "slack_bolt's Tornado adapter", partial(peer, command="python -m slack_app {port}", scheme="slack")
    ),
    "bots-100": Kind("100 bots", partial(host, bots=100), (SMALL,)),
    "bots-10000": Kind("10,000 bots", partial(host, bots=10_000), (SMALL,)),
    "entries-1000000": Kind("1,000,000 entries in the journal", partial(host, entries=1_000_000), (SMALL,)),
}
GROWTH = ("bothost", "bots-100", "bots-10000", "entries-1000000")
"""The servers that the table of growth compares."""


def make_venv() -> None:
    """Make the peers' own environment."""
    mark = PEERS / ".made"
    if not mark.exists() or mark.stat().st_mtime < REQUIREMENTS.stat().st_mtime:
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        pip = [str(PEERS / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
        mark.touch()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(
    command: list[str], *, stdout: object = None, stderr: object = None, env: dict[str, str] | None = None,
    folder: Path = ROOT,
) -> Iterator[subprocess.Popen[str]]:  # fmt: skip
    """Run a process on the first core, ended by SIGTERM."""
    with subprocess.Popen(
        [*pinned(0), *command],
        cwd=folder,
        stdout=stdout,
        stderr=stderr,
        env=env,
        text=True,  # type: ignore[call-overload]
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(port: int, process: subprocess.Popen[str], path: str) -> None:
    """Wait until it answers anything at all."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("the server does not answer")
