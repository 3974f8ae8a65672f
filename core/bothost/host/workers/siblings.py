"""Talk to the supervisor and the sibling workers: ask questions, answer theirs, and send news."""

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
"""The seconds that siblings have for their answers. A late answer is left out."""
Answerer = Callable[[], AsyncIterator[bytes]]


class Siblings:
    """Talks to the supervisor and through it to the sibling workers. It is used on the loop."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.answers: dict[str, Answerer] = {}
        """The function that answers each question, in parts."""
        self.hears: dict[str, Callable[[bytes], None]] = {}
        """The function that takes each kind of news from siblings."""
        self.restarts: dict[str, int] = {}
        """The number of times that the supervisor restarted each worker."""
        self.stopping = False
        """True if the whole host stops, and not this worker alone."""
        self.inherited: dict[str, list[bytes]] = {}
        """The data that the process before this one, of the same number, left. It is whole when `complete` is set."""
        self.complete = asyncio.Event()
        self._tasks = BackgroundTasks()
        self._asked = 0
        self._collecting: dict[int, tuple[dict[int, list[bytes]], set[int], asyncio.Event]] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, gone: Callable[[], None]) -> None:
        """Begin to listen to the supervisor, and call `gone` when it has ended."""
        reader, self._writer = await asyncio.open_connection(sock=self.worker.line)
        self._tasks.spawn(self._listen(reader, gone))

    def say(self, kind: str) -> None:
        """Send `ready` or `alive`."""
        self._send(Message(kind))

    def tell(self, what: str, data: bytes, to: int = -1) -> None:
        """Send news to all siblings, or to one. A sibling that is not there, or does not know this kind, misses it."""
        self._send(Message("tell", what=what, data=data, to=to))

    def keep(self, kept: Mapping[str, Iterable[bytes]]) -> None:
        """Let the supervisor keep this data as a whole, and give it to the process that takes this one's place."""
        for what, parts in kept.items():
            for part in parts:
                self._send(Message("keep", what=what, data=part))
        self._send(Message("kept"))

    async def ask(self, what: str) -> dict[int, list[bytes]]:
        """Return each sibling's answer in parts by its number: no part if it is not there, no entry if it is late."""
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
        """Close the connection to the supervisor."""
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
            pass  # if the socket cannot be read, there is no supervisor any more
        self.stopping = True
        gone()

    def _hear(self, message: Message) -> None:
        try:
            self._take(message)
        except Exception:  # around the loop that listens, because one message's fault must not end it
            log.exception("a fault of bothost at a message of another process: %s %s", message.kind, message.what)

    async def _answer(self, question: Message) -> None:
        """Answer in as many parts as the function makes. Between them the loop serves others."""
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
        """Take a part of a sibling's answer, or its end."""
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
    """Ignore news of a kind that this version does not know."""
