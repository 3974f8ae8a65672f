"""A worker's end of its line to the supervisor: questions to its siblings, and what it answers to theirs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from bothost.background import BackgroundTasks
from bothost.host.workers.protocol import Message, frames
from bothost.runners.process.framing import pack

if TYPE_CHECKING:
    from bothost.host.workers.protocol import Worker

log = logging.getLogger("bothost.server")

ANSWER_S = 2.0
"""How long siblings have for their answers; who is late is left out."""
Answerer = Callable[[], AsyncIterator[bytes]]


class Siblings:
    """Talks to the supervisor and through it to the sibling workers. Used on the loop."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.answers: dict[str, Answerer] = {}
        """What this process answers to which question, in parts."""
        self.hears: dict[str, Callable[[bytes], None]] = {}
        """What this process does with what siblings tell."""
        self.restarts: dict[str, int] = {}
        """How often the supervisor started each worker again."""
        self.stopping = False
        """The whole host stops, and not this worker alone."""
        self.inherited: dict[str, list[bytes]] = {}
        """What the process before this one, of the same number, had kept; whole when `complete` is set."""
        self.complete = asyncio.Event()
        self._tasks = BackgroundTasks()
        self._asked = 0
        self._collecting: dict[int, tuple[dict[int, list[bytes]], set[int], asyncio.Event]] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, gone: Callable[[], None]) -> None:
        """Begin to listen to the supervisor; `gone` is called when it is no more."""
        reader, self._writer = await asyncio.open_connection(sock=self.worker.line)
        self._tasks.spawn(self._listen(reader, gone))

    def say(self, kind: str) -> None:
        """`ready` or `alive`."""
        self._send(Message(kind))

    def tell(self, what: str, data: bytes) -> None:
        """Let all siblings know; who is not there, or has no ear for it, misses it."""
        self._send(Message("tell", what=what, data=data))

    def keep(self, kept: Mapping[str, Iterable[bytes]]) -> None:
        """Have the supervisor keep this, all at once, and give it to the process that takes this one's place."""
        for what, parts in kept.items():
            for part in parts:
                self._send(Message("keep", what=what, data=part))
        self._send(Message("kept"))

    async def ask(self, what: str) -> dict[int, list[bytes]]:
        """Each sibling's answer in parts, by its number: of one that is not there no part; who is late is left out."""
        if self.worker.of == 1 or self._writer is None:
            return {}
        self._asked += 1
        number, done = self._asked, asyncio.Event()
        answers: dict[int, list[bytes]] = {other: [] for other in range(self.worker.of) if other != self.worker.number}
        late = set(answers)
        self._collecting[number] = (answers, late, done)
        self._send(Message("ask", number, what=what))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await done.wait()
        del self._collecting[number]
        return {sibling: parts for sibling, parts in answers.items() if sibling not in late}

    def close(self) -> None:
        """Hang up."""
        self._tasks.cancel()
        if self._writer is not None:
            self._writer.close()

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(pack(message))

    async def _listen(self, reader: asyncio.StreamReader, gone: Callable[[], None]) -> None:
        reading = frames()
        try:
            while data := await reader.read(1 << 18):
                for message in reading.feed(data):
                    self._hear(message)
        except (OSError, ValueError):
            pass  # without a socket that can be read there is no supervisor
        self.stopping = True
        gone()

    def _hear(self, message: Message) -> None:
        try:
            self._take(message)
        except Exception:  # around the loop that listens: one message's fault must not make this worker deaf
            log.exception("a fault of bothost at a message of another process: %s %s", message.kind, message.what)

    async def _answer(self, question: Message) -> None:
        """Answer in as many parts as the answerer makes; between them the loop serves others."""
        answerer = self.answers.get(question.what)
        if answerer is not None:
            async for part in answerer():
                self._send(Message("part", question.number, to=question.sender, data=part))
        self._send(Message("end", question.number, to=question.sender))

    def _take(self, message: Message) -> None:
        if message.kind == "ask":
            self._tasks.spawn(self._answer(message))
        elif message.kind == "tell":
            self.hears.get(message.what, _unheard)(message.data)
        elif message.kind == "restarts":
            self.restarts = message.counts
        elif message.kind == "stopping":
            self.stopping = True
        elif message.kind == "keep":
            self.inherited.setdefault(message.what, []).append(message.data)
        elif message.kind == "kept":
            self.complete.set()
        else:
            self._collect(message)

    def _collect(self, message: Message) -> None:
        """A part of a sibling's answer, or its end."""
        if message.number not in self._collecting:
            return
        answers, late, done = self._collecting[message.number]
        if message.kind == "part":
            answers[message.sender].append(message.data)
            return
        late.discard(message.sender)
        if not late:
            done.set()


def _unheard(_data: bytes) -> None:
    """Ignore what a newer or older sibling tells."""
