"""Comment once a day on tasks of a form that have waited too long at a step."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from bothost import CallError, CallRefused, Event, Plugin, Reply, Settings, Task, TextTemplate, cron
from reminder.worktime import Days, Hours, worked

__all__ = ["Days", "Hours", "Reminder", "Text", "When", "Zone"]

MOST_NAMES = 10
"""Of a step's approvers that a reminder names."""


class Zone(str):
    """A time zone by its name."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Zone:
        """Raises ValueError."""
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
    text: Text = Text("This task has waited here for {waited}: {who}.")
    most: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 500


class Reminder(Plugin[When]):
    """Works only by its timer, so it needs a `login`."""

    async def handle(self, event: Event) -> None:
        """Ignore events."""

    @cron("settings.at", tz="settings.zone")
    async def remind(self) -> None:
        """Remind of the tasks of the form. A task that cannot be read or written is logged and passed over."""
        settings, now = self.settings, self.now(self.settings.zone)
        if now not in settings.days:
            return
        me = (await self.pyrus.profile()).person_id
        before = now - settings.after
        reminded = 0
        async for row in self.pyrus.register(settings.form, steps=list(settings.steps) or None, modified_before=before):
            if reminded >= settings.most:
                self.log.warning("stopped at %d reminders (`most`); the rest waits until tomorrow", reminded)
                break
            reminded += await self._remind(row.id, me, now)
        self.log.info("reminded of %d tasks", reminded)

    async def _remind(self, task_id: int, me: int | None, now: datetime) -> int:
        try:
            task = await self.pyrus.task(task_id)
            since = waiting_since(task, me)
            if task.is_closed or since is None or said_today(task, me, now):
                return 0
            settings = self.settings
            waited = worked(since, now, settings.days, settings.hours, ZoneInfo(settings.zone))
            if waited < settings.after:
                return 0
            await self.pyrus.comment(task_id, Reply(settings.text.filled(waited=spoken(waited), who=awaited(task))))
        except CallRefused as error:
            self.log.warning("task %d is passed over: %s", task_id, error)
            return 0
        except CallError as error:
            self.log.error("task %d could not be reminded of, tomorrow again: %s", task_id, error)
            return 0
        return 1


def waiting_since(task: Task, me: int | None) -> datetime | None:
    """Return the time of the last comment by anybody but the bot, else the time when the task was made."""
    for comment in reversed(task.comments):
        if comment.author.id != me and comment.create_date is not None:
            return comment.create_date
    return task.create_date


def said_today(task: Task, me: int | None, now: datetime) -> bool:
    """Return whether the bot has commented on this day already. Once a day is enough, also after a late tick."""
    for comment in reversed(task.comments):
        if comment.author.id == me and comment.create_date is not None:
            return comment.create_date.astimezone(now.tzinfo).date() == now.date()
    return False


def awaited(task: Task) -> str:
    """Name the people whose decision the task waits for."""
    step = task.current_step or 0
    row = task.approvals[step - 1] if 0 < step <= len(task.approvals) else ()
    names = [entry.person.name for entry in row if entry.approval_choice in (None, "waiting") and entry.person.name]
    if not names and task.responsible:
        names = [task.responsible.name]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (", ".join(names[:MOST_NAMES]) + more) or "nobody is named"


def spoken(span: timedelta) -> str:
    """Write working hours for people."""
    hours = int(span.total_seconds() // 3600)
    return f"{hours} working hour{'' if hours == 1 else 's'}"
