"""Define the messages of a supervisor and its workers: readiness, life signs, questions to siblings, and inherited sockets.

Each worker has one stream socket. The supervisor only passes on the workers' questions, answers and unasked news.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from bothost.host.sockets import adopt
from bothost.runners.process.framing import FrameReader

if TYPE_CHECKING:
    import socket
    from collections.abc import MutableMapping

VARIABLE = "BOTHOST_WORKER"
LONGEST_FRAME = 64 << 20


class Message(msgspec.Struct, omit_defaults=True):
    """One frame. A question goes to all siblings, and an answer (in as many parts as it takes) to the worker that asked."""

    kind: str
    """ready, alive, ask, part, end, tell, restarts, stopping, keep, kept."""
    number: int = 0
    """The number of the question."""
    sender: int = 0
    to: int = -1
    """The worker that gets it; -1 for all others."""
    what: str = ""
    data: bytes = b""
    counts: dict[str, int] = msgspec.field(default_factory=dict)


_DECODER = msgspec.msgpack.Decoder(Message)


def frames() -> FrameReader[Message]:
    """Make a reader for one socket."""
    return FrameReader(_DECODER, LONGEST_FRAME)


@dataclass(frozen=True, slots=True)
class Worker:
    """This process as one of several: its number from 0, the number of workers, and its socket to the supervisor."""

    number: int
    of: int
    line: socket.socket
    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)

    @classmethod
    def take(cls, env: MutableMapping[str, str]) -> Worker | None:
        """Return the value from the environment, and remove it there; None in a process that no supervisor started."""
        text = env.pop(VARIABLE, "")
        if not text:
            return None
        told = json.loads(text)
        sockets = {name: [adopt(each) for each in those] for name, those in told["sockets"].items()}
        return cls(told["number"], told["of"], adopt(told["line"]), sockets)


def described(
    number: int, of: int, line: socket.socket, sockets: dict[str, list[socket.socket]]
) -> tuple[str, list[int]]:
    """Return the variable's value for one worker, and the descriptors that it inherits. Only worker 0 serves the operator."""
    passed = {
        name: [each.fileno() for each in those] if name != "operator" or number == 0 else []
        for name, those in sockets.items()
    }
    told = {"number": number, "of": of, "line": line.fileno(), "sockets": passed}
    return json.dumps(told), [line.fileno(), *(each for those in passed.values() for each in those)]
