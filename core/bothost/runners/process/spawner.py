"""Start child processes: the first few by exec, more by a zygote, which is exec'd once and forks on request.

The host itself is never forked: it has threads, locks, a journal and sockets. The zygote has one thread and none of these.
Exec costs 72 ms and 11.7 MB a child, the zygote 1.4 ms and 1.0 MB.
"""

from __future__ import annotations

import array
import asyncio
import codecs
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from bothost.telemetry.printing import LineSplitter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXEC_AT_MOST = 8
LONGEST_RECORD = 1 << 20
"""Of a line that a child writes: a log record with its fields is one line."""


def cause_of(status: int) -> str:
    """Describe a wait status (as `os.waitstatus_to_exitcode` gives it) for a person."""
    if status >= 0:
        return f"it ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    # of what bothost ends itself only a child that has cut its connection says no other reason
    hint = ", as the kernel does where memory is short, and the host where a child has closed all its files"
    return f"it was ended by {name}{hint if status == -signal.SIGKILL else ''}"


class StartedProcess:
    """A child that was started: its pid, its end of the wire, and a future of the cause of its end."""

    def __init__(self, pid: int, sock: socket.socket, kill: Callable[[], None]) -> None:
        self.pid = pid
        self.sock = sock
        self.kill = kill
        """End it at once (SIGKILL); harmless when it has ended."""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.printing: asyncio.BaseTransport | None = None
        """The pipe of what it prints. A grandchild may hold it open."""

    def end(self, status: int) -> None:
        """Note that the process has ended, with this status."""
        if not self.ended.done():
            self.ended.set_result(cause_of(status))
        self._stop_printing()

    def prints(self, pipe: asyncio.BaseTransport) -> None:
        """Remember the pipe of what it prints; close it if the process has already ended."""
        self.printing = pipe
        if self.ended.done():
            self._stop_printing()

    def _stop_printing(self) -> None:
        if self.printing is not None:
            # what it printed last is still on its way
            asyncio.get_running_loop().call_later(1.0, self.printing.close)


class ChildPipes:
    """Both ends of what joins a child to the host: the socket for frames, and the pipe for what it prints."""

    def __init__(self) -> None:
        self.out, self.child_out = os.pipe()
        self.ours, self.theirs = socket.socketpair()

    def give(self) -> None:
        """Close the child's ends here, because the child has them now."""
        self.theirs.close()
        os.close(self.child_out)

    def drop(self) -> None:
        """Close all ends, because no child was started."""
        self.give()
        self.ours.close()
        os.close(self.out)


