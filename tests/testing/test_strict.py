"""The harness is as strict as Pyrus: what Pyrus would refuse fails the test, and so does a wrong argument of the harness."""

from __future__ import annotations

import threading
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from bothost import CallError, Event, Plugin, Reply, Settings, every
from bothost.errors import ConfigError
from bothost.testing import Harness, body, comment, field, file, person, task, trouble

if TYPE_CHECKING:
    from collections.abc import Callable


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


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("Boss", "chief@example.com", "Boss takes a person's {id} or {email}"),
        ("Boss", True, "Boss takes a person's {id} or {email}"),
        ("Part", True, "Part is a section and takes a checkmark"),
        ("Lines", ["Tea"], "a row of Lines is an object with cells"),
        ("Lines", [{"Goods": "Tea"}], "a row of Lines is an object with cells"),
        ("Lines", [{"cells": [{"value": "Tea"}]}], "a cell names its column by id"),
        ("Lines", [{"cells": [{"id": 9, "value": "Tea"}]}], "the table has no column 9"),
        ("Lines", [{"cells": [{"id": 4, "value": "two"}]}], "Count takes a number"),
        ("Supplier", {"item_name": "Nobody"}, "the catalog has no \\['Nobody'\\]"),
    ],
)
def test_a_value_in_pyruss_own_shape_is_looked_at_as_well(bothost: Harness, name: str, value: object, why: str) -> None:
    columns = [{"id": 3, "type": "text", "name": "Goods"}, {"id": 4, "type": "number", "name": "Count"}]
    bothost.pyrus.add_form(5, [
        {"id": 1, "type": "person", "name": "Boss"}, {"id": 2, "type": "table", "name": "Lines", "info": {"columns": columns}},
        {"id": 5, "type": "title", "name": "Part"}, {"id": 6, "type": "catalog", "name": "Supplier", "info": {"catalog_id": 7}},
    ])  # fmt: skip
    bothost.pyrus.add_catalog(7, ["Name"], [["Acme"]])
    bot = bothost.bot(answering({"text": "x", "field_updates": [{"name": name, "value": value}]}))
    with pytest.raises(AssertionError, match=f"Pyrus would refuse the reply .* {why}"):
        bot.deliver(task(form_id=5))


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


SLIPS: list[tuple[Callable[[], Any], str]] = [
    (lambda: task(fom_id=5), r"task has no fom_id= \(did you mean 'form_id'\?\)"),
    (lambda: task(form_id="5"), "form_id must be a whole number"),  # type: ignore[arg-type]
    (lambda: task(step=0), "step must be a whole number, 1 or more, and not 0"),
    (lambda: task(fields=["Amount"]), "fields must be a dict such as"),  # type: ignore[arg-type]
    (lambda: task(fields={"": 5}), "a field's key must be its name or its id, and not ''"),
    (lambda: task(fields={"Amount": object()}), "a value must be what JSON has"),
    (lambda: task(fields={"Amount": float("nan")}), "a value must be what JSON has.* and not nan"),
    (lambda: task(comments="Please pay"), "comments must be a list of texts"),
    (lambda: task(comments=[5]), r"a comment must be a text or a comment\(…\)"),  # type: ignore[list-item]
    (lambda: task(author=5), r"a person must be a person\(…\), me\(\) or an e-mail"),  # type: ignore[arg-type]
    (lambda: field(5, typ="money"), r"field has no typ= \(did you mean 'type'\?\)"),
    (lambda: person(emial="a@b.c"), r"person has no emial= \(did you mean 'email'\?\)"),
    (lambda: person(5), "name must be a text"),  # type: ignore[arg-type]
    (lambda: comment(txt="Please pay"), r"comment has no txt= \(did you mean 'text'\?\)"),
    (lambda: file("a.pdf", szie=5), r"file has no szie= \(did you mean 'size'\?\)"),
    (lambda: body(task(), evnt="close"), r"body has no evnt= \(did you mean 'event'\?\)"),
    (lambda: body(task), r"must be a task\(…\), and not <function task at .*: call it, task\(\)"),  # type: ignore[arg-type]
    (lambda: trouble.gateway("503"), "a status must be a whole number"),  # type: ignore[arg-type]
    (lambda: trouble.answer(999), "a status must be a number from 100 to 599"),
    (lambda: trouble.slow(-1), "seconds must be a number of seconds"),
]


