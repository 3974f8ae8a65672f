"""The first registry: which of two sections of one path gets its deliveries."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothost.config import read
from bothost.host.process import registry_of

GOOD = "[bot:good]\nplugin = autoreply\nsecret = a-secret-of-sixteen-or-more-1\n"


@pytest.mark.parametrize(
    "wrong",
    [
        "[bot:twin]\nplugin = autoreply\nsecret = a-secret-of-sixteen-or-more-2\npath = /good\n",
        "[bot:twin]\nplugin = autoreply\nsecret = short\npath = /good\n",
        "[bot:a]\nsecret = a-secret-of-sixteen-or-more-3\npath = /good\n",
    ],
    ids=["same path", "wrong secret", "no plugin"],
)
def test_a_wrong_section_takes_no_path_of_a_right_one(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "bots.ini"
    file.write_text(GOOD + wrong)
    file.chmod(0o600)
    reading = read(file)
    assert list(reading.bots) == ["good"]
    assert len(reading.stubs) == 1
    by_path = registry_of(reading).by_path
    assert by_path["/good"].name == by_path["/good/"].name == "good"