class Spawner:
    """Starts children from the loop's thread (the signal that ends them with the host comes when that thread ends)."""

    def __init__(self, hidden: frozenset[str], said: Callable[[str, str], None]) -> None:
        self._hidden = hidden
        self._environment = dict(os.environ)  # as it is before a plugin is loaded, which may empty it
        self._said = said
        """Called with the bot's name and each line that a child writes to stdout or stderr."""
        self._execed: set[int] = set()
        self._zygote: Zygote | None = None
        self._retired: list[Zygote] = []
        """Their environment holds too much by now; each ends when its last child has."""

    def hide(self, names: frozenset[str]) -> None:
        """Children that start from now on get none of these variables either: those that bots.ini names after a reload."""
        if names <= self._hidden:
            return
        self._hidden |= names
        if self._zygote is not None:
            self._retired.append(self._zygote)
            self._zygote = None

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that the host starts."""
        return cut_environment({**self._environment, **os.environ}, self._hidden)

    async def start(self, bot: str) -> StartedProcess:
        """Start a child for a bot. Raises OSError if no process can be made."""
        self._end_retired()
        if len(self._execed) < EXEC_AT_MOST:
            return await self._exec(bot)
        if self._zygote is None or not self._zygote.lives:
            self._zygote = Zygote()
            await self._zygote.open(self.environment())
        ends = ChildPipes()
        try:
            process = await self._zygote.fork(ends.ours, [ends.theirs.fileno(), ends.child_out])
        except BaseException:
            ends.drop()
            raise
        ends.give()
        process.prints(await self._listen(bot, ends.out))
        return process

    def close(self) -> None:
        """End the zygotes; their children end with them."""
        for zygote in (*self._retired, *([self._zygote] if self._zygote is not None else ())):
            zygote.close()

    def _end_retired(self) -> None:
        for zygote in [one for one in self._retired if not one.busy]:
            self._retired.remove(zygote)
            zygote.close()

    async def _exec(self, bot: str) -> StartedProcess:
        ends = ChildPipes()
        descriptor = ends.theirs.fileno()
        command = [sys.executable, "-P", "-m", "bothost.runners.process.child", str(descriptor), str(os.getpid())]
        try:
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=ends.child_out, stderr=ends.child_out,
                pass_fds=(descriptor,), env=self.environment(), close_fds=True,
            )  # fmt: skip
        except OSError:
            ends.drop()
            raise
        ends.give()
        process = StartedProcess(started.pid, ends.ours, started.kill)
        self._execed.add(started.pid)
        self._watch(started, process)
        process.prints(await self._listen(bot, ends.out))
        return process

    def _watch(self, started: subprocess.Popen[bytes], process: StartedProcess) -> None:
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(started.pid)

        def ended() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            self._execed.discard(started.pid)
            process.end(started.wait())

        loop.add_reader(pidfd, ended)

    async def _listen(self, bot: str, out: int) -> asyncio.BaseTransport:
        """Pass on what the child prints, line by line."""
        lines = LineSplitter(partial(self._said, bot), LONGEST_RECORD)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        class OutputLines(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                lines.feed(decoder.decode(data))

            def connection_lost(self, _error: Exception | None) -> None:
                lines.end()

        transport, _ = await asyncio.get_running_loop().connect_read_pipe(OutputLines, os.fdopen(out, "rb", 0))
        return transport


def cut_environment(environment: Mapping[str, str], hidden: frozenset[str]) -> dict[str, str]:
    """Return the environment without the variables that bots.ini names: they hold secrets of the host and of other bots."""
    return {name: value for name, value in environment.items() if name not in hidden}


class Zygote:
    """The host's end of the zygote: asks for forks, hears of ends."""

    def __init__(self) -> None:
        self.lives = False
        self._sock: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, tuple[socket.socket, asyncio.Future[StartedProcess]]] = {}
        self._children: dict[int, StartedProcess] = {}
        self._next = 0

    async def open(self, environment: dict[str, str]) -> None:
        """Exec it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "bothost.runners.process.zygote", str(theirs.fileno()), str(os.getpid())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), env=environment, close_fds=True
        )
        theirs.close()
        ours.setblocking(False)
        self._sock = ours
        self.lives = True
        asyncio.get_running_loop().add_reader(ours.fileno(), self._heard)

    async def fork(self, sock: socket.socket, descriptors: list[int]) -> StartedProcess:
        """Fork a child that gets these descriptors: its socket, and what it prints to."""
        assert self._sock is not None
        self._next += 1
        forked: asyncio.Future[StartedProcess] = asyncio.get_running_loop().create_future()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._sock.sendmsg([json.dumps({"fork": self._next}).encode()], rights)
        self._waiting[self._next] = (sock, forked)
        return await forked

    @property
    def busy(self) -> bool:
        """Return whether it has children or is making one."""
        return bool(self._children or self._waiting)

    def close(self) -> None:
        """End it; it takes its children with it."""
        self._dead()

    def _kill(self, pid: int) -> None:
        # by the zygote: only the parent knows that the pid is still this child's
        if self._sock is not None and pid in self._children:
            with contextlib.suppress(OSError):
                self._sock.send(json.dumps({"kill": pid}).encode())

    def _heard(self) -> None:
        assert self._sock is not None
        while True:
            try:
                data = self._sock.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._dead()
                return
            told = json.loads(data)
            if "forked" in told:
                self._forked(told["forked"], told["pid"])
            elif (process := self._children.pop(told["ended"], None)) is not None:
                process.end(told["status"])

    def _forked(self, number: int, pid: int) -> None:
        # known from now on, not when who asked goes on: its end may be the next that is told
        sock, forked = self._waiting.pop(number)
        if pid < 0:
            if not forked.cancelled():
                forked.set_exception(OSError("the zygote cannot fork"))
            return
        process = self._children[pid] = StartedProcess(pid, sock, lambda: self._kill(pid))
        if forked.cancelled():
            sock.close()
            process.kill()
        else:
            forked.set_result(process)

    def _dead(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self.lives = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for _, forked in self._waiting.values():
            if not forked.done():
                forked.set_exception(OSError("the zygote has ended"))
        for process in self._children.values():
            process.end(-signal.SIGKILL)
        self._children = {}
        self._waiting = {}
