"""Requests of other services become tasks and comments, on the harness's Pyrus."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import pytest

from bothost import BothostError
from bothost.testing import trouble
from inbox import Inbox

if TYPE_CHECKING:
    from bothost.testing import Harness

KEY = "a key that the bank knows too"
PAID = {"id": "p-1", "task": 5600, "amount": 12.50, "payer": "ООО «Ромашка»"}


def commenting(bothost: Harness, **keys: Any) -> Any:
    bothost.pyrus.add_task(id=5600)
    given: dict[str, Any] = {"id": "/id", "task": "/task", "text": "Paid {/amount} by {/payer}."} | keys
    return bothost.bot(Inbox, key=KEY, **given)


def making(bothost: Harness, **keys: Any) -> Any:
    bothost.pyrus.add_form(321, [{"id": 1, "type": "text", "name": "Payer"}, {"id": 2, "type": "money", "name": "Sum"}])
    return bothost.bot(Inbox, key=KEY, id="Idempotency-Key", form=321, fields="Payer = {/payer}\nSum = /amount", **keys)


@pytest.mark.parametrize("hook", ["signed", "token"])
def test_a_request_becomes_one_comment_although_the_service_calls_twice(bothost: Harness, hook: str) -> None:
    bot = commenting(bothost)
    first, second = bot.hook(hook, json=PAID), bot.hook(hook, json=PAID)
    assert (first.status, second.status) == (202, 202)
    assert first.json == second.json
    assert bothost.assert_one_comment().text == "Paid 12.5 by ООО «Ромашка»."


def test_a_service_signs_in_its_own_way(bothost: Harness) -> None:
    bot = commenting(bothost, signature_header="X-Hub-Signature", prefix="sha1=", digest="sha1")
    body = b'{"id": 7, "task": "5600", "amount": 1, "payer": null}'
    header = "sha1=" + hmac.new(KEY.encode(), body, hashlib.sha1).hexdigest()
    assert bot.hook("signed", body=body, sign=False, headers={"X-Hub-Signature": header}).status == 202
    assert bot.hook("signed", body=body, sign=False, headers={"X-Hub-Signature": header[5:]}).status == 403
    assert bot.hook("signed", body=body, sign=False, headers={"X-Signature": header}).status == 403
    assert bothost.assert_one_comment().text == "Paid 1 by ."


@pytest.mark.parametrize(
    ("number", "text"),
    [(b"1E5", "100000"), (b"1.50", "1.50"), (b"2e-7", "0.0000002"), (b"1e999999999", "1E+999999999")],
)
def test_a_number_reads_as_people_write_it(bothost: Harness, number: bytes, text: str) -> None:
    bot = commenting(bothost)
    body = b'{"id": 7, "task": 5600, "amount": ' + number + b', "payer": "x"}'
    assert bot.hook("signed", body=body).status == 202
    assert bothost.assert_one_comment().text == f"Paid {text} by x."


def test_an_old_request_is_refused_where_the_service_sends_its_time(bothost: Harness) -> None:
    bot = commenting(bothost, timestamp_header="X-Time")
    assert bot.hook("signed", json=PAID).status == 202
    stale = {"X-Time": "1700000000", "X-Signature": "00" * 32}
    assert bot.hook("signed", json=PAID, sign=False, headers=stale).status == 403


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"not JSON", "the body is not JSON"),
        (b'{"id": 1}', "the body has nothing at /task"),
        (b'{"task": 5600, "amount": 1, "payer": "x"}', "the body has nothing at /id"),
        (b'{"id": "", "task": 5600, "amount": 1, "payer": "x"}', "the request has no id: /id is missing or empty"),
        (b'{"id": 1, "task": -1, "amount": 1, "payer": "x"}', "/task must be a task's id, a number above 0"),
        (b'{"id": 1, "task": true, "amount": 1, "payer": "x"}', "/task must be a task's id, a number above 0"),
        (
            b'{"id": 1, "task": 5600, "amount": [], "payer": "x"}',
            "/amount must be a text, a number, true, false or null",
        ),
        (b'{"id": 1, "task": 5600, "amount": NaN, "payer": "x"}', "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
    ],
)
def test_a_request_that_cannot_be_used_tells_its_caller_why(bothost: Harness, body: bytes, said: str) -> None:
    bot = commenting(bothost)
    answer = bot.hook("signed", body=body)
    assert (answer.status, answer.json) == (400, {"error": said})
    assert bothost.pyrus.comments() == []


def test_a_request_becomes_a_task_of_a_form_once(bothost: Harness) -> None:
    bot = making(bothost)
    body = b'{"payer": "Anna", "amount": 0.30}'
    for _ in range(2):
        assert bot.hook("signed", body=body, headers={"Idempotency-Key": "n-1"}).status == 202
    (made,) = made_tasks(bothost)
    assert field_values(made) == {1: "Anna", 2: 0.3}


def test_a_posted_html_form_is_read_too(bothost: Harness) -> None:
    bot = commenting(bothost)
    assert bot.hook("token", form={name: str(value) for name, value in PAID.items()}).status == 202
    assert bothost.assert_one_comment().text == "Paid 12.5 by ООО «Ромашка»."


def test_a_comment_whose_answer_was_lost_is_not_written_again(bothost: Harness) -> None:
    bot = commenting(bothost)
    bothost.pyrus.fail("POST tasks/*/comments", trouble.lose_answer())
    assert bot.hook("signed", json=PAID).status == 202
    bothost.clock.advance("5m")
    bothost.assert_one_comment()


def test_a_task_that_may_have_been_made_is_not_made_again(bothost: Harness) -> None:
    bot = making(bothost)
    bothost.pyrus.fail("POST tasks", trouble.lose_answer())
    bot.hook("signed", body=b'{"payer": "Anna", "amount": 1}', headers={"Idempotency-Key": "n-1"})
    bothost.clock.advance("5m")
    assert len(made_tasks(bothost)) == 1


def test_a_task_that_was_surely_not_made_is_made_later(bothost: Harness) -> None:
    bot = making(bothost)
    bothost.pyrus.fail("POST tasks", trouble.refuse_connection(), times=2)
    bot.hook("signed", body=b'{"payer": "Anna", "amount": 1}', headers={"Idempotency-Key": "n-1"})
    bothost.clock.advance("5m")
    assert len(made_tasks(bothost)) == 1


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"text": "x"}, "needs either `task`"),
        ({"task": "/t", "form": 3, "text": "x"}, "needs either `task`"),
        ({"task": "/t"}, "writes nothing"),
        ({"form": 3, "text": "x"}, "`form` goes with `fields`"),
        ({"task": "t", "text": "x"}, "is no JSON pointer"),
        ({"task": "/t", "text": "{amount}"}, "holds no JSON pointer"),
        ({"task": "/t", "fields": "Sum = {amount}"}, "holds no JSON pointer"),
    ],
)
def test_wrong_settings_say_what_would_be_right(bothost: Harness, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(BothostError, match=said):
        bothost.bot(Inbox, key=KEY, id="/id", **keys)


def made_tasks(bothost: Harness) -> list[dict[str, Any]]:
    return [task for task in bothost.pyrus.world.tasks.values() if task.get("form_id") == 321]


def field_values(task: dict[str, Any]) -> dict[int, Any]:
    return {one["id"]: one["value"] for one in task["fields"]}
