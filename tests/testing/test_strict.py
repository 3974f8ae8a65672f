"""The harness is as strict as Pyrus: what Pyrus would refuse fails the test, and so does a wrong argument of the harness."""

from __future__ import annotations

import threading
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from bothost import CallError, Event, Plugin, Reply, Settings
from bothost.errors import ConfigError
from bothost.testing import Harness, field, task, trouble


def answering(reply: Any) -> Any:
    async def handler(_event: Event) -> Any:
        return reply

    return handler


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({"text": "x", "field_updates": [{"id": 90_001, "value": "пять"}]}, "takes a number"),
        ({"text": "x", "approvals_added": [{"email": "a@b.c"}]}, "list of lists"),
        ({"text": "x", "attachments": [{"guid": "report.pdf"}]}, "is no GUID"),
        ({"text": "x", "edit_comment_id": 1}, "comment"),
    ],
)
def test_a_reply_that_pyrus_would_refuse_fails_the_test_at_the_handler(
    bothost: Harness, reply: dict[str, Any], why: str
) -> None:
    bot = bothost.bot(answering(reply))
    with pytest.raises(AssertionError, match=why) as failed:
        bot.deliver(task(form_id=5, fields={"Sum": field(5, type="money", id=90_001)}))
    assert f"handler ({__file__}:" in str(failed.value)


def test_errors_of_the_harness_name_the_plugin(bothost: Harness) -> None:
    with pytest.raises(ConfigError, match="no setting of the plugin 'Desk'"):
        bothost.bot(Desk, limti=5)


def test_a_field_that_is_unknown_stands_in_the_handlers_line(
    bothost: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bothost.bot(answering(Reply("x", field_updates={"Suum": 5})))
    bothost.pyrus.add_form(5, [{"id": 8, "type": "money", "name": "Sum"}])
    bot.deliver(task(form_id=5))
    assert "near: 'Sum'" in caplog.text
    assert f"({__file__}:" in caplog.text


class Limits(Settings):
    limit: int = 5


class Desk(Plugin[Limits]):
    async def handle(self, event: Event) -> None: ...


def test_a_field_that_the_form_does_not_have_fails_the_test(bothost: Harness) -> None:
    bothost.pyrus.add_form(
        5, [{"id": 7, "type": "title", "name": "Part", "info": {"fields": [{"id": 8, "type": "money", "name": "Sum"}]}}]
    )
    bot = bothost.bot(answering({"text": "x", "field_updates": [{"name": "Sum", "value": 5}]}))
    bot.deliver(task(form_id=5))
    assert bothost.assert_one_comment().fields == {"Sum": 5}
    other = bothost.bot(answering({"text": "x", "field_updates": [{"name": "Suum", "value": 5}]}), name="other")
    with pytest.raises(AssertionError, match="no field 'Suum'"):
        other.deliver(task(form_id=5))


def test_a_refusal_that_nobody_asked_for_fails_the_test_at_its_end() -> None:
    def forgetful() -> None:
        with Harness() as bothost:
            bothost.bot(answering({"text": "x", "attachments": [{"guid": "x"}]})).begin(task())

    with pytest.raises(AssertionError, match="Pyrus would refuse the reply"):
        forgetful()


@pytest.mark.parametrize(
    ("arguments", "kind", "why"),
    [
        (("POST files/upload", 503), TypeError, "is no fault: write one of bothost.testing.trouble"),
        (("tasks/*/comments", trouble.lose_answer()), ValueError, "matches no request"),
        (("POST /tasks/*/comments", trouble.lose_answer()), ValueError, "matches no request"),
        (("PATCH tasks/5", trouble.lose_answer()), ValueError, "matches no request"),
        (("POST tasks/*", trouble.lose_answer(), 0), ValueError, "at least once"),
    ],
)
def test_a_wrong_fault_is_refused_at_the_call(
    bothost: Harness, arguments: Any, kind: type[Exception], why: str
) -> None:
    with pytest.raises(kind, match=why):
        bothost.pyrus.fail(*arguments)


def test_any_answer_can_be_scripted(bothost: Harness) -> None:
    async def handler(event: Event) -> str:
        answer = await event.pyrus.get("lists/5/tasks")
        return str(answer["tasks"][0]["id"])

    bothost.pyrus.answer("GET lists/*/tasks", {"tasks": [{"id": 4}]})
    bothost.pyrus.answer("GET lists/5/*", {"tasks": [{"id": 5}]})
    reply = bothost.bot(handler).deliver(task()).reply
    assert reply is not None
    assert reply.text == "5"
    with pytest.raises(TypeError):
        bothost.pyrus.answer("GET lists/5", object())


def test_a_call_that_the_fake_does_not_know_fails_the_test_by_name() -> None:
    async def handler(event: Event) -> str:
        with suppress(CallError):
            await event.pyrus.get("weather/today")
        return "sunny"

    def swallowing() -> None:
        with Harness() as bothost:
            bothost.bot(handler).deliver(task())

    with pytest.raises(
        AssertionError, match=r"does not know GET weather/today.*bothost\.pyrus\.answer\('GET weather/today'"
    ):
        swallowing()


def test_a_late_reply_that_pyrus_refuses_is_named_where_a_comment_is_missed(bothost: Harness) -> None:
    import asyncio

    async def slow(_event: Event) -> dict[str, Any]:
        await asyncio.sleep(70)
        return {"text": "x", "attachments": [{"guid": "report.pdf"}]}

    bothost.bot(slow).deliver(task())
    bothost.clock.advance("1m")
    with pytest.raises(
        AssertionError, match=r"0 comments .* Pyrus refused POST tasks/\d+/comments: 'report.pdf' is no GUID"
    ):
        bothost.assert_one_comment()


def test_a_comment_shows_what_it_says(bothost: Harness) -> None:
    async def handler(event: Event) -> Reply:
        made = await event.pyrus.upload(b"text", "a.txt")
        return Reply("ok", approval_choice="approved", attachments=[made], field_updates={"Sum": Decimal("5.50")})

    bothost.bot(handler).deliver(task(form_id=5, step=1, fields={"Sum": Decimal(3)}))
    wrote = bothost.assert_one_comment()
    assert (wrote.text, wrote.choice, wrote.attachments, wrote.fields) == ("ok", "approved", ["a.txt"], {"Sum": 5.5})


def test_exact_amounts_are_stored_and_read_back(bothost: Harness) -> None:
    read: list[Any] = []

    async def handler(event: Event) -> None:
        again = await event.pyrus.task(event.task_id)
        read.append(again.value("Q", Decimal))

    bothost.bot(handler).deliver(task(form_id=5, fields={"Q": Decimal("5000.40")}))
    assert read == [Decimal("5000.40")]


def test_a_field_has_the_class_of_its_type() -> None:
    assert field("5000.40", type="money").value == Decimal("5000.40")
    for wrong in ("пять", True, [], object()):
        with pytest.raises(ValueError, match="a money field cannot hold this value"):
            field(wrong, type="money")
    with pytest.raises(ValueError, match=r"no such type \(did you mean 'money'\?\)"):
        field(5, type="mony")
    with pytest.raises(ValueError, match="a date field"):
        field("tomorrow", type="date")


def test_a_debugger_stops_the_clock_of_real_time(bothost: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    bothost.real_limit = 0.05
    goes_on = threading.Event()

    def handler(_event: Event) -> str:
        goes_on.wait(0.3)
        return "looked at"

    with monkeypatch.context() as patched:
        patched.setattr("sys.gettrace", lambda: object())
        reply = bothost.bot(handler).deliver(task()).reply
    assert reply is not None
    assert reply.text == "looked at"
