"""Late replies, row by row, on a real journal and a fake Pyrus under a virtual clock."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bothost.config import BotConfig
from bothost.journal.entry import Entry
from bothost.journal.sqlite.journal import SqliteJournal
from bothost.pipeline.reply_poster import MOVED, PostResult, ReplyPoster
from bothost.pyrus.envelope import decode
from bothost.pyrus_client.client import PyrusClient
from bothost.testing.fake_pyrus import FakePyrus, faults
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from bothost.pyrus.envelope import Envelope

LOGIN, KEY, BOT = "bot@one", "key-of-the-bot-0001", 900100
ANNA = {"id": 77, "first_name": "Anna", "last_name": "", "type": "user", "email": "anna@example.org"}


class Office:
    """A task at which the bot was asked, its event, and a poster for the late reply."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.pyrus = FakePyrus(self.clock)
        self.account = self.pyrus.add_bot(LOGIN, KEY, BOT)
        self.journal = SqliteJournal(folder, self.clock, claims_first=False)
        self.client: PyrusClient | None = None
        self.config = BotConfig(name="one", login=LOGIN, secrets=(KEY.encode(),))
        bot = self.account.person
        self.pyrus.add_task(
            id=5, form_id=1, current_step=2, is_closed=False, comments=[{"id": 100, "author": ANNA, "text": "please"}],
            approvals=[[{"person": ANNA, "approval_choice": "approved"}], [waiting(bot)], [waiting(ANNA)], [waiting(bot)]],
            fields=[{"id": 7, "type": "money", "name": "Sum", "code": "sum", "value": 1}],
        )  # fmt: skip
        self.begun: list[float] = []
        self.owned = True

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def opened() -> Any:
            if self.client is None:
                await self.journal.open()
                self.client = PyrusClient(self.clock, self.journal, self.pyrus.transport())
            return await work

        return self.clock.run(opened())

    def body(self) -> bytes:
        token = self.pyrus.world.issue_token(self.account)
        return json.dumps(
            {"event": "comment", "access_token": token, "task_id": 5, "user_id": BOT, "task": self.pyrus.task(5)}
        ).encode()

    def event(self, reply: dict[str, Any], **columns: Any) -> tuple[Entry, Envelope]:
        """A parked event whose handler has answered this; the journal has it."""
        envelope = decode(self.body())
        newest = envelope.comment_id or 0
        now = self.clock.now().timestamp()
        given = {
            "id": f"one:5:comment:{newest}", "bot": "one", "task": 5, "state": "running", "door": "api", "comment": newest,
            "step": 2, "answer": json.dumps(reply).encode(), "created": now, "updated": now, **columns,
        }  # fmt: skip
        entry = Entry(**given)

        async def save() -> None:
            await self.journal.save(entry)

        self.run(save())
        return entry, envelope

    def post(self, entry: Entry, envelope: Envelope | None, token: str | None = None) -> PostResult:
        """Return the result of one try, with the work that `journal_poller.py` does around it."""
        entry_now = entry

        async def begin(at: float) -> bool:
            nonlocal entry_now
            self.begun.append(self.clock.monotonic())
            entry.post_begun = entry.post_begun or at
            return self.owned

        async def once() -> PostResult:
            assert self.client is not None
            poster = ReplyPoster(self.client, self.journal)
            used = token if token is not None else envelope.token if envelope else ""
            posted = await poster.post(entry_now, self.config, token=used, envelope=envelope, begin=begin)
            if posted.kind == "done":
                entry.posted, entry.state = posted.comment_id, "answered"
                await self.journal.save(entry)
            return posted

        result = self.run(once())
        assert isinstance(result, PostResult)
        return result

    def reply(self, reply: dict[str, Any], **columns: Any) -> PostResult:
        return self.post(*self.event(reply, **columns))

    def newest(self) -> dict[str, Any]:
        comment = self.pyrus.task(5)["comments"][-1]
        assert isinstance(comment, dict)
        return comment


