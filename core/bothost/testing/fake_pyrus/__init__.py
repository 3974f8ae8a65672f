"""Imitate Pyrus: tasks that move, tokens that end, an API that can fail as the real one does.

In process it is a `Transport` (`pyrus.transport()`), with time from the test's clock and no sockets. Over loopback it is a
server (`server.py`). `webhooks.py` sends deliveries as Pyrus does. The fake counts the comments that Pyrus would write: one for
each non-empty 200 body that it reads, and one for each POST that it applies.

Nothing here knows the host or a bot. Start reading at `FakePyrus` below, then in `world.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from bothost.plugins.explained import explained_methods
from bothost.testing import checks
from bothost.testing.fake_pyrus.comments import close, write_comment
from bothost.testing.fake_pyrus.faults import ApiFault, FaultScript, after, check_pattern
from bothost.testing.fake_pyrus.question import ApiQuestion, FakeResponse
from bothost.testing.fake_pyrus.routes import FakeApi
from bothost.testing.fake_pyrus.world import ApiAccount, ApiRefusal, Json, PyrusWorld, StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.clock import Clock

__all__ = ["ApiAccount", "ApiFault", "ApiQuestion", "ApiRefusal", "FakePyrus", "HandledRequest", "WrittenComment"]

WINDOW_S = 600.0


@dataclass(frozen=True, slots=True)
class HandledRequest:
    """The end of a request: the response that is sent back, or a connection that broke or was never made."""

    ending: Literal["answered", "lost", "refused"]
    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    file: StoredFile | None = None


@dataclass(frozen=True, slots=True)
class WrittenComment:
    """A comment that a bot wrote, and the door by which it came."""

    task_id: int
    comment_id: int
    person_id: int
    door: Literal["api", "response"]
    text: str = ""
    comment: Json = field(default_factory=dict, repr=False)
    """The comment as the task shows it; empty if Pyrus would refuse it."""

    @property
    def choice(self) -> str | None:
        """Return the decision that the comment carries: "approved", "rejected" …"""
        choice: str | None = self.comment.get("approval_choice")
        return choice

    @property
    def attachments(self) -> list[str]:
        """Return the names of the attached files."""
        return [str(file["name"]) for file in self.comment.get("attachments", [])]

    @property
    def fields(self) -> dict[str, Any]:
        """Return the fields that the comment wrote, by name (by id if it has none), with the values as the task shows them."""
        return {one.get("name") or str(one["id"]): one.get("value") for one in self.comment.get("field_updates", [])}


@dataclass(slots=True)
class LimitWindow:
    """The used part of an account's rate limit."""

    ends: float
    used: int = 0


