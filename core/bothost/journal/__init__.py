"""Keep the durable record of events: one table and one state machine, two stores behind one Protocol.

Only this package knows SQL, and nothing in it calls a plugin, Pyrus or HTTP. Start reading at `Journal` below, then in
`transitions.py`, which changes rows by themselves, then in `sqlite/` or `postgres/`.

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
    from collections.abc import Mapping, Sequence, Set
    from pathlib import Path

    from bothost.background import SupervisedLoops
    from bothost.clock import Clock
    from bothost.journal.data import DataRequest
    from bothost.journal.entry import Entry, EntryFilter, JournalTiming, ReapedEntry, State
    from bothost.journal.past import Past


class Journal(Protocol):
    """The contract of both journals. Every coroutine raises `JournalAway` if the journal cannot be reached or written.

    `claims_first` is true if a claim must be durable before the run (several processes, or PostgreSQL). If it is false (one
    process, embedded journal), the caller keeps claims in memory and writes behind by `note`.
    Every write of a row raises its `revision`. `save` applies only to the revision on which its caller decided. If the row
    has a later one, `save` changes nothing and returns False; the caller reads the row and decides anew. A `save` that raises
    may land all the same, or later, as long as the row has not gone on. So after JournalAway the caller knows nothing of the
    row until it has read it.
    """

    claims_first: bool
    owner: str
    loops: SupervisedLoops
    """Keeps the journal's threads and tasks going. A process puts its other loops here too."""

    async def open(self) -> None:
        """Open or make the journal, migrate it, take the owner's lock and start to beat. The folder gets mode 0700, files 0600."""

    async def close(self) -> None:
        """Write the notes that wait, give the owner's lock back, and close."""

    def now(self) -> float:
        """Return the journal's time in epoch seconds, by which its entries are planned. It does not step with a wall clock."""

    async def follow_clock(self) -> float:
        """Notice a step of the clock that the journal goes by, and move everything planned in it by that step.

        Return the seconds by which the journal's time was moved, mostly 0.0. The caller moves the times it holds in memory.
        """

    async def claim(self, entry: Entry, body: bytes) -> tuple[Literal["claimed", "known", "busy"], Entry]:
        """Insert a new event as running under this owner, unless its key is known or its turn is taken.

        claimed: the entry with fence, owner and times. known: the row as it stands. busy: nothing was written, because another
        entry of (bot, turn) runs, or an older parked one waits for that turn.
        """

    async def take(self, key: str, *, seen: int, seen_at: float) -> Entry | None:
        """Claim a held entry for its next attempt: fence + 1, running, this owner.

        Return None if it is not held any more, or if its turn is taken.
        """

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        """Write the entry as it stands, behind. Never waits, never raises. Notes of one key that wait together become one write.

        It is used only in a journal that does not claim first. There memory is the truth, so the note applies unless the row's
        fence is above the entry's. If another running row holds (bot, turn), the row is written without its turn.

        If the row is missing, it is inserted with `body`. A note that cannot be written is tried again until it lands, the
        fence refuses it, or a later note of its key replaces it.
        """

    async def save(self, entry: Entry, body: bytes | None = None) -> bool:
        """Write the entry durably on the revision it carries (0: insert), and raise that. Return False if the row has gone on.

        `body` is kept only if the row has none. If claims are in memory, the fence decides as for `note`, because the writes
        of the one process keep their order. After JournalAway nobody knows whether the write landed.
        """

    async def find(self, key: str) -> Entry | None:
        """Return the row of a key, or None."""

    async def latest(self, key: str) -> Entry | None:
        """Return the newest row among `key`, `key~2`, `key~3` …, or None."""

    async def body(self, key: str) -> bytes | None:
        """Return the stored body, which holds no token; None if it was not kept."""

    async def due(self, room: Mapping[str, int], limit: int) -> Sequence[Entry]:
        """Claim parked entries and ticks that are due and whose turn is free, the oldest first, at most `room[bot]` of a bot.

        Posting entries (answer present) are claimed too, without regard to room, and of each task only the oldest.
        """

    async def waiting(self) -> Mapping[str, int]:
        """Count the entries of each bot that are ready with door api and due now, up to 100.

        It is cheap enough to be asked each half second.
        """

    async def wait_hint(self, seconds: float) -> None:
        """Return when another process may have written an entry that is due (NOTIFY), or after `seconds`."""

    async def reap(self) -> Sequence[ReapedEntry]:
        """Free the entries of dead owners, and return them as they stand afterwards.

        - door api, and timers: parked, with rerun crash and deaths + 1; at the third death failed
        - posting: ready; if a post had begun, due after 5 s (owner dead) or 30 s (lease lost)
        - door response: held, with deaths + 1

        This owner's own rows are left alone, because it knows which of them it runs. After trouble with the journal only
        entries of owners known to be dead are freed for half a lease, so that live hosts renew first.
        """

    async def owners(self) -> Set[str]:
        """Return the owners whose lease holds. After trouble with the journal that is every one that is not known to be dead."""

    def orphans(self) -> Mapping[str, int]:
        """Return key → fence of rows that run under this owner although it never heard of the claim, as two beats have shown."""

    async def give_back(self, orphans: Mapping[str, int]) -> None:
        """Free such claims, because nothing was run for them. The caller leaves out those that it works at in memory."""

    async def quiet(self) -> Sequence[Entry]:
        """Move the entries that are quiet or expired, and return them.

        Held ones become failed. Answered but undelivered ones become posting (door api, due now). Parked ones older than
        max(keep, 1 d) become failed: expired.
        """

    async def retain(self, keep: Mapping[str, float]) -> int:
        """Drop what is too old, and return the number of rows changed.

        Bodies and answers go after each bot's `keep` (seconds), keys and ids of handlers' comments after 30 days, timers'
        keys after 2.
        """

    async def recent(self, since: float) -> Sequence[Entry]:
        """Return the entries that a starting host keeps in memory, without bodies.

        These are all open ones, and those delivered or updated since then that came at most an hour before it.
        """

    async def highest(self) -> Mapping[str, int]:
        """Return the highest `comment` of each bot's entries. An event above it cannot be in the journal."""

    async def past(self, until: float, seconds: float, shift: float) -> Past:
        """Return what bots did: the newest of each, and counts of the events that came within `seconds` before `until`.

        `shift` is the wall clock less the journal's time, because the counts are by the wall clock's minutes. It reads on a
        connection of its own.
        """

    async def last_step(self, bot: str, task: int) -> int | None:
        """Return the step of the newest event that the bot ran for this task; None if it ran none."""

    async def wrote(self, bot: str, task: int, comment: int) -> None:
        """Keep the id of a comment that the bot's handlers wrote themselves. It is kept as long as keys are."""

    async def written(self, bot: str, task: int) -> set[int]:
        """Return these ids for one task."""

    async def list(self, want: EntryFilter) -> Sequence[Entry]:
        """Return entries for the operator. It reads on a connection of its own, and is quick with 100,000 entries."""

    async def counts(self) -> Mapping[tuple[str, State], int]:
        """Return the numbers of open and failed entries by bot and state, for the page and metrics."""

    async def control(self, key: str, value: str | None) -> None:
        """Set a fact that all processes read, or remove it (None).

        The facts: `pause:bot`, `pause:bot:task`, `quarantine:bot`, `login:bot`, `user:bot`, `ticked:bot:timer`, `generation`.
        """

    async def controls(self) -> Mapping[str, str]:
        """Return all of these facts."""

    async def retry(self, key: str, *, again: bool = False, who: str = "", revision: int = 0) -> Entry:
        """Retry an entry for an operator ("By hand" in docs/design.md), and return it as it stands afterwards.

        `who` is the operator, whom the entry's history keeps. With a `revision` only an entry that still stands at it is
        retried. Raises JournalError with the reason if it is refused.
        """

    async def cancel(self, key: str, who: str = "") -> Entry:
        """Cancel an entry for an operator. A ready one ends at once; the owner of a running one learns of it by `cancelled()`.

        Raises JournalError with the reason if it is refused.
        """

    async def move(self, old: str, new: str) -> int:
        """Give the events of a renamed bot to the new one, and return how many.

        Runs under way stay, and so do keys that the new bot has already.
        """

    def cancelled(self) -> set[str]:
        """Return the keys of this owner's running entries that an operator asked to cancel, as the last beat saw them."""

    def lost(self) -> set[str]:
        """Return the keys that this owner held and has lost (lease, fence), as the last beat saw them."""

    def damage(self) -> str:
        """Return what was done to the journal's files under the host, now or within the last minute; "" for nothing."""

    def alive(self) -> bool:
        """Return whether this owner's lease still stands by the boot clock. A post or an API call begins only if it does."""

    async def put(self, entry: Entry, body: bytes, *, slot: tuple[str, str] | None = None) -> Entry:
        """Insert an entry that waits, durably, and return the row as it stands. If its id is known, nothing is written.

        `slot` is a space and a name of the plugin's values. The entry that waits there is taken out in the same step.
        """

    async def withdraw(self, space: str, name: str) -> bool:
        """Take out the entry that waits in a slot, and return whether there was one.

        An entry that never ran is deleted; any other one is cancelled.
        """

    async def ask(self, space: str, request: DataRequest) -> Any:
        """Carry out a plugin's request about the values of a space (`data.space_of`) in one step. Raises StoreError if it cannot."""

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        """Take tokens of a shared rate limit. Return 0.0 if they were granted, else the seconds to wait."""

    async def gate_reset(self, name: str, tokens: float) -> None:
        """Set a gate to the number of calls that the X-RateLimit headers leave. Below zero it is shut for so many seconds."""


def open_journal(
    journal: str,
    folder: Path,
    clock: Clock,
    *,
    claims_first: bool,
    timing: JournalTiming | None = None,
    readonly: bool = False,
) -> Journal:
    """Return the journal of a `journal` setting, not open yet: a `postgresql://` URL, or "" for the embedded one in `folder`.

    PostgreSQL always claims first. `readonly` makes a visitor beside a running host, such as the command line.
    """
    if journal.startswith(("postgresql://", "postgres://")):
        from bothost.journal.postgres.journal import PostgresJournal

        return PostgresJournal(journal, clock, timing=timing, folder=folder, readonly=readonly)
    from bothost.journal.sqlite.journal import SqliteJournal

    return SqliteJournal(folder, clock, claims_first=claims_first, timing=timing, readonly=readonly)
