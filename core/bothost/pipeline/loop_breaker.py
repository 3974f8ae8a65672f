"""Pause a bot for one task in which it answers itself or another bot without end."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from bothost.pyrus.envelope import is_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bothost.clock import Clock
    from bothost.pipeline.event_table import TrackedEvent

log = logging.getLogger("bothost.breaker")

WINDOW_S = 600.0
TO_BOTS = 30
"""More non-empty replies than this to events whose newest comment is a bot's, and the task is paused."""
TO_ANY = 200
TASKS = 10_000
"""The most tasks whose replies are counted. The longest silent one is forgotten first."""


class LoopBreaker:
    """Counts non-empty replies by bot and task. The counts belong to the bot's name and outlive reloads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.pause_watchers: list[Callable[[str, str], None]] = []
        """Called with the fact `pause:bot:task` and its reason; the journal's facts are one."""
        self.reply_watchers: list[Callable[[str, int, Sequence[bool]], None]] = []
        """Called with the bot, the task and, for each reply given here, True if it was to a bot; other processes are one."""
        self._counts: OrderedDict[tuple[str, int], list[tuple[float, bool]]] = OrderedDict()
        """The time of each reply, and whether it was to a bot."""
        self._untold: dict[tuple[str, int], bool] = {}
        """Tasks with one reply here and none elsewhere, as most have: nobody need hear of it yet."""
        self._told: set[tuple[str, int]] = set()
        """Tasks that were paused here, and have not been read from the journal yet."""
        self.paused: Mapping[tuple[str, int], str] = {}
        """Tasks that are paused, and why; every process reads them from the journal."""

    def is_paused(self, bot: str, task: int) -> bool:
        """Return whether events of this task are parked until an operator resumes it."""
        return bool(self.paused) and (bot, task) in self.paused

    def count(self, tracked: TrackedEvent, user_id: int | None) -> None:
        """Count a non-empty reply to this event, an error text too; `user_id` is the bot's own."""
        key, to_a_bot = (tracked.entry.bot, tracked.entry.task), by_a_bot(tracked, user_id)
        now = self._clock.monotonic()
        if key not in self._counts:
            self._begin(key, [(now, to_a_bot)])
            if self.reply_watchers:
                self._untold[key] = to_a_bot
            return
        replies = self._within(key, now)
        replies.append((now, to_a_bot))
        number = len(replies)
        if self.reply_watchers:
            if number == 1:
                self._untold[key] = to_a_bot
            else:
                self._tell_own(key, to_a_bot)
        if number > TO_BOTS:
            to_bots = sum(to_a_bot for _, to_a_bot in replies)
            if to_bots > TO_BOTS or number > TO_ANY:
                self._trip(key, to_bots, number)

    def hear(self, bot: str, task: int, to_bots: Sequence[bool]) -> None:
        """Count replies of another process in this task; the process that gives the one too many pauses it."""
        now = self._clock.monotonic()
        self._within((bot, task), now).extend((now, to_a_bot) for to_a_bot in to_bots)
        self._tell_own((bot, task))

    def _tell_own(self, key: tuple[str, int], *newest: bool) -> None:
        before = self._untold.pop(key, None)
        own = newest if before is None else (before, *newest)
        if own:
            for watcher in self.reply_watchers:
                watcher(*key, own)

    def _within(self, key: tuple[str, int], now: float) -> list[tuple[float, bool]]:
        """Return the task's replies within the window, to add to, and make it the newest task."""
        replies = self._counts.get(key)
        if replies is None:
            return self._begin(key, [])
        self._counts.move_to_end(key)
        while replies and replies[0][0] < now - WINDOW_S:
            del replies[0]
        return replies

    def _begin(self, key: tuple[str, int], replies: list[tuple[float, bool]]) -> list[tuple[float, bool]]:
        """Count the replies of one task more."""
        self._counts[key] = replies
        if len(self._counts) > TASKS:
            forgotten, _ = self._counts.popitem(last=False)
            self._untold.pop(forgotten, None)
        return replies

    def read(self, facts: Mapping[str, str]) -> None:
        """Take the paused tasks from the journal's facts (`pause:bot:task`)."""
        paused = {}
        for fact, reason in facts.items():
            kind, _, rest = fact.partition(":")
            bot, colon, task = rest.partition(":")
            if kind == "pause" and colon and task.lstrip("-").isdigit():
                paused[bot, int(task)] = reason
        self._told -= paused.keys()
        for key in self.paused.keys() - paused.keys() - self._told:
            self._counts.pop(key, None)
        self.paused = {**{key: self.paused[key] for key in self._told}, **paused}

    def _trip(self, key: tuple[str, int], to_bots: int, to_any: int) -> None:
        bot, task = key
        if key in self.paused:
            return
        what = f"{to_bots} replies to bots" if to_bots > TO_BOTS else f"{to_any} replies"
        reason = f"{what} in task {task} within {WINDOW_S / 60:.0f} minutes: it talks to itself or another bot"
        self.paused = {**self.paused, key: reason}
        self._told.add(key)
        log.error(
            "paused for task %d: %s; `bothost resume %s --task %d` goes on", task, reason, bot, task, extra={"bot": bot}
        )
        for watcher in self.pause_watchers:
            watcher(f"pause:{bot}:{task}", reason)


def by_a_bot(tracked: TrackedEvent, user_id: int | None) -> bool:
    """Return whether the newest comment of the event is by the bot itself or by a person of type `bot`."""
    newest = tracked.envelope.newest if tracked.envelope is not None else None
    if newest is None:
        return False
    author = newest.author
    return author.type == "bot" or is_by(author, user_id)