@explained_methods
class FakePyrus:
    """One Pyrus with its data, its script of failures, and a record of its requests and comments."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.world = PyrusWorld(clock)
        self.written: list[WrittenComment] = []
        self.requests: list[ApiQuestion] = []
        self.limit = 5000
        self.unknown: list[str] = []
        """The requests that this fake cannot answer. A harness fails the test that made one."""
        self.refusals: list[str] = []
        """The comments that bots posted and that were refused, with the reason."""
        self._scripted: dict[str, Any] = {}
        self._script = FaultScript()
        self._windows: dict[int, LimitWindow] = {}
        self._api = FakeApi(self.world, self._wrote)

    def answers_as(self, base_url: str) -> None:
        """Name this base URL in answers to logins, and its origin for files.

        Example: `pyrus.answers_as("http://127.0.0.1:8090/api/v4/")`
        """
        self._api.base_url, self._api.files_url = base_url, base_url.removesuffix("api/v4/")

    def add_bot(self, login: str, key: str, person_id: int | None = None) -> ApiAccount:
        """Add a bot that can log in.

        Example: `pyrus.add_bot("bot@7d985af9", "a-key")`
        """
        return self.world.add_bot(login, key, person_id)

    def add_person(self, **keys: Any) -> Json:
        """Add a person: `id`, `first_name`, `email` …

        Example: `pyrus.add_person(first_name="Anna", email="anna@example.com")`
        """
        return self.world.add_person(**keys)

    def add_task(self, task: Mapping[str, Any] | None = None, **keys: Any) -> Json:
        """Add a task in Pyrus's shape, as a webhook body holds it. Missing keys are filled in.

        Example: `pyrus.add_task({"id": 5, "text": "Pay"})`
        """
        return self.world.add_task({**(task or {}), **keys})

    def add_form(self, id: int, fields: list[Json] | None = None, steps: Mapping[int, str] | None = None) -> Json:
        """Add a form that tasks can be made of.

        Example: `pyrus.add_form(321, [{"id": 1, "name": "Amount", "type": "money"}], {1: "Chief"})`
        """
        checks.whole("a form's id", id)
        if steps is not None and not isinstance(steps, Mapping):
            checks.wrong("the steps of a form", steps, 'a dict by number such as {1: "Chief"}')
        named = {str(step): name for step, name in (steps or {}).items()}
        self.world.forms[id] = {
            "id": id,
            "name": f"Form {id}",
            "steps": named,
            "fields": checks.form_fields(fields or []),
        }
        return self.world.forms[id]

    def add_catalog(self, id: int, headers: list[str], rows: list[list[str]]) -> Json:
        """Add a catalog whose items are numbered from 1.

        Example: `pyrus.add_catalog(5, ["City"], [["Riga"], ["Tver"]])`
        """
        checks.whole("a catalog's id", id)
        checks.catalog_rows(headers, rows)
        items = [{"item_id": number, "values": row} for number, row in enumerate(rows, start=1)]
        shown = [{"name": header, "type": "text"} for header in headers]
        self.world.catalogs[id] = {"catalog_id": id, "name": f"Catalog {id}", "catalog_headers": shown, "items": items}
        return self.world.catalogs[id]

    def add_page(self, path: str, content: bytes) -> None:
        """Answer a GET of this path with bytes that are no JSON, such as a print form or a register as CSV.

        Example: `pyrus.add_page("print/5", b"%PDF")`
        """
        if not isinstance(content, bytes):
            checks.wrong("a page", content, "bytes")
        self.world.pages[path] = StoredFile("", path, len(content), "", content)

    def add_file(self, name: str, content: bytes | int) -> int:
        """Add a file that can be downloaded, and return its id. Give its bytes, or their number to have them made up.

        Example: `pyrus.add_file("a.txt", b"text")`
        """
        if not isinstance(content, bytes | int) or isinstance(content, bool):
            checks.wrong("a file's content", content, "bytes, or their number")
        size = content if isinstance(content, int) else len(content)
        kept = None if isinstance(content, int) else content
        stored = self.world.store_file(name, kept, size, hashlib.md5(kept or b"").hexdigest())  # noqa: S324 - Pyrus's hash
        return int(self.world.attached({"guid": stored.guid})["id"])

    def task(self, task_id: int) -> Json:
        """Return a task as it stands now.

        Example: `pyrus.task(5)["text"]`
        """
        return self.world.task(task_id)

    def say(self, task_id: int, text: str = "", person: Mapping[str, Any] | None = None, **keys: Any) -> Json:
        """Write a comment as a person. `keys` are anything that a comment request takes.

        Example: `pyrus.say(5, "Thanks")`
        """
        author = dict(person) if person else self.world.add_person(first_name="Anna", last_name="Petrova", type="user")
        return write_comment(self.world, self.world.task(task_id), {"text": text, **keys}, author)

    def move_step(self, task_id: int, step: int) -> None:
        """Move the task to another step. The approvers before it have decided, and those of the step are asked now.

        Example: `pyrus.move_step(5, 2)`
        """
        task = self.world.task(task_id)
        for number, row in enumerate(task.get("approvals", []), start=1):
            for one in row:
                one["approval_choice"] = "approved" if number < step else "waiting"
        task["current_step"] = step

    def close_task(self, task_id: int) -> None:
        """Close the task as a person.

        Example: `pyrus.close_task(5)`
        """
        task = self.world.task(task_id)
        close(self.world, task, {})

    def revoke(self, account: ApiAccount | str, code: str = "revoked_token") -> None:
        """Refuse all tokens of an account, or this one token, from now on.

        Example: `pyrus.revoke(account)`
        """
        for one in self.world.accounts.values():
            for token in one.tokens:
                if account in (one.person.get("email"), token) or account is one:
                    one.tokens[token] = code

    def fail(self, pattern: str, fault: ApiFault, times: int = 1) -> None:
        """Let the next requests of this pattern ("POST tasks/*/comments") fail in this way (`faults.py`).

        Example: `bothost.pyrus.fail("POST tasks/*/comments", gateway(503), times=2)`
        """
        self._script.add(pattern, fault, times)

    def before(self, pattern: str, action: Callable[[], object]) -> None:
        """Call `action` just before the next request of this pattern is carried out.

        Example: `pyrus.before("POST tasks/*/comments", lambda: pyrus.close_task(5))`
        """
        self._script.add(pattern, after(action), 1)

    def answer(self, pattern: str, value: Any) -> None:
        """Answer requests of this pattern ("GET catalogs/5") with this JSON value, from now on; the newest pattern wins.

        Example: `bothost.pyrus.answer("GET lists/5/tasks", {"tasks": []})`
        """
        check_pattern(pattern)
        json.dumps(value)  # so that a value which is no JSON fails the test here
        self._scripted.pop(pattern, None)
        self._scripted[pattern] = value

    def heal(self) -> None:
        """Drop all planned faults.

        Example: `pyrus.heal()`
        """
        self._script.clear()

    def comments(self, task_id: int | None = None) -> list[WrittenComment]:
        """List the comments that bots wrote, on one task or on all.

        Example: `[one.text for one in pyrus.comments(5)]`
        """
        if task_id is not None:
            checks.whole("a task's id", task_id)
        return [one for one in self.written if task_id in (None, one.task_id)]

    def assert_one_comment(self, task_id: int | None = None) -> WrittenComment:
        """Return the only comment that bots wrote. Raises AssertionError with the list if there is not exactly one.

        Example: `pyrus.assert_one_comment(5).choice == "approved"`
        """
        found = self.comments(task_id)
        where = f"on task {task_id}" if task_id is not None else "in all"
        refused = f"; Pyrus refused {'; '.join(self.refusals)}" if self.refusals else ""
        assert len(found) == 1, f"{len(found)} comments {where} instead of one: {found}{refused}"
        return found[0]

    def assert_no_comment(self, task_id: int | None = None) -> None:
        """Raise AssertionError if a bot wrote a comment.

        Example: `pyrus.assert_no_comment()`
        """
        assert not self.comments(task_id), f"comments instead of none: {self.comments(task_id)}"

    def titles(self, pattern: str = "") -> list[str]:
        """Return method and path of the requests so far that contain `pattern`.

        Example: `pyrus.titles("GET tasks/")`
        """
        return [one.title for one in self.requests if pattern in one.title]

    def transport(self) -> FakeTransport:
        """Return a transport to this Pyrus without sockets.

        Example: `pyrus.transport()`
        """
        from bothost.testing.fake_pyrus.transport import FakeTransport

        return FakeTransport(self)

    def take_response(self, account: ApiAccount, task_id: int, body: bytes) -> Json | None:
        """Read the body of a 200 to a webhook as Pyrus does. Return the bot's comment, or None if the body says nothing.

        Example: `pyrus.take_response(account, 5, b'{"text": "Paid."}')`
        """
        try:
            request = json.loads(body) if body.strip() else None
        except ValueError:
            request = None
        if not isinstance(request, dict) or not request:
            return None
        comment = write_comment(self.world, self.world.task(task_id), request, account.person)
        self._wrote(task_id, comment, account.person["id"], "response")
        return comment

    async def handle(self, asked: ApiQuestion) -> HandledRequest:
        """Return the answer to one request of the API, or fail as the script says.

        Example: `await pyrus.handle(asked)`
        """
        self.requests.append(asked)
        fault = self._script.take(asked.title) or ApiFault(applied=True)
        if fault.ending == "refused":
            return HandledRequest("refused")
        if fault.delay_s > 0:
            await asyncio.sleep(fault.delay_s)
        if fault.first is not None:
            fault.first()
        handled = self._carry_out(asked) if fault.applied else None
        if fault.delay_s < 0:
            await asyncio.sleep(-fault.delay_s)
        if fault.ending == "lost":
            return HandledRequest("lost")
        if handled is None or fault.status:
            return HandledRequest("answered", fault.status, fault.body, {"Date": self._date(), **fault.headers})
        return handled

    def _carry_out(self, asked: ApiQuestion) -> HandledRequest:
        headers = {"Date": self._date(), "Content-Type": "application/json; charset=utf-8"}
        limits, over = self._count(asked)
        headers |= limits
        if over:
            body = json.dumps({"error": "Too many requests", "error_code": "too_many_requests"}).encode()
            return HandledRequest("answered", 429, body, headers)
        answer = self._answer(asked)
        headers |= answer.headers
        return HandledRequest("answered", answer.status, b"" if answer.file else answer.body, headers, answer.file)

    def _answer(self, asked: ApiQuestion) -> FakeResponse:
        for pattern, value in reversed(self._scripted.items()):
            if fnmatchcase(asked.title, pattern):
                return FakeResponse(200, value)
        answer = self._api.answer(asked)
        if answer.unknown:
            self.unknown.append(asked.title)
        elif answer.status >= 400 and asked.method == "POST" and asked.path.startswith("tasks"):
            self.refusals.append(f"{asked.title}: {answer.value['error']} ({answer.value['error_code']})")
        return answer

    def _count(self, asked: ApiQuestion) -> tuple[dict[str, str], bool]:
        """Return the rate limit's headers, and whether this request is one too many; unknown tokens are not counted."""
        try:
            account = self.world.who(asked.token)
        except ApiRefusal:
            return {}, False
        now = self.clock.monotonic()
        window = self._windows.get(account.person["id"])
        if window is None or window.ends <= now:
            window = self._windows[account.person["id"]] = LimitWindow(now + WINDOW_S)
        window.used += 1
        left = max(0, self.limit - window.used)
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(int(window.ends - now) + 1),
        }
        return headers, window.used > self.limit

    def _date(self) -> str:
        return format_datetime(self.clock.now(), usegmt=True)

    def _wrote(self, task_id: int, comment: Json, person_id: int, door: Literal["api", "response"] = "api") -> None:
        text = comment.get("text") or comment.get("formatted_text") or ""
        self.written.append(WrittenComment(task_id, comment["id"], person_id, door, text, comment))


if TYPE_CHECKING:
    from bothost.testing.fake_pyrus.transport import FakeTransport
