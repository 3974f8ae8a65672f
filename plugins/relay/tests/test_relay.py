"""A real service on loopback behind the relay."""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from bothost import sign
from bothost.testing import task, trouble
from relay import Relay

if TYPE_CHECKING:
    from bothost.testing import Harness

KEY = "a key between host and service"


class Service:
    """Answers each POST with what stands next in `answers`, and remembers what came."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.raw: list[bytes] = []
        """Whole answers, sent as they are before the connection is closed."""
        self.seen: list[tuple[dict[str, str], bytes]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.seen.append((dict(self.headers.items()), body))
                if service.raw:
                    self.wfile.write(service.raw.pop(0))
                    self.close_connection = True
                    return
                status, answer = service.answers.pop(0) if service.answers else (200, b"")
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/pyrus?x=1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


def relayed(bothost: Harness, service: Service, **ini: Any) -> Any:
    return bothost.bot(Relay, url=service.url, key=KEY, ini=ini)


def test_the_service_gets_the_bytes_signed_with_its_own_key_and_its_answer_is_the_reply(
    bothost: Harness, service: Service
) -> None:
    service.answers.append((200, json.dumps({"text": "Готово", "approval_choice": "approved"}).encode()))
    answer = relayed(bothost, service).deliver(task(step=1))
    assert answer.json == {"text": "Готово", "approval_choice": "approved"}
    ((headers, body),) = service.seen
    assert headers["X-Pyrus-Sig"] == sign(body, KEY)
    assert headers["X-Pyrus-Retry"] == "1/3"
    assert headers["User-Agent"] == "Pyrus-Bot-4"
    assert headers["Idempotency-Key"].startswith("bot:")
    assert json.loads(body)["task"]["id"]


@pytest.mark.parametrize("answer", [b"", b"  ", b"null", b"Success", b"[1]"])
def test_what_is_no_object_writes_nothing(bothost: Harness, service: Service, answer: bytes) -> None:
    service.answers.append((200, answer))
    found = relayed(bothost, service).deliver(task())
    assert (found.status, found.reply) == (200, None)


def test_a_refusal_is_for_good(bothost: Harness, service: Service) -> None:
    service.answers.append((403, b""))
    bot = relayed(bothost, service)
    assert bot.deliver(task()).status == 500
    assert bot.redeliver().status == 500
    assert len(service.seen) == 1


@pytest.mark.parametrize("status", [500, 503, 429, 302])
def test_trouble_is_tried_again_at_the_next_attempt_under_the_same_key(
    bothost: Harness, service: Service, status: int
) -> None:
    service.answers += [(status, b""), (200, b'{"text": "now"}')]
    bot = relayed(bothost, service)
    assert bot.deliver(task()).status == 500
    assert bot.redeliver().json == {"text": "now"}
    first, second = (headers for headers, _ in service.seen)
    assert first["Idempotency-Key"] == second["Idempotency-Key"]
    assert second["X-Pyrus-Retry"] == "2/3"


def test_a_service_that_is_not_there_is_tried_again(bothost: Harness, service: Service) -> None:
    service.close()
    bot = relayed(bothost, service)
    answer = bot.deliver(task())
    assert answer.status == 500
    assert "Connection" in str(answer.error)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "cut",
    [
        HEAD + b'Content-Length: 100\r\n\r\n{"text":"cut',
        HEAD + b'Connection: close\r\n\r\n{"text":"cut","approval_choice":"appro',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n20\r\n{"text":"cut',
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
        HEAD + b'Content-Length: 23\r\n\r\n{"spent_minutes": NaN  }',
        HEAD + '{"text":"Привет"}'.join(["Content-Length: 17\r\n\r\n", ""]).encode("cp1251"),
        b"HTTP/1.1 2",
        HEAD + b'Content-Length: 34\r\n\r\n\xc2\xa0{"approval_choice": "approved"}\xc2\xa0',
        HEAD + b"Content-Length: 47\r\n\r\n<style>p {}</style>We are back in five minutes.",
        HEAD + b"Content-Encoding: br\r\nContent-Length: 4\r\n\r\n\x0b\x00\x80\x03",
    ],
)
def test_an_answer_that_is_cut_or_wrong_is_tried_again_and_loses_no_decision(
    bothost: Harness, service: Service, cut: bytes
) -> None:
    service.raw.append(cut)
    service.answers.append((200, b'{"approval_choice": "approved"}'))
    bot = relayed(bothost, service)
    assert bot.deliver(task(step=1)).status == 500
    assert bot.redeliver().json == {"approval_choice": "approved"}


@pytest.mark.parametrize("early", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"])
def test_an_interim_answer_is_not_the_answer(bothost: Harness, service: Service, early: bytes) -> None:
    service.raw.append(early + HEAD + b'Content-Length: 15\r\n\r\n{"text":"last"}')
    assert relayed(bothost, service).deliver(task()).json == {"text": "last"}


@pytest.mark.parametrize(
    ("text", "posted"),
    [
        (b"cut \\ud83d", "cut \ufffd"),
        (b"\\ude00 cut", "\ufffd cut"),
        (b"\\ud83d\\ude00", "\U0001f600"),
        (b"a\\u0000b", "ab"),
    ],
)
def test_half_an_emoji_loses_no_decision(bothost: Harness, service: Service, text: bytes, posted: str) -> None:
    service.answers.append((200, b'{"text":"' + text + b'","approval_choice":"approved"}'))
    answer = relayed(bothost, service).deliver(task(step=1))
    assert answer.json == {"text": posted, "approval_choice": "approved"}


@pytest.mark.parametrize(
    ("coding", "sent"),
    [
        (b"gzip", gzip.compress(b'{"text":"packed"}', mtime=0)),
        (b"deflate", zlib.compress(b'{"text":"packed"}')),
        (b"utf-8", b'{"text":"packed"}'),
        (b"", b'{"text":"packed"}'),
    ],
)
def test_a_packed_answer_is_unpacked(bothost: Harness, service: Service, coding: bytes, sent: bytes) -> None:
    service.raw.append(HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(sent)) + sent)
    assert relayed(bothost, service).deliver(task()).json == {"text": "packed"}


def test_an_answer_of_nothing_is_nothing_whatever_packs_it(bothost: Harness, service: Service) -> None:
    service.raw.append(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n")
    answer = relayed(bothost, service).deliver(task())
    assert (answer.status, answer.reply) == (200, None)


def test_the_limit_is_one_of_the_whole_answer(bothost: Harness, service: Service) -> None:
    stop = threading.Event()

    class Drip(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.wfile.write(HEAD + b"Content-Length: 1000\r\n\r\n")
            while not stop.wait(0.1):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        bot = bothost.bot(Relay, url=f"http://127.0.0.1:{server.server_address[1]}/", key=KEY, answer="500ms")
        answer = bot.deliver(task())
        stop.set()
        server.shutdown()
        thread.join()
    assert answer.status == 500
    assert "no whole answer within 0.5 s" in str(answer.error)


def test_a_service_that_is_away_is_told_in_plain_words(bothost: Harness) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        answer = bothost.bot(Relay, url=url, key=KEY).deliver(task())
    assert answer.status == 500
    assert f"{url} gave no whole answer: Connection refused" in str(answer.error)
    assert "ssl:" not in str(answer.error)


def test_the_key_is_shown_nowhere(bothost: Harness, service: Service) -> None:
    bot = relayed(bothost, service)
    assert KEY not in repr(bot.plugin.settings)


def later(bot: Any, event: str, reply: Any, **keys: Any) -> Any:
    return bot.hook("reply", json={"id": event, "reply": reply}, **keys)


def test_a_service_may_answer_later_and_is_written_once(bothost: Harness, service: Service) -> None:
    service.answers.append((202, b""))
    bot = relayed(bothost, service)
    assert (bot.deliver(task(step=1)).status, bothost.pyrus.comments()) == (200, [])
    event = service.seen[0][0]["Idempotency-Key"]
    reply = {"text": "Half an emoji \ud83d", "approval_choice": "approved"}
    assert later(bot, event, reply).status == 202
    bothost.restart()
    assert later(bot, event, {"text": "another"}).outcome == "repeat"
    bothost.clock.advance("10m")
    (wrote,) = bothost.pyrus.comments()
    assert wrote.text == "Half an emoji \ufffd"
    assert bothost.pyrus.task(wrote.task_id)["approvals"][0][0]["approval_choice"] == "approved"


def test_a_later_answer_whose_post_lost_its_answer_is_written_once(bothost: Harness, service: Service) -> None:
    service.answers.append((202, b""))
    bot = relayed(bothost, service)
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*/comments", trouble.lose_answer(), times=1)
    assert later(bot, service.seen[0][0]["Idempotency-Key"], {"text": "Done."}).status == 202
    bothost.clock.advance("10m")
    assert [one.text for one in bothost.pyrus.comments()] == ["Done."]


@pytest.mark.parametrize("body", [[], {}, {"id": 5, "reply": {}}, {"id": "x"}, {"id": "x", "reply": "text"}])
def test_a_later_answer_that_says_too_little_is_the_services_fault(
    bothost: Harness, service: Service, body: Any
) -> None:
    answer = relayed(bothost, service).hook("reply", json=body)
    assert answer.status == 400
    assert "the answer needs" in answer.json["error"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"text": "x" * 200_000}, "the most is 200000"),
        ({"approval_choice": "Approved"}, "approval_choice: 'Approved' cannot stand here"),
        ({"text": 5}, "text: 5 cannot stand here"),
        ({"due_date": "2026-03-02", "due": "2026-03-02T10:00:00Z"}, "do not go together"),
    ],
)
def test_a_later_answer_that_cannot_be_written_is_refused_and_a_better_one_is_taken(
    bothost: Harness, service: Service, reply: Any, said: str
) -> None:
    service.answers.append((202, b""))
    bot = relayed(bothost, service)
    bot.deliver(task(step=1))
    event = service.seen[0][0]["Idempotency-Key"]
    refused = later(bot, event, reply)
    assert (refused.status, said in refused.json["error"]) == (400, True)
    assert later(bot, event, {"text": "better"}).status == 202
    bothost.clock.advance("1m")
    assert [one.text for one in bothost.pyrus.comments()] == ["better"]


def test_nobody_else_answers_and_no_event_that_was_not_asked_about(bothost: Harness, service: Service) -> None:
    bot = relayed(bothost, service)
    assert later(bot, "x", {}, sign=False).status == 403
    assert later(bot, "bot:5:comment:7", {"text": "uninvited"}).status == 202
    bothost.clock.advance("10m")
    assert bothost.pyrus.comments() == []
    assert "no event bot:5:comment:7 waits for an answer" in bot.log()
