"""CPU of a server's processes per delivery, its latency at a fixed rate, and its memory: of several servers in turns."""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cores import family, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.servers import Server

ROOT = Path(__file__).parent.parent
CONNECTIONS = 16
RATES = {"1.5 kB": 200, "22 kB": 100, "190 kB": 50}
"""Deliveries a second at which latency is measured: all servers keep up with them."""
SHARES = {"1.5 kB": 1, "22 kB": 2, "190 kB": 4}
"""Of larger bodies so many times fewer are sent in a round."""
WAKES = 8
"""Each turn begins with so many times fewer that nobody counts."""
SEED = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run: deliveries in a round, rounds, and for how long at a fixed rate, in so many parts."""

    count: int
    rounds: int
    seconds: float
    parts: int = 2

    def deliveries(self, size: str) -> int:
        """Return the number of deliveries of one round."""
        return max(self.count // SHARES[size], 1)


@dataclass(slots=True)
class Figure:
    """One server with one size of body."""

    rounds_us: list[float] = field(default_factory=list)
    """µs of CPU for a delivery, in each round."""
    beside_us: list[float] = field(default_factory=list)
    """CPU of the processes of its database, or of the service behind it."""
    latency_ms: list[float] = field(default_factory=list)
    """To each answer at the fixed rate."""

    @property
    def cpu_us(self) -> float:
        """Return the median."""
        return statistics.median(self.rounds_us)

    @property
    def beside_cpu_us(self) -> float:
        """Return the median."""
        return statistics.median(self.beside_us)

    def latency(self, share: float) -> float:
        """Return the time by which so many of the answers were there."""
        ordered = sorted(self.latency_ms)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    def as_json(self) -> dict[str, object]:
        """Return the rounds and their results."""
        return {
            "cpu_us": self.cpu_us,
            "rounds_us": self.rounds_us,
            "beside_us": self.beside_cpu_us,
            "p50_ms": self.latency(0.5),
            "p99_ms": self.latency(0.99),
        }


def ratio(one: Figure, other: Figure) -> float:
    """Return how many times the CPU of the other it is: the median over the rounds, so that what slows a round down falls out."""
    return statistics.median(a / b for a, b in zip(one.rounds_us, other.rounds_us, strict=True))


class Measured:
    """A server with senders of its own."""

    def __init__(self, server: Server, senders: subprocess.Popen[str]) -> None:
        self.server = server
        self._senders = senders

    def burst(self, body: Path, count: int, figure: Figure | None) -> None:
        """Send so many deliveries as fast as they are answered; with `figure` None nobody counts."""
        server = self.server
        before, before_beside = cpu_s(server.pid), cpu_s(server.beside)
        self._send(body, count, 0)
        settle(server.pid)
        if figure is not None:
            figure.rounds_us.append((cpu_s(server.pid) - before) / count * 1e6)
            figure.beside_us.append((cpu_s(server.beside) - before_beside) / count * 1e6)

    def stream(self, body: Path, count: int, rate: int, figure: Figure) -> None:
        """Send so many deliveries at a fixed rate."""
        figure.latency_ms += self._send(body, count, rate)["latency_ms"]

    def _send(self, body: Path, count: int, rate: int) -> dict[str, list[float]]:
        assert self._senders.stdin is not None
        assert self._senders.stdout is not None
        self._senders.stdin.write(f"{body} {count} {rate}\n")
        self._senders.stdin.flush()
        told = json.loads(self._senders.stdout.readline())
        assert told["statuses"] == {"200": count}, told["statuses"]
        assert told["spoken"] == (count if self.server.speaks else 0), told["spoken"]
        return dict(told)


@contextlib.contextmanager
def sending_to(server: Server) -> Iterator[Measured]:
    """Start the senders of one server, off its core."""
    command = [*pinned(1), sys.executable, "-m", "bench.senders"]
    command += [str(server.port), str(CONNECTIONS), str(server.bots), server.scheme]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as senders:
        yield Measured(server, senders)
        assert senders.stdin is not None
        senders.stdin.close()


class Round:
    """Servers that take turns, with the bodies each gets, in another order each time: what else the machine does hits them
    alike."""

    def __init__(self, measured: Mapping[str, Measured], sizes: Mapping[str, Sequence[str]], plan: Plan) -> None:
        self.figures = {name: {size: Figure() for size in sizes[name]} for name in measured}
        self._measured = measured
        self._pairs = [(name, size) for name in measured for size in sizes[name]]
        self._order = random.Random(SEED)
        self._plan = plan

    def warm_up(self, bodies: Mapping[str, Path]) -> None:
        """Send at least one delivery for each bot: the first one teaches the host whose person the bot is."""
        for name, size in self._pairs:
            one = self._measured[name]
            one.burst(bodies[size], max(self._plan.deliveries(size), one.server.bots), None)

    def cpu(self, bodies: Mapping[str, Path]) -> None:
        """Send one round as fast as they answer."""
        for name, size in self._shuffled():
            self._wake(name, size, bodies)
            self._measured[name].burst(bodies[size], self._plan.deliveries(size), self.figures[name][size])

    def latency(self, bodies: Mapping[str, Path]) -> None:
        """Send one part at a fixed rate."""
        for name, size in self._shuffled():
            count = int(RATES[size] * self._plan.seconds / self._plan.parts)
            self._wake(name, size, bodies)
            self._measured[name].stream(bodies[size], count, RATES[size], self.figures[name][size])

    def _wake(self, name: str, size: str, bodies: Mapping[str, Path]) -> None:
        """Since its last turn the kernel may have taken pages of its code back: they come in again, and nobody counts."""
        self._measured[name].burst(bodies[size], max(self._plan.deliveries(size) // WAKES, 1), None)

    def _shuffled(self) -> list[tuple[str, str]]:
        self._order.shuffle(self._pairs)
        return self._pairs


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, its threads and its living descendants so far; 0.0 for no process."""
    total = 0.0
    for folder in family(pid):
        with contextlib.suppress(OSError):
            for thread in (folder / "task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0]) / 1e9
    return total


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its descendants; what several share counts once."""
    kilobytes = 0
    for folder in family(pid):
        with contextlib.suppress(OSError):
            for line in (folder / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes / 1024


def settle(pid: int) -> None:
    """Wait until the server has written what it writes behind."""
    last = -1.0
    while (now := cpu_s(pid)) - last > 0.002:
        last = now
        time.sleep(0.2)


def verify_and_decode_us(body: Path) -> float:
    """Measure signature and decoding of ours on the server's core, in a process of their own."""
    command = [*pinned(0), sys.executable, "-m", "bench.decode", "--both", str(body)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
