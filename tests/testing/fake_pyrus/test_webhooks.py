"""The fake Pyrus delivers as the real one: three attempts, 60 s to answer, routers that cut, responses that get lost."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from bothost.pyrus.signature import Verifier
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.webhooks import SimulatedRequest, WebhookRoute, Webhooks
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "key-of-the-bot-0001"


class Doorstep:
    """A bot that answers after a while, and the times at which it was called."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.pyrus = FakePyrus(self.clock)
        self.account = self.pyrus.add_bot("bot@one", KEY, 900100)
        self.pyrus.add_task(id=5, text="A task")
        self.called: list[tuple[float, SimulatedRequest]] = []
        self.took_s = 0.0
        self.answers: list[tuple[int, bytes]] = [(200, b'{"text": "hello"}')]

    async def send(self, hook: SimulatedRequest) -> tuple[int, bytes]:
        answer = self.answers[min(len(self.called), len(self.answers) - 1)]
        self.called.append((self.clock.monotonic(), hook))
        await asyncio.sleep(self.took_s)
        if not answer[0]:
            raise ConnectionResetError
        return answer

    def deliver(self, route: WebhookRoute | None = None) -> list[int]:
        """Statuses that Pyrus saw."""
        webhooks = Webhooks(self.pyrus, self.account, KEY, self.send, route)
        return [reached.status for reached in self.clock.run(webhooks.deliver(5))]

    @property
    def times(self) -> list[float]:
        start = self.called[0][0]
        return [round(at - start) for at, _ in self.called]


@pytest.fixture
def door() -> Iterator[Doorstep]:
    made = Doorstep()
    yield made
    made.clock.loop.close()


def test_one_good_answer_ends_it_and_becomes_a_comment(door: Doorstep) -> None:
    assert door.deliver() == [200]
    assert door.pyrus.assert_one_comment(5).text == "hello"


def test_the_request_is_signed_and_says_which_attempt_it_is(door: Doorstep) -> None:
    door.answers = [(500, b""), (200, b"{}")]
    door.deliver()
    for number, (_, hook) in enumerate(door.called, start=1):
        verification = Verifier((KEY.encode(),)).begin()
        verification.feed(hook.body)
        assert verification.check(hook.headers["X-Pyrus-Sig"]) == 0
        assert hook.headers["X-Pyrus-Retry"] == f"{number}/3"
    tokens = {json.loads(hook.body)["access_token"] for _, hook in door.called}
    assert len(tokens) == 2


def test_failures_are_tried_again_after_61_and_122_seconds(door: Doorstep) -> None:
    door.answers = [(500, b""), (0, b""), (403, b"{}")]
    assert door.deliver() == [500, 0, 403]
    assert door.times == [0, 61, 122]
    door.pyrus.assert_no_comment()


def test_an_answer_after_60_seconds_is_read_by_nobody(door: Doorstep) -> None:
    door.took_s = 70
    assert door.deliver() == [0, 0, 0]
    door.pyrus.assert_no_comment()


def test_pyrus_waits_for_a_handler_at_a_breakpoint(door: Doorstep) -> None:
    door.took_s = 3600
    assert door.deliver(WebhookRoute(read_s=86_400)) == [200]
    door.pyrus.assert_one_comment(5)


def test_a_router_cuts_after_its_time(door: Doorstep) -> None:
    door.took_s = 40
    assert door.deliver(WebhookRoute(cut_s=30)) == [503, 503, 503]


def test_a_lost_response_is_not_read_and_is_tried_again(door: Doorstep) -> None:
    assert door.deliver(WebhookRoute(lost=frozenset({1}))) == [0, 200]
    door.pyrus.assert_one_comment(5)


def test_a_dropped_request_never_reaches_the_bot(door: Doorstep) -> None:
    assert door.deliver(WebhookRoute(dropped=frozenset({1, 2}))) == [0, 0, 200]
    assert len(door.called) == 1


def test_an_empty_answer_writes_nothing(door: Doorstep) -> None:
    door.answers = [(200, b"{}")]
    assert door.deliver() == [200]
    door.pyrus.assert_no_comment()


def test_a_2xx_that_is_not_200_ends_it_without_a_comment(door: Doorstep) -> None:
    door.answers = [(204, b"")]
    assert door.deliver() == [204]


def test_a_comment_that_pyrus_refuses_is_told_to_nobody(door: Doorstep) -> None:
    door.answers = [(200, b'{"field_updates": [{"id": 99, "value": 1}]}')]
    assert door.deliver() == [200]
    door.pyrus.assert_no_comment()


def test_the_times_may_be_others_and_the_header_may_be_missing(door: Doorstep) -> None:
    door.answers = [(500, b"")]
    door.deliver(WebhookRoute(times=(0, 61, 183), of=""))
    assert door.times == [0, 61, 183]
    assert all("X-Pyrus-Retry" not in hook.headers for _, hook in door.called)


def test_the_body_is_a_snapshot_of_the_task(door: Doorstep) -> None:
    door.answers = [(500, b""), (200, b"{}")]

    async def change() -> Any:
        webhooks = Webhooks(door.pyrus, door.account, KEY, door.send)
        delivery = asyncio.create_task(webhooks.deliver(5))
        await asyncio.sleep(10)
        door.pyrus.say(5, "later")
        return await delivery

    door.clock.run(change())
    assert [len(json.loads(hook.body)["task"]["comments"]) for _, hook in door.called] == [0, 0]