@pytest.mark.parametrize(("make", "why"), SLIPS)
def test_a_slip_in_what_a_test_makes_is_an_error_in_its_own_line(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        make()


def test_a_key_that_only_a_later_pyrus_has_can_be_sent() -> None:
    assert task(sentiment="good", form_id=5)["sentiment"] == "good"
    assert field(5, weather="rain").keys == {"weather": "rain"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 5), ("email", ["a@b.c"]), ("checkmark", "yes"), ("flag", 1), ("person", 5), ("catalog", 1.5), ("file", True),
        ("multiple_choice", 2.5), ("form_link", "5"), ("step", "2"), ("table", {"Goods": "Tea"}), ("table", ["Tea"]), ("title", "Part"),
    ],
)  # fmt: skip
def test_no_type_of_field_takes_the_value_of_another(kind: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"a {kind} field cannot hold this value"):
        field(value, type=kind)


def test_a_slip_in_a_call_of_the_harness_is_an_error_in_the_tests_own_line(bothost: Harness) -> None:
    bot, pyrus, clock, any_bothost = bothost.bot(Ticking), bothost.pyrus, bothost.clock, cast("Any", bothost)
    slips: list[tuple[Callable[[], Any], str]] = [
        (lambda: any_bothost.bot(Ticking, ini="late = retry"), "ini must be a dict such as"),
        (lambda: any_bothost.bot(Ticking, name=5), "name must be a text"),
        (lambda: any_bothost.assert_one_comment("5"), "a task's id must be a whole number"),
        (lambda: setattr(any_bothost, "real_limit", "5s"), "real_limit must be a number of seconds"),
        (lambda: bot.deliver(task(), attemp=2), r"HarnessBot.deliver has no attemp= \(did you mean 'attempt'\?\)"),  # type: ignore[call-arg]
        (lambda: bot.deliver(task(), attempt=2.0), "attempt must be a number, a text such as 2/3, or None"),  # type: ignore[arg-type]
        (lambda: bot.deliver(task), r"what is delivered must be .* call it, task\(\)"),  # type: ignore[arg-type]
        (lambda: bot.deliver("x"), "what is delivered must be"),  # type: ignore[arg-type]
        (lambda: bot.hook("take", jsn={}), r"HarnessBot.hook has no jsn= \(did you mean 'json'\?\)"),  # type: ignore[call-arg]
        (lambda: bot.hook("take", json={}, body=b"x"), "a request has one content"),
        (lambda: bot.hook("take", body="x"), "body must be bytes"),  # type: ignore[arg-type]
        (lambda: bot.hook("take", files={"file": b"x"}), "files must be a dict such as"),  # type: ignore[dict-item]
        (lambda: bot.hook("take", headers={"A": "b\r\nC: d"}), "headers must be a dict of texts"),
        (lambda: clock.advance(None), "a step of the clock must be a duration"),  # type: ignore[arg-type]
        (lambda: clock.set(5), "a moment must be a text such as"),  # type: ignore[arg-type]
        (lambda: pyrus.fail("GET tasks/*", trouble.slow(1), tims=2), r"FakePyrus.fail has no tims= \(did you mean 'times'\?\)"),  # type: ignore[call-arg]
        (lambda: pyrus.add_catalog(5, ["A", "B"], [["x"]]), r"a row of a catalog must be a list of texts, one for each of \['A', 'B'\]"),
        (lambda: pyrus.add_catalog(5, ["A"], [{"A": "x"}]), "a row of a catalog must be"),  # type: ignore[list-item]
        (lambda: pyrus.add_form(5, {"Amount": "money"}), "the fields of a form must be a list such as"),  # type: ignore[arg-type]
        (lambda: pyrus.add_form(5, [{"id": 1, "name": "A", "type": "mony"}]), r"no field of type 'mony' \(did you mean 'money'\?\)"),
        (lambda: pyrus.add_form(5, [{"id": 1, "name": "A", "type": "text"}] * 2), "two fields of the form have one id"),
        (lambda: pyrus.add_form(5, [], ["Chief"]), "the steps of a form must be a dict by number"),  # type: ignore[arg-type]
        (lambda: pyrus.add_file("a.txt", "text"), "a file's content must be bytes"),  # type: ignore[arg-type]
        (lambda: pyrus.add_page("print/5", "text"), "a page must be bytes"),  # type: ignore[arg-type]
        (lambda: pyrus.comments("5"), "a task's id must be a whole number"),  # type: ignore[arg-type]
    ]  # fmt: skip
    for slip, why in slips:
        with pytest.raises(TypeError, match=why):
            slip()
    with pytest.raises(ValueError, match="'tomorrow' is no moment: write one such as"):
        clock.set("tomorrow")
    with pytest.raises(AttributeError, match="real_limt"):
        any_bothost.real_limt = 5
    with pytest.raises(AssertionError, match=r"no timer 'swep' \(did you mean 'sweep'\?\)"):
        bot.tick("swep")


class Ticking(Plugin):
    @every("5m")
    async def sweep(self) -> None: ...


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
