"""Remember the comments that handlers wrote themselves, so that no late reply takes one of them for its own."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

REMEMBERED_TASKS = 10_000
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0


class CommentJournal(Protocol):
    """The part of the journal that keeps written comments; the journal's Protocol has it."""

    async def wrote(self, bot: str, task: int, comment: int) -> None:
        """Keep the id of a comment that the bot's handlers wrote themselves."""

    async def wait_hint(self, seconds: float) -> None:
        """Return after `seconds`, or earlier if another process has written an entry that is due."""


class WrittenComments:
    """The ids by bot and task, in memory for this process, and in the journal for other and later processes."""

    def __init__(self, journal: CommentJournal) -> None:
        self._journal = journal
        self._ids: OrderedDict[tuple[str, int], set[int]] = OrderedDict()
        self._beside = BackgroundTasks()

    def of(self, bot: str, task_id: int) -> AbstractSet[int]:
        """Return the ids on a task, as far as this process remembers."""
        return frozenset(self._ids.get((bot, task_id), ()))

    def add(self, bot: str, task_id: int, comment_id: int) -> None:
        """Remember a comment, and write it to the journal beside everything else."""
        self._ids.setdefault((bot, task_id), set()).add(comment_id)
        self._ids.move_to_end((bot, task_id))
        while len(self._ids) > REMEMBERED_TASKS:
            self._ids.popitem(last=False)
        self._beside.spawn(self._write(bot, task_id, comment_id))

    async def _write(self, bot: str, task_id: int, comment_id: int) -> None:
        """Write the id, and try until the journal takes it, because no later event brings it again."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._journal.wrote(bot, task_id, comment_id)
            except JournalAway:
                await self._journal.wait_hint(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                return
