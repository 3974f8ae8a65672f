"""Responses become the error that says what to do; requests show nothing they should not."""

from __future__ import annotations

import json

import pytest

from bothost.errors import CallError, CallRefused, CallUnclear, RateLimited, Unauthorized
from bothost.pyrus.rest import requests
from bothost.pyrus.rest.requests import ApiRequest, ApiResponse, RateHeaders

POST = requests.comment(5, b'{"text": "private"}')


def error_of(
    status: int, code: str = "", headers: dict[str, str] | None = None, body: bytes | None = None
) -> CallError:
    envelope = json.dumps({"error": "Текст", "error_code": code}).encode()
    with pytest.raises(CallError) as caught:
        requests.check(POST, ApiResponse(status, headers or {}, envelope if body is None else body))
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_field_id", CallRefused), (403, "access_denied_task", CallRefused), (404, "", CallRefused),
        (410, "", CallRefused), (409, "conflict", CallRefused), (500, "conflict", CallRefused), (413, "", CallRefused),
        (301, "", CallRefused), (307, "", CallRefused), (401, "expired_token", Unauthorized), (429, "too_many_requests", RateLimited),
        (429, "task_delete_limit_exceeded", RateLimited), (500, "server_error", CallUnclear), (502, "", CallUnclear),
        (503, "", CallUnclear), (504, "", CallUnclear), (408, "", CallUnclear), (599, "", CallUnclear),
    ],
)  # fmt: skip
def test_each_status_has_its_error(status: int, code: str, kind: type[CallError]) -> None:
    error = error_of(status, code)
    assert type(error) is kind
    assert (error.status, error.code) == (status, code)


def test_an_error_names_the_call_and_what_pyrus_said() -> None:
    assert str(error_of(400, "invalid_field_id")) == "POST tasks/5/comments: 400 invalid_field_id: Текст"


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b'{"error": 5, "error_code": {}}', b"\xff", b"[" * 100_000])
def test_an_error_without_pyruss_envelope_is_one_all_the_same(body: bytes) -> None:
    assert error_of(502, body=body).code == ""


def test_what_pyrus_says_is_cut_and_made_printable() -> None:
    body = json.dumps({"error": "x\x1b[31m\n" + "y" * 5000, "error_code": "odd"}).encode()
    text = str(error_of(400, body=body))
    assert text.isprintable()
    assert len(text) < 400


def test_secrets_are_taken_out_of_what_pyrus_says() -> None:
    body = json.dumps({"error": "token abc123 is bad", "error_code": "abc123"}).encode()
    with pytest.raises(CallError) as caught:
        requests.check(POST, ApiResponse(400, {}, body), "abc123")
    assert "abc123" not in str(caught.value)


@pytest.mark.parametrize("body", [b"{}", b" [1]", b""])
def test_a_2xx_with_json_or_nothing_is_fine(body: bytes) -> None:
    requests.check(POST, ApiResponse(200, {}, body))


def test_a_2xx_with_html_is_unclear() -> None:
    with pytest.raises(CallUnclear):
        requests.check(POST, ApiResponse(200, {}, b"<html>sign in to the hotel's network</html>"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-ratelimit-reset": "17"}, 17.0), ({"retry-after": "5"}, 5.0), ({"x-ratelimit-reset": "17", "retry-after": "5"}, 17.0),
        ({}, 60.0), ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60.0), ({"x-ratelimit-reset": "1790000000"}, 60.0),
        ({"x-ratelimit-reset": "0"}, 1.0), ({"x-ratelimit-reset": "-3"}, 60.0),
    ],
)  # fmt: skip
def test_when_the_next_call_may_go(headers: dict[str, str], expected: float) -> None:
    error = error_of(429, headers=headers)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == expected


def test_rate_limit_headers_are_read_only_if_they_make_sense() -> None:
    good = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4990", "x-ratelimit-reset": "300"}
    assert requests.rate(good) == RateHeaders(5000, 4990, 300.0)
    for name, odd in (("limit", "0"), ("limit", "many"), ("remaining", "-1"), ("reset", "99999999")):
        assert requests.rate({**good, f"x-ratelimit-{name}": odd}) is None
    assert requests.rate({}) is None


def test_bodies_and_headers_are_in_no_repr() -> None:
    assert "private" not in repr(POST)
    assert "hush" not in repr(ApiResponse(200, {"x": "hush"}, b"hush"))
    assert "hush" not in repr(requests.auth("bot@one", "hush"))
    assert requests.auth("bot@one", "hush").title == "log in"


@pytest.mark.parametrize(
    ("request_", "task"),
    [
        (POST, 5), (ApiRequest("GET", "tasks/5/comments"), 0), (ApiRequest("POST", "tasks/5"), 0), (ApiRequest("POST", "tasks/5/comments/"), 5),
        (ApiRequest("POST", "tasks/comments"), 0),
    ],
)  # fmt: skip
def test_which_requests_write_comments(request_: ApiRequest, task: int) -> None:
    assert request_.comments_on == task


def test_only_what_changes_nothing_may_be_asked_twice() -> None:
    assert not POST.reads
    assert not requests.create(b"{}").reads
    assert not requests.upload("x", 1).reads
    assert not requests.plain("POST", "inbox", {}).reads
    assert requests.task(5).reads
    assert requests.register(1, {"task_ids": list(range(5000))}).reads


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 01 Jan 10000 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +" + "9" * 400,
    ],
)
@pytest.mark.parametrize("header", ["retry-after", "date"])
def test_a_date_that_no_calendar_has_counts_as_none(date: str, header: str) -> None:
    assert requests.http_date(date) is None
    assert requests.retry_after({"retry-after": date, header: date}) == requests.DEFAULT_RETRY_S
