"""From figures to docs/performance.md and its charts; every number there comes from the one run that it names."""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.bodies import FIXTURES, SMALL
from bench.chart import GROUNDS, bars
from bench.measuring import CONNECTIONS, RATES, Figure, ratio
from bench.servers import BLOCKED, GROWTH, PEERS, SERVERS
from bench.troubles import RATE as BLOCKED_RATE
from bench.troubles import UNDER_WAY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.measuring import Plan

    Panels = Sequence[tuple[str, Sequence[tuple[str, float]]]]

DOCS = Path(__file__).parent.parent / "docs"
Figures = dict[str, dict[str, Figure]]
GOALS = (
    ("bothost", "aiopyrus", {"1.5 kB": 1.0, "22 kB": 0.6, "190 kB": 0.17}),
    ("bothost", "fastapi", {"1.5 kB": 1.0, "22 kB": 0.7, "190 kB": 0.27}),
    ("bothost-keep-0", "aiopyrus", {"1.5 kB": 0.9, "22 kB": 0.5, "190 kB": 0.13}),
    ("bothost-processes", "bothost", {"1.5 kB": 1.4}),
    ("bothost-postgres", "bothost", {"1.5 kB": 2.0}),
)
"""At most so many times the CPU of the other."""
STEADY = 1.05
"""Growth that counts as flat."""
READY_S = 5.0

PAGE = """# Performance

Written by `make bench` ({when}, {minutes:.0f} minutes); no figure here was typed by a person.

{machine}

`make bench` starts all servers on one core and the senders on another. The servers take turns, in another order in each of
{rounds} rounds of {counts} deliveries (of the three sizes), so that what else the machine does hits them alike; each
turn begins with an eighth more that nobody counts, because a kernel may take back the code of a server that has waited. Over {connections}
kept connections come the same bodies: 1.5, 22 and 190 kB as files, sent without blanks, as Pyrus sends them; each is a new event
with a signature of its own and is answered with the approval of the help page's sample. People's `external_id` are numbers,
because aiopyrus answers 500 to any other.

- **CPU**: what all processes and threads of the server used for a delivery, the journal's writing, the log and all that Pyrus
  never waits for included; the median of the rounds. A ratio is the median of the rounds' ratios.
- **p50 / p99**: milliseconds from the moment a delivery was due to its answer, at {rates} deliveries a second.
- **MB**: memory of all its processes after all this; pages that they share count once.

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="performance-dark.svg">
  <img alt="CPU per delivery" src="performance-light.svg">
</picture>

{table}

*Bare Tornado* answers `{{}}` and looks at nothing; *bothost's listener alone* routes, collects and verifies, and answers at
once. bothost as a whole verifies, decodes, knows repeats, keeps order, runs the plugin
`autoreply`, writes a log line, counts for `/metrics`, and records event, body and answer in the journal; `keep = 0` leaves out
the body. `processes = 2` and PostgreSQL claim each event durably before it runs; PostgreSQL's own CPU is not in the table, it
is {database}. The relay gives a Flask bot that exists already what bothost does; the app's own CPU behind it is not in its line, it is
{app}. The peers verify, decode and answer; they know no repeats, keep nothing and have no log line. slack_bolt verifies
with HMAC-SHA256, Slack's way. bothost, aiopyrus and FastAPI run on uvloop, the others on asyncio's own loop; FastAPI parses and writes JSON by pydantic's compiled core. Its
uvicorn keeps no access log, sends neither Date nor Server, as bothost does not, and looks for no proxy. The Flask app is on gunicorn's default worker, with a connection for each request.

## Goals

{goals}

Signature and decoding cost {bound} by themselves. What stands between the listener alone and bothost is what a handler's author
gets for it: order, permits, a task of its own with a time limit, repeats that are known, a checked reply, a log line, counts, and
a journal with a thread of its own. `python -m bench.calls` counts the calls of a delivery by layer, and a test bounds them;
decisions 0057 and 0080 say what was tried to make it cheaper.

## Beside a bot that blocks

The handler of a second bot blocks for half of each second, in a library that knows nothing of asyncio. The times to the answers of
the first bot, at {blocked_rate} deliveries of 1.5 kB a second:

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="performance-blocked-dark.svg">
  <img alt="Latency beside a bot that blocks" src="performance-blocked-light.svg">
</picture>

{blocked}

A host's watchdog names the bot, file and line of an async handler that blocks the loop. Its bot can then have a process of its own.

## Recovery after kill -9

All processes of a server are killed while {under_way} deliveries are under way, and it is started again. Each delivery is sent again
until it is answered, as Pyrus does a minute later. The time from the start to the last answer, the median of {kills}:

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="performance-recovery-dark.svg">
  <img alt="Recovery after kill -9" src="performance-recovery-light.svg">
</picture>

{recovery}

bothost reads its journal in this time, and knows which of the deliveries had been run. The peers know nothing of them.

## Bots and journal

With 1.5 kB bodies, spread over all bots:

{growth}
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    machine: dict[str, str]
    figures: Figures
    ready: dict[str, float]
    """Seconds from start to first answer."""
    memory: dict[str, float]
    """Megabytes at the end."""
    blocked: dict[str, Figure]
    """Latency beside a bot that blocks, by server."""
    recovery: dict[str, list[float]]
    """Milliseconds from a start after a kill to the last answer."""
    verify_and_decode: list[float]
    """µs for a small body, in each round."""
    minutes: float
    plan: Plan

    def as_json(self) -> dict[str, Any]:
        """Return the figures for `--json`."""
        figures = {name: {size: one.as_json() for size, one in row.items()} for name, row in self.figures.items()}
        return {
            "machine": self.machine,
            "figures": figures,
            "ready": self.ready,
            "memory": self.memory,
            "blocked_ms": {name: one.latency_ms for name, one in self.blocked.items()},
            "recovery_ms": self.recovery,
            "verify_and_decode": self.verify_and_decode,
            "minutes": self.minutes,
        }


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio (or seconds) and the most it may be."""

    what: str
    measured: float
    limit: float

    @property
    def is_met(self) -> bool:
        """Compare as measured, not as rounded."""
        return self.measured <= self.limit


