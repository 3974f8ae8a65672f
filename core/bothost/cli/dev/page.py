"""The page of the dev loop's Pyrus: tasks as people see them, and beside them every delivery, call and error with its bytes."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib import resources
from typing import TYPE_CHECKING, Any

from tornado.template import DictLoader
from tornado.web import Application, HTTPError, RequestHandler

from bothost.cli.dev.world import API_STATES
from bothost.language import choose
from bothost.testing.factories import field
from bothost.testing.fake_pyrus.world import ApiRefusal

if TYPE_CHECKING:
    from bothost.cli.dev.world import DevPyrus
    from bothost.language import Language
    from bothost.testing.fake_pyrus.world import Json

TEMPLATES = ("base.html", "error.html", "home.html", "task.html", "timeline.html")
LOCAL = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
CHOICES = {"approved": "Approve", "rejected": "Reject", "acknowledged": "Acknowledge"}
"""The decisions that a person can take, and the buttons for them."""
DONE = {
    "approved": "has approved", "rejected": "has rejected", "acknowledged": "has acknowledged", "revoked": "has revoked",
    "waiting": "has not decided", "finished": "has closed the task", "reopened": "has reopened the task",
}  # fmt: skip
"""What somebody did to a task, by Pyrus's word for it."""
LABELS = {"slow": "answers late", "away": "is away"}
"""What the page calls a state of the API, where that is not its name."""
POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'"


def application(pyrus: DevPyrus) -> Application:
    """Make the page's application; its templates come from the installed package."""
    folder = resources.files("bothost.cli.dev")
    texts = {name: (folder / "templates" / name).read_text("utf-8") for name in TEMPLATES}
    table: list[Any] = [
        (r"/", HomePage), (r"/tasks", NewTask), (r"/tasks/(\d+)", TaskPage), (r"/tasks/(\d+)/comments", NewComment),
        (r"/tasks/(\d+)/again", DeliverAgain), (r"/network", SetNetwork), (r"/timeline", TimelineRows),
        (r"/static/(dev\.css|dev\.js)", DevFile),
    ]  # fmt: skip
    rules = [(path, handler, {"pyrus": pyrus}) for path, handler in table]
    return Application(
        rules, template_loader=DictLoader(texts), log_function=lambda _handler: None,
        default_handler_class=NoPage, default_handler_args={"pyrus": pyrus},
    )  # fmt: skip


