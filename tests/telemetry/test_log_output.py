"""The file of the log is written at its end, wherever others have moved that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bothost.telemetry.log_output import LogOutput

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_is_cut_by_copytruncate_goes_on_without_a_hole(tmp_path: Path) -> None:
    """The shell's `2> log` opens a file that is written where its reader or writer stands."""
    place = tmp_path / "log"
    with place.open("w") as stream:
        output = LogOutput(stream)
        output.put(b"before\n")
        os.truncate(place, 0)
        output.put(b"after\n")
        stream.write("printed\n")
        stream.flush()
        output.close()
    assert place.read_bytes() == b"after\nprinted\n"


def test_a_pipe_is_written_as_before() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        output = LogOutput(stream)
        output.put(b"line\n")
        output.close()
    assert os.read(reader, 100) == b"line\n"
    os.close(reader)
