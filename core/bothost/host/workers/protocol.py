"""What a supervisor and its workers say to each other: sockets handed down, readiness, life signs, questions to siblings.

One stream socket for each worker; frames of 4 bytes length and msgpack. The supervisor only passes on what workers say to
each other: questions, answers, and what they tell unasked.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from bothost.host.sockets import adopt

if TYPE_CHECKING:
    import socket
    from collections.abc import MutableMapping

VARIABLE = "BOTHOST_WORKER"
LONGEST_FRAME = 64 << 20
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


class FrameReader:
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