class DevHandler(RequestHandler):
    """Serves this machine's own browser only: another site's page can neither read it nor post to it."""

    def initialize(self, pyrus: DevPyrus) -> None:
        """See RequestHandler."""
        self.pyrus = pyrus

    def set_default_headers(self) -> None:
        """See RequestHandler."""
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Refuse a foreign host name and a post from another origin."""
        host = self.request.host
        origin = self.request.headers.get("Origin", f"http://{host}")
        if not LOCAL.fullmatch(host) or origin != f"http://{host}":
            raise HTTPError(403)

    @property
    def language(self) -> Language:
        """Return the language that the browser asks for."""
        return choose(self.request.headers.get("Accept-Language", ""))

    def show(self, template: str, **values: Any) -> None:
        """Answer with a template."""
        self.set_header("Vary", "Accept-Language")
        language = self.language
        names: dict[str, Any] = {
            "t": language.text,
            "n": language.count,
            "said": language.message,
            "lang": language.code,
            "decision": lambda word: language.text(DONE.get(str(word), str(word))),
            "value_of": lambda value: value_text(value, language),
            "pyrus": self.pyrus,
            "states": {state: LABELS.get(state, state) for state in API_STATES},
            "task": None,
            "items": [],
            "choices": CHOICES,
            "posted": {one.comment_id for one in self.pyrus.written if one.door == "api"},
        }
        _ = self.render(template, **(names | values))

    def write_error(self, status_code: int, **_why: Any) -> None:
        """Say what is wrong on a page like the others; to a foreign site, say nothing."""
        if status_code == 403:
            _ = self.finish("403")
        else:
            self.show("error.html", status=status_code, reason=self._reason)

    def task_of(self, task_id: str) -> Json:
        """Find a task. Raises HTTPError 404."""
        try:
            return self.pyrus.task(int(task_id))
        except ApiRefusal:
            raise HTTPError(404, reason="There is no such task") from None

    def author(self) -> Json:
        """Find the person in whose name something is posted. Raises HTTPError 400."""
        wanted = self.get_body_argument("author", "")
        person = next((one for one in self.pyrus.people() if str(one["id"]) == wanted), None)
        if person is None:
            raise HTTPError(400, reason="Nobody is chosen as the author")
        return person


class NoPage(DevHandler):
    """Any other address."""

    def prepare(self) -> None:
        """Refuse foreign sites, and then everybody. Raises HTTPError."""
        super().prepare()
        raise HTTPError(404, reason="There is no such page")


class HomePage(DevHandler):
    """/"""

    def get(self) -> None:
        """Show all tasks and the form for a new one."""
        self.show("home.html", tasks=list(reversed(self.pyrus.world.tasks.values())))


class TaskPage(DevHandler):
    """/tasks/ID"""

    def get(self, task_id: str) -> None:
        """Show a task as its people see it."""
        self.show("task.html", task=self.task_of(task_id))


class NewTask(DevHandler):
    """/tasks"""

    def post(self) -> None:
        """Create a task and deliver it."""
        bot = self.pyrus.bots.get(self.get_body_argument("bot", ""))
        if bot is None:
            raise HTTPError(400, reason="No bot is chosen")
        form = self.get_body_argument("form", "").strip()
        if form and not (form.isdecimal() and len(form) < 10):
            raise HTTPError(400, reason="A form is given by its number")
        fields = parse_fields(self.get_body_argument("fields", ""))
        made = self.pyrus.begin_task(
            bot,
            self.author(),
            self.get_body_argument("text", "") or self.language.text("A task"),
            int(form) if form else None,
            fields,
        )
        self.redirect(f"/tasks/{made['id']}")


class NewComment(DevHandler):
    """/tasks/ID/comments"""

    def post(self, task_id: str) -> None:
        """Write a comment as a person; the bots of the task get it."""
        task = self.task_of(task_id)
        request: Json = {"text": self.get_body_argument("text", "")}
        what = self.get_body_argument("choice", "")
        if what in CHOICES:
            request["approval_choice"] = what
        elif what in ("finished", "reopened"):
            request["action"] = what
        try:
            self.pyrus.comment_as(task["id"], self.author(), request)
        except ApiRefusal as refusal:
            raise HTTPError(400, reason=re.sub(r"[^ -~]", "?", refusal.text)) from None
        self.redirect(f"/tasks/{task['id']}")


class DeliverAgain(DevHandler):
    """/tasks/ID/again"""

    def post(self, task_id: str) -> None:
        """Deliver the task as it stands to a bot, without a new comment: the host knows the event already."""
        task = self.task_of(task_id)
        bot = self.pyrus.bots.get(self.get_body_argument("bot", ""))
        if bot is not None:
            self.pyrus.deliver(bot, task["id"])
        self.redirect(f"/tasks/{task['id']}")


class SetNetwork(DevHandler):
    """/network"""

    def post(self) -> None:
        """Set what goes wrong between Pyrus and the bots."""
        with suppress(KeyError):
            self.pyrus.set_api(self.get_body_argument("api", "works"))
        self.pyrus.network.responses_lost = self.get_body_argument("lost", "") == "yes"
        self.redirect(self.get_body_argument("back", "/") if self._is_here() else "/")

    def _is_here(self) -> bool:
        return re.fullmatch(r"/(tasks/\d+)?", self.get_body_argument("back", "/")) is not None


class TimelineRows(DevHandler):
    """/timeline: what happened, newest first, for the script; with ?task=ID the comments of that task instead."""

    def get(self) -> None:
        """Show the rows alone."""
        task_id = self.get_query_argument("task", "")
        task = self.task_of(task_id) if task_id.isdecimal() else None
        items = [] if task else list(reversed(self.pyrus.timeline))
        self.show("timeline.html", task=task, items=items)


class DevFile(DevHandler):
    """/static/NAME"""

    def get(self, name: str) -> None:
        """Give a file of the package."""
        self.set_header("Content-Type", "text/css" if name.endswith("css") else "text/javascript")
        self.write((resources.files("bothost.cli.dev") / "static" / name).read_bytes())


def parse_fields(text: str) -> dict[str | int, Any]:
    """Return the fields of lines such as `Amount = 12.50`: numbers, amounts, days, yes and no; all else is text."""
    fields: dict[str | int, Any] = {}
    for line in text.splitlines():
        name, mark, value = line.partition("=")
        if mark and name.strip():
            fields[name.strip()] = field_value(value.strip())
    return fields


def field_value(text: str) -> Any:
    """Return the Python value that a text most naturally means."""
    if text.casefold() in ("yes", "no", "да", "нет"):
        return text.casefold() in ("yes", "да")
    if re.fullmatch(r"-?\d{1,9}", text):
        return int(text)
    if text[:1] in ("[", "{"):
        with suppress(ValueError):
            value = json.loads(text, parse_float=Decimal)
            if isinstance(value, dict):
                return field(value, type="catalog")
            if value and all(isinstance(row, dict) for row in value):
                return value
    with suppress(InvalidOperation, ValueError):
        return Decimal(text) if re.fullmatch(r"-?\d+\.\d+", text) else date.fromisoformat(text)
    return text


def value_text(value: Any, language: Language) -> str:
    """Return a field's value as a person reads it."""
    if isinstance(value, dict):
        for key in ("choice_names", "item_names", "values"):
            if value.get(key):
                return ", ".join(str(one) for one in value[key])
        named = " ".join(str(value[key]) for key in ("first_name", "last_name") if value.get(key))
        return named or str(value.get("subject") or value.get("text") or value)
    if isinstance(value, list):
        return language.count("rows", len(value))
    return "" if value is None else str(value)
