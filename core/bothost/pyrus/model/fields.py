"""Read form fields. A value is decoded when it is asked for, by the field's type. Fields lie in sections, choices and tables.

Sections are `title`, and `group` in some versions; any unknown type that holds `fields` is taken for one too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from bothost.pyrus import scalars
from bothost.pyrus.model.descriptors import fill, read, slot
from bothost.pyrus.model.lenient import Digits, Hidden, Json, forgiving
from bothost.pyrus.model.lookup import NameIndex, missing
from bothost.pyrus.model.parts import File, Person
from bothost.pyrus.model.values import CatalogItems, Choice, FormLink
from bothost.pyrus.raw_json import ReadOnlyDict, as_sent, exactly, read_only, untyped

DEEPEST = 16
"""Fields nested deeper are not looked at: Pyrus names no limit, and each level decodes again what lies below it."""


@forgiving
class Field:
    """A field of a form task, or a cell of a table. `value` is Python's, `raw` the whole field as sent."""

    id: int | None
    """The id, such as `12`; it stays when the field is renamed."""
    type: str | None
    """The type as Pyrus names it, such as `"money"`; an open set."""
    name: str | None
    """The name that people see, such as `"Amount"`."""
    sent_code: Annotated[str | None, "code"]
    """The code as sent, for bothost itself: read `code`."""
    sent_value: Annotated[msgspec.Raw | None, "value"]
    """The value as sent, for bothost itself: read `value`."""
    info: Json
    """The definition, where Pyrus sends it along: `field.info["required_step"]`."""
    parent_id: int | None
    """The id of the section or table that holds it, such as `11`."""
    row_id: int | None
    """In a cell of a table: the id of its row, such as `3`."""
    duration: Digits
    """In a field of type `due_date_time`: its length in minutes, such as `30`."""
    tooltip: str | None
    """The hint for people, such as `"Without VAT"`."""
    default_value: Json
    """The value of a new task, as Pyrus sends it, such as `"7"`."""
    related_field_id: int | None
    """The id of the field that it follows, such as `13`."""
    visibility_condition: Json
    """When it is shown, as Pyrus sends it: `field.visibility_condition["children"]`."""
    catalog_id: int | None
    """In a catalog field: the id of the catalog, such as `5`, for `event.pyrus.catalog(5)`."""
    required_step: int | None
    """The step from which on it must be filled in, such as `2`."""
    immutable_step: int | None
    """The step from which on it cannot be changed, such as `3`."""
    source: Hidden
    depth: Hidden
    known_value: Hidden
    known_inner: Hidden
    known_lines: Hidden
    known_raw: Hidden

    @property
    def code(self) -> str | None:
        """Return the field's stable name, which older versions of Pyrus send in `info`.

        Example: `"u_amount"`
        """
        code = self.sent_code
        if code is None and isinstance(info := _INFO.__get__(self), dict):
            code = info.get("code")
        return code if isinstance(code, str) else None

    @property
    def value(self) -> Any:
        """Return the field's value, by its type: None (for lists an empty tuple, for a checkmark False) if it is empty.

        Example: `Decimal("5.50")`
        """
        if self.known_value is None:
            fill(self, "known_value", (_value(self),))
        return self.known_value[0]

    @property
    def raw(self) -> ReadOnlyDict:
        """Return the field as Pyrus sent it: a read-only dict.

        Example: `field.raw["value"]`
        """
        if self.known_raw is None:
            fill(self, "known_raw", as_sent(self.source or b"{}"))
        return self.known_raw  # type: ignore[no-any-return]

    @property
    def fields(self) -> tuple["Field", ...]:
        """Return the fields right inside: a section's, a choice's, or a table's cells row by row.

        Example: `[inner.value for inner in field.fields]`
        """
        if self.known_inner is None:
            fill(self, "known_inner", _inner(self))
        return self.known_inner  # type: ignore[no-any-return]


