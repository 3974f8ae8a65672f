"""What the web answers before dispatch is asked, and what it hands to dispatch; on real sockets."""

import asyncio
import gzip
import json
import socket
import struct

import pytest
from tests.webhook.edge import OLD_SECRET, SECRET, bot, post, read_answer

from bothost.bots.registry import Registry
from bothost.pipeline.delivery import Outcome
from bothost.pyrus.signature import sign

BODY = json.dumps({"event": "comment", "task_id": 5, "text": "привет"}, ensure_ascii=False).encode()


@pytest.mark.gen_test
async def test_a_signed_delivery_reaches_dispatch_with_its_bytes_and_gets_its_outcome(serve):
    site = serve()
    status, headers, body = await site.ask(post(BODY, "X-Pyrus-Retry: 2/3", "traceparent: 00-ab-cd-01"))
    assert (status, body) == (200, b'{"text": "hello"}')
    assert headers["content-type"] == "application/json"
    assert "server" not in headers
    (delivery,) = site.edge.deliveries
    assert delivery.body == BODY
    assert (delivery.bot.name, delivery.attempt, delivery.trace) == ("autoreply", "2/3", "00-ab-cd-01")
    assert (delivery.peer, delivery.secret_index) == ("127.0.0.1", 0)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "signature",
    [
        sign(BODY, SECRET).lower(),
        f"  {sign(BODY, SECRET)}\t",
        f"sha1={sign(BODY, SECRET)}",
        sign(BODY, OLD_SECRET),
    ],
    ids=["lower case", "blanks", "prefix", "old secret"],
)
async def test_every_form_of_a_right_signature_is_taken(serve, signature):
    assert (await serve().ask(post(BODY, signature=signature)))[0] == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "signature",
    [None, "0" * 40, sign(BODY, "another bot's secret, just as long"), "é" * 40, "x", "sha1=", "ab,cd"],
    ids=["none", "wrong", "other bot", "not ASCII", "short", "empty", "list"],
)
async def test_a_wrong_signature_is_refused_and_never_reaches_dispatch(serve, signature):
    site = serve()
    status, _, body = await site.ask(post(BODY, signature=signature))
    assert (status, body) == (403, b"{}")
    assert site.edge.deliveries == []
    assert site.edge.refusals == [("autoreply", "127.0.0.1", "refused-signature", 403)]


@pytest.mark.gen_test
async def test_two_signature_headers_are_refused_although_one_is_right(serve):
    assert (await serve().ask(post(BODY, f"X-Pyrus-Sig: {sign(BODY, SECRET)}")))[0] == 403


@pytest.mark.gen_test
async def test_200000_brackets_unsigned_are_refused_without_being_parsed(serve):
    assert (await serve().ask(post(b"[" * 200_000, signature="0" * 40)))[0] == 403


@pytest.mark.gen_test
async def test_an_empty_signed_body_reaches_dispatch_which_judges_it(serve):
    site = serve()
    assert (await site.ask(post(b"")))[0] == 200
    assert site.edge.deliveries[0].body == b""


@pytest.mark.gen_test
async def test_a_post_without_any_length_has_an_empty_body(serve):
    site = serve()
    request = f"POST /autoreply HTTP/1.1\r\nHost: x\r\nX-Pyrus-Sig: {sign(b'', SECRET)}\r\n\r\n".encode()
    assert (await site.ask(request))[0] == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path",
    ["/nobody", "/autoreply/x", "/", "//autoreply", "http://bots.example/autoreply", "/autoreply%", "/autoreply%ff"],
)
async def test_an_unknown_path_is_404(serve, path):
    site = serve()
    status, _, body = await site.ask(post(BODY, path=path))
    assert (status, body) == (404, b"{}")
    assert site.edge.statuses == [("not-found", 404)]


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/autoreply/", "/autoreply?from=pyrus", "/%61utoreply", "/autorepl%79/?a=%20"])
async def test_a_path_is_decoded_once_and_may_end_in_a_slash(serve, path):
    assert (await serve().ask(post(BODY, path=path)))[0] == 200


