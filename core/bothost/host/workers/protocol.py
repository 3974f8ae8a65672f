"""What a supervisor and its workers say to each other: sockets handed down, readiness, life signs, questions to siblings.

One stream socket for each worker; frames of 4 bytes length and msgpack. The supervisor only passes on what workers say to
each other: questions, answers, and what they tell unasked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from bothost.sockets import adopt

if TYPE_CHECKING:
    import socket
    from collections.abc import MutableMapping

VARIABLE = "BOTHOST_WORKER"
LONGEST_FRAME = 64 << 20
ANSWER_S = 2.0
"""How long siblings have for their answers; who is late is left out."""
_HEAD = struct.Struct(">I")


class Message(msgspec.Struct, omit_defaults=True):
    """One frame. A question goes to all siblings, an answer (in as many parts as it takes) to the one who asked."""

    kind: str
    """ready, alive, ask, part, end, tell, restarts, stopping, keep, kept."""
    number: int = 0
    """Of the question."""
    sender: int = 0
    to: int = -1
    """-1: all others."""
    what: str = ""
    data: bytes = b""
    counts: dict[str, int] = msgspec.field(default_factory=dict)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Message)


def frame(message: Message) -> bytes:
    """A message as it goes over the socket."""
    body = _ENCODER.encode(message)
    return _HEAD.pack(len(body)) + body


class Frames:
    """Messages out of the bytes of one socket, in order."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises ValueError where a length is beyond all measure."""
        rest = self._rest
        rest += data
        found, at = [], 0
        while len(rest) - at >= _HEAD.size:
            (size,) = _HEAD.unpack_from(rest, at)
            if size > LONGEST_FRAME:
                raise ValueError(f"a frame of {size} bytes")
            end = at + _HEAD.size + size
            if len(rest) < end:
                break
            found.append(_DECODER.decode(bytes(rest[at + _HEAD.size : end])))
            at = end
        del rest[:at]
        return found


@dataclass(frozen=True, slots=True)
class Worker:
    """This process as one of several: its number from 0, how many there are, and its way to the supervisor."""

    number: int
    of: int
    line: socket.socket
    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)

    @classmethod
    def take(cls, env: MutableMapping[str, str]) -> Worker | None:
        """From the environment, where it is removed; None in a process that no supervisor started."""
        text = env.pop(VARIABLE, "")
        if not text:
            return None
        told = json.loads(text)
        sockets = {name: [adopt(each) for each in those] for name, those in told["sockets"].items()}
        return cls(told["number"], told["of"], adopt(told["line"]), sockets)


def described(
    number: int, of: int, line: socket.socket, sockets: dict[str, list[socket.socket]]
) -> tuple[str, list[int]]:
    """The variable's value for one worker, and the descriptors it has to inherit. Worker 0 alone serves the operator."""
    passed = {
        name: [each.fileno() for each in those] if name != "operator" or number == 0 else []
        for name, those in sockets.items()
    }
    told = {"number": number, "of": of, "line": line.fileno(), "sockets": passed}
    return json.dumps(told), [line.fileno(), *(each for those in passed.values() for each in those)]


Answerer = Callable[[], AsyncIterator[bytes]]


class Siblings:
    """A worker's end of its line; on its loop. `gone` is called when the supervisor is no more."""

    def __init__(self, worker: Worker, gone: Callable[[], None]) -> None:
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
        self._gone = gone
        self._answering: set[asyncio.Task[None]] = set()
        self._asked = 0
        self._collecting: dict[int, tuple[dict[int, list[bytes]], set[int], asyncio.Event]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Begin to listen to the supervisor."""
        reader, self._writer = await asyncio.open_connection(sock=self.worker.line)
        self._task = asyncio.get_running_loop().create_task(self._listen(reader))

    def say(self, kind: str) -> None:
        """`ready` or `alive`."""
        self._send(Message(kind))

    def tell(self, what: str, data: bytes) -> None:
        """Let all siblings know; who is not there, or has no ear for it, misses it."""
        self._send(Message("tell", what=what, data=data))

    def keep(self, kept: Mapping[str, Iterable[bytes]]) -> None:
        """Have the supervisor keep this, all at once, for the process that has this one's number when this one is no more."""
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
        for task in (self._task, *self._answering):
            if task is not None:
                task.cancel()
        if self._writer is not None:
            self._writer.close()

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame(message))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        frames = Frames()
        try:
            while data := await reader.read(1 << 18):
                for message in frames.feed(data):
                    self._take(message)
        except (OSError, ValueError, msgspec.DecodeError):
            pass  # whatever was wrong with the line, without it there is no supervisor
        self.stopping = True
        self._gone()

    async def _answer(self, question: Message) -> None:
        """In as many parts as the answerer makes, with turns of the loop for others between them."""
        answerer = self.answers.get(question.what)
        if answerer is not None:
            async for part in answerer():
                self._send(Message("part", question.number, to=question.sender, data=part))
        self._send(Message("end", question.number, to=question.sender))

    def _take(self, message: Message) -> None:
        if message.kind == "ask":
            answering = asyncio.get_running_loop().create_task(self._answer(message))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)
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
    """What a newer or older sibling tells."""
