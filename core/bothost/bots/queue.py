"""Queue one bot's events: each takes its task's turn first and a permit second.

A ticket that waits for a turn holds no permit, because otherwise one busy task would make another wait. Turns and permits
go by arrival. `ready()` of a ticket is called once, on the loop, when it holds both. The queue belongs to the bot's name
and outlives reloads.

Where all processes on a journal count a bot's runs together, a queue has a share of the permits and gives no more than that
(see `shared_permits.py`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class PermitShare(Protocol):
    """This process's share of the permits of one bot."""

    granted: int
    """How many permits this process may give now."""
    keeps: int
    """How many of them it keeps where nobody uses them."""

    def ask(self) -> None:
        """Have the share looked at soon: a ticket waits for a permit, or a permit is free that others could use."""


class QueueTicket:
    """A position in a bot's queue. `turn` None asks for a permit only."""

    __slots__ = ("_gone", "adopted", "has_permit", "has_turn", "queue", "ready", "stands_back", "turn")

    def __init__(self, turn: str | None, ready: Callable[[], None]) -> None:
        self.turn = turn
        self.ready = ready
        self.queue: BotQueue | None = None
        self.has_turn = False
        self.has_permit = False
        self.adopted = False
        """True for a claimed event of the journal, before which nothing else goes."""
        self.stands_back = False
        """True while it has its turn and asks for no permit, because another process holds that turn too."""
        self._gone = False

    def free_permit(self) -> None:
        """Give the permit to the next ticket, because the work has really ended. Harmless when called again."""
        queue = self.queue
        if queue is not None and self.has_permit:
            self.has_permit = False
            queue.held -= 1
            if queue._permit_line:
                queue._grant()
            elif queue._share is not None and queue.limit > queue._share.keeps:
                queue._share.ask()

    def stand_back(self) -> None:
        """Give the permit back and keep the turn, until the queue is asked again for a permit."""
        self.stands_back = True
        self.free_permit()

    def free_turn(self) -> None:
        """Let the task's next event go. Harmless when called again."""
        if self.turn is not None and self.queue is not None:
            self.queue._free_turn(self, self.turn)

    def leave(self) -> None:
        """Give back turn and permit, and stop waiting."""
        self._gone = True
        self.free_permit()
        self.free_turn()


