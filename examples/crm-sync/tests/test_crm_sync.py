"""The bot under the real pipeline of bothost, and a CRM on a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bothost.testing import Harness, HarnessBot, field, task
from crm_sync import CrmSync


class Crm:
    """Makes a deal for each idempotency key it has not seen; first it answers what stands in `troubles`."""

    def __init__(self) -> None:
        self.troubles: list[int] = []
        self.deals: dict[str, dict[str, Any]] = {}
        self.calls = 0
        crm = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                crm.calls += 1
                deal = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Authorization"] == "Bearer the-key"
                crm.deals[self.headers["Idempotency-Key"]] = deal
                status = crm.troubles.pop(0) if crm.troubles else 200
                body = json.dumps({"number": f"D-{len(crm.deals)}"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def crm() -> Iterator[Crm]:
    made = Crm()
    yield made
    made.close()


def served(bothost: Harness, crm: Crm) -> HarnessBot:
    return bothost.bot(CrmSync, crm=f"http://127.0.0.1:{crm.server.server_port}/deals", crm_key="the-key")


def deal(**fields: Any) -> dict[str, Any]:
    known = {"Client": "Acme", "Amount": field(Decimal("5000.40"), type="money"), "Deal": field(type="text")}
    return task(form_id=321, step=2, fields={**known, **fields})


def test_the_deal_is_made_and_its_number_stands_in_the_task(bothost: Harness, crm: Crm) -> None:
    served(bothost, crm).deliver(deal())
    comment = bothost.assert_one_comment()
    assert (comment.choice, comment.fields) == ("approved", {"Deal": "D-1"})
    assert list(crm.deals.values()) == [{"client": "Acme", "amount": "5000.40"}]


def test_a_rerun_after_a_crash_makes_no_second_deal(bothost: Harness, crm: Crm) -> None:
    bot = served(bothost, crm)
    sent = deal()
    bot.deliver(sent)
    bothost.restart()
    bot.redeliver()
    assert crm.calls == 1
    assert bothost.assert_one_comment().fields == {"Deal": "D-1"}


def test_a_crm_in_trouble_is_asked_again_under_the_same_key(bothost: Harness, crm: Crm) -> None:
    crm.troubles = [503]
    bot = served(bothost, crm)
    assert bot.deliver(deal()).status == 500
    assert bot.redeliver().json["text"] == "The deal has the number D-1."
    assert (crm.calls, len(crm.deals)) == (2, 1)


def test_what_the_crm_refuses_is_rejected_with_its_reason(bothost: Harness, crm: Crm) -> None:
    crm.troubles = [422]
    reply = served(bothost, crm).deliver(deal()).json
    assert reply["approval_choice"] == "rejected"
    assert reply["text"].startswith("The CRM does not take the deal: 422")


def test_a_deal_that_is_not_whole_never_reaches_the_crm(bothost: Harness, crm: Crm) -> None:
    reply = served(bothost, crm).deliver(deal(Client=field(type="text"))).json
    assert reply["approval_choice"] == "rejected"
    assert reply["text"].startswith("Please complete the deal: the field 'Client'")
    assert crm.calls == 0
