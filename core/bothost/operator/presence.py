"""Read each process's facts about itself from the journal, to list the hosts, and to see that a change holds everywhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from bothost import __version__
from bothost.bots.reload import NOT_RESTARTED
from bothost.plugins.discovery import upgrade_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bothost.journal import Journal

PREFIX = "process:"
TELL_S = 10.0
GONE_S = 35.0
"""A process that has said nothing for so long has lost its lease."""
FORGET_S = 600.0
LOOK_S = 0.2
FIRST_S = 3.0
"""A process that has begun to serve tells of itself within this time."""
MOST_SKEW_S = 30.0
"""A clock that is further away from the journal's time is told of."""
RESTART = "restart:"
"""Begins the fact that asks for a bot's restart: when, and who asks."""


class ProcessPresence(msgspec.Struct, frozen=True, kw_only=True):
    """One process of one host. Times are epoch seconds of the journal's time."""

    owner: str
    """The name under which it holds claims in the journal."""
    host: str
    process: str
    pid: int
    version: str
    started: float
    at: float
    """The time when it wrote this."""
    ahead_s: float = 0.0
    """By how much its machine's clock is ahead of the journal's time."""
    running: int = 0
    waiting: int = 0
    lag_s: float = 0.0
    plugins: dict[str, str] = {}
    """The versions of the plugins that run."""
    newer: dict[str, str] = {}
    """The installed versions that differ from those that run. A restart takes them."""
    paused: tuple[str, ...] = ()
    generation: str = ""
    """The last asked reload that it has carried out."""
    reloaded: str = ""
    """The result of that reload."""
    restarts: dict[str, tuple[str, str]] = {}
    """Of the bots that an operator had restarted lately: the request, and what came of it here."""

    def alive(self, now: float) -> bool:
        """Return whether it has spoken within its lease."""
        return now - self.at < GONE_S

    def restarted(self, bot: str) -> bool:
        """Return whether the bot came into service anew here when an operator last asked for it."""
        return not self.restarts.get(bot, ("", ""))[1].startswith(NOT_RESTARTED)

    def skew(self) -> str:
        """Return by how much its machine's clock differs; "" if it agrees with the journal's time."""
        if abs(self.ahead_s) <= MOST_SKEW_S:
            return ""
        if self.ahead_s > 0:
            return f"its clock is {self.ahead_s:.0f} s ahead of the journal's, and so are the times of its log: start a time service"
        return f"its clock is {-self.ahead_s:.0f} s behind the journal's, and so are the times of its log: start a time service"

    def notes(self) -> list[str]:
        """Return what an operator should do about it."""
        host = [f"bothost: {upgrade_note(__version__, self.version)}"] if self.version != __version__ else []
        newer = sorted(self.newer.items())
        host += [self.skew()] if self.skew() else []
        return host + [f"{name}: {upgrade_note(version, self.plugins.get(name, '?'))}" for name, version in newer]


def presences(facts: Mapping[str, str], now: float) -> list[ProcessPresence]:
    """Read all processes from the journal's facts, sorted by host and process; those long gone are left out."""
    found = []
    for key, value in facts.items():
        if key.startswith(PREFIX):
            try:
                found.append(msgspec.json.decode(value, type=ProcessPresence))
            except (msgspec.DecodeError, ValueError):  # a host of another version
                continue
    kept = [one for one in found if now - one.at < FORGET_S]
    return sorted(kept, key=lambda one: (one.host, one.process, one.started))


def forgotten(facts: Mapping[str, str], now: float) -> list[str]:
    """Return the keys of processes that ended long ago without a word, and of restarts that were asked for long ago."""
    known = {PREFIX + one.owner for one in presences(facts, now)}
    gone = [key for key in facts if key.startswith(PREFIX) and key not in known]
    return gone + [
        key for key, request in facts.items() if key.startswith(RESTART) and now - asked_at(request) > FORGET_S
    ]


def asked_at(request: str) -> float:
    """Return when a restart was asked for; 0.0 if that is not known."""
    try:
        return float(request.partition(" ")[0])
    except ValueError:
        return 0.0


async def restarted(
    journal: Journal, bot: str, who: str, limit_s: float
) -> tuple[list[ProcessPresence], list[ProcessPresence]]:
    """Have every process close the bot's plugin and open it anew; return the living processes, and those that are not done."""
    request = f"{journal.now():.6f} {who}"
    await journal.control(RESTART + bot, request)

    def done(one: ProcessPresence) -> bool:
        # not only this request: somebody else may have asked a moment later
        return asked_at(one.restarts.get(bot, ("", ""))[0]) >= asked_at(request)

    return await wait_until(journal, done, limit_s)


async def wait_until(
    journal: Journal, holds: Callable[[ProcessPresence], bool], limit_s: float
) -> tuple[list[ProcessPresence], list[ProcessPresence]]:
    """Wait until it holds on all living processes; return these, and those on which it does not hold after `limit_s`."""
    time = asyncio.get_running_loop().time
    begun = time()
    while True:
        told, now, owners = await journal.controls(), journal.now(), await journal.owners()
        # one that was killed spoke a moment ago, but its lock has told the others that it is dead
        living = [one for one in presences(told, now) if one.alive(now) and one.owner in owners]
        behind = [one for one in living if not holds(one)]
        # a host that was started a moment ago holds the journal and has not told of itself
        early = not living and time() < begun + FIRST_S and bool(owners)
        if not (behind or early) or time() >= begun + limit_s:
            return living, behind
        await asyncio.sleep(LOOK_S)


def by_place(processes: Iterable[ProcessPresence]) -> dict[str, ProcessPresence]:
    """Return processes by their places, as "host/0"; where two hosts have one name, the pid follows: "host/0 (pid 17)"."""
    living = list(processes)
    count = Counter((one.host, one.process) for one in living)
    return {
        f"{one.host}/{one.process}" + (f" (pid {one.pid})" if count[one.host, one.process] > 1 else ""): one
        for one in living
    }


def named(processes: Iterable[ProcessPresence]) -> str:
    """Return processes as "host/0, host/1"."""
    return ", ".join(by_place(processes))


def restart_trouble(bot: str, living: Iterable[ProcessPresence], behind: Sequence[ProcessPresence]) -> str:
    """Return where the bot did not come into service anew and why; "" if it did everywhere."""
    told = [
        f"{place}: {one.restarts[bot][1]}"
        for place, one in by_place(living).items()
        if one not in behind and not one.restarted(bot)
    ]
    if behind:
        told.append(f"{named(behind)}: not done yet; the log there says more")
    return "; ".join(told)
