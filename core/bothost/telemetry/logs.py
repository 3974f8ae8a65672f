"""Log lines leave through a bounded queue and a thread of their own: a reader that stalls stops nobody.

Modules log by `logging.getLogger("bothost.…")` with `extra={"bot": …, "task": …}`; each extra becomes a field of the line, and
`traceback`, one as text, stands where that of an exception would.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bothost.text import visible

if TYPE_CHECKING:
    from typing import TextIO

    from bothost.clock import Clock
    from bothost.telemetry.redaction import Scrubber

QUEUE_LINES = 10_000
_BATCH_S = 0.05
_STANDARD = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "traceback"])
_PLAIN = frozenset([int, float, bool, type(None)])
_OWN = frozenset(["bot", "outcome"])
"""Fields of a delivery's line whose texts are the host's own."""
_QUOTED = re.compile(r"[\s\"=]")
DELIVERY = "bothost.delivery"
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "1;31"}
_JSON = msgspec.json.Encoder(enc_hook=str)


class LogLine(msgspec.Struct, frozen=True):
    """One log record, taken down in the thread that made it: nothing in it changes any more, no secret is left in it."""

    time: float
    level: str
    logger: str
    message: str
    fields: dict[str, Any]
    trace: str = ""

    def json(self) -> bytes:
        """One JSON object."""
        when = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds")
        line = {"time": f"{when[:-6]}Z", "level": self.level, "logger": self.logger, "message": self.message}
        line.update(self.fields)
        if self.trace:
            line["trace"] = self.trace
        return _JSON.encode(line)

    def pretty(self, *, colour: bool) -> bytes:
        """One line for a terminal, then the traceback, each of its lines behind a bar so that none passes for a log line."""
        when = datetime.fromtimestamp(self.time).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = f"{self.level:<7}"
        bot = str(self.fields.get("bot") or "-")
        if colour:
            level, bot = f"\x1b[{_COLOURS.get(self.level, '0')}m{level}\x1b[0m", f"\x1b[1m{bot}\x1b[0m"
        rest = "".join(f"  {key}={_short(value)}" for key, value in self.fields.items() if key != "bot" and value != "")
        bars = "".join(f"\n    | {line}" for line in self.trace.splitlines())
        return f"{when} {level} {bot}  {self.message}{rest}{bars}".encode("utf-8", "backslashreplace")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    text = str(value)
    return text if not _QUOTED.search(text) else f'"{text}"'


class LogHandler(logging.Handler):
    """The root logger's handler: takes lines down, and a thread writes them. Made by `setup`."""

    def __init__(self, stream: TextIO, *, pretty: bool, scrubber: Scrubber, clock: Clock) -> None:
        super().__init__()
        self.dropped = 0
        """Since it was last told."""
        self._told_dropped = 0
        self._stream = stream
        self._pretty = pretty
        self._colour = pretty and stream.isatty()
        self._scrub = scrubber.scrub
        self._clock = clock
        self._lines: deque[LogLine] = deque()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._idle = threading.Condition()
        self._writing = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="bothost-log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take the record down; without the handler's lock, for a deque needs none."""
        if len(self._lines) >= QUEUE_LINES:
            self.dropped += 1
            return False
        try:
            self._lines.append(self._line(record))
        except Exception as error:  # noqa: BLE001 - a plugin's argument whose __str__ raises must not end its handler
            told = f"a log line could not be shown: {type(error).__name__}"
            self._lines.append(LogLine(record.created, "error", record.name, told, {}))
        if not self._some.is_set():
            self._some.set()
        return True

    @property
    def dropped_in_all(self) -> int:
        """Lines that were dropped since `setup`."""
        return self._told_dropped + self.dropped

    def take(self, level: int, message: str, fields: dict[str, Any]) -> None:
        """Take down a line of the logger `bothost.delivery` without a LogRecord, which alone costs as much as the rest."""
        if len(self._lines) >= QUEUE_LINES:
            self.dropped += 1
            return
        clean = {
            key: value if key in _OWN or type(value) in _PLAIN else self._field(value) for key, value in fields.items()
        }
        self._lines.append(LogLine(self._clock.epoch(), _LEVELS[level], DELIVERY, message, clean))
        if not self._some.is_set():
            self._some.set()

    def _line(self, record: logging.LogRecord) -> LogLine:
        extras = islice(vars(record).items(), len(_STANDARD) - 3, None)  # a record gets its own attributes first
        fields = {key: self._field(value) for key, value in extras if key not in _STANDARD}
        trace = record.exc_text or str(getattr(record, "traceback", ""))
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
        return LogLine(
            record.created,
            _LEVELS.get(record.levelno) or record.levelname.lower(),
            record.name,
            visible(self._scrub(record.getMessage())),
            fields,
            visible(self._scrub(trace), lines=True).rstrip() if trace else "",
        )

    def _field(self, value: object) -> object:
        if type(value) in _PLAIN:
            return value
        return visible(self._scrub(value if type(value) is str else str(value)))

    def flush(self) -> None:
        """As the base class has it; `drain` says how it went."""
        self.drain()

    def drain(self, seconds: float = 2.0) -> bool:
        """Wait until everything taken down so far is written; false where the reader stalls for longer."""
        self._some.set()
        self._stopping.set()
        with self._idle:
            done = self._idle.wait_for(lambda: not self._lines and not self._writing, seconds)
        self._stopping.clear()
        return done

    def close(self) -> None:
        """Write what waits, end the thread, and log no more."""
        logging.getLogger().removeHandler(self)
        if not self._closed:
            self._closed = True
            self.drain()
        super().close()

    def _run(self) -> None:
        while not self._closed or self._lines:
            self._some.wait()
            self._clock.wait(
                self._stopping, _BATCH_S
            )  # one write for all lines of a moment, one wake-up for the thread
            self._some.clear()
            self._writing = True
            self._write()
            with self._idle:
                self._writing = False
                self._idle.notify_all()

    def _write(self) -> None:
        while self._lines:
            batch = [self._lines.popleft() for _ in range(min(len(self._lines), 500))]
            dropped, self.dropped = self.dropped, 0
            self._told_dropped += dropped
            if dropped:
                told = f"{dropped} log lines were dropped: they came faster than they were read"
                batch.append(
                    LogLine(self._clock.now().timestamp(), "warning", "bothost.logs", told, {"dropped": dropped})
                )
            try:
                self._put(b"".join(self._text(line) for line in batch))
            except Exception:  # noqa: BLE001 - around the thread that writes for all: the reader has gone, or a line is odd
                self.dropped += len(batch)

    def _text(self, line: LogLine) -> bytes:
        return (line.pretty(colour=self._colour) if self._pretty else line.json()) + b"\n"

    def _put(self, text: bytes) -> None:
        buffer = getattr(self._stream, "buffer", None)
        if buffer is None:
            self._stream.write(text.decode())
        else:
            buffer.write(text)
        self._stream.flush()


def setup(mode: Literal["auto", "pretty", "json"], stream: TextIO, scrubber: Scrubber, clock: Clock) -> LogHandler:
    """Send everything that this process logs to the stream, until the result is closed."""
    pretty = mode == "pretty" or (mode == "auto" and stream.isatty())
    logs = LogHandler(stream, pretty=pretty, scrubber=scrubber, clock=clock)
    root = logging.getLogger()
    root.addHandler(logs)
    root.setLevel(logging.INFO)
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    return logs