def waiting(person: dict[str, Any]) -> dict[str, Any]:
    return {"person": person, "approval_choice": "waiting"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.clock.run(made.journal.close())
    made.clock.loop.close()


def test_the_task_is_read_before_the_reply_is_posted(office: Office) -> None:
    posted = office.reply({"text": "done"})
    assert posted == PostResult("done", office.newest()["id"])
    assert office.pyrus.titles() == ["GET tasks/5", "POST tasks/5/comments"]


def test_a_choice_goes_to_the_step_at_which_the_bot_was_asked(office: Office) -> None:
    assert office.reply({"text": "yes", "approval_choice": "approved"}).kind == "done"
    assert office.newest()["approval_step"] == 2
    assert office.pyrus.task(5)["current_step"] == 3


def test_steps_that_the_reply_names_itself_are_kept(office: Office) -> None:
    office.reply({"text": "yes", "approval_choice": "approved", "approval_steps": [4]})
    assert office.newest()["approval_step"] == 4


def test_a_choice_after_the_step_has_moved_on_fails_and_nothing_is_sent(office: Office) -> None:
    entry, envelope = office.event({"text": "yes", "approval_choice": "approved"})
    office.pyrus.move_step(5, 4)
    told = f"{MOVED}: the bot was asked at step 2, the task is at step 4; the reply (approved) is kept"
    assert office.post(entry, envelope) == PostResult("failed", error=told, moved=True)
    office.pyrus.assert_no_comment()
    assert not office.begun


def test_a_late_approval_lands_on_no_later_step_even_if_the_step_moves_between_look_and_post(office: Office) -> None:
    entry, envelope = office.event({"text": "yes", "approval_choice": "approved"})
    office.pyrus.before("POST tasks/5/comments", lambda: office.pyrus.move_step(5, 4))
    office.post(entry, envelope)
    assert office.pyrus.task(5)["approvals"][3][0]["approval_choice"] == "waiting"


def test_a_choice_for_a_closed_task_fails(office: Office) -> None:
    entry, envelope = office.event({"text": "yes", "approval_choice": "approved"})
    office.pyrus.close_task(5)
    assert office.post(entry, envelope).moved
    office.pyrus.assert_no_comment()


def test_a_choice_of_a_bot_that_was_asked_nowhere_is_posted_and_ignored(office: Office) -> None:
    office.pyrus.task(5)["approvals"] = []
    assert office.reply({"text": "yes", "approval_choice": "approved"}, step=0).kind == "done"
    assert "approval_choice" not in office.newest()


def test_a_choice_of_a_bot_that_was_asked_only_since_fails(office: Office) -> None:
    approvals = office.pyrus.task(5)["approvals"]
    office.pyrus.task(5)["approvals"] = []
    entry, envelope = office.event({"text": "yes", "approval_choice": "approved"}, step=0)
    office.pyrus.task(5)["approvals"] = approvals
    assert office.post(entry, envelope).moved


def test_a_reply_without_a_choice_does_not_reopen_a_task_closed_meanwhile(office: Office) -> None:
    entry, envelope = office.event({"text": "noted"})
    office.pyrus.close_task(5)
    assert office.post(entry, envelope).kind == "done"
    assert office.pyrus.task(5)["is_closed"]


def test_a_reply_to_an_event_of_a_closed_task_reopens_it_as_pyrus_would(office: Office) -> None:
    office.pyrus.close_task(5)
    assert office.reply({"text": "noted"}).kind == "done"
    assert not office.pyrus.task(5)["is_closed"]


@pytest.mark.parametrize(
    "reply",
    [
        {"text": "done"},
        {"text": "two  words\nand <b>tags</b>"},
        {"formatted_text": "<p>Dear <i>Anna</i> &amp; co</p>"},
        {"text": "yes", "approval_choice": "approved"},
        {"approval_choice": "approved"},
        {"approval_choice": "rejected"},
        {"field_updates": [{"id": 7, "value": 12}]},
        {"text": "x", "field_updates": [{"name": "Sum", "value": 12.5}]},
        {"action": "finished"},
        {"text": "bye", "action": "finished"},
        {"subscribers_added": [{"id": 77}]},
        {"text": "to you", "reassign_to": {"email": "Anna@example.org"}},
        {"approvals_added": [[], [], [{"id": 77}]]},
        {"added_list_ids": [3]},
        {"spent_minutes": 5},
    ],
)
def test_a_post_whose_answer_was_lost_is_found_again_and_not_repeated(office: Office, reply: dict[str, Any]) -> None:
    entry, envelope = office.event(reply)
    office.pyrus.fail("POST tasks/5/comments", faults.lose_answer())
    first = office.post(entry, envelope)
    assert (first.kind, first.unclear) == ("again", True)
    assert office.post(entry, envelope) == PostResult("done", office.newest()["id"])
    office.pyrus.assert_one_comment(5)


@pytest.mark.parametrize(
    "fault",
    [faults.gateway(502, applied=True), faults.answer(500, "server_error", applied=True), faults.slow_answer(60)],
    ids=["502", "500", "time-out"],
)
def test_what_is_unclear_is_settled_by_the_next_look(office: Office, fault: faults.ApiFault) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("POST tasks/5/comments", fault)
    assert office.post(entry, envelope).unclear
    assert office.post(entry, envelope).kind == "done"
    office.pyrus.assert_one_comment(5)


@pytest.mark.parametrize("fault", [faults.gateway(503), faults.lose_request()], ids=["503", "lost"])
def test_a_post_that_was_not_applied_is_made_at_the_next_try(office: Office, fault: faults.ApiFault) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("POST tasks/5/comments", fault)
    assert office.post(entry, envelope).unclear
    assert office.post(entry, envelope).kind == "done"
    office.pyrus.assert_one_comment(5)


@pytest.mark.parametrize("fault", [faults.refuse_connection(), faults.tls_failure()], ids=["refused", "tls"])
def test_what_was_surely_not_sent_is_not_unclear(office: Office, fault: faults.ApiFault) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("POST tasks/5/comments", fault)
    assert (posted := office.post(entry, envelope)).kind == "again"
    assert not posted.unclear


def test_a_look_that_breaks_is_tried_again_without_a_post(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("GET tasks/5", faults.gateway(502))
    assert (posted := office.post(entry, envelope)).kind == "again"
    assert not posted.unclear
    assert not office.begun


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_field_id"),
        (403, "access_denied_task"),
        (404, "task_not_found"),
        (410, "gone"),
        (409, "conflict"),
        (500, "conflict"),
    ],
)
def test_a_refusal_fails_for_good(office: Office, status: int, code: str) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("POST tasks/5/comments", faults.answer(status, code))
    posted = office.post(entry, envelope)
    assert posted.kind == "failed"
    assert code in posted.error


