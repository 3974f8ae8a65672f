"""Tasks that wait too long, cost too much or lack a field, on the harness's clock and its Pyrus."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from bothost import BothostError
from bothost.testing import task
from watch import Condition, Watch
from watch.conditions import is_empty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bothost.testing import Harness

FIELDS = [{"id": 1, "type": "money", "name": "Amount"}, {"id": 2, "type": "text", "name": "Supplier"}]


def made(bothost: Harness, **settings: Any) -> Any:
    bothost.pyrus.add_form(321, FIELDS)
    return bothost.bot(Watch, form=321, **settings)


def at(step: int = 2, comment: str = "a", **fields: Any) -> dict[str, Any]:
    return task(id=5600, form_id=321, current_step=step, comments=[comment], fields=fields, approvals=[[], [], []])


def move(bothost: Harness, bot: Any, body: dict[str, Any]) -> None:
    """Have Pyrus's task be as the delivery shows it, and deliver it."""
    bothost.pyrus.world.tasks.pop(5600, None)
    bothost.pyrus.add_task(body)
    bot.deliver(body)


def texts(bothost: Harness) -> list[str]:
    return [str(one.text) for one in bothost.pyrus.comments(5600)]


def test_a_step_that_waited_too_long_is_said_once_and_comments_do_not_put_it_off(bothost: Harness) -> None:
    bot = made(bothost, after="20m", steps="2", text="Step {step} has waited for {waited}.")
    move(bothost, bot, at())
    bothost.clock.advance("15m")
    move(bothost, bot, at(comment="still here"))
    assert texts(bothost) == []
    bothost.clock.advance("6m")
    assert texts(bothost) == ["Step 2 has waited for 20 minutes."]
    move(bothost, bot, at(comment="and on"))
    bothost.clock.advance("1h")
    assert len(bothost.pyrus.comments()) == 1


@pytest.mark.parametrize(("after", "said"), [("1m", "1 мин"), ("20m", "20 мин"), ("2h", "2 ч"), ("3d", "3 дн.")])
def test_the_waiting_is_told_in_the_language_that_the_settings_name(bothost: Harness, after: str, said: str) -> None:
    bot = made(bothost, after=after, text="{waited}", language="ru")
    move(bothost, bot, at())
    bothost.clock.advance(after)
    bothost.clock.advance("5s")
    assert texts(bothost) == [said]


@pytest.mark.parametrize("moved", [{"step": 3}, {"step": 1}])
def test_a_task_that_moves_on_cancels_it(bothost: Harness, moved: dict[str, int]) -> None:
    bot = made(bothost, after="20m", steps="2", text="late")
    move(bothost, bot, at())
    assert len(bot.jobs()) == 1
    bothost.clock.advance("5m")
    move(bothost, bot, at(comment="moved", **moved))
    assert bot.jobs() == ()
    bothost.clock.advance("1h")
    assert bothost.pyrus.comments() == []


def test_a_task_that_comes_back_to_the_step_is_watched_anew(bothost: Harness) -> None:
    bot = made(bothost, after="20m", steps="2", text="late")
    for step, comment in ((2, "a"), (3, "b"), (2, "c")):
        move(bothost, bot, at(step, comment))
        bothost.clock.advance("25m")
    assert texts(bothost) == ["late", "late"]
    assert bot.jobs() == ()


@pytest.mark.parametrize("ahead", ["9999-12-31T23:59:59Z", "2100-01-01T00:00:00Z"])
def test_a_date_to_come_is_taken_for_now(bothost: Harness, ahead: str) -> None:
    bot = made(bothost, after="1h", text="Late.")
    move(bothost, bot, at() | {"last_modified_date": ahead})
    bothost.clock.advance("61m")
    assert texts(bothost) == ["Late."]


def test_a_task_that_moved_on_without_a_delivery_is_left_alone(bothost: Harness) -> None:
    bot = made(bothost, after="20m", text="late")
    move(bothost, bot, at())
    bothost.pyrus.close_task(5600)
    bothost.clock.advance("25m")
    assert bothost.pyrus.comments() == []


