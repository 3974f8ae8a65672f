"""Remind of a visit before it begins. The reminder moves with the visit, and goes when the task is closed."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bothost import Event, FieldName, Job, Plugin, Reply, Settings, TextTemplate, job

__all__ = ["Reminder", "Rules", "VisitReminder"]


class Reminder(TextTemplate):
    """A comment's text with `{when}` in it."""

    __slots__ = ()
    words = ("when",)


class Rules(Settings):
    """The keys of the section in bots.ini."""

    visit: FieldName = FieldName("Visit")
    before: timedelta = timedelta(days=1)
    zone: str = "UTC"
    text: Reminder = Reminder("The visit is on {when}.")


class VisitReminder(Plugin[Rules]):
    """Keeps one job for each task that has a visit ahead."""

    async def handle(self, event: Event) -> Reply | None:
        """Plan, move or drop the reminder of a task, and say so where something has changed."""
        key = f"visit-{event.task_id}"
        visit = event.task.value(self.settings.visit, datetime)
        due = visit - self.settings.before if visit is not None else None
        if visit is None or due is None or event.task.is_closed or due <= self.now():
            dropped = await self.jobs.cancel(key)
            if dropped and not event.task.is_closed:
                return Reply("I shall not remind of the visit any more.")
            return Reply(f"Please fill in {self.settings.visit}.") if event.waiting and visit is None else None
        planned = [one.data async for one in self.jobs.list(prefix=key) if one.key == key]
        if planned == [visit]:
            return None
        await self.jobs.add("remind", at=due, key=key, task=event.task_id, data=visit)
        return Reply(f"I shall remind of the visit on {self.spoken(due)}.")

    @job("remind")
    async def remind(self, job: Job) -> Reply:
        """Write the reminder into the task; the host looks first, so that none is written twice."""
        return Reply(self.settings.text.filled(when=self.spoken(job.data)))

    def spoken(self, moment: datetime) -> str:
        """Return a moment as people of the zone read it."""
        return f"{moment.astimezone(ZoneInfo(self.settings.zone)):%d.%m.%Y at %H:%M}"
