"""A real PostgreSQL server of the test run's own, in a temporary folder, that can be stopped, frozen and started again."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

DATABASES = itertools.count(1)


def find_binaries() -> Path | None:
    """The folder with initdb and postgres; None where there is none."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]), reverse=True)
    on_path = shutil.which("postgres")
    for folder in [*folders, *([os.path.dirname(on_path)] if on_path else [])]:
        if os.path.exists(f"{folder}/initdb") and os.path.exists(f"{folder}/postgres"):
            return Path(folder)
    return None


class PostgresServer:
    """Listens on loopback at a port of its own and on a socket in its folder; PostgreSQL refuses root, so root hands it down."""

    def __init__(self, *, fsync: bool = False) -> None:
        binaries = find_binaries()
        if binaries is None:
            raise RuntimeError("PostgreSQL is needed for these tests: apt install postgresql")
        self._binaries = binaries
        self._fsync = fsync
        self._user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="bothost-pg-", dir="/tmp"))
        if self._user:
            shutil.chown(self.folder, self._user)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")

    @property
    def pid(self) -> int:
        """The postmaster."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers."""
        self._process = subprocess.Popen(
            [
                self._binaries / "postgres", "-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder),
                "-c", "listen_addresses=127.0.0.1", "-c", f"fsync={'on' if self._fsync else 'off'}", "-c", "max_connections=80",
                "-c", "shared_buffers=32MB", "-c", "log_min_messages=panic",
            ],
            user=self._user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while subprocess.run(
            [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        ).returncode:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)

    def stop(self, *, fast: bool = False) -> None:
        """Stop at once, as a crash does: connections break, nothing is flushed. `fast`: as an administrator stops it, which
        ends each session with an error of its own."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if fast else signal.SIGQUIT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:  # a postmaster that is asked while it forks may hear nothing
                self._kill()
            self._process = None

    def _kill(self) -> None:
        """End the postmaster and what it has begun: those left would keep the next one from starting."""
        pid = self.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        for each in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{os.getpid()}_{next(DATABASES)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name)
        return self.url(name)

    def url(self, name: str, **options: object) -> str:
        """The URL of a database; options become parameters."""
        query = "&".join(f"{key}={value}" for key, value in options.items())
        return f"postgresql://postgres:pa55-w0rd@127.0.0.1:{self.port}/{name}" + (f"?{query}" if query else "")

    def psql(self, url: str, statement: str) -> str:
        """What psql prints for a statement."""
        return self._run("psql", "-X", "-A", "-t", "-d", url, "-c", statement)

    def _run(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._binaries / name, *arguments], user=self._user, cwd=self.folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout.decode("utf-8").strip()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
