"""The journal: the durable record of events, one table and one state machine, two stores behind one Protocol.

Only this package knows SQL; nothing in it calls a plugin, Pyrus or HTTP. Start reading at `Journal` below, then
`transitions.py` for what rows become by themselves, then `sqlite/` or `postgres/`.

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

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bothost.background import SupervisedLoops
    from bothost.clock import Clock
    from bothost.journal.data import DataRequest
    from bothost.journal.entry import Entry, EntryFilter, JournalTiming, ReapedEntry, State


class Journal(Protocol):
    """The contract of both journals. Every coroutine raises `JournalAway` where the journal cannot be reached or written.

    `claims_first` tells whether a claim must be durable before the run (several processes, or PostgreSQL). Where it is
    false (one process, embedded journal) the caller keeps claims in memory and uses `note` to write behind.
    Every write of a row raises its `revision`, and `save` applies only to the revision on which its caller decided; else it
    changes nothing and says so with False: the caller reads the row and decides anew. A `save` that raises may land all the
    same, or later, as long as the row has not gone on. So after JournalAway nothing is known until the row was read.
    """

    claims_first: bool
    owner: str
    loops: SupervisedLoops
    """Keeps the journal's threads and tasks going; a process has its other loops here too."""

    async def open(self) -> None:
        """Open or make the journal, migrate it, take the owner's lock, start beating. Creates the folder 0700, files 0600."""

    async def close(self) -> None:
        """Write what waits, give the owner's lock back, close."""

    def now(self) -> float:
        """Return the journal's time in epoch seconds, by which its entries are planned. It does not step with a wall clock."""

    async def follow_clock(self) -> float:
        """Notice a step of the clock that the journal goes by, and move everything planned in it by that step.

        Return the seconds by which the journal's time was moved (0.0 mostly); the caller moves what it holds in memory.
        """

    async def claim(self, entry: Entry, body: bytes) -> tuple[Literal["claimed", "known", "busy"], Entry]:
        """Insert a new event as running under this owner, unless its key is known or its turn is taken.

        claimed: the entry with fence, owner, times. known: the row as it stands. busy: another entry of (bot, turn) runs,
        or an older parked one waits for that turn; nothing was written.
        """

    async def take(self, key: str, *, seen: int, seen_at: float) -> Entry | None:
        """Claim a held entry for its next attempt: fence + 1, running, this owner. None: it is not held any more, or its turn is taken."""

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        """Write the entry as it stands, behind; never waits, never raises. Notes of one key that wait together become one write.

        Only in a journal that does not claim first: memory is the truth, so it applies where the row's fence is not above the
        entry's. Where another running row holds (bot, turn), the row is written without its turn rather than refused.

        Inserts where the row is missing (then `body` is wanted), else checks the fence. A note that cannot be written is
        tried again until it lands, is refused by the fence, or is superseded by a later one of its key.
        """

    async def save(self, entry: Entry, body: bytes | None = None) -> bool:
        """Write the entry durably, on the revision it carries (0: insert), and raise that. False: the row has gone on.

        `body` is kept only where the row has none. Where claims are in memory the fence decides, as for `note`: the writes
        of that one process keep their order. Raises JournalAway; whether it landed is not known then.
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
        """Count the entries of each bot that are ready with door api and due now, counted up to 100: cheap enough to ask each
        half second."""

    async def wait_hint(self, seconds: float) -> None:
        """Return when another process may have put something due (NOTIFY), or after `seconds`."""

    async def reap(self) -> Sequence[ReapedEntry]:
        """Free entries of dead owners: door api and timers → parked (rerun crash, deaths + 1; the third → failed), posting →
        ready, due after 5 s (owner dead) or 30 s (lease lost) where a post had begun; door response → held, deaths + 1.
        This owner's own rows are left alone: it knows what it runs. After trouble with the journal only the dead are reaped
        for half a lease, so that live hosts renew first.
        """

    def orphans(self) -> Mapping[str, int]:
        """Key → fence of rows that run under this owner although it never heard of the claim, as two beats have shown."""

    async def give_back(self, orphans: Mapping[str, int]) -> None:
        """Free such claims: nothing was run for them. Only the caller knows which of them it is at in memory."""

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

    async def list(self, want: EntryFilter) -> Sequence[Entry]:
        """Entries for the operator, on a connection of its own; quick with 100,000."""

    async def counts(self) -> Mapping[tuple[str, State], int]:
        """Open and failed entries by bot and state, for the page and metrics."""

    async def control(self, key: str, value: str | None) -> None:
        """Set (None: remove) a fact that all processes read: `pause:bot`, `pause:bot:task`, `quarantine:bot`, `login:bot`,
        `user:bot`, `ticked:bot:timer`, `generation`."""

    async def controls(self) -> Mapping[str, str]:
        """All of these facts."""

    async def retry(self, key: str, *, again: bool = False) -> Entry:
        """Operator's retry by the page "By hand": the entry as it stands afterwards. Raises JournalError, saying why, where refused."""

    async def cancel(self, key: str) -> Entry:
        """Operator's cancel: ready ones end at once, of running ones the owner is told by `cancelled()`. JournalError where refused."""

    async def move(self, old: str, new: str) -> int:
        """Give the events of a renamed bot to the new one, but for runs under way and keys that it has already; how many."""

    def cancelled(self) -> set[str]:
        """Keys of this owner's running entries that an operator asked to cancel, seen at the last beat."""

    def lost(self) -> set[str]:
        """Keys that this owner held and lost (lease, fence), seen at the last beat."""

    def damage(self) -> str:
        """Return what was done to the journal's files under the host, now or within the last minute; "" for nothing."""

    def alive(self) -> bool:
        """Tell whether this owner's lease still stands by the boot clock; a post or an API call begins only then."""

    async def put(self, entry: Entry, body: bytes, *, slot: tuple[str, str] | None = None) -> Entry:
        """Insert an entry that waits, durably. The row as it stands: where its id is known, nothing was written.

        `slot`, a space and a name of the plugin's values: the entry that waits there is taken out in the same step.
        """

    async def withdraw(self, space: str, name: str) -> bool:
        """Take out the entry that waits in a slot; whether there was one. One that never ran is deleted, another cancelled."""

    async def ask(self, space: str, request: DataRequest) -> Any:
        """Do what a plugin asks about the values of a space (`data.space_of`), in one step. Raises StoreError where it cannot be."""

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        """Take tokens of a shared rate limit: 0.0 where granted, else seconds to wait."""

    async def gate_reset(self, name: str, tokens: float) -> None:
        """Correct a gate by what the X-RateLimit headers say is left; below zero it is shut for so many seconds."""


def open_journal(
    journal: str,
    folder: Path,
    clock: Clock,
    *,
    claims_first: bool,
    timing: JournalTiming | None = None,
    readonly: bool = False,
) -> Journal:
    """The store of a `journal` setting: a `postgresql://` URL, or empty for the embedded one in `folder`. Not open yet.

    PostgreSQL always claims first. `readonly`: a visitor beside a running host, such as the command line.
    """
    if journal.startswith(("postgresql://", "postgres://")):
        from bothost.journal.postgres.journal import PostgresJournal

        return PostgresJournal(journal, clock, timing=timing, folder=folder, readonly=readonly)
    from bothost.journal.sqlite.journal import SqliteJournal

    return SqliteJournal(folder, clock, claims_first=claims_first, timing=timing, readonly=readonly)
