"""Comment once a day on tasks of a form that have waited too long at a step: a timer finds them, a job of each task reminds."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from bothost import CallError, CallRefused, Event, Job, Plugin, Settings, Task, TextTemplate, cron, job
from reminder.worktime import Days, Hours, worked

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Days", "Hours", "Reminder", "Text", "When", "Zone"]

WORDS = {
    "en": {
        "text": "This task has waited here for {waited}: {who}.",
        "hour": "1 working hour",
        "hours": "{n} working hours",
        "more": "{names} and {n} more",
        "nobody": "nobody is named",
    },
    "ru": {
        "text": "Задача ждёт здесь уже {waited}: {who}.",
        "hour": "1 ч рабочего времени",
        "hours": "{n} ч рабочего времени",
        "more": "{names} и ещё {n}",
        "nobody": "никто не указан",
    },
}
"""What a reminder says, and what is filled into it, in each language."""
MOST_NAMES = 10
"""The most approvers of a step that a reminder names."""


class Zone(str):
    """A time zone by its name."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Zone:
        """Return the time zone of a name. Raises ValueError."""
        try:
            ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a folder of the zones is an OSError
            raise ValueError("is not a time zone; write Europe/Moscow, Asia/Almaty, UTC …") from error
        return cls(text)


class Text(TextTemplate):
    """A comment's text with `{waited}` and `{who}` in it."""

    __slots__ = ()
    words = ("waited", "who")


class When(Settings):
    """Which tasks (`form`, `steps`), after how much working time (`after`), and when to say it (`at`, `days`, `hours`)."""

    form: int
    steps: tuple[int, ...] = ()
    after: timedelta = timedelta(hours=16)
    at: time = time(9, 30)
    zone: Zone = Zone("UTC")
    days: Days = Days.parse("Mon-Fri")
    hours: Hours = Hours.parse("09:00-18:00")
    text: Text | None = None
    language: Literal["en", "ru"] = "en"
    most: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 500

    def __post_init__(self) -> None:
        """Raise ValueError for a step that no task has."""
        if any(step < 1 for step in self.steps):
            raise ValueError("`steps` are numbers from 1")


class Reminder(Plugin[When]):
    """Works by its timer and its jobs, so it needs a `login`."""

    async def handle(self, event: Event) -> None:
        """Ignore events."""

    @cron("settings.at", tz="settings.zone")
    async def remind(self) -> None:
        """Plan a job for each task of the form that has waited too long; the jobs outlive a restart in the middle of a round."""
        settings, now = self.settings, self.now(self.settings.zone)
        if now not in settings.days:
            return
        me = (await self.pyrus.profile()).person_id
        before = now - settings.after
        planned = 0
        async for row in self.pyrus.register(settings.form, steps=list(settings.steps) or None, modified_before=before):
            if planned >= settings.most:
                self.log.warning("stopped at %d reminders (`most`); the rest waits until tomorrow", planned)
                break
            if await self._is_meant(row.id, me):
                await self.jobs.add("say", after="0s", key=f"task-{row.id}", task=row.id, data={"me": me})
                planned += 1
        self.log.info("%d tasks get a reminder", planned)

    async def _is_meant(self, task_id: int, me: int | None) -> bool:
        try:
            return await self._text(task_id, me) is not None
        except CallError:
            return True  # its job asks again, after minutes if need be

    @job("say")
    async def say(self, job: Job) -> str | None:
        """Remind of a task, if it still waits."""
        return await self._text(job.task_id, job.data["me"])

    async def _text(self, task_id: int, me: int | None) -> str | None:
        """Return what is to be said in a task now; None for nothing. A task that the bot may not read is logged and passed over."""
        settings, now = self.settings, self.now(self.settings.zone)
        if now not in settings.days:
            return None
        try:
            task = await self.pyrus.task(task_id)
        except CallRefused as error:
            self.log.warning("task %d is passed over: %s", task_id, error)
            return None
        since = waiting_since(task, me)
        if task.is_closed or since is None or said_today(task, me, now):
            return None
        waited = worked(since, now, settings.days, settings.hours, ZoneInfo(settings.zone))
        if waited < settings.after:
            return None
        words = WORDS[settings.language]
        text = settings.text or Text(words["text"])
        return text.filled(waited=spoken(waited, words), who=awaited(task, words))


def waiting_since(task: Task, me: int | None) -> datetime | None:
    """Return the time of the last comment by anybody but the bot, else the time when the task was made."""
    for comment in reversed(task.comments):
        if comment.author.id != me and comment.create_date is not None:
            return comment.create_date
    return task.create_date


def said_today(task: Task, me: int | None, now: datetime) -> bool:
    """Return whether the bot has commented on this day already. Once a day is enough, also after a late tick."""
    midnight = datetime.combine(now.date(), time(), now.tzinfo)
    for comment in reversed(task.comments):
        if comment.author.id == me and comment.create_date is not None:
            return comment.create_date >= midnight
    return False


def awaited(task: Task, words: Mapping[str, str]) -> str:
    """Name the people whose decision the task waits for."""
    step = task.current_step or 0
    row = task.approvals[step - 1] if 0 < step <= len(task.approvals) else ()
    names = [entry.person.name for entry in row if entry.approval_choice in (None, "waiting") and entry.person.name]
    if not names and task.responsible:
        names = [task.responsible.name]
    first = ", ".join(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        return words["more"].format(names=first, n=len(names) - MOST_NAMES)
    return first or words["nobody"]


def spoken(span: timedelta, words: Mapping[str, str]) -> str:
    """Write working hours for people."""
    hours = int(span.total_seconds() // 3600)
    return words["hour" if hours == 1 else "hours"].format(n=hours)
