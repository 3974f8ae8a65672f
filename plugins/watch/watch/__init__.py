"""Watch tasks: comment, reassign or call a URL where one waits too long at a step, costs too much or lacks a field.

Once for each stay at a step, by a job: it survives restarts, and the task's moving on cancels it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import aiohttp

from bothost import Event, GiveUp, Job, Plugin, Reply, Secret, ServiceAddress, Settings, TextTemplate, job
from watch.conditions import Condition

if TYPE_CHECKING:
    from bothost import Task

__all__ = ["Condition", "Text", "Watch", "What"]

CALL_S = 30.0
KEEP = timedelta(days=180)
SPANS = {
    "en": ("{n} days", "{n} hours", "{n} minutes", "{n} minute"),
    "ru": ("{n} дн.", "{n} ч", "{n} мин", "{n} мин"),
}
"""How a time span is written, in each language."""


class Text(TextTemplate):
    """A comment with `{task}`, `{step}` and `{waited}` in it."""

    __slots__ = ()
    words = ("task", "step", "waited")


class What(Settings):
    """Which tasks (`form`, `steps`, `when`), after how long at the step (`after`), and what is done about it."""

    form: int
    steps: tuple[int, ...] = ()
    when: tuple[Condition, ...] = ()
    after: timedelta = timedelta(0)
    text: Text = Text("")
    language: Literal["en", "ru"] = "en"
    reassign: str = ""
    url: ServiceAddress | None = None
    key: Secret | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for settings that do not go together."""
        if not self.text and not self.reassign and self.url is None:
            raise ValueError("does nothing: give `text`, `reassign`, `url` or several of them")
        if self.after < timedelta(0) or self.after > timedelta(days=3650):
            raise ValueError("`after` is between 0 and ten years")
        if not self.when and not self.after:
            raise ValueError("would do it for every task: give `after`, `when` or both")
        if (self.url is None) != (self.key is None):
            raise ValueError("`url` and `key` go together: the service knows the call by its signature")


class Watch(Plugin[What]):
    """Acts by a job of each task, so it needs a `login`."""

    async def handle(self, event: Event) -> None:
        """Plan the job of a task that is to be watched, and take out that of one that is not."""
        task, key = event.task, f"task-{event.task_id}"
        if task.is_closed or task.form_id != self.settings.form:
            await self.jobs.cancel(key)
            await self.store.delete(key)
            return
        stay = await self.store.get(key)
        step = task.current_step or 0
        if stay is None or stay["step"] != step:
            now = self.now()
            # Pyrus's clock may be ahead of ours
            stay = {"step": step, "since": min(event.task.last_modified_date or now, now), "done": ""}
        await self.store.set(key, stay, expires=KEEP)
        if self._is_meant(task) and not stay["done"]:
            due = stay["since"] + self.settings.after
            await self.jobs.add("act", at=due, key=key, task=task.id, data={"step": step, "since": stay["since"]})
        else:
            await self.jobs.cancel(key)

    @job("act")
    async def act(self, job: Job) -> Reply | None:
        """Do it, if the task as it is now still asks for it."""
        task, step, settings = await self.pyrus.task(job.task_id), job.data["step"], self.settings
        if task.is_closed or (task.current_step or 0) != step or not self._is_meant(task):
            return None
        await self._check_names()
        stay = await self.store.get(job.key)
        if stay is not None and stay["done"] not in ("", job.id):
            return None
        if settings.url is not None:
            await job.once("call", lambda: self._call(job, task))
        await self.store.set(job.key, {"step": step, "since": job.data["since"], "done": job.id}, expires=KEEP)
        if not settings.text and not settings.reassign:
            return None
        return Reply(self._said(job) or None, reassign_to=_person(settings.reassign))

    def _is_meant(self, task: Task) -> bool:
        settings = self.settings
        at_step = not settings.steps or (task.current_step or 0) in settings.steps
        return at_step and all(condition.holds(task) for condition in settings.when)

    async def _check_names(self) -> None:
        """Raise GiveUp for a field that the form does not have: a slip in bots.ini would make it empty in every task."""
        if not self.settings.when:
            return
        form = await self.pyrus.known_form(self.settings.form)
        for condition in self.settings.when:
            name = condition.field
            if form.field(name) is None and (not name.isdecimal() or form.field(int(name)) is None):
                known = ", ".join(field.name for field in form.fields if field.name)
                raise GiveUp(f"when = {condition}: form {self.settings.form} has no field {name!r} (it has: {known})")

    def _said(self, job: Job) -> str:
        waited = spoken(self.now() - job.data["since"], self.settings.language)
        return self.settings.text.filled(task=job.task_id, step=job.data["step"], waited=waited)

    async def _call(self, job: Job, task: Task) -> int:
        """POST what happened, signed. Raises GiveUp for a 4xx, ConnectionError for what may be tried again."""
        url, key = self.settings.url, self.settings.key
        assert url is not None
        assert key is not None
        body = json.dumps(self._told(job, task), ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": job.id,
            "X-Signature": hmac.new(key.reveal().encode(), body, hashlib.sha256).hexdigest(),
        }
        limit = aiohttp.ClientTimeout(total=CALL_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except TimeoutError:
            raise TimeoutError(f"{url} gave no answer within {CALL_S:g} s") from None
        except aiohttp.ClientError as error:
            raise ConnectionError(f"{url} gave no answer: {why(error)}") from error
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise GiveUp(f"{url} refused the call about task {job.task_id}: {status}")
        if not 200 <= status < 300:
            raise ConnectionError(f"{url} answered {status}")
        return status

    def _told(self, job: Job, task: Task) -> dict[str, Any]:
        since: datetime = job.data["since"]
        return {
            "id": job.id,
            "bot": self.bot,
            "task": job.task_id,
            "form": task.form_id,
            "step": job.data["step"],
            "since": since.isoformat(),
            "when": [str(condition) for condition in self.settings.when],
        }


def spoken(span: timedelta, language: str) -> str:
    """Write a time span for people."""
    minutes = max(int(span.total_seconds() // 60), 0)
    days, hours, many, one = SPANS[language]
    for count, words in ((minutes // 1440, days), (minutes // 60, hours)):
        if count >= 2:
            return words.format(n=count)
    return (one if minutes == 1 else many).format(n=minutes)


def why(error: aiohttp.ClientError) -> str:
    """Return the cause of an error, in the system's words where a connection failed: aiohttp's hold sockets and addresses."""
    inner = getattr(error, "os_error", None)
    if isinstance(inner, ConnectionError) and inner.errno:
        return os.strerror(inner.errno)
    return str(error) or type(error).__name__


def _person(text: str) -> int | str | None:
    return int(text) if text.isdecimal() else text or None
