"""Make the small parts of tasks: persons, files, and the ids that all of them share."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from bothost.plugins.explained import explained
from bothost.pyrus.model.parts import File, Person
from bothost.pyrus_client.arguments import check_keys
from bothost.testing.checks import json_value, keys_of, text, whole, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
FIRST = {
    "task": 310_001,
    "comment": 8_800_100,
    "person": 1041,
    "file": 700_001,
    "field": 1,
    "row": 0,
    "item": 55_001,
    "choice": 1,
}
STEPS = {"comment": 100}
"""The steps between ids. Comments leave room between theirs for others that stand before them in a list."""
PERSON_KEYS = ("email", "type", *keys_of(Person))
FILE_KEYS = ("size", *keys_of(File))
PERSONS = 800_000
BOT_ID = 900_100
"""Above all persons."""


class PersonDict(dict[str, Any]):
    """A person in Pyrus's shape. Its class tells it from other dicts, so that a field of it becomes a person field."""


class BotItself(PersonDict):
    """The bot to which the task will be delivered. `deliver` puts its id in."""


class IdNumbering:
    """The next ids, and the names that have one already. The process has one, because factories work without a harness too."""

    def __init__(self) -> None:
        self.now: Callable[[], datetime] = lambda: BEGIN
        self.restart()

    def restart(self, above: int = 0) -> None:
        """Begin anew, as at the start of a test. Every id is above this number."""
        self._next = {what: above + first for what, first in FIRST.items()}
        self._known: dict[tuple[Any, ...], int] = {}
        self.now = lambda: BEGIN

    def fresh(self, what: str) -> int:
        """Return an id that was not given before."""
        number = self._next[what]
        self._next[what] = number + STEPS.get(what, 1)
        return number

    def known(self, what: str, *name: Any) -> int:
        """Return the id of a thing that keeps it: a person by e-mail, a form's field by name."""
        key = (what, *name)
        if key not in self._known:
            self._known[key] = self._of_person(key) if what == "person" else self.fresh(what)
        return self._known[key]

    def _of_person(self, key: tuple[Any, ...]) -> int:
        """Return a person's id, the same before and after a restart, because a test file may make persons while it is imported."""
        number = self._next["person"] + zlib.crc32(repr(key).encode()) % PERSONS
        while number in self._known.values():
            number += 1
        return number


numbering = IdNumbering()


@explained
def person(name: str = "Anna Gromova", email: str | None = None, *, type: str = "user", **keys: Any) -> dict[str, Any]:
    """Make a person, bot or role (`type`). The same e-mail, or without one the same name, is the same person."""
    check_keys("person", keys, PERSON_KEYS)
    text("name", name)
    first, _, last = name.rpartition(" ") if type != "role" else ("", "", name)
    if email is None:
        email = "" if type == "role" else f"{(first or last).lower().replace(' ', '.')}@example.org"
    made = {
        "id": numbering.known("person", email or name),
        "first_name": first or last if type != "role" else "",
        "last_name": last if first or type == "role" else "",
        "email": email,
        "type": type,
        "external_id": "",
        "banned": False,
        "position": "",
        "skype": "",
        "phone": "",
    }
    return PersonDict(made | plain_keys(keys))


@explained
def me() -> dict[str, Any]:
    """Return the bot that will get the task, for a comment's author or an approver."""
    return BotItself(person("Test bot", "bot@3f1c9c2e-5a55-4d0e-9a9b-6f2f7d0a1c55", type="bot", id=BOT_ID))


@explained
def file(name: str = "scan.pdf", size: int = 2048, **keys: Any) -> dict[str, Any]:
    """Make an attached file."""
    check_keys("file", keys, FILE_KEYS)
    text("name", name)
    whole("size", size, 0)
    number = numbering.fresh("file")
    made = {
        "id": number,
        "name": name,
        "size": size,
        "md5": f"{number:032X}",
        "url": f"https://pyrus.com/services/attachment?id={number}",
        "version": 1,
    }
    return made | plain_keys(keys)


def as_person(who: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Return a person that is given as such, by e-mail, or not at all (then the usual one)."""
    if who is None:
        return person()
    if isinstance(who, str):
        name = who.partition("@")[0].replace(".", " ").title()
        return person(name or who, who)
    if not isinstance(who, Mapping):
        wrong("a person", who, "a person(…), me() or an e-mail")
    return who if isinstance(who, dict) else dict(who)


def stamp(moment: datetime) -> str:
    """Return a moment as Pyrus writes it, in UTC and whole seconds."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no zone: write one such as 2026-03-01T08:00+03:00")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(value: Any) -> Any:
    """Return a value with Python's dates and enums in it as Pyrus writes them."""
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        changed = {key: plain(item) for key, item in value.items()}
        return type(value)(changed) if isinstance(value, PersonDict) else changed
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return json_value(value)


def plain_keys(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of one part, each as `plain` gives it."""
    return {key: plain(value) for key, value in keys.items()}
