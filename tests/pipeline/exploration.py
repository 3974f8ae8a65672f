"""All that can happen to one event on two processes and one journal, breadth first, with the real `decide`.

A write is in flight until it commits. Its process may give up waiting before that: then it does not know, and the write may
still land at any later moment. Pyrus comes three times, to either process. A process may die once. Each rule of `Rules` can
be taken away, to see which fault it prevents.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from bothost.journal.entry import Entry, JournalTiming
from bothost.journal.transitions import given_back, quieted, reaped
from bothost.pipeline.write_rules import Amended, Held, Memory, RunFinished, TimeIsUp, decide

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLY = b'{"text":"x"}'
ATTEMPTS = 3
Kind = Literal["claim", "due", "time", "end", "deliver", "undeliver", "begin", "posted"]


@dataclass(frozen=True)
class Rules:
    """The rules of writing.py and its callers; each True in the product."""

    revisions: bool = True
    """A write applies only to the revision it was decided on; else: to the same fence, and only forward, as it was before."""
    in_turn: bool = True
    """A write waits for the one before it; else a parking is decided by memory while a claim is under way."""
    anew: bool = True
    """What is refused is read and decided anew; else its deliveries are told to come again."""
    memory: bool = True
    """A process gives back no claim of an event that it is at; else one whose outcome is not known to be written."""
    first: bool = True
    """An answer that nobody heard is given only after the row says so."""


class Row(NamedTuple):
    """The fields of a row that decisions go by."""

    state: str = "ready"
    door: str = "response"
    owner: str = ""
    fence: int = 0
    answer: bool = False
    delivered: bool = False
    begun: bool = False
    revision: int = 0


class Write(NamedTuple):
    """One write on its way."""

    kind: Kind
    owner: str
    base: int
    row: Row
    delivery: int = 0
    holds: bool = False
    """Nothing is to be written: the row says so already."""


class Process(NamedTuple):
    """One process's memory of the event."""

    phase: Literal[
        "idle", "waiting", "running", "ended", "unheard", "posting", "looked", "posted", "followed", "dead"
    ] = "idle"
    row: Row = Row()
    begun: int = 0
    unsure: bool = False
    attempted: tuple[Write, ...] = ()
    """Tries whose end is unknown, of the newest happening."""
    writing: Write | None = None
    beside: Write | None = None
    """A second write at one time, where rule `in_turn` is taken away."""
    delivery: int = 0
    """The attempt whose connection waits here."""
    held: int = 0
    """The fence of the claim that `HeldClaims` believes to hold."""


class State(NamedTuple):
    """Everything."""

    row: Row | None = None
    one: Process = Process()
    two: Process = Process()
    ghosts: frozenset[Write] = frozenset()
    """Writes nobody waits for any more, that may land."""
    attempts: int = 0
    answered: str = ""
    """What Pyrus read in a 200: `promise` or `reply`."""
    runs: int = 0
    comments: int = 0
    crashes: int = 0
    given_up: int = 0
    turned_away: bool = False
    """A 503 was given although no write was given up."""


def entry_of(row: Row) -> Entry:
    return Entry(
        id="k", bot="b", state=row.state, door=row.door, owner=row.owner, fence=row.fence, revision=row.revision,  # type: ignore[arg-type]
        answer=REPLY if row.answer else None, delivered=row.delivered, post_begun=float(row.begun),
    )  # fmt: skip


def row_of(entry: Entry) -> Row:
    return Row(
        entry.state, entry.door, entry.owner, entry.fence, entry.answer is not None, entry.delivered,
        bool(entry.post_begun), entry.revision,
    )  # fmt: skip


def _outcome(delivered: bool) -> RunFinished:
    def outcome(entry: Entry) -> Entry:
        if entry.door == "api":
            return msgspec.structs.replace(entry, answer=REPLY)
        return msgspec.structs.replace(entry, state="answered", answer=REPLY, delivered=delivered)

    return RunFinished(outcome)


def _delivered(delivered: bool) -> Amended:
    return Amended(
        lambda row: row.state == "answered" and row.door == "response",
        lambda row: msgspec.structs.replace(row, delivered=delivered),
    )


