"""The three bodies that are delivered, each time as a new event."""

from __future__ import annotations

import json
import re
import time
from itertools import count
from pathlib import Path

DATA = Path(__file__).parent.parent / "tests" / "data" / "deliveries"
FIXTURES = {
    "1.5 kB": "16_seed_sample_corrected",
    "22 kB": "02_form_all_field_types",
    "190 kB": "15_big_task_300_comments",
}
"""The sizes are those of the files; sent without blanks, as Pyrus sends them, they are somewhat smaller."""
SMALL = "1.5 kB"

WIDE = 10**15
"""New ids are microseconds since 1970, which have sixteen digits."""


def compact(size: str, folder: Path) -> Path:
    """Write a file with the body as Pyrus sends it: without the blanks of the fixture, and with numbers as people's `external_id`,
    because one peer answers 500 to any other."""
    file = folder / f"{FIXTURES[size]}.json"
    decoded = json.loads((DATA / f"{FIXTURES[size]}.json").read_bytes())
    for comment in decoded["task"].get("comments", []):
        comment["id"] += WIDE  # as many digits as the newest one's, as Pyrus's ids have at any time
    _number(decoded)
    file.write_bytes(json.dumps(decoded, ensure_ascii=False, separators=(",", ":")).encode())
    return file


def _number(value: object) -> None:
    if isinstance(value, dict):
        if isinstance(value.get("external_id"), str):
            value["external_id"] = re.sub("[^0-9]", "7", value["external_id"]) or "7"
        for inner in value.values():
            _number(inner)
    elif isinstance(value, list):
        for inner in value:
            _number(inner)


class Bodies:
    """One body with ever new, growing ids of task and newest comment."""

    def __init__(self, body: bytes) -> None:
        decoded = json.loads(body)
        task = decoded["task_id"]
        newest = max((comment["id"] for comment in decoded["task"].get("comments", [])), default=0)
        self._parts = re.split(b'("(?:task_id|id)":\\s*)(%d|%d)\\b' % (task, newest), body)
        self._old = (b"%d" % task, b"%d" % newest)
        self._numbers = count(time.time_ns() // 1000)

    def next(self) -> bytes:
        """Return a new event's body."""
        number = next(self._numbers)
        ids = {self._old[0]: b"%d" % number, self._old[1]: b"%d" % (number + 1)}
        return b"".join(ids.get(part, part) for part in self._parts)
