"""What people read is said in their language: chosen rightly, complete, with the same places, and counted as Russian does."""

from __future__ import annotations

import errno
import os
import re
import time
from string import Formatter

import pytest

from bothost.language import MESSAGES, RUSSIAN, choose, of_terminal
from bothost.language.numbers import ENGLISH_COUNTS, RUSSIAN_COUNTS
from bothost.language.russian_answers import ANSWERS
from bothost.language.russian_errors import ERRORS
from bothost.language.russian_raised import RAISED
from bothost.language.russian_reasons import REASONS
from bothost.language.russian_texts import TEXTS

WHOLE = {
    "request: not stored yet": "запрос: ещё не сохранён",
    "paused since 2026-01-02T03:04:05Z: by anna on the command line": "на паузе с 2026-01-02T03:04:05Z: anna в командной строке",
    "config error: secret: is empty: a bot without a secret would believe anybody": "ошибка настройки: secret: пусто: бот без секрета верил бы кому угодно",
    "autoreply 0.1.0 at /autoreply, off": "autoreply 0.1.0 на /autoreply, выключен",
    "autoreply 0.1.0 at /autoreply": "autoreply 0.1.0 на /autoreply",
    "in /srv/state: written and read in 3 ms": "в /srv/state: записано и прочитано за 3 мс",
    "only 0.4 GB free at /srv: a full disk refuses late events; make room or lower keep": "свободно всего 0.4 ГБ в /srv: полный диск не примет опоздавших событий; освободите место или уменьшите keep",
    "45 s behind of the servers asked: start a time service": "отстают на 45 с от спрошенных серверов: включите службу времени",
    "a on host/0: restarted; what ran (2) ends on the old instance": "a на host/0: перезапущен; что выполнялось (2), кончится на старом экземпляре",
    "a paused (on 2 processes): by root on the command line": "a paused (процессов: 2): root в командной строке",
    "2 more skipped: 2 timers, jobs and the like": "ещё пропущено 2: 2 — таймеры, отложенные работы и прочее",
    "vm/0: 4 bots; changed: two; added: new; removed: gone": "vm/0: 4 бота; изменены: two; добавлены: new; удалены: gone",
    "repeat of 14:02, not run again; `--fresh` gives it new ids": "повтор доставки от 14:02, снова не запускалось; `--fresh` даст новые номера",
    "--set 'a.b=1': there is nothing below 'a', because it belongs to a list, whose indexes are numbers": "--set 'a.b=1': под 'a' ничего нет: это список, его индексы — числа",
    "[bot:a] does not serve on the running host, it is paused: by anna on the command line": "[bot:a] не работает на запущенном хосте, он на паузе: anna в командной строке",
    "'/x' is the path of [bot:b], line 7 already": "'/x' — уже путь [bot:b], строка 7",
    "is not a PostgreSQL address (did you mean 'postgresql'?): write postgresql://U@H/D, or nothing": "— не адрес PostgreSQL (может быть, 'postgresql'?): пишите postgresql://U@H/D или ничего",
    "'x' is in a section whose name is wrong": "'x' стоит в разделе с неверным именем",
    "'x' is in no section: put it below [host], [bot] or [bot:NAME]": "'x' не стоит ни в одном разделе: поместите под [host], [bot] или [bot:NAME]",
    "'ja' is neither yes nor no": "'ja' — не yes и не no",
    "[bot:a] plugin x is an instance of Bot; the entry point must name a function or a subclass of bothost.Plugin": "[bot:a] plugin x — экземпляр Bot; точка входа должна называть функцию или наследника bothost.Plugin",
    "leave_bot has no 'Bott' (did you mean 'Bot'?) (there are: Bot): write what is there into [project.entry-points.\"bothost.plugins\"] of its pyproject.toml, and run `pip install -e .` again, because entry points are read from the installed metadata": "в leave_bot нет 'Bott' (может быть, 'Bot'?) (есть: Bot): впишите, что есть, в [project.entry-points.\"bothost.plugins\"] его pyproject.toml и снова запустите `pip install -e .`: точки входа читаются из данных установленного пакета",
    "the installed package x is malformed and was skipped: its METADATA has 9 bytes; reinstall it or remove that folder": "установленный пакет x испорчен и пропущен: в его METADATA 9 байт; переустановите его или удалите эту папку",
    "0 must be at least 1": "0 должно быть не меньше 1",
    "must have at most 3 characters": "нужно знаков не больше 3",
    "a has 5 entries with digest abc, b has 6 with def: b has changed meanwhile; copy again into an empty journal": "в a 5 записей, свёртка abc; в b их 6, свёртка def: b тем временем изменился; скопируйте заново в пустой журнал",
    "21 events of old belong to new now; 1 stay, because they run at this moment or new has the same events": "21 событие бота old теперь у new; осталось 1: они сейчас выполняются, или такие же события есть у new",
    "2 open events wait for the bot 'x', which is not in bots.ini: put its section back, or give them to another bot by bothost deliveries move --from x --to NEW": "незаконченных событий ждут: 2, а бота 'x' нет в bots.ini: верните его раздел или отдайте события другому боту: bothost deliveries move --from x --to NEW",
    "1 run failed within the hour: bothost deliveries list --bot a": "за час сбой: 1 запуск: bothost deliveries list --bot a",
    "its process died 3 times within an hour; the last time it ended with exit code 1": "его процесс умер 3 раза за час; в последний раз: завершился с кодом 1",
    "3 events to retry, some 2 s at 5/s": "повторить: 3 события, около 2 с, темп 5/s",
    "Invalid value for '--limit': 'x' is not a valid integer range.": "Неверное значение '--limit': 'x' — не целое число.",
    "error: No such option '--x'.": "ошибка: Нет параметра '--x'.",
    "No such option '--jsn'. Did you mean '--json'?": "Нет параметра '--jsn'. Может быть, '--json'?",
    "No such option '--sett'. (Did you mean one of: '--secret', '--set'?)": "Нет параметра '--sett'. (Может быть, '--secret', '--set'?)",
    "raised ReplyError: text: 5 cannot stand here; give a text": "упал с ошибкой ReplyError: text: 5 здесь не годится; нужен текст",
    "field_updates['A']: None cannot stand here; give True or False": "field_updates['A']: None здесь не годится; нужно True или False",
    "choice: 'x' cannot stand here; give one of approved, rejected": "choice: 'x' здесь не годится; нужно одно из: approved, rejected",
    "field_updates['A']: 'x' is no choice of 'Kind'; it has 'a', 'b'": "field_updates['A']: 'x' — не вариант поля 'Kind'; есть: 'a', 'b'",
    "the task has no field 'Amuont'; near: 'Amount' (id 5)": "у задачи нет поля 'Amuont'; похожие: 'Amount' (id 5)",
    "the table 'Lines' has no field 'x'; it has none at all": "у таблицы 'Lines' нет поля 'x'; полей нет вовсе",
    "[bot:a] @on(form=): 'settings.form' gives 'x', which is not a number": "[bot:a] @on(form=): 'settings.form' даёт 'x', а это не число",
    "GET /tasks/5: [bot:a] its token was refused, and it has no login to get a new one with; set login = bot@…": "GET /tasks/5: [bot:a] его токен отвергнут, а login, чтобы получить новый, не задан; задайте login = bot@…",
    "/srv/state belongs to root: start the host as root, or chown -R anna /srv/state": "/srv/state принадлежит root: запустите хост от root или chown -R anna /srv/state",
    "/srv/state/journal.db belongs to root, not to anna: look who put it there, then chown or remove it": "/srv/state/journal.db принадлежит root, а не anna: выясните, кто его туда положил, и смените владельца или удалите файл",
    "[host] state: others may write into /srv/state, which holds the journal and tokens: chmod 700 /srv/state": "[host] state: в /srv/state, где журнал и токены, могут писать другие: chmod 700 /srv/state",
    "journal: is empty, and the last one used here, /srv/a, still holds 3 open events: put the old setting back, or run bothost journal copy /srv/a /srv/b, or begin anew without them by removing /srv/a": "journal: пуст, а в прежнем, /srv/a, незаконченных событий: 3; верните прежнюю настройку, или запустите bothost journal copy /srv/a /srv/b, или начните без них, удалив /srv/a",
    "text: the catalog 5 is needed for its items; and the catalog 5 cannot be read: GET catalogs/5: 403": "text: нужен справочник 5 с его строками; а справочник 5 не прочесть: GET catalogs/5: 403",
    "login bot@x: log in at accounts.pyrus.com: no answer within 10 s": "login bot@x: вход на accounts.pyrus.com: нет ответа за 10 с",
    "Missing argument 'BOT'.": "Не хватает аргумента 'BOT'.",
}
"""Messages as they come out, put together from several parts."""


