"""Send signed deliveries over kept connections, each a new event; run in a process of its own, off the server's core.

    python -m bench.senders PORT CONNECTIONS BOTS SCHEME

Reads lines `BODY COUNT RATE` from its standard input; after each it sends COUNT deliveries of that file's body, RATE a second
(0: as fast as they are answered), and prints a JSON line of what it saw. Latency counts from the moment a delivery was due.
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
from dataclasses import dataclass, field
from pathlib import Path

from bench.bodies import Bodies

SECRET = "bench-secret-of-no-bot-anywhere"
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json; charset=utf-8\r\n"
    "User-Agent: Pyrus-Bot-4\r\nX-Pyrus-Retry: 1/3\r\n{signature}Content-Length: {length}\r\n\r\n"
)


def by_pyrus(body: bytes, secret: bytes) -> str:
    """Return the signature as Pyrus sends it."""
    return f"X-Pyrus-Sig: {hmac.new(secret, body, hashlib.sha1).hexdigest().upper()}\r\n"


def by_slack(body: bytes, secret: bytes) -> str:
    """Return the signature as Slack sends it."""
    now = int(time.time())
    digest = hmac.new(secret, b"v0:%d:%s" % (now, body), hashlib.sha256).hexdigest()
    return f"X-Slack-Signature: v0={digest}\r\nX-Slack-Request-Timestamp: {now}\r\n"


SCHEMES = {"pyrus": by_pyrus, "slack": by_slack}


@dataclass
class Burst:
    """A number of deliveries to send, and what was seen."""

    port: int
    bodies: Bodies
    bots: itertools.cycle[int]
    scheme: str
    count: int
    rate: float
    began: float = 0.0
    sent: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    spoken: int = 0
    """Answers that hold the approval."""
    latency_ms: list[float] = field(default_factory=list)

    def request(self) -> bytes:
        """Return the next delivery."""
        body, bot = self.bodies.next(), next(self.bots)
        signature = SCHEMES[self.scheme](body, f"{SECRET}-{bot}".encode())
        return HEAD.format(path=f"/b{bot}", port=self.port, signature=signature, length=len(body)).encode() + body

    async def send(self) -> None:
        """Send over one connection, until all are sent; where the server closes it, over a new one."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        while self.sent < self.count:
            due = self.began + self.sent / self.rate if self.rate else 0.0
            self.sent += 1
            request = self.request()
            if (wait_s := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", answer)
            said = await reader.readexactly(int(length[1])) if length is not None else b""
            if self.rate:
                self.latency_ms.append(round((time.perf_counter() - due) * 1000, 3))
            self.statuses[int(answer[9:12])] = self.statuses.get(int(answer[9:12]), 0) + 1
            self.spoken += b"approved" in said
            if re.search(rb"(?i)connection: close", answer):
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        writer.close()

    async def run(self, connections: int) -> dict[str, object]:
        """Send all; return what was seen."""
        self.began = time.perf_counter()
        await asyncio.gather(*(self.send() for _ in range(connections)))
        return {"statuses": self.statuses, "spoken": self.spoken, "latency_ms": self.latency_ms}


def main() -> None:
    """See the module."""
    port, connections, bots, scheme = sys.argv[1:]
    cycle = itertools.cycle(range(int(bots)))
    bodies: dict[str, Bodies] = {}
    for line in sys.stdin:
        file, count, rate = line.split()
        if file not in bodies:
            bodies[file] = Bodies(Path(file).read_bytes())
        burst = Burst(int(port), bodies[file], cycle, scheme, int(count), float(rate))
        print(json.dumps(asyncio.run(burst.run(int(connections)))), flush=True)


if __name__ == "__main__":
    main()
