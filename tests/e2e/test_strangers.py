"""What strangers can do to a real host: memory, descriptors, time; others' deliveries go on."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.site import SECRET, HostSite, delivery

from bothost.pyrus.signature import sign

if TYPE_CHECKING:
    from collections.abc import Iterator

GREET = """
async def greet(event):
    return "hello"
"""


def resident(host: HostSite) -> int:
    """Bytes of memory that the host's process has now."""
    assert host.process is not None
    status = Path(f"/proc/{host.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


def median_ms(host: HostSite, count: int, first: int) -> float:
    """How long deliveries take now."""
    times = []
    for number in range(first, first + count):
        began = time.monotonic()
        assert host.deliver("one", task=number, comment=number).status == 200
        times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def send_slowly(port: int, size: int, pieces: int) -> int:
    """An unsigned body that is never finished; the status of what comes back, 0 where nothing does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(pieces):
            writer.write(b"x" * (size // (pieces + 1)))
            await writer.drain()
            await asyncio.sleep(0.001)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                line = await reader.readline()
                return int(line.split()[1])
    except (ConnectionError, IndexError):
        return 0
    finally:
        writer.transport.abort()
    return 0


@pytest.mark.full
@pytest.mark.alone
def test_sixty_senders_of_large_unsigned_bodies_hold_no_more_than_their_bound(site):
    host = site(GREET, "one: plugin = greet; max_body = 16M").start()
    before = resident(host)
    peak = 0

    async def case() -> list[int]:
        nonlocal peak
        senders = [asyncio.ensure_future(send_slowly(host.port, 16_000_000, 60)) for _ in range(60)]
        while not all(sender.done() for sender in senders):
            peak = max(peak, resident(host))
            await asyncio.sleep(0.02)
        return [sender.result() for sender in senders]

    statuses = asyncio.run(case())
    print(
        f"resident before {before >> 20} MB, at the most {peak >> 20} MB; {statuses.count(503)} of 60 were answered 503"
    )
    assert statuses.count(503) >= 30
    assert peak - before < (256 + 100) << 20
    assert host.deliver("one").status == 200


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.usefixtures("many_files")
def test_ten_thousand_idle_connections_leave_other_deliveries_alone(site):
    host = site(GREET, "one: plugin = greet", "header_timeout = 5m\nidle_timeout = 5m\nmax_connections = 12000").start()
    idle_ms = median_ms(host, 100, 1)
    before = resident(host)

    async def case() -> float:
        held = []
        for _ in range(10_000):
            _, writer = await asyncio.open_connection("127.0.0.1", host.port)
            held.append(writer)
        try:
            return await asyncio.get_running_loop().run_in_executor(None, median_ms, host, 200, 1000)
        finally:
            grown = resident(host) - before
            print(f"10,000 connections: {grown / 10_000 / 1024:.1f} kB each")
            for writer in held:
                writer.transport.abort()

    full_ms = asyncio.run(case())
    print(f"a delivery: {idle_ms:.2f} ms alone, {full_ms:.2f} ms beside 10,000 idle connections")
    assert full_ms < 3 * idle_ms + 5
    assert resident(host) - before < 10_000 * 20_000


def test_slow_heads_beyond_the_cap_keep_no_delivery_out(site):
    host = site(GREET, "one: plugin = greet", "max_connections = 64").start()

    async def case() -> None:
        held = []
        for _ in range(100):
            _, writer = await asyncio.open_connection("127.0.0.1", host.port)
            writer.write(b"POST /one HTTP/1.1\r\nHo")
            held.append(writer)
        for number in range(40):
            answer = await asyncio.get_running_loop().run_in_executor(
                None, lambda number=number: host.deliver("one", task=number + 1, comment=number + 1)
            )
            assert answer.status == 200
        for writer in held:
            writer.transport.abort()

    asyncio.run(case())
    assert "closed to make room" in host.said("closed to make room")["message"]


def test_a_flood_of_refusals_writes_a_few_lines(site):
    host = site(GREET, "one: plugin = greet").start()

    async def case() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        for _ in range(300):
            for path in ("one", "nobody"):
                writer.write(f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        for _ in range(600):
            await reader.readuntil(b"{}")
        writer.close()
        for _ in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
            writer.write(b"\x16\x03\x01 not HTTP \r\n\r\n")
            await reader.read()
            writer.close()

    asyncio.run(case())
    host.stop()
    lines = [line for line in host.lines() if line.get("logger") in ("bothost.refused", "tornado.general")]
    assert {line.get("outcome") for line in lines} >= {"refused-signature", "not-found", "unreadable"}
    assert len(lines) == 6  # of each outcome the first and the count
    assert [line["count"] for line in lines if line.get("count")] == [299, 299, 99]


async def trickle(port: int, begin: bytes, end: float) -> float:
    """Send a beginning, then a byte a second until the host hangs up or `end`; how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begin)
    try:
        while loop.time() < end:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    if not await reader.read(1000):
                        break
            writer.write(b"x")
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return loop.time() - began


