"""Give plugin authors a test harness: a host in memory, a virtual clock and a fake Pyrus.

No other package of bothost imports it. Start reading in `harness.py`; `harness_bot.py` holds what a test calls most.

The names are imported only when they are asked for, because pytest loads this package in every run, even if no test uses it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bothost.testing.answer import Answer
    from bothost.testing.factories import body, comment, encode, field, load, task
    from bothost.testing.fake_pyrus import FakePyrus
    from bothost.testing.fault_matrix import Fault
    from bothost.testing.harness import Harness, faults
    from bothost.testing.harness_bot import HarnessBot, Pending
    from bothost.testing.people import file, me, person
    from bothost.testing.serving import Served, served

__all__ = [
    "Answer",
    "FakePyrus",
    "Fault",
    "Harness",
    "HarnessBot",
    "Pending",
    "Served",
    "body",
    "comment",
    "encode",
    "faults",
    "field",
    "file",
    "load",
    "me",
    "person",
    "served",
    "task",
]

_HOMES = {
    "answer": ("Answer",),
    "fake_pyrus": ("FakePyrus",),
    "factories": ("body", "comment", "encode", "field", "load", "task"),
    "fault_matrix": ("Fault",),
    "harness": ("Harness", "faults"),
    "harness_bot": ("HarnessBot", "Pending"),
    "people": ("file", "me", "person"),
    "serving": ("Served", "served"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
