"""The journal: the durable record of events, one table and one state machine, two stores behind one Protocol.

"What happens to an event" in docs/design.md says what each state means. How its states are stored in an `Entry`:

=================  =========  ==========  ========================================================================
state of the page  `state`    `door`      what tells it
=================  =========  ==========  ========================================================================
running            running    either      `answer is None`
held               ready      response    `due` = last delivery + quiet; nothing claims it but the next attempt
parked             ready      api         `answer is None`, `due` = not before
posting            ready      api         `answer` present, `due`; while a try is under way: running, `answer` present
answered           answered   either      `delivered` false and door response: undelivered, `due` = last delivery + quiet
failed, cancelled  failed, cancelled      `error`
=================  =========  ==========  ========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.store.phases import Phase

State = Literal["ready", "running", "answered", "failed", "cancelled"]
Door = Literal["response", "api"]
Kind = Literal["hook", "timer", "manual"]


class Entry(msgspec.Struct, kw_only=True, gc=False):
    """One event (or tick, or manual rerun) as the journal holds it. Times are epoch seconds of the wall clock.

    Out of the garbage collector's sight, for it holds texts, numbers and bytes only, and memory is full of entries.
    """

    id: str
    """The event key `bot:task:kind:comment` (or a digest), `key~n` for later events of one key, `timer:bot:name:epoch`."""
    bot: str
    kind: Kind = "hook"
    state: State = "ready"
    door: Door = "response"
    task: int = 0
    turn: str | None = None
    """Whose line it stands in: the task's id, a timer's name; None where the bot has `order = none`."""
    comment: int = 0
    """The comment id that the key holds; 0 where the key is a digest. The ledger's floor is the highest one."""
    step: int = 0
    """The step at which the bot was asked to decide in this event (0: at none); the own-comment rule reads it."""
    due: float = 0.0
    fence: int = 0
    """Grows by one at every claim, is never reset, and is checked by every later write."""
    owner: str = ""
    tries: int = 0
    """Tries to post the reply."""
    seen: int = 0
    """Deliveries of this event so far, those a second or more apart."""
    seen_at: float = 0.0
    """When the last delivery came."""
    runs: int = 0
    deaths: int = 0
    rerun: str = ""
    """Why the next (or present) run is not the first: error, crash, drain, maybe, manual; else empty."""
    cancel: bool = False
    delivered: bool = False
    status: int = 0
    """The HTTP status that the last delivery of this event got; 0 where none was answered yet."""
    answer: bytes | None = None
    """The encoded reply. Present: the handler has finished, and only its way out is left. `b"{}"`: nothing to say."""
    failed: bool = False
    """The answer is an error text: shown as failed although it is posted."""
    error: str = ""
    """One line, then the traceback; scrubbed of secrets and tokens."""
    post_begun: float = 0.0
    posted: int = 0
    """The id of the comment that carries the reply, once it is known."""
    version: str = ""
    """The plugin's version at its last run."""
    trace: str = ""
    """`traceparent` of the delivery, where one came."""
    ms: float = 0.0
    """How long the last run took, in milliseconds."""
    created: float = 0.0
    updated: float = 0.0
    limit_s: float = 0.0
    """Seconds from its claim for which its owner's heartbeat keeps it at most: its `timeout` and a minute; 0: no end."""


class Filter(msgspec.Struct, kw_only=True, frozen=True):
    """What `Store.list` shows, newest first; None: any."""

    bot: str | None = None
    states: tuple[State, ...] = ()
    phase: Phase | None = None
    """Instead of `states`: how it stands, in the words of the state table."""
    task: int | None = None
    kind: Kind | None = None
    since: float | None = None
    until: float | None = None
    before: tuple[float, str] | None = None
    """(created, id) of the last row of the page before."""
    limit: int = 50


