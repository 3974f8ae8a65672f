"""Give the Russian of the page of `bothost dev`, by its English."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEV_PAGE: Mapping[str, str] = {
    "Pyrus, made up by bothost dev": "Имитация Pyrus (bothost dev)",
    "works": "работает",
    "loses answers": "теряет ответы",
    "answers late": "отвечает поздно",
    "is away": "недоступен",
    "lose the first answer": "терять первый ответ бота",
    "Set": "Применить",
    "Traffic": "Обмен",
    "Nothing was sent yet.": "Пока ничего не отправлено.",
    "→ bot": "→ бот",
    "→ API": "→ API",
    "log": "лог",
    "sent": "отправлено",
    "received": "получено",
    # tasks
    "Tasks": "Задачи",
    "All tasks": "Все задачи",
    "A task": "Задача",
    "There is none yet. Write the first one: the bot gets it at once.": "Пока ни одной. Создайте первую: бот сразу её получит.",
    "New task": "Новая задача",
    "Author": "Автор",
    "Text": "Текст",
    "Please have a look": "Посмотрите, пожалуйста",
    "Form's number": "Номер формы",
    "empty: a simple task": "пусто — обычная задача",
    "Fields, one a line": "Поля, по одному в строке",
    "Create and deliver": "Создать и отправить боту",
    # one task
    "Task {id}": "Задача {id}",
    "form {id}": "форма {id}",
    "step {number}": "этап {number}",
    "Step {number}": "Этап {number}",
    "still open": "открыта",
    "closed": "закрыта",
    "has approved": "согласовано",
    "has rejected": "отклонено",
    "has acknowledged": "ознакомлен",
    "has revoked": "решение отозвано",
    "has not decided": "ждёт решения",
    "has closed the task": "задача закрыта",
    "has reopened the task": "задача открыта снова",
    "through the API": "через API",
    "As": "От имени",
    "Approve": "Согласовать",
    "Reject": "Отклонить",
    "Acknowledge": "Ознакомлен",
    "Close": "Закрыть",
    "Reopen": "Открыть снова",
    "Deliver the same again to": "Отправить то же ещё раз боту",
    "Deliver": "Отправить",
    # what is wrong
    "Nobody is chosen as the author": "Не выбран автор",
    "No bot is chosen": "Не выбран бот",
    "A form is given by its number": "Форма задаётся номером",
    "There is no such page": "Такой страницы нет",
    "There is no such task": "Такой задачи нет",
}
