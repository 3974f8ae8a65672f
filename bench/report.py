"""From figures to docs/performance.md and its chart; every number there comes from the one run that it names."""

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
from typing import TYPE_CHECKING

from bench.bodies import FIXTURES, SMALL
from bench.chart import GROUNDS, bars
from bench.measuring import CONNECTIONS, RATES, Figure, ratio
from bench.servers import GROWTH, PEERS, SERVERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.measuring import Plan

DOCS = Path(__file__).parent.parent / "docs"
Figures = dict[str, dict[str, Figure]]
GOALS = (
    ("bothost", "aiopyrus", {"1.5 kB": 1.0, "22 kB": 0.6, "190 kB": 0.17}),
    ("bothost", "fastapi", {"1.5 kB": 1.0, "22 kB": 0.7, "190 kB": 0.27}),
    ("bothost-keep-0", "aiopyrus", {"1.5 kB": 0.9, "22 kB": 0.5, "190 kB": 0.13}),
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
is {database}. The peers verify, decode and answer; they know no repeats, keep nothing and have no log line. slack_bolt verifies
with HMAC-SHA256, Slack's way. bothost, aiopyrus and FastAPI run on uvloop, the others on asyncio's own loop; FastAPI parses and writes JSON by pydantic's compiled core. Its
uvicorn keeps no access log, sends neither Date nor Server, as bothost does not, and looks for no proxy. The Flask app is on gunicorn's default worker, with a connection for each request.

## Goals

{goals}

Signature and decoding cost {bound} by themselves. What stands between the listener alone and bothost is what a handler's author
gets for it: order, permits, a task of its own with a time limit, repeats that are known, a checked reply, a log line, counts, and
a journal with a thread of its own. `python -m bench.calls` counts the calls of a delivery by layer, and a test bounds them;
decisions 0057 and 0080 say what was tried to make it cheaper.

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
    verify_and_decode: list[float]
    """µs for a small body, in each round."""
    minutes: float
    plan: Plan

    def as_json(self) -> dict[str, object]:
        """Return the figures for `--json`."""
        figures = {name: {size: one.as_json() for size, one in row.items()} for name, row in self.figures.items()}
        return {
            "machine": self.machine,
            "figures": figures,
            "ready": self.ready,
            "memory": self.memory,
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


def draw(cpu_us: Mapping[str, Mapping[str, float]], ground: str) -> str:
    """Draw the CPU per delivery of each server at each size, for a light or a dark page."""
    panels = [
        (
            f"{size} bodies",
            [(_plain(name).partition(",")[0] if name in ("floor", "fastapi", "flask") else _plain(name), row[size])
             for name, row in cpu_us.items() if name not in GROWTH[1:]],
        )
        for size in FIXTURES
    ]  # fmt: skip
    return bars("CPU per delivery, µs (logarithmic)", panels, GROUNDS[ground])


def draw_all(cpu_us: Mapping[str, Mapping[str, float]]) -> None:
    """Write docs/performance-light.svg and -dark.svg."""
    for ground in GROUNDS:
        (DOCS / f"performance-{ground}.svg").write_text(draw(cpu_us, ground))


def write_page(result: Result) -> None:
    """Write docs/performance.md and its pictures."""
    database = ", ".join(
        f"{one.database_us:,.0f} µs at {size}" for size, one in result.figures["bothost-postgres"].items()
    )
    facts = ", ".join(f"{name} {told}" for name, told in result.machine.items())
    page = PAGE.format(
        when=datetime.now(UTC).strftime("%Y-%m-%d"), minutes=result.minutes, machine=f"Machine and versions: {facts}.",
        rounds=result.plan.rounds, counts=", ".join(str(result.plan.deliveries(size)) for size in FIXTURES),
        connections=CONNECTIONS, rates=", ".join(map(str, RATES.values())), table=table(result), database=database,
        goals=goals_table(result), bound=f"{statistics.median(result.verify_and_decode):.0f} µs", growth=_growth(result),
    )  # fmt: skip
    (DOCS / "performance.md").write_text(page)
    draw_all({name: {size: one.cpu_us for size, one in row.items()} for name, row in result.figures.items()})


if __name__ == "__main__":  # python -m bench.report FIGURES.json: the pictures of a run whose figures were kept
    told = json.loads(Path(sys.argv[1]).read_text())["figures"]
    draw_all({name: {size: one["cpu_us"] for size, one in row.items()} for name, row in told.items()})
