"""Resolve names that a delivered task does not show, by the definitions of forms and catalogs.

Nothing here fetches one. If a definition is missing, `DefinitionNeeded` says which, and the caller begins again with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from bothost.errors import FieldError, ReplyError
from bothost.pyrus.model.fields import columns
from bothost.pyrus.model.lookup import NameIndex, missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bothost.pyrus.model.fields import Column, Field
    from bothost.pyrus.model.task import Task
    from bothost.pyrus.rest.forms import Form, FormField
    from bothost.pyrus.rest.results import Catalog

Kind = Literal["form", "catalog"]


class DefinitionNeeded(ReplyError):
    """A name can only be resolved with a definition; its text is right if that cannot be had."""

    def __init__(self, text: str, kind: Kind, id: int) -> None:
        super().__init__(text)
        self.kind = kind
        self.id = id


@dataclass(frozen=True, slots=True)
class Definitions:
    """The definitions known beside the task: its form, and catalogs by id."""

    form: Form | None = None
    catalogs: Mapping[int, Catalog] = field(default_factory=dict)

    def adding(self, found: Form | Catalog, needed: DefinitionNeeded) -> Definitions:
        """Return the definitions with one more."""
        if needed.kind == "form":
            return replace(self, form=found)  # type: ignore[arg-type]
        return replace(self, catalogs={**self.catalogs, needed.id: found})  # type: ignore[dict-item]

    def item_ids(self, catalog_id: int, names: Iterable[str], place: str) -> dict[str, int]:
        """Return the ids of a catalog's items by the value in their first column. Raises ReplyError."""
        catalog = self.catalogs.get(catalog_id)
        if catalog is None:
            raise DefinitionNeeded(f"{place}: the catalog {catalog_id} is needed for its items", "catalog", catalog_id)
        known = {item.values[0]: item.item_id for item in catalog.items if item.values and not item.deleted}
        return {name: named(known, name, place, f"item of the catalog {catalog.name!r}") for name in names}


@dataclass(frozen=True, slots=True)
class FieldTarget:
    """A field to write or to filter by: its names, its type, and what names of its values mean."""

    id: int | None
    code: str | None
    name: str | None
    type: str | None
    choices: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[FieldTarget, ...] = ()
    catalog_id: int | None = None
    in_table: bool = False
    is_whole: bool = False
    """True if it comes from the form, which shows all choices and columns."""


def named(known: Mapping[str, Any], name: str, place: str, what: str) -> int:
    """Return the id of a named value. Raises ReplyError, which lists near names."""
    from difflib import get_close_matches

    found = known.get(name)
    if isinstance(found, int):
        return found
    near = get_close_matches(name, list(known), n=3) or list(known)[:10]
    listed = ", ".join(repr(one) for one in near) or "none at all"
    raise ReplyError(f"{place}: {name!r} is no {what}; it has {listed}")


