"""Page through a register. It has no offset, so each page begins at the creation time where the page before ended."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bothost.errors import CallRefused
from bothost.pyrus.rest import requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bothost.pyrus.model.task import Task
    from bothost.pyrus.rest.requests import ApiRequest

LONGEST_PAGE = 20_000
"""The most tasks that one answer may hold (protocol 5.2)."""
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class RegisterWindow:
    """The rest of a register that is still wanted.

    Times have whole seconds, so two pages share the tasks of one second. `seen` holds the ids of these.
    """

    form_id: int
    filters: Mapping[str, Any]
    page_size: int
    limit: int | None = None
    seen: frozenset[int] = field(default_factory=frozenset)

    @property
    def single(self) -> bool:
        """Return whether it must come in one answer, because in the author's own order no page can begin where the last ended."""
        return "sort" in self.filters or "item_count" in self.filters

    def request(self) -> ApiRequest:
        """Return the request for the next page."""
        if self.single:
            return requests.register(self.form_id, {"item_count": self.limit or LONGEST_PAGE, **self.filters})
        return requests.register(self.form_id, {**self.filters, "sort": "id", "item_count": self.page_size})

    def fresh(self, found: Sequence[Task]) -> Sequence[Task]:
        """Return the tasks of a page that were not in the one before, within the limit."""
        return [task for task in found if task.id not in self.seen][: self.limit]

    def after(self, found: Sequence[Task]) -> RegisterWindow | None:
        """Return the window for the page after this one; None if there is none. Raises CallRefused if one second holds too many tasks."""
        fresh = self.fresh(found)
        left = None if self.limit is None else self.limit - len(fresh)
        dates = [task.create_date for task in found if task.create_date is not None]
        if self.single or len(found) < self.page_size or left == 0 or len(dates) < len(found):
            return None
        if not fresh:
            if self.page_size >= LONGEST_PAGE:
                raise CallRefused(
                    f"form {self.form_id}: more than {LONGEST_PAGE} tasks were made in one second, and no page of a register "
                    "holds so many: ask for fewer with steps= or filters="
                )
            return replace(self, page_size=min(self.page_size * 2, LONGEST_PAGE))
        # it is not documented whether `sort=id` means up or down, but the page itself shows it
        descending = found[0].id > found[-1].id
        edge = min(dates) if descending else max(dates)
        near = frozenset(task.id for task, date in zip(found, dates, strict=True) if abs(date - edge) <= SECOND)
        bound = self._before(edge + SECOND) if descending else self._after(edge - SECOND)
        return replace(self, filters={**self.filters, **bound}, limit=left, seen=near)

    def _before(self, edge: datetime) -> dict[str, datetime]:
        own = instant(self.filters.get("created_before"))
        return {"created_before": edge if own is None else min(edge, own)}

    def _after(self, edge: datetime) -> dict[str, datetime]:
        own = instant(self.filters.get("created_after"))
        return {"created_after": edge if own is None else max(edge, own)}


def instant(value: object) -> datetime | None:
    """Return a filter's time; None if the author's value is no time that can be compared."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
