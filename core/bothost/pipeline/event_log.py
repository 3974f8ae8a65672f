"""The fields that every log line about an event has, and the line that says who had an event retried."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bothost.journal.history import asked_by

if TYPE_CHECKING:
    from bothost.journal.entry import Entry

log = logging.getLogger("bothost.retry")


def fields_of(entry: Entry, **more: object) -> dict[str, object]:
    """Return bot, task and id of an event as the fields of a log line, with `more` behind them."""
    return {"bot": entry.bot, "task": entry.task, "event": entry.id, **more}


def say_who(entry: Entry) -> None:
    """Log who had a claimed event retried. The command line, the page and bulk retries all pass here."""
    if who := asked_by(entry):
        what = "posted again" if entry.answer is not None else "run again"
        log.info("%s by hand, asked by %s", what, who, extra=fields_of(entry))
