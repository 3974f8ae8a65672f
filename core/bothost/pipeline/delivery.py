"""Define a delivery, one HTTP request from Pyrus, and its outcome: status, body and one word for logs and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from bothost.bots.registry import Bot

OWN_WORK = ("job", "request")
"""The kinds of entries that no delivery of Pyrus brought, and that have content for their run."""
NOTHING = b"{}"
"""The body for which Pyrus writes no comment (protocol §4.1)."""


class Outcome(msgspec.Struct, frozen=True):
    """The answer to a delivery. `repeat` marks an answer that comes from the journal."""

    status: int
    body: bytes
    word: str
    repeat: bool = False


LATE = Outcome(200, NOTHING, "late")
PARKED = Outcome(200, NOTHING, "parked")
ACKNOWLEDGED = Outcome(200, NOTHING, "acknowledged", repeat=True)
REPEAT = Outcome(200, NOTHING, "repeat", repeat=True)
CANCELLED = Outcome(200, NOTHING, "cancelled", repeat=True)
UNAVAILABLE = Outcome(503, NOTHING, "unavailable")
BUSY = Outcome(503, NOTHING, "busy")
UNRECORDED = Outcome(503, NOTHING, "unrecorded")
FAILED = Outcome(500, NOTHING, "held")
UNANSWERABLE = Outcome(500, NOTHING, "failed")


class Delivery(Protocol):
    """One verified HTTP request. The webhook and the harness bring their own."""

    @property
    def bot(self) -> Bot:
        """Return the bot whose path and secret it came by."""

    @property
    def body(self) -> bytes:
        """Return the bytes that were signed."""

    @property
    def secret_index(self) -> int:
        """Return the number of the bot's secret that signed it: 0 for the present one, 1 for the old one."""

    @property
    def attempt(self) -> str:
        """Return `X-Pyrus-Retry` as it came; empty if absent."""

    @property
    def received(self) -> float:
        """Return the time when its headers were read, by the monotonic clock."""

    @property
    def trace(self) -> str:
        """Return `traceparent` as it came; empty if absent."""

    @property
    def gone(self) -> bool:
        """Return whether its connection is known to be closed, so that no answer can be read."""

    def respond(self, outcome: Outcome) -> bool:
        """Write the outcome, once. Returns False if the connection was closed already."""
