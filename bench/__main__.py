"""Measure bothost beside its peers in one run, and write docs/performance.md with the chart.

    python -m bench [--only floor,bothost,…] [--json FILE] [--count 2000] [--no-page]

The server under measurement and the senders have a core each. The first run makes `bench/.venv-peers` from the package index.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench import bodies, report, servers
from bench.measuring import Plan, measure


def main(argv: list[str]) -> int:
    """1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="deliveries of a round; a quarter of the largest")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long latency is measured at a fixed rate")
    parser.add_argument("--only", default=",".join(servers.SERVERS), help="which servers, by name")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md as it is")
    chosen = parser.parse_args(argv)
    names = chosen.only.split(",")
    figures: report.Figures = {}
    ready: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bothost-bench-") as folder:
        for name in names:
            figures[name] = {}
            with servers.SERVERS[name].start(Path(folder)) as server:
                for size in servers.SERVERS[name].sizes:
                    plan = Plan.of(size, chosen.count, chosen.rounds, chosen.seconds)
                    figures[name][size] = measure(server, bodies.compact(size, Path(folder)), plan)
                    print(f"{name:18} {size:>7} {figures[name][size].cpu_us:8.0f} µs", file=sys.stderr, flush=True)
            ready[name] = server.ready_s
    result = report.Result(report.machine(), figures, ready)
    if chosen.json:
        chosen.json.write_text(json.dumps(result.as_json(), indent=1))
    print(report.table(result))
    if not chosen.no_page and set(names) == set(servers.SERVERS):
        report.write_page(result)
    return report.missed(result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
