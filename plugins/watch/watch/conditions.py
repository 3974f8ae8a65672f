"""Parse what a task is watched for: `Amount > 100000`, `Supplier is empty`. Errors say what would be right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from bothost import CatalogItems, Choice, FieldName, Row

if TYPE_CHECKING:
    from bothost import Task

_STATE = re.compile(r"(?P<field>.+?)\s+is\s+(?P<state>empty|not\s+empty)\Z")
_COMPARED = re.compile(r"(?P<field>.+)(?P<sign><=|>=|<|>)\s*(?P<limit>.+)\Z")
_UNCLEAR = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
"""A number whose comma is a decimal one in some countries, and groups thousands in others."""
_RIGHT = "write FIELD > 100000 (also <, >=, <=), FIELD is empty or FIELD is not empty"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one field; `limit` None: whether the field is empty."""

    field: FieldName
    sign: str
    limit: Decimal | None = None

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Return the condition of a text. Raises ValueError."""
        if match := _STATE.match(text.strip()):
            return cls(_name(match["field"]), " ".join(match["state"].split()))
        match = _COMPARED.match(text.strip())
        if match is None:
            raise ValueError(f"is no condition; {_RIGHT}")
        if _UNCLEAR.fullmatch(match["limit"]):
            raise ValueError(
                f"compares with {match['limit']!r}, which may be thousands or thousandths; write {match['limit'].replace(',', '')}"
            )
        try:
            limit = Decimal(re.sub(r"[\s_]", "", match["limit"]).replace(",", "."))
        except InvalidOperation:
            limit = Decimal("nan")
        if not limit.is_finite():
            raise ValueError(f"compares with {match['limit']!r}, which is no number; {_RIGHT}")
        return cls(_name(match["field"]), match["sign"], limit)

    def holds(self, task: Task) -> bool:
        """Judge a task. A field that the task does not have is empty; what is no number is neither above nor below."""
        value = task.value(self.field)
        if self.limit is None:
            return is_empty(value) == (self.sign == "empty")
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            return False
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
        }[self.sign]

    def __str__(self) -> str:
        return f"{self.field} is {self.sign}" if self.limit is None else f"{self.field} {self.sign} {self.limit}"


def is_empty(value: Any) -> bool:
    """Return whether a person would call a field's value empty. An unchecked box is not empty, a zero neither."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Choice | CatalogItems):
        return not value.ids
    return value is None or (isinstance(value, tuple | list | dict | Row) and not value)


def _name(text: str) -> FieldName:
    name = text.strip()
    quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "\"'"
    return FieldName(name[1:-1] if quoted else name)