async def half_open(port: int, number: int) -> bytes:
    """Deliver, close the sending side at once, and read whatever comes."""
    body = delivery(number, number)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /one HTTP/1.1\r\nHost: x\r\nX-Pyrus-Sig: {sign(body, SECRET)}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    writer.write_eof()
    answer = await reader.read()
    writer.transport.abort()
    return answer


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.usefixtures("many_files")
def test_senders_of_a_byte_a_second_and_half_open_clients_leave_other_deliveries_alone(site):
    host = site(GREET, "one: plugin = greet", "header_timeout = 4s\nbody_timeout = 6s").start()
    idle_ms = median_ms(host, 100, 1)
    before = resident(host)
    files = Path(f"/proc/{host.process.pid}/fd")
    held = len(list(files.iterdir()))

    async def case() -> tuple[list[float], list[float], float, int]:
        loop = asyncio.get_running_loop()
        end = loop.time() + 20.0
        head = b"POST /one HTTP/1.1\r\nHost: x\r\nX-Slow: "
        body = b"POST /one HTTP/1.1\r\nHost: x\r\nX-Pyrus-Sig: 00\r\nContent-Length: 15000000\r\n\r\n"
        heads = [asyncio.ensure_future(trickle(host.port, head, end)) for _ in range(500)]
        bodies = [asyncio.ensure_future(trickle(host.port, body, end)) for _ in range(500)]
        halves = [asyncio.ensure_future(half_open(host.port, 10_000 + number)) for number in range(200)]
        await asyncio.sleep(1.0)
        beside_ms = await loop.run_in_executor(None, median_ms, host, 200, 1000)
        grown = resident(host) - before
        await asyncio.gather(*halves)
        return await asyncio.gather(*heads), await asyncio.gather(*bodies), beside_ms, grown

    heads, bodies, beside_ms, grown = asyncio.run(case())
    print(
        f"a delivery: {idle_ms:.2f} ms alone, {beside_ms:.2f} ms beside 1000 slow senders, who held {grown / 1e6:.1f} MB; "
        f"slow heads were closed after at most {max(heads):.1f} s, bodies after {max(bodies):.1f} s"
    )
    assert beside_ms < 5 * idle_ms
    assert grown < 40_000_000
    assert max(heads) < 4 + 3
    assert max(bodies) < 6 + 3
    host.until(lambda: len(list(files.iterdir())) <= held + 5)
    assert host.deliver("one", task=7, comment=7).status == 200
    assert host.stop() == 0


def test_behind_a_proxy_the_trusted_ones_word_counts_for_who_was_refused_and_a_strangers_does_not(site):
    for trusted, seen in (("127.0.0.1", "203.0.113.9"), ("192.0.2.1", "127.0.0.1")):
        host = site(GREET, "one: plugin = greet", f"xheaders = yes\ntrusted_proxies = {trusted}").start()
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        assert host.post("one", b"{}", {**headers, "X-Pyrus-Sig": "00"}).status == 403
        line = host.until(lambda host=host: [one for one in host.lines() if one.get("outcome") == "refused-signature"])[
            0
        ]
        assert line["peer"] == seen
        assert host.post("one", delivery(5, 5), {**headers, "X-Pyrus-Sig": sign(delivery(5, 5), SECRET)}).status == 200
        assert host.stop() == 0
