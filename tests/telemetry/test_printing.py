"""What plugins print becomes lines, at a cost that has a bound."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothost.clock import SystemClock
from bothost.telemetry.logs import LogHandler
from bothost.telemetry.printing import LONGEST_LINE, LineSplitter, PrintedLines
from bothost.telemetry.redaction import Scrubber

TOKEN = "a-token-that-nobody-may-see-0123456789"


@given(st.lists(st.text(st.sampled_from("ab\n"), max_size=12)))
def test_lines_are_those_of_the_whole_text_however_it_came(pieces: list[str]) -> None:
    lines: list[str] = []
    splitter = LineSplitter(lines.append, longest=1000)
    for piece in pieces:
        splitter.feed(piece)
    splitter.end()
    assert lines == [line for line in "".join(pieces).split("\n") if line]


@pytest.mark.parametrize("pieces", [1, 10, 4000])
def test_of_a_line_without_an_end_the_beginning_is_told_and_how_much_was_left_out(pieces: int) -> None:
    lines: list[str] = []
    splitter = LineSplitter(lines.append)
    for _ in range(pieces):
        splitter.feed("x" * (400_000 // pieces))
    assert lines == ["x" * LONGEST_LINE]
    splitter.feed("\nnext\n")
    assert lines[1:] == [f"… {400_000 - LONGEST_LINE} more characters of this line were left out", "next"]


@pytest.mark.parametrize("printed", ["x" * 8_000_000, "hello wo " * 900_000, ("y" * 70_000 + " ") * 100])
def test_megabytes_that_are_printed_cost_the_loop_milliseconds(
    printed: str, capsys: pytest.CaptureFixture[str]
) -> None:

    scrubber = Scrubber()
    scrubber.add(TOKEN)
    logs = LogHandler(sys.stderr, pretty=False, scrubber=scrubber, clock=SystemClock(), whose=dict)
    stream = PrintedLines(sys.stdout, logs.printed, logs.shown)
    try:
        began = time.thread_time()
        stream.write(printed)
        stream.write(f" and {TOKEN}\n")
        took = time.thread_time() - began
    finally:
        logs.end()
    assert took < 0.25
    said = capsys.readouterr().err
    assert TOKEN not in said
    assert "more characters of this line were left out" in said
    assert len(said) < 2 * LONGEST_LINE
