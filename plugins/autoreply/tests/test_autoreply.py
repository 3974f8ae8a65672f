"""The bot of Pyrus's help page, on the harness."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from autoreply import Autoreply
from bothost.testing import comment, load, person, task

if TYPE_CHECKING:
    from bothost.testing import Harness


def test_the_sample_of_the_help_page_is_answered_as_it_says(bothost: Harness) -> None:
    answer = bothost.bot(Autoreply).deliver(load("sample.json"))
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "text": "Hello, test@pyrus.com. This task approved by bot.",
        "approval_choice": "approved",
    }


def test_all_that_it_says_is_a_setting(bothost: Harness) -> None:
    bot = bothost.bot(Autoreply, greeting="Доброе утро", text="Бот согласовал задачу.")
    answer = bot.deliver(task(author=person(email="ivan@corp.ru")))
    assert answer.reply is not None
    assert answer.reply.text == "Доброе утро, ivan@corp.ru. Бот согласовал задачу."


def test_an_author_without_an_address_is_greeted_by_name_or_not_by_name_at_all(bothost: Harness) -> None:
    bot = bothost.bot(Autoreply)
    named = bot.deliver(task(author={"id": 5, "first_name": "", "last_name": "Accounting", "email": ""}))
    assert named.reply is not None
    assert named.reply.text == "Hello, Accounting. This task approved by bot."
    unknown = bot.deliver(task(author={"id": 1730}))
    assert unknown.reply is not None
    assert unknown.reply.text == "Hello. This task approved by bot."


def test_it_does_not_answer_itself(bothost: Harness) -> None:
    bot = bothost.bot(Autoreply)
    assert bot.deliver(task(comments=[comment("done", author=bot.person)])).reply is None
