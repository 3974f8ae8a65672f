"""Names that the task does not show are looked up in the form's definition, once in ten minutes and only at need."""

from __future__ import annotations

from typing import Any

import pytest
from tests.pyrus_client.api.test_whole_api import FORM

from bothost import Event, Plugin, Reply, Settings
from bothost.errors import CallUnclear, ReplyError
from bothost.testing import Harness, task
from bothost.testing.fake_pyrus import faults

TABLE = {
    "id": 6, "type": "table", "name": "Lines",
    "info": {"columns": [{"id": 61, "type": "text", "name": "Goods"}, {"id": 62, "type": "number", "name": "Count"},
                         {"id": 63, "type": "checkmark", "name": "Done"}]},
}  # fmt: skip
SECTION = {"id": 9, "type": "title", "name": "More", "info": {"fields": [{"id": 91, "type": "text", "name": "Inner"}]}}


class Rules(Settings):
    updates: str = ""


class Writer(Plugin[Rules]):
    async def handle(self, event: Event) -> Reply:
        return Reply("done", field_updates=UPDATES[self.settings.updates])


UPDATES: dict[str, Any] = {
    "": {"Status": "Open", "Amount": 5},
    "typo": {"Statsu": "Open"},
    "choice": {"Status": "Opne"},
    "shown": {"Seen": "x"},
}


def with_form(bothost: Harness) -> None:
    bothost.pyrus.add_form(321, [*FORM, TABLE, SECTION])


def test_a_reply_names_what_the_task_does_not_show(bothost: Harness) -> None:
    with_form(bothost)
    answer = bothost.bot(Writer).deliver(task(form_id=321))
    assert answer.json["field_updates"] == [{"id": 2, "value": {"choice_ids": [8]}}, {"id": 1, "value": 5}]
    assert bothost.pyrus.titles("forms") == ["GET forms/321"]


def test_no_request_is_made_where_the_task_tells(bothost: Harness) -> None:
    with_form(bothost)
    answer = bothost.bot(Writer, updates="shown").deliver(task(form_id=321, fields={"Seen": "s"}))
    assert answer.reply.text == "done"
    assert not bothost.pyrus.titles()


@pytest.mark.parametrize(("updates", "near"), [("typo", "'Status'"), ("choice", "'Open'")])
def test_a_typo_names_near_ones_from_the_whole_form(bothost: Harness, updates: str, near: str) -> None:
    with_form(bothost)
    answer = bothost.bot(Writer, updates=updates).deliver(task(form_id=321, fields={"Seen": "s"}))
    assert answer.status == 500
    assert near in str(answer.error)


def test_a_form_that_cannot_be_read_is_an_error_with_that_reason(bothost: Harness) -> None:
    answer = bothost.bot(Writer).deliver(task(form_id=321, fields={"Seen": "s"}))
    assert "access_denied_form" in str(answer.error)
    assert "the task has no field 'Status'" in str(answer.error)


def test_where_pyrus_is_away_the_event_fails_as_any_run_does(bothost: Harness) -> None:
    bothost.pyrus.fail("GET forms/*", faults.gateway(503), times=99)
    answer = bothost.bot(Writer).deliver(task(form_id=321, fields={"Seen": "s"}))
    assert answer.status == 500
    assert isinstance(answer.error, CallUnclear)


def test_the_form_is_fetched_once_for_many_runs_and_again_after_ten_minutes(bothost: Harness) -> None:
    with_form(bothost)
    bot = bothost.bot(Writer)
    for _ in range(20):
        bot.deliver(task(form_id=321))
    assert bothost.pyrus.titles("forms") == ["GET forms/321"]
    bothost.clock.advance("601s")
    bot.deliver(task(form_id=321))
    assert len(bothost.pyrus.titles("forms")) == 2


