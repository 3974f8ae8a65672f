"""Route each request of the fake Pyrus's API to the function that carries it out."""

from __future__ import annotations

import copy
import hashlib
import re
from typing import TYPE_CHECKING, Any

from bothost.testing.fake_pyrus.comments import create_task, write_comment
from bothost.testing.fake_pyrus.directory import DIRECTORY_ROUTES, role_row
from bothost.testing.fake_pyrus.lists import LIST_ROUTES
from bothost.testing.fake_pyrus.question import ApiQuestion, FakeResponse
from bothost.testing.fake_pyrus.register import as_csv, register, yes
from bothost.testing.fake_pyrus.world import ApiAccount, ApiRefusal, Json, StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.testing.fake_pyrus.world import PyrusWorld


class FakeApi:
    """Answers requests on a world. It calls `wrote` with each comment: task, comment, author's id."""

    def __init__(self, world: PyrusWorld, wrote: Callable[[int, Json, int], None]) -> None:
        self._world = world
        self._wrote = wrote
        self.base_url = "https://api.pyrus.com/v4/"
        self.files_url = "https://files.pyrus.com/"

    def answer(self, asked: ApiQuestion) -> FakeResponse:
        """Carry a request out, and return the response."""
        try:
            if asked.path == "auth":
                return FakeResponse(200, self._log_in(asked.json()))
            account = self._world.who(asked.token)
            page = self._world.pages.get(asked.path)
            if page is not None and asked.method == "GET":
                return FakeResponse(200, file=page)
            for routes, subject in ((ROUTES, self), (LIST_ROUTES, self._world), (DIRECTORY_ROUTES, self._world)):
                for method, pattern, act in routes:
                    found = re.fullmatch(pattern, asked.path)
                    if found and method == asked.method:
                        result = act(subject, asked, account, *(int(group) for group in found.groups()))
                        return result if isinstance(result, FakeResponse) else FakeResponse(200, result)
            return FakeResponse(404, {"error": f"no {asked.title}", "error_code": "not_found"}, unknown=True)
        except ApiRefusal as refusal:
            envelope = {"error": refusal.text, "error_code": refusal.code}
            return FakeResponse(refusal.status, envelope, headers=refusal.headers)

    def _log_in(self, given: Json) -> Json:
        account = self._world.account_of(str(given.get("login")))
        if account is None or given.get("security_key") not in account.keys:
            raise ApiRefusal(401, "invalid_credentials")
        if account.blocked:
            raise ApiRefusal(401, "account_blocked")
        token = self._world.issue_token(account)
        return {"access_token": token, "api_url": self.base_url, "files_url": self.files_url}

    def _task(self, _asked: ApiQuestion, _account: ApiAccount, task_id: int) -> Json:
        return {"task": self._world.task(task_id)}

    def _comment(self, asked: ApiQuestion, account: ApiAccount, task_id: int) -> Json:
        task = self._world.task(task_id)
        comment = write_comment(self._world, task, asked.json(), account.person)
        self._wrote(task_id, comment, account.person["id"])
        return {"task": task}

    def _create(self, asked: ApiQuestion, account: ApiAccount) -> Json:
        return {"task": create_task(self._world, asked.json(), account.person)}

    def _register(self, asked: ApiQuestion, _account: ApiAccount, form_id: int) -> Json | FakeResponse:
        wanted = asked.json() if asked.method == "POST" else asked.query
        found = register(self._world, form_id, wanted)
        if wanted.get("format") != "csv":
            return found
        content = as_csv(found["tasks"], wanted)
        return FakeResponse(200, file=StoredFile("", "register.csv", len(content), "", content))

    def _form(self, _asked: ApiQuestion, _account: ApiAccount, form_id: int) -> Json:
        if form_id not in self._world.forms:
            raise ApiRefusal(403, "access_denied_form", f"no form {form_id}")
        return self._world.forms[form_id]

    def _forms(self, _asked: ApiQuestion, _account: ApiAccount) -> Json:
        return {"forms": list(self._world.forms.values())}

    def _catalog(self, asked: ApiQuestion, _account: ApiAccount, catalog_id: int) -> Json:
        catalog = self._world.catalogs.get(catalog_id)
        if catalog is None:
            raise ApiRefusal(403, "access_denied_catalog", f"no catalog {catalog_id}")
        shown = copy.copy(catalog)
        if not yes(asked.query.get("include_deleted")):
            shown["items"] = [item for item in catalog["items"] if not item.get("deleted")]
        return shown

    def _contacts(self, _asked: ApiQuestion, _account: ApiAccount) -> Json:
        people = [one for one in self._world.persons.values() if one.get("type") != "role"]
        roles = [one for one in self._world.persons.values() if one.get("type") == "role"]
        rows = [role_row(one) for one in roles]
        return {"organizations": [{"organization_id": 1, "name": "Company", "persons": people, "roles": rows}]}

    def _profile(self, _asked: ApiQuestion, account: ApiAccount) -> Json:
        person = account.person
        shown: Json = {key: person[key] for key in ("first_name", "last_name", "email", "locale") if key in person}
        return {"person_id": person["id"], **shown, "organization_id": 1, "timezone_offset": 0}

    def _upload(self, asked: ApiQuestion, _account: ApiAccount) -> Json:
        stored = asked.file or uploaded(self._world, asked.body)
        return {"guid": stored.guid, "md5_hash": stored.md5}

    def _attachment(self, asked: ApiQuestion, account: ApiAccount) -> FakeResponse:
        file_id = asked.query.get("Id") or asked.query.get("id") or ""
        if not file_id.isdecimal():
            raise ApiRefusal(404, "file_not_found")
        return self._download(asked, account, int(file_id))

    def _download(self, _asked: ApiQuestion, _account: ApiAccount, file_id: int) -> FakeResponse:
        stored = self._world.files.get(str(file_id))
        if stored is None:
            raise ApiRefusal(404, "file_not_found")
        headers = {"Content-Disposition": f'attachment; filename="{stored.name}"'}
        return FakeResponse(200, file=stored, headers=headers)

    def _delete_task(self, _asked: ApiQuestion, _account: ApiAccount, task_id: int) -> Json:
        self._world.task(task_id)
        del self._world.tasks[task_id]
        return {"deleted": True}


