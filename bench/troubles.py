"""What deliveries meet in bad moments: a neighbour that blocks, and a server that is killed and started again."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import TYPE_CHECKING

from bench.bodies import SMALL, Bodies
from bench.measuring import Figure, sending_to
from bench.senders import HEAD, SECRET, by_pyrus
from bench.servers import BLOCKED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.measuring import Measured
    from bench.servers import Server

RATE = 50
"""Deliveries a second to the bot whose latency is measured."""
UNDER_WAY = 16
"""Deliveries that have no answer yet when the server is killed."""
PATIENCE_S = 60.0
BLOCKED_S = 0.5
"""The seconds for which the neighbour's handler blocks."""


def beside_blocked(folder: Path, bodies: Mapping[str, Path], seconds: float) -> dict[str, Figure]:
    """Return the latency of a bot beside one whose handler blocks for half of each second, by server."""
    figures = {name: Figure() for name in BLOCKED}
    for name, kind in BLOCKED.items():
        with kind.start(folder) as server, sending_to(server) as measured:
            measured.burst(bodies[SMALL], RATE, None)
            with _blocking(server, Bodies(bodies[SMALL].read_bytes())):
                measured.stream(bodies[SMALL], int(RATE * seconds), RATE, figures[name])
    return figures


@contextlib.contextmanager
def _blocking(server: Server, bodies: Bodies) -> Iterator[None]:
    """Have a delivery of the other bot begin every second."""
    ended, statuses, took_s = threading.Event(), set(), []

    def send() -> None:
        while not ended.wait(_until_next_second()):
            began = time.monotonic()
            statuses.add(_answer(server, _request(server, bodies.next(), bot=1))[0])
            took_s.append(time.monotonic() - began)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        ended.set()
        sender.join()
    assert statuses == {b"200"}, statuses
    assert min(took_s) >= BLOCKED_S, f"its neighbour does not block: {took_s}"


def _until_next_second() -> float:
    return 1.0 - time.monotonic() % 1.0


def recovery_ms(one: Measured, body: Path) -> float:
    """Kill the server while deliveries are under way, start it again, and send each again until it is answered; the time of that."""
    server, bodies = one.server, Bodies(body.read_bytes())
    sent = [bodies.next() for _ in range(UNDER_WAY)]
    with contextlib.ExitStack() as wires:
        for delivery in sent:
            wire = wires.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            wire.sendall(_request(server, delivery))
        server.process.kill()
    began = time.monotonic()
    server.process.start_again()
    for delivery in sent:
        request = _request(server, delivery, attempt=2)
        while not _is_answered(server, request):
            assert time.monotonic() < began + PATIENCE_S, "no answer within a minute"
            time.sleep(0.01)
    return (time.monotonic() - began) * 1000


def _is_answered(server: Server, request: bytes) -> bool:
    try:
        status, said = _answer(server, request)
    except OSError:
        return False
    return status == b"200" and b"approved" in said


def _request(server: Server, body: bytes, *, bot: int = 0, attempt: int = 1) -> bytes:
    signature = by_pyrus(body, f"{SECRET}-{bot}".encode())
    head = HEAD.format(path=f"/b{bot}", port=server.port, signature=signature, length=len(body))
    return head.replace("Retry: 1/3", f"Retry: {attempt}/3").encode() + body


def _answer(server: Server, request: bytes) -> tuple[bytes, bytes]:
    """Return status and body. Raises OSError."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as wire,
        wire.makefile("rb") as answer,
    ):
        wire.sendall(request)
        status = answer.readline()[9:12]
        head = b"".join(iter(answer.readline, b"\r\n")) if status else b""
        if not status:
            raise ConnectionError("the connection was closed")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return status, answer.read(int(length[1])) if length is not None else b""
