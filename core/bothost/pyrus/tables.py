"""Rows of a form's table, read by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bothost.pyrus.lookup import Names, missing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bothost.pyrus.fields import Field


@dataclass(frozen=True, slots=True)
class Column:
    """What the cells of one column have in common."""

    id: int | None
    code: str | None
    name: str | None
    type: str | None


class Row(Mapping[int | str, Any]):
    """A row's values by column: by name, code or id. Every row has all the table's columns: Pyrus leaves out the cell of
    a checkmark that is not ticked, which reads as False, and any other that is empty, which reads as None."""

    __slots__ = ("_cells", "_columns", "cells", "deleted", "id", "position")

    def __init__(
        self,
        columns: Names[Column],
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
        """Raises MissingField where the table has no such column, AmbiguousField where it has several."""
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


def columns(cells: Iterable[Field], described: object) -> Names[Column]:
    """The columns of a table: those a form's definition describes, then those that any row shows."""
    found: dict[object, Column] = {}
    for part in described if isinstance(described, list) else ():
        if isinstance(part, dict):
            column = Column(*(part.get(key) for key in ("id", "code", "name", "type")))
            found.setdefault(_same(column), column)
    for cell in cells:
        found.setdefault(_same(cell), Column(cell.id, cell.code, cell.name, cell.type))
    return Names(found.values())


def _same(thing: Field | Column) -> object:
    return thing.id if thing.id is not None else (thing.code, thing.name)
