"""Who gets to see the page, who may change things, and what nobody gets to see."""

from __future__ import annotations

import re
import socket
import time
from urllib.parse import quote, urlencode

import pytest
from tests.operator.page.site import OTHER_SECRET, READ_TOKEN, SECRET, TOKEN, Site

from bothost.operator.page import MOST_CONNECTIONS, TABLE

KEY = quote("autoreply:7:comment:7", safe="")
PLACES = {"bots": "/bots/autoreply", "deliveries": f"/deliveries/{KEY}"}
OPEN = {"/login", "/healthz", "/readyz", "/favicon.ico", "/static/page.css"}


def every_path() -> list[str]:
    """One path for each row of the page's table."""
    paths = []
    for pattern, _ in TABLE:
        path = pattern.replace(r"([a-z0-9][a-z0-9_-]{0,63})", "autoreply").replace("([^/]+)", KEY)
        path = (
            path.replace("(retry|again)", "retry")
            .replace(r"([a-z0-9._-]+)", "page.css")
            .replace(r"(favicon\.ico)", "favicon.ico")
        )
        paths.append(path.replace("\\", ""))
    return paths


PATHS = every_path()
LOCKED = [path for path in PATHS if path not in OPEN] + ["/nothing", "/bots/x/y", "/static/../etc", "/deliveries/a/b/c"]


@pytest.mark.parametrize("path", LOCKED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_without_login_there_is_nothing_but_the_login_page(page: Site, path: str, method: str) -> None:
    answer = page.ask(method, path, "token=x" if method == "POST" else None)
    if method in ("GET", "HEAD") and path not in ("/metrics", "/live/rows", "/bots.json", "/waiting.json"):
        assert answer.status == 302
        assert answer.location.partition("?")[0] == "/login"
    else:
        assert answer.status == 401
    assert "autoreply" not in answer.text
    assert len(answer.text) < 200


@pytest.mark.parametrize("path", sorted(OPEN))
def test_login_probes_and_static_files_need_no_login(page: Site, path: str) -> None:
    assert page.ask("GET", path).status == 200


def test_changes_without_a_right_change_nothing(page: Site) -> None:
    for path in [path for path in PATHS if path.endswith(("pause", "resume", "retry", "cancel", "reload", "test"))]:
        assert page.ask("POST", path, "reason=x&body={}", Sec_Fetch_Site="same-origin").status == 401
        assert page.ask("POST", path, "reason=x&body={}", Authorization="Bearer wrong").status == 401
        assert page.ask("POST", path, "reason=x&body={}", Cookie=f"bothost-{page.port}=wrong").status == 401
    facts = page.do(page.host.resources.journal.controls())
    assert {fact for fact in facts if not fact.startswith("process:")} <= {"probe"}


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.com", "localhost.evil", "ops.example.com.evil", "pager.example.com", "pager.example.com:9001", "", "a b", "127.0.0.2", "10.0.0.1:8081"])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/login", "/healthz", "/metrics", "/static/page.css", "/nothing"])
def test_another_name_than_the_listeners_is_misdirected(page: Site, host: str, path: str) -> None:
    answer = page.ask("GET", path, Host=host, Authorization=f"Bearer {TOKEN}")
    assert answer.status in (421, 400)
    assert "autoreply" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:5", "[::1]:8081", "ops.example.com", "OPS.example.com:444", "pager.example.com:9000"])  # fmt: skip
def test_the_listeners_own_names_are_served(page: Site, host: str) -> None:
    assert page.ask("GET", "/login", Host=host).status == 200


def test_a_login_gives_a_cookie_that_only_this_listener_gets_back(page: Site) -> None:
    answer = page.ask("POST", "/login", urlencode({"token": TOKEN, "next": "/live"}))
    assert (answer.status, answer.location) == (303, "/live")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"bothost-{page.port}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    behind = page.ask("POST", "/login", urlencode({"token": TOKEN}), X_Forwarded_Proto="https")
    assert "; Secure" in behind.headers["Set-Cookie"]
    assert TOKEN not in cookie
    assert page.ask("GET", "/", Cookie=cookie.partition(";")[0]).status == 200


