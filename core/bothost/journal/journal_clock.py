"""Give the time by which a journal's entries are planned. It never steps by itself.

A wall clock can be set back or forward at any moment, and two machines never agree. So an entry's times are counted by the
boot clock from one reference. That is this machine's wall clock for the embedded journal, and the database's clock for the
shared one. When the reference has stepped, `Journal.follow_clock` moves this time and all times planned by it together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bothost.clock import Clock

STEP_S = 1.0
"""A reference that is further away than this has stepped; a smaller distance is drift."""


class JournalClock:
    """Epoch seconds that only the journal moves. Any thread may read them."""

    __slots__ = ("_wall", "boot", "offset")

    def __init__(self, clock: Clock) -> None:
        self.boot = clock.boot
        """See `Clock.boot`."""
        self._wall = clock.epoch
        self.offset = clock.epoch() - clock.boot()
        """The seconds from the boot clock to this time."""

    def now(self) -> float:
        """Return the journal's time, in epoch seconds."""
        return self.boot() + self.offset

    def wall_offset(self) -> float:
        """Return the `offset` that this machine's wall clock would give."""
        return self._wall() - self.boot()

    def wall_stepped(self) -> bool:
        """Return whether this machine's wall clock has stepped away from this time."""
        return abs(self.wall_offset() - self.offset) > STEP_S
