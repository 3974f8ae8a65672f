"""Many requests on one connection, other protocols, endless heads: on real sockets, with the webhook as application."""

from __future__ import annotations

import asyncio

import pytest
from tests.webhook.edge import SECRET, post, read_answer

from bothost.http_server.connection import MOST_AT_ONCE, SLICE
from bothost.pipeline.delivery import Outcome
from bothost.pyrus.signature import sign

BODY = b'{"task_id": 5}'
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def numbered(number: int, *lines: str) -> bytes:
    return post(b'{"task_id": %d}' % number, *lines)


@pytest.mark.gen_test
async def test_answers_go_out_in_order_and_the_next_request_waits_for_the_one_before(serve):
    site = serve()
    site.edge.waits = True
    reader, _ = await site.raw(b"".join(numbered(number) for number in range(5)))
    for number in range(5):
        while len(site.edge.deliveries) <= number:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(site.edge.deliveries) == number + 1
        assert site.edge.deliveries[number].respond(Outcome(200, b'{"text": "%d"}' % number, "replied"))
    assert [(await read_answer(reader))[2] for _ in range(5)] == [b'{"text": "%d"}' % number for number in range(5)]


@pytest.mark.gen_test
async def test_thousands_of_requests_at_once_are_all_answered_and_others_have_their_turn(serve):
    site = serve()
    reader, _ = await site.raw(GET * 3000 + post(BODY))
    beside = 0
    for _ in range(3000):
        assert (await read_answer(reader))[0] == 200
        if beside < 3:
            beside += 1
            assert (await site.ask(post(BODY)))[0] == 200
    assert (await read_answer(reader))[0] == 200
    assert MOST_AT_ONCE < 3000
    assert len(GET * 3000) > SLICE


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [SLICE - 300, SLICE, SLICE + 1, 5 * SLICE])
async def test_a_body_across_pieces_ends_where_it_ends(serve, size):
    site = serve()
    body = b'{"task_id": 1, "text": "' + b"x" * size + b'"}'
    reader, _ = await site.raw(post(body) + post(BODY) + post(body))
    assert [(await read_answer(reader))[0] for _ in range(3)] == [200] * 3
    assert [len(delivery.body) for delivery in site.edge.deliveries] == [len(body), len(BODY), len(body)]


@pytest.mark.gen_test
@pytest.mark.parametrize("end", ["Connection: close", "Connection: x, Close"])
async def test_what_follows_a_last_request_is_dropped(serve, end):
    site = serve()
    site.edge.waits = True
    reader, writer = await site.raw(numbered(1, end) + numbered(2) + b"\0 no HTTP")
    await site.edge.arrived.wait()
    writer.write(numbered(3))
    assert site.edge.deliveries[0].respond(site.edge.outcome)
    status, headers, _ = await read_answer(reader)
    assert (status, headers["connection"]) == (200, "close")
    assert await reader.read() == b""
    assert len(site.edge.deliveries) == 1
    assert site.edge.refusals == []


@pytest.mark.gen_test
async def test_no_http_behind_a_request_is_answered_after_it(serve):
    site = serve()
    site.edge.waits = True
    reader, _ = await site.raw(numbered(1) + b"\0 no HTTP\r\n\r\n" + numbered(2))
    await site.edge.arrived.wait()
    assert site.edge.refusals == []
    assert site.edge.deliveries[0].respond(site.edge.outcome)
    assert [(await read_answer(reader))[0] for _ in range(2)] == [200, 400]
    assert await reader.read() == b""
    assert len(site.edge.deliveries) == 1


UPGRADES = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "websocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
    "last": "Connection: Upgrade, close\r\nUpgrade: h2c\r\n",
}


