"""What the host says in English as reasons and errors, and its Russian."""

from __future__ import annotations

import re

REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(english), russian)
    for english, russian in (
        (
            r"(\S+) has no login, so no reply could be posted; set one first",
            r"у \1 нет login, поэтому ответ не отправить; сначала задайте его",
        ),
        (
            r"the step has moved on or the task is closed, so the reply would be refused again",
            "этап уже пройден или задача закрыта: ответ снова не примут",
        ),
        (r"the step has moved on", "этап уже пройден"),
        (r"asks for the plugin '([^']*)', which is not installed", r"просит плагин '\1', который не установлен"),
        (r"\(installed: ", "(установлены: "),
        (r"did you mean", "может быть,"),
        (r"no such key", "такого ключа нет"),
        (r"paused by the operator", "на паузе по воле оператора"),
        (r"enabled = no", "выключен: enabled = no"),
        (
            r"every permit \((\d+)\) is held by a run past timeout = (\S+)",
            r"все разрешения (\1) заняты запусками дольше timeout = \2",
        ),
        (
            r"a thread cannot be stopped; `bothost restart (\S+)` goes on without it; give the handler a time limit of its own or the bot run = process",
            r"поток не остановить; `bothost restart \1` продолжит без него; дайте обработчику свой предел времени или боту run = process",
        ),
        (r"its process died (\d+) times within an hour", r"его процесс умер \1 раза за час"),
        (r"cancelled by the operator", "отменено оператором"),
        (r"expired: its bot did not come back", "истекло: бот не вернулся"),
        (
            r"the host stopped before the outcome was recorded; Pyrus may have it",
            "хост остановился раньше, чем записал исход; возможно, Pyrus его получил",
        ),
        (r"no login: ", "нет login: "),
        (
            r"the signature is missing or wrong: bots.ini and Pyrus hold different secrets, or this is not Pyrus",
            "подписи нет или она неверна: ключи в bots.ini и в Pyrus разные, или это не Pyrus",
        ),
        (r"no bot has this path", "такого пути нет ни у одного бота"),
        (r"(\d+) answered", r"\1 отвечено"),
    )
)
"""What the host says in English as reasons, and its Russian. Names and numbers are kept."""
