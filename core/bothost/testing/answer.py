"""The answer to one delivery as a test reads it: the response, and the outcome of the event's runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bothost.pyrus.reply.reply import OFFICIAL, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bothost.runners import RunFailure
    from bothost.testing.memory_http import WrittenResponse


class Answer:
    """The response to one delivery. `error` and `log` also show what happened after it, because a late run ends later."""

    def __init__(
        self, written: WrittenResponse, failure: Callable[[], RunFailure | None], log: Callable[[], str]
    ) -> None:
        self._written = written
        self._failure = failure
        self._log = log

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return self._written.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the response's headers."""
        return self._written.headers

    @property
    def body(self) -> bytes:
        """Return the response's bytes; `b"{}"` says nothing."""
        return self._written.body

    @property
    def json(self) -> Any:
        """Return the response's body, decoded."""
        return json.loads(self.body)

    @property
    def outcome(self) -> str:
        """Return the one word that logs and metrics have for it: replied, silent, late, repeat, refused-signature …"""
        return self._written.word

    @property
    def reply(self) -> Reply | None:
        """Return the comment that the response carries, or None if it carries none.

        If there is none because the handler raised, raise AssertionError from the handler's own exception.
        """
        said = self.json
        if said:
            return Reply(**{key: value for key, value in said.items() if key in OFFICIAL})
        error = self.error
        if error is not None:
            raise AssertionError(f"there is no reply because the handler failed: {error!r}") from error
        return None

    @property
    def error(self) -> BaseException | None:
        """Return the exception of the event's newest run, or the reason why the host counts that run as failed; else None."""
        failure = self._failure()
        if failure is None:
            return None
        return failure.error or AssertionError(f"{failure.text}\n{failure.trace}".rstrip())

    @property
    def log(self) -> str:
        """Return the log lines from the delivery until now, of its bot and of the host."""
        return self._log()

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.outcome} {self.body[:200]!r}>"
