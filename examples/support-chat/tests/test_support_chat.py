"""A conversation, comment by comment, under the real pipeline of bothost."""

from __future__ import annotations

from typing import Any

import pytest

from bothost.testing import Harness, HarnessBot, comment, faults, me, person, task
from support_chat import SupportChat

SETTINGS: dict[str, Any] = {
    "answers": {"hours, open": "From nine to six.", "refund": "Within ten days."},
    "colleague": "support@example.com",
}
CUSTOMER = {"type": "telegram", "direction": "inbound", "from": {"name": "@ivan"}}
SYSTEM = person("Pyrus.com", "")


def served(bothost: Harness) -> HarnessBot:
    return bothost.bot(SupportChat, **SETTINGS)


def asked(text: str) -> dict[str, Any]:
    """What a customer writes in Telegram: its author is an account of Pyrus's own."""
    return comment(text, author=SYSTEM, channel=CUSTOMER)


def chat(*comments: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return task(form_id=321, id=77, author=SYSTEM, comments=comments, **keys)


@pytest.mark.parametrize(
    ("question", "answer"), [("When are you OPEN?", "From nine to six."), ("a refund please", "Within ten days.")]
)
def test_a_rule_answers_in_the_channel_of_the_question(bothost: Harness, question: str, answer: str) -> None:
    found = served(bothost).deliver(chat(asked(question)))
    assert found.json == {"text": answer, "channel": {"type": "telegram", "to": {"name": "@ivan"}}}


def test_an_employee_is_answered_in_the_task(bothost: Harness) -> None:
    author = person("Anna Gromova")
    found = served(bothost).deliver(task(author=author, comments=[comment("what hours?", author=author)]))
    assert found.json == {"text": "From nine to six."}


def test_what_no_rule_answers_is_handed_over_once(bothost: Harness) -> None:
    bot = served(bothost)
    first = asked("My parcel is wet")
    found = bot.deliver(chat(first))
    assert found.json["subscribers_added"] == [{"email": "support@example.com"}]
    assert found.json["text"].startswith("I am asking a colleague")
    bothost.clock.advance("1m")
    own = comment("I am asking a colleague", author=me(), channel={**CUSTOMER, "direction": "outbound"})
    assert bot.deliver(chat(first, own, asked("Hello?"))).reply is None
    assert bot.deliver(chat(first, own, asked("And a refund?"))).json["text"] == "Within ten days."


def test_it_is_silent_once_a_colleague_has_answered(bothost: Harness) -> None:
    colleague = comment("I am looking into it", author=person("Boris"), channel={**CUSTOMER, "direction": "outbound"})
    assert served(bothost).deliver(chat(asked("refund"), colleague, asked("refund!"))).reply is None


def test_it_answers_neither_colleagues_nor_closed_tasks(bothost: Harness) -> None:
    bot = served(bothost)
    assert bot.deliver(chat(asked("hi"), comment("a refund?", author=person("Boris")))).reply is None
    assert bot.deliver(chat(asked("refund"), is_closed=True)).reply is None


def test_a_run_that_a_crash_cut_off_says_it_all_the_same_and_once() -> None:
    (crash,) = (fault for fault in faults if fault.__name__ == "crash_and_rerun")
    crash(SupportChat, chat(asked("My parcel is wet")), **SETTINGS)
