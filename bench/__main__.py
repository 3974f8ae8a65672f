"""Measure bothost beside its peers in one run, and write docs/performance.md with the charts.

    python -m bench [--only floor,bothost,…] [--json FILE] [--count 800] [--rounds 7] [--no-page]

All servers run on one core and the senders on another; they are measured in turns, for some eight minutes. The first run makes
`bench/.venv-peers` from the package index. `blocked` and `recovery` in `--only` are the two figures of bad moments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import bodies, calls, report, servers, troubles
from bench.bodies import SMALL
from bench.measuring import Plan, Round, memory_mb, sending_to, verify_and_decode_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.measuring import Measured

TROUBLES = ("blocked", "recovery")
KILLS = 3


def main(argv: list[str]) -> int:
    """Run; return 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=800, help="deliveries of a round; fewer of larger bodies")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long latency is measured at a fixed rate")
    parser.add_argument("--only", default=",".join((*servers.SERVERS, *TROUBLES)), help="what, by name")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md as it is")
    chosen = parser.parse_args(argv)
    result = run(chosen.only.split(","), Plan(chosen.count, chosen.rounds, chosen.seconds))
    if chosen.json:
        chosen.json.write_text(json.dumps(result.as_json(), indent=1))
    print(report.table(result))
    print(report.goals_table(result))
    print(report.blocked_table(result))
    print(report.recovery_table(result))
    calls.main([])
    if not chosen.no_page and set(chosen.only.split(",")) == {*servers.SERVERS, *TROUBLES}:
        report.write_page(result)
    return report.missed(result)


def run(names: list[str], plan: Plan) -> report.Result:
    """Start all and measure them in turns."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bothost-bench-") as home, contextlib.ExitStack() as stack:
        folder = Path(home)
        texts = {size: bodies.compact(size, folder) for size in bodies.FIXTURES}
        measured = {}
        for name in (name for name in names if name not in TROUBLES):
            server = stack.enter_context(servers.SERVERS[name].start(folder))
            measured[name] = stack.enter_context(sending_to(server))
            say(f"{name} answers after {server.ready_s:.1f} s")
        turns = Round(measured, {name: servers.SERVERS[name].sizes for name in measured}, plan)
        bounds = []
        turns.warm_up(texts)
        for number in range(plan.rounds):
            turns.cpu(texts)
            bounds.append(verify_and_decode_us(texts[SMALL]))
            say(f"round {number + 1} of {plan.rounds}")
        for _ in range(plan.parts):
            turns.latency(texts)
        memory = {name: memory_mb(one.server.pid) for name, one in measured.items()}
        say("a bot that blocks, and servers that are killed")
        return report.Result(
            machine=report.machine(),
            figures=turns.figures,
            ready={name: one.server.ready_s for name, one in measured.items()},
            memory=memory,
            blocked=troubles.beside_blocked(folder, texts, plan.seconds) if "blocked" in names else {},
            recovery=recoveries(measured, texts[SMALL]) if "recovery" in names else {},
            verify_and_decode=bounds,
            minutes=(time.monotonic() - began) / 60,
            plan=plan,
        )


def recoveries(measured: Mapping[str, Measured], body: Path) -> dict[str, list[float]]:
    """Kill each of the servers that recover, a few times."""
    killed = [name for name in servers.RECOVERING if name in measured]
    return {name: [troubles.recovery_ms(measured[name], body) for _ in range(KILLS)] for name in killed}


def say(line: str) -> None:
    """Print progress."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
