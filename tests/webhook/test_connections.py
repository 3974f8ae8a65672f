"""What strangers may hold: connections, time, unverified bytes; on real sockets, with short limits."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import subprocess

import pytest
from tests.webhook.edge import bot, post, read_answer

from bothost.http_server.limits import ConnectionLimits

BODY = b'{"task_id": 5}'
BIG = b'{"task_id": 5, "text": "' + b"x" * (17 << 20) + b'"}'
SHORT = {"sweep_s": 0.02}


def ask_with_http_client(port: int, body: object, *, chunked: bool = False) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/autoreply", body, {"X-Pyrus-Sig": "0"}, encode_chunked=chunked)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    # the same connection must be usable afterwards: the refused body was read to its end
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()
    return found


@pytest.mark.gen_test
async def test_a_17_mb_body_is_413_and_its_sender_reads_it(serve):
    site = serve(bot(max_body_bytes=16 << 20))
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, ask_with_http_client, site.port, BIG) == (413, b"{}")
    pieces = (BIG[at : at + 60_000] for at in range(0, len(BIG), 60_000))
    assert await loop.run_in_executor(None, lambda: ask_with_http_client(site.port, pieces, chunked=True)) == (
        413,
        b"{}",
    )
    assert site.edge.statuses == [("too-large", 413)] * 2
    assert site.front.unverified.held == 0


@pytest.mark.gen_test
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-H", "Expect:"],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"],
    ],
    ids=["expects 100", "sized", "chunked, expects 100", "chunked"],
)
async def test_curl_reads_the_413_to_a_17_mb_body(serve, options, tmp_path):
    site = serve(bot(max_body_bytes=16 << 20))
    (tmp_path / "body").write_bytes(BIG)
    command = ["curl", "-sS", "-w", "%{http_code}", "--data-binary", f"@{tmp_path / 'body'}", *options]
    command.append(f"http://127.0.0.1:{site.port}/autoreply")
    run = await asyncio.get_running_loop().run_in_executor(
        None, lambda: subprocess.run(command, capture_output=True, timeout=30, check=False)
    )
    assert (run.returncode, run.stdout) == (0, b"{}413")


@pytest.mark.gen_test
async def test_413_comes_before_the_body_has_been_sent(serve):
    site = serve(bot(max_body_bytes=100))
    reader, _ = await site.raw(post(b"x" * 101).removesuffix(b"x" * 100))
    assert (await read_answer(reader))[0] == 413


@pytest.mark.gen_test
async def test_of_a_refused_body_only_so_much_is_dropped_before_the_connection_ends(serve):
    site = serve(bot(max_body_bytes=100), limits=ConnectionLimits(dropped_bytes=1 << 20))
    reader, writer = await site.raw(b"POST /autoreply HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
    assert (await read_answer(reader))[0] == 413
    sent = 0
    while sent < 1 << 26 and not reader.at_eof() and not reader.exception():
        writer.write(b"x" * 65536)
        await asyncio.sleep(0)
        sent += 65536
    assert 1 << 20 <= sent < 1 << 25


@pytest.mark.gen_test
@pytest.mark.parametrize(("digits", "status"), [(19, 413), (3000, 400)])
async def test_a_length_beyond_all_measure_is_refused(serve, digits, status):
    request = f"POST /autoreply HTTP/1.1\r\nHost: x\r\nContent-Length: {'9' * digits}\r\n\r\n"
    assert (await serve().ask(request.encode()))[0] == status


@pytest.mark.gen_test
async def test_a_head_that_never_ends_is_cut_at_its_size(serve):
    site = serve()
    reader, _ = await site.raw(b"POST /autoreply HTTP/1.1\r\nHost: " + b"x" * 40_000)
    assert (await read_answer(reader))[0] == 431
    assert await reader.read() == b""
    assert site.edge.statuses == [("head-too-large", 431)]


@pytest.mark.gen_test
async def test_a_first_head_has_its_time_and_no_more_even_if_bytes_trickle_in(serve):
    site = serve(limits=ConnectionLimits(header_s=0.2, **SHORT))
    reader, writer = await site.raw(b"POST /auto")
    for _ in range(100):
        writer.write(b"x")
        await asyncio.sleep(0.02)
        if reader.at_eof() or reader.exception():
            break
    assert reader.at_eof() or reader.exception()
    assert site.listener.connections.open == set()


@pytest.mark.gen_test
async def test_a_connection_without_a_request_is_closed_in_a_heads_time(serve):
    site = serve(limits=ConnectionLimits(header_s=0.1, **SHORT))
    reader, _ = await site.raw(b"")
    assert await reader.read() == b""


@pytest.mark.gen_test
async def test_an_idle_connection_is_closed_after_its_own_time(serve):
    site = serve(limits=ConnectionLimits(header_s=0.05, idle_s=0.3, **SHORT))
    reader, _ = await site.raw(post(BODY))
    await read_answer(reader)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.15)
    assert await reader.read() == b""


@pytest.mark.gen_test
async def test_a_body_has_its_time_and_its_sender_is_told(serve):
    site = serve(limits=ConnectionLimits(body_s=0.1, **SHORT))
    reader, _ = await site.raw(post(BODY).removesuffix(b"}"))
    assert (await read_answer(reader))[0] == 408
    assert await reader.read() == b""
    assert site.edge.statuses == [("slow", 408)]
    assert site.front.unverified.held == 0


@pytest.mark.gen_test
async def test_a_refused_body_is_dropped_no_longer_than_a_body_may_take(serve):
    site = serve(bot(max_body_bytes=10), limits=ConnectionLimits(body_s=0.1, **SHORT))
    reader, _ = await site.raw(post(BODY).removesuffix(b"}"))
    assert (await read_answer(reader))[0] == 413
    assert await reader.read() == b""
    assert site.edge.statuses == [("too-large", 413)]


@pytest.mark.gen_test
async def test_a_run_may_take_longer_than_any_limit_of_the_socket(serve):
    site = serve(limits=ConnectionLimits(header_s=0.05, body_s=0.05, idle_s=0.05, **SHORT))
    site.edge.waits = True
    reader, _ = await site.raw(post(BODY))
    await site.edge.arrived.wait()
    await asyncio.sleep(0.3)
    assert site.edge.deliveries[0].respond(site.edge.outcome)
    assert (await read_answer(reader))[0] == 200


@pytest.mark.gen_test
async def test_a_response_that_its_reader_does_not_take_ends_in_a_bodys_time(serve):
    site = serve(limits=ConnectionLimits(body_s=0.2, **SHORT))
    site.edge.outcome = type(site.edge.outcome)(200, b"x" * (32 << 20), "replied")
    await site.raw(post(BODY))
    while not site.edge.deliveries:
        await asyncio.sleep(0)
    assert len(site.listener.connections.open) == 1
    async with asyncio.timeout(5):
        while site.listener.connections.open:
            await asyncio.sleep(0.01)


@pytest.mark.gen_test
async def test_at_the_cap_the_longest_waiting_connection_goes_and_the_newcomer_is_served(serve, caplog):
    site = serve(limits=ConnectionLimits(max_connections=8, **SHORT))
    waiting = [await site.raw(b"POST /auto") for _ in range(8)]
    for _ in range(3):
        assert (await site.ask(post(BODY)))[0] == 200
    lost = [reader for reader, _ in waiting if reader.at_eof() or reader.exception()]
    assert lost[:1] == [waiting[0][0]]
    assert waiting[7][0] not in lost
    async with asyncio.timeout(5):
        while not caplog.records:
            await asyncio.sleep(0.01)
    assert "waiting connections were closed to make room" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.gen_test
async def test_at_the_cap_connections_whose_deliveries_run_are_kept(serve):
    site = serve(limits=ConnectionLimits(max_connections=4))
    site.edge.waits = True
    running = [await site.raw(post(BODY)) for _ in range(4)]
    while len(site.edge.deliveries) < 4:
        await asyncio.sleep(0)
    reader, _ = await site.raw(post(BODY))
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    assert all(delivery.respond(site.edge.outcome) for delivery in site.edge.deliveries)
    assert [(await read_answer(each))[0] for each, _ in running] == [200] * 4


@pytest.mark.gen_test
async def test_a_hundred_slow_heads_on_64_connections_keep_no_delivery_out(serve):
    site = serve(limits=ConnectionLimits(max_connections=64, header_s=60))
    for _ in range(100):
        await site.raw(b"POST /autoreply HTTP/1.1\r\nHost")
    assert [(await site.ask(post(BODY)))[0] for _ in range(40)] == [200] * 40
    assert len(site.listener.connections.open) <= 64


@pytest.mark.gen_test
async def test_unverified_bodies_share_one_bound_and_the_largest_is_refused(serve):
    site = serve(bot(max_body_bytes=16 << 20), unverified=4 << 20)
    small, large = post(b"x" * (1 << 20)), post(b"y" * (3 << 20))
    one, two = await site.raw(small[:-1]), await site.raw(large[:-1])
    while site.front.unverified.held < (4 << 20) - 2:
        await asyncio.sleep(0)
    three = await site.raw(post(b"z" * 1000)[:-1])
    assert (await read_answer(two[0]))[0] == 503
    three[1].write(b"z")
    assert (await read_answer(three[0]))[0] == 200
    one[1].write(small[-1:])
    assert (await read_answer(one[0]))[0] == 200
    two[1].write(large[-1:] + post(BODY))
    assert (await read_answer(two[0]))[0] == 200
    assert site.edge.statuses == [("shed", 503)]
    assert site.front.unverified.held == 0


@pytest.mark.gen_test
async def test_slow_senders_of_large_unsigned_bodies_hold_no_more_than_the_bound(serve):
    bound = 8 << 20
    site = serve(bot(max_body_bytes=16 << 20), unverified=bound)
    peak = 0
    head = post(b"", signature="0").replace(b"Content-Length: 0", b"Content-Length: 3000000")
    senders = [await site.raw(head) for _ in range(30)]
    for _ in range(29):
        for _, writer in senders:
            writer.write(b"x" * 100_000)
            peak = max(peak, site.front.unverified.held)
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while sum(status == 503 for _, status in site.edge.statuses) < 20:
            await asyncio.sleep(0.01)
            peak = max(peak, site.front.unverified.held)
    held = sum(len(chunk) for receiver in site.front.unverified.holders for chunk in receiver.chunks)
    assert held == site.front.unverified.held <= bound
    assert peak <= bound
    for _, writer in senders:
        writer.transport.abort()
    while site.listener.connections.open:
        await asyncio.sleep(0)
    assert site.front.unverified.held == 0


@pytest.mark.gen_test
async def test_one_byte_at_a_time_disturbs_no_other_delivery(serve):
    site = serve()
    request = post(BODY)
    slow_reader, slow_writer = await site.raw(request[:1])
    for at in range(1, len(request)):
        slow_writer.write(request[at : at + 1])
        await slow_writer.drain()
        if at % 20 == 0:
            assert (await site.ask(post(BODY)))[0] == 200
    assert (await read_answer(slow_reader))[0] == 200


@pytest.mark.gen_test
async def test_a_half_open_client_gets_an_answer_that_is_ready_at_once(serve):
    site = serve()
    reader, writer = await site.raw(post(BODY))
    writer.write_eof()
    assert (await read_answer(reader))[0] == 200


@pytest.mark.gen_test
async def test_a_client_that_goes_away_inside_its_body_leaves_nothing_behind(serve):
    site = serve()
    _, writer = await site.raw(post(b"x" * 1000)[:-1])
    while not site.front.unverified.held:
        await asyncio.sleep(0)
    writer.transport.abort()
    while site.listener.connections.open:
        await asyncio.sleep(0)
    assert site.front.unverified.held == 0
    assert not site.listener.connections.moving