def test_languages_go_by_the_browsers_preference() -> None:
    chosen = {
        "ru": "ru", "en-GB,ru;q=0.5": "en", "de,ru;q=0.5,en;q=0.3": "ru", "ru;q=0,en": "en", "": "en", "*": "en",
        "ru;q=x": "en", "uk,ru;q=0.9": "ru",
    }  # fmt: skip
    assert {header: choose(header).code for header in chosen} == chosen


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"LANG": "ru_RU.UTF-8"}, "ru"), ({"LANG": "C.UTF-8"}, "en"), ({}, "en"), ({"LANG": "ru"}, "ru"), ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ru_RU.UTF-8"}, "ru"), ({"LANG": "ru_RU.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "ru_RU.UTF-8", "LC_MESSAGES": ""}, "ru"), ({"LANG": "ru_RU.UTF-8", "LANGUAGE": "en_GB:ru"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "de:ru"}, "ru"), ({"LANG": "C", "LANGUAGE": "ru"}, "en"), ({"LANG": "POSIX", "LANGUAGE": "ru"}, "en"),
    ],
)  # fmt: skip
def test_a_terminals_language_goes_by_the_variables_of_gettext(env: dict[str, str], code: str) -> None:
    assert of_terminal(env).code == code


def test_numbers_are_counted_as_russian_does() -> None:
    assert [RUSSIAN.count("deliveries", n) for n in (1, 2, 5, 11, 21, 22, 112)] == [
        "1 доставка", "2 доставки", "5 доставок", "11 доставок", "21 доставка", "22 доставки", "112 доставок",
    ]  # fmt: skip
    assert set(RUSSIAN_COUNTS) == set(ENGLISH_COUNTS)


