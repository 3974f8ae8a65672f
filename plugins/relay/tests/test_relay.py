"""A real service on loopback behind the relay."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from bothost import sign
from bothost.testing import task
from relay import Address, Relay

if TYPE_CHECKING:
    from bothost.testing import Harness

KEY = "a key between host and service"


class Service:
    """Answers each POST with what stands next in `answers`, and remembers what came."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.seen: list[tuple[dict[str, str], bytes]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.seen.append((dict(self.headers.items()), body))
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
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
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


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("service.example.com", "is not an address"),
        ("http://service.example.com/", "must be https"),
        ("https://name:word@service.example.com/", "must not hold a name"),
    ],
)
def test_an_unsound_address_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Address.parse(url)


def test_the_key_is_shown_nowhere(bothost: Harness, service: Service) -> None:
    bot = relayed(bothost, service)
    assert KEY not in repr(bot.plugin.settings)
