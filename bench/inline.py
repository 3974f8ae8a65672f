"""CPU of the host process for one delivery answered inline, beside a bare Tornado server, in one run.

    python -m bench [--json FILE] [--only floor,bothost,bothost-10000] [--count 4000]

16 connections, server and senders on a core each, the bodies of tests/data: 1.4, 16 and 182 kB as they are sent compactly.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data" / "deliveries"
SECRET = "bench-secret-of-no-bot-anywhere"
CONNECTIONS = 16
BODIES = {
    "1.5 kB": "16_seed_sample_corrected",
    "22 kB": "02_form_all_field_types",
    "190 kB": "15_big_task_300_comments",
}
GOALS = {"1.5 kB": 1.35, "22 kB": 2.0, "190 kB": 2.5}


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement: its process, its port, and the path that takes deliveries."""

    process: subprocess.Popen[str]
    port: int
    path: str

    def cpu_s(self) -> float:
        """CPU time of all its threads so far."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9


def pinned(core: int) -> list[str]:
    """The command prefix that keeps a process on one core."""
    return ["taskset", "-c", str(core % (os.cpu_count() or 1))]


@contextlib.contextmanager
def floor() -> Iterator[Server]:
    """The bare Tornado server."""
    command = [*pinned(0), sys.executable, "-m", "bench.floor"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Server(process, int(process.stdout.readline()), "/")
        process.kill()


@contextlib.contextmanager
def host(bots: int, keys: str = "") -> Iterator[Server]:
    """bothost as it is installed, with so many bots of the plugin autoreply; it measures one of them."""
    with tempfile.TemporaryDirectory() as folder:
        ini = Path(folder) / "bots.ini"
        sections = [f"[bot:b{n}]\nplugin = autoreply\nsecret = {SECRET}-{n}\n" for n in range(bots)]
        ini.write_text(f"[host]\nport = {free_port()}\noperator_port = 0\nlog = json\n{keys}\n" + "\n".join(sections))
        port = int(re.search(r"port = (\d+)", ini.read_text())[1])  # type: ignore[index]
        command = [*pinned(0), sys.executable, "-m", "bothost", "serve", "--config", str(ini)]
        began = time.perf_counter()
        with (
            (Path(folder) / "log").open("w") as log,
            subprocess.Popen(command, stdout=log, stderr=log, text=True) as process,
        ):
            wait_until_healthy(port, process)
            print(f"    {bots} bots: answers {time.perf_counter() - began:.1f} s after its start", file=sys.stderr)
            yield Server(process, port, "/b0")
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_until_healthy(port: int, process: subprocess.Popen[str]) -> None:
    """Ask /healthz until it answers."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"the host ended with {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit("the host does not answer")


def measure(server: Server, body: Path, count: int, rounds: int) -> dict[str, float]:
    """µs of CPU for a delivery: the median of several rounds after one to warm up."""
    command = [*pinned(1), sys.executable, "-m", "bench.senders", str(server.port), server.path, str(body)]
    command += [str(CONNECTIONS), str(count), f"{SECRET}-0"]
    costs, latencies = [], []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as senders:
        assert senders.stdin is not None
        assert senders.stdout is not None
        for number in range(rounds + 1):
            before = server.cpu_s()
            senders.stdin.write("go\n")
            senders.stdin.flush()
            told = json.loads(senders.stdout.readline())
            settle(server)
            assert told["statuses"] == {"200": count}, told
            if number:
                costs.append((server.cpu_s() - before) / count * 1e6)
                latencies.append((told["p50_ms"], told["p99_ms"]))
        senders.stdin.close()
    middle = sorted(costs)[len(costs) // 2]
    return {"us": middle, "p50_ms": min(p50 for p50, _ in latencies), "p99_ms": min(p99 for _, p99 in latencies)}


def settle(server: Server) -> None:
    """Wait until the journal behind it has written what it has."""
    last = -1.0
    while server.cpu_s() - last > 0.002:
        last = server.cpu_s()
        time.sleep(0.15)


def compact(name: str, folder: Path) -> Path:
    """A body as Pyrus sends it: without the blanks of the fixture."""
    file = folder / f"{name}.json"
    decoded = json.loads((DATA / f"{name}.json").read_bytes())
    file.write_bytes(json.dumps(decoded, ensure_ascii=False, separators=(",", ":")).encode())
    return file


SERVERS = {
    "floor": floor,
    "bothost": lambda: host(1),
    "bothost-keep-0": lambda: host(1, "\n[bot]\nkeep = 0"),
    "bothost-10000": lambda: host(10_000),
}


def main(argv: list[str]) -> int:
    """Measure, print the table; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="floor,bothost,bothost-keep-0,bothost-10000")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(argv)
    table: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.only.split(","):
            with SERVERS[name]() as server:
                table[name] = {}
                for size, fixture in BODIES.items():
                    count = chosen.count if size != "190 kB" else chosen.count // 4
                    table[name][size] = measure(server, compact(fixture, Path(folder)), count, chosen.rounds)
                    print(f"{name:16} {size:>7} {table[name][size]['us']:8.0f} µs", file=sys.stderr)
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine(), "table": table}, indent=2))
    return show(table)


def machine() -> dict[str, str]:
    """What it was measured on."""
    from importlib.metadata import version

    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.processor(),
        "python": platform.python_version(),
        "tornado": version("tornado"),
        "bothost": version("bothost"),
    }


def show(table: dict[str, dict[str, dict[str, float]]]) -> int:
    """Print ratios to the floor; 1 where a goal is missed."""
    missed = 0
    print(f"{'µs of CPU a delivery':24}" + "".join(f"{size:>20}" for size in BODIES))
    for name, row in table.items():
        cells = []
        for size in BODIES:
            ratio = row[size]["us"] / table["floor"][size]["us"] if "floor" in table else 0.0
            over = name == "bothost-keep-0" and ratio > GOALS[size]
            missed += over
            cells.append(f"{row[size]['us']:8.0f} {ratio:5.2f} ×{'!' if over else ' '}")
        print(f"{name:24}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"{'goal (inline path)':24}" + "".join(f"{'≤ ' + str(goal) + ' ×':>20}" for goal in GOALS.values()))
    return 1 if missed else 0
