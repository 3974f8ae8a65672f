"""Write log lines through a bounded queue and a thread of their own, so that a reader that stalls stops nobody.

Modules log by `logging.getLogger("bothost.…")` with `extra={"bot": …, "task": …}`. Each extra becomes a field of the line. The
extra `traceback` is a text that takes the place of an exception's traceback.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import weakref
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bothost.telemetry import printing
from bothost.telemetry.host_loggers import OwnLevelHandler, guard
from bothost.telemetry.log_output import LogOutput
from bothost.telemetry.traces import trace_text
from bothost.text import LONGEST_TEXT, SCRUBBED_BEYOND, cut, visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from bothost.clock import Clock
    from bothost.telemetry.redaction import Scrubber

QUEUE_LINES = 10_000
HOST = "bothost."
"""The beginning of the names of the host's own loggers."""
PRINTED = "bothost.printed"
"""The logger of lines that plugins print."""
_BATCH_S = 0.05
_STANDARD = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "traceback"])
_PLAIN = frozenset([int, float, bool, type(None)])
_QUOTED = re.compile(r"[\s\"=]")
DELIVERY = "bothost.delivery"
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "1;31"}
_JSON = msgspec.json.Encoder(enc_hook=str)


class LogLine(msgspec.Struct, frozen=True):
    """One log record, as the thread that made it took it down. It does not change any more, and holds no secret."""

    time: float
    level: str
    logger: str
    message: str
    fields: dict[str, Any]
    trace: str = ""

    def json(self, when: str) -> bytes:
        """Return one JSON object; `when` is its time as text."""
        line = {"time": when, "level": self.level, "logger": self.logger, "message": self.message, **self.fields}
        if self.trace:
            line["trace"] = self.trace
        return _JSON.encode(line)

    def pretty(self, *, colour: bool) -> bytes:
        """Return one line for a terminal, then the traceback with a bar before each line, so that none passes for a log line."""
        when = datetime.fromtimestamp(self.time).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = f"{self.level:<7}"
        bot = str(self.fields.get("bot") or "-")
        if colour:
            level, bot = f"\x1b[{_COLOURS.get(self.level, '0')}m{level}\x1b[0m", f"\x1b[1m{bot}\x1b[0m"
        rest = "".join(f"  {key}={_short(value)}" for key, value in self.fields.items() if key != "bot" and value != "")
        bars = "".join(f"\n    | {line}" for line in self.trace.splitlines())
        return f"{when} {level} {bot}  {self.message}{rest}{bars}".encode("utf-8", "backslashreplace")


