"""Send a test's deliveries as the fake Pyrus, and read their responses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bothost.errors import BodyRefused
from bothost.pipeline.delivery import NOTHING
from bothost.pyrus.envelope import decode, event_key
from bothost.pyrus.raw_json import untyped
from bothost.testing.fake_pyrus import ApiAccount, ApiRefusal, WrittenComment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.testing.fake_pyrus import FakePyrus
    from bothost.testing.memory_http import WrittenResponse


@dataclass(frozen=True, slots=True)
class DeliverySender:
    """The bot to which deliveries are sent: its person, its name in bots.ini, and its key."""

    name: str
    person: Mapping[str, Any]
    secret: str


@dataclass(slots=True)
class SentDelivery:
    """One delivery on its way, with its event, and whether an earlier one of that event was still unanswered."""

    body: bytes
    key: str
    task_id: int
    account: ApiAccount
    joins: bool


class SentDeliveries:
    """Pyrus's end of the deliveries of one test.

    It reads one answer for an event. A further attempt means that Pyrus got no answer, so the same answer to it is no second
    comment. Any other answer, and every post, counts.
    """

    def __init__(self, pyrus: FakePyrus) -> None:
        self.pyrus = pyrus
        self._open: dict[str, int] = {}
        self._read: dict[str, bytes] = {}

    def send(self, sender: DeliverySender, body: bytes) -> SentDelivery | None:
        """Put a delivery's content into the fake Pyrus, because deliveries come from there. None if Pyrus could not send it."""
        try:
            envelope = decode(body)
        except BodyRefused:
            return None
        said = untyped(body)
        account = self._account(sender, envelope.user_id)
        if envelope.token:
            account.tokens.setdefault(envelope.token, "")
        self._learn(envelope.task_id, said.get("task"))
        key = event_key(sender.name, envelope)
        joins = self._open.get(key, 0) > 0
        self._open[key] = self._open.get(key, 0) + 1
        return SentDelivery(body, key, envelope.task_id, account, joins)

    def read(self, sent: SentDelivery, written: WrittenResponse) -> str:
        """Read a response. A 200 with content writes a comment.

        A comment that Pyrus would refuse counts as written all the same, because nobody knows what Pyrus does with it. The
        reason why it would be refused is returned.
        """
        self._open[sent.key] -= 1
        answer = written.body
        if written.status != 200 or answer == NOTHING:
            return ""
        if self._read.get(sent.key) == answer and (sent.joins or written.headers.get("X-Bothost") == "repeat"):
            return ""
        self._read[sent.key] = answer
        try:
            self.pyrus.take_response(sent.account, sent.task_id, answer)
        except ApiRefusal as refusal:
            comment_id = self.pyrus.world.next_id("comment")
            text = str(json.loads(answer).get("text") or "")
            wrote = WrittenComment(sent.task_id, comment_id, sent.account.person["id"], "response", text)
            self.pyrus.written.append(wrote)
            return str(refusal)
        return ""

    def _account(self, sender: DeliverySender, user_id: int | None) -> ApiAccount:
        """Return the account of the person that the body names, else the test's own bot."""
        own = int(sender.person["id"])
        person_id = own if user_id is None else user_id
        account = self.pyrus.world.accounts.get(person_id)
        if account is None:
            email = sender.person["email"] if person_id == own else f"bot@{person_id:08x}-0000-4d0e-9a9b-6f2f7d0a1c55"
            account = self.pyrus.add_bot(email, sender.secret, person_id)
        return account

    def _learn(self, task_id: int, task: Any) -> None:
        """Take over the task as it was sent; of a known task only its new comments."""
        told = {**task, "id": task_id} if isinstance(task, dict) else {"id": task_id}
        sent = told.get("comments")
        comments = [item for item in sent if isinstance(item, dict)] if isinstance(sent, list) else []
        known = self.pyrus.world.tasks.get(task_id)
        if known is None:
            self.pyrus.add_task({**told, "comments": comments})
            return
        for comment in comments:
            self.pyrus.world.saw("comment", comment.get("id"))
        ids = {comment.get("id") for comment in known["comments"]}
        known["comments"] += [comment for comment in comments if comment.get("id") not in ids]
