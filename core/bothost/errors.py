"""Define every exception of bothost in one tree. Each text speaks to the person who can fix it.

::

    BothostError
    ├── ConfigError            bots.ini or a setting is wrong           → operator
    ├── PluginError            a plugin cannot be found, loaded, opened → operator, author
    ├── DeliveryRefused        a delivery is not taken                  → sender; carries the status
    │   └── BodyRefused        400
    ├── ReplyError             what a handler returned is unusable      → author
    ├── GiveUp                 raised by a handler: no further attempts → author
    ├── FieldError             a form's field                           → author
    │   ├── MissingField       (also a KeyError)
    │   └── AmbiguousField     (also a LookupError)
    ├── CallError              a call to the Pyrus API                  → author
    │   ├── RateLimited        429, or would wait beyond the deadline
    │   ├── Unauthorized       401, also after a new login
    │   ├── NoLogin            no token and no login to get one with
    │   ├── CallRefused        400, 403, 404, 410, conflict: asking again will not help
    │   ├── CallUnclear        5xx, time-out, lost connection: it may have been applied
    │   └── CallUnsent         refused connection, TLS failure: surely not applied
    ├── JournalError           the journal                              → operator
    │   └── JournalAway        cannot be reached or written now
    │       └── TurnTaken      another host's event has the turn
    ├── HookError              what a hook returned is unusable         → author
    ├── RequestRefused         a request that a hook cannot take        → caller; carries the status
    ├── StoreError             a value, key or job that cannot be kept → author
    └── UsageError             a wrong command line                     → operator; exit code 2
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class BothostError(Exception):
    """The base of everything that bothost raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in bots.ini: its file and line, the fault, and what would be right."""

    text: str
    file: str = ""
    line: int = 0
    section: str = ""
    key: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        where = f"[{self.section}] " if self.section else ""
        key = f"{self.key}: " if self.key else ""
        # the text quotes names and paths from the file, so invisible characters are written as their codes
        return _UNSEEN.sub(lambda one: f"\\u{ord(one[0]):04x}", f"{place}{where}{key}{self.text}")


class ConfigError(BothostError):
    """A configuration is wrong. Carries every problem at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class PluginError(BothostError):
    """A plugin is missing, of the wrong shape, or failed to import or open; the text names it."""

    place = ""
    """The line of the plugin's own code, `file:line`, with which the text ends."""


class DeliveryRefused(BothostError):
    """A delivery is not taken. `status` is the HTTP status that the sender gets."""

    status = 400


class BodyRefused(DeliveryRefused):
    """A verified body is no event: it is not a JSON object, or it has no task id."""

    status = 400


class ReplyError(BothostError):
    """A handler returned something that cannot become a comment."""


class GiveUp(BothostError):
    """Raised by a handler: this event has failed and further attempts would not help."""


class FieldError(BothostError):
    """A form's field that cannot be read or written as asked."""


class MissingField(FieldError, KeyError):
    """The task has no such field; the text lists near names."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class AmbiguousField(FieldError, LookupError):
    """Several fields match; the text names them."""


class CallError(BothostError):
    """A call to the Pyrus API that did not succeed; `status` 0 if no response came."""

    def __init__(self, text: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class RateLimited(CallError):
    """Too many requests; `retry_after_s` seconds until the next may go."""

    def __init__(self, text: str, *, retry_after_s: float, status: int = 429, code: str = "") -> None:
        super().__init__(text, status=status, code=code)
        self.retry_after_s = retry_after_s


class Unauthorized(CallError):
    """The token was refused, also after a new login."""


class NoLogin(CallError):
    """There is no token, and no login to get one with."""


class CallRefused(CallError):
    """Pyrus refused for good: the same call will be refused again."""


class CallUnclear(CallError):
    """Pyrus may or may not have applied the call. Look before you ask again."""


class CallUnsent(CallError):
    """The request did not reach Pyrus; asking again is safe."""


class JournalError(BothostError):
    """The journal cannot do what was asked."""


class JournalAway(JournalError):
    """The journal cannot be reached or written at present; it is tried again."""


class TurnTaken(JournalAway):
    """Another host's event has just taken the turn that this write wanted."""


class HookError(BothostError):
    """A hook returned something that cannot become a response."""


class RequestRefused(BothostError):
    """A request that a hook cannot take: its body is not what it must be."""

    status = 400


class StoreError(BothostError):
    """A value, a key or a job that the journal cannot keep: the text says why, and what would be right."""


class UsageError(BothostError):
    """A command line that cannot be understood."""