class TimeTexts:
    """Writes times in UTC with milliseconds; the text of one second serves all its lines, because making it costs more than the rest
    of a line."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def of(self, time: float) -> str:
        """Return the text of a time in epoch seconds."""
        second = int(time)
        if second != self._second:
            self._second, self._text = second, datetime.fromtimestamp(second, UTC).isoformat()[:-6]
        return f"{self._text}.{int((time - second) * 1000):03d}Z"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    text = str(value)
    return text if not _QUOTED.search(text) else f'"{text}"'


class LogHandler(OwnLevelHandler):
    """The root logger's handler. It takes lines down, and a thread writes them. `setup` makes it."""

    def __init__(
        self, stream: TextIO, *, pretty: bool, scrubber: Scrubber, clock: Clock, whose: Callable[[], dict[str, Any]]
    ) -> None:
        super().__init__()
        self.dropped = 0
        """The number of dropped lines since the last report of them."""
        self._told_dropped = 0
        self._output = LogOutput(stream)
        self._pretty = pretty
        self._colour = pretty and stream.isatty()
        self._scrub = scrubber.scrub
        self._clock = clock
        self._whose = whose
        self._times = TimeTexts()
        self._lines: deque[LogLine] = deque()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._idle = threading.Condition()
        self._writing = False
        self._awake = False
        """True if the thread has been woken. It looks at the lines after it has set this to False."""
        self._closed = False
        self._direct = False
        """True in a fork. It has no thread, so each line is written at once."""
        self._undo: Callable[[], None] = guard(self)
        self._told_of_change = False
        _handlers.add(self)
        self._thread = threading.Thread(target=self._run, name="bothost-log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take the record down, without the handler's lock, because a deque needs none."""
        if len(self._lines) >= QUEUE_LINES:
            self.dropped += 1
            return False
        try:
            self._lines.append(self._line(record))
        except Exception as error:  # noqa: BLE001 - a plugin's argument whose __str__ raises must not end its handler
            told = f"a log line could not be shown: {type(error).__name__}"
            self._lines.append(LogLine(record.created, "error", record.name, told, {}))
        self._taken_down()
        return True

    def _taken_down(self) -> None:
        if self._direct:
            self._write()
        elif not self._awake:
            self._awake = True
            self._some.set()

    @property
    def dropped_in_all(self) -> int:
        """Return the number of lines that were dropped since `setup`."""
        return self._told_dropped + self.dropped

    def take(self, level: int, message: str, own: dict[str, Any], foreign: dict[str, str]) -> None:
        """Take down a line of the logger `bothost.delivery` without a LogRecord, which alone costs as much as the rest.

        `own` fields hold the host's own words and numbers, `foreign` ones texts from elsewhere."""
        if level < self._kept:  # each delivery comes here, and the property costs a call
            return
        if len(self._lines) >= QUEUE_LINES:
            self.dropped += 1
            return
        if foreign:
            own.update({key: self.shown(text) for key, text in foreign.items()})
        self._lines.append(LogLine(self._clock.epoch(), _LEVELS[level], DELIVERY, message, own))
        self._taken_down()

    def printed(self, line: str) -> None:
        """Take down a line that a plugin printed."""
        if len(self._lines) >= QUEUE_LINES:
            self.dropped += 1
            return
        self._lines.append(LogLine(self._clock.epoch(), "info", PRINTED, self.shown(line), self._whose()))
        self._taken_down()

    def shown(self, text: str, *, lines: bool = False) -> str:
        """Return a text that may be shown: it is cut, holds no secret, and its control characters are visible."""
        if len(text) > LONGEST_TEXT:
            length = len(text)
            # it is scrubbed beyond the cut, because else half of a secret could stay
            text = cut(self._scrub(text[: LONGEST_TEXT + SCRUBBED_BEYOND]), LONGEST_TEXT)
            text = f"{text.rpartition('…')[0]}… ({length} characters)"
        else:
            text = self._scrub(text)
        return visible(text, lines=lines)

    def show_from(self, level: str) -> None:
        """Write the lines of a level (`info`) and above from now on, the host's as well as those of libraries."""
        logging.getLogger().setLevel(level.upper())
        self.keep_level(logging.getLogger().level)

    def tell_of_change(self, bot: str) -> None:
        """Log once that a plugin has set up logging for the whole process."""
        root = logging.getLogger()
        if self._told_of_change or (self in root.handlers and not root.manager.disable):
            return
        self._told_of_change = True
        what = "logging is disabled" if root.manager.disable else "the root logger's handlers were replaced"
        logging.getLogger("bothost.logs").warning(
            "[bot:%s] its plugin has set up logging for the whole process (%s): the host's lines stand here as before, and "
            "what libraries log goes where the plugin sends it",
            bot, what, extra={"bot": bot},
        )  # fmt: skip

    def _line(self, record: logging.LogRecord) -> LogLine:
        extras = islice(vars(record).items(), len(_STANDARD) - 3, None)  # a record gets its own attributes first
        # the host's own lines name what they are about, whatever context they are written in
        fields = {} if record.name.startswith(HOST) else self._whose()
        fields.update({key: self._field(value) for key, value in extras if key not in _STANDARD})
        trace = record.exc_text or str(getattr(record, "traceback", ""))
        if not trace and record.exc_info and record.exc_info[1] is not None:
            trace = trace_text(record.exc_info[1])
        return LogLine(
            record.created,
            _LEVELS.get(record.levelno) or record.levelname.lower(),
            record.name,
            self.shown(record.getMessage()),
            fields,
            self.shown(trace, lines=True).rstrip() if trace else "",
        )

    def _field(self, value: object) -> object:
        if type(value) in _PLAIN:
            return value
        return self.shown(value if type(value) is str else str(value))

    def flush(self) -> None:
        """Write the waiting lines, as `drain` does."""
        self.drain()

    def drain(self, seconds: float = 2.0) -> bool:
        """Wait until everything taken down so far is written. Return False if the reader stalls for longer."""
        self._some.set()
        self._stopping.set()
        with self._idle:
            done = self._idle.wait_for(lambda: not self._lines and not self._writing, seconds)
        self._stopping.clear()
        return done

    def close(self) -> None:
        """Write the waiting lines. The handler goes on, because `dictConfig` and `basicConfig` of a plugin close every handler."""
        self.drain()

    def end(self) -> None:
        """Write the waiting lines, end the thread, and log no more."""
        logging.getLogger().removeHandler(self)
        self._undo()
        if not self._closed:
            self._closed = True
            self.drain()
            self._output.close()
        super().close()

    def go_on_in_fork(self) -> None:
        """Write each line at once from now on, because a fork has no thread that would do so."""
        self._direct = True
        self._lines.clear()
        self._some, self._stopping, self._idle = threading.Event(), threading.Event(), threading.Condition()
        self._writing = self._awake = False

    def _run(self) -> None:
        while not self._closed or self._lines:
            self._some.wait()
            self._clock.wait(
                self._stopping, _BATCH_S
            )  # one write for all lines of a moment, one wake-up for the thread
            self._some.clear()
            self._writing = True
            self._awake = False
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
                self._output.put(b"".join(self._text(line) for line in batch))
            except Exception:  # noqa: BLE001 - around the thread that writes for all: the reader has gone, or a line is odd
                self.dropped += len(batch)

    def _text(self, line: LogLine) -> bytes:
        if self._pretty:
            return line.pretty(colour=self._colour) + b"\n"
        return line.json(self._times.of(line.time)) + b"\n"


_handlers: weakref.WeakSet[LogHandler] = weakref.WeakSet()


def _go_on_in_fork() -> None:
    for handler in _handlers:
        handler.go_on_in_fork()


# a hook cannot be removed, and costs nothing if nothing is set up
os.register_at_fork(after_in_child=_go_on_in_fork)


def take_printed(logs: LogHandler) -> None:
    """Have sys.stdout and sys.stderr log what plugins print."""
    for name in ("stdout", "stderr"):
        real = getattr(sys, name)
        if real is not None:
            setattr(sys, name, printing.PrintedLines(real, logs.printed, logs.shown))


def setup(
    mode: Literal["auto", "pretty", "json"],
    stream: TextIO,
    scrubber: Scrubber,
    clock: Clock,
    level: str = "info",
    whose: Callable[[], dict[str, Any]] = dict,
) -> LogHandler:
    """Send everything that this process logs to the stream, until the result is ended.

    `whose` gives the fields that say whose code runs: its bot, task and event. They go onto what libraries log and plugins print.
    """
    pretty = mode == "pretty" or (mode == "auto" and stream.isatty())
    logs = LogHandler(stream, pretty=pretty, scrubber=scrubber, clock=clock, whose=whose)
    logging.getLogger().addHandler(logs)
    logs.show_from(level)
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    return logs