def updates_of(desk: Any, updates: Any, **shown: Any) -> Any:
    """The `field_updates` of a comment that a handler writes itself."""
    desk.pyrus.add_form(321, [*FORM, TABLE, SECTION])
    desk.pyrus.add_catalog(44, ["City"], [["Omsk"], ["Tomsk"]])
    desk.pyrus.add_task(id=5, form_id=321, fields=list(shown.values()))
    bodies: list[Any] = []

    async def work(api: Any) -> None:
        send = api.sender.send

        async def watched(request: Any, content: Any = None) -> Any:
            bodies.append(request.body)
            return await send(request, content)

        api.sender.send = watched
        await api.comment(5, Reply("x", field_updates=updates))

    desk.run(work)
    import json

    return json.loads(bodies[-1])["field_updates"]


@pytest.mark.parametrize(
    ("updates", "sent"),
    [
        ({"City": ["Omsk", "Tomsk"]}, [{"id": 5, "value": {"item_ids": [1, 2]}}]),
        ({"City": "Omsk"}, [{"id": 5, "value": {"item_name": "Omsk"}}]),
        ({"state": ["New", 8]}, [{"id": 2, "value": {"choice_ids": [7, 8]}}]),
        ({4: True}, [{"id": 4, "value": "checked"}]),
        ({"Inner": "i"}, [{"id": 91, "value": "i"}]),
        (
            {"Lines": [{"Goods": "Tea", "Count": 2, "Done": True}, {"row_id": 5, "Count": 3}, {"row_id": 4, "delete": True}]},
            [{"id": 6, "value": [
                {"row_id": 6, "cells": [{"id": 61, "value": "Tea"}, {"id": 62, "value": 2}, {"id": 63, "value": "checked"}]},
                {"row_id": 5, "cells": [{"id": 62, "value": 3}]},
                {"row_id": 4, "delete": True},
            ]}],
        ),
    ],
)  # fmt: skip
def test_choices_items_and_columns_are_written_by_name(desk: Any, updates: Any, sent: Any) -> None:
    assert updates_of(desk, updates) == sent


@pytest.mark.parametrize(
    ("updates", "error"),
    [
        ({"Lines": [{"Gods": "Tea"}]}, "near: 'Goods'"),
        ({"Goods": "Tea"}, "stands in a table"),
        ({"City": ["Omks", "Tomsk"]}, "'Omsk'"),
        ({99: 1}, "has no field 99"),
    ],
)
def test_a_wrong_name_is_an_error(desk: Any, updates: Any, error: str) -> None:
    with pytest.raises(ReplyError, match=error):
        updates_of(desk, updates)


def test_a_task_is_made_with_fields_by_name(desk: Any) -> None:
    desk.pyrus.add_form(321, FORM)
    made = desk.run(lambda api: api.create(form_id=321, fields={"Amount": 5, "Status": "New"}))
    assert (made["Amount"], made["Status"].names) == (5, ("New",))
    with pytest.raises(ReplyError, match="near: 'Amount'"):
        desk.run(lambda api: api.create(form_id=321, fields={"Amuont": 5}))


def test_an_account_that_may_not_read_a_form_does_not_see_it_by_anothers_answer(desk: Any) -> None:
    from tests.pyrus_client.unlimited import Unlimited

    from bothost.pyrus_client.api import Pyrus
    from bothost.pyrus_client.client import CallingBot, PyrusClient
    from bothost.pyrus_client.session import PyrusSession, SessionTerms

    async def work() -> int:
        client = PyrusClient(desk.clock, Unlimited(), desk.pyrus.transport())
        for number, name in ((900100, "one"), (900100, "one"), (2, "two")):
            terms = SessionTerms(desk.pyrus.world.issue_token(desk.bot), user_id=number)
            await Pyrus(PyrusSession(client, CallingBot(name), terms), desk.clock).known_form(321)
        return len(desk.pyrus.titles("forms"))

    desk.pyrus.add_form(321, FORM)
    assert desk.clock.run(work()) == 2
