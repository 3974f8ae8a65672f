"""One event as the journal holds it, and the filter by which operators ask for many."""

from __future__ import annotations

from typing import Literal

import msgspec

Phase = Literal["waiting", "running", "held", "parked", "posting", "answered", "undelivered", "failed", "cancelled"]
"""The state of an event in the words of the state table. It follows from the entry's state, door, answer and fence.

- waiting: never claimed, and not acknowledged; its deliveries wait for the turn and a permit
- running: a process has claimed it
- held: a run failed, or its host died, before the acknowledgement; Pyrus's next attempt runs it again
- parked: ready and acknowledged; the host runs it by itself when it is due
- posting: its run is over, and its reply is on the way through the API
- answered: it has its answer, and that has left, or there is nothing to say
- undelivered: it has its answer, but no delivery waited for that; the next attempt gets it
- failed: nothing runs or posts it any more, unless an operator retries it
- cancelled: an operator ended it
"""

State = Literal["ready", "running", "answered", "failed", "cancelled"]
"""The word in the row's column. A `ready` entry may be claimed; if it has an answer, only its post is left."""
Door = Literal["response", "api"]
"""The way a reply leaves: in the response to a delivery, or through Pyrus's API from the acknowledgement on, for ever."""
Kind = Literal["hook", "missed", "timer", "manual", "job", "request"]
"""`hook`: a webhook or a poll brought it; `missed`: neither did, and catching up found it."""


class Entry(msgspec.Struct, kw_only=True, gc=False):
    """One event (or tick, or manual rerun) as the journal holds it. Times are epoch seconds of the journal's time (`Journal.now`).

    The garbage collector does not track it, because it holds only texts, numbers and bytes, and there are very many of them.
    """

    id: str
    """The event key `bot:task:kind:comment` (or a digest), `key~n` for later events of one key, `timer:bot:name:epoch`, `bot:task:job:key:name:…`."""
    bot: str
    kind: Kind = "hook"
    state: State = "ready"
    door: Door = "response"
    task: int = 0
    turn: str | None = None
    """The turn it needs: the task's id, or a timer's name; None if the bot has `order = none`."""
    comment: int = 0
    """The comment id that the key holds; 0 if the key is a digest. The event table's floor is the highest one of a bot."""
    step: int = 0
    """The step at which the bot was asked to decide in this event (0: at none); the own-comment rule reads it."""
    due: float = 0.0
    fence: int = 0
    """A number that grows by one at every claim and is never reset. Every later write checks it."""
    owner: str = ""
    tries: int = 0
    """The number of tries to post the reply."""
    seen: int = 0
    """The number of deliveries of this event so far, those a second or more apart."""
    seen_at: float = 0.0
    """The time of the last delivery."""
    runs: int = 0
    deaths: int = 0
    rerun: str = ""
    """The reason why the present or next run is not the first: error, crash, drain, maybe, manual; else empty."""
    cancel: bool = False
    delivered: bool = False
    status: int = 0
    """The HTTP status that the last delivery of this event got; 0 if none was answered yet."""
    answer: bytes | None = None
    """The encoded reply; `b"{}"` for nothing to say. If it is present, the handler has finished, and only the post is left."""
    failed: bool = False
    """True if the answer is an error text. The entry is shown as failed although the text is posted."""
    error: str = ""
    """One line, then the traceback; scrubbed of secrets and tokens."""
    post_begun: float = 0.0
    """The time when the first POST of the reply began, by Pyrus's own clock; 0.0 if none was begun."""
    posted: int = 0
    """The id of the comment that carries the reply, once it is known."""
    version: str = ""
    """The plugin's version at its last run."""
    trace: str = ""
    """`traceparent` of the delivery, if it had one."""
    ms: float = 0.0
    """The duration of the last run in milliseconds."""
    created: float = 0.0
    updated: float = 0.0
    limit_s: float = 0.0
    """The most seconds after its claim for which its owner's heartbeat keeps it: `timeout` and a minute; 0 for no end."""
    revision: int = 0
    """A number that every write of the row raises by one; 0 if the entry is not in the journal yet.

    A write applies only to the revision it was decided on. The fence orders claims, the revision orders the writes within a
    claim."""
    history: bytes | None = None
    """What happened beyond the usual course, as `history.py` encodes it; None for an event that was answered at once."""


class EntryFilter(msgspec.Struct, kw_only=True, frozen=True):
    """The entries that `Journal.list` shows, newest first. A field that is None matches any entry."""

    bot: str | None = None
    states: tuple[State, ...] = ()
    phase: Phase | None = None
    """The state in the words of the state table; it takes the place of `states`."""
    task: int | None = None
    kind: Kind | None = None
    since: float | None = None
    until: float | None = None
    before: tuple[float, str] | None = None
    """(created, id) of the last row of the page before."""
    limit: int = 50


class ReapedEntry(msgspec.Struct, frozen=True):
    """An entry whose owner died or lost its lease, after the reaper has dealt with it."""

    entry: Entry
    dead: bool
    """True if the owner's process is known to be dead (flock), false if only its lease ran out."""


class JournalTiming(msgspec.Struct, frozen=True, kw_only=True):
    """The journal's own times in seconds; tests make them short."""

    lease_s: float = 30.0
    beat_s: float = 10.0
    retry_beat_s: float = 0.2
    sweep_s: float = 2.0
    due_s: float = 0.5
    """The seconds between a host's looks for entries that are due, between its sweeps."""
    quiet_s: float = 240.0
    commit_s: float = 5.0
    """The time after which a write or a look counts as failed, because the journal is away."""
    linger_s: float = 0.01
    """The time for which notes are gathered before one write. With 0 they are written at once, and virtual time waits for it."""
    dead_pause_s: float = 5.0
    """The pause of a new owner after a POST that a dead owner had begun."""
    lost_pause_s: float = 30.0
    """The pause after a POST of an owner that lost its lease. It is longer, because the request may still be on its way."""
