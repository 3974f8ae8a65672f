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
from typing import TYPE_CHECKING, Any

from bench.bodies import FIXTURES, SMALL
from bench.cores import family, pinned
from bench.journals import fill, keep
from bench.senders import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "bench" / ".venv-peers"
REQUIREMENTS = ROOT / "bench" / "peers" / "requirements.txt"
SLEEPERS = ROOT / "bench" / "sleepers"
"""Where a host finds the plugins that block."""


class ServerProcess:
    """A process on the first core: it is started, killed and started again, and ended by SIGTERM."""

    def __init__(
        self, command: list[str], *, output: int | None = None, log: TextIO | None = None, env: dict[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:  # fmt: skip
        self._command = [*pinned(0), *command]
        self._settings: dict[str, Any] = {"cwd": folder, "env": env, "text": True, "stderr": log}
        self._settings["stdout"] = output if output is not None else log
        self.running = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, **self._settings)

    @property
    def pid(self) -> int:
        """Return the present process."""
        return self.running.pid

    def kill(self) -> None:
        """Kill it and its descendants, as a machine that loses its power does."""
        for pid in [int(folder.name) for folder in family(self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.running.wait()

    def start_again(self) -> None:
        """Start it by the same command."""
        self.running = self._start()

    def end(self) -> None:
        """Ask it to end; kill it after a minute."""
        self.running.send_signal(signal.SIGTERM)
        try:
            self.running.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        if self.running.stdout is not None:
            self.running.stdout.close()


@dataclass(slots=True)
class Server:
    """A server under measurement: its process, port, how its deliveries are signed, over how many bots they go."""

    process: ServerProcess
    port: int
    speaks: bool = True
    scheme: str = "pyrus"
    bots: int = 1
    beside: int = 0
    """The process of its database, or of the service behind it, where there is one."""
    ready_s: float = 0.0
    """From its start to its first answer."""

    @property
    def pid(self) -> int:
        """Return its process."""
        return self.process.pid


@dataclass(frozen=True, slots=True)
class Kind:
    """A line of the table: its title, its start, and the bodies with which it is measured."""

    title: str
    start: Callable[[Path], AbstractContextManager[Server]]
    sizes: tuple[str, ...] = tuple(FIXTURES)


@contextlib.contextmanager
def part(_folder: Path, *, module: str, speaks: bool) -> Iterator[Server]:
    """Run the bare Tornado server, or our listener alone."""
    with _running([sys.executable, "-m", module, f"{SECRET}-0"], output=subprocess.PIPE) as process:
        assert process.running.stdout is not None
        yield Server(process, int(process.running.stdout.readline()), speaks=speaks)


@dataclass(frozen=True, slots=True)
class HostSetup:
    """What stands in bots.ini: keys of the host, so many bots with these keys, sections besides; and what stands in the journal:
    entries, and values and waiting jobs of the first bot."""

    keys: str = ""
    bots: int = 1
    bot: str = "plugin = autoreply"
    sections: str = ""
    entries: int = 0
    values: int = 0
    jobs: int = 0

    def ini(self, port: int) -> str:
        """Return the file."""
        bots = "\n".join(f"[bot:b{n}]\n{self.bot}\nsecret = {SECRET}-{n}\n" for n in range(self.bots))
        head = f"[host]\nport = {port}\noperator_port = {free_port()}\nlog = json\n"
        return f"{head}{self.keys}\n{bots}\n{self.sections}\n"


AS_INSTALLED = HostSetup()


@contextlib.contextmanager
def host(folder: Path, *, setup: HostSetup = AS_INSTALLED, beside: int = 0) -> Iterator[Server]:
    """Run bothost with these bots and this journal."""
    with tempfile.TemporaryDirectory(dir=folder) as home, (Path(home) / "log").open("w") as log:
        port = free_port()
        ini = Path(home) / "bots.ini"
        ini.write_text(setup.ini(port))
        ini.chmod(0o600)
        if setup.entries:
            fill(Path(home) / "state", setup.entries)
        if setup.values or setup.jobs:
            keep(Path(home) / "state", setup.values, setup.jobs)
        began = time.perf_counter()
        command = [sys.executable, "-m", "bothost", "serve", "--config", str(ini)]
        with _running(command, log=log, env={**os.environ, "PYTHONPATH": str(SLEEPERS)}) as process:
            _wait(port, process, "/healthz")
            ready_s = time.perf_counter() - began
            yield Server(process, port, bots=setup.bots, beside=beside, ready_s=ready_s)


@contextlib.contextmanager
def on_postgres(folder: Path) -> Iterator[Server]:
    """Run bothost with its journal in a PostgreSQL server of its own, which runs on the senders' core."""
    from tests.postgres_server import PostgresServer

    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    database = PostgresServer(fsync=True)
    database.start()
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        setup = HostSetup(f"journal = {database.new_database()}")
        with host(folder, setup=setup, beside=database.pid) as server:
            yield server
    finally:
        database.close()


@contextlib.contextmanager
def peer(_folder: Path, *, command: str, scheme: str = "pyrus") -> Iterator[Server]:
    """Run a peer; `{port}` in its command becomes a free port."""
    make_venv()
    port = free_port()
    program, *rest = command.format(port=port).split()
    environment = {**os.environ, "PATH": f"{PEERS / 'bin'}:{os.environ['PATH']}"}
    environment |= {"BENCH_SECRET": f"{SECRET}-0", "BENCH_OTHER_SECRET": f"{SECRET}-1"}
    with _running([str(PEERS / "bin" / program), *rest], env=environment, folder=ROOT / "bench" / "peers") as process:
        _wait(port, process, "/")
        yield Server(process, port, scheme=scheme)


@contextlib.contextmanager
def relay(folder: Path) -> Iterator[Server]:
    """Run bothost's relay in front of the Flask app, which answers as before."""
    with peer(folder, command=FLASK) as app:
        target = f"plugin = relay\nurl = http://127.0.0.1:{app.port}/b0\nkey = {SECRET}-0"
        with host(folder, setup=HostSetup(bot=target), beside=app.pid) as server:
            yield server


FLASK = "gunicorn --bind 127.0.0.1:{port} --workers 1 flask_app:app"
FASTAPI = (
    "uvicorn --port {port} --loop uvloop --http httptools --no-access-log --log-level warning "
    "--no-proxy-headers --no-server-header --no-date-header --lifespan off fastapi_app:app"
)
AIOPYRUS = "python -m aiopyrus_app {port}"
SERVERS = {
    "floor": Kind("bare Tornado, neither verifies nor decodes", partial(part, module="bench.floor", speaks=False)),
    "listener": Kind("bothost's listener alone", partial(part, module="bench.listener", speaks=True)),
    "bothost": Kind("**bothost**", host),
    "bothost-keep-0": Kind("**bothost**, `keep = 0`", partial(host, setup=HostSetup("[bot]\nkeep = 0"))),
    "bothost-processes": Kind("**bothost**, `processes = 2`", partial(host, setup=HostSetup("processes = 2"))),
    "bothost-postgres": Kind("**bothost** on PostgreSQL", on_postgres),
    "relay": Kind("**bothost**'s relay before the Flask app", relay),
    "aiopyrus": Kind("aiopyrus", partial(peer, command=AIOPYRUS)),
    "flask": Kind("the help page's Flask app, its check called, gunicorn", partial(peer, command=FLASK)),
    "fastapi": Kind("FastAPI on uvicorn, uvloop, httptools", partial(peer, command=FASTAPI)),
    "slack-bolt": Kind(
        "slack_bolt's Tornado adapter", partial(peer, command="python -m slack_app {port}", scheme="slack")
    ),
    "bots-100": Kind("100 bots", partial(host, setup=HostSetup(bots=100)), (SMALL,)),
    "bots-10000": Kind("10,000 bots", partial(host, setup=HostSetup(bots=10_000)), (SMALL,)),
    "entries-1000000": Kind(
        "1,000,000 entries in the journal", partial(host, setup=HostSetup(entries=1_000_000)), (SMALL,)
    ),
    "values-100000": Kind(
        "100,000 values in the bot's store", partial(host, setup=HostSetup(values=100_000)), (SMALL,)
    ),
    "jobs-100000": Kind("100,000 waiting jobs of the bot", partial(host, setup=HostSetup(jobs=100_000)), (SMALL,)),
}
GROWTH = ("bothost", "bots-100", "bots-10000", "entries-1000000", "values-100000", "jobs-100000")
"""The servers that the table of growth compares."""


def _beside(bot: str) -> Callable[[Path], AbstractContextManager[Server]]:
    """Return a host on which a second bot blocks."""
    return partial(host, setup=HostSetup(sections=f"[bot:b1]\n{bot}\nsecret = {SECRET}-1\n"))


BLOCKED = {
    "thread": Kind("bothost: a plain handler, in a thread of its bot", _beside("plugin = sleeps-in-a-thread")),
    "process": Kind("bothost: run = process", _beside("plugin = sleeps-on-the-loop\nrun = process")),
    "loop": Kind("bothost: an async handler that blocks the loop", _beside("plugin = sleeps-on-the-loop")),
    "aiopyrus": Kind("aiopyrus", partial(peer, command=AIOPYRUS)),
    "flask": Kind("the help page's Flask app, one worker", partial(peer, command=FLASK)),
    "fastapi": Kind("FastAPI", partial(peer, command=FASTAPI)),
}
"""Servers with a bot `b1` each of whose handlers blocks for half a second."""
RECOVERING = ("bothost", "bothost-processes", "entries-1000000", "bots-10000", "aiopyrus", "flask", "fastapi")
"""The servers that are killed and started again."""


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
    command: list[str], *, output: int | None = None, log: TextIO | None = None, env: dict[str, str] | None = None,
    folder: Path = ROOT,
) -> Iterator[ServerProcess]:  # fmt: skip
    """Run a process on the first core, ended by SIGTERM."""
    process = ServerProcess(command, output=output, log=log, env=env, folder=folder)
    try:
        yield process
    finally:
        process.end()


def _wait(port: int, process: ServerProcess, path: str) -> None:
    """Wait until it answers anything at all."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.running.poll() is not None:
            raise SystemExit(f"the server ended with {process.running.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("the server does not answer")
