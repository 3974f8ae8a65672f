"""The bot under the real pipeline of bothost, with a virtual clock, a fake Pyrus, and a service of rates on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bothost.testing import Fault, Harness, HarnessBot, faults, field, task
from purchase_requests import PurchaseRequests

SUMMARY_TASK = 310_500
SETTINGS: dict[str, Any] = {
    "rates": "https://rates.example.com/rate",
    "limit": 1000,
    "chief": "chief@example.com",
    "summary_task": SUMMARY_TASK,
}
LINES = ({"Goods": "Tea", "Count": 2, "Price": Decimal("50.25")}, {"Goods": "=1+1", "Count": 1, "Price": Decimal(10)})


class Rates:
    """A service that answers every question with the next of `answers`, once its door is open."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[str] = []
        self.door = threading.Event()
        self.door.set()
        rates = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                rates.asked.append(self.path)
                rates.door.wait(10)
                status, body = rates.answers.pop(0) if rates.answers else (200, b'{"rate": 100.5}')
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/rate"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def rates() -> Iterator[Rates]:
    made = Rates()
    yield made
    made.close()


def served(bothost: Harness, **settings: Any) -> HarnessBot:
    return bothost.bot(PurchaseRequests, **{**SETTINGS, **settings})


def request(amount: Decimal = Decimal("110.50"), currency: str = "RUB", **fields: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "Supplier": field({"Name": "Acme", "Tax id": "77"}, type="catalog"),
        "Amount": field(amount, type="money"),
        "Currency": currency,
        "Lines": list(LINES),
        "Total": field(type="money"),
    }
    return task(form_id=321, step=1, fields={**known, **fields})


def test_a_small_request_is_approved_with_its_total_and_its_lines(bothost: Harness) -> None:
    served(bothost).deliver(request())
    comment = bothost.assert_one_comment()
    assert comment.text == "110.50 RUB. Requests to Acme this week: 1."
    assert comment.choice == "approved"
    assert comment.fields == {"Total": 110.5}
    assert comment.attachments == [f"request-{comment.task_id}.csv"]
    stored = next(file for file in bothost.pyrus.world.files.values() if file.name.endswith(".csv"))
    assert stored.content is not None
    assert stored.content.decode("utf-8-sig") == "Goods,Count,Price\r\nTea,2,50.25\r\n'=1+1,1,10\r\n"


def test_the_chief_decides_on_the_next_step_about_a_large_one(bothost: Harness, rates: Rates) -> None:
    answer = served(bothost, rates=rates.url).deliver(request(currency="EUR"))
    assert answer.reply is not None
    assert answer.reply.text == "11,105.25 RUB. Requests to Acme this week: 1."
    assert answer.json["approvals_added"] == [[], [{"email": "chief@example.com"}]]
    assert rates.asked == ["/rate?from=EUR&to=RUB"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"Supplier": field(type="catalog")}, "Please complete the request: the field 'Supplier'"),
        ({"Lines": []}, "Please complete the request: the field 'Lines'"),
        ({"Amount": field(Decimal(100), type="money")}, "The lines come to 110.50, the amount is 100.00."),
    ],
)
def test_a_request_that_is_not_whole_is_rejected_with_the_reason(
    bothost: Harness, wrong: dict[str, Any], why: str
) -> None:
    answer = served(bothost).deliver(request(**wrong))
    assert answer.reply is not None
    assert answer.reply.approval_choice == "rejected"
    assert answer.reply.text is not None
    assert answer.reply.text.startswith(why)


def test_a_rate_that_takes_70_seconds_makes_the_reply_late_and_loses_nothing(bothost: Harness, rates: Rates) -> None:
    bothost.io_grace = 0.05  # seconds that the service on this machine gets before the clock jumps
    rates.door.clear()
    bot = served(bothost, rates=rates.url)
    answer = bot.deliver(request(currency="EUR"))
    assert (answer.outcome, answer.reply) == ("late", None)
    bothost.clock.advance("20s")
    bothost.pyrus.assert_no_comment()
    rates.door.set()
    bothost.clock.advance("5s")
    assert bothost.assert_one_comment().choice == "approved"
    assert len(rates.asked) == 1


def test_a_rate_that_cannot_be_had_is_asked_for_again_and_the_request_counted_once(
    bothost: Harness, rates: Rates
) -> None:
    rates.answers = [(503, b"{}")]
    bot = served(bothost, rates=rates.url)
    assert bot.deliver(request(currency="EUR")).status == 500
    answer = bot.redeliver()
    assert answer.reply is not None
    assert answer.reply.text is not None
    assert answer.reply.text.endswith("this week: 1.")


def test_on_monday_at_nine_the_summary_counts_the_requests_of_the_week(bothost: Harness) -> None:
    bothost.pyrus.add_task(task(id=SUMMARY_TASK))
    bot = served(bothost, zone="Etc/GMT+1")  # the harness begins on a Monday at 9:00 UTC
    for _ in range(2):
        bot.deliver(request())
    bot.deliver(request(Supplier=field({"Name": "Bolt"}, type="catalog")))
    bothost.clock.advance("59m")
    assert not bothost.pyrus.comments(SUMMARY_TASK)
    bothost.clock.advance("2m")
    assert bothost.assert_one_comment(SUMMARY_TASK).text == "Requests of the week\nAcme: 2\nBolt: 1"
    bot.tick("summary")
    assert bothost.pyrus.comments(SUMMARY_TASK)[-1].text == "Requests of the week\nnone"


def test_it_is_silent_where_it_is_not_asked(bothost: Harness) -> None:
    assert served(bothost).deliver(task(form_id=321)).reply is None


@pytest.mark.parametrize("fault", faults)
def test_whatever_goes_wrong_between_pyrus_and_the_bot(fault: Fault) -> None:
    fault(PurchaseRequests, request(), **SETTINGS)
