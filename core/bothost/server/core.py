"""The core put together: everything between a verified delivery and a posted reply, without sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost.acks import Acks
from bothost.answers import Answers
from bothost.dispatch import Dispatch
from bothost.late import Late
from bothost.ledger import Ledger
from bothost.means import Means
from bothost.posts import Posts
from bothost.runs import Runs
from bothost.sieve import Sieve
from bothost.standing import Standing
from bothost.store import Timing
from bothost.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.answers import Count
    from bothost.api import Pyrus
    from bothost.bots import Bot, Service
    from bothost.clock import Clock
    from bothost.ledger import Live
    from bothost.poster import Poster
    from bothost.standing import Load
    from bothost.store import Store


@dataclass(frozen=True, slots=True)
class Rim:
    """What the core touches the world with."""

    store: Store
    poster: Poster
    clock: Clock
    count: Count
    load: Load
    pyrus_for: Callable[[Bot, Live], Pyrus | None]
    learnt: Callable[[str, str], None]
    """Told of what bodies teach: `user:bot` or `login:bot`, and its value."""
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that live as long as the host."""

    service: Service
    means: Means
    dispatch: Dispatch
    runs: Runs
    late: Late
    timers: Timers
    standing: Standing


def assemble(service: Service, rim: Rim) -> Core:
    """Build the core by hand; nothing is opened or started."""
    means = Means(
        store=rim.store,
        ledger=Ledger(),
        clock=rim.clock,
        answers=Answers(rim.clock, rim.count),
        find_bot=service.find,
        pyrus_for=rim.pyrus_for,
        timing=rim.timing,
    )
    posts = Posts(means, rim.poster)
    runs = Runs(means, posts)
    return Core(
        service=service,
        means=means,
        dispatch=Dispatch(means, runs, Acks(means), Sieve(rim.clock, rim.learnt)),
        runs=runs,
        late=Late(means, runs, posts, service.present),
        timers=Timers(means, service.present),
        standing=Standing(rim.load, rim.clock),
    )
