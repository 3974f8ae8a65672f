"""What the web hands to dispatch, and what it gets back: one delivery, one outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bothost.bots import Bot


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one delivery is answered: status, body, and the word that logs and metrics call it by."""

    status: int
    body: bytes = b"{}"
    word: str = ""
    reply_headers: tuple[tuple[str, str], ...] = ()
    """Further response headers, such as `REPEAT`."""


REPEAT = ("X-Bothost", "repeat")
"""The header of an answer that comes from the journal and not from a run."""


class Responder(Protocol):
    """Where an outcome goes; implementations: the web's receiver on a connection, and the harness's."""

    def respond(self, outcome: Outcome) -> bool:
        """Write the one response; false when no connection was open any more."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One HTTP request from Pyrus whose signature was right; its body is not decoded yet."""

    bot: Bot
    body: bytes
    signature_ok: int
    """Which of the bot's secrets signed it: 0 the present one, 1 the old one."""
    attempt: str
    """`X-Pyrus-Retry` as it came, "" where absent."""
    received: float
    """`clock.monotonic()` when the headers were complete; `answer_within` counts from here."""
    peer: str
    """Address of the sender, behind trusted proxies the one they tell; "unix" on a unix socket."""
    trace: str
    """`traceparent` as it came, "" where absent."""
    responder: Responder

    def respond(self, outcome: Outcome) -> bool:
        """Answer, once, on the loop; false when the sender has gone, and then the outcome is undelivered."""
        return self.responder.respond(outcome)
