"""From figures to docs/performance.md and its chart; every number there comes from the one run that it names."""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.bodies import FIXTURES
from bench.chart import bars
from bench.measuring import CONNECTIONS, RATES, Figure
from bench.servers import GROWTH, PEERS, SERVERS

DOCS = Path(__file__).parent.parent / "docs"
Figures = dict[str, dict[str, Figure]]
GOALS = (
    ("bothost-keep-0", "floor", {"1.5 kB": 1.35, "22 kB": 2.0, "190 kB": 2.5}),
    ("bothost", "aiopyrus", {"1.5 kB": 1.0, "22 kB": 0.6, "190 kB": 0.3}),
)
"""At most so many times the CPU of the other."""
STEADY = 1.05
"""Growth that counts as flat."""
READY_S = 5.0

PAGE = """# Performance

Written by `make bench` ({when}); no figure here was typed by a person.

{machine}

`make bench` starts one server after the other on one core, with the senders on another: {connections} kept connections, the
same bodies (1.5, 22 and 190 kB as files; sent without blanks, as Pyrus sends them), each a new event with a signature of its
own, and each answered with the approval of the help page's sample. **CPU** is what all processes and threads of the server
used for a delivery, the journal's writing, the log and what Pyrus never waits for included: the median of several rounds.
**p50** and **p99** are milliseconds from the moment a delivery was due to its answer, at {rates} deliveries a second.

![CPU per delivery](performance.svg)

{table}

What is compared: *bare Tornado* answers `{{}}` and looks at nothing. bothost verifies, decodes, knows repeats, keeps order,
runs the plugin `autoreply`, writes a log line, and records the event in the journal before it is forgotten; `keep = 0` leaves
out the body; `processes = 2` and PostgreSQL claim each event durably before it runs (PostgreSQL's own CPU: {database}). The
peers verify and decode and answer; they know no repeats, keep nothing and have no log line. slack_bolt verifies with
HMAC-SHA256, Slack's way. The Flask app is gunicorn's default, a connection for each request.

## Goals

{goals}

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

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        figures = {name: {size: asdict(one) for size, one in row.items()} for name, row in self.figures.items()}
        return {"machine": self.machine, "figures": figures, "ready": self.ready}


def machine() -> dict[str, str]:
    """What it was measured on."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    ours = {name: version(name) for name in ("bothost", "tornado", "msgspec")}
    try:
        ours["uvloop"] = version("uvloop")
    except ModuleNotFoundError:
        ours["uvloop"] = "none"
    return {
        "cpu": f"{info.count('processor')} × {model[1] if model else platform.processor()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        **ours,
        **_peers(),
    }


def _peers() -> dict[str, str]:
    pip = PEERS / "bin" / "pip"
    if not pip.exists():
        return {}
    listed = subprocess.run([str(pip), "list", "--format=freeze"], capture_output=True, text=True, check=True).stdout
    found = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    wanted = ("aiopyrus", "aiohttp", "Flask", "gunicorn", "fastapi", "pydantic", "uvicorn", "httptools", "slack_bolt")
    return {name: found[name] for name in wanted if name in found}


def table(result: Result) -> str:
    """CPU, and its ratio to the floor; p50 and p99."""
    head = "| | " + " | ".join(f"{size}: CPU µs | × floor | p50 / p99 ms" for size in FIXTURES) + " |"
    lines = [head, "|---" * (1 + 3 * len(FIXTURES)) + "|"]
    for name, row in result.figures.items():
        if name in GROWTH[1:]:
            continue
        cells = [SERVERS[name].title]
        for size in FIXTURES:
            one, base = row[size], result.figures.get("floor", {}).get(size)
            ratio = f"{one.cpu_us / base.cpu_us:.2f}" if base else "–"
            cells += [f"{one.cpu_us:,.0f}", ratio, f"{one.p50_ms:.1f} / {one.p99_ms:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def goals(result: Result) -> list[tuple[str, float, float]]:
    """Each goal that was measured: what, the ratio, the most it may be."""
    found = []
    for name, base, limits in GOALS:
        for size, limit in limits.items() if {name, base} <= result.figures.keys() else ():
            ratio = result.figures[name][size].cpu_us / result.figures[base][size].cpu_us
            found.append((f"{_plain(name)} / {_plain(base)}, {size}", ratio, limit))
    for name in GROWTH[1:] if "bothost" in result.figures else ():
        if name in result.figures:
            ratio = result.figures[name]["1.5 kB"].cpu_us / result.figures["bothost"]["1.5 kB"].cpu_us
            found.append((f"{_plain(name)} / one bot, empty journal", ratio, STEADY))
    return found


def missed(result: Result) -> int:
    """1 where a goal is missed."""
    return int(any(ratio > limit for _, ratio, limit in goals(result)))


def _goals(result: Result) -> str:
    rows = [f"| {what} | {ratio:.2f} | ≤ {limit:g} | {_met(ratio <= limit)} |" for what, ratio, limit in goals(result)]
    ready = result.ready.get("bots-10000")
    if ready:
        what = "10,000 bots: seconds from start to first answer"
        rows.append(f"| {what} | {ready:.1f} | ≤ {READY_S:g} | {_met(ready <= READY_S)} |")
    return "\n".join(["| | measured | goal | |", "|---|---|---|---|", *rows])


def _met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _growth(result: Result) -> str:
    lines = ["| | CPU µs | p50 / p99 ms | first answer after s |", "|---|---|---|---|"]
    for name in GROWTH:
        one = result.figures[name]["1.5 kB"]
        title = "one bot, empty journal" if name == "bothost" else SERVERS[name].title
        ready = f"{result.ready[name]:.1f}"
        lines.append(f"| {title} | {one.cpu_us:,.0f} | {one.p50_ms:.1f} / {one.p99_ms:.1f} | {ready} |")
    return "\n".join(lines)


def _plain(name: str) -> str:
    return SERVERS[name].title.replace("*", "").replace("`", "")


def chart(result: Result) -> str:
    """CPU per delivery."""
    panels = [
        (
            f"{size} bodies",
            [(_plain(name).partition(",")[0] if name in ("floor", "fastapi", "flask") else _plain(name), row[size].cpu_us)
             for name, row in result.figures.items() if name not in GROWTH[1:]],
        )
        for size in FIXTURES
    ]  # fmt: skip
    return bars("CPU per delivery, µs (logarithmic)", panels)


def write_page(result: Result) -> None:
    """docs/performance.md and docs/performance.svg."""
    database = ", ".join(
        f"{one.beside_us:,.0f} µs at {size}" for size, one in result.figures["bothost-postgres"].items()
    )
    facts = ", ".join(f"{name} {told}" for name, told in result.machine.items())
    page = PAGE.format(
        when=datetime.now(UTC).strftime("%Y-%m-%d"), machine=f"Machine and versions: {facts}.", connections=CONNECTIONS,
        rates=", ".join(map(str, RATES.values())), table=table(result), database=database, goals=_goals(result),
        growth=_growth(result),
    )  # fmt: skip
    (DOCS / "performance.md").write_text(page)
    (DOCS / "performance.svg").write_text(chart(result))