HAPPENINGS = {
    ("time", False): TimeIsUp(0.0), ("time", True): TimeIsUp(0.0),
    ("end", False): _outcome(False), ("end", True): _outcome(True),
    ("deliver", True): _delivered(True), ("undeliver", False): _delivered(False),
    ("begin", False): Held(lambda row: msgspec.structs.replace(row, post_begun=1.0)),
    ("posted", False): Held(lambda row: msgspec.structs.replace(row, state="answered", delivered=True)),
}  # fmt: skip


@cache
def decided(row: Row, memory: Memory, kind: str, heard: bool) -> tuple[Row | None, bool]:
    """The row by the product's `decide`, and whether that is so already."""
    entry = entry_of(row)
    new = decide(entry, memory, HAPPENINGS[kind, heard])
    return (None if new is None else row_of(new)), new is entry


@cache
def moved(row: Row, how: str) -> Row:
    """The row after a round of the journal itself, or of an operator."""
    entry, timing = entry_of(row), JournalTiming()
    if how == "reap":
        entry = reaped(entry, dead=True, now=0.0, timing=timing)
        entry = msgspec.structs.replace(entry, state="ready", failed=False)  # it dies once only
    elif how == "give back":
        entry = given_back(entry, now=0.0, timing=timing)
    else:
        entry = quieted(entry, 0.0)
    return row_of(entry)._replace(revision=row.revision + 1)


def applied(state: State, write: Write, rules: Rules) -> Row | None:
    """The row after this write, or None where it is refused."""
    row = state.row
    if write.kind == "claim":
        if row is None:
            return Row("running", "response", write.owner, 1, revision=1)
        return _claimed(row, write.owner) if row.state == "ready" and row.door == "response" else None
    if write.kind == "due":
        return _claimed(row, write.owner) if row is not None and row.state == "ready" and row.door == "api" else None
    if row is None:
        return write.row._replace(revision=1)
    if rules.revisions:
        return write.row._replace(revision=row.revision + 1) if row.revision == write.base else None
    new = write.row
    ours = row.fence < new.fence or (row.fence == new.fence and row.owner == new.owner)
    ours = ours or write.kind == "time"  # the acknowledgement of another's run checked nothing
    forward = (
        new.state not in ("ready", "running")
        or (new.state == "ready" and row.state in ("ready", "running"))
        or (row.state == "running" and (not row.answer or new.answer))
    )
    return new._replace(revision=row.revision + 1) if ours and forward else None


def _claimed(row: Row, owner: str) -> Row:
    return row._replace(state="running", owner=owner, fence=row.fence + 1, revision=row.revision + 1)


