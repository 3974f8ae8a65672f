"""Filters of a register in Python's terms, `{"Amount": (">", 5), "Status": ["Open", "New"]}`, as Pyrus's `fld…` keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bothost.errors import ReplyError
from bothost.pyrus.rest.definitions import named
from bothost.pyrus.rest.requests import as_text

if TYPE_CHECKING:
    from bothost.pyrus.rest.definitions import FieldFinder, FieldTarget

OPERATORS = {">": "gt", "<": "lt"}
_RIGHT = 'a value, a list of values, None (empty), ... (any value), (">", value), ("<", value), or a list of these two'
_CHECKS = {"checkmark": ("unchecked", "checked"), "flag": ("unchecked", "checked")}


def field_filters(filters: Mapping[Any, Any], finder: FieldFinder) -> dict[str, str]:
    """Return the filters by Pyrus's keys. Raises ReplyError; DefinitionNeeded if only a definition can tell."""
    found = {}
    for key, wanted in filters.items():
        place = f"filters[{key!r}]"
        target = finder.find(key, place)
        if target.id is None:
            raise ReplyError(f"{place}: the form shows no id of this field, and a register is filtered by ids")
        found[f"fld{target.id}"] = _filter(target, wanted, finder, place)
    return found


def _filter(target: FieldTarget, wanted: Any, finder: FieldFinder, place: str) -> str:
    if wanted is None:
        return "empty"
    if wanted is ...:
        return "*"
    if isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[0], str) and wanted[0] in OPERATORS:
        return OPERATORS[wanted[0]] + _value(target, wanted[1], finder, place)
    if isinstance(wanted, tuple) and wanted and wanted[0] in (">=", "<=", "=", "!=", "=="):
        raise ReplyError(f"{place}: Pyrus's registers have no {wanted[0]!r}; give {_RIGHT}")
    if isinstance(wanted, list | tuple | set | frozenset):
        if not wanted:
            raise ReplyError(f"{place}: an empty list lets nothing pass; give {_RIGHT}")
        return ",".join(_filter(target, one, finder, place) for one in wanted)
    return _value(target, wanted, finder, place)


def _value(target: FieldTarget, value: Any, finder: FieldFinder, place: str) -> str:
    if isinstance(value, bool) and target.type in _CHECKS:
        return _CHECKS[target.type][value]
    if isinstance(value, str) and target.type == "multiple_choice":
        return str(named(target.choices, value, place, f"choice of {target.name!r}"))
    if isinstance(value, str) and target.type == "catalog" and target.catalog_id is not None:
        return str(finder.known.item_ids(target.catalog_id, [value], place)[value])
    if (number := getattr(value, "id", None)) is not None:
        return str(number)
    if isinstance(value, Mapping | bytes) or value is ...:
        raise ReplyError(f"{place}: {value!r} cannot be compared; give {_RIGHT}")
    return as_text(value)