_INFO = slot(Field, "info")


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column: the names and the type that its cells share."""

    id: int | None
    code: str | None
    name: str | None
    type: str | None


class Row(Mapping[int | str, Any]):
    """A row's values by column: by name, code or id. Every row has all the table's columns: Pyrus leaves out the cell of
    a checkmark that is not ticked, which reads as False, and any other that is empty, which reads as None."""

    __slots__ = {  # noqa: RUF023 - those that authors read come first
        "id": "int | None: the id, such as `3`, with which a reply changes this row.",
        "position": "int | None: the place in the table, such as `0` for the first row.",
        "deleted": "bool: whether the row was deleted in this event: `if not row.deleted`.",
        "cells": "tuple[Field, ...]: the cells that Pyrus sent, as fields: `[cell.name for cell in row.cells]`.",
        "_cells": "",
        "_columns": "",
    }

    def __init__(
        self,
        columns: NameIndex[Column],
        cells: tuple[Field, ...],
        *,
        id: int | None = None,
        position: int | None = None,
        deleted: bool = False,
    ) -> None:
        self.id = id
        self.position = position
        self.deleted = deleted
        self.cells = cells
        self._columns = columns
        self._cells = {_same(cell): cell for cell in cells}

    def __getitem__(self, key: int | str) -> Any:
        """Return the column's value. Raises MissingField if the table has no such column, AmbiguousField if it has several."""
        column = self._columns.find(key)
        if column is None:
            raise missing(key, self._columns.things, "the table")
        cell = self._cells.get(_same(column))
        if cell is None:
            return False if column.type == "checkmark" else None
        return cell.value

    def __iter__(self) -> Iterator[int | str]:
        names = [column.name for column in self._columns.things]
        for column in self._columns.things:
            if column.name and names.count(column.name) == 1:
                yield column.name
            elif (key := column.code or column.id) is not None:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Row({self.id}, {len(self.cells)} cells)"


def columns(cells: Iterable[Field], described: object) -> NameIndex[Column]:
    """Return the columns of a table: those a form's definition describes, then those that any row shows."""
    found: dict[object, Column] = {}
    for part in described if isinstance(described, list) else ():
        if isinstance(part, dict):
            column = Column(*(part.get(key) for key in ("id", "code", "name", "type")))
            found.setdefault(_same(column), column)
    for cell in cells:
        found.setdefault(_same(cell), Column(cell.id, cell.code, cell.name, cell.type))
    return NameIndex(found.values())


def _same(thing: Field | Column) -> object:
    return thing.id if thing.id is not None else (thing.code, thing.name)


@forgiving
class _Section:
    checkmark: Json
    fields: tuple[Field, ...]


@forgiving
class _TableLine:
    row_id: int | None
    position: int | None
    deleted: bool | None
    cells: tuple[Field, ...]


@forgiving
class _TableLines:
    items: tuple[_TableLine, ...]


@forgiving
class _Files:
    items: tuple[File, ...]


def _inner(field: Field) -> tuple[Field, ...]:
    if field.type == "table":
        return tuple(cell for line in _lines(field) for cell in line.cells)
    if field.sent_value is None or field.type in _LEAVES or _too_deep(field):
        return ()
    section = read(_Section, field.sent_value)
    return _deeper(field, section.fields) if section else ()


def _lines(field: Field) -> tuple[_TableLine, ...]:
    if field.known_lines is None:
        lines = None if _too_deep(field) else read(_TableLines, _in_items(field.sent_value))
        for line in lines.items if lines else ():
            _deeper(field, line.cells)
        fill(field, "known_lines", lines.items if lines else ())
    return field.known_lines  # type: ignore[no-any-return]


def _too_deep(field: Field) -> bool:
    return (field.depth or 1) >= DEEPEST


def _deeper(field: Field, inner: tuple[Field, ...]) -> tuple[Field, ...]:
    for one in inner:
        fill(one, "depth", (field.depth or 1) + 1)
    return inner


def _in_items(value: msgspec.Raw | bytes | None) -> bytes:
    """Wrap a list as a part's only member because parts are read from objects."""
    return b'{"items":' + (b"null" if value is None else bytes(value)) + b"}"


def _value(field: Field) -> Any:
    if field.type == "table":
        return _table(field)
    source = bytes(field.sent_value or b"null")
    if source == b"null":
        return _EMPTY.get(field.type or "")
    return _READERS.get(field.type or "", _json)(source)