@pytest.mark.parametrize(
    "target",
    ["//evil.com", "https://evil.com", "/\\evil.com", "javascript:alert(1)", "\\\\evil", "/a\nb", "/\t/evil.com"],
)
def test_a_login_leads_nowhere_else(page: Site, target: str) -> None:
    answer = page.ask("POST", "/login", urlencode({"token": TOKEN, "next": target}))
    assert (answer.status, answer.location) == (303, "/")


def test_wrong_logins_are_answered_one_a_second_and_lock_nobody_out(page: Site) -> None:
    began = time.monotonic()
    for _ in range(2):
        answer = page.ask("POST", "/login", "token=wrong")
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers
    assert time.monotonic() - began >= 2
    began = time.monotonic()
    page.log_in()
    assert time.monotonic() - began < 1


def test_a_login_from_another_site_is_refused(page: Site) -> None:
    form = urlencode({"token": TOKEN})
    assert page.ask("POST", "/login", form, Sec_Fetch_Site="cross-site").status == 403
    refused = page.ask("POST", "/login", form, Origin="https://evil.example.com")
    assert refused.status == 403
    assert "This form did not come from your session" in refused.text
    assert page.ask("POST", "/login", form, Origin=f"http://127.0.0.1:{page.port}").status == 303


def test_a_change_needs_this_sessions_field_and_this_page_as_its_origin(page: Site) -> None:
    cookie, other = page.log_in(), page.log_in()
    field = page.ask("GET", "/", Cookie=cookie).field()
    foreign = page.ask("GET", "/", Cookie=other).field()
    assert len({field, foreign}) == 2
    own = {"Cookie": cookie, "Sec_Fetch_Site": "same-origin"}
    origin = f"http://127.0.0.1:{page.port}"
    for form, headers, status in [
        ("", own, 403),
        (f"_xsrf={foreign}", own, 403),
        (f"_xsrf={field}", {**own, "Sec_Fetch_Site": "cross-site"}, 403),
        (f"_xsrf={field}", {**own, "Sec_Fetch_Site": "same-site"}, 403),
        (f"_xsrf={field}", {"Cookie": cookie}, 403),
        (f"_xsrf={field}", {"Cookie": cookie, "Origin": "http://127.0.0.1:1"}, 403),
        (f"_xsrf={field}", {"Cookie": cookie, "Origin": "null"}, 403),
        (f"_xsrf={field}", {**own, "Origin": "http://evil"}, 303),
        (f"_xsrf={field}", {"Cookie": cookie, "Origin": origin}, 303),
        (f"_xsrf={field}", {"Cookie": cookie, "Sec_Fetch_Site": "none"}, 303),
    ]:
        assert page.ask("POST", "/reload", form, **headers).status == status, (form, headers)


def test_a_pair_of_cookie_and_field_that_an_attacker_chose_is_worth_nothing(page: Site) -> None:
    cookie = page.log_in() + "; _xsrf=2|00000000|00000000000000000000000000000000|1"
    form = "_xsrf=2|00000000|00000000000000000000000000000000|1"
    assert (
        page.ask("POST", "/reload", form, Cookie=cookie, Sec_Fetch_Site="same-origin", X_XSRFToken=form[6:]).status
        == 403
    )


def test_a_read_only_token_reads_and_changes_nothing(page: Site) -> None:
    cookie = page.log_in(READ_TOKEN)
    for path in ("/", "/bots/autoreply", f"/deliveries/{KEY}", "/configuration", "/plugins", "/metrics"):
        answer = page.ask("GET", path, Cookie=cookie)
        assert answer.status == 200
        assert set(re.findall(r'<form[^>]*method="post" action="([^"]+)"', answer.text)) <= {"/logout"}
    for path in ("/reload", "/bots/autoreply/pause", "/bots/autoreply/test", f"/deliveries/{KEY}/retry"):
        assert page.put(cookie, path, {"body": "{}"}).status == 403
        assert page.ask("POST", path, "body={}", Authorization=f"Bearer {READ_TOKEN}").status == 403
    assert page.put(cookie, "/logout").status == 303
    assert page.ask("GET", "/", Cookie=cookie).status == 302