def test_an_amount_above_the_limit_is_reassigned_at_once(bothost: Harness) -> None:
    bothost.pyrus.add_person(id=77, email="chief@example.com")
    bot = made(bothost, when="Amount > 100 000", text="The chief decides.", reassign="77")
    move(bothost, bot, at(Amount=Decimal(100_000)))
    bothost.clock.advance("1m")
    assert bothost.pyrus.comments() == []
    move(bothost, bot, at(comment="more", Amount=Decimal(100_001)))
    bothost.clock.advance("1m")
    assert texts(bothost) == ["The chief decides."]
    assert bothost.pyrus.task(5600)["responsible"]["id"] == 77


def test_an_empty_field_is_asked_for_and_not_once_it_is_filled(bothost: Harness) -> None:
    bot = made(bothost, when="Supplier is empty", after="10m", text="Please fill in the supplier.")
    move(bothost, bot, at(Supplier=""))
    move(bothost, bot, at(comment="here", Supplier="Acme"))
    bothost.clock.advance("15m")
    assert bothost.pyrus.comments() == []
    move(bothost, bot, at(comment="gone", Supplier=" "))
    bothost.clock.advance("15m")
    assert texts(bothost) == ["Please fill in the supplier."]


def test_a_field_that_the_form_does_not_have_says_nothing_in_the_task(bothost: Harness) -> None:
    bot = made(bothost, when="Suplier is empty", text="Please fill in the supplier.")
    move(bothost, bot, at(Supplier="Acme"))
    bothost.clock.advance("1m")
    assert bothost.pyrus.comments() == []
    assert "Supplier" in bot.log()


def test_what_fell_due_while_the_host_was_down_is_said_at_its_start(bothost: Harness) -> None:
    bot = made(bothost, after="20m", text="late")
    move(bothost, bot, at())
    bothost.restart()
    bothost.clock.advance("25m")
    assert texts(bothost) == ["late"]


class Service:
    """Takes calls and answers each with what stands next in `answers`."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.seen: list[tuple[dict[str, str], bytes]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.seen.append((dict(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(service.answers.pop(0) if service.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@pytest.mark.parametrize(("answers", "calls"), [([], 1), ([503, 500], 3), ([403], 1)])
def test_a_service_is_called_with_a_signature_and_again_where_it_was_away(
    bothost: Harness, service: Service, answers: list[int], calls: int
) -> None:
    service.answers += answers
    url = f"http://127.0.0.1:{service.server.server_port}/late"
    bot = made(bothost, when="Amount > 5", url=url, key="shared", text="Told.")
    move(bothost, bot, at(Amount=Decimal(6)))
    bothost.clock.advance("5m")
    assert len(service.seen) == calls
    assert len({headers["Idempotency-Key"] for headers, _ in service.seen}) == 1
    headers, body = service.seen[-1]
    assert headers["X-Signature"] == hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    assert {"task": 5600, "form": 321, "step": 2, "when": ["Amount > 5"]}.items() <= json.loads(body).items()
    assert len(bothost.pyrus.comments()) == (0 if answers == [403] else 1)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"after": "1h"}, "does nothing"),
        ({"text": "x"}, "for every task"),
        ({"text": "x", "when": "Amount"}, "is no condition"),
        ({"text": "x", "when": "Amount > many"}, "is no number"),
        ({"text": "x", "when": "Amount > 5\nAmount > 100,000"}, "thousands or thousandths; write 100000"),
        ({"text": "{who}", "after": "1h"}, "may stand in braces"),
        ({"after": "1h", "url": "https://example.com/x"}, "go together"),
        ({"after": "1h", "url": "http://example.com/x", "key": "k"}, "must be https"),
    ],
)
def test_wrong_settings_say_what_would_be_right(bothost: Harness, keys: dict[str, str], said: str) -> None:
    with pytest.raises(BothostError, match=said):
        bothost.bot(Watch, form=321, **keys)


def test_conditions_read_as_they_are_written() -> None:
    written = ["Amount > 100 000,50", "Share > 0,125", '"A < B" <= 3', "Supplier is  not empty", "Сумма >= -1"]
    shown = ["Amount > 100000.50", "Share > 0.125", "A < B <= 3", "Supplier is not empty", "Сумма >= -1"]
    assert [str(Condition.parse(one)) for one in written] == shown


@pytest.mark.parametrize(("value", "empty"), [(None, True), (" ", True), ((), True), (0, False), (False, False)])
def test_a_zero_is_not_empty(value: Any, empty: bool) -> None:
    assert is_empty(value) is empty