@pytest.mark.gen_test
@pytest.mark.parametrize("asked", list(UPGRADES))
@pytest.mark.parametrize("framing", ["sized", "chunked", "empty"])
@pytest.mark.parametrize("pieces", [1, 40])
async def test_a_request_that_asks_for_another_protocol_is_served_with_its_body(serve, asked, framing, pieces):
    site = serve()
    body = b"" if framing == "empty" else BODY
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if framing == "chunked" else body
    length = "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {len(body)}"
    head = (
        f"POST /autoreply HTTP/1.1\r\nHost: x\r\nX-Pyrus-Sig: {sign(body, SECRET)}\r\n{UPGRADES[asked]}{length}\r\n\r\n"
    )
    whole = head.encode() + sent + post(BODY)
    step = -(-len(whole) // pieces)
    reader, writer = await site.raw(whole[:step])
    for at in range(step, len(whole), step):
        await asyncio.sleep(0)
        writer.write(whole[at : at + step])
    assert (await read_answer(reader))[0] == 200
    if asked == "last":
        assert await reader.read() == b""
    else:
        assert (await read_answer(reader))[0] == 200
    assert [delivery.body for delivery in site.edge.deliveries] == [body, BODY][: 1 + (asked != "last")]


@pytest.mark.gen_test
async def test_a_tunnel_is_refused_and_nothing_in_it_is_a_request(serve):
    site = serve()
    reader, _ = await site.raw(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + post(BODY))
    assert (await read_answer(reader))[0] == 404
    assert await reader.read() == b""
    assert site.edge.deliveries == []


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
        b"POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
        b"POST /autoreply HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /autoreply HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /healthz HTTP/1.1\nHost: x\n\n",
    ],
)
async def test_what_this_server_does_not_speak_is_400_and_the_end(serve, request_bytes):
    site = serve()
    reader, _ = await site.raw(request_bytes + GET)
    assert (await read_answer(reader))[0] == 400
    assert await reader.read() == b""
    assert site.edge.statuses == [("unreadable", 400)]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("endless", "answered"),
    [
        ("GET /" + "x" * 8200, 431),
        ("GET / HTTP/1.1\r\n" + "X: y\r\n" * 101 + "\r\n", 431),
        ("GET / HTTP/1.1\r\nX: " + "x" * 8200, 431),
        ("GET / HTTP/1.1\r\n" + "x" * 8200, 431),
        ("\r\n" * 5000, 431),
        ("POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + "x" * 30_000, 431),
        ("POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + "x" * 30_000, 431),
        ("POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + "X: x\r\n" * 101, 431),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n" + "X: y\r\n" * 99 + "\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + "y" * 8100 + "\r\n\r\n", 200),
    ],
)
@pytest.mark.parametrize("step", [700, 10_000])
async def test_heads_and_trailers_have_an_end(serve, endless, answered, step):
    site = serve()
    data = endless.encode()
    reader, writer = await site.raw(data[:step])
    for at in range(step, len(data), step):
        await asyncio.sleep(0)
        writer.write(data[at : at + step])
    assert (await read_answer(reader))[0] == answered
    if answered == 431:
        assert await reader.read() == b""
        assert site.edge.statuses == [("head-too-large", 431)]
        assert site.front.unverified.held == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"POST /absent HTTP/1.1\r\nHost: x\r\nContent-Length: 00000000000000000000\r\n\r\n", 404),
        (b"POST /autoreply HTTP/1.1\r\nHost: x\r\nContent-Length: 00000000000000000000000000002\r\n\r\n{}", 403),
        (b"POST /absent HTTP/1.1\r\nHost: x\r\nExpect: teapot\r\nContent-Length: 2\r\n\r\n", 404),
        (b"POST /absent HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", 404),
        (b"GET /absent HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", 404),
        (b"POST /autoreply HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"HEAD /autoreply HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 405),
    ],
)
async def test_behind_a_refused_request_each_request_that_runs_is_answered(serve, first, status):
    site = serve()
    reader, _ = await site.raw(first + post(BODY))
    said = await asyncio.wait_for(_all(reader, site), 5)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert said.count(b"HTTP/1.1 200 ") == len(site.edge.deliveries)


async def _all(reader: asyncio.StreamReader, site: object) -> bytes:
    said = b""
    while chunk := await reader.read(65536):
        said += chunk
        if b"HTTP/1.1 200 " in said and said.endswith(b"}"):
            break
    return said


@pytest.mark.gen_test
async def test_a_sender_that_goes_on_after_a_refusal_of_its_bytes_reads_it(serve):
    site = serve()
    reader, writer = await site.raw(b"\0" * 100)
    for _ in range(200):
        writer.write(b"x" * 10_000)
        await asyncio.sleep(0)
    assert (await read_answer(reader))[0] == 400
    assert await reader.read() == b""
