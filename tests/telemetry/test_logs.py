"""Lines leave by a queue and a thread, scrubbed, on one line each, and a stalled reader stops nobody."""

import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bothost.clock import SystemClock
from bothost.telemetry import logs
from bothost.telemetry.redaction import Scrubber

KEY = "VtBOEesdOnIcqGaWQeFkWFqyzgdt2PGs"
LOG = logging.getLogger("bothost.test")


class Sink:
    """A log that is read back."""

    def __init__(self, mode: str) -> None:
        self.stream = io.StringIO()
        self.scrubber = Scrubber()
        self.logs = logs.setup(mode, self.stream, self.scrubber, SystemClock())  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        assert self.logs.drain()
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def sink(request: pytest.FixtureRequest) -> Iterator[Sink]:
    made = Sink(getattr(request, "param", "json"))
    yield made
    made.logs.end()


pretty = pytest.mark.parametrize("sink", ["pretty"], indirect=True)


def test_times_are_written_in_utc_with_milliseconds_in_any_order() -> None:
    times = logs.TimeTexts()
    texts = [times.of(at) for at in (1767225599.9996, 1767225600.0, 1767225600.25, 1767225599.5)]
    assert texts == [
        "2025-12-31T23:59:59.999Z", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.250Z", "2025-12-31T23:59:59.500Z",
    ]  # fmt: skip


def test_a_line_is_one_json_object_with_its_extras_as_fields(sink: Sink) -> None:
    LOG.info("delivery %s", "done", extra={"bot": "refunds", "task": 5, "ms": 3.5, "trace": None})
    (line,) = sink.lines
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "bothost.test",
        "message": "delivery done",
        "bot": "refunds",
        "task": 5,
        "ms": 3.5,
        "trace": None,
    }


@pretty
def test_a_pretty_line_names_the_bot_first(sink: Sink) -> None:
    LOG.warning(
        "delivery", extra={"bot": "refunds", "outcome": "replied", "status": 200, "ms": 3.456, "note": "two words"}
    )
    assert sink.text.rstrip().endswith(
        'warning refunds  delivery  outcome=replied  status=200  ms=3.5  note="two words"'
    )


def test_auto_is_json_where_nobody_sits_before_it() -> None:
    made = Sink("auto")
    LOG.info("x")
    assert made.lines[0]["message"] == "x"
    made.logs.end()


def test_a_delivery_is_taken_down_without_a_record(sink: Sink) -> None:
    sink.scrubber.add(KEY)
    sink.logs.take(logging.INFO, "delivery", {"bot": "refunds", "status": 200}, {"why": f"1/3\n{KEY}"})
    (line,) = sink.lines
    assert (line["logger"], line["message"], line["bot"], line["status"]) == (
        "bothost.delivery",
        "delivery",
        "refunds",
        200,
    )
    assert line["why"] == "1/3\\n•••"


@pytest.mark.parametrize("sink", ["json", "pretty"], indirect=True)
def test_no_secret_is_in_message_extras_or_traceback(sink: Sink) -> None:
    sink.scrubber.add(KEY)
    try:
        raise RuntimeError(f"refused {KEY}")
    except RuntimeError:
        LOG.exception("key %s", KEY, extra={"note": KEY, "other": {"a": KEY}})
    sink.scrubber.forget(KEY)
    assert KEY not in sink.text
    assert "RuntimeError: refused •••" in sink.text


def test_a_traceback_that_comes_as_text_is_one_field_of_its_own(sink: Sink) -> None:
    LOG.error("answer raised", extra={"bot": "refunds", "traceback": "Traceback:\n  x\nKeyError: \x1b"})
    (line,) = sink.lines
    assert (line["message"], line["trace"]) == ("answer raised", "Traceback:\n  x\nKeyError: \\x1b")
    assert "traceback" not in line