class Reaped(msgspec.Struct, frozen=True):
    """An entry whose owner died or lost its lease, after the reaper has dealt with it."""

    entry: Entry
    dead: bool
    """True where the owner's process is known to be dead (flock), false where only its lease ran out."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The store's own times in seconds; tests make them short."""

    lease_s: float = 30.0
    beat_s: float = 10.0
    retry_beat_s: float = 0.2
    sweep_s: float = 2.0
    quiet_s: float = 240.0
    commit_s: float = 5.0
    """How long a write or a look may take before it counts as away."""
    linger_s: float = 0.01
    """How long notes are gathered before they are written together. 0: at once, and virtual time stands still until then."""
    dead_pause_s: float = 5.0
    """How long a new owner lets a POST rest that a dead owner had begun …"""
    lost_pause_s: float = 30.0
    """… or one that only lost its lease, for its request may still be on its way."""


class Store(Protocol):
    """What both stores do. Every coroutine raises `StoreAway` where the journal cannot be reached or written.

    `claims_first` tells whether a claim must be durable before the run (several processes, or PostgreSQL). Where it is
    false (one process, embedded store) the caller keeps claims in memory and uses `note` to write behind.
    A write that checks the fence applies only where the row's fence (and owner, where the caller claimed it) is still the
    entry's; else it changes nothing and says so with False. Nor does it where the row has gone on under the same fence: an
    entry that has ended, or whose answer stands, is not made a running one without it by a write that was given up long ago.
    """

    claims_first: bool
    owner: str

    async def open(self) -> None:
        """Open or make the journal, migrate it, take the owner's lock, start beating. Creates the folder 0700, files 0600."""

    async def close(self) -> None:
        """Write what waits, give the owner's lock back, close."""

    async def claim(self, entry: Entry, body: bytes) -> tuple[Literal["claimed", "known", "busy"], Entry]:
        """Insert a new event as running under this owner, unless its key is known or its turn is taken.

        claimed: the entry with fence, owner, times. known: the row as it stands. busy: another entry of (bot, turn) runs,
        or an older parked one waits for that turn; nothing was written.
        """

    async def take(self, key: str, *, seen: int, seen_at: float) -> Entry | None:
        """Claim a held entry for its next attempt: fence + 1, running, this owner. None: it is not held any more, or its turn is taken."""

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        """Write the entry as it stands, behind; never waits, never raises. Notes of one key that wait together become one write.

        Only in a store that does not claim first: memory is the truth, so it applies where the row's fence is not above the
        entry's. Where another running row holds (bot, turn), the row is written without its turn rather than refused.

        Inserts where the row is missing (then `body` is wanted), else checks the fence. A note that cannot be written is
        tried again until it lands, is refused by the fence, or is superseded by a later one of its key.
        """

    async def save(self, entry: Entry, body: bytes | None = None, *, door: Door | None = None) -> bool:
        """As `note`, but done when durable; False where the fence, or `door` (the row's present door), refuses. Raises StoreAway."""

    async def acknowledge(self, key: str, *, seen: int, seen_at: float, body: bytes | None = None) -> Entry | None:
        """Set the door of somebody else's running entry to api, durably; `body` for a row that has none (`keep = 0`).

        The row as it stands then, also where its door was api already (running, parked). None: it is in another state by now.
        """

    async def find(self, key: str) -> Entry | None:
        """The row of a key, or None."""

    async def latest(self, key: str) -> Entry | None:
        """The newest row among `key`, `key~2`, `key~3` …, or None."""

    async def body(self, key: str) -> bytes | None:
        """The stored body (without its token), or None where it was not kept."""

    async def due(self, room: Mapping[str, int], limit: int) -> Sequence[Entry]:
        """Claim parked entries and ticks that are due, at most `room[bot]` of a bot: oldest first, only where their turn is free.

        Posting entries (answer present) are claimed too, without regard to room; of one task only the oldest.
        """

    async def waiting(self) -> Mapping[str, int]:
        """How many entries of each bot are ready with door api and due now, counted up to 100: cheap enough to ask each
        half second."""

    async def wait_hint(self, seconds: float) -> None:
        """Return when another process may have put something due (NOTIFY), or after `seconds`."""

    async def reap(self) -> Sequence[Reaped]:
        """Free entries of dead owners: door api and timers → parked (rerun crash, deaths + 1; the third → failed), posting →
        ready, due after 5 s (owner dead) or 30 s (lease lost) where a post had begun; door response → held, deaths + 1.
        After a store error it does nothing for half a lease, so that live hosts renew first.
        """

    async def quiet(self) -> Sequence[Entry]:
        """Move what is quiet: held → failed; answered but undelivered → posting (door api, due now). Parked entries older
        than max(keep, 1 d) → failed: expired. The moved entries."""

    async def retain(self, keep: Mapping[str, float]) -> int:
        """Drop bodies and answers older than each bot's `keep` (seconds), keys and what
        handlers wrote after 30 days, timer keys after 2; rows changed."""

    async def recent(self, since: float) -> Sequence[Entry]:
        """All entries last delivered or updated since then, of those that came within the hour before it, and all that are
        open; without bodies. For the memory at start."""

    async def highest(self) -> Mapping[str, int]:
        """The highest `comment` of each bot's entries: an event above it cannot be in the journal."""

    async def last_step(self, bot: str, task: int) -> int | None:
        """The step of the newest event that the bot ran for this task; None where it ran none."""

    async def wrote(self, bot: str, task: int, comment: int) -> None:
        """Keep the id of a comment that the bot's handlers wrote themselves, for as long as keys are kept."""

    async def written(self, bot: str, task: int) -> set[int]:
        """These ids, for one task."""

    async def list(self, want: Filter) -> Sequence[Entry]:
        """Entries for the operator, on a connection of its own; quick with 100,000."""

    async def counts(self) -> Mapping[tuple[str, State], int]:
        """Open and failed entries by bot and state, for the page and metrics."""

    async def control(self, key: str, value: str | None) -> None:
        """Set (None: remove) a fact that all processes read: `pause:bot`, `pause:bot:task`, `quarantine:bot`, `login:bot`,
        `user:bot`, `ticked:bot:timer`, `generation`."""

    async def controls(self) -> Mapping[str, str]:
        """All of these facts."""

    async def retry(self, key: str, *, again: bool = False) -> Entry:
        """Operator's retry by the page "By hand": the entry as it stands afterwards. Raises StoreError, saying why, where refused."""

    async def cancel(self, key: str) -> Entry:
        """Operator's cancel: ready ones end at once, of running ones the owner is told by `cancelled()`. StoreError where refused."""

    def cancelled(self) -> set[str]:
        """Keys of this owner's running entries that an operator asked to cancel, seen at the last beat."""

    def lost(self) -> set[str]:
        """Keys that this owner held and lost (lease, fence), seen at the last beat."""

    def alive(self) -> bool:
        """Whether this owner's lease still stands by the boot clock; a post or an API call begins only then."""

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        """Take tokens of a shared rate limit: 0.0 where granted, else seconds to wait."""

    async def gate_reset(self, name: str, tokens: float) -> None:
        """Correct a gate by what the X-RateLimit headers say is left."""


def open_store(
    journal: str,
    folder: Path,
    clock: Clock,
    *,
    claims_first: bool,
    timing: Timing | None = None,
    readonly: bool = False,
) -> Store:
    """The store of a `journal` setting: a `postgresql://` URL, or empty for the embedded one in `folder`. Not open yet.

    PostgreSQL always claims first. `readonly`: a visitor beside a running host, such as the command line.
    """
    if journal.startswith(("postgresql://", "postgres://")):
        from bothost.store.postgres import PostgresStore

        return PostgresStore(journal, clock, timing=timing, folder=folder, readonly=readonly)
    from bothost.store.sqlite import SqliteStore

    return SqliteStore(folder, clock, claims_first=claims_first, timing=timing, readonly=readonly)