def test_each_text_has_the_same_places_in_both_languages() -> None:
    def places(text: str) -> list[tuple[str, str]]:
        return sorted({(name, what or "") for _, name, what, _ in Formatter().parse(text) if name is not None})

    for english, russian in TEXTS.items():
        assert places(english) == places(russian), english
    for english, russian in MESSAGES.items():
        assert {name for name, _ in places(russian)} <= {name for name, _ in places(english)}, english
        assert {name for name, what in places(english) if what != "number"} <= {name for name, _ in places(russian)} | {
            "n"
        }, english
        assert re.search("[а-яё]", russian) or not re.sub(r"\{[^}]*\}|[A-Z_]", "", english).strip(" …—"), english


def test_no_message_stands_in_two_tables() -> None:
    assert len(MESSAGES) == len(REASONS) + len(ERRORS) + len(RAISED) + len(ANSWERS)


def test_messages_are_translated_part_by_part() -> None:
    assert {english: RUSSIAN.message(english) for english in WHOLE} == WHOLE


@pytest.mark.parametrize(
    "name", ["ENOSPC", "EROFS", "EACCES", "EEXIST", "ENOTDIR", "EADDRINUSE", "EADDRNOTAVAIL", "EMFILE"]
)
def test_what_the_system_refuses_is_told_in_russian(name: str) -> None:
    told = os.strerror(getattr(errno, name))
    assert not re.search("[a-z]", RUSSIAN.message(f"error: /srv/x: {told}").removeprefix("ошибка: /srv/x: ")), told


def test_what_no_template_knows_stays_as_it_is() -> None:
    told = "Traceback: the user's own words, {braces} and 100% of 'quotes'"
    assert RUSSIAN.message(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "( ) (" + "every permit (" * 600 + ") is held by a run past timeout = " * 600,
        "a." * 16_000 + " x has no login, so no reply could be posted; set one first",
        "x raised y: (a" * 2_500,
        "raised z: (b:\n" * 2_500,
    ],
    ids=["many beginnings", "a long word", "words of a plugin that never end", "many lines of a plugin"],
)
def test_a_plugins_long_error_costs_little(text: str) -> None:
    began = time.process_time()
    RUSSIAN.message(text)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("english", "own"),
    [
        ("handle raised ValueError: there are no rows, a blank (rules.py:5)", "ValueError: there are no rows, a blank (rules.py:5)"),
        ("[bot:a] open raised x.GiveUp: no such key: 3 bots", "GiveUp: no such key: 3 bots"),
        ("handle raised E: a tab (r.py:5)\nTraceback (most recent call last):\nE: there are 3 bots", "last):\nE: there are 3 bots"),
        ("paused by the operator: there are 3 bots", ": there are 3 bots"),
    ],
)  # fmt: skip
def test_the_words_of_a_plugin_and_of_an_operator_stay_as_they_are(english: str, own: str) -> None:
    told = RUSSIAN.message(english)
    assert told.endswith(own)
    assert re.search("[а-яё]{3}", told), "what is ours is Russian"


def test_our_own_errors_in_a_handler_are_told_in_russian() -> None:
    told = RUSSIAN.message(
        "handle raised CallUnsent: GET tasks/5 at h: Connection refused (did you mean 'x'?) (rules.py:5)"
    )
    assert (
        told
        == "handle упал с ошибкой CallUnsent: GET tasks/5 at h: соединение отвергнуто (может быть, 'x'?) (rules.py:5)"
    )
