"""Say in each language what was decided and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Language = Literal["en", "ru"]

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "approve": "Approved: {why}.",
        "reject": "Rejected: {why}.",
        "ask": "Asked {who} to decide: {why}.",
        "reassign": "Handed over to {who}: {why}.",
        "otherwise": "no other rule fits",
        "empty": "{field} is empty",
        "not empty": "{field} is {value}",
        "checked": "{field} is checked",
        "not checked": "{field} is not checked",
        "yes": "yes",
        "no": "no",
    },
    "ru": {
        "approve": "Согласовано: {why}.",
        "reject": "Отклонено: {why}.",
        "ask": "Решает {who}: {why}.",
        "reassign": "Передано {who}: {why}.",
        "otherwise": "другие правила не подошли",
        "empty": "поле {field} не заполнено",
        "not empty": "{field} — {value}",
        "checked": "{field} — отмечено",
        "not checked": "{field} — не отмечено",
        "yes": "да",
        "no": "нет",
    },
}
"""Sentences for the actions of a rule, and what stands in them for each condition."""
