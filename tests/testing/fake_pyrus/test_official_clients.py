"""The published clients make their bots' calls against the fake Pyrus on a socket, and read its answers as they read Pyrus's.

The fake is made after the documents. These clients were made by others, who had the real Pyrus before them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bothost.clock import SystemClock
from bothost.pyrus.signature import sign
from bothost.testing import body, encode, field, task
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:keys will default to True:DeprecationWarning"),  # of pyrus-api's jsonpickle
    # pyrus-api opens the file of an upload, and the connection of a download, and closes neither
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LOGIN, KEY = "bot@3f1c9c2e-5a55-4d0e-9a9b-6f2f7d0a1c55", "the key of the bot"
FIELDS: list[dict[str, Any]] = [
    {"id": 1, "type": "money", "name": "Amount", "info": {}},
    {"id": 2, "type": "multiple_choice", "name": "Status", "info": {"options": [
        {"choice_id": 1, "choice_value": "New"}, {"choice_id": 2, "choice_value": "Paid"}]}},
    {"id": 3, "type": "table", "name": "Lines", "info": {"columns": [
        {"id": 31, "type": "text", "name": "Goods", "info": {}}]}},
]  # fmt: skip


class Office:
    """A fake Pyrus on a socket, with a task that waits for the bot and then for the chief."""

    def __init__(self) -> None:
        self.pyrus = FakePyrus(SystemClock())
        self.bot = self.pyrus.add_bot(LOGIN, KEY).person
        self.chief = self.pyrus.add_person(
            first_name="Boris", last_name="Chief", email="chief@example.com", type="user"
        )
        self.pyrus.add_form(321, FIELDS, {1: "Check", 2: "Decide"})
        self.pyrus.add_catalog(5, ["Name", "Tax id"], [["Acme", "77"], ["Bolt", "78"]])
        rows = [
            [{"person": self.bot, "approval_choice": "waiting"}],
            [{"person": self.chief, "approval_choice": "waiting"}],
        ]
        fields = {
            "Amount": field(Decimal("12.50"), type="money", id=1),
            "Status": field("New", type="multiple_choice", id=2),
            "Lines": field([{"Goods": field("Tea", id=31)}], id=3),
        }
        given = task(321, id=77, current_step=1, approvals=rows, fields=fields, list_ids=[9], due_date="2026-03-02")
        self.task = self.pyrus.add_task(given)

    def visited_by(self, visit: Callable[[str], Awaitable[None]]) -> None:
        """Serve for as long as a client's visit takes; it is given host and port. No call may be unknown or refused."""

        async def serve() -> None:
            server = FakeServer(self.pyrus)
            try:
                await visit(f"127.0.0.1:{server.port}")
            finally:
                await server.refuse()

        asyncio.run(serve())
        assert not self.pyrus.unknown
        assert not self.pyrus.refusals


@pytest.fixture
def office() -> Office:
    return Office()


def official(host: str) -> Any:
    from pyrus.client import PyrusAPI

    class Local(PyrusAPI):
        _protocol, _host, _auth_host, _base_path = "http", host, host, "/api/v4"

    return Local(LOGIN, KEY)


def test_a_bot_of_the_official_client_reads_approves_and_writes(office: Office, tmp_path: Path) -> None:
    from pyrus.models import entities
    from pyrus.models import requests as asking

    (tmp_path / "report.txt").write_text("hello")

    def work(host: str) -> None:
        client = official(host)
        assert client.auth().success
        form = client.get_form(321)
        assert [(one.id, one.type) for one in form.flat_fields] == [
            (1, "money"), (2, "multiple_choice"), (3, "table"), (31, "text"),
        ]  # fmt: skip
        assert [one.id for one in client.get_forms().forms] == [321]
        wanted = asking.FormRegisterRequest(steps=[1], filters=[entities.GreaterThanFilter(1, "10")])
        assert [one.id for one in client.get_registry(321, wanted).tasks] == [77]
        assert client.get_registry(321, asking.FormRegisterRequest(format="csv")).csv.startswith("Task,Step,Amount")
        assert [one.value for one in client.get_task(77).task.flat_fields if one.id == 1] == [12.5]

        upload = client.upload_file(str(tmp_path / "report.txt"))
        said = client.comment_task(
            77,
            asking.TaskCommentRequest(
                text="Checked", approval_choice="approved", attachments=[upload.guid],
                field_updates=[{"id": 1, "value": 100}, {"id": 2, "value": {"choice_ids": [2]}}],
            ),
        ).task.comments[-1]  # fmt: skip
        assert (said.text, said.approval_choice, said.attachments[0].name) == ("Checked", "approved", "report.txt")
        assert client.download_file(said.attachments[0].id).raw_file == b"hello"
        assert client.create_task(asking.CreateTaskRequest(text="Call", responsible="chief@example.com")).task.id
        made = client.create_task(asking.CreateTaskRequest(form_id=321, fields=[{"id": 1, "value": 5}])).task
        assert made.form_id == 321
        assert client.get_task(999).error_code == "task_not_found"
        office.pyrus.revoke(LOGIN, "expired_token")
        assert client.get_profile().person_id == office.bot["id"]

    office.visited_by(lambda host: asyncio.to_thread(work, host))
    assert office.task["current_step"] == 2
    assert office.task["fields"][0]["value"] == 100


