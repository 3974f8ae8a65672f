"""An edge in dispatch's place, a bot as the web sees it, raw requests and answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bothost.bots.queue import BotQueue
from bothost.bots.registry import Bot
from bothost.config import BotConfig
from bothost.pipeline.delivery import Delivery, Outcome
from bothost.plugins.handlers import Handler
from bothost.plugins.loading import LoadedPlugin
from bothost.pyrus.signature import sign

if TYPE_CHECKING:
    from bothost.http_server.server import HttpServer
    from bothost.webhook.request import WebhookContext

SECRET = "correct horse battery staple"
OLD_SECRET = "an older key that still counts"


@dataclass
class Edge:
    """Stands where dispatch stands: keeps deliveries and refusals, answers at once unless told to wait."""

    outcome: Outcome = field(default_factory=lambda: Outcome(200, b'{"text": "hello"}', "replied"))
    waits: bool = False
    deliveries: list[Delivery] = field(default_factory=list)
    refusals: list[tuple[str, str, str, int]] = field(default_factory=list)
    delivered: list[bool] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def receive(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.arrived.set()
        if not self.waits:
            self.delivered.append(delivery.respond(self.outcome))

    def refuse(self, bot: Bot | None, peer: str, word: str, status: int) -> None:
        self.refusals.append((bot.name if bot else "", peer, word, status))

    @property
    def statuses(self) -> list[tuple[str, int]]:
        return [(word, status) for _bot, _peer, word, status in self.refusals]


@dataclass
class Site:
    """A listener under test: where it listens, what its edge saw."""

    listener: HttpServer
    edge: Edge
    port: int
    bots: list[Bot]
    front: WebhookContext
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def raw(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which `data` has been written; the fixture closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(data)
        await writer.drain()
        return reader, writer

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send one raw request on a connection of its own; the answer's status, headers, body."""
        reader, writer = await self.raw(data)
        answer = await read_answer(reader)
        writer.close()
        self.writers.remove(writer)
        return answer


def bot(name: str = "autoreply", path: str = "", **keys: Any) -> Bot:
    """A bot with both secrets and room for a body of 1 MB."""
    keys = {"secrets": (SECRET.encode(), OLD_SECRET.encode()), "max_body_bytes": 1 << 20, **keys}
    plugged = LoadedPlugin("said", "", "", None, Handler("handle", lambda _event: None, is_async=False))
    return Bot(BotConfig(name=name, path=path or f"/{name}", **keys), BotQueue(8), plugged=plugged)


async def read_answer(reader: asyncio.StreamReader, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Read one response of known length from a connection."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = b"" if head else await reader.readexactly(int(headers["content-length"]))
    return int(lines[0].split()[1]), headers, body


def post(body: bytes, *lines: str, path: str = "/autoreply", signature: str | None = "") -> bytes:
    """The bytes of a POST with Content-Length; signed unless `signature` is given (None: no header)."""
    head = [f"POST {path} HTTP/1.1", "Host: bots.example", f"Content-Length: {len(body)}", *lines]
    if signature is not None:
        head.append(f"X-Pyrus-Sig: {signature or sign(body, SECRET)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
