"""A payment from the request for it to the bank's call, under the real pipeline of bothost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from bothost.testing import Harness, HarnessBot, faults, field, task, trouble
from payment_callback import PaymentCallback

SETTINGS: dict[str, Any] = {"pay_page": "https://pay.example.com/order", "bank_key": "the-key-of-the-bank"}


def served(bothost: Harness) -> HarnessBot:
    return bothost.bot(PaymentCallback, **SETTINGS)


def order(**keys: Any) -> dict[str, Any]:
    fields = {"Amount": field(Decimal("12.50"), type="money"), "Paid": field(False, type="checkmark")}
    return task(form_id=321, step=1, id=4711, fields=fields, **keys)


def told(**keys: Any) -> dict[str, Any]:
    return {"payment_id": "p-1", "order": 4711, "amount": "12.50", **keys}


def test_the_link_is_written_once_and_the_step_stays_open(bothost: Harness) -> None:
    bot = served(bothost)
    assert bot.deliver(order()).json == {
        "text": "Please pay 12.50: https://pay.example.com/order?order=4711&amount=12.50"
    }
    again = order()
    assert bot.deliver(again).reply is None


def test_the_banks_call_approves_once_however_often_it_comes(bothost: Harness) -> None:
    bot = served(bothost)
    bot.deliver(order())
    first, second = bot.hook("paid", json=told()), bot.hook("paid", json=told())
    assert (first.status, second.status) == (202, 202)
    assert first.json == second.json
    (comment,) = [each for each in bothost.pyrus.comments(4711) if each.choice]
    assert (comment.text, comment.choice, comment.fields) == ("Paid: p-1.", "approved", {"Paid": "checked"})


def test_another_amount_is_left_to_people(bothost: Harness) -> None:
    bot = served(bothost)
    bot.deliver(order())
    assert bot.hook("paid", json=told(amount="1.00")).status == 202
    assert bothost.pyrus.comments(4711)[-1].text.startswith("Payment p-1 is 1.00 instead of 12.5")
    assert bothost.pyrus.comments(4711)[-1].choice is None


def test_who_does_not_know_the_key_is_refused(bothost: Harness) -> None:
    assert served(bothost).hook("paid", json=told(), sign=False).status == 403


@pytest.mark.parametrize("wrong", [{"order": "none"}, {"amount": "much"}, {"payment_id": None, "order": None}])
def test_a_call_that_makes_no_sense_is_answered_400(bothost: Harness, wrong: dict[str, Any]) -> None:
    answer = served(bothost).hook("paid", json=told(**wrong))
    assert answer.status == 400
    assert "order is the number of a task" in answer.text


def test_a_payment_that_pyrus_could_not_be_told_of_is_told_later(bothost: Harness) -> None:
    bot = served(bothost)
    bot.deliver(order())
    bothost.pyrus.fail("POST tasks/*/comments", trouble.answer(503, "server_error"))
    assert bot.hook("paid", json=told()).status == 202
    bothost.clock.advance("2m")
    assert [each.choice for each in bothost.pyrus.comments(4711)] == [None, "approved"]


def test_a_run_that_a_crash_cut_off_says_it_all_the_same_and_once() -> None:
    (crash,) = (fault for fault in faults if fault.__name__ == "crash_and_rerun")
    crash(PaymentCallback, order(), **SETTINGS)
