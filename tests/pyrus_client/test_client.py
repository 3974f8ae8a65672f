"""One run's way to Pyrus: tokens, logins, retries, permits, the lease."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bothost.errors import CallRefused, CallUnclear, CallUnsent, NoLogin, RateLimited, Unauthorized
from bothost.pyrus.rest import requests
from bothost.pyrus_client.client import CallingBot
from bothost.pyrus_client.session import PyrusSession, SessionTerms
from bothost.testing.fake_pyrus import faults

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def text(words: str) -> bytes:
    return json.dumps({"text": words}).encode()


def test_the_events_token_is_used_without_a_login(bench: Any) -> None:
    response = bench.clock.run(bench.line().send(requests.task(5)))
    assert json.loads(response.body)["task"]["id"] == 5
    assert bench.pyrus.titles() == ["GET tasks/5"]


def test_a_refused_token_is_replaced_by_one_login_and_the_call_is_made_again(bench: Any) -> None:
    line = bench.line()
    bench.pyrus.revoke(bench.bot)
    bench.clock.run(line.send(requests.comment(5, text("once"))))
    assert bench.pyrus.titles() == ["POST tasks/5/comments", "POST auth", "POST tasks/5/comments"]
    bench.pyrus.assert_one_comment(5)


@pytest.mark.parametrize("code", ["expired_token", "revoked_token", "invalid_token", "authorization_error"])
def test_every_kind_of_dead_token_leads_to_one_new_login(bench: Any, code: str) -> None:
    line = bench.line()
    bench.pyrus.revoke(bench.bot, code)
    bench.clock.run(line.send(requests.task(5)))
    assert bench.pyrus.titles("auth") == ["POST auth"]


def test_a_token_refused_after_a_new_login_is_not_tried_a_third_time(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.answer(401, "revoked_token"), times=5)
    with pytest.raises(Unauthorized):
        bench.clock.run(bench.line().send(requests.task(5)))
    assert bench.pyrus.titles("tasks") == ["GET tasks/5"] * 2


def test_where_the_token_of_the_last_login_has_died_too_there_is_a_new_login(bench: Any) -> None:
    bench.clock.run(bench.line("").send(requests.task(5)))
    line = bench.line()
    bench.pyrus.revoke(bench.bot)
    bench.clock.run(line.send(requests.task(5)))
    assert bench.pyrus.titles("auth") == ["POST auth"] * 2


def test_a_blocked_account_does_not_log_in_again(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.answer(401, "account_blocked"))
    with pytest.raises(Unauthorized, match="account_blocked"):
        bench.clock.run(bench.line().send(requests.task(5)))
    assert not bench.pyrus.titles("auth")


def test_many_calls_that_need_a_token_share_one_login(bench: Any) -> None:
    bench.pyrus.fail("POST auth", faults.slow(1))

    async def many() -> None:
        await asyncio.gather(*(bench.line("").send(requests.task(5)) for _ in range(20)))

    bench.clock.run(many())
    assert bench.pyrus.titles("auth") == ["POST auth"]


def test_many_calls_whose_token_has_died_share_one_new_login(bench: Any) -> None:
    bench.clock.run(bench.line("").send(requests.task(5)))
    bench.pyrus.revoke(bench.bot)

    async def many() -> None:
        await asyncio.gather(*(bench.line("").send(requests.task(5)) for _ in range(20)))

    bench.clock.run(many())
    assert len(bench.pyrus.titles("auth")) == 2


def test_two_bots_of_one_login_share_its_token(bench: Any) -> None:
    for name in ("one", "two"):
        bench.clock.run(bench.line("", bot=name).send(requests.task(5)))
    assert bench.pyrus.titles("auth") == ["POST auth"]


def test_without_token_and_login_nothing_is_sent(bench: Any) -> None:
    with pytest.raises(NoLogin, match=r"\[bot:one\] it has no token and no login"):
        bench.clock.run(bench.line("", login="").send(requests.task(5)))
    assert not bench.pyrus.requests


def test_a_learnt_login_does_where_the_section_has_none(bench: Any) -> None:
    bench.client.learn("one", "bot@one")
    bench.clock.run(bench.line("", login="").send(requests.task(5)))
    assert bench.pyrus.titles() == ["POST auth", "GET tasks/5"]


def test_the_old_secret_logs_in_until_pyrus_has_changed_the_key(bench: Any) -> None:
    caller = CallingBot("one", login="bot@one", secrets=(b"the-key-to-come-02", b"key-of-the-bot-0001"))
    bench.clock.run(PyrusSession(bench.client, caller, SessionTerms()).send(requests.task(5)))
    assert bench.pyrus.titles("auth") == ["POST auth"] * 2


def test_a_wrong_secret_is_not_tried_with_every_call(bench: Any) -> None:
    caller = CallingBot("one", login="bot@one", secrets=(b"wrong",))

    async def twice() -> None:
        for _ in range(2):
            with pytest.raises(Unauthorized, match="invalid_credentials"):
                await PyrusSession(bench.client, caller, SessionTerms()).send(requests.task(5))
        await asyncio.sleep(11)
        with pytest.raises(Unauthorized):
            await PyrusSession(bench.client, caller, SessionTerms()).send(requests.task(5))

    bench.clock.run(twice())
    assert len(bench.pyrus.titles("auth")) == 2


def test_a_login_that_broke_means_that_the_call_was_surely_not_sent(bench: Any) -> None:
    bench.pyrus.fail("POST auth", faults.lose_answer(), times=99)
    with pytest.raises(CallUnsent, match="log in"):
        bench.clock.run(bench.line("").send(requests.comment(5, text("x"))))


@pytest.mark.parametrize(
    "fault",
    [faults.gateway(502), faults.gateway(503), faults.gateway(504), faults.lose_request(), faults.refuse_connection()],
)
def test_reading_is_tried_again_where_the_way_broke(bench: Any, fault: faults.ApiFault) -> None:
    bench.pyrus.fail("GET tasks/*", fault, times=2)
    bench.clock.run(bench.line().send(requests.task(5)))
    assert bench.pyrus.titles() == ["GET tasks/5"] * 3


def test_reading_is_given_up_after_the_third_time(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.gateway(503), times=9)
    with pytest.raises(CallUnclear) as caught:
        bench.clock.run(bench.line().send(requests.task(5)))
    assert (caught.value.status, len(bench.pyrus.requests)) == (503, 3)


def test_a_500_is_not_asked_for_again(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.answer(500, "server_error"), times=9)
    with pytest.raises(CallUnclear):
        bench.clock.run(bench.line().send(requests.task(5)))
    assert len(bench.pyrus.requests) == 1


@pytest.mark.parametrize(
    "fault", [faults.gateway(502), faults.lose_request(), faults.lose_answer(), faults.refuse_connection()]
)
def test_a_post_is_never_repeated_by_itself(bench: Any, fault: faults.ApiFault) -> None:
    bench.pyrus.fail("POST tasks/5/comments", fault)
    with pytest.raises((CallUnclear, CallUnsent)):
        bench.clock.run(bench.line().send(requests.comment(5, text("x"))))
    assert len(bench.pyrus.requests) == 1


def test_no_answer_in_time_is_unclear(bench: Any) -> None:
    bench.pyrus.fail("POST tasks/5/comments", faults.slow(40))
    before = bench.clock.monotonic()
    with pytest.raises(CallUnclear, match="no answer within 30 s"):
        bench.clock.run(bench.line().send(requests.comment(5, text("x"))))
    assert bench.clock.monotonic() - before == pytest.approx(30)


def test_a_refusal_carries_status_and_code(bench: Any) -> None:
    with pytest.raises(CallRefused) as caught:
        bench.clock.run(bench.line().send(requests.task(6)))
    assert (caught.value.status, caught.value.code) == (404, "task_not_found")


def test_a_redirect_is_not_followed(bench: Any) -> None:
    bench.pyrus.fail(
        "POST tasks/5/comments", faults.ApiFault(status=307, headers={"Location": "https://evil.example/"})
    )
    with pytest.raises(CallRefused) as caught:
        bench.clock.run(bench.line().send(requests.comment(5, text("x"))))
    assert caught.value.status == 307


def test_html_with_a_200_is_no_answer(bench: Any) -> None:
    bench.pyrus.fail("POST tasks/5/comments", faults.gateway(200, applied=True))
    with pytest.raises(CallUnclear, match="without JSON"):
        bench.clock.run(bench.line().send(requests.comment(5, text("x"))))


def test_no_call_begins_once_the_lease_has_run_out(bench: Any) -> None:
    bench.shared.lease = False
    for request in (requests.task(5), requests.comment(5, text("x"))):
        with pytest.raises(CallUnsent, match="lease"):
            bench.clock.run(bench.line().send(request))
    assert not bench.pyrus.requests


def test_the_lease_is_looked_at_after_the_wait_for_a_permit(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.slow(10), times=8)

    async def crowd() -> None:
        eight = [asyncio.create_task(bench.line().send(requests.task(5))) for _ in range(8)]
        await asyncio.sleep(1)
        ninth = asyncio.create_task(bench.line().send(requests.comment(5, text("x"))))
        await asyncio.sleep(1)
        bench.shared.lease = False
        with pytest.raises(CallUnsent, match="lease"):
            await ninth
        await asyncio.gather(*eight)

    bench.clock.run(crowd())
    bench.pyrus.assert_no_comment()


def test_a_bot_has_eight_calls_under_way_and_another_bot_is_not_kept_waiting(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.slow(10), times=16)
    done: list[tuple[str, float]] = []

    async def one(bot: str) -> None:
        await bench.line(bot=bot).send(requests.task(5))
        done.append((bot, bench.clock.monotonic()))

    async def crowd() -> None:
        start = bench.clock.monotonic()
        await asyncio.gather(*(one("busy") for _ in range(10)), one("quick"))
        busy = sorted(at - start for bot, at in done if bot == "busy")
        assert busy[7] == pytest.approx(10)
        assert busy[8] == pytest.approx(20)
        assert dict(done)["quick"] - start == pytest.approx(10)

    bench.clock.run(crowd())


def test_the_time_limit_begins_when_the_permit_is_held(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.slow(25), times=16)

    async def crowd() -> None:
        await asyncio.gather(*(bench.line().send(requests.task(5)) for _ in range(16)))

    bench.clock.run(crowd())


def test_the_token_is_in_no_error_and_no_repr(bench: Any) -> None:
    token = bench.token()
    line = bench.line(token)
    bench.pyrus.fail("GET tasks/*", faults.answer(400, "odd", f"the token {token} is odd"))
    with pytest.raises(CallRefused) as caught:
        bench.clock.run(line.send(requests.task(5)))
    shown = f"{caught.value} {line!r} {SessionTerms(token)!r} {line._token!r} {CallingBot('x', secrets=(b'hush',))!r}"
    assert token not in shown
    assert "hush" not in shown


def test_the_trace_travels_on_if_it_is_one(bench: Any) -> None:
    seen = [
        line._sending(requests.task(5), line._token, None).headers
        for line in (bench.line(trace=TRACE), bench.line(trace="x\r\n"))
    ]
    assert seen[0]["traceparent"] == TRACE
    assert "traceparent" not in seen[1]


def test_comments_of_a_handlers_own_are_remembered_and_a_late_replys_are_not(bench: Any) -> None:
    bench.clock.run(bench.line().send(requests.comment(5, text("by hand"))))
    own = bench.pyrus.assert_one_comment(5).comment_id
    bench.clock.run(bench.line(late=True).send(requests.comment(5, text("late"))))
    assert bench.client.comments.of("one", 5) == {own}


def test_an_offered_base_url_is_used_only_where_it_is_allowed(bench: Any) -> None:
    good, evil = (bench.line(api_url=url) for url in ("https://eu.pyrus.com/v4/", "https://pyrus.com.evil.example/v4/"))
    assert good._sending(requests.task(5), good._token, None).url == "https://eu.pyrus.com/v4/tasks/5"
    assert evil._sending(requests.task(5), evil._token, None).url == "https://api.pyrus.com/v4/tasks/5"


def test_429_waits_for_the_reset_and_goes_on(bench: Any) -> None:
    bench.pyrus.fail("POST tasks/5/comments", faults.limited(30))
    before = bench.clock.monotonic()
    bench.clock.run(bench.line().send(requests.comment(5, text("x"))))
    assert bench.clock.monotonic() - before == pytest.approx(30, abs=1)
    bench.pyrus.assert_one_comment(5)


def test_429_is_raised_at_once_where_the_reset_is_beyond_the_deadline(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.limited(30))
    line = bench.line(ends_at=bench.clock.monotonic() + 10)
    before = bench.clock.monotonic()
    with pytest.raises(RateLimited) as caught:
        bench.clock.run(line.send(requests.task(5)))
    assert bench.clock.monotonic() == before
    assert caught.value.retry_after_s == pytest.approx(30)


def test_a_late_reply_is_told_of_a_429_instead_of_waiting(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/*", faults.limited(30))
    with pytest.raises(RateLimited):
        bench.clock.run(bench.line(late=True).send(requests.task(5)))


def test_each_call_is_counted_with_its_status(bench: Any) -> None:
    bench.clock.run(bench.line().send(requests.task(5)))
    assert bench.calls == [("https://api.pyrus.com/v4/ bot@one", 200)]


def test_a_call_without_an_answer_is_counted_as_status_0(bench: Any) -> None:
    bench.pyrus.fail("GET tasks/5", faults.lose_request(), times=9)
    with pytest.raises(CallUnclear):
        bench.clock.run(bench.line(late=True).send(requests.task(5)))
    assert [status for _, status in bench.calls] == [0]


def test_what_an_accounts_limit_leaves_is_told_by_pyruss_own_word(bench: Any) -> None:
    line = bench.line()
    bench.clock.run(line.send(requests.task(5)))
    assert bench.left == [(line.account, bench.pyrus.limit - 1)]


@pytest.mark.parametrize(
    "fault", [faults.gateway(503), faults.answer(500, "server_error"), faults.limited(3), faults.lose_answer()]
)
def test_a_first_login_that_pyrus_could_not_answer_is_tried_again_in_the_time_left(bench: Any, fault: Any) -> None:
    bench.pyrus.fail("POST auth", fault, times=2)
    ends_at = bench.clock.monotonic() + 20
    bench.clock.run(bench.line("", ends_at=ends_at).send(requests.comment(5, text("x"))))
    assert bench.pyrus.titles("auth") == ["POST auth"] * 3
    bench.pyrus.assert_one_comment(5)


def test_a_login_is_not_tried_beyond_the_deadline(bench: Any) -> None:
    bench.pyrus.fail("POST auth", faults.gateway(503), times=99)
    began = bench.clock.monotonic()
    with pytest.raises(CallUnsent, match="log in"):
        bench.clock.run(bench.line("", ends_at=began + 9).send(requests.task(5)))
    assert 5 < bench.clock.monotonic() - began <= 9


def test_calls_that_wait_for_a_login_that_fails_share_its_failures(bench: Any) -> None:
    bench.pyrus.fail("POST auth", faults.gateway(503), times=2)

    async def many() -> None:
        await asyncio.gather(*(bench.line("").send(requests.task(5)) for _ in range(50)))

    bench.clock.run(many())
    assert len(bench.pyrus.titles("auth")) == 3


def test_a_late_replys_login_is_not_waited_for(bench: Any) -> None:
    bench.pyrus.fail("POST auth", faults.gateway(503))
    with pytest.raises(CallUnsent):
        bench.clock.run(bench.line("", late=True).send(requests.task(5)))
    assert bench.pyrus.titles("auth") == ["POST auth"]


def test_a_comment_is_remembered_although_the_journal_is_away_at_first(bench: Any) -> None:
    async def write() -> None:
        await bench.line().send(requests.comment(5, text("by hand")))
        assert not bench.shared.comments
        bench.shared.away = False
        await asyncio.sleep(1)

    bench.shared.away = True
    bench.clock.run(write())
    own = bench.pyrus.assert_one_comment(5).comment_id
    assert bench.shared.comments == [("one", 5, own)]
