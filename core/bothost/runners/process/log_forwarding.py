"""Forward the log records of a child process as marked lines on its stderr, so that they survive any death.

Text that a child prints goes the same way as plain lines, and the order of both is kept.
"""

from __future__ import annotations

import json
import logging
import sys

from bothost.plugins.attribution import ids_of_run
from bothost.telemetry.host_loggers import OwnLevelHandler, guard
from bothost.telemetry.traces import trace_text
from bothost.text import cut

MARK = "\x1e"
"""The mark before each record, as in RFC 7464. No text that a plugin prints begins so by chance."""
LONGEST = 1 << 13
"""The longest text in a record, so that the host takes its line as one."""
_PRINTED = logging.getLogger("bothost.child")
_STANDARD = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime"])


class ForwardingHandler(OwnLevelHandler):
    """Writes each record as one line to stderr, in one write."""

    def forward_from(self, level: int) -> None:
        """Tell the host of records of this level and above from now on."""
        self.keep_level(level)
        logging.getLogger().setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            message = cut(record.getMessage(), LONGEST)
        except Exception as error:  # noqa: BLE001 - a plugin's argument whose __str__ raises must not end its handler
            message = f"a log line could not be shown: {type(error).__name__}"
        fields = {**ids_of_run(), **{key: value for key, value in vars(record).items() if key not in _STANDARD}}
        trace = trace_text(record.exc_info[1]) if record.exc_info and record.exc_info[1] is not None else ""
        told = [record.levelno, record.name, message, trace, fields]
        sys.stderr.write(f"{MARK}{json.dumps(told, default=_shown)}\n")
        sys.stderr.flush()


def forward() -> ForwardingHandler:
    """Let every record of this process go to the host. Return the handler, whose level can be set."""
    handler = ForwardingHandler()
    handler.forward_from(logging.INFO)
    logging.getLogger().addHandler(handler)
    guard(handler)
    return handler


def relay(bot: str, line: str) -> None:
    """Log in the host what a child wrote: a record by its level and logger, anything else as a line that it printed."""
    if not line.startswith(MARK):
        _PRINTED.info("%s", line, extra={"bot": bot})
        return
    try:
        level, name, message, trace, fields = json.loads(line[len(MARK) :])
        logger = logging.getLogger(name)
        record = logger.makeRecord(name, level, "", 0, message, (), None, extra={**fields, "bot": bot})
    except (ValueError, TypeError, KeyError):  # cut off by a death in the middle, or made up by a plugin
        _PRINTED.info("%s", line[len(MARK) :], extra={"bot": bot})
        return
    record.exc_text = trace or None
    if logger.isEnabledFor(level):
        logger.handle(record)


def _shown(value: object) -> str:
    try:
        return cut(str(value), LONGEST)
    except Exception as error:  # noqa: BLE001 - a plugin's own __str__
        return f"<{type(error).__name__}>"
