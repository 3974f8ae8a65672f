"""Signed deliveries over kept connections, each a new event; run in a process of its own, off the host's core.

    python -m bench.senders PORT PATH BODY CONNECTIONS COUNT SECRET

Reads `go` lines from its standard input; after each it sends COUNT deliveries and prints a JSON line of what it saw.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import re
import sys
import time
from pathlib import Path

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json; charset=utf-8\r\n"
    "User-Agent: Pyrus-Bot-4\r\nX-Pyrus-Retry: 1/3\r\nX-Pyrus-Sig: {signature}\r\nContent-Length: {length}\r\n\r\n"
)


class Bodies:
    """One body with ever new ids of task and newest comment."""

    def __init__(self, body: bytes, secret: str) -> None:
        decoded = json.loads(body)
        task = decoded["task_id"]
        newest = max((comment["id"] for comment in decoded["task"].get("comments", [])), default=0)
        pattern = b'("(?:task_id|id)":\\s*)(%d|%d)\\b' % (task, newest)
        self._parts = re.split(pattern, body)
        self._old = (b"%d" % task, b"%d" % newest)
        self._secret = secret.encode()
        self._numbers = itertools.count(time.time_ns())

    def next(self) -> tuple[bytes, str]:
        """A new event's body and its signature."""
        number = next(self._numbers)
        ids = {self._old[0]: b"%d" % number, self._old[1]: b"%d" % (number + 1)}
        body = b"".join(ids.get(part, part) for part in self._parts)
        return body, hmac.new(self._secret, body, hashlib.sha1).hexdigest().upper()


async def send(port: int, path: str, bodies: Bodies, counter: list[int], seen: list[tuple[int, float]]) -> None:
    """Over one connection, until the counter is used up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    while counter[0] > 0:
        counter[0] -= 1
        body, signature = bodies.next()
        began = time.perf_counter()
        head = HEAD.format(path=path, port=port, signature=signature, length=len(body)).encode()
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        if length is not None and int(length[1]):
            await reader.readexactly(int(length[1]))
        seen.append((int(answer[9:12]), time.perf_counter() - began))
    writer.close()


async def burst(port: int, path: str, bodies: Bodies, connections: int, count: int) -> dict[str, object]:
    """COUNT deliveries; statuses and latencies."""
    seen: list[tuple[int, float]] = []
    counter = [count]
    began = time.perf_counter()
    await asyncio.gather(*(send(port, path, bodies, counter, seen) for _ in range(connections)))
    took = time.perf_counter() - began
    latencies = sorted(seconds for _, seconds in seen)
    statuses: dict[int, int] = {}
    for status, _ in seen:
        statuses[status] = statuses.get(status, 0) + 1
    return {
        "statuses": statuses,
        "rate": len(seen) / took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


def main() -> None:
    """See the module."""
    port, path, file, connections, count, secret = sys.argv[1:]
    bodies = Bodies(Path(file).read_bytes(), secret)
    for _ in sys.stdin:
        told = asyncio.run(burst(int(port), path, bodies, int(connections), int(count)))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
