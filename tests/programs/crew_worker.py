"""A worker that answers each connection with its number and pid; run by a supervisor under test."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

from bothost.host.workers.protocol import Worker
from bothost.host.workers.siblings import Siblings


async def main() -> None:
    worker = Worker.take(os.environ)
    assert worker is not None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if "deaf" not in sys.argv:
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    siblings = Siblings(worker)

    async def who() -> AsyncIterator[bytes]:
        yield f"{worker.number}:{os.getpid()}".encode()
        yield b"x" * 300_000

    siblings.answers["who"] = who
    await siblings.connect(stop.set)

    open_now: set[object] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        asked = await reader.readline()
        if asked == b"siblings\n":
            parts = [part for answer in (await siblings.ask("who")).values() for part in answer]
            told = sorted(part.decode() for part in parts if len(part) < 100)
            writer.write(f"{told} {len(parts)} {siblings.restarts}".encode())
        elif asked == b"env\n":
            writer.write(",".join(sorted(name for name in os.environ if name.startswith("BOTHOST"))).encode())
        else:
            writer.write(f"{worker.number} {os.getpid()} {len(worker.sockets['operator'])}".encode())
        writer.close()
        await writer.wait_closed()
        open_now.discard(writer)

    servers = [await asyncio.start_server(serve, sock=each) for each in worker.sockets["public"]]
    siblings.say("ready")
    while "alive" in sys.argv and not stop.is_set():
        siblings.say("alive")
        await asyncio.sleep(0.05)
    await stop.wait()
    for server in servers:
        server.close()
    # what was accepted is served, as a host does
    await asyncio.sleep(0.05)
    while open_now:
        await asyncio.sleep(0.01)
    siblings.close()


asyncio.run(main())
