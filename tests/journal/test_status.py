"""How an entry stands, in the words of the state table."""

from __future__ import annotations

from typing import Any

import pytest
from tests.journal.journals import make_entry

from bothost.journal.status import STATES_OF, phase

REPLY = b'{"text":"x"}'


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"state": "running"}, "running"),
        ({"state": "running", "door": "api"}, "running"),
        ({"state": "running", "door": "api", "answer": REPLY}, "posting"),
        ({"state": "ready", "door": "api", "answer": REPLY}, "posting"),
        ({"state": "ready", "door": "api"}, "parked"),
        ({"state": "ready", "fence": 1}, "held"),
        ({"state": "ready"}, "waiting"),
        ({"state": "answered", "answer": REPLY, "delivered": True, "due": 1.0}, "answered"),
        ({"state": "answered", "answer": REPLY, "due": 1.0}, "undelivered"),
        ({"state": "answered", "answer": REPLY, "door": "api"}, "answered"),
        ({"state": "failed", "failed": True}, "failed"),
        ({"state": "cancelled"}, "cancelled"),
    ],
)
def test_a_phase_is_told_by_state_door_and_answer(columns: dict[str, Any], word: Any) -> None:
    entry = make_entry(**columns)
    assert phase(entry) == word
    assert entry.state in STATES_OF[word], "the operator's filter finds it"