def test_a_bearer_token_changes_without_a_field(page: Site) -> None:
    assert page.ask("POST", "/reload", "", Authorization=f"Bearer {TOKEN}").status == 303


def test_logging_out_ends_the_session_here_and_not_only_in_the_browser(page: Site) -> None:
    cookie = page.log_in()
    answer = page.put(cookie, "/logout")
    assert (answer.status, answer.location) == (303, "/login")
    assert page.ask("GET", "/", Cookie=cookie).status == 302


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_every_answer_carries_what_keeps_browsers_careful(page: Site, path: str) -> None:
    for answer in (page.get(path), page.ask("GET", path)):
        headers = answer.headers
        assert "Server" not in headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith("/static")])
def test_no_page_holds_a_secret_inline_script_or_inline_style(page: Site, path: str) -> None:
    answer = page.get(path)
    for secret in (SECRET, OTHER_SECRET, TOKEN, READ_TOKEN, "key-of-another-service-12345", "short\n"):
        assert secret not in answer.text
    if answer.headers["Content-Type"] == "application/json":
        return  # a download that no browser shows
    assert not re.search(r"<script(?![^>]*\bsrc=)", answer.text.replace("&lt;", "?"))
    assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", answer.text)
    assert not re.search(r'(?:src|href|action)="(?!/|https://bots\.example\.com)[a-z]+:', answer.text)


def test_what_tasks_hold_is_shown_and_never_obeyed(page: Site) -> None:
    text = page.get("/deliveries/" + quote("autoreply:5:comment:7", safe="")).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\u202e" not in text
    assert "\\u202e" in text
    assert "<b>" not in page.get(f"/deliveries/{KEY}").text.partition("Traceback")[2].partition("</pre>")[0]


def test_a_big_form_is_refused_before_it_is_read(page: Site) -> None:
    began = time.monotonic()
    assert page.ask("POST", "/login", b"token=" + b"a&" * (1 << 20)).status == 413
    assert time.monotonic() - began < 2
    assert page.ask("POST", "/bots/autoreply/test", b"a&" * 2000, Authorization=f"Bearer {TOKEN}").status == 400


def test_metrics_can_be_open_and_are_not_by_default(page: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert page.ask("GET", "/metrics").status == 401
    site = Site(tmp_path_factory.mktemp("open"), "[host]\nmetrics_open = yes\n").start()
    try:
        assert "bothost_build_info" in site.ask("GET", "/metrics").text
        assert site.ask("GET", "/").status == 302
    finally:
        site.stop()


def test_a_made_token_stands_in_the_state_folder_and_a_new_one_ends_sessions(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from bothost.operator import access_token

    site = Site(tmp_path_factory.mktemp("made"), "[host]\ndrain = 1s\n").start()
    try:
        made = access_token.stored(site.folder / "state")
        assert made is not None
        cookie = site.log_in(made.reveal())
        new = access_token.make(site.folder / "state")
        deadline = time.monotonic() + 10
        while site.ask("GET", "/", Cookie=cookie).status == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        site.log_in(new.reveal())
        assert site.ask("GET", "/", Authorization=f"Bearer {made.reveal()}").status == 302
    finally:
        site.stop()


def test_connections_that_ask_nothing_keep_nobody_from_the_page_and_take_few_files(page: Site) -> None:
    held = [socket.create_connection(("127.0.0.1", page.port), timeout=10) for _ in range(MOST_CONNECTIONS + 20)]
    assert page.ask("GET", "/login").status == 200
    assert [one.recv(1) for one in held[:20]] == [b""] * 20
    held[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert held[-1].recv(100).startswith(b"HTTP/1.1 200 ")
    for one in held:
        one.close()


def test_a_flood_of_failed_logins_is_bounded_and_the_right_token_waits_for_none(page: Site) -> None:
    form = b"token=wrong"
    head = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nContent-Length: {len(form)}\r\n".encode()
    flood = []
    for _ in range(40):
        one = socket.create_connection(("127.0.0.1", page.port))
        one.sendall(head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + form)
        flood.append(one)
    assert page.ask("POST", "/login", "token=wrong").status == 429
    began = time.monotonic()
    page.log_in()
    assert time.monotonic() - began < 5
    for one in flood:
        one.close()
