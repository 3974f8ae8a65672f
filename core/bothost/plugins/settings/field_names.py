"""`FieldName`: settings that name fields of a form, so that `bothost check --forms` can look for them in the real one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

if TYPE_CHECKING:
    from bothost.plugins.settings import Settings

_MARK = msgspec.Meta(extra={"bothost": "field"})
FieldName = Annotated[str, _MARK]
"""A setting's type: the name or code of a form's field. Its value is a plain str."""


def field_names(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the names of fields that each setting holds, by the setting's name."""
    hints = get_type_hints(type(settings), include_extras=True)
    found = {name: tuple(_named(getattr(settings, name, None), hint)) for name, hint in hints.items()}
    return {name: names for name, names in found.items() if names}


def _named(value: Any, hint: Any) -> Iterator[str]:
    args = get_args(hint)
    if get_origin(hint) is Annotated:
        if _MARK in args[1:] and isinstance(value, str):
            yield value
        else:
            yield from _named(value, args[0])
    elif isinstance(value, Mapping) and len(args) == 2:
        for key, item in value.items():
            yield from _named(key, args[0])
            yield from _named(item, args[1])
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from (name for inner in args if inner is not ... for name in _named(item, inner))
    else:
        for inner in args:
            yield from _named(value, inner)
