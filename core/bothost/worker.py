"""What a supervisor and its workers say to each other: sockets handed down, readiness, life signs, questions to siblings.

One stream socket for each worker; messages are lines of JSON. The supervisor only passes questions and answers on.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bothost.sockets import adopt

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

VARIABLE = "BOTHOST_WORKER"
LONGEST_LINE = 64 << 20


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
    """The variable's value for one worker, and the descriptors that it has to inherit. Worker 0 alone gets the operator's."""
    passed = {
        name: [each.fileno() for each in those] for name, those in sockets.items() if name != "operator" or number == 0
    }
    passed.setdefault("operator", [])
    told = {"number": number, "of": of, "line": line.fileno(), "sockets": passed}
    return json.dumps(told), [line.fileno(), *(each for those in passed.values() for each in those)]


class Lines:
    """Messages out of the bytes of one socket, in order."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterable[dict[str, Any]]:
        """The messages that are complete now. Raises ValueError for what is none."""
        self._rest += data
        if len(self._rest) > LONGEST_LINE:
            raise ValueError("a message without end")
        *whole, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return [json.loads(line) for line in whole if line]


def line_of(message: dict[str, Any]) -> bytes:
    """A message as it goes over the socket."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
