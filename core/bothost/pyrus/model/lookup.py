"""Find a named thing by id, code or name: fields of a task, columns of a table."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from bothost.errors import AmbiguousField, FieldError, MissingField

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 10


class NamedItem(Protocol):
    """A thing that can be found; each of the three names may be missing."""

    @property
    def id(self) -> int | None: ...
    @property
    def code(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...


N = TypeVar("N", bound=NamedItem)


class NameIndex(Generic[N]):
    """Named things by id, code and name, built once."""

    __slots__ = ("_by_code", "_by_id", "_by_name", "things")

    def __init__(self, things: Iterable[N]) -> None:
        self.things = tuple(things)
        self._by_id: dict[int, list[N]] = {}
        self._by_code: dict[str, list[N]] = {}
        self._by_name: dict[str, list[N]] = {}
        for thing in self.things:
            if (number := thing.id) is not None:
                self._by_id.setdefault(number, []).append(thing)
            if code := thing.code:
                self._by_code.setdefault(code, []).append(thing)
            if name := thing.name:
                self._by_name.setdefault(name, []).append(thing)

    def find(self, key: int | str) -> N | None:
        """Return the one thing an id names, or a string: as code, else as name. Raises AmbiguousField if it names several,
        and FieldError for a key that could name nothing.
        """
        found: list[N] | None = None
        if isinstance(key, str):
            found = self._by_code.get(key) or self._by_name.get(key)
        elif isinstance(key, int) and key is not True and key is not False:
            found = self._by_id.get(key)
        if not found:
            check_key(key)
            return None
        if len(found) > 1:
            raise AmbiguousField(f"{key!r} names {len(found)} fields: {'; '.join(map(label, found[:_SHOWN]))}")
        return found[0]


def names_something(key: object) -> bool:
    """Return whether a key could be a name, a code or an id: not None, no empty text, no bool."""
    return not isinstance(key, bool) and (isinstance(key, int) or (isinstance(key, str) and bool(key.strip())))


def check_key(key: object, what: str = "a field is asked for by its name, code or id") -> None:
    """Raise FieldError for a key that could name nothing."""
    if not names_something(key):
        empty = ", which is empty" if isinstance(key, str) else ""
        raise FieldError(f"{what}, and not by {key!r:.80}{empty}")


def label(thing: NamedItem) -> str:
    """Return a thing's name for messages, with id and code."""
    marks = [f"id {thing.id}"] if thing.id is not None else []
    if thing.code:
        marks.append(f"code {thing.code!r}")
    if (row := getattr(thing, "row_id", None)) is not None:
        marks.append(f"row {row}")
    return f"{thing.name!r} ({', '.join(marks)})" if marks else repr(thing.name)


def missing(key: int | str, things: Iterable[NamedItem], whole: str) -> MissingField:
    """Make the error for a key that names nothing in `whole` ("the task"); it lists near names."""
    known = {str(word): thing for thing in things for word in (thing.id, thing.code, thing.name) if word is not None}
    by_case = {word.casefold(): thing for word, thing in known.items()}
    near = difflib.get_close_matches(str(key).casefold(), by_case, n=3)
    shown = dict.fromkeys(label(by_case[word]) for word in near) or dict.fromkeys(map(label, known.values()))
    if not shown:
        return MissingField(f"{whole} has no field {key!r}; it has none at all")
    kind = "near" if near else "it has"
    return MissingField(f"{whole} has no field {key!r}; {kind}: {'; '.join(list(shown)[:_SHOWN])}")