class Exploration:
    """The steps from a state, by the rules."""

    def __init__(self, rules: Rules, gives_up: int = 1, crashes: int = 0, attempts: int = ATTEMPTS) -> None:
        self.rules = rules
        self.attempts = attempts
        self.gives_up = gives_up
        self.crashes = crashes

    def steps(self, state: State) -> Iterator[State]:
        yield from self.rounds(state)
        for ghost in state.ghosts:
            rest = state._replace(ghosts=state.ghosts - {ghost})
            yield rest
            row = applied(rest, ghost, self.rules)
            if row is not None:
                yield rest._replace(row=row)
        for name in ("one", "two"):
            process: Process = getattr(state, name)
            if process.phase != "dead":
                yield from self.of_process(state, name, process)

    def rounds(self, state: State) -> Iterator[State]:
        """What the journal moves by itself."""
        row = state.row
        if row is None:
            return
        dead = {name for name in ("one", "two") if getattr(state, name).phase == "dead"}
        if row.state == "running" and row.owner in dead:
            yield state._replace(row=moved(row, "reap"))
        over = state.attempts >= self.attempts - 1  # four minutes without a word, though Pyrus may come once more
        quiet = row.state == "ready" or (row.state == "answered" and not row.delivered)
        if over and row.door == "response" and quiet:
            yield state._replace(row=moved(row, "quiet"))

    def of_process(self, state: State, name: str, process: Process) -> Iterator[State]:
        yield from self.attempt(state, name, process)
        yield from self.own(state, name, process)
        for place in ("writing", "beside"):
            write = getattr(process, place)
            if write is not None:
                yield self.committed(state, name, process, place)
                if state.given_up < self.gives_up:
                    yield self.given_up(state, name, process, place)
        if state.crashes < self.crashes:
            ghosts = {write for write in (process.writing, process.beside) if write is not None}
            crashed = state._replace(crashes=state.crashes + 1, ghosts=state.ghosts | ghosts)
            yield crashed._replace(**{name: Process("dead")})
        if process.delivery:  # Pyrus or a router hangs up
            phase = "unheard" if process.phase == "idle" and process.writing is None else process.phase
            yield state._replace(**{name: process._replace(delivery=0, phase=phase)})

    def attempt(self, state: State, name: str, process: Process) -> Iterator[State]:
        """Pyrus comes, if it has read no 200 and no connection of it is open."""
        if state.answered or state.attempts == self.attempts or state.one.delivery or state.two.delivery:
            return
        number = state.attempts + 1
        came = state._replace(attempts=number)
        if process.phase in ("waiting", "running", "ended"):
            if process.row.door == "api" or (
                process.phase != "waiting" and state.row is not None and state.row.door == "api"
            ):
                yield came._replace(answered="promise")
            else:
                yield came._replace(**{name: process._replace(delivery=number)})
            return
        if process.writing is not None or process.phase == "unheard":
            return  # it waits for the end of that write, as another order of steps
        if not self.rules.first and process.phase == "idle" and process.row.state == "answered":
            yield self.replied(came, name, process)  # by memory
        yield self.met(came, name, process._replace(delivery=number))

    def met(self, state: State, name: str, process: Process) -> State:
        """A delivery waits at a process that is not at the event: by the row."""
        row = state.row
        process = process._replace(row=row or Row(), unsure=False, attempted=())
        if not process.delivery:
            return state._replace(**{name: process._replace(phase="idle")})
        if row is None or (row.state == "ready" and row.door == "response"):
            return state._replace(**{name: process._replace(phase="waiting")})
        if row.door == "api":
            done = process._replace(
                phase=process.phase if process.phase in ("posting", "looked", "posted") else "idle", delivery=0
            )
            return state._replace(answered="promise", **{name: done})
        if row.state == "running":
            return state._replace(**{name: process._replace(phase="followed")})
        if row.state == "answered" and row.delivered:
            return self.replied(state, name, process._replace(phase="idle"))
        if row.state == "answered":
            write = self.write(name, process, "deliver", heard=True, row=row)
            return state._replace(**{name: process._replace(phase="idle", writing=write)})
        return state._replace(**{name: process._replace(phase="idle", delivery=0)})  # failed: 500

    def replied(self, state: State, name: str, process: Process) -> State:
        """Pyrus reads the bytes, and writes a comment."""
        return state._replace(answered="reply", comments=state.comments + 1, **{name: process._replace(delivery=0)})

    def write(self, name: str, after_: Process, kind: Kind, *, heard: bool, row: Row) -> Write | None:
        """What is decided on this row; None where it says something else."""
        memory = Memory(name, after_.row.fence, after_.begun, after_.phase == "waiting")
        new, holds = decided(row, memory, kind, heard)
        return None if new is None else Write(kind, name, row.revision, new, after_.delivery, holds)

    def own(self, state: State, name: str, process: Process) -> Iterator[State]:
        """What the process does by itself."""
        row = state.row
        if process.phase == "waiting" and process.writing is None:
            claim = Write("claim", name, 0, Row(), process.delivery)
            yield state._replace(**{name: process._replace(writing=claim)})
        if process.phase == "running":
            yield state._replace(**{name: process._replace(phase="ended")})
        if process.delivery and process.phase in ("waiting", "running", "ended", "followed"):
            yield from self.time_up(state, name, process)
        if process.writing is None and process.phase == "ended":
            yield self.submit(state, name, process, "end", heard=process.delivery > 0)
        if process.writing is None and process.phase == "unheard":
            yield self.submit(state, name, process, "undeliver", heard=False)
        if process.phase == "posting":  # the look at the task: the reply is there, or it is not
            yield state._replace(**{name: process._replace(phase="posted" if state.comments else "looked")})
        if process.writing is None and process.phase == "looked":
            yield self.submit(state, name, process, "begin", heard=False)
        if process.writing is None and process.phase == "posted":
            yield self.submit(state, name, process, "posted", heard=False)
        if process.writing is None and process.phase == "idle" and process.delivery:
            yield self.met(state, name, process)
        if row is None:
            return
        if process.phase == "followed" and (row.state != "running" or row.door == "api"):
            yield self.met(state, name, process)
        calm = process.writing is None and process.phase in ("idle", "followed")
        if calm and process.phase == "idle" and row.state == "ready" and row.door == "api":
            yield state._replace(**{name: process._replace(writing=Write("due", name, 0, Row()))})
        unheard_of = calm or (not self.rules.memory and process.phase == "ended" and process.unsure)
        if unheard_of and row.state == "running" and row.owner == name and row.fence != process.held:
            yield state._replace(row=moved(row, "give back"))

    def time_up(self, state: State, name: str, process: Process) -> Iterator[State]:
        if process.writing is None:
            yield self.submit(state, name, process, "time", heard=True)
        elif not self.rules.in_turn and process.beside is None:
            write = self.write(name, process, "time", heard=True, row=process.row)
            if write is not None:
                yield state._replace(**{name: process._replace(beside=write)})

    def submit(self, state: State, name: str, process: Process, kind: Kind, *, heard: bool) -> State:
        """Decide, on the row where memory is not sure, and send the write."""
        row = process.row
        if process.unsure:
            row = state.row or Row()
            for tried in process.attempted:
                if tried.kind == kind and row == tried.row._replace(revision=tried.base + 1):
                    return self.landed(state, name, process._replace(row=row, unsure=False, attempted=()), tried)
        write = self.write(name, process, kind, heard=heard, row=row)
        if write is None:
            return self.by_row(state, name, process, kind)
        if write.holds:
            return self.landed(state, name, process._replace(row=row, unsure=False, attempted=()), write)
        return state._replace(**{name: process._replace(writing=write)})

    def by_row(self, state: State, name: str, process: Process, kind: Kind) -> State:
        """The row says something else."""
        if kind == "time" and process.phase in ("running", "ended"):
            return self.sent_away(state, name, process)
        return self.met(state, name, process._replace(phase="idle"))

    def sent_away(self, state: State, name: str, process: Process) -> State:
        """503: Pyrus comes again."""
        away = state._replace(turned_away=state.turned_away or (not state.given_up and not state.crashes))
        if process.phase in ("waiting", "followed"):
            process = process._replace(phase="idle")
        return away._replace(**{name: process._replace(delivery=0)})

    def committed(self, state: State, name: str, process: Process, place: str) -> State:
        """The write commits, and its process hears how."""
        write: Write = getattr(process, place)
        process = process._replace(**{place: None})
        row = applied(state, write, self.rules)
        if row is None:
            return self.refused(state, name, process, write)
        state = state._replace(row=row)
        if write.kind in ("claim", "due"):
            return self.claimed(state, name, process, row)
        return self.landed(state, name, process._replace(row=row, unsure=False, attempted=()), write)

    def claimed(self, state: State, name: str, process: Process, row: Row) -> State:
        process = process._replace(row=row, unsure=False, attempted=(), held=row.fence)
        if row.answer:
            return state._replace(**{name: process._replace(phase="posting")})
        running = process._replace(phase="running", begun=row.fence)
        return state._replace(runs=state.runs + 1, **{name: running})

    def refused(self, state: State, name: str, process: Process, write: Write) -> State:
        row = state.row
        if write.kind == "claim":
            if (
                row is not None
                and row.state == "running"
                and row.owner == name
                and row.door == "response"
                and row.fence > process.begun
            ):
                return self.claimed(state, name, process, row)
            return self.met(state, name, process._replace(phase="idle"))
        if write.kind == "due":
            return state._replace(**{name: process})
        if not self.rules.anew:
            return (
                self.sent_away(state, name, process)
                if write.kind == "time"
                else self.met(state, name, process._replace(phase="idle"))
            )
        if write.kind == "deliver" and not process.delivery:
            process = process._replace(phase="unheard")
        return state._replace(**{name: process._replace(unsure=True)})

    def landed(self, state: State, name: str, process: Process, write: Write) -> State:
        """What follows a write that is known to be in the journal."""
        row = process.row
        if row.state != "running":
            process = process._replace(held=0)
        if write.kind == "time":
            if process.phase in ("waiting", "followed"):
                process = process._replace(phase="idle")
            if process.delivery:
                state = state._replace(answered="promise")
            return state._replace(**{name: process._replace(delivery=0)})
        if write.kind == "end":
            return self.ended(state, name, process, row)
        if write.kind == "deliver":
            if process.delivery:
                return self.replied(state, name, process)
            return state._replace(**{name: process._replace(phase="unheard")})
        if write.kind == "begin":
            return state._replace(comments=state.comments + 1, **{name: process._replace(phase="posted")})
        return state._replace(**{name: process._replace(phase="idle")})

    def ended(self, state: State, name: str, process: Process, row: Row) -> State:
        if row.door == "api":
            if process.delivery:
                state = state._replace(answered="promise")
            return state._replace(**{name: process._replace(phase="posting", delivery=0)})
        if process.delivery:
            return self.replied(state, name, process._replace(phase="idle"))
        return state._replace(**{name: process._replace(phase="unheard" if row.delivered else "idle")})

    def given_up(self, state: State, name: str, process: Process, place: str) -> State:
        """The process waits no longer; nobody knows what becomes of the write."""
        write: Write = getattr(process, place)
        state = state._replace(given_up=state.given_up + 1, ghosts=state.ghosts | {write})
        process = process._replace(**{place: None})
        if write.kind in ("claim", "due"):
            return state._replace(**{name: process})
        tries = tuple(tried for tried in process.attempted if tried.kind == write.kind)
        process = process._replace(unsure=True, attempted=tries if write in tries else (*tries, write))
        if not self.rules.memory and write.row.state != "running":
            process = process._replace(held=0)  # as it was: whatever became of the write, its claim was dropped
        if write.kind == "time":
            process = process._replace(
                delivery=0, phase="idle" if process.phase in ("waiting", "followed") else process.phase
            )
        elif write.kind == "deliver":
            process = process._replace(delivery=0, phase="unheard")
        return state._replace(**{name: process})