@pretty
def test_a_traceback_that_comes_as_text_stands_behind_bars_on_a_terminal(sink: Sink) -> None:
    LOG.error("answer raised", extra={"bot": "refunds", "traceback": "Traceback:\n  x"})
    assert sink.text.endswith("refunds  answer raised\n    | Traceback:\n    |   x\n")


@pytest.mark.parametrize("sink", ["json", "pretty"], indirect=True)
def test_text_from_outside_can_neither_colour_nor_forge_a_line(sink: Sink) -> None:
    try:
        raise RuntimeError("x\n12:00:00.000 info    refunds  forged\x1b[2J")
    except RuntimeError:
        LOG.exception("a\nb\r\x1b[31m\u202e", extra={"peer": "\x1b]0;t\x07\n"})
    text = sink.text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len([line for line in text.splitlines() if not line.startswith("    | ")]) == 1


def test_an_argument_that_cannot_be_shown_does_not_reach_the_caller(sink: Sink) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no")

    sink.logs.handle(logging.makeLogRecord({"msg": "%s", "args": (Odd(),), "name": "bothost.bot.refunds"}))
    assert [(line["logger"], line["message"]) for line in sink.lines] == [
        ("bothost.bot.refunds", "a log line could not be shown: ValueError")
    ]


def test_a_stalled_reader_stops_nobody_and_what_was_dropped_is_told() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        handler = logs.setup("json", stream, Scrubber(), SystemClock())
        try:
            for number in range(logs.QUEUE_LINES + 5_000):
                LOG.info("line %d %s", number, "x" * 50)
            assert handler.dropped > 0
            assert not handler.drain(0.05)
            total = handler.dropped
            text = b""
            while b"dropped" not in text or not text.endswith(b"\n"):
                text += os.read(reading, 1 << 16)
            (told,) = [line for line in map(json.loads, text.splitlines()) if "dropped" in line]
            assert told["dropped"] == total
        finally:
            os.close(reading)
            handler.end()


@pytest.mark.parametrize("blocking", [False, True])
def test_a_full_pipe_takes_every_line_whole_also_where_somebody_made_it_non_blocking(blocking: bool) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as stream:
        made = logs.setup("json", stream, Scrubber(), SystemClock())
        for number in range(3000):
            LOG.info("%d %s", number, "x" * 300)
        assert not made.drain(0.2), "1 MB does not fit into a pipe that nobody reads"
        found = [json.loads(reader.readline()) for _ in range(3000)]
        assert [int(line["message"].split()[0]) for line in found] == list(range(3000))
        assert made.dropped_in_all == 0
        made.end()


class Raising(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise ValueError(record.name)


@pytest.mark.parametrize("odd", [Raising(), 5])
def test_a_handler_of_a_plugin_that_fails_fails_nobody_and_is_told_once(sink: Sink, odd: Any) -> None:
    logger = logging.getLogger("bothost.server")
    logger.handlers.append(odd)
    try:
        logger.info("one")
        logger.info("two")
    finally:
        logger.handlers.remove(odd)
    said = [line["message"] for line in sink.lines]
    assert [line for line in said if "a plugin has added fails" not in line] == ["one", "two"]
    assert len(said) == 3


def test_a_plugin_that_sets_the_level_of_every_handler_silences_nothing(sink: Sink) -> None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logs.LogHandler):
            handler.setLevel(logging.CRITICAL)
            handler.level = logging.CRITICAL
    LOG.info("still here")
    assert [line["message"] for line in sink.lines] == ["still here"]


