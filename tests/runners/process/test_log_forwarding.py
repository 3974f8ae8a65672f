"""What a child writes becomes log lines of the host, whatever it is."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from bothost.runners.process.log_forwarding import MARK, relay

CHILD = """
import logging
from bothost.runners.process.log_forwarding import forward
forward()
class Odd:
    def __str__(self): raise RuntimeError("no")
log = logging.getLogger("somewhere")
log.info("plain %d", 5, extra={"task": 7, "odd": Odd()})
log.info("%s", Odd())
print("not a record")
log.debug("not this one")
"""


def test_records_come_over_with_fields_and_odd_values_hurt_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    for line in filter(None, (done.stderr + done.stdout).split("\n")):
        relay("one", line)
    plain, unshown, printed = caplog.records
    assert (plain.name, plain.getMessage(), plain.task, plain.odd, plain.bot) == (
        "somewhere",
        "plain 5",
        7,
        "<RuntimeError>",
        "one",
    )
    assert "RuntimeError" in unshown.getMessage()
    assert (printed.name, printed.getMessage(), printed.bot) == ("bothost.child", "not a record", "one")


@pytest.mark.parametrize(
    "line", ['[20, "x", "cut o', "[]", '[20, "x", "m", "", {"message": 1}]', "5", '["a", 1, 2, 3, 4]']
)
def test_a_record_that_was_cut_off_or_made_up_is_a_printed_line(line: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    relay("one", MARK + line)
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("bothost.child", line)
