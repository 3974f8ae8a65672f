"""CPU of a server's processes per delivery, and latency at a fixed rate."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cores import pinned

if TYPE_CHECKING:
    from bench.servers import Server

ROOT = Path(__file__).parent.parent
CONNECTIONS = 16
RATES = {"1.5 kB": 200, "22 kB": 100, "190 kB": 25}
"""Deliveries a second at which latency is measured: all servers keep up with them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of one size is sent."""

    count: int
    rounds: int
    rate: int
    seconds: float

    @classmethod
    def of(cls, size: str, count: int, rounds: int, seconds: float) -> Plan:
        """For a size of body."""
        return cls(count // 4 if size == "190 kB" else count, rounds, RATES[size], seconds)


@dataclass(frozen=True, slots=True)
class Figure:
    """µs of CPU for a delivery, and milliseconds to its answer."""

    cpu_us: float
    p50_ms: float
    p99_ms: float
    beside_us: float = 0.0
    """CPU of the database's processes."""


def measure(server: Server, body: Path, plan: Plan) -> Figure:
    """The median of several rounds after one to warm up; then the latency."""
    command = [*pinned(1), sys.executable, "-m", "bench.senders", str(server.port), str(body), str(CONNECTIONS)]
    command += [str(server.bots), server.scheme]
    costs, beside = [], []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as senders:
        for number in range(plan.rounds + 1):
            before, before_beside = cpu_s(server.pid), cpu_s(server.beside)
            _send(senders, server, plan.count, 0)
            settle(server)
            if number:
                costs.append((cpu_s(server.pid) - before) / plan.count * 1e6)
                beside.append((cpu_s(server.beside) - before_beside) / plan.count * 1e6)
        told = _send(senders, server, int(plan.rate * plan.seconds), plan.rate)
        assert senders.stdin is not None
        senders.stdin.close()
    middle = plan.rounds // 2
    return Figure(sorted(costs)[middle], told["p50_ms"], told["p99_ms"], sorted(beside)[middle])


def _send(senders: subprocess.Popen[str], server: Server, count: int, rate: int) -> dict[str, float]:
    assert senders.stdin is not None
    assert senders.stdout is not None
    senders.stdin.write(f"{count} {rate}\n")
    senders.stdin.flush()
    told = json.loads(senders.stdout.readline())
    assert told["statuses"] == {"200": count}, told
    assert told["spoken"] == (count if server.speaks else 0), told
    return dict(told)


def cpu_s(pid: int) -> float:
    """CPU time of a process, its threads and its living descendants so far; 0.0 for no process."""
    if not pid:
        return 0.0
    total = 0.0
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((thread / "schedstat").read_text().split()[0]) / 1e9
                total += sum(cpu_s(int(child)) for child in (thread / "children").read_text().split())
    return total


def settle(server: Server) -> None:
    """Wait until the journal behind it has written what it has."""
    last = -1.0
    while cpu_s(server.pid) - last > 0.002:
        last = cpu_s(server.pid)
        time.sleep(0.2)