def test_a_bot_of_the_official_client_keeps_catalogs_people_and_lists(office: Office) -> None:
    from pyrus.models import entities
    from pyrus.models import requests as asking

    def work(host: str) -> None:
        client = official(host)
        assert [one.values for one in client.get_catalog(5).items] == [["Acme", "77"], ["Bolt", "78"]]
        cola, acme = entities.CatalogItem(values=["Cola", "79"]), entities.CatalogItem(values=["Acme", "70"])
        diff = client.update_catalog_items(5, asking.UpdateCatalogItemsRequest([cola, acme], ["Bolt"]))
        assert [[one.values[0] for one in rows] for rows in (diff.added, diff.updated, diff.deleted)] == [
            ["Cola"], ["Acme"], ["Bolt"],
        ]  # fmt: skip
        client.sync_catalog(5, asking.SyncCatalogRequest(True, ["Name"], [entities.CatalogItem(values=["Delta"])]))
        assert [one.values for one in client.get_catalog(5).items] == [["Delta"]]
        assert client.create_catalog(asking.CreateCatalogRequest("New", ["A"], [cola])).items[0].values[0] == "Cola"

        chief = office.chief["id"]
        assert chief in [one.id for one in client.get_contacts().organizations[0].persons]
        assert chief in [one.id for one in client.get_members().members]
        assert client.get_member(chief).email == "chief@example.com"
        role = client.create_role(asking.CreateRoleRequest("Buyers", [chief]))
        assert client.update_role(role.id, asking.UpdateRoleRequest("All buyers")).name == "All buyers"
        assert [one.member_ids for one in client.get_roles().roles] == [[chief]]

        assert [one.id for one in client.get_inbox().tasks] == [77]
        assert [one.id for one in client.get_lists().lists] == [9]
        assert [one.id for one in client.get_task_list(9, asking.TaskListRequest(item_count=5)).tasks] == [77]
        span = asking.CalendarRequest(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC))
        assert [one.id for one in client.get_calendar_tasks(span).tasks] == [77]
        told = client.create_announcement(asking.CreateAnnouncementRequest("Closed on Monday")).announcement
        client.comment_announcement(told.id, asking.AnnouncementCommentRequest("Thanks"))
        assert [one.comments[0].text for one in client.get_announcements().announcements] == ["Thanks"]

    office.visited_by(lambda host: asyncio.to_thread(work, host))


def test_a_bot_of_aiopyrus_answers_a_delivery_and_works_on(office: Office) -> None:
    from aiopyrus import PyrusBot

    async def work(host: str) -> None:
        bot = PyrusBot(LOGIN, KEY, base_url=f"http://{host}")
        delivered = body(office.task, user_id=office.bot["id"])
        assert bot.verify_signature(encode(delivered), sign(encode(delivered), KEY))
        assert bot.parse_webhook(delivered).task.id == 77

        await bot.auth()
        assert (await bot.get_profile()).person_id == office.bot["id"]
        context = await bot.task_context(77)
        assert context.get("Status") == "New"
        context.set("Status", "Paid")
        await context.approve("Checked")
        await bot.update_fields(77, [{"id": 1, "value": 9}], text="Corrected")
        assert office.task["current_step"] == 2
        assert office.task["fields"][0]["value"] == 9

        assert [one.id for one in await bot.get_register(321, steps=[2])] == [77]
        assert [one.id async for one in bot.stream_register(321)] == [77]
        assert "Amount" in await bot.get_register_csv(321)
        upload = await bot.upload_file(b"abc", "a.txt")
        commented = await bot.comment_task(77, text="See the file", attachments=[upload.guid])
        assert await bot.download_file(str(commented.comments[-1].attachments[0].id)) == b"abc"
        office.pyrus.add_page("tasks/77/print_forms/1", b"%PDF")
        assert await bot.download_print_form(77, 1) == b"%PDF"
        assert (await bot.finish(77)).close_date
        assert not (await bot.reopen(77)).close_date
        await bot.close()

    office.visited_by(work)


def test_a_bot_of_aiopyrus_finds_its_way_about(office: Office) -> None:
    from aiopyrus import PyrusBot

    async def work(host: str) -> None:
        bot = PyrusBot(LOGIN, KEY, base_url=f"http://{host}")
        assert [one.id for one in await bot.get_forms()] == [321]
        assert [one.catalog_id for one in await bot.get_catalogs()] == [5]
        assert await bot.get_form_choices(321, 2) == {"New": 1, "Paid": 2}
        assert [one.id for one in await bot.get_inbox()] == [77]
        assert (await bot.get_list(9)).id == 9
        assert [one.id for one in await bot.get_task_list(9)] == [one.id for one in await bot.get_list_tasks(9)] == [77]
        found = await bot.find_member("Chief")
        assert found is not None
        assert (await bot.get_member(found.id)).email == "chief@example.com"
        assert (await bot.update_member(found.id, position="Head")).position == "Head"
        role = await bot.create_role("Buyers")
        assert (await bot.get_role(role.id)).name == "Buyers"
        assert await bot.delete_role(role.id, task_receiver_id=found.id)
        told = await bot.create_announcement(text="Closed on Monday")
        assert [one.id for one in await bot.get_announcements()] == [told.id]
        made = await bot.create_task(form_id=321, fields=[{"id": 1, "value": 3}])
        assert await bot.delete_task(made.id)
        await bot.close()

    office.visited_by(work)
