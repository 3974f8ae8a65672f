"""Count the calls of a usual delivery on the loop's thread, Python and C functions alike, by the layer that makes them.

    python -m bench.calls [--all | --json] [--host "processes = 2"]

A whole host in this process answers deliveries of 1.5 kB one after the other over a kept connection. No machine's noise moves
this figure. A Python function counts for the package that it belongs to, a C function for the package that calls it.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.bodies import SMALL, Bodies, compact
from bench.senders import HEAD, SECRET, by_pyrus
from bothost import config
from bothost.clock import SystemClock
from bothost.host import process_setup
from bothost.host.assembly import make_host
from bothost.host.serve import IniFile, prepare
from bothost.telemetry import logs
from bothost.telemetry.redaction import Scrubber

if TYPE_CHECKING:
    from types import FrameType

CORE = str(Path(config.__file__).parents[1]) + os.sep
WARM = 200
COUNTED = 60
TIMES = 4
"""So often they are counted; the least counts, because timers of the host fall into the others."""


def layer(file: str) -> str:
    """Return the package of ours that a file belongs to, else `python`."""
    if not file.startswith(CORE):
        return "plugin" if "bothost_" in file else "python"
    return file.removeprefix(CORE).partition(os.sep)[0].removesuffix(".py")


class CallCounter:
    """Counts calls of its thread by layer, and by function."""

    def __init__(self) -> None:
        self.layers: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """See `sys.setprofile`."""
        if event not in ("call", "c_call"):
            return
        code = frame.f_code
        place = layer(code.co_filename)
        self.layers[place] += 1
        name = code.co_qualname if event == "call" else f"{code.co_qualname} > {argument.__qualname__}"
        self.functions[f"{place}: {name}"] += 1


def count(keys: str = "", deliveries: int = COUNTED) -> CallCounter:
    """Return the calls of so many deliveries, after others that nobody counts."""
    with tempfile.TemporaryDirectory(prefix="bothost-calls-") as home:
        ini = Path(home) / "bots.ini"
        ini.write_text(
            f"[host]\nport = 0\noperator_port = 0\nlog = json\n{keys}\n[bot:b0]\nplugin = autoreply\nsecret = {SECRET}-0\n"
        )
        ini.chmod(0o600)
        body = Bodies(compact(SMALL, Path(home)).read_bytes())
        with asyncio.Runner(loop_factory=process_setup.loop_factory()) as runner:
            return runner.run(_serve(ini, body, deliveries))


async def _serve(ini: Path, bodies: Bodies, deliveries: int) -> CallCounter:
    reading = config.read(ini, os.environ, demo=False)
    assert reading.host is not None, reading.problems
    clock, scrubber = SystemClock(), Scrubber()
    plan = prepare(reading, reading.host, IniFile(ini))
    writer = logs.setup(reading.host.log, io.StringIO(), scrubber, clock)
    host = make_host(plan, clock, scrubber, writer)
    await host.start(lambda: None)
    port = plan.sockets.public[0].getsockname()[1]
    counters = [CallCounter() for _ in range(TIMES)]
    try:
        await asyncio.to_thread(_send, port, bodies, WARM)
        for counter in counters:
            sys.setprofile(counter)
            await asyncio.to_thread(_send, port, bodies, deliveries)
            sys.setprofile(None)
    finally:
        sys.setprofile(None)
        await host.stop(asyncio.Event())
        writer.close()
    return min(counters, key=lambda counter: counter.layers.total())


def _send(port: int, bodies: Bodies, deliveries: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as wire:
        for _ in range(deliveries):
            body = bodies.next()
            signature = by_pyrus(body, f"{SECRET}-0".encode())
            wire.sendall(HEAD.format(path="/b0", port=port, signature=signature, length=len(body)).encode() + body)
            answer = wire.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK"), answer
            assert b"approved" in answer, answer


def main(argv: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="each function too")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--host", default="", metavar="KEY=VALUE", help="a line of [host], such as another journal")
    asked = parser.parse_args(argv)
    counter = count(asked.host)
    if asked.json:
        print(json.dumps({name: calls / COUNTED for name, calls in counter.layers.items()}))
        return
    for name, calls in counter.layers.most_common():
        print(f"{calls / COUNTED:7.1f}  {name}")
    print(f"{counter.layers.total() / COUNTED:7.1f}  calls a delivery")
    if asked.all:
        for name, calls in counter.functions.most_common():
            if calls >= COUNTED / 20:
                print(f"{calls / COUNTED:7.2f}  {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