class BotQueue:
    """The turns and permits of one bot."""

    __slots__ = ("_ahead", "_own", "_permit_line", "_share", "_turns", "held", "limit", "waiting_bytes")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """How many permits it gives now: its own number, or its share where that is smaller."""
        self._own = limit
        self._share: PermitShare | None = None
        self.held = 0
        self.waiting_bytes = 0
        """The size of the bodies that wait here. The dispatcher parks events above its bound."""
        self._turns: dict[str, deque[QueueTicket]] = {}
        self._permit_line: deque[QueueTicket] = deque()
        self._ahead: dict[str, set[str]] = {}

    @property
    def waiting(self) -> int:
        """Return the number of tickets without a permit."""
        return len(self._permit_line) + sum(len(line) for line in self._turns.values()) - self.held_turns

    @property
    def short(self) -> int:
        """Return how many tickets have their turn and wait for a permit, as far as the bot may have so many here."""
        return min(len(self._permit_line), max(self._own - self.held, 0))

    @property
    def held_turns(self) -> int:
        """Return the number of tasks with an event that runs or waits for a permit."""
        return sum(1 for line in self._turns.values() if line and line[0].has_turn)

    def is_free(self, turn: str | None) -> bool:
        """Return whether a ticket of this turn would be ready at once."""
        free = self.held < self.limit and not self._permit_line
        return free and (turn is None or not (turn in self._turns or turn in self._ahead))

    def enter(self, ticket: QueueTicket) -> None:
        """Put a ticket into the queue. `ticket.ready` may be called before this returns."""
        ticket.queue = self
        if ticket.turn is None:
            ticket.has_turn = True
            self._wait_for_permit(ticket)
            return
        line = self._turns.get(ticket.turn)
        if line is None:
            line = self._turns[ticket.turn] = deque((ticket,))
        else:
            line.append(ticket)
        self._next_turn(ticket.turn, line)

    def ask_again(self, ticket: QueueTicket) -> None:
        """Wait for a permit once more, where the ticket stood back; where its turn was taken meanwhile, for that first."""
        ticket.stands_back = False
        if ticket.has_turn:
            self._wait_for_permit(ticket)

    def adopt(self, ticket: QueueTicket, turn: str | None, ready: Callable[[], None]) -> bool:
        """Give a ticket with a permit the turn of the event it has claimed from the journal, before all that wait for it.

        Returns False if an event of that turn runs at this moment. `ready` is then called when the turn is free.
        """
        if turn is None:
            return True
        line = self._turns.setdefault(turn, deque())
        ticket.turn, ticket.ready, ticket.adopted = turn, ready, True
        if line and line[0].has_turn and not self._makes_room(line[0]):
            ticket.has_turn = False
            line.insert(1, ticket)
            return False
        line.appendleft(ticket)
        return True

    def _makes_room(self, head: QueueTicket) -> bool:
        """Take the turn from an event that waits for a permit: it would wait for the one that the journal's event holds."""
        if head in self._permit_line:
            self._permit_line.remove(head)
        elif not head.stands_back:
            return False
        head.has_turn = False
        return True

    def stand_ahead(self, turn: str | None, key: str) -> None:
        """Let an event of the journal go before all later arrivals of its turn."""
        if turn is not None:
            self._ahead.setdefault(turn, set()).add(key)

    def went(self, turn: str | None, key: str) -> None:
        """Let later arrivals go, because the journal's event was claimed or has ended. Harmless for any other event."""
        keys = self._ahead.get(turn) if turn is not None else None
        if turn is None or keys is None:
            return
        keys.discard(key)
        if keys:
            return
        del self._ahead[turn]
        line = self._turns.get(turn)
        if line:
            self._next_turn(turn, line)

    def blocked(self) -> list[tuple[str, str]]:
        """Return turn and key of each event of the journal that others wait for, so that the poller can look whether it exists."""
        return [(turn, key) for turn, keys in self._ahead.items() if turn in self._turns for key in keys]

    def resize(self, limit: int, share: PermitShare | None = None) -> None:
        """Change the number of permits. Runs under way go on."""
        self._own, self._share = limit, share
        self.follow_share()

    def follow_share(self) -> None:
        """Give as many permits as the share allows now."""
        self.limit = self._own if self._share is None else min(self._own, self._share.granted)
        self._grant()

    def _next_turn(self, turn: str, line: deque[QueueTicket]) -> None:
        head = line[0]
        if not head.has_turn and (head.adopted or turn not in self._ahead):
            head.has_turn = True
            if head.stands_back:
                return
            if head.has_permit:
                head.ready()
            elif self.held < self.limit and not self._permit_line:
                self._give(head)
            else:
                self._wait_for_permit(head)

    def _wait_for_permit(self, ticket: QueueTicket) -> None:
        self._permit_line.append(ticket)
        self._grant()
        if self._share is not None and self._permit_line:
            self._share.ask()

    def _give(self, ticket: QueueTicket) -> None:
        self.held += 1
        ticket.has_permit = True
        ticket.ready()

    def _grant(self) -> None:
        while self._permit_line and self.held < self.limit:
            ticket = self._permit_line.popleft()
            if not ticket._gone:
                self._give(ticket)

    def _free_turn(self, ticket: QueueTicket, turn: str) -> None:
        ticket.turn = None
        line = self._turns.get(turn)
        if line is None or ticket not in line:
            return
        line.remove(ticket)
        if not line:
            del self._turns[turn]
        else:
            self._next_turn(turn, line)