class FieldFinder:
    """Finds fields by id, code or name: in the task, and in the form's definition if the task does not show enough."""

    def __init__(self, task: Task | None, known: Definitions, form_id: int | None = None) -> None:
        self._task = task
        self.known = known
        self._form_id = form_id if form_id is not None else task.form_id if task is not None else None
        self._index: NameIndex[FieldTarget] | None = None

    def find(self, key: str | int, place: str) -> FieldTarget:
        """Return the field. Raises ReplyError; DefinitionNeeded if only the form can tell."""
        try:
            shown = self._task.field(key) if self._task is not None else None
            return target_of(shown) if shown is not None else self._in_form(key, place)
        except FieldError as error:
            raise ReplyError(f"{place}: {error}") from None

    def whole(self, target: FieldTarget, why: str) -> FieldTarget | None:
        """Return the field with all its choices and columns; None if there is no form to ask. `why` is the error where
        the form cannot be had."""
        if target.is_whole:
            return target
        if self._form_id is None and self.known.form is None:
            return None
        key = target.id if target.id is not None else target.code or target.name
        form = self._form(why)
        return next((one for one in targets(form) if key in (one.id, one.code, one.name)), None)

    def row_ids(self, target: FieldTarget) -> tuple[int, ...]:
        """Return the ids of the rows that the task shows in a table."""
        if self._task is None or target.id is None:
            return ()
        shown = self._task.field(target.id)
        rows = shown.value if shown is not None and shown.type == "table" else ()
        return tuple(row.id for row in rows if row.id is not None)

    def _in_form(self, key: str | int, place: str) -> FieldTarget:
        try:
            if self._form_id is not None or self.known.form is not None:
                hint = str(missing(key, self._task.fields if self._task is not None else (), "the task"))
                form = self._form(f"{place}: {hint}")
                index = self._index = self._index or NameIndex(targets(form))
                found = index.find(key)
                if found is None:
                    raise missing(key, index.things, f"the form {form.name or self._form_id!r}")
                return found
            if self._task is None:
                raise ReplyError(
                    f"{place}: fields by name, code or id need a task to find them in; here write a list as Pyrus has it"
                )
            self._task[key]  # raises, and lists near names
        except FieldError as error:
            raise ReplyError(f"{place}: {error}") from None
        raise ReplyError(f"{place}: the task has no field {key!r}")

    def _form(self, why: str) -> Form:
        if self.known.form is None:
            assert self._form_id is not None
            raise DefinitionNeeded(why, "form", self._form_id)
        return self.known.form


def target_of(shown: Field) -> FieldTarget:
    """Return a field as a task shows it."""
    value = shown.value if shown.type in ("multiple_choice", "table") else None
    choices = dict(zip(getattr(value, "names", ()), getattr(value, "ids", ()), strict=False))
    found: tuple[FieldTarget, ...] = ()
    if shown.type == "table":
        described = shown.info.get("columns") if isinstance(shown.info, dict) else None
        found = tuple(map(column_target, columns(shown.fields, described).things))
    info = shown.info.get("catalog_id") if isinstance(shown.info, dict) else None
    catalog_id = shown.catalog_id or (info if isinstance(info, int) else None)
    return FieldTarget(
        shown.id, shown.code, shown.name, shown.type, choices, found, catalog_id, in_table=shown.row_id is not None
    )


def column_target(column: Column) -> FieldTarget:
    """Return a table's column as a task shows it."""
    return FieldTarget(column.id, column.code, column.name, column.type)


def targets(form: Form) -> tuple[FieldTarget, ...]:
    """Return all fields of a form; the columns of tables come last, so that they win over nothing outside a table."""
    found = sorted(defined(form.top_fields, in_table=False), key=lambda target: target.in_table)
    outside = {name for one in found if not one.in_table for name in (one.code, one.name)}
    return tuple(one for one in found if not (one.in_table and {one.code, one.name} & (outside - {None})))


def defined(fields: Iterable[FormField], *, in_table: bool) -> Iterator[FieldTarget]:
    """Yield the fields of a definition and those that lie in them."""
    for one in fields:
        inner = tuple(defined(one.fields, in_table=in_table or one.type == "table"))
        info = one.info if isinstance(one.info, dict) else {}
        yield FieldTarget(
            one.id,
            one.code,
            one.name,
            one.type,
            choices_of(info),
            inner if one.type == "table" else (),
            info.get("catalog_id") if isinstance(info.get("catalog_id"), int) else None,
            in_table=in_table,
            is_whole=True,
        )
        yield from inner


def choices_of(info: Mapping[str, Any]) -> dict[str, int]:
    """Return a multiple choice's options by name."""
    options = info.get("options")
    return {
        option["choice_value"]: option["choice_id"]
        for option in (options if isinstance(options, list | tuple) else ())
        if isinstance(option, dict)
        and isinstance(option.get("choice_value"), str)
        and isinstance(option.get("choice_id"), int)
        and option.get("deleted") is not True
    }
