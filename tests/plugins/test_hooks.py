"""`@hook` as an author uses it: guards, answers while the caller waits, accepted requests, forms and files."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bothost import (
    Event,
    Plugin,
    Request,
    RequestRefused,
    Response,
    Secret,
    Settings,
    anyone,
    hook,
    signed,
    token,
    value_at,
)
from bothost.errors import PluginError
from bothost.runners.local import LocalRunner
from bothost.testing import Harness

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    SEEN.clear()


class Rules(Settings):
    bank_key: Secret
    link_token: Secret


def by_header(request: Request) -> bool:
    return request.headers.get("X-Magic") == "open"


class Payments(Plugin[Rules]):
    async def handle(self, event: Event) -> None:
        """Deliveries say nothing."""

    @hook(
        "paid",
        signed("settings.bank_key", header="X-Signature", timestamp="X-Time"),
        once=lambda request: request.json["id"],
    )
    async def paid(self, request: Request) -> None:
        SEEN.append((request.id, request.json, request.rerun, await request.once("charge", lambda: len(SEEN))))
        if request.json.get("fails"):
            raise RuntimeError("on purpose")

    @hook("v1/pointed", token("settings.link_token"), once="/payment/id", methods=("POST", "PUT"))
    def pointed(self, request: Request) -> None:
        SEEN.append((request.method, dict(request.headers).get("Authorization")))

    @hook("report", token("settings.link_token", query="key"), methods=("GET",))
    def report(self, request: Request) -> Response:
        return Response.html(f"<h1>{request.query['name']}</h1>")

    @hook("echo", anyone, methods=("POST", "GET"))
    async def echo(self, request: Request) -> Any:
        what = request.query.get("what", "json")
        if what == "json":
            return request.json
        if what == "form":
            return {
                "fields": dict(request.form),
                "files": {k: [f.name, len(f.content)] for k, f in request.files.items()},
            }
        if what == "fails":
            raise RuntimeError("a secret detail")
        return {
            "text": "hello", "bytes": b"\x00", "none": None, "redirect": Response.redirect("https://example.org/"),
            "wrong": 7, "split": Response("", headers={"X-A": "b\r\nX-C: d"}), "status": Response("", status=99),
            "kind": Response("x", content_type="text/html\r\nSet-Cookie: a=b"),
            "moved": Response.redirect("https://example.org/\r\nSet-Cookie: a=b"),
            "cookie": Response("", headers={"Set-Cookie": "a=b\nX-C: d"}), "length": Response("", headers={"content-length": "9"}),
            "bodiless": Response("GET / HTTP/1.1", status=204), "unchanged": Response("x", status=304), "half": "\ud800",
        }[what]  # fmt: skip

    @hook("magic", by_header)
    def magic(self, request: Request) -> str:
        return "in"


def made(bothost: Harness) -> Any:
    return bothost.bot(Payments, bank_key="bank", link_token="link")


def test_a_signed_request_is_accepted_and_runs_once(bothost: Harness) -> None:
    bot = made(bothost)
    first = bot.hook("paid", json={"id": "p1"})
    assert (first.status, first.outcome) == (202, "accepted")
    again = bot.hook("paid", json={"id": "p1"})
    assert (again.status, again.json, again.outcome) == (202, first.json, "repeat")
    bothost.restart()
    assert bot.hook("paid", json={"id": "p1"}).json == first.json
    assert bot.hook("paid", json={"id": "p2"}).json != first.json
    assert [seen[1]["id"] for seen in SEEN] == ["p1", "p2"]
    assert first.json == {"id": SEEN[0][0]}


def test_an_accepted_request_that_fails_runs_three_times(bothost: Harness) -> None:
    bot = made(bothost)
    assert bot.hook("paid", json={"id": "p1", "fails": True}).status == 202
    bothost.clock.advance("10m")
    assert [(seen[2], seen[3]) for seen in SEEN] == [("", 0), ("error", 0), ("error", 0)]
    assert "on purpose" in bot.log()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Signature": "00"},
        {"X-Signature": "zz"},
        {"X-Signature": "é"},
        {"X-Time": "0"},
        {"X-Time": "nan"},
        {"X-Time": "soon"},
        {"X-Signature": ""},
    ],
)
def test_a_request_that_is_not_signed_rightly_is_refused_unparsed(bothost: Harness, headers: dict[str, str]) -> None:
    bot = made(bothost)
    answer = bot.hook("paid", json={"id": "p1"}, headers=headers)
    assert (answer.status, answer.body) == (403, b"{}")
    assert bot.hook("paid", json={"id": "p1"}, sign=False).status == 403
    assert SEEN == []


def test_an_old_request_is_refused(bothost: Harness) -> None:
    bot = made(bothost)
    from bothost.plugins.guards import sign_headers

    guard = bot.bot.plugged.hook("paid").rule.guard
    headers = sign_headers(guard, b'{"id": "p1"}', bothost.clock.now().timestamp() - 301)
    assert bot.hook("paid", json={"id": "p1"}, headers=headers).status == 403


def test_a_key_by_pointer_and_a_token_that_the_journal_does_not_keep(bothost: Harness) -> None:
    bot = made(bothost)
    assert bot.hook("v1/pointed", json={"payment": {"id": 5}}, method="PUT").status == 202
    assert SEEN == [("PUT", "***")]
    missing = bot.hook("v1/pointed", json={"payment": {}})
    assert (missing.status, missing.json) == (400, {"error": "the body has nothing at /payment/id"})
    assert bot.hook("v1/pointed", body=b"{nonsense").status == 400
    assert bot.hook("paid", json={"other": 1}).status == 400
    assert bot.hook("paid", json={"id": "a" * 201}).status == 400
    assert bot.hook("paid", json={"id": None}).status == 400
    wrong = bot.hook("v1/pointed", json={"payment": {"id": 6}}, headers={"Authorization": "Bearer other"})
    assert wrong.status == 403


def test_a_page_is_answered_while_the_caller_waits(bothost: Harness) -> None:
    bot = made(bothost)
    page = bot.hook("report", query={"name": "Отчёт"})
    assert (page.status, page.text) == (200, "<h1>Отчёт</h1>")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert bot.hook("report", query={"name": "x"}, sign=False).status == 403
    assert bot.hook("report", query={"name": "x"}, method="HEAD").body == b""


def test_where_no_thread_or_process_can_be_started_the_caller_gets_a_500_and_the_permit_comes_back(
    bothost: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = bothost.bot(Payments, ini={"concurrency": 1}, bank_key="bank", link_token="link")

    async def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(LocalRunner, "work", refuse)
        assert [bot.hook(name, query={"name": "x"}).status for name in ("report", "report", "magic")] == [500] * 3
    assert bot.bot.busy == 0
    assert bot.hook("report", query={"name": "x"}).status == 200


def test_other_addresses_and_methods_are_refused(bothost: Harness) -> None:
    bot = made(bothost)
    assert bot.hook("nothing").status == 404
    assert bot.hook("paid/more").status == 404
    refused = bot.hook("report", method="POST")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("what", "status", "body"),
    [
        ("text", 200, b"hello"),
        ("bytes", 200, b"\x00"),
        ("none", 204, b""),
        ("redirect", 303, b""),
        ("wrong", 500, b'{"error":"failed"}'),
        ("split", 500, b'{"error":"failed"}'),
        ("kind", 500, b'{"error":"failed"}'),
        ("moved", 500, b'{"error":"failed"}'),
        ("cookie", 500, b'{"error":"failed"}'),
        ("length", 500, b'{"error":"failed"}'),
        ("bodiless", 500, b'{"error":"failed"}'),
        ("unchanged", 500, b'{"error":"failed"}'),
        ("half", 500, b'{"error":"failed"}'),
        ("status", 500, b'{"error":"failed"}'),
        ("fails", 500, b'{"error":"failed"}'),
    ],
)
def test_what_a_hook_returns_becomes_the_answer(bothost: Harness, what: str, status: int, body: bytes) -> None:
    answer = made(bothost).hook("echo", query={"what": what}, json={})
    assert (answer.status, answer.body) == (status, body)


def test_json_that_is_none_is_the_callers_fault(bothost: Harness) -> None:
    bot = made(bothost)
    assert bot.hook("echo", json={"a": 1}).json == {"a": 1}
    answer = bot.hook("echo", body=b"nonsense")
    assert (answer.status, answer.json) == (400, {"error": "the body is not JSON"})
    assert bot.hook("echo", query={"what": "form"}, json={}).status == 400


PART = '--b\r\nContent-Disposition: form-data; name="a"\r\n{}\r\nx\r\n'
BOMBS = {
    "10,000 parts": (PART.format("") * 10_000 + "--b--\r\n", "more than 1000 parts"),
    "a million boundaries": ("--b\r\n" * 1_000_000, "more than 1000 parts"),
    "endless headers": (PART.format("X: y\r\n" * 200_000) + "--b--\r\n", "the headers of a part"),
    "an endless name": (PART.format(";" * 1_000_000 + "\r\n") + "--b--\r\n", "the headers of a part"),
    "no end": (PART.format(""), "cut off"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_form_that_is_a_bomb_is_the_callers_fault_and_costs_little(bothost: Harness, name: str) -> None:
    body, said = BOMBS[name]
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = made(bothost).hook("echo", query={"what": "form"}, body=body.encode(), headers=headers)
    assert answer.status == 400
    assert said in answer.json["error"]


def test_a_form_may_have_a_thousand_parts(bothost: Harness) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    body = (PART.format("") * 1000 + "--b--\r\n").encode()
    assert made(bothost).hook("echo", query={"what": "form"}, body=body, headers=headers).json["fields"] == {"a": "x"}


def test_a_line_of_a_file_that_only_begins_like_the_boundary_ends_nothing(bothost: Harness) -> None:
    content = b"\r\n--bc\r\n--b-\r\n--b x\r\n"
    head = b'--b \t\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    body = head + content + b"\r\n--b--\r\n"
    answer = made(bothost).hook("echo", query={"what": "form"}, body=body, headers=headers)
    assert answer.json["files"] == {"f": ["a", len(content)]}


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a": NaN}', b"9" * 5000, b"-Infinity", b'{"a": 1}x', b"\xff"])
def test_json_that_only_python_reads_is_the_callers_fault(bothost: Harness, body: bytes) -> None:
    answer = made(bothost).hook("echo", body=body)
    assert (answer.status, answer.json) == (400, {"error": "the body is not JSON"})


@pytest.mark.parametrize("hook", ["paid", "v1/pointed"])
@pytest.mark.parametrize("key", ["half \ud800", "zero \0", "", ["list"], True, 1.5])
def test_a_key_that_no_journal_can_hold_is_the_callers_fault(bothost: Harness, hook: str, key: Any) -> None:
    answer = made(bothost).hook(hook, json={"id": key, "payment": {"id": key}})
    assert answer.status == 400
    assert "the request's key" in answer.json["error"]
    assert SEEN == []


def test_a_large_file_with_a_cyrillic_name(bothost: Harness) -> None:
    bot = bothost.bot(Payments, bank_key="bank", link_token="link", ini={"max_body": "16M"})
    content = bytes(range(256)) * 40_000
    answer = bot.hook(
        "echo", query={"what": "form"}, form={"заметка": "да"}, files={"file": ("Счёт №1 %22x%22.pdf", content)}
    )
    assert answer.json == {"fields": {"заметка": "да"}, "files": {"file": ['Счёт №1 "x".pdf', len(content)]}}


def test_a_function_may_be_the_guard(bothost: Harness) -> None:
    bot = made(bothost)
    assert bot.hook("magic").status == 403
    assert bot.hook("magic", headers={"X-Magic": "open"}).text == "in"


async def async_guard(request: Request) -> bool:
    return request.body == b"in"


class Careless(Plugin):
    @hook("shown", lambda request: request.headers.get("X-Magic"))
    async def shown(self, request: Request) -> str:
        return "in"

    @hook("found", lambda request: re.search(b"in", request.body))
    async def found(self, request: Request) -> str:
        return "in"

    @hook("awaited", async_guard)
    async def awaited(self, request: Request) -> str:
        return "in"


def test_only_true_lets_a_caller_in_and_not_what_is_merely_there(
    bothost: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bothost.bot(Careless)
    assert bot.hook("shown").status == 403
    assert bot.hook("found", body=b"out").status == 403
    assert bot.hook("shown", headers={"X-Magic": "guessed"}).status == 500
    assert bot.hook("found", body=b"in").status == 500
    assert "the guard returned a value of type str; only True lets a caller in" in caplog.text
    assert "guessed" not in caplog.text
    assert f"type Match; only True lets a caller in ({__file__}:" in caplog.text
    assert bot.hook("awaited", body=b"in").text == "in"
    assert bot.hook("awaited", body=b"out").status == 403


def test_a_paused_bot_accepts_and_does_not_answer(bothost: Harness) -> None:
    from bothost.bots.registry import BotState

    bot = made(bothost)
    bot.bot.state = BotState("paused", "by hand")
    assert bot.hook("paid", json={"id": "p1"}).status == 202
    assert bot.hook("echo", json={}).status == 503
    assert SEEN == []
    bot.bot.state = BotState("active")
    bothost.clock.advance("31s")
    assert len(SEEN) == 1


@pytest.mark.parametrize(
    ("decorated", "said"),
    [
        (lambda: hook("Paid", anyone), "a name is one or more segments"),
        (lambda: hook("a/../b", anyone), "a name is one or more segments"),
        (lambda: hook("paid", None), "needs a guard"),  # type: ignore[arg-type]
        (lambda: hook("paid", anyone, methods=("LOOK",)), "methods are of"),
        (lambda: hook("paid", anyone, once="id"), "JSON pointer"),
        (lambda: signed("a-secret-in-the-code", header="X"), "settings.NAME"),
        (lambda: signed("settings.a", header="X", digest="md5"), "digest='md5' is none of sha256, sha1, sha512"),
        (
            lambda: signed("settings.a", heder="X"),
            r"signed has no heder= \(did you mean 'header'\?\); it takes secret, header",
        ),  # type: ignore[call-arg]
        (lambda: signed("settings.a"), r"signed: missing a required (keyword-only )?argument: 'header'"),  # type: ignore[call-arg]
        (lambda: signed("settings.a", header="X Sig:"), "header='X Sig:' is no header's name"),
        (lambda: signed("settings.a", header="X", tolerance=300), "tolerance=300 is no duration such as 5m"),  # type: ignore[arg-type]
        (lambda: signed("settings.a", header="X", tolerance="0"), "would let nobody in"),
        (lambda: token("settings.a", quer="key"), r"token has no quer= \(did you mean 'query'\?\)"),  # type: ignore[call-arg]
        (lambda: token("settings.a", query=3), "query=3 is no text"),  # type: ignore[arg-type]
        (lambda: hook("paid", signed), r'needs a guard: signed\("settings.NAME", header='),
        (lambda: hook("paid", token), "needs a guard"),
        (lambda: hook("paid", anyone()), r"anyone is a guard and is not called: write @hook\(NAME, anyone\)"),
        (lambda: hook("paid", token("settings.a")()), r"token is a guard and is not called"),
        (lambda: hook("paid", anyone, methods=5), r"methods are of .*, not \[5\]"),  # type: ignore[arg-type]
        (lambda: token("settings.a", header="X", query="y"), "not both"),
    ],
)
def test_a_wrong_hook_is_refused_where_it_is_written(decorated: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        decorated()


def test_an_empty_or_open_secret_is_refused_at_the_load(bothost: Harness) -> None:
    class Open(Settings):
        key: str = "text"

    class Mistaken(Plugin[Open]):
        @hook("a", token("settings.key"))
        def a(self, request: Request) -> None:
            """Never called."""

    with pytest.raises(PluginError, match="is no Secret"):
        bothost.bot(Mistaken)


class SignedWay(Settings):
    key: Secret
    header: str = "X-Signature"
    digest: str = "sha256"


class AnyService(Plugin[SignedWay]):
    async def handle(self, event: Event) -> None:
        """Deliveries say nothing."""

    @hook("take", signed("settings.key", header="settings.header", digest="settings.digest"), once=lambda request: "k")
    async def take(self, request: Request) -> None:
        SEEN.append(dict(request.headers))

    @hook("ask", token("settings.key", header="settings.header"))
    async def ask(self, request: Request) -> str:
        raise RequestRefused("there is no order 7")


def test_the_operator_says_how_a_service_signs(bothost: Harness) -> None:
    bot = bothost.bot(AnyService, key="k", header="X-Hub", digest="sha1")
    assert bot.hook("take", json={}).status == 202
    assert len(SEEN[0]["X-Hub"]) == 40


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"digest": "md5"}, r"signed\(\) needs a header, a digest of sha256"),
        ({"header": ""}, r"signed\(\) needs a header, a digest of sha256"),
        ({"header": "X Sig"}, r"signed\(header=\): 'X Sig' is no header's name"),
    ],
)
def test_a_guard_that_the_settings_make_useless_keeps_the_bot_out(
    bothost: Harness, keys: dict[str, str], said: str
) -> None:
    with pytest.raises(PluginError, match=said):
        bothost.bot(AnyService, key="k", **keys)


@pytest.mark.parametrize(("pointer", "found"), [("/a/1", 6), ("/b~1c", 7), ("/d~0", 8)])
def test_a_json_pointer_leads_to_a_value(pointer: str, found: int) -> None:
    assert value_at({"a": [5, 6], "b/c": 7, "d~": 8}, pointer) == found


@pytest.mark.parametrize("pointer", ["/a/-1", "/a/ 1", "/a/2", "/a/x", "/e", "/a/1/f"])
def test_a_json_pointer_that_leads_nowhere_is_the_callers_fault(pointer: str) -> None:
    with pytest.raises(RequestRefused, match=f"nothing at {pointer}"):
        value_at({"a": [5, 6]}, pointer)


@pytest.mark.parametrize("pointer", ["a", " /a", None])
def test_what_is_no_json_pointer_does_not_lead_to_the_whole_body(pointer: Any) -> None:
    with pytest.raises(ValueError, match="is no JSON pointer: write one such as /payment/id"):
        value_at({"a": 5}, pointer)


def test_a_handlers_refusal_is_told_to_its_caller(bothost: Harness) -> None:
    answer = bothost.bot(AnyService, key="k").hook("ask")
    assert (answer.status, answer.json) == (400, {"error": "there is no order 7"})


def test_a_refusal_may_repeat_what_is_no_text(bothost: Harness) -> None:
    class Echoing(Plugin):
        @hook("say", anyone)
        async def say(self, request: Request) -> None:
            raise RequestRefused(f"no {request.json}")

        @hook("take", anyone, once=lambda request: request.json["id"].say_no)
        async def take(self, request: Request) -> None:
            """Never called."""

    bot = bothost.bot(Echoing)
    assert bot.hook("say", json="half \ud800").json == {"error": "no half \\ud800"}
    assert bot.hook("take", json={"id": "\ud800"}).status == 500