def machine() -> dict[str, str]:
    """Return the machine and the versions."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    return {
        "cpu": f"{len(re.findall('^processor', info, re.MULTILINE))} × {model[1] if model else platform.processor()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("bothost", "tornado", "msgspec")},
        **_peers(),
    }


def _peers() -> dict[str, str]:
    pip = PEERS / "bin" / "pip"
    if not pip.exists():
        return {}
    listed = subprocess.run([str(pip), "list", "--format=freeze"], capture_output=True, text=True, check=True).stdout
    found = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    wanted = (
        "aiopyrus", "aiohttp", "Flask", "gunicorn", "fastapi", "pydantic", "uvicorn", "uvloop", "httptools", "slack_bolt",
    )  # fmt: skip
    return {name: found[name] for name in wanted if name in found}


def table(result: Result) -> str:
    """Return the table: CPU, its ratio to the floor; p50 and p99; memory."""
    head = "| | " + " | ".join(f"{size}: CPU µs | × bare | p50 / p99 ms" for size in FIXTURES) + " | MB |"
    lines = [head, "|---" * (2 + 3 * len(FIXTURES)) + "|"]
    for name, row in result.figures.items():
        if name in GROWTH[1:]:
            continue
        cells = [SERVERS[name].title]
        for size in FIXTURES:
            one, base = row[size], result.figures.get("floor", {}).get(size)
            cells += [f"{one.cpu_us:,.0f}", f"{ratio(one, base):.2f}" if base else "–", _latency(one)]
        lines.append("| " + " | ".join([*cells, f"{result.memory[name]:.0f}"]) + " |")
    return "\n".join(lines)


def _latency(one: Figure) -> str:
    return f"{one.latency(0.5):.1f} / {one.latency(0.99):.1f}"


def goals(result: Result) -> list[Goal]:
    """Return each goal that was measured."""
    figures = result.figures
    found = []
    for name, base, limits in GOALS:
        for size, limit in limits.items() if {name, base} <= figures.keys() else ():
            what = f"{_plain(name)} / {_plain(base)}, {size}"
            found.append(Goal(what, ratio(figures[name][size], figures[base][size]), limit))
    for name in GROWTH[1:] if "bothost" in figures else ():
        if name in figures:
            grown = ratio(figures[name][SMALL], figures["bothost"][SMALL])
            found.append(Goal(f"{_plain(name)} / one bot, empty journal", grown, STEADY))
    if "bots-10000" in figures:
        found.append(Goal("10,000 bots: seconds from start to first answer", result.ready["bots-10000"], READY_S))
    return found


def missed(result: Result) -> int:
    """Return 1 where a goal is missed."""
    return int(not all(goal.is_met for goal in goals(result)))


def goals_table(result: Result) -> str:
    """Return a table of what was measured and wanted."""
    rows = [
        f"| {goal.what} | {goal.measured:.2f} | ≤ {goal.limit:g} | {'met' if goal.is_met else '**missed**'} |"
        for goal in goals(result)
    ]
    return "\n".join(["| | measured | goal | |", "|---|---|---|---|", *rows])


def blocked_table(result: Result) -> str:
    """Return the table of latency beside a bot that blocks."""
    lines = ["| | p50 ms | p99 ms |", "|---|---|---|"]
    for name, one in result.blocked.items():
        lines.append(f"| {BLOCKED[name].title} | {one.latency(0.5):,.1f} | {one.latency(0.99):,.1f} |")
    return "\n".join(lines)


def recovery_table(result: Result) -> str:
    """Return the table of recoveries after a kill."""
    lines = ["| | ms | fastest | slowest |", "|---|---|---|---|"]
    for name, taken in result.recovery.items():
        cells = (SERVERS[name].title, *(f"{ms:,.0f}" for ms in (statistics.median(taken), min(taken), max(taken))))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _growth(result: Result) -> str:
    lines = ["| | CPU µs | × one bot | p50 / p99 ms | first answer after s | MB |", "|---|---|---|---|---|---|"]
    for name in GROWTH:
        one = result.figures[name][SMALL]
        cells = [
            "one bot, empty journal" if name == "bothost" else SERVERS[name].title,
            f"{one.cpu_us:,.0f}",
            f"{ratio(one, result.figures['bothost'][SMALL]):.2f}",
            _latency(one),
            f"{result.ready[name]:.1f}",
            f"{result.memory[name]:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _plain(name: str) -> str:
    return SERVERS[name].title.replace("*", "").replace("`", "")


def pictures(figures: Mapping[str, Any]) -> dict[str, tuple[str, Panels]]:
    """Return title and panels of each picture, by its file's name, from the figures that `--json` writes."""
    cpu = [
        (
            f"{size} bodies",
            [(_short(name), row[size]["cpu_us"]) for name, row in figures["figures"].items() if name not in GROWTH[1:]],
        )
        for size in FIXTURES
    ]
    blocked = [(BLOCKED[name].title, Figure(latency_ms=taken)) for name, taken in figures["blocked_ms"].items()]
    late = [
        (f"{share * 100:.0f} % within", [(name, one.latency(share)) for name, one in blocked]) for share in (0.5, 0.99)
    ]
    recovery = [(_short(name), statistics.median(taken)) for name, taken in figures["recovery_ms"].items()]
    return {
        "performance": ("CPU per delivery, µs (logarithmic)", cpu),
        "performance-blocked": ("Time to the answer beside a bot that blocks, ms (logarithmic)", late),
        "performance-recovery": ("From the start after kill -9 to the last answer, ms (logarithmic)", [("", recovery)]),
    }


