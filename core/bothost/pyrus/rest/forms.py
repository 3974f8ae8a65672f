"""Type a form and its fields, as forgiving as the parts of an event. A missing or wrong value reads as None."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from bothost.pyrus.model.descriptors import read
from bothost.pyrus.model.lenient import Digits, Json, forgiving
from bothost.pyrus.model.lookup import check_key
from bothost.pyrus.scalars import whole

_DEEPEST = 16


@forgiving
class FormField:
    """A field's definition. `info` is Pyrus's object: options, columns, catalog_id, required_step and the like."""

    id: Digits
    type: str | None
    name: str | None
    own_code: Annotated[str | None, "code"]
    tooltip: str | None
    parent_id: Digits
    info: Json

    @property
    def code(self) -> str | None:
        """Return the stable name, which stands on the field or, in older versions, in its `info`."""
        inner = self.info.get("code") if isinstance(self.info, Mapping) else None
        return self.own_code or (inner if isinstance(inner, str) else None)

    @property
    def required_step(self) -> int | None:
        """Return the step from which the field must be filled in, or None."""
        return whole(self.info.get("required_step")) if isinstance(self.info, Mapping) else None

    @property
    def immutable_step(self) -> int | None:
        """Return the step from which the field can no longer be changed, or None."""
        return whole(self.info.get("immutable_step")) if isinstance(self.info, Mapping) else None

    @property
    def fields(self) -> tuple["FormField", ...]:
        """Return the fields that lie in this one: a section's, a table's columns, those of a choice.

        Example: `[field.name for field in form.fields]`
        """
        info = self.info if isinstance(self.info, Mapping) else {}
        holders = [info, *(option for option in _list(info.get("options")) if isinstance(option, Mapping))]
        inner = [item for holder in holders for key in ("fields", "columns") for item in _list(holder.get(key))]
        found = (read(FormField, msgspec.json.encode(item)) for item in inner)
        return tuple(field for field in found if field is not None)


@forgiving
class Form:
    """A form: its steps by number, its fields."""

    id: Digits
    """The id, such as `321`."""
    name: str | None
    """The name, such as `"Invoices"`."""
    sent_steps: Annotated[Json, "steps"]
    """The steps as sent, for bothost itself: read `steps`."""
    top_fields: Annotated[tuple[FormField, ...], "fields"]
    """The fields at the top as sent, for bothost itself: read `fields`."""
    deleted_or_closed: bool | None
    """Whether nobody can use it any more: `if form.deleted_or_closed`."""
    folder: Json
    """The folders that lead to it, as Pyrus sends them, such as `("Finance",)`."""

    @property
    def steps(self) -> dict[int, str]:
        """Return the steps' names by number; the numbers may have gaps.

        Example: `{1: "Chief", 2: "Accountant"}`
        """
        sent = self.sent_steps if isinstance(self.sent_steps, Mapping) else {}
        return {int(key): name for key, name in sent.items() if key.isdigit() and isinstance(name, str)}

    @property
    def fields(self) -> tuple[FormField, ...]:
        """Return all fields, those in sections, choices and tables right after the field they lie in.

        Example: `[field.name for field in form.fields]`
        """
        return tuple(_walk(self.top_fields, 0))

    def field(self, key: int | str) -> FormField | None:
        """Return the first field with this id, else code, else name. Raises FieldError for a key that could name nothing.

        Example: `form.field("Amount").type`
        """
        check_key(key)
        fields = self.fields
        if isinstance(key, int):
            return next((field for field in fields if field.id == key), None)
        by_code = next((field for field in fields if field.code == key), None)
        return by_code or next((field for field in fields if field.name == key), None)


def _walk(fields: tuple[FormField, ...], depth: int) -> Iterator[FormField]:
    for one in fields:
        yield one
        if depth < _DEEPEST:
            yield from _walk(one.fields, depth + 1)


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
