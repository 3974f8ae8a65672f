"""The values of single fields: catalog items, choices, and the types an author asks for."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from bothost.errors import FieldError, MissingField
from bothost.pyrus.model.lenient import Json, forgiving
from bothost.pyrus.raw_json import ReadOnlyDict
from bothost.text import nearest

T = TypeVar("T")

_LARGEST = 2**63
"""No Decimal beyond it is made an int: 1E+999999 would become a number of a million digits."""


@forgiving
class CatalogItems:
    """The chosen items of a catalog. Older versions of Pyrus show the first item only; it is read as the one chosen."""

    item_id: int | None
    item_ids: tuple[int, ...]
    names: Annotated[tuple[str, ...], "item_names"]
    headers: Json
    values: Json
    sent_rows: Annotated[Json, "rows"]

    @property
    def ids(self) -> tuple[int, ...]:
        """Return the items' ids."""
        return self.item_ids or (() if self.item_id is None else (self.item_id,))

    @property
    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """Return the items, each by the catalog's headers."""
        rows = self.sent_rows if isinstance(self.sent_rows, list) else []
        if not rows and isinstance(self.values, list) and self.values:
            rows = [self.values]
        headers = self.headers if isinstance(self.headers, list) else []
        return tuple(_by_header(headers, row) for row in rows if isinstance(row, list))

    @property
    def first(self) -> Mapping[str, Any] | None:
        """Return the first item by the catalog's headers, or None."""
        return next(iter(self.rows), None)


class CatalogRow(ReadOnlyDict):
    """A catalog's item by the catalog's headers."""

    def __missing__(self, header: object) -> Any:
        raise no_column(header, self)


def no_column(header: object, headers: Iterable[str]) -> MissingField:
    """Make the error for a column that a catalog does not have."""
    near = nearest(header, headers) if isinstance(header, str) else ""
    return MissingField(
        f"the catalog has no column {header!r}{near}; it has: {', '.join(map(repr, headers)) or 'none'}"
    )


def _by_header(headers: list[Any], row: list[Any]) -> Mapping[str, Any]:
    return CatalogRow((header, value) for header, value in zip(headers, row, strict=False) if isinstance(header, str))


@forgiving
class Choice:
    """The chosen options of a multiple choice."""

    choice_id: int | None
    choice_ids: tuple[int, ...]
    names: Annotated[tuple[str, ...], "choice_names"]

    @property
    def ids(self) -> tuple[int, ...]:
        """Return the choices' ids; older versions of Pyrus send one only."""
        return self.choice_ids or (() if self.choice_id is None else (self.choice_id,))


@forgiving
class FormLink:
    """The tasks a field links to."""

    task_id: int | None
    task_ids: tuple[int, ...]
    subject: str | None

    @property
    def ids(self) -> tuple[int, ...]:
        """Return the tasks' ids; older versions of Pyrus send one only."""
        return self.task_ids or (() if self.task_id is None else (self.task_id,))


def as_type(value: object, kind: type[T]) -> T | None:
    """Return the value if it is of this type, else None. A number comes as the number type asked for if nothing is lost (as a
    float always), a datetime as its date; a bool is not a number.
    """
    found: Any = value
    if isinstance(value, bool):
        return found if kind is bool else None
    if isinstance(value, int | Decimal) and kind in (int, Decimal, float):
        found = _number(value, kind)
    elif isinstance(value, datetime) and kind is date:
        found = value.date()
    try:
        return found if isinstance(found, kind) else None
    except TypeError:
        raise FieldError(f"{kind!r:.80} is no type to ask for: write one such as Decimal, str or tuple") from None


def _number(value: Any, kind: type) -> Any:
    if type(value) is kind:
        return value
    if kind is int:
        return int(value) if abs(value) < _LARGEST and value == int(value) else None
    try:
        return kind(value)
    except OverflowError:
        return None