def _short(name: str) -> str:
    return _plain(name).partition(",")[0] if name in ("floor", "fastapi", "flask") else _plain(name)


def draw_all(figures: Mapping[str, Any]) -> None:
    """Write the pictures into docs/, each for a light and a dark page."""
    for file, (title, panels) in pictures(figures).items():
        for ground, colours in GROUNDS.items():
            (DOCS / f"{file}-{ground}.svg").write_text(bars(title, panels, colours))


def write_page(result: Result) -> None:
    """Write docs/performance.md and its pictures."""
    database, app = (
        ", ".join(f"{one.beside_cpu_us:,.0f} µs at {size}" for size, one in result.figures[name].items())
        for name in ("bothost-postgres", "relay")
    )
    facts = ", ".join(f"{name} {told}" for name, told in result.machine.items())
    page = PAGE.format(
        when=datetime.now(UTC).strftime("%Y-%m-%d"), minutes=result.minutes, machine=f"Machine and versions: {facts}.",
        rounds=result.plan.rounds, counts=", ".join(str(result.plan.deliveries(size)) for size in FIXTURES),
        connections=CONNECTIONS, rates=", ".join(map(str, RATES.values())), table=table(result), database=database, app=app,
        goals=goals_table(result), bound=f"{statistics.median(result.verify_and_decode):.0f} µs", growth=_growth(result),
        blocked=blocked_table(result), blocked_rate=BLOCKED_RATE, recovery=recovery_table(result), under_way=UNDER_WAY,
        kills=max(map(len, result.recovery.values())),
    )  # fmt: skip
    (DOCS / "performance.md").write_text(page)
    draw_all(result.as_json())


if __name__ == "__main__":  # python -m bench.report FIGURES.json: the pictures of a run whose figures were kept
    draw_all(json.loads(Path(sys.argv[1]).read_text()))