def _table(field: Field) -> tuple[Row, ...]:
    lines = _lines(field)
    described = field.info.get("columns") if isinstance(field.info, dict) else None
    named = columns((cell for line in lines for cell in line.cells), described)
    return tuple(
        Row(named, line.cells, id=line.row_id, position=line.position, deleted=bool(line.deleted)) for line in lines
    )


def _json(source: bytes) -> Any:
    return read_only(exactly(source))


def _text(source: bytes) -> str | None:
    value = untyped(source)
    return value if type(value) is str else None


def _number(source: bytes) -> int | Decimal | None:
    value = exactly(source)
    return value if type(value) in (int, Decimal) else None


def _money(source: bytes) -> Decimal | None:
    value = _number(source)
    return None if value is None else Decimal(value)


def _step(source: bytes) -> int | None:
    return scalars.whole(untyped(source))


def _text_as(parse: Callable[[object], Any]) -> Callable[[bytes], Any]:
    return lambda source: parse(untyped(source))


def _creation(source: bytes) -> Any:
    """Return a date in older versions of Pyrus, a datetime in newer ones."""
    text = untyped(source)
    return scalars.instant(text) if isinstance(text, str) and "T" in text else scalars.day(text)


def _files(source: bytes) -> tuple[File, ...]:
    files = read(_Files, _in_items(source))
    return files.items if files else ()


def _links(source: bytes) -> tuple[int, ...]:
    link = read(FormLink, source)
    return link.ids if link else ()


def _section(source: bytes) -> bool | None:
    section = read(_Section, source)
    return scalars.ticked(section.checkmark) if section else None


def _part(part: type) -> Callable[[bytes], Any]:
    return lambda source: read(part, source)


_READERS: dict[str, Callable[[bytes], Any]] = {
    "text": _text,
    "email": _text,
    "phone": _text,
    "note": _text,
    "status": _text,
    "money": _money,
    "number": _number,
    "step": _step,
    "date": _text_as(scalars.day),
    "due_date": _text_as(scalars.day),
    "due_date_time": _text_as(scalars.instant),
    "creation_date": _creation,
    "time": _text_as(scalars.time_of_day),
    "checkmark": _text_as(scalars.ticked),
    "flag": _text_as(scalars.ticked),
    "person": _part(Person),
    "author": _part(Person),
    "catalog": _part(CatalogItems),
    "multiple_choice": _part(Choice),
    "form_link": _links,
    "file": _files,
    "title": _section,
}
_EMPTY = {"checkmark": False, "file": (), "form_link": ()}
_LEAVES = frozenset(_READERS) - {"title", "multiple_choice"}


def walk(fields: Iterable[Field], *, tables: bool) -> Iterator[Field]:
    """Yield each field, those inside it after it; `tables`: the cells of tables too."""
    for field in fields:
        yield field
        kind = field.type
        if kind not in _LEAVES and (tables or kind != "table"):
            yield from walk(field.fields, tables=tables)


class FieldIndex:
    """A task's fields, found by id, code or name."""

    __slots__ = ("_cells", "_top", "outside")

    def __init__(self, top: tuple[Field, ...]) -> None:
        self._top = top
        self.outside = NameIndex(walk(top, tables=False))
        self._cells: NameIndex[Field] | None = None

    @property
    def cells(self) -> NameIndex[Field]:
        """Return the cells of all tables, and what lies in them; read only if nothing outside them is found."""
        if self._cells is None:
            tables = [field for field in self.outside.things if field.type == "table"]
            self._cells = NameIndex(walk((cell for field in tables for cell in field.fields), tables=True))
        return self._cells

    def find(self, key: int | str) -> Field | None:
        """Return the field, or None. Raises AmbiguousField if the key names several."""
        found = self.outside.find(key)
        return self.cells.find(key) if found is None else found

    def need(self, key: int | str) -> Field:
        """Return the field. Raises MissingField, which lists near names, and AmbiguousField."""
        found = self.find(key)
        if found is None:
            raise missing(key, self.outside.things + self.cells.things, "the task")
        return found
