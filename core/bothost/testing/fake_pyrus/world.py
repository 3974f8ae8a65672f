"""Hold the data of the fake Pyrus: persons, bots, tokens, forms, catalogs, files and tasks, in the shapes that Pyrus sends."""

from __future__ import annotations

import copy
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from bothost.clock import Clock

Json = dict[str, Any]
GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class ApiRefusal(Exception):
    """A call that Pyrus refuses: status, code and text of its error envelope."""

    def __init__(self, status: int, code: str, text: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code} {text}".strip())
        self.status = status
        self.code = code
        self.text = text or code.replace("_", " ")
        self.headers = dict(headers or {})


@dataclass(slots=True)
class ApiAccount:
    """A person that calls the API, with its keys and its tokens, the newest last."""

    person: Json
    keys: set[str] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)
    """Each token with "" while it is good, else with the code of its refusal."""
    blocked: bool = False


@dataclass(slots=True)
class StoredFile:
    """A file. A large one is not kept, but made up: `size` bytes of a pattern."""

    guid: str
    name: str
    size: int
    md5: str
    content: bytes | None = None

    def pieces(self, piece_bytes: int = 64 << 10) -> Iterator[bytes]:
        """Yield its bytes."""
        if self.content is not None:
            yield from (self.content[at : at + piece_bytes] for at in range(0, self.size, piece_bytes))
            return
        block = bytes(range(256)) * (piece_bytes // 256)
        left = self.size
        while left > 0:
            yield block[: min(left, piece_bytes)]
            left -= piece_bytes


class PyrusWorld:
    """All data of one fake Pyrus."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.accounts: dict[int, ApiAccount] = {}
        self.persons: dict[int, Json] = {}
        self.tasks: dict[int, Json] = {}
        self.forms: dict[int, Json] = {}
        self.catalogs: dict[int, Json] = {}
        self.files: dict[str, StoredFile] = {}
        self.announcements: dict[int, Json] = {}
        self.pages: dict[str, StoredFile] = {}
        """The answers that are no JSON, by path: print forms, registers as CSV."""
        self.token_limit = 20
        self.newest_first = True
        """The order of registers, which no document tells."""
        self.strict = True
        """True if persons and fields that were never shown are refused, as Pyrus does; otherwise they are accepted."""
        self._floors = {
            "task": 500_000,
            "comment": 9_500_000,
            "person": 950_000,
            "file": 700_000,
            "field": 90_000,
            "token": 0,
        }

    def now(self) -> datetime:
        """Return Pyrus's time, which is the test's."""
        return self.clock.now()

    def stamp(self) -> str:
        """Return the present time as Pyrus writes it, in UTC and whole seconds."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def next_id(self, kind: str) -> int:
        """Return a fresh id above all that were seen."""
        self._floors[kind] += 1
        return self._floors[kind]

    def saw(self, kind: str, number: Any) -> None:
        """Note an id, so that fresh ids of its kind are above it."""
        if isinstance(number, int) and number > self._floors[kind] and number < 1 << 62:
            self._floors[kind] = number

    def add_person(self, **keys: Any) -> Json:
        """Add a person, with an id if none is given."""
        person = {"id": keys.get("id") or self.next_id("person"), "first_name": "", "last_name": "", **keys}
        self.saw("person", person["id"])
        self.persons[person["id"]] = person
        return person

    def add_bot(self, login: str, key: str, person_id: int | None = None, name: str = "Bot") -> ApiAccount:
        """Add a bot that can log in with `login` and `key`."""
        person = self.add_person(
            id=person_id or self.next_id("person"), first_name=name, email=login, type="bot", external_id=""
        )
        account = self.accounts.setdefault(person["id"], ApiAccount(person))
        account.person, account.keys = person, {key}
        return account

    def account_of(self, login: str) -> ApiAccount | None:
        """Find the account that logs in with these credentials."""
        return next((one for one in self.accounts.values() if one.person.get("email") == login), None)

    def issue_token(self, account: ApiAccount) -> str:
        """Return a new token; beyond the limit the oldest one is revoked."""
        token = f"fake-{account.person['id']}-{self.next_id('token')}-{hashlib.sha256(str(account.person['id']).encode()).hexdigest()}"
        account.tokens[token] = ""
        good = [one for one, code in account.tokens.items() if not code]
        for old in good[: max(0, len(good) - self.token_limit)]:
            account.tokens[old] = "revoked_token"
        return token

    def who(self, token: str | None) -> ApiAccount:
        """Return the account that a token belongs to. Raises ApiRefusal 401."""
        if not token:
            raise ApiRefusal(401, "token_not_specified")
        for account in self.accounts.values():
            if token in account.tokens:
                if account.blocked:
                    raise ApiRefusal(401, "account_blocked")
                if account.tokens[token]:
                    raise ApiRefusal(401, account.tokens[token])
                return account
        raise ApiRefusal(401, "invalid_token")

    def task(self, task_id: int) -> Json:
        """Return a task. Raises ApiRefusal 404."""
        if task_id not in self.tasks:
            raise ApiRefusal(404, "task_not_found", f"task {task_id} does not exist")
        return self.tasks[task_id]

    def add_task(self, task: Mapping[str, Any]) -> Json:
        """Keep a task as it is given, in Pyrus's shape. The persons that it names exist from now on."""
        added: Json = copy.deepcopy(dict(task))
        added.setdefault("id", self.next_id("task"))
        added.setdefault("create_date", self.stamp())
        added.setdefault("last_modified_date", added["create_date"])
        added.setdefault("comments", [])
        self.saw("task", added["id"])
        for comment in added["comments"]:
            self.saw("comment", comment.get("id"))
        for person in persons_in(added):
            self.saw("person", person["id"])
            self.persons.setdefault(person["id"], person)
        self.tasks[added["id"]] = added
        return added

    def person(self, given: Any) -> Json:
        """Return the person that an id, an e-mail or an object names. Raises ApiRefusal 400."""
        wanted = given.get("id", given.get("email")) if isinstance(given, dict) else given
        if isinstance(wanted, int) and wanted in self.persons:
            return self.persons[wanted]
        for person in self.persons.values():
            if isinstance(wanted, str) and person.get("email", "").casefold() == wanted.casefold():
                return person
        if not self.strict and isinstance(wanted, int | str):
            return self.add_person(**{"id" if isinstance(wanted, int) else "email": wanted}, type="user")
        raise ApiRefusal(
            400, "invalid_person_id" if isinstance(wanted, int) else "invalid_email", f"nobody is {wanted!r}"
        )

    def store_file(self, name: str, content: bytes | None, size: int, md5: str) -> StoredFile:
        """Keep an upload."""
        if size == 0:
            raise ApiRefusal(400, "empty_file")
        digest = hashlib.sha256(f"{name}{len(self.files)}{md5}".encode()).hexdigest()
        guid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
        self.files[guid] = StoredFile(guid, name, size, md5, content)
        return self.files[guid]

    def attached(self, given: Any) -> Json:
        """Make the task's file of an attachment in a request. Raises ApiRefusal 400."""
        guid = given if isinstance(given, str) else given.get("guid") if isinstance(given, dict) else None
        if guid is not None and not (isinstance(guid, str) and GUID.fullmatch(guid)):
            raise ApiRefusal(400, "invalid_guid", f"{guid!r} is no GUID of an uploaded file")
        if isinstance(given, dict) and guid is None and "url" in given:
            return {"id": self.next_id("file"), "name": given.get("name", ""), "url": given["url"]}
        stored = self.files.get(guid or "")
        if stored is None and not self.strict and guid:
            stored = self.files[guid] = StoredFile(guid, "file", 1, "", b"?")
        if stored is None:
            raise ApiRefusal(400, "file_missing", f"no file {guid!r} was uploaded")
        file_id = self.next_id("file")
        self.files[str(file_id)] = stored
        return {
            "id": file_id, "name": stored.name, "size": stored.size, "md5": stored.md5, "version": 1,
            "url": f"https://pyrus.com/services/attachment?id={file_id}",
        }  # fmt: skip


def persons_in(value: Any) -> Iterator[Json]:
    """Yield everything in a task that looks like a person."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(item.get("id"), int) and ("first_name" in item or "email" in item):
                yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
