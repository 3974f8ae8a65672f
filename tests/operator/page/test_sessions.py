"""Sessions by value: how long they last, what ends them, what they allow."""

from __future__ import annotations

import asyncio

import pytest

from bothost.clock import SystemClock
from bothost.config.secrets import SecretText
from bothost.operator.page.sessions import SESSION_S, AccessRight, Sessions

TOKEN = SecretText("operator-token-0123456789")
READ = SecretText("reading-token-0123456789")


class Hand(SystemClock):
    """A clock turned by hand."""

    time = 100.0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def sessions(clock: Hand) -> Sessions:
    return Sessions(TOKEN, READ, clock)


def opened(sessions: Sessions, token: SecretText = TOKEN) -> str:
    session = sessions.open(token.reveal())
    assert session is not None
    return session


def test_a_session_lasts_twelve_hours(sessions: Sessions, clock: Hand) -> None:
    session = opened(sessions)
    clock.time += SESSION_S - 1
    assert sessions.find(session) == AccessRight(changes=True, session=session)
    clock.time += 1
    assert sessions.find(session) is None


def test_a_session_has_the_right_of_its_token(sessions: Sessions) -> None:
    session = opened(sessions, READ)
    assert sessions.find(session) == AccessRight(changes=False, session=session)
    assert sessions.bearer(READ.reveal()) == AccessRight(changes=False)
    assert sessions.bearer(TOKEN.reveal()) == AccessRight(changes=True)


@pytest.mark.parametrize("token", ["", "operator", "operator-token-0123456789 ", "ключ", "\udcff", "x" * 100_000])
def test_no_other_text_opens_anything(sessions: Sessions, token: str) -> None:
    assert sessions.open(token) is None
    assert sessions.bearer(token) is None
    assert sessions.find(token) is None


def test_a_changed_token_ends_its_own_sessions_and_no_others(sessions: Sessions) -> None:
    whole, reading = opened(sessions), opened(sessions, READ)
    sessions.change_tokens(SecretText("another-token-0123456789"), READ)
    assert sessions.find(whole) is None
    assert sessions.find(reading) is not None
    sessions.change_tokens(SecretText("another-token-0123456789"), None)
    assert sessions.find(reading) is None


def test_fields_belong_to_one_session_of_one_process(sessions: Sessions, clock: Hand) -> None:
    one, two = opened(sessions), opened(sessions)
    assert sessions.is_field(one, sessions.field(one))
    assert not sessions.is_field(one, sessions.field(two))
    assert not sessions.is_field(one, Sessions(TOKEN, READ, clock).field(one))
    assert not sessions.is_field(one, "Ж")


def test_sessions_are_bounded_and_the_oldest_goes_first(sessions: Sessions) -> None:
    made = [opened(sessions) for _ in range(1_001)]
    assert sessions.find(made[0]) is None
    assert sessions.find(made[1]) is not None
    assert sessions.find(made[-1]) is not None


def test_failures_take_turns_of_a_second(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def no_wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", no_wait)

    async def fail_thrice() -> None:
        await asyncio.gather(*(sessions.fail() for _ in range(3)))

    asyncio.run(fail_thrice())
    assert waits == [1.0, 2.0, 3.0]