def faults_of(state: State) -> set[str]:
    """What must never be, in any state."""
    found = set()
    if state.runs > 1 + state.crashes:
        found.add("runs twice")
    if state.comments > 1:
        found.add("two comments")
    if state.turned_away:
        found.add("503 without an outage")
    return found


def is_good_end(state: State) -> bool:
    """The event has come to its end, and whoever was promised a comment has it."""
    row = state.row
    if row is None:
        return not state.answered  # the journal was away at all three attempts
    if state.ghosts or row.state not in ("answered", "failed"):
        return False
    if any(process.writing or process.phase not in ("idle", "dead") for process in (state.one, state.two)):
        return False
    if state.answered or (row.state == "answered" and not state.crashes):
        return state.comments == 1
    return True


def explore(exploration: Exploration, *, until_fault: bool = False) -> tuple[int, set[str], list[State]]:
    """All reachable states: how many, the faults found, and states from which no good end can be reached any more.

    `until_fault`: no further than the first fault.
    """
    numbers = {State(): 0}
    states = [State()]
    parents: list[list[int]] = [[]]
    faults: set[str] = set()
    waiting = deque([0])
    while waiting and not (until_fault and faults):
        number = waiting.popleft()
        state = states[number]
        found = faults_of(state)
        faults |= found
        for step in exploration.steps(state) if not found else ():
            known = numbers.setdefault(step, len(states))
            if known == len(states):
                states.append(step)
                parents.append([])
                waiting.append(known)
            parents[known].append(number)
    return len(states), faults, [] if until_fault else stuck(states, parents)


def stuck(states: list[State], parents: list[list[int]]) -> list[State]:
    """States from which no good end can be reached."""
    waiting = deque(number for number, state in enumerate(states) if is_good_end(state))
    reach = set(waiting)
    while waiting:
        for parent in parents[waiting.popleft()]:
            if parent not in reach:
                reach.add(parent)
                waiting.append(parent)
    return [state for number, state in enumerate(states) if number not in reach and not faults_of(state)]