@pytest.mark.gen_test
async def test_a_path_is_not_decoded_twice(serve):
    once, twice = bot("once", "/%41"), bot("twice", "/A")
    site = serve(once, twice)
    await site.ask(post(BODY, path="/%2541"))
    await site.ask(post(BODY, path="/%41"))
    assert [delivery.bot.name for delivery in site.edge.deliveries] == ["once", "twice"]


@pytest.mark.gen_test
@pytest.mark.parametrize(("path", "status"), [("/%D0%B1%D0%BE%D1%82", 200), ("/бот".encode().decode("latin-1"), 400)])
async def test_a_path_may_be_in_any_script_and_comes_encoded(serve, path, status):
    assert (await serve(bot("cyrillic", "/бот")).ask(post(BODY, path=path)))[0] == status


@pytest.mark.gen_test
async def test_a_bot_that_is_switched_off_is_404(serve):
    assert (await serve(bot(enabled=False)).ask(post(BODY)))[0] == 404


@pytest.mark.gen_test
async def test_a_bot_whose_section_has_no_usable_secret_is_503_and_nothing_of_it_is_verified(serve):
    site = serve(bot(secrets=()))
    assert (await site.ask(post(BODY)))[0] == 503
    assert site.edge.deliveries == []


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_another_method_on_a_bots_path_is_405_and_names_the_right_one(serve, method):
    site = serve()
    status, headers, body = await site.ask(f"{method} /autoreply HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (status, headers["allow"], body) == (405, "POST", b"{}")
    assert site.edge.refusals == [("autoreply", "127.0.0.1", "method", 405)]


@pytest.mark.gen_test
async def test_head_gets_headers_without_a_body_and_the_connection_goes_on(serve):
    site = serve()
    reader, writer = await site.raw(b"HEAD /autoreply HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers, _ = await read_answer(reader, head=True)
    assert (status, headers["allow"]) == (405, "POST")
    writer.write(post(BODY))
    assert (await read_answer(reader))[0] == 200


@pytest.mark.gen_test
async def test_healthz_answers_and_is_no_refusal(serve):
    site = serve()
    assert (await site.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[::2] == (200, b'{"status": "ok"}')
    status, headers, _ = await site.ask(post(b"", path="/healthz"))
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert site.edge.statuses == [("method", 405)]


@pytest.mark.gen_test
@pytest.mark.parametrize(("hosts", "status"), [([], 400), (["a", "b"], 400), (["a"], 200)])
async def test_http_1_1_wants_exactly_one_host(serve, hosts, status):
    head = ["POST /autoreply HTTP/1.1", *[f"Host: {host}" for host in hosts], "Content-Length: 2"]
    request = "\r\n".join([*head, f"X-Pyrus-Sig: {sign(b'{}', SECRET)}", "", "{}"]).encode()
    assert (await serve().ask(request))[0] == status


@pytest.mark.gen_test
async def test_http_1_0_needs_no_host_and_its_connection_ends(serve):
    site = serve()
    request = f"POST /autoreply HTTP/1.0\r\nContent-Length: 2\r\nX-Pyrus-Sig: {sign(b'{}', SECRET)}\r\n\r\n{{}}"
    reader, _ = await site.raw(request.encode())
    assert (await read_answer(reader))[0] == 200
    assert await reader.read() == b""


@pytest.mark.gen_test
async def test_a_chunked_body_is_verified_as_a_whole(serve):
    site = serve()
    head = f"POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-Pyrus-Sig: {sign(BODY, SECRET)}\r\n\r\n"
    pieces = [BODY[at : at + 7] for at in range(0, len(BODY), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    assert (await site.ask(head.encode() + chunks + b"0\r\n\r\n"))[0] == 200
    assert site.edge.deliveries[0].body == BODY


@pytest.mark.gen_test
async def test_a_large_body_that_comes_in_many_reads_is_put_together(serve):
    site = serve()
    body = b'{"task_id": 1, "text": "' + b"x" * 900_000 + b'"}'
    assert (await site.ask(post(body)))[0] == 200
    assert site.edge.deliveries[0].body == body
    assert site.front.unverified.held == 0


@pytest.mark.gen_test
async def test_a_connection_carries_many_requests_also_when_they_are_sent_at_once(serve):
    site = serve()
    reader, _ = await site.raw(post(BODY) + post(BODY, signature="0") + post(BODY, path="/x") + post(BODY))
    assert [(await read_answer(reader))[0] for _ in range(4)] == [200, 403, 404, 200]


@pytest.mark.gen_test
async def test_an_answer_from_the_journal_says_so(serve):
    site = serve()
    site.edge.outcome = Outcome(200, b"{}", "repeat", repeat=True)
    assert (await site.ask(post(BODY)))[1]["x-bothost"] == "repeat"


@pytest.mark.gen_test
@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
async def test_a_sender_that_expects_100_is_told_to_go_on(serve, value):
    reader, writer = await serve().raw(post(BODY, f"Expect: {value}").removesuffix(BODY))
    assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(BODY)
    assert (await read_answer(reader))[0] == 200


@pytest.mark.gen_test
async def test_a_sender_that_expects_100_gets_its_refusal_instead(serve):
    site = serve(bot(max_body_bytes=10))
    reader, _ = await site.raw(post(BODY, "Expect: 100-continue").removesuffix(BODY))
    assert (await read_answer(reader))[0] == 413
    assert await reader.read() == b""


@pytest.mark.gen_test
async def test_an_answer_to_a_sender_that_has_gone_is_undelivered(serve):
    site = serve()
    site.edge.waits = True
    _, writer = await site.raw(post(BODY))
    await site.edge.arrived.wait()
    reset(writer)
    while site.listener.connections.open:
        await asyncio.sleep(0)
    assert site.edge.deliveries[0].gone
    assert site.edge.deliveries[0].respond(Outcome(200, b"{}", "silent")) is False


@pytest.mark.gen_test
async def test_a_sender_that_only_stopped_sending_gets_its_late_answer_which_may_have_to_be_given_again(serve):
    site = serve()
    site.edge.waits = True
    reader, writer = await site.raw(post(BODY))
    await site.edge.arrived.wait()
    writer.write_eof()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not site.edge.deliveries[0].gone
    assert site.edge.deliveries[0].respond(Outcome(200, b"{}", "silent")) is False
    assert (await read_answer(reader))[0] == 200
    assert await reader.read() == b""
    while site.listener.connections.open:
        await asyncio.sleep(0)


@pytest.mark.gen_test
async def test_a_last_answer_to_a_sender_that_resets_at_that_moment_raises_nothing(serve):
    site = serve()
    site.edge.waits = True
    _, writer = await site.raw(post(BODY, "Connection: close"))
    await site.edge.arrived.wait()
    reset(writer)
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    site.edge.deliveries[0].respond(Outcome(200, b"{}", "silent"))
    while site.listener.connections.open:
        await asyncio.sleep(0)


def reset(writer: asyncio.StreamWriter) -> None:
    """Go away so that the other side learns of it."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.gen_test
async def test_a_late_outcome_is_written_to_the_waiting_connection(serve):
    site = serve()
    site.edge.waits = True
    reader, _ = await site.raw(post(BODY))
    await site.edge.arrived.wait()
    assert site.edge.deliveries[0].respond(Outcome(503, b"{}", "draining")) is True
    assert (await read_answer(reader))[0] == 503


UNREADABLE = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
)


@pytest.mark.gen_test
async def test_a_swapped_registry_serves_the_next_request(serve):
    site = serve()
    reader, writer = await site.raw(post(BODY, path="/new"))
    assert (await read_answer(reader))[0] == 404
    site.front.service.registry = Registry([bot("new")])
    writer.write(post(BODY, path="/new"))
    assert (await read_answer(reader))[0] == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /autoreply HTTP/9.9\r\n\r\n",
        b"POST /autoreply HTTP/1.1\r\nHost: x\r\nContent-Length: two\r\n\r\n",
        b"POST /autoreply HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
    ids=["TLS", "version", "length", "lengths", "chunk", "coding"],
)
async def test_what_is_no_http_is_answered_400_and_closed(serve, request_bytes):
    site = serve()
    reader, _ = await site.raw(request_bytes)
    assert await reader.read() == UNREADABLE
    assert [(peer, word, status) for _, peer, word, status in site.edge.refusals] == [("127.0.0.1", "unreadable", 400)]
    assert site.edge.deliveries == []
    assert site.front.unverified.held == 0


@pytest.mark.gen_test
async def test_what_has_been_refused_by_its_head_gets_no_second_answer_for_its_framing(serve):
    site = serve()
    reader, _ = await site.raw(b"POST /absent HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    said = await reader.read()
    assert said.startswith(b"HTTP/1.1 404 ")
    assert said.count(b"HTTP/1.1 ") == 1
    assert site.edge.statuses == [("not-found", 404)]


HIDDEN = post(BODY)
SMUGGLES = {
    "both": f"Content-Length: {len(HIDDEN) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, the other way": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "lengths": f"Content-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n",
    "length with a sign": "Content-Length: +0\r\n\r\n",
    "hex": "Content-Length: 0x0\r\n\r\n",
    "coding twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "coding with a tab": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "name with a blank": "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n",
    "name after a blank": "X: y\r\n Content-Length: 5\r\nContent-Length: x\r\n\r\n",
    "bare CR": "X: y\rContent-Length: 5\r\n\r\n",
    "NUL": "X: \0\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/autoreply", "/absent"])
@pytest.mark.parametrize("framing", list(SMUGGLES.values()), ids=list(SMUGGLES))
async def test_a_request_whose_end_can_be_read_in_two_ways_gets_one_400_and_smuggles_nothing(serve, path, framing):
    site = serve()
    reader, _ = await site.raw(f"POST {path} HTTP/1.1\r\nHost: x\r\n{framing}".encode("latin-1") + HIDDEN)
    said = await reader.read()
    assert said == UNREADABLE
    assert site.edge.deliveries == []
    assert site.front.unverified.held == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("size", ["-1", "+4", "0x4", " 4", "4 ", "4;x" + "\t" * 9000, "4;\n", "f" * 40, ""])
async def test_a_chunk_that_lies_about_its_size_is_400_and_nothing_behind_it_counts(serve, size):
    site = serve()
    head = b"POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, _ = await site.raw(head + size.encode() + b"\r\nabcd\r\n0\r\n\r\n" + HIDDEN)
    said = await reader.read()
    assert said.count(b"HTTP/1.1 ") <= 1
    assert said in (b"", UNREADABLE)
    assert site.edge.deliveries == []
    assert site.front.unverified.held == 0


@pytest.mark.gen_test
async def test_extensions_of_chunks_and_trailers_are_passed_over_and_the_next_request_is_served(serve):
    site = serve()
    head = f"POST /autoreply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-Pyrus-Sig: {sign(b'abcd', SECRET)}\r\n\r\n"
    chunks = b"4;name=" + b"x" * 80 + b"\r\nabcd\r\n0\r\nX-Pyrus-Sig: 0\r\n\r\n"
    reader, _ = await site.raw(head.encode() + chunks + HIDDEN)
    assert [(await read_answer(reader))[0] for _ in range(2)] == [200, 200]
    assert [delivery.body for delivery in site.edge.deliveries] == [b"abcd", BODY]


@pytest.mark.gen_test
async def test_a_compressed_body_is_taken_as_the_bytes_that_came(serve):
    site = serve()
    packed = gzip.compress(b"0" * 1_000_000)
    assert (await site.ask(post(packed, "Content-Encoding: gzip")))[0] == 200
    assert site.edge.deliveries[0].body == packed


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "target",
    ["//autoreply", "/./autoreply", "/x/../autoreply", "/autoreply;x", "/autoreply//", "/%2fautoreply", "/autoreply%00",
     "/AUTOREPLY", "http://x/autoreply", "http://autoreply/", "autoreply", "*", "/autoreply\\", "/autoreply/%2e%2e/autoreply"],
)  # fmt: skip
async def test_no_trick_with_a_path_reaches_a_bot(serve, target):
    site = serve()
    status, _headers, _body = await site.ask(post(BODY, path=target))
    assert status in (400, 404)
    assert site.edge.deliveries == []


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/login", "/bots", "/metrics", "/readyz", "/static/page.css", "/healthz/../bots"])
async def test_the_public_port_knows_nothing_of_the_operators_page(serve, path):
    site = serve()
    for host in ("127.0.0.1", "localhost:8081"):
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: localhost:8081\r\nCookie: bothost-8081=x\r\n\r\n"
        )
        assert (await site.ask(request.encode()))[0] == 404