def test_a_stream_that_a_plugin_has_closed_still_gets_the_log(tmp_path: Path) -> None:
    """Python leaves the file of a standard stream open then."""
    with (tmp_path / "log").open("wb") as file:
        stream = open(file.fileno(), "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it is closed as sys.__stderr__ is
        made = logs.setup("json", stream, Scrubber(), SystemClock())
        stream.close()
        LOG.info("after")
        assert made.drain()
        made.end()
    assert "after" in (tmp_path / "log").read_text()


def is_file(number: int, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(number), file)
    except OSError:
        return False


@pytest.mark.parametrize("closed", ["the stream's number", "every number"])
def test_a_file_that_got_the_number_of_a_closed_stream_gets_no_line(closed: str) -> None:
    """As where a plugin closes the standard streams: the next connection gets their numbers."""
    reading, writing = os.pipe()
    with open(reading, "rb") as reader:
        made = logs.setup("json", os.fdopen(writing, "w", closefd=False), Scrubber(), SystemClock())
        LOG.info("before")
        assert made.drain()
        pipe = os.fstat(writing)
        numbers = [number for number in range(writing + 1, writing + 50) if is_file(number, pipe)]
        os.close(writing)
        for number in numbers if closed == "every number" else ():
            os.close(number)
        client, other = os.pipe(), os.pipe()
        assert writing in (*client, *other)
        LOG.info("after")
        assert made.drain()
        for end in (client[0], other[0]):
            os.set_blocking(end, False)
            with pytest.raises(BlockingIOError):
                os.read(end, 1)
        made.end()
        for end in (*client, *other):
            os.close(end)
        said = [json.loads(line)["message"] for line in reader]
        assert said == (["before", "after"] if closed == "the stream's number" else ["before"])
        assert made.dropped_in_all == (closed == "every number")


@pytest.mark.parametrize("mode", ["json", "pretty"])
def test_a_terminal_that_is_not_utf_8_gets_every_line(mode: Any) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w", encoding="latin-1") as stream:
        made = logs.setup(mode, stream, Scrubber(), SystemClock())
        LOG.info("согласовано \udcff")
        LOG.info("the next one")
        assert made.drain()
        assert made.dropped_in_all == 0
        assert b"\n" in reader.readline()
        assert b"the next one" in reader.readline()
        made.end()


def test_what_a_plugin_left_in_the_stream_costs_no_line_where_the_pipe_is_full() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as stream:
        made = logs.setup("json", stream, Scrubber(), SystemClock())
        filling = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filling += os.write(writing, b"x" * 4096)
        stream.write("half a line of a plugin, ")
        LOG.info("after it")
        assert not made.drain(0.2)
        assert len(reader.read(filling)) == filling
        found = reader.readline()
        assert found.startswith(b"half a line of a plugin, {")
        assert b"after it" in found
        made.end()
        assert made.dropped_in_all == 0


class Heard(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.mark.parametrize("name", ["bothost", "bothost.test", "bothost.bot.added-later", "bothost.bot.added.later"])
def test_a_handler_of_the_hosts_logger_hears_every_logger_below_it_once(sink: Sink, name: str) -> None:
    heard = Heard()
    logging.getLogger("bothost").addHandler(heard)
    try:
        logging.getLogger(name).info("too quiet")
        logging.getLogger(name).warning("heard")
        logging.getLogger("tornado.general").warning("of another house")
    finally:
        logging.getLogger("bothost").removeHandler(heard)
    assert heard.lines == ["heard"]
    assert [line["message"] for line in sink.lines] == ["too quiet", "heard", "of another house"]


def test_a_reader_that_has_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        handler = logs.setup("json", stream, Scrubber(), SystemClock())
        LOG.info("one")
        assert handler.drain()
        assert handler.dropped_in_all == 1
        handler.end()


def test_after_the_end_nothing_is_taken_down() -> None:
    made = Sink("json")
    LOG.info("before")
    made.logs.end()
    LOG.info("after")
    assert "before" in made.stream.getvalue()
    assert "after" not in made.stream.getvalue()


def test_the_level_of_plain_python_loggers_reaches_the_line(sink: Sink) -> None:
    logging.getLogger("some.package").error("broken")
    logging.getLogger("some.package").debug("unseen")
    assert [(line["level"], line["logger"]) for line in sink.lines] == [("error", "some.package")]
    assert sys.stderr is not sink.stream
