"""Count things as each language does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGLISH_COUNTS: Mapping[str, tuple[str, str]] = {
    "bots": ("{n} bot", "{n} bots"),
    "deliveries": ("{n} delivery", "{n} deliveries"),
    "attempts": ("{n} attempt", "{n} attempts"),
    "runs": ("{n} run", "{n} runs"),
    "problems": ("{n} problem", "{n} problems"),
    "tries": ("{n} try", "{n} tries"),
    "deaths": ("{n} time", "{n} times"),
    "errors": ("{n} error", "{n} errors"),
    "warnings": ("{n} warning", "{n} warnings"),
    "events": ("{n} event", "{n} events"),
    "replies": ("{n} reply", "{n} replies"),
    "entries": ("{n} entry", "{n} entries"),
    "processes": ("{n} process", "{n} processes"),
    "sections": ("{n} section", "{n} sections"),
    "days": ("{n} day", "{n} days"),
    "comments": ("{n} comment", "{n} comments"),
    "rows": ("{n} row", "{n} rows"),
}
RUSSIAN_COUNTS: Mapping[str, tuple[str, str, str]] = {
    "bots": ("{n} бот", "{n} бота", "{n} ботов"),
    "deliveries": ("{n} доставка", "{n} доставки", "{n} доставок"),
    "attempts": ("{n} попытка", "{n} попытки", "{n} попыток"),
    "runs": ("{n} запуск", "{n} запуска", "{n} запусков"),
    "problems": ("{n} ошибка", "{n} ошибки", "{n} ошибок"),
    "tries": ("{n} попытка", "{n} попытки", "{n} попыток"),
    "deaths": ("{n} раз", "{n} раза", "{n} раз"),
    "errors": ("{n} ошибка", "{n} ошибки", "{n} ошибок"),
    "warnings": ("{n} предупреждение", "{n} предупреждения", "{n} предупреждений"),
    "events": ("{n} событие", "{n} события", "{n} событий"),
    "replies": ("{n} ответ", "{n} ответа", "{n} ответов"),
    "entries": ("{n} запись", "{n} записи", "{n} записей"),
    "processes": ("{n} процесс", "{n} процесса", "{n} процессов"),
    "sections": ("{n} раздел", "{n} раздела", "{n} разделов"),
    "days": ("{n} день", "{n} дня", "{n} дней"),
    "comments": ("{n} комментарий", "{n} комментария", "{n} комментариев"),
    "rows": ("{n} строка", "{n} строки", "{n} строк"),
}


def russian_count(what: str, n: int) -> str:
    """Return a number of things in Russian."""
    return RUSSIAN_COUNTS[what][_russian_form(n)].format(n=n)


def _russian_form(n: int) -> int:
    """Return the plural form: 0 for 1, 21, 31 …; 1 for 2-4, 22-24 …; 2 for the rest."""
    if n % 10 == 1 and n % 100 != 11:
        return 0
    return 1 if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else 2