def uploaded(world: PyrusWorld, body: bytes) -> StoredFile:
    """Return the file in a multipart body. Raises ApiRefusal 400."""
    head, mark, rest = body.partition(b"\r\n\r\n")
    boundary = head.split(b"\r\n", 1)[0]
    name = re.search(rb'filename="([^"]*)"', head)
    end = rest.rfind(b"\r\n" + boundary)
    if not mark or not name or end < 0 or not boundary.startswith(b"--"):
        raise ApiRefusal(400, "invalid_multipart")
    content = rest[:end]
    return world.store_file(name[1].decode(), content, len(content), hashlib.md5(content).hexdigest())  # noqa: S324 - Pyrus's hash


ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", r"tasks/(\d+)", FakeApi._task),
    ("DELETE", r"tasks/(\d+)", FakeApi._delete_task),
    ("POST", r"tasks/(\d+)/comments", FakeApi._comment),
    ("POST", r"tasks", FakeApi._create),
    ("GET", r"forms/(\d+)/register", FakeApi._register),
    ("POST", r"forms/(\d+)/register", FakeApi._register),
    ("GET", r"forms/(\d+)", FakeApi._form),
    ("GET", r"forms", FakeApi._forms),
    ("GET", r"catalogs/(\d+)", FakeApi._catalog),
    ("GET", r"contacts", FakeApi._contacts),
    ("GET", r"profile", FakeApi._profile),
    ("POST", r"files/upload", FakeApi._upload),
    ("GET", r"files/download/(\d+)", FakeApi._download),
    ("GET", r"services/attachment", FakeApi._attachment),
)