def test_401_logs_in_once_and_posts(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.revoke(office.account)
    assert office.post(entry, envelope).kind == "done"
    assert len(office.pyrus.titles("auth")) == 1


def test_401_between_look_and_post_logs_in_once(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("POST tasks/5/comments", faults.answer(401, "expired_token"))
    assert office.post(entry, envelope).kind == "done"
    office.pyrus.assert_one_comment(5)


def test_401_without_a_login_fails_as_no_login(office: Office) -> None:
    office.config = BotConfig(name="one", secrets=(KEY.encode(),))
    entry, envelope = office.event({"text": "done"})
    office.pyrus.revoke(office.account)
    posted = office.post(entry, envelope)
    assert posted.kind == "failed"
    assert posted.error.startswith("no login: ")


def test_after_a_restart_the_reply_goes_out_by_a_login(office: Office) -> None:
    entry, _ = office.event({"text": "done"})
    assert office.post(entry, None).kind == "done"
    assert office.pyrus.titles()[0] == "POST auth"


def test_after_a_restart_without_a_login_the_reply_fails_as_no_login(office: Office) -> None:
    office.config = BotConfig(name="one", secrets=(KEY.encode(),))
    entry, _ = office.event({"text": "done"})
    assert office.post(entry, None).error.startswith("no login: ")


def test_after_a_restart_an_unclear_post_is_found_though_the_body_is_gone(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("POST tasks/5/comments", faults.lose_answer())
    office.post(entry, envelope)
    assert office.post(entry, None).kind == "done"
    office.pyrus.assert_one_comment(5)


def test_429_is_due_again_at_its_reset(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("POST tasks/5/comments", faults.limited(42))
    posted = office.post(entry, envelope)
    assert (posted.kind, posted.after_s, posted.unclear) == ("again", 42.0, False)


def test_nothing_is_sent_once_the_entry_is_another_owners(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    office.owned = False
    assert office.post(entry, envelope).kind == "again"
    office.pyrus.assert_no_comment()


def test_a_comment_of_a_person_with_the_same_words_is_not_ours(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.say(5, "done", ANNA)
    assert office.post(entry, envelope).kind == "done"
    assert office.pyrus.assert_one_comment(5).comment_id == office.newest()["id"]


def test_an_older_comment_of_the_bot_with_the_same_words_is_not_ours(office: Office) -> None:
    office.pyrus.say(5, "done", office.account.person)
    assert office.reply({"text": "done"}).comment_id == office.newest()["id"]
    assert len(office.pyrus.task(5)["comments"]) == 3


def test_the_recorded_comment_of_another_late_reply_is_not_ours(office: Office) -> None:
    first, second = office.event({"text": "done"}), None
    office.pyrus.say(5, "and now?", ANNA)
    second = office.event({"text": "done"})
    assert office.post(*first).kind == "done"
    assert office.post(*second).kind == "done"
    assert len(office.pyrus.comments(5)) == 2


def test_a_comment_that_the_handler_wrote_itself_is_not_ours(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})

    async def by_hand() -> None:
        from bothost.pyrus.rest import requests
        from bothost.pyrus_client.client import CallingBot
        from bothost.pyrus_client.session import PyrusSession, SessionTerms

        assert office.client is not None
        line = PyrusSession(office.client, CallingBot("one"), SessionTerms(envelope.token, user_id=BOT))
        await line.send(requests.comment(5, b'{"text": "done"}'))

    office.run(by_hand())
    assert office.post(entry, envelope).kind == "done"
    assert len(office.pyrus.comments(5)) == 2


def test_the_response_to_another_event_with_the_same_words_is_not_ours(office: Office) -> None:
    office.event({"text": "thanks"}, door="response", state="answered", delivered=True)
    office.pyrus.say(5, "one more", ANNA)
    entry, envelope = office.event({"text": "thanks"})
    office.pyrus.take_response(office.account, 5, b'{"text": "thanks"}')
    assert office.post(entry, envelope).kind == "done"
    assert len(office.pyrus.comments(5)) == 2


def test_an_unclear_post_beside_such_a_response_is_still_found(office: Office) -> None:
    office.event({"text": "thanks"}, door="response", state="answered", delivered=True)
    office.pyrus.say(5, "one more", ANNA)
    entry, envelope = office.event({"text": "thanks"})
    office.pyrus.take_response(office.account, 5, b'{"text": "thanks"}')
    office.pyrus.fail("POST tasks/5/comments", faults.lose_answer())
    assert office.post(entry, envelope).unclear
    assert office.post(entry, envelope).kind == "done"
    assert len(office.pyrus.comments(5)) == 2


def test_a_response_long_ago_that_pyrus_never_wrote_does_not_hide_an_unclear_post(office: Office) -> None:
    office.event({"text": "thanks"}, door="response", state="answered", delivered=True)
    office.pyrus.say(5, "one more", ANNA)
    office.run(asyncio.sleep(300))
    entry, envelope = office.event({"text": "thanks"})
    office.pyrus.fail("POST tasks/5/comments", faults.lose_answer())
    assert office.post(entry, envelope).unclear
    assert office.post(entry, envelope).kind == "done"
    office.pyrus.assert_one_comment(5)


@pytest.mark.parametrize("known", ["login", "profile"])
def test_a_bot_whose_id_no_event_told_finds_its_comment_all_the_same(office: Office, known: str) -> None:
    entry, envelope = office.event({"text": "done"})
    if known == "profile":
        office.pyrus.task(5)["approvals"] = []
        office.config = BotConfig(name="one", secrets=(KEY.encode(),))
    office.pyrus.fail("POST tasks/5/comments", faults.lose_answer())
    office.post(entry, None, envelope.token)
    assert office.post(entry, None, envelope.token).kind == "done"
    assert bool(office.pyrus.titles("profile")) == (known == "profile")
    office.pyrus.assert_one_comment(5)


def test_a_response_that_pyrus_had_read_after_all_is_found(office: Office) -> None:
    entry, envelope = office.event({"text": "thanks"})
    office.pyrus.take_response(office.account, 5, b'{"text": "thanks"}')
    assert office.post(entry, envelope).kind == "done"
    office.pyrus.assert_one_comment(5)


def test_the_same_words_with_another_choice_are_not_ours(office: Office) -> None:
    entry, envelope = office.event({"text": "hm", "approval_choice": "approved"})
    office.pyrus.say(5, "hm", office.account.person, approval_choice="acknowledged", approval_steps=[4])
    assert office.post(entry, envelope).kind == "done"
    assert office.pyrus.task(5)["approvals"][1][0]["approval_choice"] == "approved"


def test_nothing_that_is_tried_shows_the_token(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    office.pyrus.fail("POST tasks/5/comments", faults.answer(400, "odd", f"bad {envelope.token}"))
    assert envelope.token not in office.post(entry, envelope).error


def test_an_entry_is_left_as_it_was_for_late_py_to_change(office: Office) -> None:
    entry, envelope = office.event({"text": "done"})
    before = msgspec.structs.replace(entry)
    office.pyrus.fail("GET tasks/5", faults.gateway(502))
    office.post(entry, envelope)
    assert entry == before
